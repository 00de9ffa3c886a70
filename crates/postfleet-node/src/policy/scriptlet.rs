//! The module `scriptlet`: Lua scripts of the configuration, loaded when it is.

use super::ask::answer_without_session;
use super::host::{Home, LiveHost};
use super::live::Policies;
use super::script_files::{self, Files, Paths};
use super::sieve::Includes;
use super::timers::{self, Timers};
use super::visit::Visit;
use super::{Finding, Module, Run, Step, Verdict};
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_datasource::Rows;
use postfleet_lua::{Callout, Ending, Execution, OnError, Program};
use postfleet_policy::{Answer, Class, Disposition, Fault, Nested, Phase, Request, TimerChange};
use postfleet_sieve::ErrorMode;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;
use tokio::time::Instant;

/// For how long what belongs to no session may wait and work, all in all: as long as a session is held in one phase.
const RUN_MAX: Duration = super::ask::HOLD_MAX;

/// Interpreters of one stanza: calls that are under way at the same moment take turns beyond.
const INTERPRETERS_MAX: usize = 8;

/// What one stanza says.
#[derive(Clone)]
pub(crate) struct ScriptletOptions {
    pub(crate) name: String,
    pub(crate) on_error: OnError,
    /// Name and `source`, in the order of the configuration.
    pub(crate) scripts: Vec<(String, String)>,
    pub(crate) paths: Paths,
    /// Where relative names of Sieve scripts start.
    pub(crate) directory: PathBuf,
    /// After how long it is looked whether their files are others; none: never.
    pub(crate) ttl: Option<Duration>,
}

/// Scripts that are called, with their timers.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) program: Arc<Program>,
    pub(super) timers: Arc<Timers>,
}

/// Which scripts are called.
struct Force {
    live: Live,
    /// The stanza is one of a configuration that another one has replaced, or the node ends: scripts that are read anew
    /// come too late.
    is_over: bool,
}

fn load(options: &ScriptletOptions) -> (Result<Live, String>, Files) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = threads.min(INTERPRETERS_MAX);
    let (program, files) = script_files::load_all(&options.scripts, &options.paths, options.on_error, count);
    let live = program.map(|program| Live { program: Arc::new(program), timers: Arc::default() });
    (live, files)
}

/// One stanza.
pub(crate) struct Scriptlet {
    options: ScriptletOptions,
    /// Replaced when the scripts are read anew.
    force: RwLock<Force>,
    /// When the files were last looked at, and what they were, whether they could be used or not. Held while scripts are
    /// read anew, so that this happens once at a time.
    looked: tokio::sync::Mutex<(Instant, Files)>,
    /// Sieve scripts that the scripts ran.
    sieves: Arc<Includes>,
    policies: Arc<Policies>,
}

impl Scriptlet {
    /// Loads all scripts of a stanza. Reads files.
    pub(crate) fn new(options: ScriptletOptions, policies: Arc<Policies>) -> Result<Self, String> {
        let (live, files) = load(&options);
        let force = RwLock::new(Force { live: live?, is_over: false });
        let looked = tokio::sync::Mutex::new((Instant::now(), files));
        let sieves = Arc::new(Includes::new(options.directory.clone()));
        Ok(Self { options, force, looked, sieves, policies })
    }

    /// How statistics are kept.
    pub(crate) fn key(&self) -> String {
        format!("scriptlet:{}", self.options.name)
    }

    fn force(&self) -> RwLockWriteGuard<'_, Force> {
        self.force.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Live {
        self.force.read().unwrap_or_else(PoisonError::into_inner).live.clone()
    }

    /// Calls `init` of every module in every interpreter.
    pub(crate) async fn start(&self, node: &Arc<Node>) -> Result<(), String> {
        self.start_live(node, &self.live()).await
    }

    async fn start_live(&self, node: &Arc<Node>, live: &Live) -> Result<(), String> {
        for note in live.program.notes() {
            notice(Severity::Notice, format_args!("scriptlet: {note}"));
        }
        for (number, change) in live.program.timers() {
            live.timers.change(*number, *change);
        }
        let errors = self.call_all(node, live, Callout::Init).await;
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    /// The scripts are in effect: timers run.
    pub(super) fn begin(self: &Arc<Self>, node: &Arc<Node>) {
        timers::begin(self, node, &self.live());
    }

    /// Another one takes this one's place, or the node ends.
    pub(crate) async fn stop(&self, node: &Arc<Node>) {
        let live = {
            let mut force = self.force();
            force.is_over = true;
            force.live.clone()
        };
        self.stop_live(node, &live).await;
    }

    async fn stop_live(&self, node: &Arc<Node>, live: &Live) {
        live.timers.end();
        self.call_all(node, live, Callout::Deinit).await;
    }

    /// A session is over.
    pub(crate) async fn session_ended(&self, node: &Arc<Node>) {
        let live = self.live();
        if live.program.listens(Callout::Dealloc) {
            let execution = Execution::new(&live.program, &[Callout::Dealloc], "");
            self.finish(node, &live, execution, Callout::Dealloc, false).await;
        }
    }

    /// The words of its console commands.
    pub(super) fn commands(&self) -> Vec<String> {
        self.live().program.controls().map(str::to_owned).collect()
    }

    /// Runs a console command, if a script registered the first word.
    pub(super) async fn command(&self, node: &Arc<Node>, words: &[String]) -> Option<Ending> {
        let live = self.live();
        let execution = Execution::control(&live.program, words)?;
        Some(self.finish(node, &live, execution, Callout::Control, false).await)
    }

    /// What went wrong, without repetition.
    async fn call_all(&self, node: &Arc<Node>, live: &Live, callout: Callout) -> Vec<String> {
        let program = &live.program;
        if !program.listens(callout) {
            return Vec::new();
        }
        for interpreter in 0..program.interpreters() {
            let execution = Execution::within(program, interpreter, &[callout], "");
            let ending = self.finish(node, live, execution, callout, interpreter > 0).await;
            if ending.errors.is_empty() {
                continue;
            }
            if interpreter > 0 {
                // A host that repeats is silent.
                for error in &ending.errors {
                    notice(Severity::Error, format_args!("scriptlet: {error}"));
                }
            }
            return ending.errors;
        }
        Vec::new()
    }

    /// Runs what belongs to no session.
    pub(super) async fn finish(
        &self,
        node: &Arc<Node>,
        live: &Live,
        mut execution: Execution,
        callout: Callout,
        repeats: bool,
    ) -> Ending {
        let home = Place { scriptlet: self, timers: &live.timers };
        let end = Instant::now() + RUN_MAX;
        // Nobody waits for what a timer does, so it ends with its script.
        let over = live.timers.over();
        tokio::pin!(over);
        loop {
            let mut host = LiveHost {
                node: Arc::clone(node),
                visit: None,
                home: &home,
                phase: None,
                slot: callout.moment(),
                repeats,
            };
            match execution.step(&mut host) {
                postfleet_lua::Step::Done(ending) => return ending,
                // What is done for its effect is done once.
                postfleet_lua::Step::Wait(Request::Query { execute: true, .. }) if repeats => {
                    execution.resume(Answer::Rows(Rows::default()));
                }
                postfleet_lua::Step::Wait(request) => {
                    let problem = tokio::select! {
                        biased;
                        () = &mut over, if callout == Callout::Timer => "ended with the script".to_owned(),
                        () = tokio::time::sleep_until(end) => {
                            format!("took more than {} s", RUN_MAX.as_secs())
                        }
                        answer = answer_without_session(node, request) => {
                            execution.resume(answer);
                            continue;
                        }
                    };
                    execution.fail(&mut host, &problem);
                }
            }
        }
    }

    /// Loads a script as if it were of this stanza, and calls nothing of it. Reads files.
    pub(crate) fn test(&self, path: &str) -> Result<(), String> {
        let source = script_files::read("test", Path::new(path)).map_err(|(_, problem)| problem)?;
        let loaded = script_files::load(&[source], &self.options.paths, self.options.on_error);
        loaded.map(drop).map_err(|error| error.to_string())
    }

    /// Reads all scripts anew. When one cannot be used, or its `init` fails, what was loaded stays. Says how many there are.
    pub(crate) async fn flush(self: &Arc<Self>, node: &Arc<Node>) -> Result<usize, String> {
        let mut looked = self.looked.lock().await;
        self.sieves.flush();
        self.replace(node, &mut looked).await
    }

    async fn replace(
        self: &Arc<Self>,
        node: &Arc<Node>,
        looked: &mut (Instant, Files),
    ) -> Result<usize, String> {
        let options = self.options.clone();
        let (loaded, files) = tokio::task::spawn_blocking(move || load(&options))
            .await
            .map_err(|_| "the reading task ended".to_owned())?;
        *looked = (Instant::now(), files);
        let loaded = loaded?;
        // This may take a while, and the configuration may change meanwhile.
        self.start_live(node, &loaded).await?;
        let (old, is_late) = {
            let mut force = self.force();
            let next = loaded.clone();
            if force.is_over { (next, true) } else { (std::mem::replace(&mut force.live, next), false) }
        };
        self.stop_live(node, &old).await;
        if is_late {
            return Err("the configuration has changed meanwhile".to_owned());
        }
        timers::begin(self, node, &loaded);
        Ok(self.options.scripts.len())
    }

    /// When their time is over, looks whether the files are others than before, and reads them anew then. Files that
    /// cannot be used are complained of once.
    pub(super) async fn look_again(self: &Arc<Self>, node: &Arc<Node>) {
        let Some(ttl) = self.options.ttl else { return };
        if self.force.read().unwrap_or_else(PoisonError::into_inner).is_over {
            return;
        }
        let mut looked = self.looked.lock().await;
        if looked.0.elapsed() < ttl {
            return;
        }
        looked.0 = Instant::now();
        self.sieves.flush();
        let (paths, before) = (Arc::clone(&self.options.paths), looked.1.clone());
        let changed = tokio::task::spawn_blocking(move || before.have_changed(&paths)).await;
        if !changed.unwrap_or(false) {
            return;
        }
        let name = &self.options.name;
        match self.replace(node, &mut looked).await {
            Ok(count) => notice(
                Severity::Notice,
                format_args!("scriptlet \"{name}\": files have changed; {count} scripts were loaded anew"),
            ),
            Err(problem) => notice(
                Severity::Error,
                format_args!(
                    "scriptlet \"{name}\": files have changed: {problem}; the scripts before stay in force"
                ),
            ),
        }
    }
}

/// What is running.
struct Place<'a> {
    scriptlet: &'a Scriptlet,
    timers: &'a Timers,
}

impl Home for Place<'_> {
    fn kind(&self) -> &'static str {
        "scriptlet"
    }

    fn sieve(&self, phase: Phase, file: &str) -> Result<Box<dyn Nested>, Fault> {
        let mode = match self.scriptlet.options.on_error {
            OnError::Continue => ErrorMode::Continue,
            OnError::Fail => ErrorMode::Fail,
        };
        self.scriptlet.sieves.begin(phase, file, mode)
    }

    fn timer(&self, number: u32, change: TimerChange) -> Result<(), Fault> {
        self.timers.change(number, change);
        Ok(())
    }

    fn count(&self, slot: &str, counter: &str, class: Class) {
        self.scriptlet.count(slot, counter, class);
    }
}

impl Module for Scriptlet {
    fn kind(&self) -> &'static str {
        "scriptlet"
    }

    fn name(&self) -> &str {
        &self.options.name
    }

    fn listens(&self, phase: Phase) -> bool {
        let program = self.live().program;
        Callout::of(phase).iter().any(|callout| program.listens(*callout))
    }

    fn run(self: Arc<Self>, phase: Phase) -> Box<dyn Run> {
        Box::new(ScriptletRun { scriptlet: self, phase, execution: None })
    }
}

/// The callouts of one phase.
struct ScriptletRun {
    scriptlet: Arc<Scriptlet>,
    phase: Phase,
    /// None until the first step.
    execution: Option<(Execution, Live)>,
}

impl Run for ScriptletRun {
    fn step(&mut self, visit: &mut Visit) -> Step {
        let phase = self.phase;
        let scriptlet = self.scriptlet.as_ref();
        let (execution, live) = self.execution.get_or_insert_with(|| {
            let live = scriptlet.live();
            (Execution::new(&live.program, Callout::of(phase), &visit.argument(phase)), live)
        });
        let home = Place { scriptlet, timers: &live.timers };
        let mut host = LiveHost::of(visit, &home, phase, phase.name());
        match execution.step(&mut host) {
            postfleet_lua::Step::Wait(request) => Step::Wait(request),
            postfleet_lua::Step::Done(ending) => Step::Done(scriptlet.finding(phase, ending)),
        }
    }

    fn resume(&mut self, answer: Answer) {
        if let Some((execution, _)) = &mut self.execution {
            execution.resume(answer);
        }
    }
}

impl Scriptlet {
    fn count(&self, slot: &str, counter: &str, class: Class) {
        self.policies.count(&self.key(), &format!("{slot}:{counter}"), class);
    }

    /// What a run came to; counted.
    fn finding(&self, phase: Phase, ending: Ending) -> Finding {
        let count = |counter: &str, class| self.count(phase.name(), counter, class);
        count("calls", Class::Informational);
        for _ in &ending.errors {
            count("errors", Class::Informational);
        }
        if ending.outcome.hold_ms > 0 {
            count("held", Class::Informational);
        }
        match &ending.outcome.disposition {
            Disposition::Action(reply) | Disposition::Disconnect(reply) | Disposition::Failed(reply) => {
                count(&reply.code().to_string(), reply.class());
            }
            Disposition::Discard { .. } => count("discarded", Class::Informational),
            Disposition::End
            | Disposition::Keep
            | Disposition::Stop
            | Disposition::Reject { .. }
            | Disposition::Redirect { .. } => {}
        }
        Finding {
            verdict: Verdict::of(ending.outcome.disposition),
            ends_phase: ending.ends_phase,
            hold: Duration::from_millis(ending.outcome.hold_ms),
        }
    }
}
