//! Throttles and slots on a fleet: the cases of the replication document that speak of them, through the replica.
//! What the tables do by themselves is tested in `postfleet-throttle`.

#![allow(clippy::unwrap_used, reason = "a test may end here")]

mod fleet;

use bytes::Bytes;
use fleet::Fleet;
use postfleet_bus::event::{BusEvent, LeaveReason};
use postfleet_replica::{ForgetError, KIND_TABLES, ObjectKind, ObjectSpec, ReplicaOptions};
use postfleet_throttle::{Epsilon, Partition, Path};
use postfleet_types::ViewId;

const THROTTLES: &str = "shared_named_throttles";
const SLOTS: &str = "outbound_slots";

fn both() -> Vec<ObjectSpec> {
    vec![ObjectSpec::of(ObjectKind::SharedNamedThrottles), ObjectSpec::of(ObjectKind::OutboundSlots)]
}

fn fleet_of(names: &[&str], tune: fn(&mut ReplicaOptions)) -> Fleet {
    let mut fleet = Fleet::new(tune);
    for name in names {
        fleet.start(name, both());
    }
    fleet.run(50);
    fleet
}

/// Uses units of a throttle that is made when it is not there.
fn take(fleet: &mut Fleet, at: usize, rate: &str, units: u64) -> u64 {
    let now = fleet.now;
    let table = fleet.processes[at].replica.throttles_mut(THROTTLES).unwrap();
    let id = table.create(now, "t", rate.parse().unwrap(), Epsilon::default()).unwrap();
    let taken = table.take(now, &[id], units).unwrap();
    fleet.turn_ends(at);
    taken
}

/// Waits for units; they count as used when they come.
fn request(fleet: &mut Fleet, at: usize, rate: &str, units: u64) {
    let now = fleet.now;
    let table = fleet.processes[at].replica.throttles_mut(THROTTLES).unwrap();
    let id = table.create(now, "t", rate.parse().unwrap(), Epsilon::default()).unwrap();
    table.request(now, &[id], units).unwrap();
    fleet.turn_ends(at);
}

fn granted(fleet: &mut Fleet, at: usize) -> u64 {
    let table = fleet.processes[at].replica.throttles_mut(THROTTLES).unwrap();
    let mut units = 0;
    while let Some(granted) = table.poll_granted() {
        units += granted.units;
    }
    units
}

fn path(limit: u64) -> Path {
    Path::new([("domain:example.com", limit)]).unwrap()
}

/// Opens up to so many connections, waiting for slots.
fn want(fleet: &mut Fleet, at: usize, limit: u64, connections: u64) {
    let now = fleet.now;
    fleet.processes[at].replica.slots_mut(SLOTS).unwrap().want(now, &path(limit), connections);
    fleet.turn_ends(at);
}

fn open(fleet: &mut Fleet, at: usize, limit: u64) -> u64 {
    let now = fleet.now;
    let slots = fleet.processes[at].replica.slots_mut(SLOTS).unwrap();
    let mut opened = 0;
    while slots.open(now, &path(limit)) {
        opened += 1;
    }
    fleet.turn_ends(at);
    opened
}

fn alike(fleet: &Fleet, members: &[usize]) {
    for name in [THROTTLES, SLOTS] {
        let prints: Vec<_> =
            members.iter().map(|at| fleet.processes[*at].replica.fingerprint(name)).collect();
        assert!(prints.iter().all(|print| print.is_some() && *print == prints[0]), "{name}: {prints:?}");
    }
}

#[test]
fn replication_a19_claims_are_dealt_in_the_order_of_the_bus() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    // The throttle exists before anybody claims.
    take(&mut fleet, 0, "30/60", 0);
    fleet.run(20);
    for at in 0..3 {
        request(&mut fleet, at, "30/60", 30);
    }
    fleet.settle();
    let shares: Vec<u64> = (0..3).map(|at| granted(&mut fleet, at)).collect();
    assert_eq!(shares, [28, 1, 1]);
    alike(&fleet, &[0, 1, 2]);
}

#[test]
fn a_limit_holds_over_the_fleet_and_is_used_up() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    for at in 0..3 {
        request(&mut fleet, at, "20/60", 20);
    }
    fleet.run(500);
    let shares: Vec<u64> = (0..3).map(|at| granted(&mut fleet, at)).collect();
    assert_eq!(shares.iter().sum::<u64>(), 20, "{shares:?}");
    alike(&fleet, &[0, 1, 2]);
    fleet.run_coarsely(59_000);
    assert_eq!((0..3).map(|at| granted(&mut fleet, at)).sum::<u64>(), 0, "the window is full");
    fleet.run_coarsely(2000);
    assert_eq!((0..3).map(|at| granted(&mut fleet, at)).sum::<u64>(), 20, "and free again after it");
}

#[test]
fn replication_a28_units_of_a_killed_process_come_back_when_they_have_cooled() {
    for (reason, free_at) in [(LeaveReason::ProcessDown, 13_010), (LeaveReason::NodeDown, 17_010)] {
        // The whole limit stays: the policy is not what this is about.
        let mut fleet = fleet_of(&["b", "c", "a"], |options| options.tables.partition = Partition::Full);
        fleet.reason = reason;
        take(&mut fleet, 2, "6/10", 0);
        fleet.run(20);
        for (at, units) in [(2, 4), (0, 2), (1, 3)] {
            request(&mut fleet, at, "6/10", units);
            fleet.settle();
        }
        let shares: Vec<u64> = (0..3).map(|at| granted(&mut fleet, at)).collect();
        assert_eq!(shares, [1, 1, 4]);
        fleet.run_coarsely(3000);
        fleet.kill(2);
        fleet.settle();
        assert_eq!(granted(&mut fleet, 0) + granted(&mut fleet, 1), 0);
        // b and c use their own units again when these have cooled; those of a come ten seconds after it went.
        fleet.run_coarsely(free_at - 3000 - 100);
        assert_eq!(granted(&mut fleet, 0), 1, "its own unit again, {reason}");
        assert_eq!(granted(&mut fleet, 1), 1, "its own unit again, {reason}");
        fleet.run_coarsely(300);
        assert_eq!(granted(&mut fleet, 0), 0, "{reason}");
        assert_eq!(granted(&mut fleet, 1), 1, "{reason}");
        alike(&fleet, &[0, 1]);
    }
}

#[test]
fn whoever_leaves_and_comes_anew_keeps_its_part_and_who_stays_away_does_not() {
    for (for_good, part) in [(false, (2, 3)), (true, (2, 2))] {
        let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
        fleet.reason = LeaveReason::Left;
        take(&mut fleet, 0, "6/10", 0);
        fleet.settle();
        for at in 0..3 {
            request(&mut fleet, at, "6/10", 2);
        }
        fleet.settle();
        if for_good {
            fleet.leave_group(2);
            fleet.settle();
        }
        fleet.split(0, &[2], 1);
        fleet.settle();
        let why = fleet.processes[0].replica.throttles(THROTTLES).unwrap().why(fleet.now, "t").unwrap();
        assert_eq!((why.limit, why.part), (6 * part.0 / part.1, part));
        alike(&fleet, &[0, 1]);
        if !for_good {
            let alone = fleet.processes[2].replica.throttles(THROTTLES).unwrap().why(fleet.now, "t").unwrap();
            assert_eq!((alone.limit, alone.part), (2, (1, 3)));
            fleet.run(50);
            fleet.merge(0, 1);
            fleet.run(50);
            alike(&fleet, &[0, 1, 2]);
            let whole = fleet.processes[2].replica.throttles(THROTTLES).unwrap().why(fleet.now, "t").unwrap();
            assert_eq!((whole.limit, whole.part), (6, (3, 3)));
        }
    }
}

#[test]
fn replication_a29_the_sides_of_a_split_fleet_share_the_limit() {
    let mut fleet = fleet_of(&["a", "b", "c", "d"], |_| {});
    take(&mut fleet, 0, "8/10", 0);
    fleet.settle();
    for at in 0..4 {
        request(&mut fleet, at, "8/10", 100);
    }
    fleet.settle();
    fleet.run_coarsely(30_000);
    for at in 0..4 {
        granted(&mut fleet, at);
    }
    fleet.split(0, &[2, 3], 1);
    fleet.settle();
    alike(&fleet, &[0, 1]);
    alike(&fleet, &[2, 3]);
    for at in 0..4 {
        let why = fleet.processes[at].replica.throttles(THROTTLES).unwrap().why(fleet.now, "t").unwrap();
        assert_eq!((why.limit, why.part), (4, (2, 4)));
    }
    fleet.run_coarsely(9_900);
    assert_eq!((0..4).map(|at| granted(&mut fleet, at)).sum::<u64>(), 8);
    fleet.merge(0, 1);
    fleet.settle();
    alike(&fleet, &[0, 1, 2, 3]);
    let why = fleet.processes[0].replica.throttles(THROTTLES).unwrap().why(fleet.now, "t").unwrap();
    assert_eq!((why.limit, why.part), (8, (4, 4)));
}

#[test]
fn replication_a32_slots_of_a_killed_node_are_free_with_the_configuration() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    fleet.reason = LeaveReason::ProcessDown;
    for at in 0..3 {
        want(&mut fleet, at, 30, 30);
    }
    let mut opened = [0; 3];
    for _ in 0..200 {
        fleet.run(1);
        for (at, opened) in opened.iter_mut().enumerate() {
            *opened += open(&mut fleet, at, 30);
        }
    }
    assert_eq!(opened.iter().sum::<u64>(), 30, "{opened:?}");
    alike(&fleet, &[0, 1, 2]);
    fleet.kill(1);
    // C is that of a side until it is said that the process is dead.
    fleet.run_coarsely(1100);
    let more: Vec<u64> = [0, 2].into_iter().map(|at| open(&mut fleet, at, 30)).collect();
    assert_eq!(more.iter().sum::<u64>(), opened[1], "{opened:?} {more:?}");
    alike(&fleet, &[0, 2]);
}

#[test]
fn objects_that_are_added_and_removed_are_shared_by_those_who_have_them() {
    let mut fleet = Fleet::new(|_| {});
    let without = vec![ObjectSpec::of(ObjectKind::InboundCidr)];
    for name in ["a", "b", "c"] {
        fleet.start(name, without.clone());
    }
    fleet.run(50);
    fleet.reconfigure(0, both());
    fleet.reconfigure(1, both());
    // c does not answer, and is left out.
    fleet.run_coarsely(6000);
    alike(&fleet, &[0, 1]);
    request(&mut fleet, 0, "10/60", 4);
    request(&mut fleet, 1, "10/60", 20);
    fleet.run(100);
    assert_eq!((granted(&mut fleet, 0), granted(&mut fleet, 1)), (4, 6));
    fleet.reconfigure(2, both());
    fleet.run(100);
    alike(&fleet, &[0, 1, 2]);
    request(&mut fleet, 2, "10/60", 1);
    fleet.run(100);
    assert_eq!(granted(&mut fleet, 2), 0, "it knows what was used before it came");
    // b has the object no more: its part is the others'. It shares the bus all along.
    fleet.reconfigure(1, without);
    fleet.run_coarsely(61_000);
    assert!(fleet.processes[1].replica.throttles(THROTTLES).is_none());
    assert_eq!(granted(&mut fleet, 2), 1);
    request(&mut fleet, 0, "10/60", 9);
    fleet.run_coarsely(61_000);
    assert_eq!(granted(&mut fleet, 0), 9);
    alike(&fleet, &[0, 2]);
    for process in &fleet.processes {
        assert_eq!(process.replica.counters().malformed, 0);
    }
}

#[test]
fn a_node_that_is_gone_for_good_is_forgotten() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    take(&mut fleet, 0, "30/10", 0);
    fleet.run(10);
    let now = fleet.now;
    assert_eq!(fleet.processes[0].replica.forget_node(now, "b"), Err(ForgetError::Present("b".into())));
    assert_eq!(fleet.processes[0].replica.forget_node(now, "a"), Err(ForgetError::Present("a".into())));
    assert!(matches!(fleet.processes[0].replica.forget_node(now, "no name"), Err(ForgetError::BadName(_))));
    fleet.kill(1);
    fleet.run(10);
    let limit = |fleet: &mut Fleet, at: usize| {
        take(fleet, at, "30/10", 0);
        fleet.settle();
        fleet.processes[at].replica.throttles(THROTTLES).unwrap().why(fleet.now, "t").unwrap().limit
    };
    assert_eq!(limit(&mut fleet, 0), 20);
    let now = fleet.now;
    fleet.processes[2].replica.forget_node(now, "b").unwrap();
    fleet.turn_ends(2);
    fleet.run(10);
    assert_eq!((limit(&mut fleet, 0), limit(&mut fleet, 2)), (30, 30));
    alike(&fleet, &[0, 2]);
    // A process that its host reports dead needs no operator.
    fleet.reason = LeaveReason::ProcessDown;
    fleet.kill(2);
    fleet.run(10);
    assert_eq!(limit(&mut fleet, 0), 15);
    fleet.run(1100);
    assert_eq!(limit(&mut fleet, 0), 30);
}

#[test]
fn a_process_is_not_called_dead_when_its_host_went_as_well() {
    let mut fleet = fleet_of(&["a", "b", "c"], |_| {});
    take(&mut fleet, 0, "30/10", 0);
    fleet.run(10);
    fleet.reason = LeaveReason::ProcessDown;
    fleet.kill(1);
    fleet.run(10);
    for at in [0, 2] {
        let suspects: Vec<_> = fleet.processes[at].replica.suspected().cloned().collect();
        assert_eq!(suspects, [fleet.processes[1].name.clone()]);
        fleet.processes[at].replica.host_left(&suspects[0]);
    }
    fleet.run(3000);
    take(&mut fleet, 0, "30/10", 0);
    fleet.settle();
    let why = fleet.processes[0].replica.throttles(THROTTLES).unwrap().why(fleet.now, "t").unwrap();
    assert_eq!(why.limit, 20);
}

#[test]
fn whoever_leaves_in_good_order_gives_what_it_does_not_use() {
    let mut fleet = fleet_of(&["a", "b"], |_| {});
    request(&mut fleet, 0, "10/60", 10);
    fleet.run(200);
    assert_eq!(granted(&mut fleet, 0), 10);
    let now = fleet.now;
    fleet.processes[0].replica.leave(now);
    fleet.turn_ends(0);
    fleet.settle();
    fleet.leave_group(0);
    fleet.run(10);
    take(&mut fleet, 1, "10/60", 0);
    let why = fleet.processes[1].replica.throttles(THROTTLES).unwrap().why(fleet.now, "t").unwrap();
    assert_eq!((why.limit, why.part), (10, (1, 1)), "it has no part any more");
}

#[test]
fn malformed_operations_are_refused_by_everybody_alike() {
    let mut fleet = fleet_of(&["a", "b"], |_| {});
    request(&mut fleet, 0, "10/60", 3);
    fleet.run(50);
    let from = fleet.processes[1].name.clone();
    for payload in [&b"\x01\x01\xff"[..], b"\x07", b"", b"\x01\x01\x09\x08\x02no\x03abc"] {
        for at in 0..2 {
            fleet.processes[at].inbox.push_back(BusEvent::Message {
                from: from.clone(),
                to: Vec::new(),
                kind: KIND_TABLES,
                payload: Bytes::copy_from_slice(payload),
                view: ViewId::default(),
                own: None,
            });
            fleet.deliver(at);
        }
    }
    fleet.run(100);
    alike(&fleet, &[0, 1]);
    assert_eq!(fleet.processes[0].replica.counters().malformed, 3);
    assert!(fleet.processes[0].notices.iter().any(|notice| notice.contains("no member applies them")));
    request(&mut fleet, 1, "10/60", 10);
    fleet.run(100);
    assert_eq!(granted(&mut fleet, 1), 7);
    alike(&fleet, &[0, 1]);
}

#[test]
fn a_busy_fleet_puts_one_message_of_a_node_on_the_bus_at_a_time() {
    let mut fleet = fleet_of(&["a", "b"], |options| options.min_delay = None);
    let before = fleet.processes[0].replica.counters().table_messages_sent;
    for round in 0..100 {
        let now = fleet.now;
        let table = fleet.processes[0].replica.throttles_mut(THROTTLES).unwrap();
        let name = format!("t{round}");
        table.create(now, &name, "5/1".parse().unwrap(), Epsilon::default()).unwrap();
        fleet.turn_ends(0);
        fleet.run(1);
    }
    let sent = fleet.processes[0].replica.counters().table_messages_sent - before;
    assert!((8..=12).contains(&sent), "one each 10 ms, also without min_delay: {sent}");
    alike(&fleet, &[0, 1]);
}
