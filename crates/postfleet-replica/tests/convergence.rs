//! Random histories: changes, joins, crashes, lost connections, partitions, merges, reloads, members at different
//! paces. After quiet every view is what the members really have open. Replication document, section 17,
//! invariants 1 to 4.

#![allow(clippy::wildcard_enum_match_arm, reason = "the other actions are handled elsewhere")]
#![allow(clippy::unwrap_used, reason = "a test may end here")]

mod fleet;

use fleet::history::{self, Event};
use fleet::{Connection, Fleet, specs};
use postfleet_replica::{ObjectKind, ObjectSpec, ReplicaOptions};
use postfleet_throttle::{Epsilon, Path, Rate};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Action {
    Inbound(u8, u8),
    Outbound(u8, u8),
    Close(u8, u8),
    At(u8, Event),
    Advance(u16),
    Start,
    Merge,
    Reload(u8, u8),
    /// Takes units of a shared throttle, or waits for some.
    Units(u8, u8),
    /// Wants connections under a limit, and opens what it may.
    Slots(u8, u8),
    SlotClosed(u8, u8),
}

fn action() -> impl Strategy<Value = Action> {
    use Action::*;
    use Event::*;
    prop_oneof![
        12 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| Inbound(p, k)),
        12 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| Outbound(p, k)),
        14 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| Close(p, k)),
        20 => any::<u8>().prop_map(|p| At(p, Sequence)),
        20 => (any::<u8>(), 1u8..6).prop_map(|(p, n)| At(p, Deliver(n))),
        16 => (any::<u8>(), 1u8..6).prop_map(|(p, n)| At(p, Carry(n))),
        1 => any::<u8>().prop_map(|p| At(p, CutLinks)),
        1 => any::<u8>().prop_map(|p| At(p, Blink)),
        1 => any::<u8>().prop_map(|p| At(p, Listen)),
        12 => prop_oneof![Just(1u16), 1u16..30, 1u16..3000].prop_map(Advance),
        2 => Just(Start),
        4 => any::<u8>().prop_map(|p| At(p, JoinGroup)),
        1 => any::<u8>().prop_map(|p| At(p, LeaveGroup)),
        1 => any::<u8>().prop_map(|p| At(p, Retire)),
        2 => any::<u8>().prop_map(|p| At(p, Kill)),
        2 => any::<u8>().prop_map(|p| At(p, Lose)),
        3 => any::<u8>().prop_map(|p| At(p, Reconnect)),
        2 => any::<u8>().prop_map(|p| At(p, Split(p))),
        3 => Just(Merge),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(p, m)| Reload(p, m)),
        8 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| Units(p, k)),
        8 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| Slots(p, k)),
        6 => (any::<u8>(), any::<u8>()).prop_map(|(p, k)| SlotClosed(p, k)),
    ]
}

fn address(key: u8) -> std::net::IpAddr {
    let low = u16::from(key % 12);
    if key.is_multiple_of(3) {
        std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, low, 1).into()
    } else {
        std::net::Ipv4Addr::new(10, 0, 0, key % 12).into()
    }
}

fn outbound(key: u8) -> Connection {
    Connection::Outbound {
        binding: format!("b{}", key % 3),
        group: (key % 3 == 1).then(|| "cust".to_string()),
        domain: format!("d{}.example", key % 5),
        host: format!("mx.d{}.example", key % 5),
        address: address(key),
    }
}

/// A configuration that differs from [`specs`] as the bits say.
fn variant(bits: u8) -> Vec<ObjectSpec> {
    let mut list = specs();
    if bits & 1 != 0 {
        list.retain(|spec| spec.kind != ObjectKind::OutboundDomains);
    }
    if bits & 2 != 0 {
        list.retain(|spec| spec.kind != ObjectKind::InboundCidr);
    }
    if bits & 32 != 0 {
        list.retain(|spec| spec.kind != ObjectKind::SharedNamedThrottles);
    }
    if bits & 64 != 0 {
        list.retain(|spec| spec.kind != ObjectKind::OutboundSlots);
    }
    for spec in &mut list {
        if spec.name == "outbound_cidr_cust" {
            match (bits >> 2) % 4 {
                0 => spec.binding_group = None,
                1 => {
                    spec.kind = ObjectKind::OutboundDomains;
                }
                _ => {}
            }
        }
    }
    list
}

struct World {
    fleet: Fleet,
    nodes: u32,
}

impl World {
    fn start(&mut self) {
        self.nodes += 1;
        let at = self.fleet.spawn(&format!("n{}", self.nodes), specs());
        self.fleet.connect(at, 0);
    }

    fn act(&mut self, action: &Action) {
        let (Action::Inbound(p, _)
        | Action::Outbound(p, _)
        | Action::Close(p, _)
        | Action::At(p, _)
        | Action::Units(p, _)
        | Action::Slots(p, _)
        | Action::SlotClosed(p, _)
        | Action::Reload(p, _)) = *action
        else {
            match *action {
                Action::Start if self.fleet.alive().len() < 5 => self.start(),
                Action::Advance(millis) => self.fleet.advance(Duration::from_millis(millis.into())),
                Action::Merge => self.fleet.merge(0, 1),
                _ => {}
            }
            return;
        };
        let Some(at) = self.fleet.pick(p) else { return };
        let fleet = &mut self.fleet;
        match *action {
            Action::Inbound(_, key) => fleet.open(at, Connection::Inbound(address(key))),
            Action::Outbound(_, key) => fleet.open(at, outbound(key)),
            Action::Close(_, which) => fleet.close(at, which.into()),
            Action::At(_, event) => fleet.happen(at, event),
            Action::Reload(_, bits) => fleet.reconfigure(at, variant(bits)),
            Action::Units(_, key) => use_units(fleet, at, key),
            Action::Slots(_, key) => use_slots(fleet, at, key, true),
            Action::SlotClosed(_, key) => use_slots(fleet, at, key, false),
            Action::Start | Action::Advance(_) | Action::Merge => {}
        }
    }
}

fn use_units(fleet: &mut Fleet, at: usize, key: u8) {
    let now = fleet.now;
    let name = format!("t{}", key % 3);
    let rate = Rate::new(u32::from(key % 3) * 4 + 2, 1 + u32::from(key % 2)).unwrap();
    if let Some(table) = fleet.processes[at].replica.throttles_mut("shared_named_throttles") {
        let id = table.create(now, &name, rate, Epsilon::default()).unwrap();
        match key >> 6 {
            0 => drop(table.inc(now, id)),
            1 => drop(table.request(now, &[id], u64::from(key % 7) + 1)),
            _ => drop(table.take(now, &[id], u64::from(key % 5) + 1)),
        }
        while table.poll_granted().is_some() {}
        fleet.turn_ends(at);
    }
}

fn use_slots(fleet: &mut Fleet, at: usize, key: u8, opens: bool) {
    let now = fleet.now;
    let paths: [&[(&str, u64)]; 3] = [&[("x", 3)], &[("x", 3), ("y", 2)], &[("y", 2)]];
    let path = Path::new(paths[usize::from(key % 3)].iter().copied()).unwrap();
    if let Some(slots) = fleet.processes[at].replica.slots_mut("outbound_slots") {
        if opens {
            slots.want(now, &path, u64::from(key % 4));
            slots.open(now, &path);
        } else {
            slots.at_boundary(now, &path);
            slots.closed(now, &path);
        }
        fleet.turn_ends(at);
    }
}

fn history(actions: &[Action], small: bool) -> Fleet {
    let tune = if small { history::small } else { |_: &mut ReplicaOptions| {} };
    let mut world = World { fleet: Fleet::new(tune), nodes: 0 };
    for _ in 0..3 {
        world.start();
        let last = world.fleet.processes.len() - 1;
        world.fleet.join_group(last);
    }
    for action in actions {
        world.act(action);
        world.fleet.check_sums();
    }
    let mut fleet = world.fleet;
    // First the sides as they are, then all together.
    fleet.run_coarsely(8000);
    fleet.check_converged();
    fleet.check_tables();
    fleet.reunite();
    fleet.run_coarsely(8000);
    fleet.check_converged();
    fleet.check_tables();
    for process in &fleet.processes {
        for notice in &process.notices {
            assert!(!notice.starts_with("Error"), "{}: {notice}", process.node);
        }
        let counters = process.replica.counters();
        assert_eq!((counters.gaps, counters.malformed, counters.own_changes_clamped), (0, 0, 0));
    }
    fleet
}

#[expect(clippy::disallowed_methods, reason = "how thorough a run is to be is the caller's choice")]
fn cases() -> u32 {
    std::env::var("POSTFLEET_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn all_views_are_what_is_open(actions in prop::collection::vec(action(), 0..160), small: bool) {
        history(&actions, small);
    }
}

/// The histories above are worth something only if they meet what they are about.
#[test]
fn histories_meet_every_way_that_columns_take() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(action(), 160);
    let mut sum = [0; 6];
    for _ in 0..40 {
        let fleet = history(&strategy.new_tree(&mut runner).unwrap().current(), true);
        for process in &fleet.processes {
            let counters = process.replica.counters();
            let met = [
                counters.fetches_opened,
                counters.fetches_served,
                counters.fetches_fallen_back,
                counters.fetch_chunks_received,
                counters.chunks_received,
                counters.columns_kept,
            ];
            for (sum, met) in sum.iter_mut().zip(met) {
                *sum += met;
            }
        }
    }
    let [opened, served, fallen_back, by_fetch, on_bus, kept] = sum;
    assert!(opened > 100 && served > 100 && by_fetch > 400, "{sum:?}");
    assert!(fallen_back > 10 && on_bus > 40 && kept > 3, "{sum:?}");
    assert!(opened > served, "some connections came to nothing: {sum:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 8, ..ProptestConfig::default() })]

    #[test]
    fn the_same_history_sends_the_same_bytes(actions in prop::collection::vec(action(), 0..120), small: bool) {
        prop_assert_eq!(history(&actions, small).trace, history(&actions, small).trace);
    }
}

#[test]
fn a_member_left_out_of_an_exchange_asks_again_when_another_departs() {
    use Event::*;
    let actions = [
        Action::At(8, Deliver(2)),
        Action::At(17, Sequence),
        Action::Advance(2210),
        Action::At(44, Deliver(1)),
        Action::Advance(2790),
        Action::Slots(1, 1),
        Action::At(95, Sequence),
        Action::At(179, Sequence),
        Action::At(15, Kill),
    ];
    history(&actions, false);
}
