//! Members and engines that end: T05, T15, T25, T32.

use super::Field;
use super::field::SOON;
use super::stop::attach_mute;
use super::view::{last_view, names};
use crate::event::LostReason;
use crate::suite::{Burst, Command, Fault, What};
use alloc::vec::Vec;
use core::time::Duration;

pub(super) fn leader_moves(field: &mut Field<'_>) {
    let a = field.join("a", &[]);
    let b = field.join("b", &[]);
    let c = field.join("c", &[]);
    field.crash(a);
    field.wait_together_within(field.rig.bound() + Duration::from_secs(1));
    for member in [b, c] {
        assert_eq!(names(&last_view(field, member).2).first(), Some(&field.name(b)));
    }
    field.check_at_rest();
}

pub(super) fn atomicity(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    let c = field.join("c", &["g"]);
    let mut flood = Burst::to_group("g", 1, 1_000_000);
    flood.interval = Duration::from_micros(200);
    field.send(a, flood);
    let lifetime = Duration::from_micros(field.random.below(40_000));
    field.run(lifetime);
    field.crash(a);
    field.wait_together_within(field.rig.bound() + Duration::from_secs(1));
    field.run(Duration::from_millis(100));
    let name = field.name(a);
    let prefix = |member| -> Vec<u64> {
        field.trace(member).delivered().iter().filter(|(from, _)| **from == name).map(|(_, n)| *n).collect()
    };
    let at_b = prefix(b);
    assert_eq!(at_b, prefix(c));
    assert!(at_b.iter().copied().eq(1..=u64::try_from(at_b.len()).unwrap()));
    field.check_at_rest();
}

pub(super) fn coordinator_dies(field: &mut Field<'_>) {
    let members = [field.join("a", &["g"]), field.join("b", &["g"]), field.join("c", &["g"])];
    // Long enough a member that heartbeats are expected of it.
    field.run(Duration::from_secs(4));
    // A round waits for who says nothing, a second and more: so its coordinator, the first one, ends between its ROUND and
    // its INSTALL. Or anybody, at any moment.
    let mute = field.pick(2) == 0;
    let (victim, newcomer) = if mute {
        let newcomer = attach_mute(field, "d");
        let moment = Duration::from_millis(100 + field.random.below(300));
        field.run(moment);
        assert!(field.are_together(&members), "the round is not over");
        (members[0], newcomer)
    } else {
        let victim = members[field.pick(3)];
        let newcomer = field.start("d", &["g"]);
        let moment = Duration::from_micros(field.random.below(40_000));
        field.run(moment);
        (victim, newcomer)
    };
    let dies = field.pick(2) == 0;
    if dies {
        field.crash(victim);
    } else {
        field.rig.stop(victim);
    }
    if mute {
        field.command(newcomer, Command::Read(true));
    }
    if dies {
        field.wait_together_within(field.rig.bound() + Duration::from_secs(3));
    } else {
        field.set_away(victim, true);
        let limit = field.specs[0].heartbeat_limit() + Duration::from_secs(5);
        field.wait_together_within(limit);
        field.crash(victim);
        field.wait_together();
    }
    field.check_at_rest();
}

pub(super) fn reconnect_new_epoch(field: &mut Field<'_>) {
    let a = field.join("a", &["g"]);
    let b = field.join("b", &["g"]);
    field.fault(Fault::EngineRestart(a));
    field.wait("A has lost its engine", SOON, |f| f.trace(a).has_lost(LostReason::Daemon));
    field.wait_together();
    let epochs = field.trace(a).epochs();
    assert_eq!(epochs.len(), 2);
    assert_ne!(epochs.first(), epochs.last());
    let name = field.name(a);
    let left = |what: &What| matches!(what, What::View { left, .. } if left.iter().any(|(n, _)| *n == name));
    let joined = |what: &What| matches!(what, What::View { joined, .. } if joined[..] == [name.clone()]);
    assert!(field.trace(b).has(left), "B sees A leave");
    assert!(field.trace(b).has(joined), "B sees A join");
    field.send(a, Burst::to_group("g", 1, 10));
    field.wait_messages(b, 10);
    field.check_at_rest();
}
