//! Lightweight groups: T11 to T14.

use super::Field;
use super::field::SOON;
use super::order::numbers;
use crate::event::Destination;
use crate::suite::{Burst, Command, What};
use alloc::vec::Vec;
use core::time::Duration;

pub(super) fn open_group_send(field: &mut Field<'_>) {
    let a = field.join("a", &[]);
    let b = field.join("b", &["g"]);
    field.send(a, Burst::to_group("g", 1, 50));
    field.wait_messages(b, 50);
    field.run(Duration::from_millis(200));
    assert_eq!(field.trace(a).messages(), 0);
    field.check_at_rest();
}

pub(super) fn unicast(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    let c = field.join("c", &["g"]);
    let to_b = Destination::Member(field.name(b));
    for number in 1..=60 {
        let mut burst = Burst::to_group("g", number, 1);
        if number % 3 == 0 {
            burst.to = alloc::vec![to_b.clone()];
        }
        field.send(a, burst);
    }
    field.wait_messages(b, 60);
    field.wait_messages(c, 40);
    field.wait_messages(a, 40);
    assert_eq!(numbers(field, b), (1..=60).collect::<Vec<u64>>());
    let multicasts: Vec<u64> = (1..=60).filter(|number| number % 3 != 0).collect();
    assert_eq!(numbers(field, a), multicasts);
    assert_eq!(numbers(field, c), multicasts);
    field.check_at_rest();
}

pub(super) fn unknown_unicast(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    let mut burst = Burst::to_group("g", 1, 1);
    burst.to = alloc::vec![Destination::Member("#ec0-00001#nobody".parse().unwrap())];
    field.send(a, burst);
    field.send(a, Burst::to_group("g", 2, 1));
    field.wait_messages(a, 1);
    field.wait_messages(b, 1);
    assert!(field.trace(a).has(|what| matches!(what, What::Sent { number: 1, .. })), "it was accepted");
    assert_eq!(numbers(field, a), [2]);
    assert_eq!(numbers(field, b), [2]);
    field.command(a, Command::Figures);
    field.wait("it is counted", SOON, |f| {
        f.trace(a).has(|what| matches!(what, What::Figures { unknown_unicast: 1, .. }))
    });
    field.check_at_rest();
}

pub(super) fn join_is_ordered(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    let c = field.join("c", &[]);
    let mut flood = Burst::to_group("g", 1, 400);
    flood.interval = Duration::from_micros(500);
    field.send(a, flood);
    let pause = field.pick_millis(150);
    field.run(pause);
    field.command(c, Command::Join("g".parse().unwrap()));
    field.wait_messages(a, 400);
    field.wait_messages(b, 400);
    field.wait("C has the last message", SOON, |f| numbers(f, c).last() == Some(&400));
    let first = numbers(field, c).first().copied();
    let name = field.name(c);
    for member in [a, b, c] {
        let mut records = field.trace(member).records().iter().skip_while(
            |r| !matches!(&r.what, What::GroupView { group, members, .. } if group.as_str() == "g" && members.contains(&name)),
        );
        let next =
            records.find_map(|r| if let What::Message { number, .. } = r.what { Some(number) } else { None });
        assert_eq!(next, first, "{member:?} agrees on the first message that C delivers");
    }
    field.check_at_rest();
}
