//! Rings that nobody is told of: members that end on one ring, and went there over different ones.

use crate::rig::SimRig;
use postfleet_bus::suite::check::{History, Violation, virtual_synchrony};
use postfleet_bus::suite::{Burst, Command, Fault, MemberId, MemberSpec, Rig as _};
use postfleet_sim::engine::Timing;
use postfleet_types::Random;
use std::collections::BTreeSet;
use std::time::Duration;

/// As many seeds in each test, or `POSTFLEET_CASES`.
const SEEDS: u64 = 5;

fn seeds() -> std::ops::Range<u64> {
    let chosen = std::env::var("POSTFLEET_CASES").ok().and_then(|text| text.parse().ok());
    0..chosen.unwrap_or(SEEDS)
}

/// Five members that send all the time; the network splits again and again, and rings come about by detours.
fn run(
    seed: u64,
    forgetful: bool,
    judge: fn(&History<'_>) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let mut rig = SimRig::new(seed, Timing::RACK);
    rig.engine().set_forgetful(forgetful);
    let mut random = Random::seeded(seed ^ 0xde70);
    let members: Vec<MemberId> =
        (1..=5).map(|n| rig.start(&MemberSpec::node(&format!("n{n}"), 100 + n, &["g"]))).collect();
    rig.advance(Duration::from_secs(3));
    let mut next = 1;
    for _ in 0..5 {
        for member in &members {
            let mut burst = Burst::to_group("g", next, 150);
            burst.interval = Duration::from_millis(2);
            rig.command(*member, Command::Send(burst));
        }
        next += 150;
        rig.advance(Duration::from_millis(random.below(200)));
        let side = members.iter().copied().filter(|_| random.below(2) == 0).collect();
        rig.fault(Fault::Cut(vec![side]));
        // Now, or when the sides find their rings; sometimes over more than one.
        rig.advance(Duration::from_millis(random.below(30)));
        rig.engine().detour();
        if random.below(2) == 0 {
            rig.fault(Fault::Heal);
        }
        rig.advance(Duration::from_millis(2500));
        rig.fault(Fault::Heal);
        rig.advance(Duration::from_millis(random.below(2000)));
    }
    rig.advance(Duration::from_secs(20));
    let history = History::new(members.iter().map(|member| (*member, rig.trace(*member))), &BTreeSet::new());
    let together = members.iter().all(|member| rig.trace(*member).view_size() == members.len());
    assert!(together || forgetful, "seed {seed}: not together");
    judge(&history)
}

fn at_rest(history: &History<'_>) -> Result<(), Violation> {
    history.check_at_rest()
}

/// Promise P12 above all: who goes together from one view to the next has delivered the same.
#[test]
fn bus_p12_who_went_over_different_rings_has_not_come_together() {
    for seed in seeds() {
        assert_eq!(run(seed, false, at_rest), Ok(()), "seed {seed}");
    }
}

/// What the remedy is for: told as libcpg tells it, the same runs break promises.
#[test]
fn told_as_libcpg_tells_it_promises_break() {
    let broken = (0..100).any(|seed| run(seed, true, virtual_synchrony).is_err());
    assert!(broken, "P12 holds; are there detours?");
}
