use super::{Check, Invariant, Verdict};
use crate::world::World;
use alloc::format;

/// A queue that never empties is a member that nobody hears.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "nothing waits",
    source: "docs/bus.md",
    says: "send queues run empty when nothing more is sent",
    check: Check::Rest(check),
};

fn check(world: &World<'_>) -> Verdict {
    for process in world.processes() {
        for link in process.links() {
            let waiting = link.waiting();
            if waiting > 0 {
                return Err(format!("{} {}: {waiting} messages wait", process.node, link.class.letter()));
            }
        }
    }
    Ok(())
}
