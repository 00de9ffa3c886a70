//! Lines for the operator, on standard error.
//!
//! Every line says where, what, what to do, and what was done meanwhile. Logged once, where the matter is
//! handled. The durable logs come with the loggers; this is what a service manager collects.

use crate::clock;
pub(crate) use postfleet_types::Severity;
use std::fmt;
use std::io::Write;

/// Prints one line. Control characters are shown as `\xNN`, so that nobody can forge a second line.
pub(crate) fn notice(severity: Severity, text: impl fmt::Display) {
    if severity == Severity::Debug && std::env::var_os("POSTFLEET_DEBUG").is_none() {
        return;
    }
    let mut line = format!("{} [{}] ", clock::wall().civil().rfc3339(), severity.word());
    for c in text.to_string().chars() {
        if c.is_control() {
            line.push_str(&format!("\\x{:02x}", u32::from(c)));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    // A closed standard error must not take the relay down.
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}
