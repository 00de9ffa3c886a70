use super::{History, Violation};
use crate::suite::What;
use alloc::format;
use alloc::vec::Vec;
use postfleet_types::{PrivateName, ViewId};

/// P13 and P19: messages name the installed view; group lists name members of it, in its order.
///
/// # Errors
/// The first violation.
pub fn no_silent_change(history: &History<'_>) -> Result<(), Violation> {
    for connection in &history.connections {
        let mut installed = ViewId::default();
        let mut names: Vec<&PrivateName> = Vec::new();
        for record in connection.records {
            match &record.what {
                What::View { id, members, .. } => {
                    installed = *id;
                    names = members.iter().map(|member| &member.info.private_name).collect();
                }
                What::Message { view, .. } if *view != installed => {
                    return Err(format!("P13: {} is in {installed}: {record:?}", connection.name));
                }
                What::GroupView { members, .. } => {
                    let mut rest = names.iter();
                    if !members.iter().all(|member| rest.any(|name| *name == member)) {
                        return Err(format!("P19: {} has members {names:?}: {record:?}", connection.name));
                    }
                }
                What::Connecting { .. }
                | What::Message { .. }
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
