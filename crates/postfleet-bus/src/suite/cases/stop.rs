//! Members and engines that stand still: T21 to T24.

use super::Field;
use super::field::SOON;
use super::view::{last_view, names};
use crate::event::{LeaveReason, LostReason};
use crate::suite::{Burst, Command, Fault, MemberId, What};
use core::time::Duration;

pub(super) fn pause_resume(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    let c = field.join("c", &["g"]);
    let limit = field.specs[0].heartbeat_limit();
    field.run(Duration::from_secs(4));
    let before = field.trace(a).view().map(|(id, _)| id);
    // A short stop changes nothing.
    field.rig.stop(c);
    field.run(limit / 2);
    field.rig.resume(c);
    field.run(limit);
    assert_eq!(field.trace(a).view().map(|(id, _)| id), before, "half the limit is forgiven");
    field.rig.stop(c);
    field.set_away(c, true);
    field.wait_together_within(limit + Duration::from_secs(2));
    let name = field.name(c);
    for member in [a, b] {
        let expelled = |what: &What| matches!(what, What::View { left, .. } if left[..] == [(name.clone(), LeaveReason::Heartbeat)]);
        assert!(field.trace(member).has(expelled));
        field.wait("it is logged", Duration::from_secs(1), |f| {
            f.trace(member).has_logged("Node c does not answer heartbeats; removed from the cluster view")
        });
    }
    field.send(a, Burst::to_group("g", 1, 20));
    field.run(Duration::from_secs(2));
    field.rig.resume(c);
    field.set_away(c, false);
    field.wait_together_within(Duration::from_secs(5));
    assert!(field.trace(c).has_lost(LostReason::Expelled));
    assert_eq!(field.trace(c).epochs().len(), 2);
    assert_eq!(names(&last_view(field, a).2), [field.name(a), field.name(b), name]);
    field.check_at_rest();
}

pub(super) fn engine_pause_resume(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    let c = field.join("c", &["g"]);
    field.run(Duration::from_secs(2));
    field.fault(Fault::EngineStop(c));
    field.send(c, Burst::to_group("g", 1, 30));
    field.send(a, Burst::to_group("g", 1, 30));
    field.wait("A and B go on alone", SOON, |f| f.are_together(&[a, b]));
    let name = field.name(c);
    for member in [a, b] {
        let left = |what: &What| matches!(what, What::View { left, .. } if left[..] == [(name.clone(), LeaveReason::NodeDown)]);
        assert!(field.trace(member).has(left));
    }
    field.run(Duration::from_secs(6));
    field.fault(Fault::EngineResume(c));
    field.wait_together();
    field.check_at_rest();
}

/// Somebody who is attached and says nothing.
pub(super) fn attach_mute(field: &mut Field<'_>, node: &str) -> MemberId {
    let mut spec = field.spec(node, &["g"]);
    spec.mute = true;
    let member = field.start_spec(&spec);
    field.wait("it is attached", SOON, |f| {
        f.trace(member).has(|what| matches!(what, What::Connecting { .. }))
    });
    member
}

pub(super) fn silent_member_does_not_block(field: &mut Field<'_>) {
    field.join("a", &[]);
    let b = field.join("b", &[]);
    let c = attach_mute(field, "c");
    field.set_away(c, true);
    field.start("d", &[]);
    field.wait_together_within(Duration::from_secs(5));
    assert!(field.trace(c).view().is_none());
    assert_eq!(field.trace(b).view_size(), 3);
    // From now on it holds up nobody, and when it goes on it is one of them.
    field.command(c, Command::Read(true));
    field.set_away(c, false);
    field.wait_together();
    assert_eq!(field.trace(b).view_size(), 4);
    field.check_at_rest();
}

pub(super) fn ghost_member(field: &mut Field<'_>) {
    let early = field.pick(2) == 0;
    if early {
        field.fault(Fault::Ghost);
    }
    let a = field.start("a", &["g"]);
    field.wait_together_within(Duration::from_secs(5));
    field.fault(Fault::Ghost);
    let b = field.start("b", &["g"]);
    field.wait_together_within(Duration::from_secs(5));
    field.send(a, Burst::to_group("g", 1, 10));
    field.wait_messages(b, 10);
    field.crash(b);
    field.wait_together_within(field.rig.bound() + Duration::from_secs(1));
    field.check_at_rest();
}
