//! `postfleet sim replay`: steps through an event log, shows what everybody had seen, compares two logs.

use anyhow::{Context as _, bail};
use postfleet_sim::replay::Recording;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The words of `postfleet sim replay`.
#[derive(clap::Args)]
pub(super) struct ReplayArguments {
    /// The event log
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show views and columns as they were at this step, and end
    #[arg(long, value_name = "N", conflicts_with = "compare")]
    step: Option<u64>,
    /// Another log: show where the two part; the exit status is 1 when they do
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Only lines about this node, and what was done to the fleet
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

fn last_step(log: &Recording) -> u64 {
    log.lines.last().map_or(0, |line| line.step)
}

fn read(path: &Path) -> anyhow::Result<Recording> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Recording::parse(&text).with_context(|| path.display().to_string())
}

pub(super) fn run(arguments: &ReplayArguments) -> anyhow::Result<ExitCode> {
    let log = read(&arguments.file)?;
    if log.lines.is_empty() {
        bail!("{}: nothing happened in this run", arguments.file.display());
    }
    let mut out = std::io::stdout().lock();
    if let Some(other) = &arguments.compare {
        return compare(&mut out, &log, &read(other)?);
    }
    if let Some(step) = arguments.step {
        let last = last_step(&log);
        if step > last {
            bail!("{}: there is no step {step}; the run has steps up to {last}", arguments.file.display());
        }
        show(&mut out, &log, log.place_of(step))?;
        return Ok(ExitCode::SUCCESS);
    }
    for head in &log.heads {
        writeln!(out, "{head}")?;
    }
    let wanted = |place: usize| {
        let who = log.lines.get(place).map_or("", |line| line.who.as_str());
        arguments.node.as_deref().is_none_or(|node| who == node || who == "-")
    };
    if !std::io::stdin().is_terminal() {
        for (_, line) in log.lines.iter().enumerate().filter(|(place, _)| wanted(*place)) {
            writeln!(out, "{line}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    step_through(&mut out, &log, &wanted)?;
    Ok(ExitCode::SUCCESS)
}

const HELP: &str = "Enter  the next step        b      the one before      N      step number N
s      views and columns    f      the next fault      v      the next view
/TEXT  the next step with TEXT                         q      end
";

fn step_through(
    out: &mut impl Write,
    log: &Recording,
    wanted: &impl Fn(usize) -> bool,
) -> anyhow::Result<()> {
    let last = log.lines.len().saturating_sub(1);
    let mut place = (0..=last).find(|place| wanted(*place)).unwrap_or(0);
    write!(out, "{HELP}")?;
    let mut input = std::io::stdin().lock();
    loop {
        if let Some(line) = log.lines.get(place) {
            writeln!(out, "{line}")?;
        }
        write!(out, "> ")?;
        out.flush()?;
        let mut word = String::new();
        if input.read_line(&mut word)? == 0 {
            writeln!(out)?;
            return Ok(());
        }
        let next = |test: &dyn Fn(usize) -> bool| (place + 1..=last).find(|at| wanted(*at) && test(*at));
        let what = |at: usize| log.lines.get(at).map_or("", |line| line.what.as_str());
        let found = match word.trim() {
            "" => next(&|_| true),
            "q" => return Ok(()),
            "b" => (0..place).rev().find(|at| wanted(*at)),
            "f" => next(&|at| what(at) == "fault"),
            "v" => next(&|at| what(at).ends_with(".view")),
            "s" => {
                show(out, log, place)?;
                continue;
            }
            word => match (word.strip_prefix('/'), word.parse()) {
                (Some(text), _) => {
                    next(&|at| log.lines.get(at).is_some_and(|l| l.to_string().contains(text)))
                }
                (None, Ok(step)) => (step <= last_step(log)).then(|| log.place_of(step)),
                (None, Err(_)) => {
                    write!(out, "{HELP}")?;
                    continue;
                }
            },
        };
        match found {
            Some(found) => place = found,
            None => writeln!(out, "(no more)")?,
        }
    }
}

/// What everybody had seen at a place.
fn show(out: &mut impl Write, log: &Recording, place: usize) -> std::io::Result<()> {
    if let Some(line) = log.lines.get(place) {
        writeln!(out, "after step {} at {} s: {} {} {}", line.step, line.at, line.who, line.what, line.rest)?;
    }
    for (node, member) in log.members_at(place) {
        writeln!(out, "{node}  {}", member.status)?;
        writeln!(out, "    main    {}", member.main.as_deref().unwrap_or("not a member"))?;
        writeln!(out, "    shared  {}", member.shared.as_deref().unwrap_or("not a member"))?;
        for column in &member.columns {
            writeln!(out, "    {column}")?;
        }
    }
    Ok(())
}

fn compare(out: &mut impl Write, one: &Recording, other: &Recording) -> anyhow::Result<ExitCode> {
    for (one, other) in one.heads.iter().zip(&other.heads).filter(|(one, other)| one != other) {
        writeln!(out, "- {one}\n+ {other}")?;
    }
    let Some(place) = one.first_difference(other) else {
        writeln!(out, "the same {} steps", one.lines.len())?;
        return Ok(if one.heads == other.heads { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    for line in one.lines.get(place.saturating_sub(3)..place).unwrap_or_default() {
        writeln!(out, "  {line}")?;
    }
    for (mark, log) in [('-', one), ('+', other)] {
        for line in log.lines.iter().skip(place).take(3) {
            writeln!(out, "{mark} {line}")?;
        }
    }
    Ok(ExitCode::FAILURE)
}
