//! The lines of the text logs: mainlog, bouncelog, rejectlog, paniclog, acctlog, formats of one's own, and JSON.
//!
//! Promises: every record is one line, whatever its fields hold; a field that is not the last one splits at `@` as the
//! formats say; equal records give equal bytes.
//!
//! Pure: lines are made here and written by whoever owns files.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod account;
mod bounce;
mod custom;
mod field;
mod json;
mod mail;
mod panic;
mod reject;

pub use account::{Authentication, Authorization, Verdict};
pub use bounce::{BounceKind, BounceRecord, CLASSES, class_category, class_name};
pub use custom::{Format, FormatError, Macros, More};
pub use field::{UNKNOWN_ID, one_line};
pub use json::json;
pub use mail::{Failure, Handover, MailRecord, Names, Reception, stage_text};
pub use panic::panic_lines;
pub use reject::{RejectPhase, RejectRecord};

use alloc::format;
use alloc::string::String;
use postfleet_types::WallTime;

/// A heartbeat of mainlog and bouncelog.
#[must_use]
pub fn heartbeat(at: WallTime) -> String {
    format!("{}@@@@M1", at.unix_seconds())
}

/// A heartbeat of the rejectlog.
#[must_use]
pub fn reject_heartbeat(at: WallTime) -> String {
    format!("{}: Marker 1", at.unix_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logging_a34_heartbeats() {
        let at = WallTime::from_unix_seconds(1_700_000_120);
        assert_eq!(heartbeat(at), "1700000120@@@@M1");
        assert_eq!(reject_heartbeat(at), "1700000120: Marker 1");
    }
}
