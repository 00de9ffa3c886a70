//! One run: faults, repair, rest, judgement.

use crate::engine::{Class, HostId};
use crate::fault::Fault;
use crate::invariant::{Book, Check, Invariant, Violation, all};
use crate::link::Progress;
use crate::log::{FIRST_LINE, Log};
use crate::plan::{Plan, RunOptions};
use crate::process::node_of;
use crate::world::World;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use postfleet_bus::suite::MemberId;
use postfleet_bus::suite::check::History;
use postfleet_types::Monotonic;

/// How often all of it is looked at.
const SAMPLE: Duration = Duration::from_millis(200);
/// Changes go on for so long after the repair.
const WORK_AFTER_REPAIR: Duration = Duration::from_secs(2);
/// What has come to rest must stay at rest for so long.
const STAYS: Duration = Duration::from_secs(3);
/// Longer than a message is under way at rest.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// Turns at one moment; more is a livelock.
const ROUNDS_MAX: usize = 10_000;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The run.
    pub seed: u64,
    /// The violated invariant, if one was.
    pub violation: Option<Violation>,
    /// Figures.
    pub figures: Figures,
}

/// Figures of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Processes that lived.
    pub processes: u64,
    /// Things done to the fleet.
    pub faults: u64,
    /// Views installed, on both connections together.
    pub views: u64,
    /// Messages delivered to processes.
    pub deliveries: u64,
    /// From the repair until everything was right.
    pub rest: Duration,
    /// How long that might have taken.
    pub rest_bound: Duration,
    /// Time that was simulated.
    pub simulated: Duration,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, options: &RunOptions, log: Log<'_>) -> Outcome {
    run_plan(Plan::new(seed, options), log)
}

/// Runs a plan.
#[must_use]
pub fn run_plan(plan: Plan, mut log: Log<'_>) -> Outcome {
    let seed = plan.seed;
    if log.is_on() {
        // The first line is the same for all logs, so that readers know what they have.
        log.head(format_args!("{}", FIRST_LINE.trim_start_matches("# ")));
        log.head(format_args!("seed {seed}, {} nodes, manager {}", plan.nodes, plan.manager));
        log.head(format_args!("{:?}", plan.settings));
        log.head(format_args!("{:?}", plan.timing));
        log.head(format_args!("faults end at {} s", plan.heal_at.as_micros() / 1_000_000));
    }
    let mut run = Run {
        world: World::new(plan, log),
        book: Book::default(),
        invariants: all(),
        next_sample: Monotonic::ZERO,
    };
    let (mut figures, violation) = run.all();
    let traces = || Class::ALL.into_iter().flat_map(|class| run.world.traces(class));
    figures.processes = run.world.lives.len() as u64;
    figures.deliveries = traces().map(|(_, trace, _)| trace.messages() as u64).sum();
    figures.simulated = run.world.now.since(Monotonic::ZERO);
    if let Some(violation) = &violation {
        run.world.log.head(format_args!("violation: {violation}"));
    }
    Outcome { seed, violation, figures }
}

struct Run<'l> {
    world: World<'l>,
    book: Book,
    invariants: Vec<Invariant>,
    next_sample: Monotonic,
}

type Judged = Result<(), Violation>;

impl Run<'_> {
    fn all(&mut self) -> (Figures, Option<Violation>) {
        let mut figures = Figures { rest_bound: self.world.plan.rest_bound(), ..Figures::default() };
        let violation = self.judge(&mut figures).err();
        (figures, violation)
    }

    fn judge(&mut self, figures: &mut Figures) -> Judged {
        let faults: Vec<(Monotonic, Fault)> = self.world.plan.faults.clone();
        for (at, fault) in &faults {
            self.advance(*at, figures)?;
            self.world.fault(fault);
            figures.faults += 1;
        }
        let heal_at = self.world.plan.heal_at;
        self.advance(heal_at, figures)?;
        self.world.repair();
        let healed = self.world.now;
        self.advance(healed + WORK_AFTER_REPAIR, figures)?;
        self.world.stop_work();
        let bound = healed + WORK_AFTER_REPAIR + figures.rest_bound;
        loop {
            match self.at_rest() {
                Ok(()) => break,
                Err(violation) if self.world.now >= bound => return Err(violation),
                Err(_) => {}
            }
            let next = self.world.now + Duration::from_millis(250);
            self.advance(next, figures)?;
        }
        figures.rest = self.world.now.since(healed);
        let until = self.world.now + STAYS;
        self.advance(until, figures)?;
        // Mail that waits for a throttle goes on for many seconds, with a message now and then. What is under way at
        // this very moment has not come back yet and is not applied everywhere; a moment later it is.
        let until = self.world.now + UNDER_WAY;
        loop {
            match self.at_rest().and_then(|()| self.records()) {
                Ok(()) => return Ok(()),
                Err(violation) if self.world.now >= until => return Err(violation),
                Err(_) => {}
            }
            let next = self.world.now + Duration::from_millis(50);
            self.advance(next, figures)?;
        }
    }

    fn violation(&self, invariant: &Invariant, text: String) -> Violation {
        Violation { invariant: invariant.name, source: invariant.source, text, at: self.world.now }
    }

    fn at_rest(&self) -> Judged {
        for invariant in &self.invariants {
            if let Check::Rest(check) = invariant.check {
                check(&self.world).map_err(|text| self.violation(invariant, text))?;
            }
        }
        Ok(())
    }

    fn records(&self) -> Judged {
        for class in Class::ALL {
            let traces = self.world.traces(class);
            let killed: BTreeSet<MemberId> =
                traces.iter().filter(|(_, _, killed)| *killed).map(|(life, ..)| MemberId(*life)).collect();
            let history =
                History::new(traces.iter().map(|(life, trace, _)| (MemberId(*life), *trace)), &killed);
            for invariant in &self.invariants {
                if let Check::Records(check) = invariant.check {
                    let worded = |text| self.violation(invariant, format!("{}: {text}", class.letter()));
                    check(&history).map_err(worded)?;
                }
            }
        }
        Ok(())
    }

    /// Lets time pass.
    fn advance(&mut self, until: Monotonic, figures: &mut Figures) -> Judged {
        loop {
            let now = self.world.now;
            self.world.set_time(now);
            self.world.work();
            self.settle(figures)?;
            if self.next_sample <= self.world.now {
                self.next_sample = self.world.now + SAMPLE;
                self.sample()?;
            }
            if self.world.now >= until {
                return Ok(());
            }
            let next = self.world.next_time().unwrap_or(until).min(until).min(self.next_sample.max(now));
            self.world.set_time(next.max(now));
            if next <= now {
                // Only the sample was due; it is over.
                self.world.set_time(until.min(now + Duration::from_micros(250)));
            }
        }
    }

    /// Everybody does what can be done at this moment.
    fn settle(&mut self, figures: &mut Figures) -> Judged {
        let hosts: Vec<HostId> = self.world.hosts.keys().copied().collect();
        for _ in 0..ROUNDS_MAX {
            let mut any = self.world.carry_streams();
            for host in &hosts {
                if self.world.is_due(*host) {
                    any |= self.turn(*host, figures)?;
                }
            }
            if !any {
                return Ok(());
            }
        }
        Err(Violation {
            invariant: "time goes on",
            source: "docs/simulation.md",
            text: format!("processes are busy for ever at one moment: {:?}", self.busy()),
            at: self.world.now,
        })
    }

    fn busy(&mut self) -> Vec<String> {
        let hosts: Vec<HostId> = self.world.hosts.keys().copied().collect();
        hosts.into_iter().filter(|host| self.world.is_due(*host)).map(node_of).collect()
    }

    fn turn(&mut self, host: HostId, figures: &mut Figures) -> Result<bool, Violation> {
        let Some(progress) = self.world.turn(host) else { return Ok(false) };
        let [_, Progress { view, .. }] = &progress;
        figures.views += progress.iter().map(|progress| u64::from(progress.view)).sum::<u64>();
        let text = progress.iter().flat_map(|progress| &progress.broken).next();
        if let Some(text) = text {
            return Err(Violation {
                invariant: "nothing is broken",
                source: "docs/structures/columns.md",
                text: format!("{}: {text}", node_of(host)),
                at: self.world.now,
            });
        }
        for invariant in &self.invariants {
            let verdict = match (invariant.check, self.world.process(host)) {
                (Check::Turn(check), Some(process)) => check(&self.world, process),
                (Check::View(check), Some(process)) if *view => check(&self.world, &mut self.book, process),
                (Check::Departure(check), _) => departures(&progress, check, &self.world),
                (
                    Check::Turn(_) | Check::View(_) | Check::Sample(_) | Check::Rest(_) | Check::Records(_),
                    Some(_) | None,
                ) => Ok(()),
            };
            verdict.map_err(|text| self.violation(invariant, text))?;
        }
        Ok(progress.iter().any(|progress| progress.any))
    }

    fn sample(&mut self) -> Judged {
        for invariant in &self.invariants {
            if let Check::Sample(check) = invariant.check {
                check(&self.world, &mut self.book).map_err(|text| self.violation(invariant, text))?;
            }
        }
        Ok(())
    }
}

fn departures(
    progress: &[Progress; 2],
    check: fn(&World<'_>, &str, postfleet_bus::LeaveReason) -> Result<(), String>,
    world: &World<'_>,
) -> Result<(), String> {
    let left = progress.iter().flat_map(|progress| &progress.left);
    left.into_iter().try_for_each(|(node, reason)| check(world, node, *reason))
}
