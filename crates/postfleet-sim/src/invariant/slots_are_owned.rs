use super::{Check, Invariant, Verdict};
use crate::limits::KEY;
use crate::process::Process;
use crate::world::World;
use alloc::format;
use postfleet_replica::ObjectKind;

/// Whatever happens to the fleet: the table of a node has what the node has open. What is not in it, others may open.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "slots are owned",
    source: "docs/structures/throttle.md",
    says: "a node has no more connections open under a cluster limit than its table says that it owns",
    check: Check::Turn(check),
};

fn check(_: &World<'_>, process: &Process) -> Verdict {
    let Some(data) = &process.data else { return Ok(()) };
    let Some(slots) = data.replica.slots(ObjectKind::OutboundSlots.word()) else { return Ok(()) };
    let own = &data.replica.options().own;
    let owned: u64 = slots.rows_of(own).filter(|row| row.key == KEY).map(|row| row.owned).sum();
    let open = data.truth.limits.open();
    if open > owned {
        return Err(format!("{}: {open} are open, {owned} are its own", process.node));
    }
    Ok(())
}
