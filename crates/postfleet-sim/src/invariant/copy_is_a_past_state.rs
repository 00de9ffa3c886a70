use super::{Book, Check, Invariant, Verdict};
use crate::truth::{OBJECTS, fingerprint, totals};
use crate::world::World;
use alloc::format;
use postfleet_replica::{ColumnPhase, Of};

/// Counted twice, lost, mixed up or brought back after a merge: none of these gives a state that the origin was in
/// later than the last one seen.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "a copy is a past state",
    source: "docs/structures/columns.md",
    says: "every copy of a column is a state that its origin was in, and never goes back",
    check: Check::Sample(check),
};

fn check(world: &World<'_>, book: &mut Book) -> Verdict {
    for process in world.processes().filter(|process| !process.stopped) {
        let Some(data) = &process.data else { continue };
        for (object, kind) in OBJECTS.into_iter().enumerate() {
            let columns = totals(&data.replica, kind);
            for (name, phase, count) in &columns {
                if *phase != ColumnPhase::Live {
                    continue;
                }
                let node = name.rsplit('#').next().unwrap_or_default();
                // A node that has restarted may be there twice for a moment; its name then means the younger.
                if columns.iter().filter(|(other, ..)| other.rsplit('#').next() == Some(node)).count() > 1 {
                    continue;
                }
                let Some((origin, truth)) = world.truth_of(name) else {
                    return Err(format!("{}: a column of {name}, who never lived", process.node));
                };
                let Ok(print) = fingerprint(&data.replica, kind, Of::Node(node)) else { continue };
                let key = (process.life, origin, object);
                let before = book.copies.get(&key).copied().unwrap_or(0);
                let Some(place) = truth.find(object, print, before) else {
                    let went_back = truth.had_before(object, print, before);
                    let what = if went_back { "went back" } else { "never was so" };
                    return Err(format!(
                        "{}: {} of {name} ({count} in all) {what}",
                        process.node,
                        kind.word()
                    ));
                };
                book.copies.insert(key, place);
            }
        }
    }
    Ok(())
}
