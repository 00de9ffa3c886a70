use super::{History, Violation};
use crate::suite::What;
use alloc::collections::BTreeSet;
use alloc::format;
use postfleet_types::GroupName;

/// P10, at rest: what was accepted for a group that the sender is in has come back, unless the connection ended.
///
/// # Errors
/// The first violation.
pub fn self_delivery(history: &History<'_>) -> Result<(), Violation> {
    for connection in history.connections.iter().filter(|connection| !connection.ended) {
        let delivered: BTreeSet<u64> = connection
            .messages()
            .filter(|((from, _), _)| *from == connection.name)
            .map(|(key, _)| key.1)
            .collect();
        let mut groups: BTreeSet<&GroupName> = BTreeSet::new();
        for record in connection.records {
            match &record.what {
                What::GroupView { group, members, .. } => {
                    if members.contains(connection.name) {
                        groups.insert(group);
                    } else {
                        groups.remove(group);
                    }
                }
                What::Sent { number, to, only_in: None, .. } => {
                    let own =
                        to.iter().any(|d| matches!(d, crate::Destination::Group(g) if groups.contains(g)));
                    if own && !delivered.contains(number) && never_leaves(connection, &groups) {
                        return Err(format!("P10: {number} of {} never came back", connection.name));
                    }
                }
                What::Connecting { .. }
                | What::View { .. }
                | What::Message { .. }
                | What::Sent { .. }
                | What::NotSent { .. }
                | What::SendReady
                | What::Lost { .. }
                | What::Notice { .. }
                | What::Figures { .. } => {}
            }
        }
    }
    Ok(())
}

/// Leaving a group is ordered like messages: what is sent just before it may not come back.
fn never_leaves(connection: &super::Connection<'_>, groups: &BTreeSet<&GroupName>) -> bool {
    !connection.records.iter().any(|record| match &record.what {
        What::GroupView { group, members, cause: crate::GroupCause::Left } => {
            groups.contains(group) && !members.contains(connection.name)
        }
        What::GroupView { .. }
        | What::Connecting { .. }
        | What::View { .. }
        | What::Message { .. }
        | What::Sent { .. }
        | What::NotSent { .. }
        | What::SendReady
        | What::Lost { .. }
        | What::Notice { .. }
        | What::Figures { .. } => false,
    })
}
