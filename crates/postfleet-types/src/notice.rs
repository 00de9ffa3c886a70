//! Lines for the operator's log. Cores word them; who writes them where is the driver's business.

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

impl Severity {
    /// The word in lower case, as logs show it.
    #[must_use]
    pub const fn word(self) -> &'static str {
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

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.text)
    }
}
