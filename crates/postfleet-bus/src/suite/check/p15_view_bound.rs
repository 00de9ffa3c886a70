use super::{History, Violation};
use alloc::format;

/// P15: a message that is bound to a view is delivered in it or nowhere. (That all do alike is part of P12.)
///
/// # Errors
/// The first violation.
pub fn view_bound(history: &History<'_>) -> Result<(), Violation> {
    for connection in &history.connections {
        for (key, view) in connection.messages() {
            let bound = history.sent.get(&key).and_then(|sent| sent.only_in);
            if bound.is_some_and(|bound| bound != view) {
                return Err(format!(
                    "P15: {} of {} is bound to {bound:?} and was delivered in {view} at {}",
                    key.1, key.0, connection.name
                ));
            }
        }
    }
    Ok(())
}
