//! A process that has just started and will join a fleet uses nothing that the fleet may be using.

#![allow(clippy::unwrap_used, reason = "a test whose own input is wrong has to fail")]

use postfleet_throttle::{
    Configuration, Path, Present, Rate, SharedThrottles, SlotOptions, Slots, ThrottleId, ThrottleOptions,
};
use postfleet_types::{Monotonic, PrivateName};
use std::time::Duration;

const START: Monotonic = Monotonic::from_millis(1_000_000);
const PATIENCE: Duration = Duration::from_secs(10);

fn name() -> PrivateName {
    PrivateName::shared(&"a".parse().unwrap(), 1)
}

fn throttles() -> (SharedThrottles, ThrottleId) {
    let mut table = SharedThrottles::new(&name(), ThrottleOptions::default());
    table.start(START);
    let id = table.configure(START, "t", Rate::new(5, 60).unwrap()).unwrap();
    (table, id)
}

fn alone(configure: impl FnOnce(&Configuration<'_>)) {
    let own = name();
    let members = [Present { name: &own, relay: true }];
    configure(&Configuration { id: 1, members: &members, departed: &[], joined: &[] });
}

#[test]
fn nothing_is_used_before_the_first_configuration() {
    let (mut table, id) = throttles();
    let now = START + Duration::from_secs(3);
    let ticket = table.request(now, &[id], 1).unwrap();
    assert_eq!(table.take_or_wish(now, id, 2), Ok(0));
    assert!(table.poll_granted().is_none());

    // In a view of its own it knows that nobody else is there.
    alone(|configuration| table.reconfigure(now, configuration));
    assert_eq!(table.poll_granted().map(|granted| granted.ticket), Some(ticket));
    assert_eq!(table.take_or_wish(now, id, 9), Ok(4));
}

#[test]
fn a_node_whose_fleet_does_not_come_goes_on_with_the_limit() {
    let (mut table, id) = throttles();
    let ticket = table.request(START, &[id], 1).unwrap();
    let early = START + PATIENCE - Duration::from_micros(1);
    table.handle_timeout(early);
    assert_eq!(table.take(early, &[id], 1), Ok(0));
    assert_eq!(table.poll_deadline(), Some(START + PATIENCE));

    table.handle_timeout(START + PATIENCE);
    assert_eq!(table.poll_granted().map(|granted| granted.ticket), Some(ticket));
    assert_eq!(table.take_or_wish(START + PATIENCE, id, 9), Ok(4));
}

#[test]
fn no_slot_is_open_before_the_first_configuration() {
    let path = Path::new([("domain:example.com", 3)]).unwrap();
    let mut slots = Slots::new(&name(), SlotOptions::default());
    slots.start(START);
    slots.want(START, &path, 2);
    assert!(!slots.open(START, &path));
    assert_eq!(slots.poll_deadline(), Some(START + PATIENCE));

    let now = START + Duration::from_secs(1);
    alone(|configuration| slots.reconfigure(now, configuration));
    assert!(slots.open(now, &path));

    let mut lone = Slots::new(&name(), SlotOptions::default());
    lone.start(START);
    lone.want(START, &path, 2);
    lone.handle_timeout(START + PATIENCE);
    assert!(lone.open(START + PATIENCE, &path));
}
