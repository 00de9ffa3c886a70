use super::{Check, Invariant, Verdict};
use crate::world::World;
use alloc::format;
use postfleet_bus::LeaveReason;

/// Node names are unique in a simulated fleet, and all speak one protocol. A process that was restarted must not be
/// taken for another one with the name of the one before.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "nobody is refused",
    source: "docs/bus.md",
    says: "a member is refused only for a name that is taken or a protocol that nobody shares",
    check: Check::Departure(check),
};

fn check(_: &World<'_>, node: &str, reason: LeaveReason) -> Verdict {
    if reason == LeaveReason::Refused {
        return Err(format!("{node} was refused"));
    }
    Ok(())
}
