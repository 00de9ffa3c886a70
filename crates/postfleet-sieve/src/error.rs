use alloc::string::String;

/// Why a script does not compile. The script before it stays in force; nothing else is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct CompileError {
    /// The script's name as the caller gave it.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// What was found, what was expected and, for a name, the nearest that is known.
    pub problem: String,
}

/// A problem at a line, before the file is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: u32,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(line: u32, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}
