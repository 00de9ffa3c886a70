use super::{Check, Invariant, Verdict};
use crate::world::World;
use alloc::format;

/// Joiners and those that were apart have the columns of all others.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "complete",
    source: "docs/structures/columns.md",
    says: "every member holds the column of every other, and waits for none",
    check: Check::Rest(check),
};

fn check(world: &World<'_>) -> Verdict {
    for process in world.processes() {
        let Some(data) = &process.data else { continue };
        let replica = &data.replica;
        if !(replica.online() && replica.complete()) || replica.waiting() {
            return Err(format!(
                "{}: online {}, complete {}, waiting {}",
                process.node,
                replica.online(),
                replica.complete(),
                replica.waiting()
            ));
        }
    }
    Ok(())
}
