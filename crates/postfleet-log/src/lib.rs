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
mod classify;
mod custom;
mod field;
mod json;
mod local;
mod mail;
mod panic;
mod reject;
mod sanitize;

pub use account::{Authentication, Authorization, Verdict};
pub use bounce::{BounceKind, BounceRecord, CLASSES, class_category, class_name};
pub use classify::classify;
pub use custom::{Format, FormatError, Macros, More};
pub use field::{UNKNOWN_ID, one_line};
pub use json::{
    json, json_authentication, json_authorization, json_bounce, json_heartbeat, json_panic, json_rejection,
};
pub use local::LocalTime;
pub use mail::{Failure, Handover, MailRecord, Names, Reception, stage_text};
pub use panic::panic_lines;
pub use reject::{RejectPhase, RejectRecord};
pub use sanitize::{Sanitize, SanitizeError};

use alloc::format;
use alloc::string::String;
use postfleet_types::WallTime;

/// Reads arbitrary bytes as a format, a list of `sanitize` and the values of a line, with line ends between. Whatever they
/// are, every line is one line, and JSON is no longer than it may be.
pub fn fuzz_entry(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(3, '\n');
    let (format, steps, value) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let sanitize = Sanitize::parse(steps.unwrap_or_default()).unwrap_or_default();
    let names = Names {
        at: WallTime::from_unix_seconds(value.len() as u64),
        message: UNKNOWN_ID,
        batch: UNKNOWN_ID,
        connection: UNKNOWN_ID,
        binding_group: value,
        binding: value,
    };
    if let Ok(format) = Format::parse(format.unwrap_or_default()) {
        let more = |_: &str, _: Option<&str>| Some(String::from(value));
        let macros = Macros {
            at: names.at,
            local: Some(LocalTime { offset_seconds: i32::MIN, name: value }),
            binding: Some(value),
            response: Some(bytes),
            recipient: Some((value, value)),
            more: Some(&more),
            ..Macros::default()
        };
        let line = format.line(&macros, &sanitize);
        assert!(!line.contains(&b'\r') && !line.contains(&b'\n'), "{}", line.escape_ascii());
    }
    let record = MailRecord::Failure(Failure {
        permanent: true,
        domain: value.get(..64).unwrap_or("example"),
        octets_sent: 0,
        stage: bytes.first().copied().unwrap_or(0),
        retries: 0,
        elapsed: core::time::Duration::ZERO,
        by: None,
        reply: bytes,
        internal: false,
    });
    let names = Names { binding_group: "default", binding: "default", ..names };
    let (line, object) = (record.line(&names), json(&record, &names, ("n", "default")));
    assert!(!line.contains(&b'\r') && !line.contains(&b'\n'), "{}", line.escape_ascii());
    assert!(!object.contains(['\r', '\n']), "{object:?}");
    assert!(object.len() <= 16 * 1024, "{}", object.len());
    let _ = classify(value, bytes.first().copied().unwrap_or(0));
}

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
