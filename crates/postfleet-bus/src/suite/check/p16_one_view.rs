use super::{History, Violation};
use alloc::format;

/// P16, at rest and with the network whole: all connections that live are in one view.
///
/// # Errors
/// The first violation.
pub fn one_view(history: &History<'_>) -> Result<(), Violation> {
    let mut common = None;
    for connection in history.connections.iter().filter(|connection| !connection.ended) {
        let last = connection.views().last().map(|(id, _)| id);
        let (first, by) = *common.get_or_insert((last, connection.name));
        if first != last || last.is_none() {
            return Err(format!("P16: {by} rests in {first:?}, {} in {last:?}", connection.name));
        }
    }
    Ok(())
}
