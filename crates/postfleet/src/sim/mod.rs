//! `postfleet sim`: a simulated fleet, from seeds, and the logs of its failures.

mod replay;
mod run;

use anyhow::{Context as _, bail};
use postfleet_sim::{Kinds, RunOptions, Work};
use std::ops::RangeInclusive;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct SimArguments {
    #[command(subcommand)]
    command: SimCommand,
}

#[derive(clap::Subcommand)]
enum SimCommand {
    /// Run simulated fleets, one from each seed, and check what they promise
    Run(run::RunArguments),
    /// Step through the event log of a run, or compare two
    Replay(replay::ReplayArguments),
    /// List what is checked
    Invariants,
    /// List the faults that can happen
    Faults,
}

/// What decides a run beside its seed.
#[derive(clap::Args)]
struct FleetArguments {
    /// Hosts: a number, or a range from which the seed picks
    #[arg(long, value_name = "N|A-B", default_value = "2-6", value_parser = range)]
    nodes: RangeInclusive<u32>,
    /// Faults that may happen: all, none, or words separated by commas (see `postfleet sim faults`)
    #[arg(long, value_name = "LIST", default_value = "all")]
    faults: Kinds,
    /// How long faults happen, in simulated seconds: a number, or a range from which the seed picks
    #[arg(long, value_name = "N|A-B", default_value = "15-45", value_parser = range)]
    seconds: RangeInclusive<u32>,
    /// What nodes do: all, or first (connections, slots and named throttles only)
    #[arg(long, value_name = "all|first", default_value = "all")]
    work: Work,
}

impl FleetArguments {
    fn options(&self) -> anyhow::Result<RunOptions> {
        if *self.nodes.start() == 0 || *self.nodes.end() > RunOptions::NODES_MAX {
            bail!("--nodes: a simulated fleet has 1 to {} hosts", RunOptions::NODES_MAX);
        }
        if *self.seconds.start() == 0 || *self.seconds.end() > 3600 {
            bail!("--seconds: faults happen for 1 to 3600 simulated seconds");
        }
        Ok(RunOptions {
            nodes: self.nodes.clone(),
            faults: self.faults.clone(),
            seconds: self.seconds.clone(),
            work: self.work,
        })
    }

    /// The options that repeat this, as words of a command; those that have their defaults are left out.
    fn words(&self) -> String {
        let mut words = String::new();
        let ranges = [("nodes", &self.nodes, 2..=6), ("seconds", &self.seconds, 15..=45)];
        for (name, range, default) in ranges {
            if *range != default {
                words.push_str(&format!(" --{name} {}-{}", range.start(), range.end()));
            }
        }
        if self.faults != RunOptions::default().faults {
            words.push_str(&format!(" --faults {}", self.faults));
        }
        if self.work == Work::First {
            words.push_str(" --work first");
        }
        words
    }
}

fn range(text: &str) -> anyhow::Result<RangeInclusive<u32>> {
    let number = |text: &str| text.trim().parse::<u32>().with_context(|| format!("`{text}` is no number"));
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (number(low)?, number(high)?);
    if low > high {
        bail!("{low} is more than {high}");
    }
    Ok(low..=high)
}

pub(crate) fn run(arguments: &SimArguments) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match &arguments.command {
        SimCommand::Run(arguments) => return run::run(arguments),
        SimCommand::Replay(arguments) => return replay::run(arguments),
        SimCommand::Invariants => {
            for invariant in postfleet_sim::invariant::all() {
                writeln!(
                    out,
                    "{}\n    {}\n    {}; {}",
                    invariant.name,
                    invariant.says,
                    invariant.when(),
                    invariant.source
                )?;
            }
        }
        SimCommand::Faults => {
            for kind in postfleet_sim::Kind::ALL {
                writeln!(out, "{:<10} {}", kind.word(), kind.says())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
