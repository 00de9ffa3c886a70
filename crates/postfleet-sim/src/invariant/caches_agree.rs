use super::{Check, Invariant, Verdict};
use crate::limits::CACHE;
use crate::world::World;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;

/// Whoever wrote last in the order, and whatever sides wrote while they were apart.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "caches agree",
    source: "docs/structures/cache.md",
    says: "all members hold the same pairs",
    check: Check::Rest(check),
};

fn check(world: &World<'_>) -> Verdict {
    let mut first = None;
    for process in world.processes() {
        let Some(data) = &process.data else { continue };
        let (Some(cache), Some(host)) = (data.replica.cache(CACHE), world.hosts.get(&process.host)) else {
            continue;
        };
        let now = host.clock.local(world.now);
        let pairs: Vec<(Bytes, Option<Bytes>)> =
            cache.shown(now).map(|(key, ..)| (key.clone(), cache.value(key, now).cloned())).collect();
        let (by, theirs) = first.get_or_insert_with(|| (&process.node, pairs.clone()));
        if *theirs != pairs {
            return Err(format!("{by} and {} hold other pairs", process.node));
        }
    }
    Ok(())
}
