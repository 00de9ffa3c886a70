use super::{History, Violation};
use crate::suite::What;
use alloc::format;

/// P2: the first event is a view that contains the connection itself; so do all later ones.
///
/// # Errors
/// The first violation.
pub fn first_view(history: &History<'_>) -> Result<(), Violation> {
    for connection in &history.connections {
        let mut seen = false;
        for record in connection.records {
            match &record.what {
                What::View { members, .. } => {
                    seen = true;
                    let is_in = members
                        .iter()
                        .any(|m| m.epoch == connection.epoch && m.info.private_name == *connection.name);
                    if !is_in {
                        return Err(format!("P2: {} is not in its own view: {record:?}", connection.name));
                    }
                }
                What::Message { .. } | What::GroupView { .. } if !seen => {
                    return Err(format!(
                        "P2: {} has an event before its first view: {record:?}",
                        connection.name
                    ));
                }
                What::Connecting { .. }
                | What::Message { .. }
                | What::GroupView { .. }
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
