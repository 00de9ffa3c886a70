//! `postfleet sim run`: many seeds on all processors, progress, and a log for each failure.

use super::FleetArguments;
use anyhow::{Context as _, bail};
use postfleet_sim::{Figures, Log, Plan, RunOptions, Violation, run_plan, shrink};
use postfleet_types::Monotonic;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Failures that are written and reported one by one; more of them say nothing new.
const REPORTED_MAX: usize = 10;

/// The words of `postfleet sim run`.
#[derive(clap::Args)]
pub(super) struct RunArguments {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 200)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    from: u64,
    #[command(flatten)]
    fleet: FleetArguments,
    /// Seeds at a time [default: the number of processors]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Where event logs of failures are written
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    logs: PathBuf,
    /// Write the event log of every seed, also of those that pass
    #[arg(long)]
    log_all: bool,
    /// Leave out faults from a failing run as long as it fails in the same way; takes up to 200 runs more
    #[arg(long)]
    shrink: bool,
    /// Only the faults at these places of the plan, separated by commas, as a shrunken run says
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    keep: Option<Vec<usize>>,
    /// One JSON object in the end instead of text
    #[arg(long)]
    json: bool,
}

struct Failure {
    seed: u64,
    violation: Violation,
    /// The faults that were needed, when it was shrunken.
    keep: Option<Vec<usize>>,
    log: Option<PathBuf>,
}

struct Done {
    seed: u64,
    outcome: Result<Figures, Failure>,
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    simulated: Duration,
    processes: u64,
    faults: u64,
    views: u64,
    deliveries: u64,
    slowest: (Duration, u64),
    /// Tenths of the bound that runs took to come to rest, in percent, at most.
    worst_share: u64,
}

impl Sum {
    fn add(&mut self, seed: u64, figures: &Figures) {
        self.simulated += figures.simulated;
        self.processes += figures.processes;
        self.faults += figures.faults;
        self.views += figures.views;
        self.deliveries += figures.deliveries;
        self.slowest = self.slowest.max((figures.rest, seed));
        let share = figures.rest.as_millis() * 100 / figures.rest_bound.as_millis().max(1);
        self.worst_share = self.worst_share.max(u64::try_from(share).unwrap_or(u64::MAX));
    }
}

pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let options = arguments.fleet.options()?;
    if arguments.seeds == 0 {
        bail!("--seeds 0: nothing to run");
    }
    if arguments.keep.is_some() && arguments.seeds != 1 {
        bail!("--keep is about the plan of one seed; give --seeds 1 --from SEED");
    }
    let end =
        arguments.from.checked_add(arguments.seeds).context("--from and --seeds go beyond the last seed")?;
    std::fs::create_dir_all(&arguments.logs)
        .with_context(|| format!("cannot make the folder {} for event logs", arguments.logs.display()))?;
    let started = Instant::now();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or(processors).clamp(1, 256);
    let next = AtomicU64::new(arguments.from);
    let reported = AtomicUsize::new(0);
    let mut sum = Sum::default();
    let mut failures: Vec<Failure> = Vec::new();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let (sender, results) = mpsc::channel();
        for _ in 0..jobs {
            let (sender, next, reported, options) = (sender.clone(), &next, &reported, &options);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send(one(seed, arguments, options, reported)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut progress = Progress::new(arguments);
        for done in results {
            let done = done?;
            sum.seeds += 1;
            match done.outcome {
                Ok(figures) => sum.add(done.seed, &figures),
                Err(failure) => {
                    if failures.len() < REPORTED_MAX && !arguments.json {
                        progress.clear();
                        report(&failure, arguments)?;
                    }
                    failures.push(failure);
                }
            }
            progress.show(sum.seeds, failures.len());
        }
        progress.clear();
        Ok(())
    })?;
    failures.sort_by_key(|failure| failure.seed);
    finish(arguments, &sum, &failures, started.elapsed())?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(seed: u64, arguments: &RunArguments, options: &RunOptions) -> Plan {
    let plan = Plan::new(seed, options);
    arguments.keep.as_ref().map_or_else(|| plan.clone(), |keep| plan.keeping(keep))
}

/// One seed. What panics is a failure like any other.
fn one(
    seed: u64,
    arguments: &RunArguments,
    options: &RunOptions,
    reported: &AtomicUsize,
) -> anyhow::Result<Done> {
    let plan = plan(seed, arguments, options);
    let (violation, figures) = guarded(&plan, None)?;
    let Some(violation) = violation else {
        if arguments.log_all {
            guarded(&plan, Some(&path(arguments, seed)))?;
        }
        return Ok(Done { seed, outcome: Ok(figures) });
    };
    let mut failure = Failure { seed, violation, keep: arguments.keep.clone(), log: None };
    if reported.fetch_add(1, Ordering::Relaxed) < REPORTED_MAX {
        let mut smaller = plan.clone();
        if arguments.shrink && arguments.keep.is_none() && failure.violation.invariant != PANIC {
            let shrunken = shrink(&plan, &failure.violation, 200);
            smaller = plan.keeping(&shrunken.keep);
            failure.violation = shrunken.violation;
            failure.keep = Some(shrunken.keep);
        }
        let path = path(arguments, seed);
        guarded(&smaller, Some(&path))?;
        failure.log = Some(path);
    }
    Ok(Done { seed, outcome: Err(failure) })
}

/// The name under which a panic is reported.
const PANIC: &str = "no panic";

/// Runs a plan, with its event log in a file if one is named.
fn guarded(plan: &Plan, log: Option<&Path>) -> anyhow::Result<(Option<Violation>, Figures)> {
    let mut failed = None;
    let mut file = match log {
        Some(path) => {
            let file =
                std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Some(std::io::BufWriter::new(file))
        }
        None => None,
    };
    let mut sink = |line: &str| {
        if let Some(file) = &mut file
            && let Err(error) = writeln!(file, "{line}")
        {
            failed.get_or_insert(error);
        }
    };
    let writer: Log<'_> = if log.is_some() { Log::to(&mut sink) } else { Log::none() };
    let outcome = catch_unwind(AssertUnwindSafe(|| run_plan(plan.clone(), writer)));
    let result = match outcome {
        Ok(outcome) => (outcome.violation, outcome.figures),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let violation = Violation {
                invariant: PANIC,
                source: "docs/simulation.md",
                text: text.unwrap_or_else(|| "a panic without a text".to_owned()),
                at: Monotonic::ZERO,
            };
            (Some(violation), Figures::default())
        }
    };
    if let Some(file) = &mut file
        && let Err(error) = file.flush()
    {
        failed.get_or_insert(error);
    }
    match (failed, log) {
        (Some(error), Some(path)) => Err(error).with_context(|| format!("cannot write {}", path.display())),
        _ => Ok(result),
    }
}

fn path(arguments: &RunArguments, seed: u64) -> PathBuf {
    arguments.logs.join(format!("postfleet-sim-{seed}.log"))
}

/// The command that repeats a failure.
fn command(failure: &Failure, arguments: &RunArguments) -> String {
    let mut command =
        format!("postfleet sim run --seeds 1 --from {}{}", failure.seed, arguments.fleet.words());
    if let Some(keep) = &failure.keep {
        let places: Vec<String> = keep.iter().map(usize::to_string).collect();
        command.push_str(&format!(" --keep {}", places.join(",")));
    }
    command
}

fn report(failure: &Failure, arguments: &RunArguments) -> std::io::Result<()> {
    let mut errors = std::io::stderr().lock();
    writeln!(errors, "seed {}: {}", failure.seed, failure.violation)?;
    writeln!(errors, "  repeat: {}", command(failure, arguments))?;
    if let Some(log) = &failure.log {
        writeln!(errors, "  look:   postfleet sim replay {}", log.display())?;
    }
    Ok(())
}

fn finish(arguments: &RunArguments, sum: &Sum, failures: &[Failure], took: Duration) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let passed = sum.seeds - failures.len() as u64;
    if arguments.json {
        let failed: Vec<serde_json::Value> = failures
            .iter()
            .map(|failure| {
                json!({
                    "seed": failure.seed,
                    "invariant": failure.violation.invariant,
                    "source": failure.violation.source,
                    "text": failure.violation.text,
                    "at_seconds": Duration::from_micros(failure.violation.at.as_micros()).as_secs_f64(),
                    "repeat": command(failure, arguments),
                    "log": failure.log.as_ref().map(|path| path.display().to_string()),
                })
            })
            .collect();
        let object = json!({
            "seeds": sum.seeds, "from": arguments.from, "passed": passed, "failed": failed,
            "simulated_seconds": sum.simulated.as_secs(), "processes": sum.processes, "faults": sum.faults,
            "views": sum.views, "deliveries": sum.deliveries,
            "rest_seconds_max": sum.slowest.0.as_secs_f64(), "rest_seed": sum.slowest.1,
            "rest_bound_percent_max": sum.worst_share,
            "took_seconds": took.as_secs_f64(),
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{passed} of {} seeds passed: {} hours of {} processes with {} faults, {} views, {} messages, in {:.1} s",
        sum.seeds,
        sum.simulated.as_secs() / 3600,
        sum.processes,
        sum.faults,
        sum.views,
        sum.deliveries,
        took.as_secs_f64()
    )?;
    if passed > 0 {
        writeln!(
            out,
            "slowest to come right after the faults: seed {} after {:.1} s; at most {} % of the bound",
            sum.slowest.1,
            sum.slowest.0.as_secs_f64(),
            sum.worst_share
        )?;
    }
    if !failures.is_empty() {
        let seeds: Vec<String> = failures.iter().map(|failure| failure.seed.to_string()).collect();
        writeln!(out, "failed: {}", seeds.join(" "))?;
    }
    Ok(())
}

/// The line on a terminal that says how far it is.
struct Progress {
    shown: Option<Instant>,
    of: u64,
    on: bool,
}

impl Progress {
    fn new(arguments: &RunArguments) -> Self {
        Self { shown: None, of: arguments.seeds, on: !arguments.json && std::io::stderr().is_terminal() }
    }

    fn show(&mut self, seeds: u64, failed: usize) {
        let due = self.shown.is_none_or(|at| at.elapsed() >= Duration::from_millis(100));
        if self.on && due {
            self.shown = Some(Instant::now());
            // Progress that cannot be shown is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{seeds} of {} seeds, {failed} failed ", self.of);
        }
    }

    fn clear(&self) {
        if self.on && self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
