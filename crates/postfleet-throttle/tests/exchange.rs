//! Members that are slow, silent or unknown when tables are exchanged.

#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

mod hand;
mod sim;

use hand::{Hand, name};
use postfleet_throttle::{Departure, Path, SharedThrottles, SlotOptions, Slots, ThrottleId, ThrottleOptions};

const LIMIT: u64 = 6;

fn path() -> Path {
    Path::new([("domain:a", LIMIT)]).unwrap()
}

fn open_all(fleet: &mut Hand<Slots>, of: usize) -> u64 {
    let now = fleet.now;
    (0..).take_while(|_| fleet.tables[of].open(now, &path())).count() as u64
}

/// Members that have opened so many connections each, in one configuration; the last one is alone yet.
fn connected(open: &[u64]) -> Hand<Slots> {
    let mut fleet = Hand::new(open.len(), |of| Slots::new(&name(of), SlotOptions::default()));
    let all = fleet.all();
    for (of, connections) in open.iter().enumerate() {
        let now = fleet.now;
        fleet.tables[of].want(now, &path(), *connections);
        fleet.flush(&all);
        assert_eq!(open_all(&mut fleet, of), *connections);
    }
    fleet.tables.push(Slots::new(&name(open.len()), SlotOptions::default()));
    fleet
}

fn owned(fleet: &Hand<Slots>, seen_by: usize, of: usize) -> u64 {
    fleet.tables[seen_by].rows_of(&name(of)).map(|row| row.owned).sum()
}

/// The simulator's seed 1719: c answers too late, and had no table of its own to bring along when it was back.
#[test]
fn replication_17_6_whoever_is_left_out_keeps_its_slots() {
    let mut fleet = connected(&[1, 1, 4]);
    let all = fleet.all();
    fleet.change(&all, &[], &[3]);
    fleet.flush_without(&[0, 1, 3], &all, 6);
    // The others go on: what c has open is counted.
    assert!(!fleet.tables[0].is_merging() && fleet.tables[2].is_merging());
    assert_eq!(owned(&fleet, 0, 2), 4);
    let now = fleet.now;
    fleet.tables[0].want(now, &path(), 3);
    fleet.flush_without(&[0, 1, 3], &all, 0);
    assert_eq!(open_all(&mut fleet, 0), 0);
    // And c opens nothing.
    fleet.tables[2].want(now, &path(), 3);
    assert_eq!(open_all(&mut fleet, 2), 0);
    // It answers.
    fleet.flush(&all);
    assert!(all.iter().all(|of| !fleet.tables[*of].is_merging()));
    assert_eq!((owned(&fleet, 0, 2), owned(&fleet, 2, 2)), (4, 4));
    assert_eq!(all.iter().map(|of| open_all(&mut fleet, *of)).sum::<u64>(), 0);
}

/// The simulator's seed 5127: two sides of a split met and lost a member before they had exchanged tables. The table of
/// one of them was taken for that of both.
#[test]
fn replication_17_6_sides_whose_exchange_is_cut_short_keep_their_slots() {
    let mut fleet = connected(&[1, 1, 2, 1, 1]);
    let cut = |side: &[usize]| side.iter().map(|of| (*of, Departure::Uncertain)).collect::<Vec<_>>();
    fleet.view(&[0, 1], &cut(&[2, 3, 4]), &[]);
    fleet.view(&[2, 3, 4], &cut(&[0, 1]), &[]);
    fleet.meet(&[&[0, 1], &[2, 3, 4]]);
    let rest = [0, 1, 2, 3];
    fleet.view(&rest, &cut(&[4]), &[]);
    for of in rest {
        assert_eq!(rest.map(|other| owned(&fleet, of, other)), [1, 1, 2, 1]);
    }
}

/// The bus told nobody of the time in which they were apart.
#[test]
fn replication_17_6_sides_that_have_not_seen_their_split_keep_their_slots() {
    let mut fleet = connected(&[1, 1, 2, 1]);
    fleet.meet(&[&[0, 1], &[2, 3]]);
    let all = [0, 1, 2, 3];
    fleet.flush(&all);
    for of in all {
        assert_eq!(all.map(|other| owned(&fleet, of, other)), [1, 1, 2, 1]);
    }
}

/// a drops its table and takes another one. That it dropped it was said in an epoch that had ended when the others heard
/// of it: they expect a to send the table of all of them.
#[test]
fn replication_17_6_whoever_begins_anew_unheard_holds_up_nobody() {
    let mut fleet = connected(&[1, 2]);
    let all = fleet.all();
    let now = fleet.now;
    let withdrawal = fleet.tables[0].withdraw(now);
    fleet.view(&all, &[], &[2]);
    fleet.deliver(&[1, 2], (0, withdrawal));
    fleet.enter(&all, 0, |standing| {
        let mut table = Slots::new(&name(0), SlotOptions::default());
        table.enter(now, standing);
        table
    });
    (0..20).for_each(|_| fleet.deliver_in_turn(&all));
    assert!(all.iter().all(|of| !fleet.tables[*of].is_merging()));
    assert_eq!(all.iter().map(|of| owned(&fleet, *of, 1)).collect::<Vec<_>>(), [2, 2, 2]);
}

/// a had to send the table of a and b.
#[test]
fn replication_17_6_another_member_sends_the_table_of_a_side_whose_first_is_silent() {
    let mut fleet = connected(&[2, 4]);
    let all = fleet.all();
    fleet.change(&all, &[], &[2]);
    fleet.flush_without(&[1, 2], &all, 6);
    assert!(!fleet.tables[1].is_merging() && fleet.tables[0].is_merging());
    assert_eq!((owned(&fleet, 2, 0), owned(&fleet, 2, 1)), (2, 4));
    let now = fleet.now;
    fleet.tables[2].want(now, &path(), 3);
    fleet.flush_without(&[1, 2], &all, 0);
    assert_eq!(open_all(&mut fleet, 2), 0);
    fleet.flush(&all);
    assert_eq!((owned(&fleet, 2, 0), owned(&fleet, 0, 1)), (2, 4));
}

fn throttled(members: usize, rate: &str) -> (Hand<SharedThrottles>, Vec<ThrottleId>) {
    let mut fleet = Hand::new(members, |of| SharedThrottles::new(&name(of), ThrottleOptions::default()));
    let now = fleet.now;
    let rate = rate.parse().unwrap();
    let ids = fleet.tables.iter_mut().map(|table| table.configure(now, "t", rate).unwrap()).collect();
    let all = fleet.all();
    fleet.flush(&all);
    (fleet, ids)
}

/// Asks for more than there is, and says how much is used.
fn use_all(fleet: &mut Hand<SharedThrottles>, ids: &[ThrottleId], of: usize, units: u64) -> u64 {
    let now = fleet.now;
    fleet.tables[of].request(now, &[ids[of]], units).unwrap();
    used(fleet, of)
}

fn used(fleet: &mut Hand<SharedThrottles>, of: usize) -> u64 {
    std::iter::from_fn(|| fleet.tables[of].poll_granted()).map(|granted| granted.units).sum()
}

/// The simulator's seed 9078: d never met c, and went on waiting for its node.
#[test]
fn replication_17_7_a_death_is_in_force_for_members_that_never_met_the_dead() {
    let (mut fleet, _) = throttled(3, "9/10");
    let rest = [0, 1];
    fleet.view(&rest, &[(2, Departure::Uncertain)], &[]);
    fleet.tables.push(SharedThrottles::new(&name(3), ThrottleOptions::default()));
    let rest = [0, 1, 3];
    fleet.view(&rest, &[], &[3]);
    let now = fleet.now;
    for of in rest {
        fleet.tables[of].confirm_dead(now, &name(2));
    }
    // Compares the tables.
    fleet.flush(&rest);
}

/// The simulator's seed 3735: b was left out while it was said that c was dead, and said so itself when c was long there again.
#[test]
fn replication_17_7_a_death_is_not_told_of_a_node_that_came_back() {
    let (mut fleet, _) = throttled(3, "9/10");
    let now = fleet.now;
    let rest = [0, 1];
    fleet.view(&rest, &[(2, Departure::Uncertain)], &[]);
    // b learns of it, and a, who has to say it, does not yet.
    fleet.tables[1].confirm_dead(now, &name(2));
    fleet.flush(&rest);
    fleet.tables[2] = SharedThrottles::new(&name(2), ThrottleOptions::default());
    let all = fleet.all();
    fleet.view(&all, &[], &[2]);
    let cut = |side: [usize; 2]| side.map(|of| (of, Departure::Uncertain));
    fleet.view(&[1], &cut([0, 2]), &[]);
    assert_eq!(fleet.tables[1].why(fleet.now, "t").unwrap().part, (1, 3));
}

/// What is free at the split is divided: b and c do not both take all of it.
#[test]
fn replication_17_5_three_sides_divide_what_is_free() {
    let (mut fleet, ids) = throttled(3, "90/10");
    let all = fleet.all();
    use_all(&mut fleet, &ids, 0, 60);
    fleet.flush(&all);
    assert_eq!(used(&mut fleet, 0), 60);
    for of in all.iter().copied() {
        let others: Vec<(usize, Departure)> =
            all.iter().filter(|other| **other != of).map(|other| (*other, Departure::Uncertain)).collect();
        fleet.view(&[of], &others, &[]);
    }
    let more: u64 = [1, 2].into_iter().map(|of| use_all(&mut fleet, &ids, of, 90)).sum();
    assert!((10..=30).contains(&more), "{more}");
    // When nobody can be using anything of before, each has its part.
    for of in &all {
        fleet.advance(&[*of], 15.0);
    }
    let later: Vec<u64> = [1, 2].into_iter().map(|of| used(&mut fleet, of)).collect();
    assert!(later.iter().all(|units| *units >= 30), "{later:?}");
}
