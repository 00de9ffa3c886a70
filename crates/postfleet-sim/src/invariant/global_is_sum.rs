use super::{Check, Invariant, Verdict};
use crate::process::Process;
use crate::truth::OBJECTS;
use crate::world::World;
use alloc::format;
use postfleet_replica::Of;

/// Looked at one object a turn, in turn: a difference stays.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "global is sum",
    source: "docs/structures/columns.md",
    says: "at any moment the global view is the sum of the columns that are held",
    check: Check::Turn(check),
};

fn check(world: &World<'_>, process: &Process) -> Verdict {
    let Some(data) = &process.data else { return Ok(()) };
    let turn = usize::try_from(world.now.as_micros() / 250).unwrap_or(0);
    let Some(kind) = OBJECTS.get(turn % OBJECTS.len()) else { return Ok(()) };
    let Ok(object) = data.replica.object(kind.word()) else { return Ok(()) };
    let columns: u64 = object.columns_total().iter().map(|column| column.count).sum();
    match object.total(Of::Global) {
        Ok(global) if global == columns => Ok(()),
        other => Err(format!("{}: {} is {other:?}, its columns are {columns}", process.node, kind.word())),
    }
}
