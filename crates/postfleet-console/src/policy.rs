//! `sieve:<instance> …`, `scriptlet:<instance> …` and `policy_rule …`: commands and answers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use postfleet_types::WallTime;

use crate::answer::Answer;
use crate::command::Command;
use crate::lex::Word;

/// `sieve:<instance> …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SieveCommand {
    /// The stanza; `None`: the only one there is.
    pub instance: Option<String>,
    /// What is done.
    pub action: SieveAction,
}

/// What is done with a Sieve module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SieveAction {
    /// `stats`
    Statistics,
    /// `reset`
    Reset,
    /// `flush cache`
    FlushCache,
    /// `test <phase> <script>`
    Test {
        /// The phase as typed.
        phase: String,
        /// The script itself.
        script: String,
    },
    /// `testfile <phase> <file>`
    TestFile {
        /// The phase as typed.
        phase: String,
        /// Where the script is.
        file: String,
    },
}

/// `scriptlet:<instance> …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptletCommand {
    /// The stanza; `None`: the only one there is.
    pub instance: Option<String>,
    /// What is done.
    pub action: ScriptletAction,
}

/// What is done with a module of Lua scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptletAction {
    /// `stats`
    Statistics,
    /// `reset`
    Reset,
    /// `flush cache`
    FlushCache,
    /// `testfile <file>`
    TestFile {
        /// Where the script is.
        file: String,
    },
}

/// `policy_rule …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleCommand {
    /// `stats`
    Statistics,
    /// `reset`
    Reset,
}

/// One counter of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCounter {
    /// Slot and name: `connect_phase1:rate:slow`.
    pub name: String,
    /// `4xx`, `5xx` or `informational`.
    pub class: &'static str,
    /// How often.
    pub count: u64,
}

/// What a rule did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFigures {
    /// Its name.
    pub name: String,
    /// When it is tried.
    pub phase: &'static str,
    /// How often it fired.
    pub fired: u64,
    /// How often it would have.
    pub shadowed: u64,
    /// Whether it only watches now.
    pub shadow: bool,
}

/// `sieve:<instance> stats` and `scriptlet:<instance> stats`; `kind` is the first word.
#[must_use]
pub fn script_statistics(kind: &str, since: WallTime, counters: &[ScriptCounter]) -> Answer {
    let civil = since.civil();
    let since = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    );
    let row = |counter: &ScriptCounter| format!("{} ({}) = {}", counter.name, counter.class, counter.count);
    let first = core::iter::once(format!("{kind} statistics since: {since}"));
    Answer::Lines(first.chain(counters.iter().map(row)).collect())
}

/// `policy_rule stats`, in the order in which rules are tried.
#[must_use]
pub fn rule_statistics(rules: &[RuleFigures]) -> Answer {
    let row = |rule: &RuleFigures| {
        let shadow = if rule.shadow { ", shadow" } else { "" };
        format!("{} ({}{shadow}): {} fired, {} would have", rule.name, rule.phase, rule.fired, rule.shadowed)
    };
    Answer::Lines(rules.iter().map(row).collect())
}

/// Constructors of commands from their arguments; `None` when the arguments do not fit the grammar.
pub(crate) mod build {
    use super::{
        Command, RuleCommand, ScriptletAction, ScriptletCommand, SieveAction, SieveCommand, Vec, Word,
    };

    fn action(words: &[Word]) -> Option<SieveAction> {
        let plain: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        match plain.as_slice() {
            ["stats"] => Some(SieveAction::Statistics),
            ["reset"] => Some(SieveAction::Reset),
            ["flush", "cache"] => Some(SieveAction::FlushCache),
            ["test", phase, script] => {
                Some(SieveAction::Test { phase: (*phase).into(), script: (*script).into() })
            }
            ["testfile", phase, file] => {
                Some(SieveAction::TestFile { phase: (*phase).into(), file: (*file).into() })
            }
            _ => None,
        }
    }

    /// The instance stands in front of what is done; without one it is the only one.
    pub(crate) fn sieve(arguments: &[Word]) -> Option<Command> {
        let command = match action(arguments) {
            Some(action) => SieveCommand { instance: None, action },
            None => {
                let (first, rest) = arguments.split_first()?;
                SieveCommand { instance: Some(first.text.clone()), action: action(rest)? }
            }
        };
        Some(Command::Sieve(command))
    }

    fn scriptlet_action(words: &[Word]) -> Option<ScriptletAction> {
        let plain: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        match plain.as_slice() {
            ["stats"] => Some(ScriptletAction::Statistics),
            ["reset"] => Some(ScriptletAction::Reset),
            ["flush", "cache"] => Some(ScriptletAction::FlushCache),
            ["testfile", file] => Some(ScriptletAction::TestFile { file: (*file).into() }),
            _ => None,
        }
    }

    /// As [`sieve`].
    pub(crate) fn scriptlet(arguments: &[Word]) -> Option<Command> {
        let command = match scriptlet_action(arguments) {
            Some(action) => ScriptletCommand { instance: None, action },
            None => {
                let (first, rest) = arguments.split_first()?;
                ScriptletCommand { instance: Some(first.text.clone()), action: scriptlet_action(rest)? }
            }
        };
        Some(Command::Scriptlet(command))
    }

    pub(crate) fn rule_statistics(arguments: &[Word]) -> Option<Command> {
        arguments.is_empty().then_some(Command::PolicyRule(RuleCommand::Statistics))
    }

    pub(crate) fn rule_reset(arguments: &[Word]) -> Option<Command> {
        arguments.is_empty().then_some(Command::PolicyRule(RuleCommand::Reset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(answer: &Answer) -> &[String] {
        if let Answer::Lines(lines) = answer { lines } else { &[] }
    }

    #[test]
    fn statistics_of_scripts_and_rules() {
        let counter = |name: &str, class, count| ScriptCounter { name: name.into(), class, count };
        let counters = [counter("connect_phase1:a.sieve:3", "4xx", 2), counter("data_phase2:x:y", "5xx", 7)];
        assert_eq!(
            lines_of(&script_statistics("sieve", WallTime::from_unix_seconds(0), &counters)),
            [
                "sieve statistics since: 1970-01-01 00:00:00",
                "connect_phase1:a.sieve:3 (4xx) = 2",
                "data_phase2:x:y (5xx) = 7"
            ]
        );
        let rule = RuleFigures { name: "r".into(), phase: "connect", fired: 1, shadowed: 2, shadow: true };
        assert_eq!(lines_of(&rule_statistics(&[rule])), ["r (connect, shadow): 1 fired, 2 would have"]);
    }
}
