use super::{Book, Check, Invariant, Verdict};
use crate::limits::KEY;
use crate::world::World;
use alloc::format;
use postfleet_replica::ObjectKind;

/// Sides that meet may own more together, and a side that loses members more than its part: that only ever falls.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "no slot above the limit",
    source: "docs/limits.md",
    says: "members of one fleet own no more slots than the limit in force, or fewer than they did",
    check: Check::Sample(check),
};

fn check(world: &World<'_>, book: &mut Book) -> Verdict {
    for process in world.processes() {
        let Some(data) = &process.data else { continue };
        let Some(slots) = data.replica.slots(ObjectKind::OutboundSlots.word()) else { continue };
        let Some((view, _)) = data.link.trace.view().filter(|_| !slots.is_merging()) else { continue };
        let Some(why) = slots.why(world.now, KEY) else { continue };
        let before = book.slots.insert(process.life, (view, why.value));
        let before = before.filter(|(of, _)| *of == view).map_or(u64::MAX, |(_, before)| before);
        if why.value > why.limit && why.value > before {
            return Err(format!(
                "{}: {} are owned of {} in force, {before} were before",
                process.node, why.value, why.limit
            ));
        }
    }
    Ok(())
}
