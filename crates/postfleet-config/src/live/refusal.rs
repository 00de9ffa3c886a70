//! Why a configuration command was not carried out.

use alloc::string::String;

/// Why a command was not carried out. The running configuration is as it was, and so is an open transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The command line does not fit the command.
    #[error("{0}")]
    Usage(String),
    /// A named scope without the name of an instance.
    #[error("{0} needs the name of an instance.")]
    NameMissing(&'static str),
    /// The name of an instance is none.
    #[error("Invalid name '{name}' for '{scope}': {reason}.")]
    InvalidName {
        /// As typed.
        name: String,
        /// The scope.
        scope: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such scope or instance.
    #[error("No such scope '{0}'.")]
    NoSuchScope(String),
    /// No instance of the scope fits.
    #[error("No scope matches.")]
    NoMatch,
    /// The scope has no such option.
    #[error("Unknown option '{option}' in scope '{path}'.{}", meant.map(|name| alloc::format!("\nDid you mean '{name}'?")).unwrap_or_default())]
    UnknownOption {
        /// As typed.
        option: String,
        /// The scope path.
        path: String,
        /// The innermost scope of it.
        scope: &'static str,
        /// The name that may have been meant.
        meant: Option<&'static str>,
    },
    /// The name is kept where it is written, and not read.
    #[error("'{0}' is known and not read; config showrecurse shows where it is written.")]
    NotRead(String),
    /// The value does not fit the option.
    #[error("Invalid value '{value}' for '{option}': {reason}.")]
    InvalidValue {
        /// As typed; `***` when it is secret.
        value: String,
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The option has no value in that instance.
    #[error("Option '{option}' is not set in scope '{path}'.")]
    NotSet {
        /// The option.
        option: &'static str,
        /// The scope path.
        path: String,
    },
    /// The whole configuration cannot be unset.
    #[error("The global scope cannot be unset.")]
    GlobalUnset,
    /// What a transaction from scratch begins with stays.
    #[error("'{0}' cannot be unset.")]
    BuiltIn(&'static str),
    /// The option needs a restart.
    #[error("'{0}' cannot be changed at run time; restart required.")]
    NotDynamic(&'static str),
    /// `commit`, `rollback` or `replay` without a transaction.
    #[error("No transaction in progress.")]
    NoTransaction,
    /// `begin` inside a transaction.
    #[error("A transaction is already in progress.")]
    TransactionOpen,
    /// `reload` inside a transaction.
    #[error("A transaction is in progress; commit or roll back first.")]
    InTransaction,
    /// Another session was first.
    #[error("Commit failed: the running configuration has changed.")]
    Conflict,
    /// The configuration would have errors.
    #[error("{0}")]
    Errors(String),
    /// Nothing was written: a file has changed, or could not be written.
    #[error("{0}")]
    NotWritten(String),
}

impl Refusal {
    /// The sentence for programs and logs, where it is another one than for people.
    #[must_use]
    pub fn machine_text(&self) -> Option<String> {
        let Self::UnknownOption { option, scope, .. } = self else { return None };
        Some(alloc::format!("\"{option}\" is not a valid option name or stanza in scope {scope}"))
    }
}
