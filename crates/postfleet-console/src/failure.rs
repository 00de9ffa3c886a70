//! How a command ends when it does not succeed.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// The outcome of a command as the protocol carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// The command was executed and succeeded.
    Ok,
    /// The command was executed and failed.
    Error,
    /// The arguments do not fit the command.
    Usage,
    /// The user may not run the command.
    Denied,
    /// There is no such command.
    Unknown,
}

impl Status {
    /// The word of the protocol.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Usage => "usage",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }

    /// The exit code of a client whose command ended so.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Usage | Self::Unknown => 2,
            Self::Denied => 5,
        }
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Ok, Self::Error, Self::Usage, Self::Denied, Self::Unknown]
            .into_iter()
            .find(|status| status.word() == word)
            .ok_or(())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// What went wrong, as a word that scripts may match on. Words are added, never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name),* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word of the protocol and of the machine forms.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
        }
    };
}

codes! {
    /// No command begins with these words.
    UnknownCommand = "unknown_command",
    /// The arguments do not fit.
    Usage = "usage",
    /// The user may not.
    Denied = "denied",
    /// The node is not connected to the bus.
    NotConnected = "not_connected",
    /// No replicated object of that name.
    NoSuchObject = "no_such_object",
    /// The object has no such key.
    NoSuchKey = "no_such_key",
    /// More than one thing is meant.
    Ambiguous = "ambiguous",
    /// The function behind a command of a script failed.
    ScriptFailed = "script_failed",
    /// No such node, or it has departed.
    NoSuchNode = "no_such_node",
    /// The domain is not in the route cache.
    NoSuchDomain = "no_such_domain",
    /// The node is there, and what was asked for is for nodes that are gone.
    NodePresent = "node_present",
    /// No throttle of that name.
    NoSuchThrottle = "no_such_throttle",
    /// No such binding.
    NoSuchBinding = "no_such_binding",
    /// No such message.
    NoSuchMessage = "no_such_message",
    /// No such module or instance.
    NoSuchModule = "no_such_module",
    /// No such datasource.
    NoSuchDatasource = "no_such_datasource",
    /// A datasource could not answer.
    QueryFailed = "query_failed",
    /// No such configuration scope.
    NoSuchScope = "no_such_scope",
    /// No such option.
    UnknownOption = "unknown_option",
    /// The value does not fit the option.
    InvalidValue = "invalid_value",
    /// The option has no value there.
    NotSet = "not_set",
    /// The option needs a restart.
    NotDynamic = "not_dynamic",
    /// No transaction is open.
    NoTransaction = "no_transaction",
    /// A transaction is open.
    InTransaction = "in_transaction",
    /// The running configuration has changed.
    Conflict = "conflict",
    /// The new configuration was refused.
    ReconfigureFailed = "reconfigure_failed",
    /// Nothing was collected for that command.
    NoResponses = "no_responses",
    /// A command is running on this connection.
    Busy = "busy",
    /// The client asked for the end.
    Cancelled = "cancelled",
    /// It took too long.
    Timeout = "timeout",
    /// The command exists, but not in this version.
    NotAvailable = "not_available",
    /// A fault of ours; the log has the cause.
    Internal = "internal",
}

impl FromStr for Code {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|code| code.word() == word).ok_or(())
    }
}

/// A command that did not succeed. Nothing has changed unless the message says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the command ended; never [`Status::Ok`] when made by a constructor of this type.
    pub status: Status,
    /// What went wrong, for scripts.
    pub code: Code,
    /// What went wrong, for operators: one or more lines without a final newline.
    pub message: String,
    /// The same for programs, where that is another sentence.
    pub machine_message: Option<String>,
}

impl Failure {
    /// A failure of a command that was executed.
    #[must_use]
    pub fn error(code: Code, message: impl fmt::Display) -> Self {
        Self { status: Status::Error, code, message: message.to_string(), machine_message: None }
    }

    /// The same with another sentence for programs.
    #[must_use]
    pub fn with_machine_message(self, machine_message: Option<String>) -> Self {
        Self { machine_message, ..self }
    }

    /// The arguments do not fit; `grammar` is the command with its arguments.
    #[must_use]
    pub fn usage(grammar: impl fmt::Display) -> Self {
        Self { status: Status::Usage, ..Self::error(Code::Usage, format_args!("Usage: {grammar}")) }
    }

    /// A line that cannot be read at all.
    #[must_use]
    pub fn unreadable(reason: impl fmt::Display) -> Self {
        Self { status: Status::Usage, ..Self::error(Code::Usage, reason) }
    }

    /// No command begins with `word`.
    #[must_use]
    pub fn unknown_command(word: &str) -> Self {
        let message = format!("Unknown command: {word}. Try 'help'.");
        Self { status: Status::Unknown, ..Self::error(Code::UnknownCommand, message) }
    }

    /// A documented command that this version does not have yet.
    #[must_use]
    pub fn not_available(command: &str) -> Self {
        Self::error(Code::NotAvailable, format!("'{command}' is not available in this version."))
    }

    /// A command of the reference that this product will not have.
    #[must_use]
    pub fn not_in_this_product(command: &str) -> Self {
        let message = format!("Command '{command}' is not available in this product.");
        Self { status: Status::Unknown, ..Self::error(Code::UnknownCommand, message) }
    }

    /// No replicated cache is called `name`.
    #[must_use]
    pub fn no_such_cache(name: &str) -> Self {
        Self::error(Code::NoSuchObject, format!("No such cache '{name}'."))
    }

    /// The cache has no such key, or it has expired.
    #[must_use]
    pub fn no_such_key(key: &str) -> Self {
        Self::error(Code::NoSuchKey, format!("No such key '{key}'."))
    }

    /// No instance of a module is called `name`.
    #[must_use]
    pub fn no_such_instance(module: &str, name: &str) -> Self {
        Self::error(Code::NoSuchModule, format!("No such module instance '{module}:{name}'."))
    }

    /// No datasource is called `name`.
    #[must_use]
    pub fn no_such_datasource(name: &str) -> Self {
        Self::error(Code::NoSuchDatasource, format!("No such datasource '{name}'."))
    }

    /// The user may not run the command.
    #[must_use]
    pub fn denied() -> Self {
        Self { status: Status::Denied, ..Self::error(Code::Denied, "Not Authorized for this command") }
    }

    /// The node is not connected to the bus.
    #[must_use]
    pub fn not_connected() -> Self {
        Self::error(Code::NotConnected, "Not connected to the cluster.")
    }

    /// No replicated object is called `typed`.
    #[must_use]
    pub fn unknown_object(typed: &str) -> Self {
        Self::error(Code::NoSuchObject, format!("unknown shared object '{typed}'"))
    }

    /// No column of the object is held for that node: never seen, or departed.
    #[must_use]
    pub fn no_view(typed_object: &str, typed_node: &str) -> Self {
        Self::error(Code::NoSuchNode, format!("no view of '{typed_object}' from node '{typed_node}'"))
    }

    /// The object knows nothing of that key.
    #[must_use]
    pub fn no_such_shared_key(typed_object: &str, key: &str) -> Self {
        Self::error(Code::NoSuchKey, format!("no such key '{key}' in '{typed_object}'"))
    }

    /// No binding is called `name`.
    #[must_use]
    pub fn no_such_binding(name: &str) -> Self {
        Self::error(Code::NoSuchBinding, format!("No such binding '{name}'."))
    }

    /// No series is called `name`.
    #[must_use]
    pub fn no_such_series(name: &str) -> Self {
        Self::error(Code::NoSuchObject, format!("no such series '{name}'"))
    }

    /// No gauge cache is called `name`.
    #[must_use]
    pub fn no_such_gauge_cache(name: &str) -> Self {
        Self::error(Code::NoSuchObject, format!("no such gauge cache '{name}'"))
    }

    /// No counter of a gauge cache is called `key`.
    #[must_use]
    pub fn no_such_gauge(key: &str) -> Self {
        Self::error(Code::NoSuchKey, format!("no such key '{key}'"))
    }

    /// A fault of ours. The caller logs the cause at level ERROR.
    #[must_use]
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::error(Code::Internal, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for code in Code::ALL {
            assert_eq!(code.word().parse(), Ok(*code));
        }
        for word in ["ok", "error", "usage", "denied", "unknown"] {
            assert_eq!(word.parse::<Status>().map(Status::word), Ok(word));
        }
        assert_eq!("OK".parse::<Status>(), Err(()));
    }
}
