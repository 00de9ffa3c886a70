use super::{Book, Check, Invariant, Verdict};
use crate::truth::{OBJECTS, fingerprint};
use crate::world::World;
use alloc::format;
use postfleet_replica::Of;

/// Whatever happens on the bus.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "own is truth",
    source: "docs/structures/columns.md",
    says: "the own column is what the node has open, at once and always",
    check: Check::Sample(check),
};

fn check(world: &World<'_>, _: &mut Book) -> Verdict {
    for process in world.processes() {
        let Some(data) = &process.data else { continue };
        for (object, kind) in OBJECTS.into_iter().enumerate() {
            let print = fingerprint(&data.replica, kind, Of::Own);
            let total = data.replica.object(kind.word()).and_then(|found| found.total(Of::Own));
            if print != Ok(data.truth.present(object)) || total != Ok(data.truth.total(object)) {
                return Err(format!(
                    "{}: the own {} is {total:?} in all, {} are open",
                    process.node,
                    kind.word(),
                    data.truth.total(object)
                ));
            }
        }
    }
    Ok(())
}
