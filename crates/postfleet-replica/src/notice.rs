//! What the log should say.

use alloc::string::String;

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Normal life.
    Info,
    /// Worth knowing.
    Notice,
    /// Will hurt if it lasts.
    Warning,
    /// Something failed.
    Error,
}

/// One line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// The line.
    pub text: String,
}
