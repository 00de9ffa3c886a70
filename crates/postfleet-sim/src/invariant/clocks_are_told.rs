use super::{Check, Invariant, Verdict};
use crate::world::World;
use alloc::format;
use alloc::vec::Vec;

/// Transit and the time since the last heartbeat, with room.
const TOLERANCE_MILLIS: u64 = 1000;

/// Every member knows of every other how wrong its wall clock is.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "clocks are told",
    source: "docs/bus.md",
    says: "a wall clock that differs from the median of the members is shown as far off as it is",
    check: Check::Rest(check),
};

fn check(world: &World<'_>) -> Verdict {
    for process in world.processes() {
        let Some(host) = world.hosts.get(&process.host) else { continue };
        let Some(connection) = process.main.connection() else { continue };
        let health = connection.membership().health(host.clock.local(world.now));
        let of = |node: &str| {
            let found = world.processes().find(|other| other.node.as_str() == node)?;
            world.hosts.get(&found.host).map(|host| host.clock.wall_offset())
        };
        let mut known: Vec<i64> = health
            .iter()
            .filter(|health| health.clock_offset_millis.is_some())
            .filter_map(|health| of(health.name.node()))
            .collect();
        known.sort_unstable();
        let Some(median) = known.len().checked_sub(1).and_then(|last| known.get(last / 2)) else { continue };
        for member in &health {
            let (Some(shown), Some(real)) = (member.clock_offset_millis, of(member.name.node())) else {
                return Err(format!("{} does not know the clock of {}", process.node, member.name));
            };
            if shown.abs_diff(real - median) > TOLERANCE_MILLIS {
                return Err(format!(
                    "{} shows the clock of {} {shown} ms off; it is {} ms",
                    process.node,
                    member.name,
                    real - median
                ));
            }
        }
    }
    Ok(())
}
