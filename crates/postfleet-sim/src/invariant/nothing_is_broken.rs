use super::{Check, Invariant, Verdict};
use crate::process::Process;
use crate::world::World;
use alloc::format;

/// The replica never has to doubt what it gets: no batch is missing, none is malformed, no count falls below zero.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "nothing is broken",
    source: "docs/structures/columns.md",
    says: "no batch is missing or malformed, no count falls below zero",
    check: Check::Turn(check),
};

fn check(_: &World<'_>, process: &Process) -> Verdict {
    let Some(data) = &process.data else { return Ok(()) };
    let counters = data.replica.counters();
    if (counters.gaps, counters.malformed, counters.own_changes_clamped) == (0, 0, 0) {
        return Ok(());
    }
    Err(format!(
        "{}: {} gaps, {} malformed, {} counts below zero",
        process.node, counters.gaps, counters.malformed, counters.own_changes_clamped
    ))
}
