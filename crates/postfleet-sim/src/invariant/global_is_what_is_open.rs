use super::{Check, Invariant, Verdict};
use crate::truth::{OBJECTS, Rows, rows};
use crate::world::World;
use alloc::format;
use alloc::string::String;
use postfleet_replica::Of;

/// The oracle: nothing but what the living nodes really have open.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "global is what is open",
    source: "docs/structures/columns.md",
    says: "every member's global view is what all members together have open, key by key",
    check: Check::Rest(check),
};

fn check(world: &World<'_>) -> Verdict {
    for kind in OBJECTS {
        let mut open = Rows::new();
        for data in world.processes().filter_map(|process| process.data.as_ref()) {
            for (key, count) in data.truth.rows(kind) {
                *open.entry(key).or_insert(0) += count;
            }
        }
        for process in world.processes() {
            let Some(data) = &process.data else { continue };
            let shown = rows(&data.replica, kind, Of::Global);
            if shown.as_ref() != Ok(&open) {
                let shown = shown.unwrap_or_default();
                let keys = shown.keys().chain(open.keys());
                let wrong =
                    keys.map(String::as_str).find(|key| shown.get(*key) != open.get(*key)).unwrap_or("");
                return Err(format!(
                    "{}: {} shows {wrong} as {:?}, open are {:?}",
                    process.node,
                    kind.word(),
                    shown.get(wrong),
                    open.get(wrong)
                ));
            }
        }
    }
    Ok(())
}
