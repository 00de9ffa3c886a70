use super::{Check, Invariant, Verdict};
use crate::limits::SLOTS;
use crate::world::World;
use alloc::format;

/// While the fleet is cut, each side may still have what it had; when it is whole again, what is above the limit ends at
/// message boundaries.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "slots are kept",
    source: "docs/structures/throttle.md",
    says: "connections that are open under a cluster limit are not more than it",
    check: Check::Rest(check),
};

fn check(world: &World<'_>) -> Verdict {
    let open =
        world.processes().filter_map(|process| process.data.as_ref()).map(|data| data.truth.limits.open());
    let open: u64 = open.sum();
    if open > SLOTS { Err(format!("{open} are open of {SLOTS}")) } else { Ok(()) }
}
