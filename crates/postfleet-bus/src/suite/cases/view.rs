//! Joining and leaving: T01 to T04, T31.

use super::Field;
use super::field::SOON;
use crate::event::{LeaveReason, LostReason, Member};
use crate::suite::{Burst, Command, MemberId, What};
use alloc::vec::Vec;
use postfleet_types::{NodeType, PrivateName};

pub(super) fn last_view(
    field: &Field<'_>,
    member: MemberId,
) -> (Vec<PrivateName>, Vec<PrivateName>, Vec<Member>) {
    let view = field.trace(member).records().iter().rev().find_map(|record| match &record.what {
        What::View { joined, transitional, members, .. } => {
            Some((joined.clone(), transitional.clone(), members.clone()))
        }
        _ => None,
    });
    view.expect("a view")
}

pub(super) fn names(members: &[Member]) -> Vec<PrivateName> {
    members.iter().map(|member| member.info.private_name.clone()).collect()
}

fn leader(members: &[Member]) -> Option<PrivateName> {
    members.iter().find(|m| m.info.node_type == NodeType::Node).map(|m| m.info.private_name.clone())
}

pub(super) fn first_event_is_view(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let first = field.trace(a).records().iter().find(|record| {
        !matches!(record.what, What::Connecting { .. } | What::Notice { .. } | What::NotSent { .. })
    });
    match first.map(|record| &record.what) {
        Some(What::View { id, members, joined, left, transitional }) => {
            assert!(id.counter >= 1);
            assert_eq!(names(members), [field.name(a)]);
            assert_eq!(joined[..], [field.name(a)]);
            assert!(left.is_empty() && transitional.is_empty());
        }
        other => panic!("the first event is {other:?}"),
    }
    field.check_at_rest();
}

pub(super) fn join_view_agreement(field: &mut Field<'_>) {
    let a = field.join("a", &[]);
    let b = field.join("b", &[]);
    let (name_a, name_b) = (field.name(a), field.name(b));
    let (joined, transitional, at_a) = last_view(field, a);
    assert_eq!((joined, transitional), (alloc::vec![name_b.clone()], alloc::vec![name_a.clone()]));
    let (joined, transitional, at_b) = last_view(field, b);
    assert_eq!((joined, transitional), (alloc::vec![name_a, name_b], Vec::new()));
    assert_eq!(at_a, at_b);
    field.check_at_rest();
}

pub(super) fn oldest_first(field: &mut Field<'_>) {
    let a = field.join("a", &[]);
    let b = field.join("b", &[]);
    let c = field.join("c", &[]);
    let wanted = [field.name(a), field.name(b), field.name(c)];
    assert_eq!(names(&last_view(field, a).2), wanted);
    field.command(b, Command::Reset);
    let wanted = [field.name(a), field.name(c), field.name(b)];
    field.wait("B is last everywhere", SOON, |f| {
        [a, b, c].iter().all(|m| f.trace(*m).view().is_some_and(|(_, members)| names(members) == wanted))
    });
    assert_eq!(leader(&last_view(field, c).2), Some(field.name(a)));
    let saw_leave = field.trace(a).has(|what| {
        matches!(what, What::View { left, .. } if left[..] == [(wanted[2].clone(), LeaveReason::Left)])
    });
    assert!(saw_leave, "A sees B leave in order\n{}", field.summary());
    field.check_at_rest();
}

pub(super) fn leader_skips_managers(field: &mut Field<'_>) {
    let mut manager = field.spec("m", &[]);
    manager.node_type = NodeType::Manager;
    let m = field.start_spec(&manager);
    field.wait_together();
    let a = field.join("a", &[]);
    let b = field.join("b", &[]);
    for member in [m, a, b] {
        let members = last_view(field, member).2;
        assert_eq!(names(&members), [field.name(m), field.name(a), field.name(b)]);
        assert_eq!(leader(&members), Some(field.name(a)));
    }
    field.check_at_rest();
}

pub(super) fn orderly_leave(field: &mut Field<'_>) {
    let a = field.join("a", &[]);
    let b = field.join("b", &["g"]);
    field.send(a, Burst::to_group("g", 1, 100));
    field.command(a, Command::Disconnect);
    field.set_away(a, true);
    field.wait("A has left", SOON, |f| f.trace(a).has_lost(LostReason::Local));
    field.wait("B is alone", SOON, |f| f.trace(b).view_size() == 1);
    let numbers: Vec<u64> = field.trace(b).delivered().iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<u64>>());
    let name = field.name(a);
    let left = field.trace(b).has(
        |what| matches!(what, What::View { left, .. } if left[..] == [(name.clone(), LeaveReason::Left)]),
    );
    assert!(left, "B sees A leave with reason Left");
    field.check();
}
