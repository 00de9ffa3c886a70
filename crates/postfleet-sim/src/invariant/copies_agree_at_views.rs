use super::{Book, Check, Invariant, Verdict};
use crate::process::Process;
use crate::truth::{OBJECTS, fingerprint, totals};
use crate::world::World;
use alloc::format;
use postfleet_replica::{ColumnPhase, Of};

/// A view is a point of the order: whoever installs it has delivered the same before it.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "copies agree at views",
    source: "docs/structures/columns.md",
    says: "at the same view all members hold the same copy of a column",
    check: Check::View(check),
};

fn check(world: &World<'_>, book: &mut Book, process: &Process) -> Verdict {
    let Some(data) = &process.data else { return Ok(()) };
    let Some((id, _)) = data.link.trace.view() else { return Ok(()) };
    for (object, kind) in OBJECTS.into_iter().enumerate() {
        for (name, phase, _) in totals(&data.replica, kind) {
            if phase != ColumnPhase::Live {
                continue;
            }
            let Some((origin, _)) = world.truth_of(&name) else { continue };
            let node = name.rsplit('#').next().unwrap_or_default();
            let Ok(print) = fingerprint(&data.replica, kind, Of::Node(node)) else { continue };
            let (first, by) = *book.at_views.entry((id, origin, object)).or_insert((print, process.life));
            if first != print {
                return Err(format!(
                    "{} of {name} at view {id}: {} holds another state than life {by} did",
                    kind.word(),
                    process.node
                ));
            }
        }
    }
    Ok(())
}
