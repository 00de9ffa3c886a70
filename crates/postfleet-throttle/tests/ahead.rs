//! Units that a member gets ahead of its needs.

#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

mod hand;
mod sim;

use hand::{Hand, name};
use postfleet_throttle::{SharedThrottles, ThrottleOptions};

fn fleet(rate: &str) -> Hand<SharedThrottles> {
    let mut fleet = Hand::new(2, |of| SharedThrottles::new(&name(of), ThrottleOptions::default()));
    let now = fleet.now;
    for table in &mut fleet.tables {
        table.configure(now, "t", rate.parse().unwrap()).unwrap();
    }
    let all = fleet.all();
    fleet.flush(&all);
    fleet
}

/// Mail that needs a unit now, and waits for one when none is at hand.
fn use_one(fleet: &mut Hand<SharedThrottles>, of: usize) -> u64 {
    let (now, all) = (fleet.now, fleet.all());
    let table = &mut fleet.tables[of];
    let id = table.lookup("t").unwrap();
    if table.take(now, &[id], 1).unwrap() == 1 {
        return 1;
    }
    table.request(now, &[id], 1).unwrap();
    fleet.flush(&all);
    std::iter::from_fn(|| fleet.tables[of].poll_granted()).map(|granted| granted.units).sum()
}

/// Used and idle.
fn units(fleet: &Hand<SharedThrottles>, of: usize) -> (u64, u64) {
    let why = fleet.tables[of].why(fleet.now, "t").unwrap();
    let own = why.members.iter().find(|one| *one.member == name(of)).unwrap();
    (own.used, own.held)
}

#[test]
fn growing_demand_asks_a_few_times_and_keeps_nobody_waiting() {
    let mut fleet = fleet("400/1");
    let all = fleet.all();
    let before = fleet.tables[0].counters().messages_sent;
    assert_eq!((0..200).map(|_| use_one(&mut fleet, 0)).sum::<u64>(), 200);
    let messages = fleet.tables[0].counters().messages_sent - before;
    assert!(messages <= 30, "{messages} messages for 200 units");
    let (used, idle) = units(&fleet, 0);
    assert_eq!(used, 200);
    assert!((1..=50).contains(&idle), "{idle} idle units");

    // All that is free, and what the first has got ahead, is there for the second at once.
    assert_eq!((0..200).map(|_| use_one(&mut fleet, 1)).sum::<u64>(), 200);
    assert_eq!((units(&fleet, 0), units(&fleet, 1)), ((200, 0), (200, 0)));
    fleet.advance(&all, 3.0);
    assert!(
        fleet.tables[0].why(fleet.now, "t").is_none(),
        "without demand everything is given, and then forgotten"
    );
}

#[test]
fn some_of_what_is_idle_stays_while_the_rest_is_in_use() {
    let mut fleet = fleet("400/60");
    let all = fleet.all();
    for _ in 0..80 {
        use_one(&mut fleet, 0);
    }
    let (used, idle) = units(&fleet, 0);
    assert!(used == 80 && idle > 10, "{used} used, {idle} idle");
    // An idle unit is looked at for a second; an eighth of those in use stay.
    fleet.advance(&all, 3.0);
    assert_eq!(units(&fleet, 0), (80, 10));
}

#[test]
fn small_limits_have_nothing_to_spare() {
    let mut fleet = fleet("3/10");
    assert_eq!((0..3).map(|_| use_one(&mut fleet, 0)).sum::<u64>(), 3);
    assert_eq!(units(&fleet, 0), (3, 0));
    let mut fleet = self::fleet("2/10");
    assert_eq!((use_one(&mut fleet, 0), use_one(&mut fleet, 1)), (1, 1));
}
