//! Shared throttles in a simulated fleet: what docs/structures/throttle.md promises.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test whose own input is wrong has to fail"
)]

mod sim;

use postfleet_throttle::Partition;
use sim::rates::{Demand, Measured, Run};
use sim::{Fault, SECOND};

/// More seeds: `POSTFLEET_CASES=1000`.
fn cases(usual: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how many cases to run is the caller's to say")]
    let cases = std::env::var("POSTFLEET_CASES");
    cases.ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

fn kept(run: &Run, most: f64) -> Measured {
    let measured = run.measure();
    assert!(measured.worst <= most, "{} X in one window: {run:?}", measured.worst);
    measured
}

#[test]
fn replication_9_4_7_rates_are_kept_used_and_shared() {
    for (rate, members, seconds, least, longest) in [
        ("600/60", 10, 241, 0.95, 61.0),
        ("20/60", 10, 301, 0.95, 61.0),
        ("25/60", 10, 3661, 0.9, 61.0),
        ("2/10", 10, 261, 0.9, 51.0),
        ("1/10", 10, 1011, 0.9, 101.0),
        ("100/1", 50, 16, 0.9, 1.1),
    ] {
        let measured = kept(&Run::new(rate, members, Demand::Saturated, seconds), 1.0);
        assert!(measured.used >= 0.98, "{rate}: use {}", measured.used);
        assert!(measured.least >= least, "{rate}: least share {}", measured.least);
        assert!(measured.longest <= longest, "{rate}: waited {}", measured.longest);
    }
}

#[test]
fn replication_9_4_7_one_hot_node_gets_everything() {
    let measured = kept(&Run::new("100/1", 50, Demand::OneHot, 16), 1.0);
    assert!(measured.used >= 0.96, "use {}", measured.used);
    let measured = kept(&Run::new("600/60", 10, Demand::OneHot, 181), 1.0);
    assert!(measured.used >= 0.98, "use {}", measured.used);
}

#[test]
fn replication_9_4_7_high_rates_are_kept_with_few_messages() {
    let measured = kept(&Run::new("10000/1", 5, Demand::Arrivals(15_000.0), 6), 1.0);
    assert!(measured.used >= 0.98, "use {}", measured.used);
    assert!(measured.messages <= 500.0, "{} messages a second", measured.messages);
    let measured = kept(&Run::new("10000/1", 5, Demand::Arrivals(5000.0), 6), 1.0);
    assert!(measured.longest <= 0.05, "waited {}", measured.longest);
    assert!((0.48..=0.52).contains(&measured.used), "use {}", measured.used);
}

#[test]
fn replication_9_4_7_a_slow_bus_keeps_the_rate_and_uses_it() {
    for (rate, members, seconds) in [("600/60", 10, 181), ("100/10", 10, 61), ("2/10", 10, 121)] {
        let mut run = Run::new(rate, members, Demand::Saturated, seconds);
        run.world.transit = (20_000, 60_000);
        let measured = kept(&run, 1.0);
        assert!(measured.used >= 0.96, "{rate}: use {}", measured.used);
    }
}

/// Policy refuses where it cannot wait: what was refused draws units to where they are asked for.
#[test]
fn replication_9_4_7_rates_are_kept_used_and_shared_by_those_who_do_not_wait() {
    for (rate, members, asked, seconds, used, least) in [
        ("600/60", 10, 200.0, 241, 0.98, 0.8),
        ("20/60", 10, 200.0, 301, 0.98, 0.6),
        ("60/3", 3, 150.0, 40, 0.97, 0.9),
        ("2/10", 10, 200.0, 261, 0.98, 0.5),
        ("1/10", 10, 200.0, 1011, 0.98, 0.5),
        ("1/3", 3, 150.0, 100, 0.98, 0.8),
        ("100/1", 10, 1000.0, 21, 0.97, 0.9),
    ] {
        let measured = kept(&Run::new(rate, members, Demand::Impatient(asked), seconds), 1.0);
        assert!(measured.used >= used, "{rate}: use {}", measured.used);
        assert!(measured.least >= least, "{rate}: least share {}", measured.least);
        assert!(measured.messages <= 120.0, "{rate}: {} messages a second", measured.messages);
    }
}

/// mta 20: "60/60" for a domain, 4 nodes, continuous load for 5 minutes.
#[test]
fn mta_case_20_sixty_a_minute_on_four_nodes() {
    let measured = kept(&Run::new("60/60", 4, Demand::Saturated, 301), 1.0);
    for minute in 1..5 {
        let sent = measured.all_between(60 * minute, 60 * (minute + 1));
        assert!(sent >= 55, "{sent} in minute {minute}");
    }
}

#[test]
fn replication_17_5_rates_hold_when_a_process_is_killed_or_a_host_crashes() {
    for (fault, after) in [(Fault::Kill(0), 0.98), (Fault::Crash(0), 0.78)] {
        for seed in 0..5 {
            let mut run = Run::new("100/10", 5, Demand::Saturated, 90);
            run.world.seed = seed;
            run.faults.push((31 * SECOND + seed * 777_777, fault.clone()));
            run.warm_up = 55;
            let measured = kept(&run, 1.0);
            // A crashed host keeps its part until it comes back or is forgotten.
            assert!(measured.used >= after, "{fault:?}: use {}", measured.used);
        }
    }
}

#[test]
fn replication_17_5_rates_hold_when_a_member_stands_still_and_goes_on() {
    for hung in [1, 3, 5, 12, 30] {
        for seed in 0..5 {
            let mut run = Run::new("100/10", 5, Demand::Saturated, 120);
            run.world.seed = seed;
            let at = 25 * SECOND + seed * 1_111_111;
            let member = usize::try_from(seed).unwrap();
            run.faults.push((at, Fault::Hang(member)));
            run.faults.push((at + hung * SECOND, Fault::Resume(member)));
            run.warm_up = 95;
            let measured = kept(&run, 1.0);
            assert!(measured.used >= 0.98, "{hung} s: use {}", measured.used);
            assert!(measured.least >= 0.9, "{hung} s: least share {}", measured.least);
        }
    }
}

#[test]
fn replication_17_5_rates_hold_when_members_join_under_load() {
    for seed in 0..5 {
        let mut run = Run::new("100/10", 3, Demand::Saturated, 100);
        run.world.seed = seed;
        for joiner in 0..5 {
            run.faults.push((22 * SECOND + joiner * 3_333_333, Fault::Join));
        }
        run.warm_up = 70;
        let measured = kept(&run, 1.0);
        assert!(measured.used >= 0.98, "use {}", measured.used);
        assert!(measured.least >= 0.8, "least share {}", measured.least);
        // Whoever comes is served within a window.
        for member in 3..8u64 {
            let came = 22 + (member - 3) * 4;
            assert!(measured.between(usize::try_from(member).unwrap(), came, came + 12) > 0);
        }
    }
}

fn split(partition: Partition, parts: &[&[usize]], seed: u64) -> Run {
    let members = parts.iter().map(|part| part.len()).sum();
    let mut run = Run::new("120/10", members, Demand::Saturated, 140);
    run.partition = partition;
    run.world.seed = seed;
    let parts = parts.iter().map(|part| part.to_vec()).collect();
    run.faults.push((30 * SECOND + seed * 987_654, Fault::Split(parts)));
    run.faults.push((75 * SECOND, Fault::Heal));
    run.warm_up = 100;
    run
}

#[test]
fn replication_17_5_sides_of_a_split_fleet_keep_the_rate_together() {
    for parts in
        [&[&[0, 1, 2][..], &[3, 4, 5]][..], &[&[0], &[1, 2, 3, 4, 5]], &[&[0, 1], &[2, 3], &[4], &[5]]]
    {
        for seed in 0..4 {
            for (partition, most) in
                [(Partition::Share, 1.0), (Partition::Quorum, 1.0), (Partition::Full, parts.len() as f64)]
            {
                let run = split(partition, parts, seed);
                let measured = kept(&run, most);
                assert!(
                    measured.used >= 0.97,
                    "{partition:?} {parts:?}: use {} after the merge",
                    measured.used
                );
                let during: Vec<usize> = (0..6).map(|member| measured.between(member, 55, 75)).collect();
                match partition {
                    // Every side has its part: 240 in 20 s, rounded down for each side.
                    Partition::Share => {
                        assert!(during.iter().all(|units| *units >= 36), "{parts:?}: {during:?}");
                    }
                    Partition::Quorum => {
                        for part in parts {
                            let used: usize = part.iter().map(|member| during[*member]).sum();
                            let expected = if part.len() * 2 > 6 { 230..=241 } else { 0..=0 };
                            assert!(expected.contains(&used), "{part:?}: {used}");
                        }
                    }
                    Partition::Full => {
                        for part in parts {
                            let used: usize = part.iter().map(|member| during[*member]).sum();
                            assert!(used >= 230, "{part:?}: {used}");
                        }
                    }
                }
            }
        }
    }
}

/// Whatever happens, no window holds more than the rate, tables agree at every point of the order, and when all are
/// together again the whole rate is used by all.
#[test]
fn replication_17_5_and_17_7_hold_through_random_faults() {
    for seed in 0..cases(25) {
        let run = Run::random(seed);
        // Where units are free, a member that is cut off may get those that it asked for in a message under way, which
        // the others never see. Arrivals of single units ask for a few.
        let claimed = if matches!(run.demand, Demand::Saturated) { 0.0 } else { 4.0 };
        let measured = kept(&run, 1.0 + claimed / run.rate.units() as f64);
        if matches!(run.demand, Demand::Saturated) {
            // A process that was killed on a side without survivors keeps its seat until it is forgotten.
            let killed = run.faults.iter().filter(|(_, fault)| matches!(fault, Fault::Kill(_))).count();
            let left = 1.0 - killed as f64 / run.world.members as f64;
            assert!(measured.used >= 0.97 * left, "use {} in the end: {run:?}", measured.used);
        }
    }
}

/// Once each: splits that followed each other faster than they were noticed, while a member was left out (410), two deaths
/// shortly before a split (617), a tail of the order that only one side saw (923), a side that exchanged tables while it
/// had lost its majority (4692).
#[test]
fn replication_17_5_holds_in_fleets_that_once_exceeded_it() {
    for (seed, most) in [(410, 1.0), (617, 1.0), (923, 1.05), (4692, 1.05)] {
        kept(&Run::random(seed), most);
    }
}
