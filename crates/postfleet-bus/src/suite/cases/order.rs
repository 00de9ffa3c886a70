//! Order of messages: T06 to T10.

use super::Field;
use crate::suite::{Burst, Capability, MemberId};
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::PrivateName;

pub(super) fn numbers(field: &Field<'_>, member: MemberId) -> Vec<u64> {
    field.trace(member).delivered().iter().map(|(_, number)| *number).collect()
}

fn sequence(field: &Field<'_>, member: MemberId) -> Vec<(PrivateName, u64)> {
    field.trace(member).delivered().into_iter().map(|(from, number)| (from.clone(), number)).collect()
}

pub(super) fn self_delivery(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    field.send(a, Burst::to_group("g", 1, 1000));
    field.wait_messages(a, 1000);
    assert_eq!(numbers(field, a), (1..=1000).collect::<Vec<u64>>());
    field.check_at_rest();
}

pub(super) fn two_senders(field: &mut Field<'_>) {
    let members = [field.join("a", &["g"]), field.join("b", &["g"]), field.join("c", &["g"])];
    let [a, b, c] = members;
    field.send(a, Burst::to_group("g", 1, 10_000));
    field.send(b, Burst::to_group("g", 1, 10_000));
    for member in members {
        field.wait_messages(member, 20_000);
    }
    let at_a = sequence(field, a);
    assert_eq!(at_a.len(), 20_000);
    assert!(at_a == sequence(field, b), "A and B deliver the same sequence");
    assert!(at_a == sequence(field, c), "A and C deliver the same sequence");
    field.check_at_rest();
}

pub(super) fn across_groups(field: &mut Field<'_>) {
    let several = field.rig.can(Capability::Several);
    let a = field.join("a", &["g", "h"]);
    let others = if several { Some((field.join("b", &["g", "h"]), field.join("c", &["g"]))) } else { None };
    for number in 1..=400 {
        let group = if number % 2 == 0 { "g" } else { "h" };
        field.send(a, Burst::to_group(group, number, 1));
    }
    field.wait_messages(a, 400);
    assert_eq!(numbers(field, a), (1..=400).collect::<Vec<u64>>());
    if let Some((b, c)) = others {
        field.wait_messages(b, 400);
        field.wait_messages(c, 200);
        assert_eq!(numbers(field, b), numbers(field, a));
        assert_eq!(numbers(field, c), (1..=200).map(|n| 2 * n).collect::<Vec<u64>>());
    }
    field.check_at_rest();
}

pub(super) fn fifo_no_gap(field: &mut Field<'_>) {
    let mut members = alloc::vec![field.join("a", &["g"])];
    if field.rig.can(Capability::Several) {
        members.push(field.join("b", &["g"]));
    }
    field.send(members[0], Burst::to_group("g", 1, 100_000));
    for member in &members {
        field.wait_messages(*member, 100_000);
    }
    for member in members {
        let all = numbers(field, member);
        assert!(all.iter().copied().eq(1..=100_000), "{member:?} has {} numbers", all.len());
    }
}

pub(super) fn causal_chain(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    let c = field.join("c", &["g"]);
    let sees = |number: u64, at: MemberId| move |f: &Field<'_>| numbers(f, at).contains(&number);
    field.send(a, Burst::to_group("g", 1, 1));
    field.wait("B delivers 1", Duration::from_secs(5), sees(1, b));
    field.send(b, Burst::to_group("g", 2, 1));
    field.wait("C delivers 2", Duration::from_secs(5), sees(2, c));
    field.send(c, Burst::to_group("g", 3, 1));
    for member in [a, b, c] {
        field.wait("all deliver 3", Duration::from_secs(5), sees(3, member));
        assert_eq!(numbers(field, member), [1, 2, 3]);
    }
    field.check_at_rest();
}
