use super::{History, Violation};
use alloc::format;

/// P4: counters of the views of one connection grow. (That two views never share an id is part of P3.)
///
/// # Errors
/// The first violation.
pub fn view_growth(history: &History<'_>) -> Result<(), Violation> {
    for connection in &history.connections {
        let mut last = 0;
        for (id, _) in connection.views() {
            if id.counter <= last {
                return Err(format!("P4: {} installed {id} after counter {last}", connection.name));
            }
            last = id.counter;
        }
    }
    Ok(())
}
