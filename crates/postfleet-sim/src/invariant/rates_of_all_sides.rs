use super::{Book, Check, Invariant, Verdict};
use crate::limits::{RATE, worst_window};
use crate::world::World;
use alloc::format;
use postfleet_throttle::Partition;

/// From the moment in which all nodes shared the rate, until a process starts: a new one may know of nobody. Where votes
/// are counted, sides may be told of quorum one after the other: `quorum` is judged by view only.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "rates of all sides",
    source: "docs/limits.md",
    says: "under `share` all sides together use no more than X in any Y seconds of true time",
    check: Check::Sample(check),
};

fn check(world: &World<'_>, book: &mut Book) -> Verdict {
    if world.plan.settings.partition != Partition::Share {
        return Ok(());
    }
    let state = world.lives.len();
    if book.whole.is_some_and(|(of, _)| of != state) {
        book.whole = None;
    }
    let nodes = usize::try_from(world.plan.nodes).unwrap_or(usize::MAX);
    if book.whole.is_none() {
        let views = world.processes().filter_map(|process| process.data.as_ref());
        let views = views.map(|data| {
            data.live_view()
                .filter(|_| data.link.trace.view().is_some_and(|(_, members)| members.len() == nodes))
        });
        let mut views = views.collect::<alloc::vec::Vec<_>>();
        let count = views.len();
        views.dedup();
        if count == nodes && views.len() == 1 && views.first().is_some_and(Option::is_some) {
            book.whole = Some((state, world.now));
        }
    }
    let Some((_, since)) = book.whole else { return Ok(()) };
    let uses = world.limits().flat_map(|limits| limits.uses()).filter(|one| one.at > since).copied();
    let worst = worst_window(uses.collect());
    if worst > u64::from(RATE.0) {
        return Err(format!("{worst} of {} in {} s were used in all", RATE.0, RATE.1));
    }
    Ok(())
}
