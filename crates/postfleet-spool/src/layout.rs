//! The names below the spool's base folder.
//!
//! ```text
//! lock                        held while a process uses the spool
//! tmp/<batch>                 being written
//! tmp/<batch>.r               the same with another envelope
//! msg/<T1T2>/<batch>          one transaction each; T1T2 = first two digits of the reversed time
//! corrupt/<batch>             what could not be read
//! state/done-<number>         which copies of queued transactions are done
//! state/place-<number>        which copies are on another queue than their file says
//! ```

use alloc::format;
use alloc::string::String;

use crate::id::MessageId;

pub(crate) const BASE: &str = "";
pub(crate) const LOCK: &str = "lock";
pub(crate) const DRAFTS: &str = "tmp";
pub(crate) const MESSAGES: &str = "msg";
pub(crate) const CORRUPT: &str = "corrupt";
pub(crate) const STATE: &str = "state";

pub(crate) fn draft(batch: MessageId) -> String {
    format!("{DRAFTS}/{}", batch.file_name())
}

/// A draft that got another envelope while its content lay on the disk already.
pub(crate) fn readdressed(batch: MessageId) -> String {
    format!("{DRAFTS}/{}.r", batch.file_name())
}

pub(crate) fn folder(number: u8) -> String {
    format!("{MESSAGES}/{number:02X}")
}

/// Where the file of a transaction lies, relative to the spool's base folder.
#[must_use]
pub fn message_path(batch: MessageId) -> String {
    format!("{}/{}", folder(batch.folder()), batch.file_name())
}
