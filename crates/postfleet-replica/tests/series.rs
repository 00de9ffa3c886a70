//! Series and gauge caches: replication document, sections 2, 10, 11, 14.1, 16 and cases of section 18, step by step.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may end here")]

mod fleet;

use fleet::Fleet;
use postfleet_replica::{
    CountError, GaugeLimits, KIND_BATCH, Key, MetricWord, Mode, Monitor, ObjectKind, ObjectSpec, Of, Query,
    Range, Reading, ReplicaOptions, Rows, SeriesId, SeriesKind,
};
use std::net::IpAddr;
use std::time::Duration;

const WORDS: [MetricWord; 5] = [
    MetricWord::Connect,
    MetricWord::Reception,
    MetricWord::Rejection,
    MetricWord::AuditSeries,
    MetricWord::GaugeCache,
];

fn monitor() -> Monitor {
    Monitor::new(300, 6).unwrap()
}

fn metrics(snapshot: bool) -> Vec<ObjectSpec> {
    let mut spec = ObjectSpec::of(ObjectKind::Metrics);
    spec.words = WORDS.to_vec();
    spec.client_monitors = vec![monitor()];
    spec.snapshot = snapshot;
    vec![spec]
}

fn id(name: &str) -> SeriesId<'_> {
    SeriesId { name, kind: SeriesKind::Text, monitor: monitor() }
}

fn fleet(names: &[&str], snapshot: bool) -> Fleet {
    let mut fleet = Fleet::new(|_: &mut ReplicaOptions| {});
    for name in names {
        fleet.start(name, metrics(snapshot));
    }
    fleet.run(30);
    fleet
}

fn add(fleet: &mut Fleet, at: usize, name: &str, key: &str, delta: i64) {
    let (now, wall) = (fleet.now, fleet.wall());
    let replica = &mut fleet.processes[at].replica;
    replica.set_wall(wall);
    let counted = replica.count_named(now, Mode::Cluster, id(name), Key::Text(key), delta, wall);
    assert_eq!(counted, Ok(true));
    fleet.turn_ends(at);
}

fn connect(fleet: &mut Fleet, at: usize, client: &str) {
    let (now, wall) = (fleet.now, fleet.wall());
    let key = Key::Address(client.parse::<IpAddr>().unwrap());
    assert!(fleet.processes[at].replica.count_event(now, MetricWord::Connect, key, 1, wall));
    fleet.turn_ends(at);
}

fn remove(fleet: &mut Fleet, at: usize, name: &str, key: &str) {
    let now = fleet.now;
    assert!(fleet.processes[at].replica.remove_from_named(now, id(name), Key::Text(key)));
    fleet.turn_ends(at);
}

fn sum(fleet: &Fleet, at: usize, name: &str, key: &str, range: Range) -> i64 {
    let replica = &fleet.processes[at].replica;
    replica.shared_sum(name, monitor(), Query::Text(key), range, Reading::Global).unwrap_or(0)
}

fn all() -> Range {
    Range::new(0, 6)
}

fn sums(fleet: &Fleet, members: &[usize], key: &str) -> Vec<i64> {
    members.iter().map(|at| sum(fleet, *at, "s", key, all())).collect()
}

#[test]
fn replication_a22_a_late_batch_lands_in_its_window() {
    let mut fleet = fleet(&["a", "b"], false);
    // Ten seconds before the window ends.
    let second = fleet.wall().unix_seconds();
    fleet.advance(Duration::from_secs(300 - second % 300 + 290));
    fleet.settle();
    add(&mut fleet, 1, "s", "k", 3);
    // The batch is delivered eleven seconds later.
    fleet.advance(Duration::from_secs(11));
    fleet.settle();
    assert_eq!(sum(&fleet, 0, "s", "k", Range::window(0)), 0);
    assert_eq!(sum(&fleet, 0, "s", "k", Range::window(1)), 3);
}

#[test]
fn replication_s10_4_a_member_makes_the_series_that_it_lacks() {
    let mut fleet = fleet(&["a", "b", "c"], false);
    add(&mut fleet, 0, "s", "k", 2);
    add(&mut fleet, 1, "s", "k", -5);
    fleet.run(1100);
    assert_eq!(sums(&fleet, &[0, 1, 2], "k"), [-3, -3, -3], "cells are not clamped");
    add(&mut fleet, 2, "s", "k", 4);
    fleet.run(1100);
    assert_eq!(sums(&fleet, &[0, 1, 2], "k"), [1, 1, 1]);
    // The same name with other windows is another series; with another type it is refused.
    let (now, wall) = (fleet.now, fleet.wall());
    let other = SeriesId { kind: SeriesKind::Cidr, ..id("s") };
    let address = Key::Address([192, 0, 2, 1].into());
    let refused = fleet.processes[2].replica.count_named(now, Mode::Cluster, other, address, 1, wall);
    assert_eq!(refused, Err(CountError::Kind(SeriesKind::Text)));
}

#[test]
fn replication_s10_3_connections_are_counted_by_client() {
    let mut fleet = fleet(&["a", "b"], false);
    connect(&mut fleet, 0, "192.0.2.1");
    connect(&mut fleet, 1, "192.0.2.1");
    connect(&mut fleet, 1, "::ffff:192.0.2.2");
    connect(&mut fleet, 1, "2001:db8::1");
    fleet.run(1100);
    for process in &fleet.processes {
        let count = |block: &str| {
            let query = Query::Block(block.parse().unwrap());
            process.replica.shared_sum("connect", monitor(), query, all(), Reading::Global)
        };
        assert_eq!(count("192.0.2.1"), Some(2));
        assert_eq!(count("192.0.2.0/24"), Some(3));
        assert_eq!(count("2001:db8::/32"), Some(1));
    }
    // A word that no object carries is the caller's to count.
    let now = fleet.now;
    let wall = fleet.wall();
    assert!(!fleet.processes[0].replica.count_event(
        now,
        MetricWord::Delivery,
        Key::Text("a.example"),
        1,
        wall
    ));
}

#[test]
fn replication_s16_show_has_a_row_for_each_word() {
    let mut fleet = fleet(&["a", "b"], true);
    connect(&mut fleet, 0, "192.0.2.1");
    connect(&mut fleet, 1, "192.0.2.9");
    add(&mut fleet, 1, "s", "k", 4);
    fleet.run(1100);
    let rows = |of| match fleet.processes[0].replica.show("metrics", of).unwrap().rows {
        Rows::Names(rows) => rows,
        _ => panic!("names"),
    };
    assert_eq!(rows(Of::Global), [("connect".into(), 2), ("audit_series".into(), 4)]);
    assert_eq!(rows(Of::Node("b")), [("connect".into(), 1), ("audit_series".into(), 4)]);
    assert_eq!(rows(Of::Own), [("connect".into(), 1)]);
    let list = fleet.processes[0].replica.list();
    assert!(list[0].snapped && list[0].structure.to_string() == "metrics");
}

#[test]
fn replication_s2_6_what_has_happened_does_not_unhappen() {
    let mut fleet = fleet(&["a", "b", "c"], false);
    for at in 0..3 {
        add(&mut fleet, at, "s", "k", 1);
    }
    fleet.run(1100);
    fleet.kill(2);
    fleet.run(100);
    assert_eq!(sums(&fleet, &[0, 1], "k"), [3, 3]);
    let gone = fleet.processes[0].replica.show("metrics", Of::Node("c"));
    assert_eq!(gone.unwrap_err().to_string(), "no view of 'metrics' from node 'c'");
    assert_eq!(fleet.processes[0].replica.departed("metrics").len(), 1);
    // Its windows age out, and then nothing is left of it.
    for _ in 0..8 {
        fleet.advance(Duration::from_secs(300));
        fleet.run_coarsely(20_000);
    }
    assert_eq!(sums(&fleet, &[0, 1], "k"), [0, 0]);
    assert_eq!(fleet.processes[0].replica.departed("metrics").len(), 0);
}

#[test]
fn replication_s2_5_without_snapshot_a_joiner_counts_from_its_join() {
    let mut fleet = fleet(&["a", "b"], false);
    add(&mut fleet, 0, "s", "k", 5);
    fleet.run(1100);
    let c = fleet.start("c", metrics(false));
    fleet.run(1100);
    assert_eq!(sum(&fleet, c, "s", "k", all()), 0);
    assert!(fleet.processes[c].replica.complete());
    add(&mut fleet, 0, "s", "k", 2);
    add(&mut fleet, c, "s", "k", 1);
    fleet.run(1100);
    assert_eq!(sums(&fleet, &[0, 1, c], "k"), [8, 8, 3]);
}

#[test]
fn replication_s2_5_with_snapshot_a_joiner_gets_all_even_of_those_who_are_gone() {
    for small in [false, true] {
        let tune: fn(&mut ReplicaOptions) = if small {
            |options| {
                options.chunk_bytes_max = 3000;
                options.inline_bytes_max = 8;
            }
        } else {
            |_| {}
        };
        let mut fleet = Fleet::new(tune);
        for name in ["a", "b", "c"] {
            fleet.start(name, metrics(true));
        }
        fleet.run(30);
        for at in 0..3 {
            for key in 0..200 {
                add(&mut fleet, at, "s", &format!("key number {key}"), 1 + key % 3);
            }
        }
        fleet.run(1100);
        fleet.kill(2);
        fleet.run(100);
        let d = fleet.start("d", metrics(true));
        fleet.run(3000);
        for key in 0..200 {
            let expected = 3 * (1 + key % 3);
            let key = format!("key number {key}");
            assert_eq!(sums(&fleet, &[0, 1, d], &key), [expected; 3], "{key}, small {small}");
        }
        assert_eq!(fleet.processes[d].replica.departed("metrics").len(), 1);
        // The leader goes too: what d has of c it has itself.
        fleet.kill(0);
        fleet.run(100);
        let e = fleet.start("e", metrics(true));
        fleet.run(3000);
        assert_eq!(sums(&fleet, &[1, d, e], "key number 0"), [3, 3, 3]);
    }
}

#[test]
fn replication_a14_partition_and_merge_of_series() {
    for snapshot in [false, true] {
        let mut fleet = fleet(&["a", "b", "c"], snapshot);
        for (at, count) in [(0, 4), (1, 5), (2, 6)] {
            add(&mut fleet, at, "s", "k", count);
        }
        fleet.run(1100);
        fleet.split(0, &[2], 1);
        fleet.run(100);
        assert_eq!(sums(&fleet, &[0, 1, 2], "k"), [15, 15, 15], "what has happened stays");
        add(&mut fleet, 2, "s", "k", 2);
        fleet.run(1100);
        fleet.merge(0, 1);
        fleet.run(3000);
        let expected = if snapshot { [17, 17, 17] } else { [15, 15, 17] };
        assert_eq!(sums(&fleet, &[0, 1, 2], "k"), expected, "nothing is counted twice, snapshot {snapshot}");
        add(&mut fleet, 2, "s", "k", 1);
        fleet.run(1100);
        let expected = expected.map(|sum| sum + 1);
        assert_eq!(sums(&fleet, &[0, 1, 2], "k"), expected);
    }
}

#[test]
fn replication_s10_4_a_removal_has_its_place_in_the_order() {
    let mut fleet = fleet(&["a", "b", "c"], true);
    for at in 0..3 {
        add(&mut fleet, at, "s", "k", 1);
        add(&mut fleet, at, "s", "other", 1);
    }
    fleet.run(1100);
    // b has two more on the bus, in front of the removal and behind it; c has one that waits.
    add(&mut fleet, 1, "s", "k", 10);
    fleet.sequence(1);
    remove(&mut fleet, 0, "s", "k");
    fleet.sequence(0);
    add(&mut fleet, 1, "s", "k", 100);
    add(&mut fleet, 2, "s", "k", 1000);
    fleet.run(1200);
    assert_eq!(sums(&fleet, &[0, 1, 2], "k"), [1100; 3]);
    assert_eq!(sums(&fleet, &[0, 1, 2], "other"), [3; 3]);
    for of in ["a", "b", "c"] {
        let rows = |at: usize| {
            let object = fleet.processes[at].replica.object("metrics").unwrap();
            object.series_rows(Of::Node(of), "s", monitor()).unwrap()
        };
        assert_eq!(rows(0), rows(1));
        assert_eq!(rows(1), rows(2));
    }
}

#[test]
fn replication_s10_4_a_removal_meets_a_cut_on_its_way() {
    let mut fleet = fleet(&["a", "b"], true);
    add(&mut fleet, 1, "s", "k", 7);
    fleet.run(1100);
    let c = fleet.start("c", metrics(true));
    // The members see c and send their markers, with 7 in that of b; then comes the removal.
    fleet.deliver(0);
    fleet.deliver(1);
    fleet.deliver(0);
    fleet.deliver(1);
    remove(&mut fleet, 0, "s", "k");
    fleet.run(2000);
    assert_eq!(sums(&fleet, &[0, 1, c], "k"), [0, 0, 0]);
    add(&mut fleet, 1, "s", "k", 1);
    fleet.run(1100);
    assert_eq!(sums(&fleet, &[0, 1, c], "k"), [1, 1, 1]);
}

#[test]
fn replication_s10_5_managers_alone_hear_of_eccmgr_metrics() {
    let specs = || {
        let mut spec = ObjectSpec::of(ObjectKind::EccmgrMetrics);
        spec.words = WORDS.to_vec();
        spec.client_monitors = vec![monitor()];
        spec.snapshot = true;
        vec![spec]
    };
    let mut fleet = Fleet::new(|_| {});
    for name in ["a", "b"] {
        fleet.start(name, specs());
    }
    fleet.run(30);
    let count = |fleet: &mut Fleet, at: usize| {
        let (now, wall) = (fleet.now, fleet.wall());
        let replica = &mut fleet.processes[at].replica;
        replica.count_named(now, Mode::Managers, id("s"), Key::Text("k"), 1, wall).unwrap();
        fleet.turn_ends(at);
        fleet.run(1100);
    };
    let before = fleet.trace.iter().filter(|(_, _, kind, _)| *kind == KIND_BATCH).count();
    count(&mut fleet, 0);
    let after = fleet.trace.iter().filter(|(_, _, kind, _)| *kind == KIND_BATCH).count();
    assert_eq!(before, after, "nobody is there to be told");
    let manager = fleet.start("manager-1", specs());
    fleet.run(1100);
    count(&mut fleet, 1);
    assert_eq!(sums(&fleet, &[0, 1, manager], "k"), [1, 1, 2], "a node has its own column");
    count(&mut fleet, 0);
    assert_eq!(sums(&fleet, &[0, 1, manager], "k"), [2, 1, 3]);
    assert!(fleet.processes.iter().all(|process| process.replica.complete()));
}

#[test]
fn replication_s14_1_a_restarted_node_goes_on_with_what_it_kept() {
    for snapshot in [false, true] {
        for early in [false, true] {
            let mut fleet = fleet(&["a", "b"], snapshot);
            add(&mut fleet, 0, "s", "k", 1);
            add(&mut fleet, 1, "s", "k", 6);
            fleet.run(1100);
            let before = fleet.processes[1].name.clone();
            fleet.kill(1);
            fleet.run(100);
            assert_eq!(sums(&fleet, &[0], "k"), [7]);
            let again = fleet.spawn("b", metrics(snapshot));
            let load = |fleet: &mut Fleet| {
                add(fleet, again, "s", "k", 6);
                let now = fleet.now;
                fleet.processes[again].replica.replace_named(now, id("s"), &before);
                fleet.turn_ends(again);
            };
            if early {
                load(&mut fleet);
            }
            fleet.connect(again, 0);
            fleet.join_group(again);
            fleet.run(1100);
            if !early {
                load(&mut fleet);
                fleet.run(1100);
            }
            let told = format!("snapshot {snapshot}, early {early}");
            let of_a = if snapshot { 1 } else { 0 };
            assert_eq!(sum(&fleet, 0, "s", "k", all()), 7, "{told}");
            assert_eq!(sum(&fleet, again, "s", "k", all()), 6 + of_a, "{told}");
            let c = fleet.start("c", metrics(snapshot));
            fleet.run(1100);
            let of_all = if snapshot { 7 } else { 0 };
            assert_eq!(sum(&fleet, c, "s", "k", all()), of_all, "{told}");
        }
    }
}

fn limits(keys_max: usize) -> GaugeLimits {
    GaugeLimits { keys_max, ttl: Some(Duration::from_secs(300)) }
}

fn gauge(fleet: &mut Fleet, at: usize, key: &str, delta: i64) {
    let now = fleet.now;
    let replica = &mut fleet.processes[at].replica;
    assert_eq!(replica.init_gauges("g", limits(3)), Ok(true));
    assert_eq!(replica.add_gauge(now, "g", key, delta), Ok(true));
    fleet.turn_ends(at);
}

fn gauges(fleet: &Fleet, at: usize) -> Vec<(String, i64)> {
    let now = fleet.now;
    fleet.processes[at].replica.shared_gauges().unwrap().gauge_rows("g", now)
}

#[test]
fn replication_s11_counters_are_summed_and_go_at_one_point_of_the_order() {
    let mut fleet = fleet(&["a", "b"], false);
    gauge(&mut fleet, 0, "x", 2);
    gauge(&mut fleet, 1, "x", -3);
    let value = |fleet: &Fleet, at: usize| {
        fleet.processes[at].replica.shared_gauges().unwrap().gauge("g", "x", fleet.now)
    };
    assert_eq!(value(&fleet, 0), Some(2), "at once on the node itself");
    fleet.run(1100);
    assert_eq!((value(&fleet, 0), value(&fleet, 1)), (Some(-1), Some(-1)));
    // The fourth key drops the one modified longest ago, in the order of delivery: the same on both.
    for (at, key) in [(0, "y"), (1, "z"), (0, "x"), (1, "w")] {
        gauge(&mut fleet, at, key, 1);
        fleet.run(1100);
    }
    let expected: Vec<(String, i64)> = [("w", 1), ("x", 0), ("z", 1)].map(|(k, v)| (k.to_string(), v)).into();
    assert_eq!((gauges(&fleet, 0), gauges(&fleet, 1)), (expected.clone(), expected));
    // Both add to keys at the same moment: what goes is decided by the order, not by who learned of it first.
    for (at, key) in [(0, "p"), (1, "q"), (0, "r"), (1, "p")] {
        gauge(&mut fleet, at, key, 1);
    }
    fleet.run(1100);
    assert_eq!(gauges(&fleet, 0), gauges(&fleet, 1));
    assert_eq!(gauges(&fleet, 0).len(), 3);
    // A removal.
    gauge(&mut fleet, 0, "p", 5);
    let now = fleet.now;
    assert!(fleet.processes[1].replica.remove_gauge(now, "g", "p"));
    fleet.turn_ends(1);
    fleet.run(1100);
    assert_eq!(gauges(&fleet, 0), gauges(&fleet, 1));
    // They live for five minutes after they were modified; a departed member's count with them.
    gauge(&mut fleet, 0, "x", 1);
    gauge(&mut fleet, 1, "x", 1);
    fleet.run(1100);
    fleet.kill(1);
    fleet.run(100);
    let x = value(&fleet, 0).unwrap();
    assert!(x >= 2, "{x}");
    fleet.run_coarsely(320_000);
    assert_eq!(value(&fleet, 0), None);
    assert_eq!(fleet.processes[0].replica.departed("metrics").len(), 0);
}

#[test]
fn replication_s11_a_joiner_gets_counters_with_snapshot_only() {
    for snapshot in [false, true] {
        let mut fleet = fleet(&["a", "b"], snapshot);
        gauge(&mut fleet, 0, "x", 2);
        gauge(&mut fleet, 1, "x", 3);
        fleet.run(1100);
        let c = fleet.start("c", metrics(snapshot));
        fleet.run(1100);
        let x = fleet.processes[c].replica.shared_gauges().unwrap().gauge("g", "x", fleet.now);
        assert_eq!(x, snapshot.then_some(5));
    }
}
