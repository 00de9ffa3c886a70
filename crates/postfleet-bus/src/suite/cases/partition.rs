//! Split networks: T17 to T20.

use super::Field;
use super::field::SOON;
use super::order::numbers;
use super::view::last_view;
use crate::suite::{Burst, Fault, MemberId, What};
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_types::{PrivateName, ViewId};

fn split(field: &mut Field<'_>, left: &[MemberId], right: &[MemberId]) {
    field.fault(Fault::Cut(vec![left.to_vec(), right.to_vec()]));
    let limit = field.rig.bound() + Duration::from_secs(1);
    field
        .wait("both sides have views of their own", limit, |f| f.are_together(left) && f.are_together(right));
}

pub(super) fn transitional_set(field: &mut Field<'_>) {
    let members: Vec<MemberId> = ["a", "b", "c", "d"].iter().map(|node| field.join(node, &["g"])).collect();
    let [a, b, c, d] = members[..] else { unreachable!() };
    // A carrier that needed more than one attempt at the merge cannot say who received what, so everybody goes
    // through a view of its own and nobody came along. That is rare: then the network is split once more.
    for attempt in 1.. {
        split(field, &[a, b], &[c, d]);
        let side = field.trace(a).view().map(|(id, _)| id);
        field.fault(Fault::Heal);
        field.wait_together();
        if view_before_last(field, a) == side {
            break;
        }
        assert!(attempt < 6, "no merge from a side's view in {attempt} attempts\n{}", field.summary());
    }
    let (joined, transitional, _) = last_view(field, a);
    let set = |names: Vec<PrivateName>| names.into_iter().collect::<BTreeSet<_>>();
    let along = set(vec![field.name(a), field.name(b)]);
    assert_eq!(set(transitional), along, "A and B came along\n{}", field.summary());
    assert_eq!(set(joined), set(vec![field.name(c), field.name(d)]), "C and D joined\n{}", field.summary());
    field.check_at_rest();
}

fn view_before_last(field: &Field<'_>, member: MemberId) -> Option<ViewId> {
    let mut views = field.trace(member).records().iter().rev().filter_map(|record| match &record.what {
        What::View { id, .. } => Some(*id),
        _ => None,
    });
    views.nth(1)
}

fn three_split(field: &mut Field<'_>) -> [MemberId; 3] {
    let [a, b, c] = [field.join("a", &["g"]), field.join("b", &["g"]), field.join("c", &["g"])];
    // Some traffic is under way when the network breaks.
    for (member, first) in [(a, 1), (b, 1), (c, 1)] {
        let mut burst = Burst::to_group("g", first, 40);
        burst.interval = Duration::from_millis(1);
        field.send(member, burst);
    }
    let moment = field.pick_millis(60);
    field.run(moment);
    split(field, &[a, b], &[c]);
    [a, b, c]
}

pub(super) fn both_live(field: &mut Field<'_>) {
    let [a, b, c] = three_split(field);
    field.send(a, Burst::to_group("g", 1001, 20));
    field.send(c, Burst::to_group("g", 1001, 20));
    for member in [a, b, c] {
        field.wait("each side delivers its own", SOON, |f| numbers(f, member).last() == Some(&1020));
    }
    field.check();
}

pub(super) fn merge_one_view(field: &mut Field<'_>) {
    let [a, b, c] = three_split(field);
    let highest = [a, b, c].iter().filter_map(|m| field.trace(*m).view()).map(|(id, _)| id.counter).max();
    field.fault(Fault::Heal);
    field.wait_together();
    let merged = field.trace(a).view().map(|(id, _)| id.counter);
    assert!(merged > highest, "{merged:?} is above {highest:?}");
    field.check_at_rest();
}

pub(super) fn no_cross_component_delivery(field: &mut Field<'_>) {
    let [a, b, c] = three_split(field);
    field.send(c, Burst::to_group("g", 2001, 30));
    field.wait("C delivers its own", SOON, |f| numbers(f, c).last() == Some(&2030));
    field.fault(Fault::Heal);
    field.wait_together();
    field.run(Duration::from_secs(1));
    for member in [a, b] {
        assert!(numbers(field, member).iter().all(|number| *number < 2001), "{member:?} has C's messages");
    }
    field.check_at_rest();
}
