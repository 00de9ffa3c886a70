//! `sieve:<instance> …`, `scriptlet:<instance> …` and `policy_rule …`.

use super::Outcome;
use crate::node::Node;
use crate::policy::Module;
use crate::policy::sieve::{compile, compile_text};
use postfleet_console::{
    Answer, Code, Failure, RuleCommand, RuleFigures, ScriptCounter, ScriptletAction, ScriptletCommand,
    SieveAction, SieveCommand, rule_statistics, script_statistics,
};
use postfleet_policy::Phase;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) async fn sieve(node: &Arc<Node>, command: &SieveCommand) -> Outcome {
    let policy = Arc::clone(&node.configuration.serving().policy);
    let found = instance("sieve", &policy.sieves, command.instance.as_deref())?;
    match &command.action {
        SieveAction::Statistics => Ok(statistics(node, "sieve", &found.key())),
        SieveAction::Reset => {
            node.policies.reset(&found.key());
            Ok(Answer::silent())
        }
        SieveAction::FlushCache => {
            let sieve = Arc::clone(found);
            let (flushed, problems) = blocking(move || sieve.flush()).await?;
            let first = format!("flushed {flushed} entries from the script cache");
            let kept =
                problems.into_iter().map(|problem| format!("{problem}; the script before it stays in force"));
            Ok(Answer::Lines(std::iter::once(first).chain(kept).collect()))
        }
        SieveAction::Test { phase, script } => {
            let (phase, text) = (self::phase(phase)?, script.clone());
            blocking(move || compile_text(phase, "test", &text).map(drop)).await?.map_err(wrong)?;
            Ok(compiles("the script", phase))
        }
        SieveAction::TestFile { phase, file } => {
            let (phase, path) = (self::phase(phase)?, PathBuf::from(file));
            blocking(move || compile(phase, &path).map(drop)).await?.map_err(wrong)?;
            Ok(compiles(file, phase))
        }
    }
}

/// The stanza of this name, or the only one.
fn instance<'p, M: Module>(kind: &str, all: &'p [Arc<M>], name: Option<&str>) -> Result<&'p Arc<M>, Failure> {
    match (name, all) {
        (Some(name), _) => {
            all.iter().find(|one| one.name() == name).ok_or_else(|| Failure::no_such_instance(kind, name))
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(Failure::no_such_instance(kind, "")),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|one| one.name()).collect();
            let text = format!("There are several; name one of them: {}", names.join(", "));
            Err(Failure::error(Code::NoSuchModule, text))
        }
    }
}

pub(super) async fn scriptlet(node: &Arc<Node>, command: &ScriptletCommand) -> Outcome {
    let policy = Arc::clone(&node.configuration.serving().policy);
    let found = instance("scriptlet", &policy.scriptlets, command.instance.as_deref())?;
    match &command.action {
        ScriptletAction::Statistics => Ok(statistics(node, "scriptlet", &found.key())),
        ScriptletAction::Reset => {
            node.policies.reset(&found.key());
            Ok(Answer::silent())
        }
        ScriptletAction::FlushCache => match found.flush(node).await {
            Ok(count) => Ok(Answer::line(format_args!("flushed {count} entries from the script cache"))),
            Err(problem) => Err(wrong(format!("{problem}; the scripts before stay in force"))),
        },
        ScriptletAction::TestFile { file } => {
            let (scriptlet, path) = (Arc::clone(found), file.clone());
            blocking(move || scriptlet.test(&path)).await?.map_err(wrong)?;
            Ok(Answer::line(format_args!("{file} loads")))
        }
    }
}

/// A command that a script registered.
pub(super) async fn registered(node: &Arc<Node>, words: &[String]) -> Outcome {
    let policy = Arc::clone(&node.configuration.serving().policy);
    let first = words.first().map(String::as_str).unwrap_or_default();
    let Some(ending) = policy.command(node, words).await else { return Err(Failure::unknown_command(first)) };
    if ending.errors.is_empty() {
        return Ok(Answer::Lines(ending.output.lines().map(str::to_owned).collect()));
    }
    // What was printed before tells how far it came.
    let text = format!("{}{}", ending.output, ending.errors.join("\n"));
    Err(Failure::error(Code::ScriptFailed, text))
}

fn compiles(what: &str, phase: Phase) -> Answer {
    Answer::line(format_args!("{what} compiles for {}", phase.name()))
}

fn wrong(problem: String) -> Failure {
    Failure::error(Code::InvalidValue, problem)
}

fn phase(typed: &str) -> Result<Phase, Failure> {
    Phase::from_name(typed).ok_or_else(|| {
        let known = Phase::ALL.map(Phase::name).join(", ");
        Failure::error(Code::InvalidValue, format_args!("'{typed}' is no phase; the phases are {known}"))
    })
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(act).await.map_err(|_| Failure::internal("the reading task ended"))
}

fn statistics(node: &Node, kind: &str, key: &str) -> Answer {
    let counters = node.policies.counters(key);
    let rows: Vec<ScriptCounter> = counters
        .rows()
        .map(|(name, class, count)| ScriptCounter { name: name.to_owned(), class: class.name(), count })
        .collect();
    script_statistics(kind, counters.since(), &rows)
}

pub(super) fn rules(node: &Node, command: &RuleCommand) -> Answer {
    let policy = Arc::clone(&node.configuration.serving().policy);
    match command {
        RuleCommand::Reset => {
            for rule in &policy.rules {
                node.policies.reset(&rule.counters());
            }
            Answer::silent()
        }
        RuleCommand::Statistics => {
            let figures = policy.rules.iter().map(|rule| {
                let counters = node.policies.counters(&rule.counters());
                let sum = |wanted: &str| {
                    counters.rows().filter(|(name, ..)| *name == wanted).map(|(_, _, count)| count).sum()
                };
                RuleFigures {
                    name: rule.name.clone(),
                    phase: rule.phase.name(),
                    fired: sum("fired"),
                    shadowed: sum("shadowed"),
                    shadow: rule.shadow,
                }
            });
            rule_statistics(&figures.collect::<Vec<_>>())
        }
    }
}
