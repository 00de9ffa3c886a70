use super::{History, Violation};
use crate::event::Member;
use crate::suite::What;
use alloc::format;

/// P6: a message is delivered only while its sender is in the installed view.
///
/// # Errors
/// The first violation.
pub fn sender_inside(history: &History<'_>) -> Result<(), Violation> {
    for connection in &history.connections {
        let mut present: &[Member] = &[];
        for record in connection.records {
            if let What::View { members, .. } = &record.what {
                present = members;
            }
            if let What::Message { from, number, .. } = &record.what
                && !present.iter().any(|member| member.info.private_name == *from)
            {
                return Err(format!(
                    "P6: {} delivered {number} of {from}, who is no member",
                    connection.name
                ));
            }
        }
    }
    Ok(())
}
