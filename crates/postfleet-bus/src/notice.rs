//! Lines for the operator's log. The layer only words them; who writes them is the driver's business.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For those who look for it.
    Debug,
    /// Normal operation.
    Info,
    /// Normal, but worth a line.
    Notice,
    /// Something may need attention.
    Warning,
    /// Something failed.
    Error,
    /// Somebody must act.
    Critical,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// What happened, and what to do.
    pub text: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.text)
    }
}

/// Lines that nobody has fetched yet. Bounded: a driver that never fetches loses the oldest.
#[derive(Debug, Default)]
pub(crate) struct Notices(VecDeque<Notice>);

/// More waiting lines than this mean that nobody reads them.
const NOTICES_MAX: usize = 1000;

impl Notices {
    pub(crate) fn push(&mut self, severity: Severity, text: String) {
        if self.0.len() >= NOTICES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Notice { severity, text });
    }

    pub(crate) fn pop(&mut self) -> Option<Notice> {
        self.0.pop_front()
    }
}
