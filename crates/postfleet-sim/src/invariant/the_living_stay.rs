use super::{Check, Invariant, Verdict};
use crate::world::World;
use alloc::format;
use core::time::Duration;
use postfleet_bus::LeaveReason;

/// When no fault has been at work for as long as the slowest consequence of one may take, nobody is put out.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "the living stay",
    source: "docs/bus.md",
    says: "without a fault nobody is put out for silence or missing heartbeats",
    check: Check::Departure(check),
};

fn check(world: &World<'_>, node: &str, reason: LeaveReason) -> Verdict {
    let patience = world.plan.settings.heartbeat_limit() + world.plan.settings.heartbeat_start_delay;
    let late = world.plan.timing.detection * 2 + world.plan.timing.merge + Duration::from_secs(5);
    let calm = world.calm_since.is_some_and(|since| world.now.since(since) > patience * 2 + late);
    match reason {
        LeaveReason::Heartbeat | LeaveReason::Silent if calm => Err(format!("{node} was put out: {reason}")),
        LeaveReason::Heartbeat
        | LeaveReason::Silent
        | LeaveReason::Left
        | LeaveReason::ProcessDown
        | LeaveReason::NodeDown
        | LeaveReason::Refused => Ok(()),
    }
}
