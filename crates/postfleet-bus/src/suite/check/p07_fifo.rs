use super::{Connection, History, Sent, Violation, addressed_to};
use crate::suite::What;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use postfleet_types::{GroupName, PrivateName};

/// P7: messages of one sender are delivered in sending order without holes.
///
/// Holes are looked for between two messages of a sender while it stays in the receiver's view and the receiver
/// stays in its groups; messages that are bound to a view may be missing.
///
/// # Errors
/// The first violation.
pub fn fifo(history: &History<'_>) -> Result<(), Violation> {
    let mut by_sender: BTreeMap<&PrivateName, Vec<(u64, &Sent<'_>)>> = BTreeMap::new();
    for ((from, number), sent) in &history.sent {
        by_sender.entry(from).or_default().push((*number, sent));
    }
    for sent in by_sender.values_mut() {
        sent.sort_by_key(|(_, sent)| sent.index);
    }
    for connection in &history.connections {
        check_one(history, &by_sender, connection)?;
    }
    Ok(())
}

fn check_one(
    history: &History<'_>,
    by_sender: &BTreeMap<&PrivateName, Vec<(u64, &Sent<'_>)>>,
    connection: &Connection<'_>,
) -> Result<(), Violation> {
    let mut last: BTreeMap<&PrivateName, usize> = BTreeMap::new();
    let mut hole_base: BTreeMap<&PrivateName, usize> = BTreeMap::new();
    let mut groups: BTreeSet<&GroupName> = BTreeSet::new();
    for record in connection.records {
        match &record.what {
            What::View { joined, .. } => {
                for name in joined {
                    hole_base.remove(name);
                }
            }
            What::GroupView { group, members, .. } => {
                let changed = if members.contains(connection.name) {
                    groups.insert(group)
                } else {
                    groups.remove(group)
                };
                if changed {
                    hole_base.clear();
                }
            }
            What::Message { from, number, .. } => {
                let Some(sent) = history.sent.get(&(from, *number)) else { continue };
                if last.insert(from, sent.index).is_some_and(|before| before >= sent.index) {
                    return Err(format!("P7: {} delivered {number} of {from} too late", connection.name));
                }
                if let Some(base) = hole_base.insert(from, sent.index) {
                    let all = by_sender.get(from).map(Vec::as_slice).unwrap_or_default();
                    // Indices count from 1, so this is what lies strictly between.
                    let between = all.get(base..sent.index - 1).unwrap_or_default();
                    let missing =
                        between.iter().find(|(_, s)| s.only_in.is_none() && addressed_to(s, &groups));
                    if let Some((hole, _)) = missing {
                        return Err(format!(
                            "P7: {} delivered {number} of {from} but not {hole} before it",
                            connection.name
                        ));
                    }
                }
            }
            What::Connecting { .. }
            | What::Sent { .. }
            | What::NotSent { .. }
            | What::SendReady
            | What::Lost { .. }
            | What::Notice { .. }
            | What::Figures { .. } => {}
        }
    }
    Ok(())
}
