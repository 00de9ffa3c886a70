use super::{History, Violation};
use alloc::format;

/// P1 and P24: events come between the beginning and the end of a connection, and nothing after its end.
///
/// # Errors
/// The first violation.
pub fn one_stream(history: &History<'_>) -> Result<(), Violation> {
    match history.strays.first() {
        None => Ok(()),
        Some(record) => Err(format!("P1: an event outside of every connection: {record:?}")),
    }
}
