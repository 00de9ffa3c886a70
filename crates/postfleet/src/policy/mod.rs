//! `postfleet policy`: checks scripts, and runs them on recorded sessions.
//!
//! Both need no node and change nothing. A script sees a small fleet in memory; time is what the record says, and holds let
//! it pass.

mod record;
mod script;
mod shown;
mod walk;

use clap::{Subcommand, ValueEnum};
use postfleet_policy::Phase;
use script::Script;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The words of `postfleet policy`.
#[derive(clap::Args)]
pub(crate) struct PolicyArguments {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Compile scripts; every problem with file, line and remedy
    Check(CheckArguments),
    /// Run a script on recorded sessions, and show what it would do in each phase and which objects it uses
    Test(TestArguments),
}

#[derive(clap::Args)]
struct CheckArguments {
    /// Scripts: Lua where the name ends with .lua, Sieve otherwise
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The phase that Sieve scripts are for [default: any in which they compile]
    #[arg(long, value_enum)]
    phase: Option<Word>,
    /// One JSON object for each file
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct TestArguments {
    /// The script: Lua where the name ends with .lua, Sieve otherwise
    #[arg(value_name = "SCRIPT")]
    script: PathBuf,
    /// Recorded sessions, as docs/policy.md describes them
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// The phase that a Sieve script is for; Lua needs none
    #[arg(long, value_enum)]
    phase: Option<Word>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// A phase as it is typed.
#[derive(Clone, Copy, Debug)]
struct Word(Phase);

impl ValueEnum for Word {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Word; 9] = [
            Word(Phase::Accept),
            Word(Phase::Connect),
            Word(Phase::Ehlo),
            Word(Phase::Mailfrom),
            Word(Phase::Rcptto),
            Word(Phase::Data),
            Word(Phase::Spool),
            Word(Phase::EachRcpt),
            Word(Phase::SetBinding),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

/// Nothing could be run.
const UNUSABLE: u8 = 2;

pub(crate) fn run(arguments: &PolicyArguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        PolicyCommand::Check(arguments) => check(arguments),
        PolicyCommand::Test(arguments) => test(arguments),
    }
}

/// 0 when all compile, otherwise 1.
fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let mut good = true;
    for file in &arguments.files {
        let outcome = Script::load(file, arguments.phase.map(|word| word.0));
        good &= outcome.is_ok();
        let shown = file.display().to_string();
        let line = match (&outcome, arguments.json) {
            (outcome, true) => shown::check_json(&shown, outcome),
            (Ok(script), false) => format!("{shown}: {}", script.summary()),
            (Err(problem), false) => {
                writeln!(std::io::stderr(), "{problem}")?;
                continue;
            }
        };
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// 0 when the script ran without an error, 1 when it had one, 2 when nothing could be run.
fn test(arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    let loaded = Script::load(&arguments.script, arguments.phase.map(|word| word.0)).and_then(|script| {
        script.is_for_one_phase()?;
        Ok((script, record::read(&arguments.event)?))
    });
    let (script, record) = match loaded {
        Ok(loaded) => loaded,
        Err(problem) => {
            writeln!(std::io::stderr(), "{problem}")?;
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    let report = walk::walk(&script, &record);
    let text = if arguments.json { shown::json(&report) } else { shown::text(&report) };
    write!(std::io::stdout(), "{text}")?;
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
