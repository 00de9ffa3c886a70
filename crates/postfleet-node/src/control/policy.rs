//! `sieve:<instance> …` and `policy_rule …`.

use super::Outcome;
use crate::node::Node;
use crate::policy::Module as _;
use crate::policy::sieve::{Sieve, compile, compile_text};
use postfleet_console::{
    Answer, Code, Failure, RuleCommand, RuleFigures, ScriptCounter, SieveAction, SieveCommand,
    rule_statistics, script_statistics,
};
use postfleet_sieve::Phase;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) async fn sieve(node: &Arc<Node>, command: &SieveCommand) -> Outcome {
    let policy = Arc::clone(&node.configuration.serving().policy);
    let found = match &command.instance {
        Some(name) => policy.sieve(name).ok_or_else(|| Failure::no_such_instance("sieve", name))?,
        None => match policy.sieves() {
            [only] => only,
            [] => return Err(Failure::no_such_instance("sieve", "")),
            several => {
                let names: Vec<&str> = several.iter().map(|sieve| sieve.name()).collect();
                let text = format!("There are several; name one of them: {}", names.join(", "));
                return Err(Failure::error(Code::NoSuchModule, text));
            }
        },
    };
    match &command.action {
        SieveAction::Statistics => Ok(statistics(node, found)),
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

fn statistics(node: &Node, sieve: &Sieve) -> Answer {
    let counters = node.policies.counters(&sieve.key());
    let rows: Vec<ScriptCounter> = counters
        .rows()
        .map(|(name, class, count)| ScriptCounter { name: name.to_owned(), class: class.name(), count })
        .collect();
    script_statistics(counters.since(), &rows)
}

pub(super) fn rules(node: &Node, command: &RuleCommand) -> Answer {
    let policy = Arc::clone(&node.configuration.serving().policy);
    match command {
        RuleCommand::Reset => {
            for rule in policy.rules() {
                node.policies.reset(&rule.counters());
            }
            Answer::silent()
        }
        RuleCommand::Statistics => {
            let figures = policy.rules().iter().map(|rule| {
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
