//! Replicated caches on a fleet: the cases of the replication document that speak of them, through the replica. What a
//! cache does by itself is tested in `postfleet-cache`.

#![allow(clippy::unwrap_used, reason = "a test may end here")]

mod fleet;

use bytes::Bytes;
use fleet::Fleet;
use postfleet_cache::Ttl;
use postfleet_replica::{ObjectKind, ObjectSpec, Of, PAIR_BYTES_MAX, PairTooLong, ReplicaOptions, Rows};
use postfleet_types::WallTime;
use proptest::prelude::*;
use std::time::Duration;

/// `k1` tells joiners nothing, `k2` everything.
fn specs() -> Vec<ObjectSpec> {
    let plain = ObjectSpec::new("k1", ObjectKind::Cache);
    let snapped = ObjectSpec { snapshot: true, ..ObjectSpec::new("k2", ObjectKind::Cache) };
    vec![plain, snapped]
}

fn fleet_of(names: &[&str], tune: fn(&mut ReplicaOptions)) -> Fleet {
    let mut fleet = Fleet::new(tune);
    for name in names {
        fleet.start(name, specs());
    }
    fleet.run(50);
    fleet
}

fn wall(fleet: &Fleet) -> WallTime {
    WallTime::from_unix_millis(1_800_000_000_000 + fleet.now.as_micros() / 1000)
}

fn set_for(fleet: &mut Fleet, at: usize, cache: &str, key: &str, value: &str, ttl: Ttl) {
    let (now, wall) = (fleet.now, wall(fleet));
    let cache = fleet.processes[at].replica.cache_mut(cache).unwrap();
    cache.set(now, wall, Bytes::from(key.to_owned()), Bytes::from(value.to_owned()), ttl).unwrap();
    fleet.turn_ends(at);
}

fn set(fleet: &mut Fleet, at: usize, cache: &str, key: &str, value: &str) {
    set_for(fleet, at, cache, key, value, Ttl::NEVER);
}

fn get(fleet: &Fleet, at: usize, cache: &str, key: &str) -> Option<String> {
    let value = fleet.processes[at].replica.cache(cache).unwrap().value(key.as_bytes(), fleet.now);
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// What every member of these holds, which has to be the same.
fn held(fleet: &Fleet, members: &[usize], cache: &str) -> Vec<(String, String)> {
    let of = |at: usize| -> Vec<(String, String)> {
        let cache = fleet.processes[at].replica.cache(cache).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        cache
            .shown(fleet.now)
            .map(|(key, ..)| (text(key), text(cache.value(key, fleet.now).unwrap())))
            .collect()
    };
    for at in members {
        assert_eq!(of(*at), of(members[0]), "{at} against {}", members[0]);
        let prints = [*at, members[0]].map(|at| fleet.processes[at].replica.fingerprint(cache));
        assert_eq!(prints[0], prints[1]);
        assert!(prints[0].is_some(), "an exchange goes on");
    }
    of(members[0])
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.into(), value.into())
}

#[test]
fn replication_a15_a_joiner_has_what_a_snapshot_gives_it() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    set(&mut fleet, 0, "k1", "x", "1");
    set(&mut fleet, 0, "k2", "x", "1");
    fleet.settle();
    fleet.start("d", specs());
    fleet.run(50);
    assert_eq!(get(&fleet, 3, "k1", "x"), None);
    assert_eq!(get(&fleet, 3, "k2", "x").as_deref(), Some("1"));
    set(&mut fleet, 0, "k1", "x", "2");
    fleet.settle();
    assert_eq!(get(&fleet, 3, "k1", "x").as_deref(), Some("2"));
    held(&fleet, &[0, 1, 2, 3], "k2");
}

#[test]
fn replication_a23_of_two_writes_at_once_the_last_in_the_order_wins_everywhere() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    set(&mut fleet, 0, "k1", "x", "A");
    set(&mut fleet, 1, "k1", "x", "B");
    assert_eq!(get(&fleet, 0, "k1", "x").as_deref(), Some("A"));
    assert_eq!(get(&fleet, 1, "k1", "x").as_deref(), Some("B"));
    // The order: a, then b. Each member is delivered one message at a time.
    assert!(fleet.sequence(0) && fleet.sequence(1));
    let mut seen = vec![Vec::new(); 3];
    loop {
        let mut any = false;
        for (at, seen) in seen.iter_mut().enumerate() {
            any |= fleet.deliver(at);
            seen.push(get(&fleet, at, "k1", "x"));
        }
        if !any {
            break;
        }
    }
    assert!(seen[0].contains(&Some("A".into())) && seen[2].contains(&Some("A".into())));
    assert!(seen[1].iter().all(|value| value.as_deref() == Some("B")), "b never reads A: {:?}", seen[1]);
    fleet.settle();
    assert_eq!(held(&fleet, &[0, 1, 2], "k1"), [pair("x", "B")]);
}

#[test]
fn sides_of_a_partition_meet_and_the_higher_stamp_wins() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    for cache in ["k1", "k2"] {
        set(&mut fleet, 0, cache, "both", "before");
    }
    fleet.settle();
    fleet.split(0, &[2], 1);
    fleet.settle();
    fleet.run(100);
    set(&mut fleet, 2, "k2", "both", "c, earlier");
    set(&mut fleet, 2, "k2", "only c", "1");
    fleet.run(100);
    set(&mut fleet, 0, "k2", "both", "a, later");
    set(&mut fleet, 1, "k2", "only b", "1");
    set(&mut fleet, 0, "k1", "only a", "1");
    fleet.run(100);
    fleet.merge(0, 1);
    fleet.run(50);
    let expected = [pair("both", "a, later"), pair("only b", "1"), pair("only c", "1")];
    assert_eq!(held(&fleet, &[0, 1, 2], "k2"), expected);
    // Without a snapshot sides keep what they have, and agree from the next write on.
    assert_eq!(get(&fleet, 2, "k1", "only a"), None);
    set(&mut fleet, 1, "k1", "only a", "2");
    fleet.settle();
    assert_eq!(get(&fleet, 2, "k1", "only a").as_deref(), Some("2"));
}

#[test]
fn a_member_without_a_bus_goes_on_alone_and_comes_back() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    set(&mut fleet, 0, "k2", "x", "1");
    // It is on its way when the bus goes.
    fleet.lose(0);
    fleet.run(100);
    assert_eq!(get(&fleet, 0, "k2", "x").as_deref(), Some("1"));
    set(&mut fleet, 0, "k2", "y", "alone");
    assert_eq!(get(&fleet, 0, "k2", "y").as_deref(), Some("alone"));
    assert_eq!(fleet.processes[0].replica.cache("k2").unwrap().len(), 2);
    fleet.connect(0, 0);
    fleet.join_group(0);
    fleet.run(50);
    assert_eq!(held(&fleet, &[0, 1, 2], "k2"), [pair("x", "1"), pair("y", "alone")]);
}

#[test]
fn a_member_that_does_not_share_the_cache_holds_nobody_up_for_ever() {
    let mut fleet = Fleet::new(|_| {});
    for name in ["a", "b"] {
        fleet.start(name, specs());
    }
    fleet.start("c", vec![ObjectSpec::of(ObjectKind::InboundCidr)]);
    fleet.run(50);
    set(&mut fleet, 0, "k2", "x", "1");
    fleet.run(50);
    // Values pass while c is waited for; afterwards nobody waits any more.
    assert_eq!(get(&fleet, 1, "k2", "x").as_deref(), Some("1"));
    assert_eq!(fleet.processes[0].replica.awaited("k2"), [fleet.processes[2].name.clone()]);
    fleet.run_coarsely(6000);
    assert_eq!(held(&fleet, &[0, 1], "k2"), [pair("x", "1")]);
    // When it begins to share, it gets everything.
    fleet.reconfigure(2, specs());
    fleet.run(50);
    assert_eq!(held(&fleet, &[0, 1, 2], "k2"), [pair("x", "1")]);
}

#[test]
fn pairs_end_on_every_member_and_the_oldest_go_first() {
    let mut fleet = Fleet::new(|_| {});
    let spec = ObjectSpec { max_size: Some(2), snapshot: true, ..ObjectSpec::new("k2", ObjectKind::Cache) };
    for name in ["a", "b"] {
        fleet.start(name, vec![spec.clone()]);
    }
    fleet.run(50);
    for (at, key) in [(0, "x"), (1, "y")] {
        set_for(&mut fleet, at, "k2", key, key, Ttl::from_seconds(10));
        fleet.run(20);
    }
    fleet.run_coarsely(5000);
    fleet.start("c", vec![spec]);
    fleet.run(50);
    // Reads change nothing: x is the oldest.
    assert_eq!(get(&fleet, 1, "k2", "x").as_deref(), Some("x"));
    set(&mut fleet, 2, "k2", "z", "z");
    fleet.run(50);
    assert_eq!(held(&fleet, &[0, 1, 2], "k2"), [pair("y", "y"), pair("z", "z")]);
    let Rows::Pairs(rows) = fleet.processes[2].replica.show_cache(fleet.now, "k2", Of::Global).unwrap().rows
    else {
        panic!("not pairs")
    };
    let [(first, Some(left)), (second, None)] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((&first[..], &second[..]), (&b"y"[..], &b"z"[..]));
    // Counted down on the joiner's own clock, from what was left when it came.
    assert!(*left > Duration::from_millis(4500) && *left <= Duration::from_secs(5), "{left:?}");
    fleet.run_coarsely(5000);
    assert_eq!(held(&fleet, &[0, 1, 2], "k2"), [pair("z", "z")]);
}

#[test]
fn what_is_shown_of_a_node_is_what_it_wrote_last() {
    let mut fleet = fleet_of(&["a", "b"], |_| {});
    set(&mut fleet, 0, "k1", "x", "1");
    set(&mut fleet, 1, "k1", "y", "1");
    fleet.settle();
    let keys = |fleet: &Fleet, of: Of<'_>| match fleet.processes[0].replica.show_cache(fleet.now, "k1", of) {
        Ok(show) => {
            let Rows::Pairs(rows) = show.rows else { panic!("{:?}", show.rows) };
            Ok(rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
        }
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(keys(&fleet, Of::Global).unwrap(), [&b"x"[..], b"y"]);
    assert_eq!(keys(&fleet, Of::Node("a")).unwrap(), [&b"x"[..]]);
    assert_eq!(keys(&fleet, Of::Own).unwrap(), [&b"x"[..]]);
    assert_eq!(keys(&fleet, Of::Node("b")).unwrap(), [&b"y"[..]]);
    assert_eq!(keys(&fleet, Of::Node("z")).unwrap_err(), "no view of 'k1' from node 'z'");
    fleet.kill(1);
    fleet.settle();
    assert_eq!(keys(&fleet, Of::Node("b")).unwrap_err(), "no view of 'k1' from node 'b'");
    assert_eq!(keys(&fleet, Of::Global).unwrap(), [&b"x"[..], b"y"], "a departed member's pairs stay");
}

#[test]
fn without_min_delay_writes_wait_for_max_delay_and_later_ones_supersede() {
    let mut fleet = fleet_of(&["a", "b"], |options| options.min_delay = None);
    set(&mut fleet, 0, "k1", "x", "1");
    fleet.run(500);
    assert_eq!(get(&fleet, 1, "k1", "x"), None);
    set(&mut fleet, 0, "k1", "x", "2");
    fleet.run(400);
    assert_eq!(get(&fleet, 1, "k1", "x"), None);
    fleet.run(150);
    assert_eq!(get(&fleet, 1, "k1", "x").as_deref(), Some("2"));
    // A hundred writes are enough to send.
    for number in 0..100 {
        set(&mut fleet, 0, "k1", &number.to_string(), "1");
    }
    fleet.run(50);
    assert_eq!(get(&fleet, 1, "k1", "99").as_deref(), Some("1"));
}

#[test]
fn large_caches_come_in_parts_and_too_large_pairs_are_refused() {
    let mut fleet = fleet_of(&["a"], |_| {});
    let value = "v".repeat(40_000);
    for number in 0..100 {
        set(&mut fleet, 0, "k2", &number.to_string(), &value);
    }
    fleet.start("b", specs());
    fleet.run(1000);
    assert_eq!(held(&fleet, &[0, 1], "k2").len(), 100);
    let (now, wall) = (fleet.now, wall(&fleet));
    let cache = fleet.processes[0].replica.cache_mut("k2").unwrap();
    let long = Bytes::from(vec![0; PAIR_BYTES_MAX]);
    let refused = cache.set(now, wall, Bytes::from_static(b"k"), long, Ttl::NEVER);
    assert_eq!(refused, Err(PairTooLong(PAIR_BYTES_MAX + 1)));
}

#[derive(Clone, Debug)]
enum Step {
    Set { at: usize, key: u8, value: u8, seconds: u64 },
    Split(usize),
    Merge,
    Lose(usize),
    Connect,
    Run(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let set = (0..4_usize, 0..6_u8, any::<u8>(), 0..3_u64).prop_map(|(at, key, value, tens)| Step::Set {
        at,
        key,
        value,
        seconds: tens * 10,
    });
    let step = prop_oneof![
        6 => set,
        1 => (0..4_usize).prop_map(Step::Split),
        1 => Just(Step::Merge),
        1 => (0..4_usize).prop_map(Step::Lose),
        1 => Just(Step::Connect),
        3 => (0..30_u64).prop_map(Step::Run),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Invariant 9: after any interleaving of writes, splits, losses and merges all members of one configuration hold the same.
    #[test]
    fn replication_s17_9_members_of_one_configuration_hold_the_same_pairs(steps in steps(), max in 2..7_u64) {
        let spec = ObjectSpec { max_size: Some(max), snapshot: true, ..ObjectSpec::new("k2", ObjectKind::Cache) };
        let mut fleet = Fleet::new(|_| {});
        for name in ["a", "b", "c", "d"] {
            fleet.start(name, vec![spec.clone()]);
        }
        let mut split: Option<usize> = None;
        let mut lost: Option<usize> = None;
        for step in steps {
            match step {
                Step::Set { at, key, value, seconds } => {
                    let ttl = Ttl::from_seconds(seconds);
                    set_for(&mut fleet, at, "k2", &key.to_string(), &value.to_string(), ttl);
                }
                Step::Split(at) if split.is_none() && lost.is_none() => {
                    fleet.split(0, &[at], 1);
                    split = Some(at);
                }
                Step::Merge if split.take().is_some() => fleet.merge(0, 1),
                Step::Lose(at) if split.is_none() && lost.is_none() => {
                    fleet.lose(at);
                    lost = Some(at);
                }
                Step::Connect => {
                    if let Some(at) = lost.take() {
                        fleet.connect(at, 0);
                        fleet.join_group(at);
                    }
                }
                Step::Run(millis) => fleet.run(millis),
                Step::Split(_) | Step::Merge | Step::Lose(_) => {}
            }
        }
        if let Some(at) = lost {
            fleet.connect(at, 0);
            fleet.join_group(at);
        }
        if split.is_some() {
            fleet.merge(0, 1);
        }
        fleet.run(200);
        held(&fleet, &[0, 1, 2, 3], "k2");
        for process in &fleet.processes {
            prop_assert_eq!(process.replica.counters().malformed, 0);
        }
    }
}
