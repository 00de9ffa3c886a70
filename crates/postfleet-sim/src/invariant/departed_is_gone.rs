use super::{Book, Check, Invariant, Verdict};
use crate::process::Process;
use crate::truth::{OBJECTS, totals};
use crate::world::World;
use alloc::format;
use alloc::string::ToString;

/// Looked at directly after the view was handled, before any message.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "departed is gone",
    source: "docs/structures/columns.md",
    says: "the column of a member that is not in the view is gone at the view",
    check: Check::View(check),
};

fn check(_: &World<'_>, _: &mut Book, process: &Process) -> Verdict {
    let Some(data) = &process.data else { return Ok(()) };
    let Some((id, members)) = data.link.trace.view() else { return Ok(()) };
    for kind in OBJECTS {
        for (name, _, count) in totals(&data.replica, kind) {
            if !members.iter().any(|member| member.info.private_name.to_string() == name) {
                return Err(format!(
                    "{}: {} of {name} is still {count} in view {id}",
                    process.node,
                    kind.word()
                ));
            }
        }
    }
    // A column that nobody lists could still be in the sum.
    for kind in OBJECTS {
        let Ok(object) = data.replica.object(kind.word()) else { continue };
        let listed: u64 = object.columns_total().iter().map(|column| column.count).sum();
        let global = object.total(postfleet_replica::Of::Global);
        if global != Ok(listed) {
            return Err(format!(
                "{}: {} is {global:?} in view {id}, its members have {listed}",
                process.node,
                kind.word()
            ));
        }
    }
    Ok(())
}
