//! Lines for the operator, on standard error.
//!
//! Every line says where, what, what to do, and what was done meanwhile. Logged once, where the matter is
//! handled. The durable logs come with the loggers; this is what a service manager collects.

use crate::clock;
use std::fmt;
use std::io::Write;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// For developers.
    Debug,
    /// Normal life.
    Info,
    /// Worth knowing.
    Notice,
    /// Will hurt if it lasts.
    Warning,
    /// Something failed.
    Error,
    /// Somebody must act.
    Critical,
}

impl Severity {
    const fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

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

impl From<postfleet_bus::Severity> for Severity {
    fn from(severity: postfleet_bus::Severity) -> Self {
        match severity {
            postfleet_bus::Severity::Debug => Self::Debug,
            postfleet_bus::Severity::Info => Self::Info,
            postfleet_bus::Severity::Notice => Self::Notice,
            postfleet_bus::Severity::Warning => Self::Warning,
            postfleet_bus::Severity::Error => Self::Error,
            postfleet_bus::Severity::Critical => Self::Critical,
        }
    }
}

impl From<postfleet_replica::Severity> for Severity {
    fn from(severity: postfleet_replica::Severity) -> Self {
        match severity {
            postfleet_replica::Severity::Info => Self::Info,
            postfleet_replica::Severity::Notice => Self::Notice,
            postfleet_replica::Severity::Warning => Self::Warning,
            postfleet_replica::Severity::Error => Self::Error,
        }
    }
}
