use super::{Check, Invariant, Verdict};
use crate::engine::Class;
use crate::link::Link;
use crate::world::World;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};

/// Resumed, expelled and restarted members are back, and nobody else is there.
pub(super) const INVARIANT: Invariant = Invariant {
    name: "one fleet",
    source: "docs/bus.md",
    says: "all that live are members of one view on both connections, and nobody else is",
    check: Check::Rest(check),
};

fn check(world: &World<'_>) -> Verdict {
    for class in Class::ALL {
        let links =
            || world.processes().flat_map(|process| process.links()).filter(|link| link.class == class);
        let leaving = links().find(|link| link.is_leaving());
        if leaving.is_some() {
            return Err(format!("a process is still leaving ({})", class.letter()));
        }
        let name = |link: &Link| link.connection().map(|c| c.membership().name().to_string());
        let living: BTreeSet<Option<String>> = links().map(name).collect();
        if living.contains(&None) {
            return Err(format!("somebody is not connected ({})", class.letter()));
        }
        let mut first = None;
        for link in links() {
            let Some(membership) = link.connection().map(postfleet_bus::Connection::membership) else {
                continue;
            };
            let members: BTreeSet<Option<String>> =
                membership.members().map(|member| Some(member.info.private_name.to_string())).collect();
            if members != living {
                let text = |set: &BTreeSet<Option<String>>| {
                    set.iter().flatten().map(String::as_str).collect::<alloc::vec::Vec<_>>().join(" ")
                };
                return Err(format!(
                    "{} is with {{{}}}; there are {{{}}}",
                    membership.name(),
                    text(&members),
                    text(&living)
                ));
            }
            let view = membership.view_id();
            if *first.get_or_insert(view) != view {
                return Err(format!("{} is in view {view:?}, another in {first:?}", membership.name()));
            }
        }
    }
    Ok(())
}
