//! Connection slots: acceptance cases by name, and a simulated fleet.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test whose own input is wrong has to fail"
)]

mod hand;
mod sim;

use hand::{Hand, START, name};
use postfleet_throttle::{
    Basis, Departure, Limit, LimitKey, Limits, Open, Partition, Path, SlotOptions, Slots, Through, To, decide,
};
use postfleet_types::Random;
use sim::slots::{SlotMeasured, SlotRun};
use sim::{Fault, SECOND};
use std::time::Duration;

fn path(limits: &[(&str, u64)]) -> Path {
    Path::new(limits.iter().copied()).unwrap()
}

fn fleet(members: usize) -> Hand<Slots> {
    fleet_with(members, Partition::Share)
}

fn fleet_with(members: usize, partition: Partition) -> Hand<Slots> {
    Hand::new(members, |of| Slots::new(&name(of), SlotOptions { partition, ..SlotOptions::default() }))
}

/// Opens as many connections as there are slots for, and says how many.
fn open_all(fleet: &mut Hand<Slots>, of: usize, path: &Path) -> u64 {
    let now = fleet.now;
    let mut opened = 0;
    while fleet.tables[of].open(now, path) {
        opened += 1;
    }
    opened
}

fn want(fleet: &mut Hand<Slots>, of: usize, path: &Path, connections: u64) {
    let now = fleet.now;
    fleet.tables[of].want(now, path, connections);
}

/// Ends a connection if it has to at a message boundary.
fn boundary(fleet: &mut Hand<Slots>, of: usize, path: &Path) -> bool {
    let now = fleet.now;
    let ends = fleet.tables[of].at_boundary(now, path);
    if ends {
        fleet.tables[of].closed(now, path);
        let all = fleet.all();
        fleet.flush(&all);
    }
    ends
}

#[test]
fn replication_a20_a_slot_that_is_not_needed_goes_to_whom_waits() {
    let mut fleet = fleet(2);
    let all = [0, 1];
    let example = path(&[("binding:x::domain:example.com", 10)]);
    want(&mut fleet, 0, &example, 6);
    want(&mut fleet, 1, &example, 4);
    fleet.deliver_in_turn(&all);
    assert_eq!((open_all(&mut fleet, 0, &example), open_all(&mut fleet, 1, &example)), (6, 4));
    fleet.flush(&all);
    // Only a wants more.
    want(&mut fleet, 0, &example, 5);
    fleet.flush(&all);
    assert_eq!(open_all(&mut fleet, 0, &example), 0);
    // Another binding may.
    let other = path(&[("binding:y::domain:example.com", 10)]);
    want(&mut fleet, 0, &other, 1);
    fleet.flush(&all);
    assert_eq!(open_all(&mut fleet, 0, &other), 1);
    // One closes on b: within one transit a opens its seventh.
    let now = fleet.now;
    fleet.tables[1].closed(now, &example);
    fleet.deliver_in_turn(&[1, 0]);
    assert_eq!(open_all(&mut fleet, 0, &example), 1);
    fleet.flush(&all);

    // Had b wanted more, it would have opened the next at once on the same slot, without a message.
    want(&mut fleet, 1, &example, 5);
    fleet.flush(&all);
    let now = fleet.now;
    fleet.tables[1].closed(now, &example);
    assert!(fleet.tables[1].open(now, &example));
    assert_eq!(fleet.drain(1), None);
    // And while b (3) waits, a (7) hands over at its message boundaries: 5 and 5.
    let mut handed = 0;
    for _ in 0..20 {
        if boundary(&mut fleet, 0, &example) {
            handed += 1;
            assert_eq!(open_all(&mut fleet, 1, &example), 1);
            want(&mut fleet, 0, &example, 5);
            fleet.flush(&all);
        }
    }
    assert_eq!(handed, 2);
    let owned: Vec<u64> = all
        .iter()
        .map(|of| fleet.tables[0].rows_of(&name(*of)).map(|row| row.owned).next().unwrap())
        .collect();
    assert_eq!(owned, [5, 5]);
}

/// Slots that all members have on a key, as a member sees it.
fn owned(fleet: &Hand<Slots>, of: usize, key: &str) -> u64 {
    let members: Vec<_> = fleet.all().into_iter().map(name).collect();
    let rows = members.iter().flat_map(|member| fleet.tables[of].rows_of(member));
    rows.filter(|row| row.key == key).map(|row| row.owned).sum()
}

/// Two connections of the first member on one path, and the second member waits for one.
fn two_open(before: &Path) -> Hand<Slots> {
    let mut fleet = fleet(2);
    want(&mut fleet, 0, before, 2);
    fleet.flush(&[0, 1]);
    assert_eq!(open_all(&mut fleet, 0, before), 2);
    want(&mut fleet, 1, before, 2);
    fleet.flush(&[0, 1]);
    assert_eq!(open_all(&mut fleet, 1, before), 0);
    fleet
}

/// A configuration of the first member has other limits.
fn move_both(fleet: &mut Hand<Slots>, before: &Path, after: &Path) {
    let now = fleet.now;
    for _ in 0..2 {
        fleet.tables[0].moved(now, before, after);
    }
    assert_eq!(open_all(fleet, 0, before), 0, "nothing is left on the old path");
}

#[test]
fn connections_that_count_for_other_limits_leave_no_slot_to_others_in_between() {
    let all = [0, 1];
    let (before, after) = (path(&[("global", 2)]), path(&[("domain:a", 5), ("global", 2)]));
    let mut fleet = two_open(&before);
    move_both(&mut fleet, &before, &after);
    while let Some(message) = fleet.drain(0) {
        fleet.deliver(&all, message);
        assert_eq!((owned(&fleet, 0, "global"), owned(&fleet, 1, "global")), (2, 2));
    }
    fleet.advance(&all, 3.0);
    assert_eq!(open_all(&mut fleet, 1, &before), 0);
    assert_eq!((owned(&fleet, 1, "domain:a"), owned(&fleet, 1, "global")), (2, 2));
    // What ends goes to whom waits.
    let now = fleet.now;
    fleet.tables[0].closed(now, &after);
    fleet.flush(&all);
    assert_eq!(open_all(&mut fleet, 1, &before), 1);
}

#[test]
fn connections_that_count_for_less_or_for_more_or_for_nothing_any_more() {
    let all = [0, 1];
    let (wide, narrow) = (path(&[("domain:a", 2), ("global", 9)]), path(&[("global", 9)]));
    // The key that is left behind is free for others at once.
    let mut fleet = two_open(&wide);
    move_both(&mut fleet, &wide, &narrow);
    fleet.flush(&all);
    assert_eq!(open_all(&mut fleet, 1, &wide), 2);
    assert_eq!((owned(&fleet, 0, "domain:a"), owned(&fleet, 0, "global")), (2, 4));
    // And back, before anybody was told: it is too many, which end between two messages.
    let mut fleet = two_open(&wide);
    move_both(&mut fleet, &wide, &narrow);
    move_both(&mut fleet, &narrow, &wide);
    fleet.flush(&all);
    assert_eq!((owned(&fleet, 1, "domain:a"), owned(&fleet, 1, "global")), (2, 2));
    assert_eq!(open_all(&mut fleet, 1, &wide), 0);
    // Nothing governs them any more.
    move_both(&mut fleet, &wide, &Path::default());
    fleet.flush(&all);
    assert_eq!(open_all(&mut fleet, 1, &wide), 2);
    // Connections that nothing governed count, however many there are.
    let now = fleet.now;
    fleet.tables[0].moved(now, &Path::default(), &wide);
    fleet.flush(&all);
    assert_eq!(owned(&fleet, 1, "domain:a"), 3);
    assert!(boundary(&mut fleet, 0, &wide) || boundary(&mut fleet, 1, &wide));
}

#[test]
fn a_move_that_nobody_was_told_of_is_told_after_a_change_of_the_fleet() {
    let all = [0, 1];
    let (before, after) = (path(&[("global", 2)]), path(&[("domain:a", 5), ("global", 2)]));
    let mut fleet = two_open(&before);
    move_both(&mut fleet, &before, &after);
    fleet.view(&[0], &[(1, Departure::Certain)], &[]);
    fleet.flush(&[0]);
    fleet.view(&all, &[], &[1]);
    fleet.flush(&all);
    fleet.advance(&all, 3.0);
    want(&mut fleet, 1, &before, 2);
    fleet.flush(&all);
    assert_eq!((owned(&fleet, 1, "domain:a"), owned(&fleet, 1, "global")), (2, 2));
    assert_eq!(open_all(&mut fleet, 1, &before), 0);
}

/// Members put their connections under other limits, now and then, while they open and close them: what stands on every
/// path is never exceeded, however messages and reloads fall.
#[test]
fn a_limit_that_holds_before_and_after_every_reload_is_never_exceeded() {
    const LIMIT: u64 = 3;
    let paths = [
        path(&[("global", LIMIT)]),
        path(&[("domain:a", 2), ("global", LIMIT)]),
        path(&[("domain:b", 1), ("domain:c", 9), ("global", LIMIT)]),
    ];
    let mut most = 0;
    for seed in 0..50 {
        let mut random = Random::seeded(seed);
        let mut fleet = fleet(3);
        let all = fleet.all();
        let mut used = [[0_u64; 3]; 3];
        let mut bus = std::collections::VecDeque::new();
        for step in 0..400 {
            let mut one_of_three = || usize::try_from(random.below(3)).unwrap();
            let (of, on, other) = (one_of_three(), one_of_three(), one_of_three());
            let now = fleet.now;
            match random.below(12) {
                0..=2 => fleet.tables[of].want(now, &paths[on], random.below(4)),
                3..=5 => used[of][on] += u64::from(fleet.tables[of].open(now, &paths[on])),
                6 if used[of][on] > 0 => {
                    fleet.tables[of].closed(now, &paths[on]);
                    used[of][on] -= 1;
                }
                7 if used[of][on] > 0 && fleet.tables[of].at_boundary(now, &paths[on]) => {
                    fleet.tables[of].closed(now, &paths[on]);
                    used[of][on] -= 1;
                }
                8 => {
                    for _ in 0..used[of][on] {
                        fleet.tables[of].moved(now, &paths[on], &paths[other]);
                    }
                    used[of][other] += std::mem::take(&mut used[of][on]);
                }
                9 => fleet.now = now + Duration::from_millis(300),
                10 => bus.extend(fleet.drain(of)),
                _ => {
                    if let Some(message) = bus.pop_front() {
                        fleet.deliver(&all, message);
                    }
                }
            }
            for of in &all {
                fleet.tables[*of].heard(fleet.now, fleet.now);
                fleet.tables[*of].handle_timeout(fleet.now);
            }
            let open: u64 = used.iter().flatten().sum();
            assert!(open <= LIMIT, "seed {seed}, step {step}: {used:?}");
            most = most.max(open);
        }
        bus.into_iter().for_each(|message| fleet.deliver(&all, message));
        fleet.flush(&all);
        // Nothing is lost and nothing is left over.
        for (of, used) in used.iter().enumerate() {
            for (on, path) in paths.iter().enumerate() {
                fleet.tables[of].want(fleet.now, path, 0);
                (0..used[on]).for_each(|_| fleet.tables[of].closed(fleet.now, path));
            }
        }
        fleet.flush(&all);
        fleet.advance(&all, 3.0);
        assert_eq!(owned(&fleet, 0, "global"), 0, "seed {seed}");
    }
    assert_eq!(most, LIMIT);
}

#[test]
fn replication_a30_two_slots_rotate_over_four_members() {
    let mut fleet = fleet(4);
    let all = fleet.all();
    let key = path(&[("domain:a", 2)]);
    for of in &all {
        want(&mut fleet, *of, &key, 1);
    }
    fleet.deliver_in_turn(&all);
    let mut open = [0u64; 4];
    let mut log: Vec<(u64, usize)> = Vec::new();
    // Messages of a second: every connection asks at every second.
    for second in 0..=26u64 {
        fleet.flush(&all);
        for of in &all {
            let opened = open_all(&mut fleet, *of, &key);
            open[*of] += opened;
            log.extend((0..opened).map(|_| (second, *of)));
            want(&mut fleet, *of, &key, 1);
        }
        assert!(open.iter().sum::<u64>() <= 2);
        fleet.advance(&all, 1.0);
        for of in &all {
            for _ in 0..open[*of] {
                open[*of] -= u64::from(boundary(&mut fleet, *of, &key));
            }
        }
    }
    let order: Vec<usize> = log.iter().map(|(_, of)| *of).collect();
    assert_eq!(order[..8], [0, 1, 2, 3, 0, 1, 2, 3]);
    assert!(log[2..4].iter().all(|(second, _)| (5..=6).contains(second)), "{log:?}");
    assert!(log[4..6].iter().all(|(second, _)| (10..=12).contains(second)), "{log:?}");
}

#[test]
fn replication_a30_a_transaction_is_never_cut() {
    let mut fleet = fleet(2);
    let all = fleet.all();
    let key = path(&[("domain:a", 1)]);
    want(&mut fleet, 0, &key, 10);
    want(&mut fleet, 1, &key, 10);
    fleet.deliver_in_turn(&all);
    assert_eq!(open_all(&mut fleet, 0, &key), 1);
    want(&mut fleet, 0, &key, 10);
    // One message of 60 s: b waits.
    fleet.advance(&all, 60.0);
    assert_eq!(open_all(&mut fleet, 1, &key), 0);
    assert!(boundary(&mut fleet, 0, &key));
    assert_eq!(open_all(&mut fleet, 1, &key), 1);
}

#[test]
fn replication_a31_all_keys_of_a_path_or_none() {
    let both = path(&[("domain:example.net", 1), ("binding:x", 1)]);
    let domain = path(&[("domain:example.net", 1)]);
    let binding = path(&[("binding:x", 1)]);
    let start = |with_d: bool| {
        let mut fleet = fleet(4);
        let all = fleet.all();
        want(&mut fleet, 0, &both, 1);
        fleet.flush(&all);
        assert_eq!(open_all(&mut fleet, 0, &both), 1);
        if with_d {
            want(&mut fleet, 3, &both, 1);
            fleet.flush(&all);
        }
        want(&mut fleet, 1, &domain, 1);
        want(&mut fleet, 2, &binding, 1);
        fleet.flush(&all);
        assert_eq!((open_all(&mut fleet, 1, &domain), open_all(&mut fleet, 2, &binding)), (0, 0));
        let now = fleet.now;
        fleet.tables[0].closed(now, &both);
        // One delivery.
        let message = fleet.drain(0).unwrap();
        fleet.deliver(&all, message);
        fleet
    };
    let mut fleet = start(false);
    assert_eq!((open_all(&mut fleet, 1, &domain), open_all(&mut fleet, 2, &binding)), (1, 1));
    let mut fleet = start(true);
    assert_eq!(open_all(&mut fleet, 3, &both), 1);
    assert_eq!((open_all(&mut fleet, 1, &domain), open_all(&mut fleet, 2, &binding)), (0, 0));
}

#[test]
fn replication_a32_slots_of_a_killed_process_are_free_at_once() {
    let mut fleet = fleet(3);
    let all = fleet.all();
    let key = path(&[("domain:a", 30)]);
    for of in &all {
        want(&mut fleet, *of, &key, 10);
    }
    fleet.flush(&all);
    for of in &all {
        assert_eq!(open_all(&mut fleet, *of, &key), 10);
        want(&mut fleet, *of, &key, 10);
    }
    fleet.flush(&all);
    fleet.view(&[0, 2], &[(1, Departure::Certain)], &[]);
    assert_eq!((open_all(&mut fleet, 0, &key), open_all(&mut fleet, 2, &key)), (5, 5));
    assert_eq!(fleet.tables[0].rows().map(|row| (row.owned, row.limit)).collect::<Vec<_>>(), [(30, 30)]);

    // Out of reach it keeps its part, until somebody knows better.
    let why = fleet.tables[0].why(fleet.now, "domain:a").unwrap();
    assert_eq!((why.limit, why.part), (30, (2, 2)));
}

#[test]
fn replication_8_3_4_a_member_out_of_reach_keeps_its_part_until_it_is_known_to_be_dead() {
    let mut fleet = fleet(3);
    let key = path(&[("domain:a", 30)]);
    for of in fleet.all() {
        want(&mut fleet, of, &key, 30);
    }
    let all = fleet.all();
    fleet.deliver_in_turn(&all);
    fleet.flush(&all);
    for of in &all {
        open_all(&mut fleet, *of, &key);
        want(&mut fleet, *of, &key, 30);
    }
    fleet.flush(&all);
    let left = [0, 2];
    fleet.view(&left, &[(1, Departure::Uncertain)], &[]);
    let limit = |fleet: &Hand<Slots>| fleet.tables[0].why(fleet.now, "domain:a").unwrap().limit;
    assert_eq!(limit(&fleet), 20);
    let now = fleet.now;
    assert!(!fleet.tables[0].forget(now, "c"), "c is present");
    for of in left {
        fleet.tables[of].confirm_dead(now, &name(1));
    }
    fleet.flush(&left);
    assert_eq!(limit(&fleet), 30);
}

#[test]
fn replication_a33_a_node_whose_bus_is_gone_comes_down_to_its_part() {
    for (limit, partition, stays) in [
        (20, Partition::Share, 2),
        (5, Partition::Share, 1),
        (20, Partition::Quorum, 0),
        (20, Partition::Full, 6),
    ] {
        let mut fleet = fleet_with(10, partition);
        let all = fleet.all();
        let key = path(&[("domain:a", limit)]);
        want(&mut fleet, 0, &key, 6);
        fleet.flush(&all);
        let mut open = open_all(&mut fleet, 0, &key);
        assert_eq!(open, limit.min(6));
        let now = fleet.now;
        fleet.tables[0].lost(now);
        if partition != Partition::Full {
            want(&mut fleet, 0, &key, 10);
            assert_eq!(open_all(&mut fleet, 0, &key), 0);
        }
        for _ in 0..20 {
            let now = fleet.now;
            if open > 0 && fleet.tables[0].at_boundary(now, &key) {
                fleet.tables[0].closed(now, &key);
                open -= 1;
            }
        }
        assert_eq!(open, stays, "{limit} {partition:?}");
    }
}

/// As with throttles: of two nodes the one that the bus calls quorate has all slots.
#[test]
fn replication_8_3_4_slots_go_to_the_side_that_the_bus_calls_quorate() {
    let key = path(&[("domain:a", 4)]);
    for (said, slots) in [(None, 0), (Some(false), 0), (Some(true), 4)] {
        let mut fleet = fleet_with(2, Partition::Quorum);
        fleet.view(&[0], &[(1, Departure::Uncertain)], &[]);
        let now = fleet.now;
        fleet.tables[0].set_quorum(now, said);
        want(&mut fleet, 0, &key, 9);
        fleet.flush(&[0]);
        assert_eq!(open_all(&mut fleet, 0, &key), slots, "{said:?}");
        // What the other one may open now is for its own side to know.
        fleet.tables[0].set_quorum(now, Some(true));
        want(&mut fleet, 0, &key, 9);
        fleet.flush(&[0]);
        assert_eq!(open_all(&mut fleet, 0, &key), 4 - slots, "{said:?}");
    }
    let mut fleet = fleet_with(3, Partition::Quorum);
    fleet.view(&[0, 1], &[(2, Departure::Uncertain)], &[]);
    let now = fleet.now;
    fleet.tables[0].set_quorum(now, Some(false));
    fleet.flush(&[0, 1]);
    want(&mut fleet, 1, &key, 9);
    fleet.flush(&[0, 1]);
    assert_eq!(open_all(&mut fleet, 1, &key), 0);
}

fn limit(through: Through, to: To, value: i64, option: &'static str, shadow: bool) -> Option<Limit> {
    Limit::of_option(LimitKey { through, to }, value, option, "somewhere", shadow)
}

fn limits() -> Limits {
    let all = [
        limit(Through::Any, To::Any, 100, "Cluster_Server_Max_Outbound_Connections", false),
        limit(Through::Binding("x".into()), To::Any, -1, "Cluster_Server_Max_Outbound_Connections", false),
        limit(Through::Any, To::Domain("a.example".into()), 2, "Cluster_Max_Outbound_Connections", false),
        limit(Through::Any, To::Host("mx.a.example".into()), 1, "Cluster_Max_Outbound_Connections", true),
    ];
    Limits::new(all.into_iter().flatten().collect()).unwrap()
}

#[test]
fn mta_7_5_a_refusal_names_the_limit_and_who_holds_it() {
    let mut fleet = fleet(3);
    let all = fleet.all();
    let limits = limits();
    let keys: Vec<(&str, u64)> = limits.path().keys().collect();
    assert_eq!(keys, [("domain:a.example", 2), ("global", 100)]);
    let path = limits.path().clone();
    let open = |_: &LimitKey| Open { all: 2, own: 0 };
    let now = fleet.now;
    // Nobody has asked for a slot yet.
    let first = decide(now, &limits, Basis::Slots, &fleet.tables[2], open);
    assert!(first.refusal.unwrap().asked);
    want(&mut fleet, 1, &path, 2);
    fleet.flush(&all);
    assert_eq!(decide(now, &limits, Basis::Slots, &fleet.tables[1], open).refusal, None);
    assert_eq!(open_all(&mut fleet, 1, &path), 2);
    want(&mut fleet, 2, &path, 1);
    fleet.flush(&all);
    let decision = decide(now, &limits, Basis::Slots, &fleet.tables[2], open);
    let refusal = decision.refusal.unwrap();
    assert_eq!(refusal.limit.option, "Cluster_Max_Outbound_Connections");
    assert_eq!(refusal.limit.key.to_string(), "domain:a.example");
    assert_eq!((refusal.count, refusal.in_force, refusal.asked), (2, 2, false));
    assert_eq!(refusal.holders, [(&name(1), 2)]);
    // The host's limit only watches: it would have said no as well.
    assert_eq!(decision.shadowed.len(), 1);
    assert_eq!(decision.shadowed[0].key.to_string(), "host:mx.a.example");
    let why = fleet.tables[2].why(now + Duration::from_secs(3), "domain:a.example").unwrap();
    let rows: Vec<(u64, u64, u64, Option<u64>)> = why
        .members
        .iter()
        .map(|one| (one.used, one.held, one.wanted, one.waiting.map(|waiting| waiting.as_secs())))
        .collect();
    assert_eq!(rows, [(0, 0, 0, None), (2, 0, 0, None), (0, 0, 1, Some(3))]);
    assert_eq!((why.value, why.limit, why.grants.len()), (2, 2, 2));
}

#[test]
fn replication_8_3_5_without_the_bus_counts_decide() {
    let slots = Slots::new(&name(0), SlotOptions::default());
    let limits = limits();
    let ask = |basis, all, own| {
        decide(START, &limits, basis, &slots, move |_| Open { all, own })
            .refusal
            .map(|refusal| refusal.in_force)
    };
    let alone = |partition| Basis::Alone { partition, members: 10 };
    // domain:a.example allows 2: a part of one; global allows 100: a part of 10.
    assert_eq!(ask(alone(Partition::Share), 50, 0), None);
    assert_eq!(ask(alone(Partition::Share), 50, 1), Some(1));
    assert_eq!(ask(alone(Partition::Share), 50, 10), Some(10));
    assert_eq!(ask(alone(Partition::Quorum), 0, 0), Some(0));
    assert_eq!(ask(alone(Partition::Full), 50, 1), None);
    assert_eq!(ask(Basis::Counts, 1, 0), None);
    assert_eq!(ask(Basis::Counts, 2, 0), Some(2));
    assert_eq!(ask(Basis::Own, 50, 1), None);
    assert_eq!(ask(Basis::Own, 50, 2), Some(2));
}

#[test]
fn replication_8_3_5_connections_opened_meanwhile_become_slots() {
    let mut fleet = fleet(2);
    let all = fleet.all();
    let key = path(&[("domain:a", 3)]);
    let now = fleet.now;
    for _ in 0..5 {
        fleet.tables[0].opened_without(now, &key);
    }
    want(&mut fleet, 1, &key, 2);
    fleet.flush(&all);
    assert_eq!(fleet.tables[1].rows().map(|row| row.owned).collect::<Vec<_>>(), [5]);
    assert_eq!(open_all(&mut fleet, 1, &key), 0);
    let mut ended = 0;
    for _ in 0..10 {
        ended += u64::from(boundary(&mut fleet, 0, &key));
    }
    assert!(ended >= 3, "{ended}");
    assert_eq!(open_all(&mut fleet, 1, &key), 1);
}

#[test]
fn replication_8_3_a_merge_keeps_who_has_what() {
    let mut fleet = fleet(4);
    let all = fleet.all();
    let key = path(&[("domain:a", 8)]);
    for of in &all {
        want(&mut fleet, *of, &key, 2);
    }
    fleet.flush(&all);
    all.iter().for_each(|of| assert_eq!(open_all(&mut fleet, *of, &key), 2));
    let gone = |of: [usize; 2]| of.map(|of| (of, Departure::Uncertain));
    fleet.view(&[0, 1], &gone([2, 3]), &[]);
    fleet.view(&[2, 3], &gone([0, 1]), &[]);
    for of in &all {
        assert_eq!(fleet.tables[*of].rows().map(|row| row.owned).next(), Some(4));
        assert_eq!(fleet.tables[*of].why(fleet.now, "domain:a").unwrap().limit, 4);
    }
    // They meet again: for each side the other one is new.
    fleet.view(&all, &[], &all);
    for of in &all {
        assert_eq!(fleet.tables[*of].rows().map(|row| row.owned).next(), Some(8));
        assert_eq!(fleet.tables[*of].why(fleet.now, "domain:a").unwrap().limit, 8);
    }
    // With no demand the tables are empty.
    for of in &all {
        let now = fleet.now;
        want(&mut fleet, *of, &key, 0);
        fleet.tables[*of].closed(now, &key);
        fleet.tables[*of].closed(now, &key);
    }
    fleet.advance(&all, 1.1);
    assert!(all.iter().all(|of| fleet.tables[*of].rows().count() == 0));
}

fn measured(run: &SlotRun) -> SlotMeasured {
    let measured = run.measure();
    assert!(measured.most <= 1.0, "{} of the limit open: {run:?}", measured.most);
    measured
}

#[test]
fn replication_17_6_and_17_8_slots_are_never_exceeded_used_and_shared() {
    for (limit, members, message, longest) in [
        (20, 10, (200_000, 2_000_000), 15.0),
        (2, 10, (200_000, 1_000_000), 40.0),
        (1, 5, (200_000, 1_000_000), 40.0),
        (100, 10, (500_000, 5_000_000), 25.0),
        (20, 10, (200_000, 60_000_000), 180.0),
    ] {
        for transit in [(1500, 2500), (20_000, 60_000)] {
            let mut run = SlotRun::new(limit, members, message, 320);
            run.world.transit = transit;
            let measured = measured(&run);
            let least_use = if transit.0 > 10_000 && limit < 5 { 0.93 } else { 0.95 };
            assert!(measured.used >= least_use, "{limit} {message:?} {transit:?}: use {}", measured.used);
            assert!(measured.longest <= longest, "{limit} {message:?}: waited {}", measured.longest);
            assert!(measured.least > 0.5, "{limit} {message:?}: least share {}", measured.least);
        }
    }
}

#[test]
fn replication_8_3_3_several_keys_and_paths() {
    let mut run = SlotRun::new(1, 7, (200_000, 2_000_000), 400);
    run.limits = vec![("a", 1), ("b", 1), ("c", 3), ("d", 5), ("e", 2), ("global", 10)];
    run.paths = vec![
        vec!["a", "b", "global"],
        vec!["a", "global"],
        vec!["b", "global"],
        vec!["c", "global"],
        vec!["c", "d", "global"],
        vec!["d", "e", "global"],
        vec!["e", "global"],
    ];
    for everywhere in [false, true] {
        run.everywhere = everywhere;
        let measured = measured(&run);
        assert!(measured.longest <= 180.0, "waited {}", measured.longest);
        // The key that all share; the others need not be full when it is.
        assert!(measured.used > 0.0);
    }
}

#[test]
fn replication_17_6_slots_hold_through_kills_and_joins() {
    for seed in 0..4 {
        let mut run = SlotRun::new(30, 5, (200_000, 3_000_000), 160);
        run.world.seed = seed;
        run.faults.push((30 * SECOND, Fault::Kill(1)));
        run.faults.push((45 * SECOND, Fault::Join));
        run.faults.push((45_050_000, Fault::Join));
        run.faults.push((60 * SECOND, Fault::Kill(0)));
        run.warm_up = 90;
        let measured = measured(&run);
        assert!(measured.used >= 0.95, "use {}", measured.used);
    }
}

#[test]
fn replication_8_3_4_sides_come_down_to_their_parts() {
    for (partition, most) in [(Partition::Share, 1.0), (Partition::Quorum, 1.0), (Partition::Full, 2.0)] {
        let mut run = SlotRun::new(30, 5, (200_000, 2_000_000), 100);
        run.partition = partition;
        run.faults.push((30 * SECOND, Fault::Split(vec![vec![0, 1], vec![2, 3, 4]])));
        // Both have noticed, and messages that were under way have ended.
        run.warm_up = 40;
        let measured = run.measure();
        assert!(measured.most_after <= most, "{partition:?}: {}", measured.most_after);
        assert!(measured.used >= 0.95 * most, "{partition:?}: use {}", measured.used);
    }
}

#[test]
fn replication_17_7_slot_tables_agree_through_random_faults() {
    for seed in 0..12 {
        let random = &mut Random::seeded(seed * 77 + 5);
        let mut run = SlotRun::new(12, 5, (200_000, 2_000_000), 160);
        run.limits = vec![("domain:a", 12), ("domain:b", 6), ("global", 15)];
        run.paths = vec![vec!["domain:a", "global"], vec!["domain:b", "global"]];
        run.world.seed = seed;
        for _ in 0..2 + random.below(6) {
            let at = 5 * SECOND + random.below(90 * SECOND);
            let member = usize::try_from(random.below(5)).unwrap();
            match random.below(4) {
                0 => {
                    run.faults.push((at, Fault::Hang(member)));
                    run.faults.push((at + 200_000 + random.below(15 * SECOND), Fault::Resume(member)));
                }
                1 => run.faults.push((at, Fault::Join)),
                2 => {
                    let mut parts = vec![Vec::new(); 2];
                    for member in 0..5 {
                        parts[usize::try_from(random.below(2)).unwrap()].push(member);
                    }
                    run.faults.push((at, Fault::Split(parts)));
                }
                _ => run.faults.push((at, Fault::Heal)),
            }
        }
        for member in 0..5 {
            run.faults.push((110 * SECOND, Fault::Resume(member)));
        }
        run.faults.push((113 * SECOND, Fault::Heal));
        run.warm_up = 125;
        let measured = run.measure();
        assert!(measured.most_after <= 1.0, "{} of the limit open in the end: {run:?}", measured.most_after);
        assert!(measured.used >= 0.3, "use {} in the end: {run:?}", measured.used);
    }
}
