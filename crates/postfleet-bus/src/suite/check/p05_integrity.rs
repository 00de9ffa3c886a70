use super::{History, Violation};
use crate::suite::What;
use alloc::collections::BTreeSet;
use alloc::format;

/// P5: a message is delivered at most once to a connection, unchanged, and only if its sender sent it.
///
/// # Errors
/// The first violation.
pub fn integrity(history: &History<'_>) -> Result<(), Violation> {
    for connection in &history.connections {
        let mut seen = BTreeSet::new();
        for record in connection.records {
            let What::Message { from, number, bytes, digest, own, .. } = &record.what else { continue };
            if !seen.insert((from, *number)) {
                return Err(format!("P5: {} delivered {number} of {from} twice", connection.name));
            }
            match history.sent.get(&(from, *number)) {
                Some(sent) if sent.content != (*bytes, *digest) => {
                    return Err(format!("P5: {number} of {from} reached {} changed", connection.name));
                }
                None if !history.killed.contains(from) => {
                    return Err(format!("P5: {from} never sent {number}, delivered to {}", connection.name));
                }
                Some(_) | None => {}
            }
            if *own != (from == connection.name) {
                return Err(format!(
                    "P5: {number} of {from} is marked wrongly as own at {}",
                    connection.name
                ));
            }
        }
    }
    Ok(())
}
