//! A ring of three whose third host is cut off, and comes back.

use crate::rig::SimRig;
use postfleet_bus::suite::{Fault, MemberId, MemberSpec, Rig as _};
use postfleet_sim::engine::Timing;
use std::time::Duration;

/// Until each of these sees just them; in vain after so long.
fn together(rig: &mut SimRig, members: &[MemberId], within: Duration) {
    let until = rig.now() + within;
    let holds = |rig: &SimRig| {
        let ids = members.iter().map(|member| rig.trace(*member).view().map(|(id, _)| id));
        let mut ids: Vec<_> = ids.collect();
        ids.dedup();
        ids.len() == 1 && members.iter().all(|member| rig.trace(*member).view_size() == members.len())
    };
    while !holds(rig) {
        assert!(rig.now() < until, "{members:?} are not together within {within:?}");
        rig.advance(Duration::from_millis(5));
    }
}

/// With a token of one second and defaults for the rest; `bus_case_09_times_and_sizes` does it with real daemons.
#[test]
fn bus_case_09_both_sides_of_a_cut_go_on_and_meet_again() {
    for seed in 0..20 {
        let mut rig = SimRig::new(seed, Timing::RACK);
        let members = ["a", "b", "c"].map(|node| rig.start(&MemberSpec::node(node, 101, &["g"])));
        together(&mut rig, &members, Duration::from_secs(10));
        let [a, b, c] = members;
        rig.fault(Fault::Cut(vec![vec![a, b], vec![c]]));
        together(&mut rig, &[a, b], Duration::from_millis(4500));
        together(&mut rig, &[c], Duration::from_millis(4500));
        rig.fault(Fault::Heal);
        together(&mut rig, &members, Duration::from_secs(5));
    }
}
