use super::{History, Violation};
use crate::suite::What;
use alloc::collections::BTreeMap;
use alloc::format;
use postfleet_types::{Epoch, PrivateName, ViewId};

/// P14: the transitional set of a view is exactly the members that came to it from the receiver's previous view.
///
/// Members that did not live to record the view are not counted.
///
/// # Errors
/// The first violation.
pub fn transitional_set(history: &History<'_>) -> Result<(), Violation> {
    let mut previous: BTreeMap<(ViewId, &PrivateName, Epoch), Option<ViewId>> = BTreeMap::new();
    for connection in &history.connections {
        let mut last = None;
        for (id, _) in connection.views() {
            previous.insert((id, connection.name, connection.epoch), last);
            last = Some(id);
        }
    }
    for connection in &history.connections {
        let mut last: Option<ViewId> = None;
        for record in connection.records {
            let What::View { id, members, joined, transitional, .. } = &record.what else { continue };
            for member in members {
                let name = &member.info.private_name;
                let is_transitional = transitional.contains(name);
                if is_transitional == joined.contains(name) {
                    return Err(format!("P14: {name} is in both sets or in none: {record:?}"));
                }
                let came_from = previous.get(&(*id, name, member.epoch));
                let expected = last.is_some() && came_from == Some(&last);
                if came_from.is_some() && is_transitional != expected {
                    return Err(format!(
                        "P14: at {} in {id} {name} is {} the transitional set, but came from {came_from:?}, not \
                         {last:?}",
                        connection.name,
                        if is_transitional { "in" } else { "not in" }
                    ));
                }
            }
            last = Some(*id);
        }
    }
    Ok(())
}
