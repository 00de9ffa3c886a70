//! The module `scriptlet`: Lua scripts of the configuration, loaded when it is.

use super::ask::answer_without_session;
use super::host::{Home, LiveHost};
use super::live::Policies;
use super::script_files::{self, Files, Paths};
use super::sieve::Includes;
use super::visit::Visit;
use super::{Finding, Module, Run, Step, Verdict};
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_datasource::Rows;
use postfleet_lua::{Callout, Ending, Execution, OnError, Program};
use postfleet_policy::{Answer, Class, Disposition, Fault, Nested, Phase, Request};
use postfleet_sieve::ErrorMode;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

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

fn load(options: &ScriptletOptions) -> (Result<Program, String>, Files) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    script_files::load_all(&options.scripts, &options.paths, options.on_error, threads.min(INTERPRETERS_MAX))
}

/// One stanza.
pub(crate) struct Scriptlet {
    options: ScriptletOptions,
    /// Replaced when the scripts are read anew.
    program: RwLock<Arc<Program>>,
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
        let (program, files) = load(&options);
        let program = RwLock::new(Arc::new(program?));
        let looked = tokio::sync::Mutex::new((Instant::now(), files));
        let sieves = Arc::new(Includes::new(options.directory.clone()));
        Ok(Self { options, program, looked, sieves, policies })
    }

    /// How statistics are kept.
    pub(crate) fn key(&self) -> String {
        format!("scriptlet:{}", self.options.name)
    }

    fn program(&self) -> Arc<Program> {
        Arc::clone(&self.program.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls `init` of every module in every interpreter.
    pub(crate) async fn start(&self, node: &Arc<Node>) -> Result<(), String> {
        let program = self.program();
        self.start_program(node, &program).await
    }

    async fn start_program(&self, node: &Arc<Node>, program: &Arc<Program>) -> Result<(), String> {
        for note in program.notes() {
            notice(Severity::Notice, format_args!("scriptlet: {note}"));
        }
        let errors = self.call_all(node, program, Callout::Init).await;
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    /// Another one takes this one's place, or the node ends.
    pub(crate) async fn stop(&self, node: &Arc<Node>) {
        let program = self.program();
        self.call_all(node, &program, Callout::Deinit).await;
    }

    /// A session is over.
    pub(crate) async fn session_ended(&self, node: &Arc<Node>) {
        let program = self.program();
        if program.listens(Callout::Dealloc) {
            let execution = Execution::new(&program, &[Callout::Dealloc], "");
            self.finish(node, execution, Callout::Dealloc, false).await;
        }
    }

    /// What went wrong, without repetition.
    async fn call_all(&self, node: &Arc<Node>, program: &Arc<Program>, callout: Callout) -> Vec<String> {
        if !program.listens(callout) {
            return Vec::new();
        }
        for interpreter in 0..program.interpreters() {
            let execution = Execution::within(program, interpreter, &[callout], "");
            let ending = self.finish(node, execution, callout, interpreter > 0).await;
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
    async fn finish(
        &self,
        node: &Arc<Node>,
        mut execution: Execution,
        callout: Callout,
        repeats: bool,
    ) -> Ending {
        loop {
            let mut host = LiveHost {
                node: Arc::clone(node),
                visit: None,
                home: self,
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
                    execution.resume(answer_without_session(node, request).await);
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
    pub(crate) async fn flush(&self, node: &Arc<Node>) -> Result<usize, String> {
        let mut looked = self.looked.lock().await;
        self.sieves.flush();
        self.replace(node, &mut looked).await
    }

    async fn replace(&self, node: &Arc<Node>, looked: &mut (Instant, Files)) -> Result<usize, String> {
        let options = self.options.clone();
        let (loaded, files) = tokio::task::spawn_blocking(move || load(&options))
            .await
            .map_err(|_| "the reading task ended".to_owned())?;
        *looked = (Instant::now(), files);
        let loaded = Arc::new(loaded?);
        self.start_program(node, &loaded).await?;
        let old =
            std::mem::replace(&mut *self.program.write().unwrap_or_else(PoisonError::into_inner), loaded);
        self.call_all(node, &old, Callout::Deinit).await;
        Ok(self.options.scripts.len())
    }

    /// When their time is over, looks whether the files are others than before, and reads them anew then. Files that
    /// cannot be used are complained of once.
    pub(super) async fn look_again(&self, node: &Arc<Node>) {
        let Some(ttl) = self.options.ttl else { return };
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

impl Home for Scriptlet {
    fn kind(&self) -> &'static str {
        "scriptlet"
    }

    fn sieve(&self, phase: Phase, file: &str) -> Result<Box<dyn Nested>, Fault> {
        let mode = match self.options.on_error {
            OnError::Continue => ErrorMode::Continue,
            OnError::Fail => ErrorMode::Fail,
        };
        self.sieves.begin(phase, file, mode)
    }

    fn count(&self, slot: &str, counter: &str, class: Class) {
        self.policies.count(&self.key(), &format!("{slot}:{counter}"), class);
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
        let program = self.program();
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
    execution: Option<Execution>,
}

impl Run for ScriptletRun {
    fn step(&mut self, visit: &mut Visit) -> Step {
        let phase = self.phase;
        let scriptlet = self.scriptlet.as_ref();
        let execution = self.execution.get_or_insert_with(|| {
            Execution::new(&scriptlet.program(), Callout::of(phase), &visit.argument(phase))
        });
        let mut host = LiveHost::of(visit, scriptlet, phase, phase.name());
        match execution.step(&mut host) {
            postfleet_lua::Step::Wait(request) => Step::Wait(request),
            postfleet_lua::Step::Done(ending) => Step::Done(scriptlet.finding(phase, ending)),
        }
    }

    fn resume(&mut self, answer: Answer) {
        if let Some(execution) = &mut self.execution {
            execution.resume(answer);
        }
    }
}

impl Scriptlet {
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
