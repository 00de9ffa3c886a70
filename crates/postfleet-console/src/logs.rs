//! `reopen logs`, `paniclog`, `show logs` and the commands of loggers.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;

use crate::answer::Answer;
use crate::command::Command;
use crate::lex::Word;

/// A command about text logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogCommand {
    /// `reopen logs`
    ReopenAll,
    /// `ec_logger:<instance> reopen logs`
    Reopen {
        /// `ec_logger`, `bounce_logger` or `custom_logger`.
        scope: &'static str,
        /// The stanza.
        instance: String,
    },
    /// `ec_logger:<instance> help`
    Help {
        /// As with [`Reopen`](Self::Reopen).
        scope: &'static str,
        /// The stanza.
        instance: String,
    },
    /// `paniclog`
    Paniclog,
    /// `show logs`
    Show,
}

/// The scopes of loggers.
pub(crate) const LOGGERS: [&str; 3] = ["ec_logger", "bounce_logger", "custom_logger"];

/// How one log is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFigures {
    /// Its path.
    pub name: String,
    /// Lines written since the start.
    pub written: u64,
    /// Lines that wait to be written.
    pub waiting: u64,
    /// Lines lost since the start.
    pub lost: u64,
    /// Why lines wait.
    pub trouble: Option<String>,
}

/// `help` of a logger.
#[must_use]
pub fn logger_help() -> Answer {
    Answer::Lines(vec!["reopen logs".to_string(), "\tClose and reopen log files".to_string()])
}

/// The answer when everything was reopened.
#[must_use]
pub fn logs_reopened() -> Answer {
    Answer::line("Logs reopened.")
}

/// `show logs`, in the order given.
#[must_use]
pub fn logs(figures: &[LogFigures]) -> Answer {
    let line = |log: &LogFigures| {
        let trouble = log.trouble.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        format!("{}: {} written, {} waiting, {} lost{trouble}", log.name, log.written, log.waiting, log.lost)
    };
    if figures.is_empty() {
        return Answer::line("No logs are configured.");
    }
    Answer::Lines(figures.iter().map(line).collect())
}

/// Constructors of commands from their arguments; `None` when the arguments do not fit the grammar.
pub(crate) mod build {
    use super::{Command, LogCommand, Word};

    fn logger(scope: &'static str, arguments: &[Word]) -> Option<Command> {
        let (instance, rest) = arguments.split_first()?;
        let instance = instance.text.clone();
        let rest: alloc::vec::Vec<&str> = rest.iter().map(|word| word.text.as_str()).collect();
        Some(Command::Logs(match rest.as_slice() {
            ["help"] => LogCommand::Help { scope, instance },
            ["reopen", "logs"] => LogCommand::Reopen { scope, instance },
            _ => return None,
        }))
    }

    pub(crate) fn ec_logger(arguments: &[Word]) -> Option<Command> {
        logger("ec_logger", arguments)
    }

    pub(crate) fn bounce_logger(arguments: &[Word]) -> Option<Command> {
        logger("bounce_logger", arguments)
    }

    pub(crate) fn custom_logger(arguments: &[Word]) -> Option<Command> {
        logger("custom_logger", arguments)
    }

    fn alone(arguments: &[Word], command: LogCommand) -> Option<Command> {
        arguments.is_empty().then_some(Command::Logs(command))
    }

    pub(crate) fn reopen(arguments: &[Word]) -> Option<Command> {
        alone(arguments, LogCommand::ReopenAll)
    }

    pub(crate) fn paniclog(arguments: &[Word]) -> Option<Command> {
        alone(arguments, LogCommand::Paniclog)
    }

    pub(crate) fn show(arguments: &[Word]) -> Option<Command> {
        alone(arguments, LogCommand::Show)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Profile, parse};
    use alloc::vec::Vec;

    fn command(line: &str) -> Result<Command, Failure> {
        parse(line, &Profile::node("n", "1")).command
    }

    #[test]
    fn commands_of_loggers() {
        let instance = || String::from("main");
        let expected = [
            ("reopen logs", LogCommand::ReopenAll),
            ("paniclog", LogCommand::Paniclog),
            ("show logs", LogCommand::Show),
            ("ec_logger:main reopen logs", LogCommand::Reopen { scope: "ec_logger", instance: instance() }),
            ("bounce_logger:main help", LogCommand::Help { scope: "bounce_logger", instance: instance() }),
            ("custom_logger:main help", LogCommand::Help { scope: "custom_logger", instance: instance() }),
        ];
        for (line, wanted) in expected {
            assert_eq!(command(line), Ok(Command::Logs(wanted)), "{line}");
        }
        for line in ["ec_logger:main", "ec_logger:main reopen", "reopen logs now", "paniclog x"] {
            assert!(command(line).is_err(), "{line}");
        }
    }

    #[test]
    fn how_logs_are_doing() {
        let log = LogFigures { name: "/l/a".into(), written: 3, waiting: 0, lost: 0, trouble: None };
        let full = LogFigures { waiting: 9, lost: 2, trouble: Some("no space".into()), ..log.clone() };
        let lines = |answer| if let Answer::Lines(lines) = answer { lines } else { Vec::new() };
        assert_eq!(
            lines(logs(&[log, full])),
            ["/l/a: 3 written, 0 waiting, 0 lost", "/l/a: 3 written, 9 waiting, 2 lost (no space)"]
        );
        assert_eq!(lines(logs(&[])), ["No logs are configured."]);
    }
}
