use super::{Book, Check, Invariant, Verdict};
use crate::limits::{RATE, Use, worst_window};
use crate::world::World;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use postfleet_types::ViewId;

/// Under every policy: a limit is never given out twice among those who share it.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "rates of one fleet",
    source: "docs/limits.md",
    says: "members of one view use no more than X in any Y seconds of true time",
    check: Check::Sample(check),
};

fn check(world: &World<'_>, _: &mut Book) -> Verdict {
    let mut views: BTreeMap<ViewId, Vec<Use>> = BTreeMap::new();
    for one in world.limits().flat_map(|limits| limits.uses()) {
        if let Some(view) = one.view {
            views.entry(view).or_default().push(*one);
        }
    }
    for (view, uses) in views {
        let worst = worst_window(uses);
        if worst > u64::from(RATE.0) {
            return Err(format!("{worst} of {} in {} s were used in view {view}", RATE.0, RATE.1));
        }
    }
    Ok(())
}
