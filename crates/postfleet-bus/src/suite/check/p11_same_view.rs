use super::{History, Violation};
use alloc::collections::BTreeMap;
use alloc::format;

/// P11: every connection that delivers a message does so in the same view.
///
/// # Errors
/// The first violation.
pub fn same_view(history: &History<'_>) -> Result<(), Violation> {
    let mut known = BTreeMap::new();
    for connection in &history.connections {
        for (key, view) in connection.messages() {
            let (first, by) = known.entry(key).or_insert((view, connection.name));
            if *first != view {
                return Err(format!(
                    "P11: {} of {} was delivered in {first} at {by} and in {view} at {}",
                    key.1, key.0, connection.name
                ));
            }
        }
    }
    Ok(())
}
