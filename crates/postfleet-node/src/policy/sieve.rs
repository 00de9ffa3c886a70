//! The module `sieve`: scripts of the configuration, compiled when it is loaded.

use super::host::{Home, LiveHost, blocking};
use super::live::Policies;
use super::visit::Visit;
use super::{Finding, Module, Run, Step, Verdict};
use crate::notices::{Severity, notice};
use postfleet_policy::{Nested, TimerChange};
use postfleet_sieve::{
    Answer, Class, Disposition, ErrorMode, Execution, Fault, Library, Limits, Phase, SCRIPT_BYTES_MAX, Script,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Included scripts that are kept compiled.
const INCLUDES_MAX: usize = 1000;

/// What one stanza says.
#[derive(Clone, Debug)]
pub(crate) struct SieveOptions {
    pub(crate) name: String,
    pub(crate) mode: ErrorMode,
    /// Where relative names of included scripts start.
    pub(crate) directory: PathBuf,
    /// Phase, number of the slot, path.
    pub(crate) slots: Vec<(Phase, u8, PathBuf)>,
}

struct Slot {
    phase: Phase,
    /// `connect_phase1`.
    label: String,
    path: PathBuf,
    /// Replaced by `flush cache`.
    script: RwLock<Arc<Script>>,
}

/// One stanza.
pub(crate) struct Sieve {
    options: SieveOptions,
    /// In the order of phases, then of numbers.
    slots: Vec<Slot>,
    includes: Arc<Includes>,
    policies: Arc<Policies>,
}

/// Scripts that others name as they run, compiled once.
pub(super) struct Includes {
    /// Where relative names start.
    directory: PathBuf,
    compiled: RwLock<BTreeMap<(Phase, String), Arc<Script>>>,
}

impl Includes {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, compiled: RwLock::default() }
    }

    /// Drops all; how many there were.
    pub(super) fn flush(&self) -> usize {
        std::mem::take(&mut *self.compiled.write().unwrap_or_else(PoisonError::into_inner)).len()
    }

    /// A run of a script that another language begins.
    pub(super) fn begin(
        self: &Arc<Self>,
        phase: Phase,
        file: &str,
        mode: ErrorMode,
    ) -> Result<Box<dyn Nested>, Fault> {
        let script = self.script(phase, file)?;
        let library = Arc::clone(self) as Arc<dyn Library>;
        Ok(Box::new(Execution::new(&script, mode, Limits::default()).with_library(library)))
    }
}

/// Reads and compiles one script.
pub(crate) fn compile(phase: Phase, path: &Path) -> Result<Script, String> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|error| format!("{name}: {error}"))?.len();
    if size > u64::try_from(SCRIPT_BYTES_MAX).unwrap_or(u64::MAX) {
        return Err(format!("{name}: {size} bytes are too many for a script; at most {SCRIPT_BYTES_MAX}"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    let text =
        String::from_utf8(bytes).map_err(|_| format!("{name}: not UTF-8; save the script as UTF-8"))?;
    compile_text(phase, &name, &text)
}

/// Compiles a script that messages call `name`.
pub(crate) fn compile_text(phase: Phase, name: &str, text: &str) -> Result<Script, String> {
    Script::compile(name, phase, text).map_err(|error| error.to_string())
}

impl Sieve {
    /// Compiles all scripts of a stanza.
    pub(crate) fn new(options: SieveOptions, policies: Arc<Policies>) -> Result<Self, String> {
        let mut slots = Vec::new();
        for (phase, number, path) in &options.slots {
            let script = compile(*phase, path)?;
            slots.push(Slot {
                phase: *phase,
                label: format!("{}_phase{number}", phase.name()),
                path: path.clone(),
                script: RwLock::new(Arc::new(script)),
            });
        }
        let includes = Arc::new(Includes::new(options.directory.clone()));
        Ok(Self { options, slots, includes, policies })
    }

    /// How statistics are kept.
    pub(crate) fn key(&self) -> String {
        format!("sieve:{}", self.options.name)
    }

    /// Drops every compiled script and reads it anew. One that does not compile any more stays as it was. Returns how
    /// many were dropped, and what is wrong with the others. Reads files.
    pub(crate) fn flush(&self) -> (usize, Vec<String>) {
        let mut flushed = self.includes.flush();
        let mut problems = Vec::new();
        for slot in &self.slots {
            match compile(slot.phase, &slot.path) {
                Ok(script) => {
                    *slot.script.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
                    flushed += 1;
                }
                Err(problem) => {
                    notice(
                        Severity::Error,
                        format_args!("sieve: {problem}; the script before it stays in force"),
                    );
                    problems.push(problem);
                }
            }
        }
        (flushed, problems)
    }
}

impl Home for Sieve {
    fn kind(&self) -> &'static str {
        "sieve"
    }

    fn sieve(&self, phase: Phase, file: &str) -> Result<Box<dyn Nested>, Fault> {
        self.includes.begin(phase, file, self.options.mode)
    }

    fn timer(&self, _: u32, _: TimerChange) -> Result<(), Fault> {
        Err(Fault::new("Sieve has no timers"))
    }

    fn count(&self, slot: &str, counter: &str, class: Class) {
        self.policies.count(&self.key(), &format!("{slot}:{counter}"), class);
    }
}

impl Library for Includes {
    fn script(&self, phase: Phase, uri: &str) -> Result<Arc<Script>, Fault> {
        let key = (phase, uri.to_owned());
        if let Some(known) = self.compiled.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(known));
        }
        let path = self.directory.join(uri.strip_prefix("file://").unwrap_or(uri));
        let script = Arc::new(blocking(|| compile(phase, &path)).map_err(Fault::new)?);
        let mut includes = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        if includes.len() >= INCLUDES_MAX {
            includes.clear();
        }
        includes.insert(key, Arc::clone(&script));
        Ok(script)
    }
}

impl Module for Sieve {
    fn kind(&self) -> &'static str {
        "sieve"
    }

    fn name(&self) -> &str {
        &self.options.name
    }

    fn listens(&self, phase: Phase) -> bool {
        self.slots.iter().any(|slot| slot.phase == phase)
    }

    fn run(self: Arc<Self>, phase: Phase) -> Box<dyn Run> {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.phase == phase);
        let waiting: Vec<usize> = slots.map(|(at, _)| at).rev().collect();
        Box::new(SieveRun { sieve: self, phase, waiting, running: None, hold_ms: 0 })
    }
}

/// The scripts of one phase, one after the other.
struct SieveRun {
    sieve: Arc<Sieve>,
    phase: Phase,
    /// Slots that have not begun, the next one last.
    waiting: Vec<usize>,
    running: Option<(usize, Execution)>,
    hold_ms: u64,
}

impl Run for SieveRun {
    fn step(&mut self, visit: &mut Visit) -> Step {
        loop {
            if self.running.is_none() {
                let next = self.waiting.pop().and_then(|at| Some((at, self.sieve.slots.get(at)?)));
                let Some((at, slot)) = next else { return self.done(None, false) };
                let script = Arc::clone(&slot.script.read().unwrap_or_else(PoisonError::into_inner));
                self.running = Some((
                    at,
                    Execution::new(&script, self.sieve.options.mode, Limits::default())
                        .with_library(Arc::clone(&self.sieve.includes) as Arc<dyn Library>),
                ));
            }
            let Some((at, execution)) = &mut self.running else { continue };
            let slot = self.sieve.slots.get(*at).map(|slot| slot.label.as_str()).unwrap_or_default();
            let mut host = LiveHost::of(&mut *visit, self.sieve.as_ref(), self.phase, slot);
            let outcome = match execution.step(&mut host) {
                postfleet_sieve::Step::Wait(request) => return Step::Wait(request),
                postfleet_sieve::Step::Done(outcome) => outcome,
            };
            self.running = None;
            self.hold_ms = self.hold_ms.saturating_add(outcome.hold_ms);
            if outcome.disposition == Disposition::End {
                continue;
            }
            // Without a verdict other modules of the phase are asked.
            let verdict = Verdict::of(outcome.disposition);
            let ends_phase = verdict.is_some();
            return self.done(verdict, ends_phase);
        }
    }

    fn resume(&mut self, answer: Answer) {
        if let Some((_, execution)) = &mut self.running {
            execution.resume(answer);
        }
    }
}

impl SieveRun {
    fn done(&mut self, verdict: Option<Verdict>, ends_phase: bool) -> Step {
        self.waiting.clear();
        Step::Done(Finding { verdict, ends_phase, hold: Duration::from_millis(self.hold_ms) })
    }
}
