use super::{Check, Invariant, Verdict};
use crate::limits::{RATES, TABLES};
use crate::world::World;
use alloc::format;
use postfleet_replica::ObjectKind;

/// Nothing may be under way: then all have delivered the same.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "tables agree",
    source: "docs/structures/throttle.md",
    says: "all members hold the same throttles and slots",
    check: Check::Rest(check),
};

fn check(world: &World<'_>) -> Verdict {
    for kind in TABLES.into_iter().chain([RATES, ObjectKind::Obtc]) {
        let mut first = None;
        for process in world.processes() {
            let Some(data) = &process.data else { continue };
            if data.replica.throttles(kind.word()).is_none() && data.replica.slots(kind.word()).is_none() {
                continue;
            }
            let Some(print) = data.replica.fingerprint(kind.word()) else {
                return Err(format!("{}: {} is being exchanged", process.node, kind.word()));
            };
            let (by, theirs) = *first.get_or_insert((&process.node, print));
            if print != theirs {
                return Err(format!("{}: {by} and {} hold another table", kind.word(), process.node));
            }
        }
    }
    Ok(())
}
