use super::{History, Key, Violation};
use crate::suite::What;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use postfleet_types::PrivateName;

/// P8: if a message was sent after its sender delivered or sent another one, nobody delivers the later one first.
///
/// # Errors
/// The first violation.
pub fn causal(history: &History<'_>) -> Result<(), Violation> {
    // For each message: how far its sender had come with every other sender's messages when it sent it.
    let mut before: BTreeMap<Key<'_>, Rc<BTreeMap<&PrivateName, u64>>> = BTreeMap::new();
    for connection in &history.connections {
        let mut known = Rc::new(BTreeMap::new());
        for record in connection.records {
            match &record.what {
                What::Message { from, number, .. } => {
                    let entry = Rc::make_mut(&mut known).entry(from).or_insert(0);
                    *entry = (*entry).max(*number);
                }
                What::Sent { number, .. } => {
                    before.insert((connection.name, *number), Rc::clone(&known));
                }
                What::Connecting { .. }
                | What::View { .. }
                | What::GroupView { .. }
                | What::NotSent { .. }
                | What::SendReady
                | What::Lost { .. }
                | What::Notice { .. }
                | What::Figures { .. } => {}
            }
        }
    }
    for connection in &history.connections {
        let mut needed: BTreeMap<&PrivateName, (u64, Key<'_>)> = BTreeMap::new();
        let mut applied: BTreeMap<&PrivateName, *const BTreeMap<&PrivateName, u64>> = BTreeMap::new();
        for (key, _) in connection.messages() {
            if let Some((number, later)) = needed.get(key.0)
                && key.1 <= *number
                && *later != key
                && later.0 != key.0
            {
                return Err(format!(
                    "P8: {} delivered {} of {} after {} of {}, whose sender had seen it",
                    connection.name, key.1, key.0, later.1, later.0
                ));
            }
            let Some(known) = before.get(&key) else { continue };
            // Messages sent between two deliveries share one map; it need not be gone through again.
            if applied.insert(key.0, Rc::as_ptr(known)) == Some(Rc::as_ptr(known)) {
                continue;
            }
            for (name, number) in known.iter() {
                let entry = needed.entry(name).or_insert((*number, key));
                if entry.0 < *number {
                    *entry = (*number, key);
                }
            }
        }
    }
    Ok(())
}
