//! The module `scriptlet`: Lua scripts of the configuration, loaded when it is.

use super::ask::answer_without_session;
use super::host::{Home, LiveHost};
use super::live::Policies;
use super::visit::Visit;
use super::{Finding, Module, Run, Step, Verdict};
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_lua::{Callout, Ending, Execution, Library, Limits, LoadError, OnError, Program, Source};
use postfleet_policy::{Answer, Class, Disposition, Phase};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Bytes of one script; the interpreter has the same bound.
const SCRIPT_BYTES_MAX: u64 = 1 << 20;

/// Interpreters of one stanza: calls that are under way at the same moment take turns beyond.
const INTERPRETERS_MAX: usize = 8;

/// Finds the files of a script, or of a module that it requires, by its name.
pub(crate) type Paths = Arc<dyn Fn(&str) -> Vec<PathBuf> + Send + Sync>;

/// What one stanza says.
#[derive(Clone)]
pub(crate) struct ScriptletOptions {
    pub(crate) name: String,
    pub(crate) on_error: OnError,
    /// Name and `source`, in the order of the configuration.
    pub(crate) scripts: Vec<(String, String)>,
    pub(crate) paths: Paths,
}

/// One stanza.
pub(crate) struct Scriptlet {
    options: ScriptletOptions,
    /// Replaced by `flush cache`.
    program: RwLock<Arc<Program>>,
    policies: Arc<Policies>,
}

/// Modules in the folders of the configuration.
struct Folders(Paths);

impl Library for Folders {
    fn module(&self, name: &str) -> Result<Option<Source>, String> {
        for path in (self.0)(name) {
            match read(name, &path) {
                Ok(source) => return Ok(Some(source)),
                Err((std::io::ErrorKind::NotFound, _)) => {}
                Err((_, problem)) => return Err(problem),
            }
        }
        Ok(None)
    }
}

/// Reads one script.
fn read(name: &str, path: &Path) -> Result<Source, (std::io::ErrorKind, String)> {
    let file = path.display().to_string();
    let failed = |error: std::io::Error| (error.kind(), format!("{file}: {error}"));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > SCRIPT_BYTES_MAX {
        let problem = format!("{file}: {size} bytes are too many for a script; at most {SCRIPT_BYTES_MAX}");
        return Err((std::io::ErrorKind::FileTooLarge, problem));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        (std::io::ErrorKind::InvalidData, format!("{file}: not UTF-8; save the script as UTF-8"))
    })?;
    Ok(Source { name: name.to_owned(), file, text })
}

/// Finds a script of a stanza.
pub(crate) fn find(name: &str, source: &str, paths: &Paths) -> Result<Source, String> {
    let candidates = paths(source);
    if candidates.is_empty() {
        return Err(format!(
            "'{source}' names no script; expected names with '.' or '/' between them, as in policies.rate"
        ));
    }
    for path in &candidates {
        match read(name, path) {
            Ok(found) => return Ok(found),
            Err((std::io::ErrorKind::NotFound, _)) => {}
            Err((_, problem)) => return Err(problem),
        }
    }
    let looked: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
    Err(format!("script '{source}' not found; it would be {}", looked.join(" or ")))
}

/// Loads scripts, into one interpreter if they are only looked at.
pub(crate) fn load(
    sources: &[Source],
    paths: &Paths,
    on_error: OnError,
    interpreters: usize,
) -> Result<Program, LoadError> {
    let now_s = crate::clock::wall().unix_seconds();
    Program::load(sources, &Folders(Arc::clone(paths)), Limits::default(), on_error, interpreters, now_s)
}

fn program(options: &ScriptletOptions) -> Result<Program, String> {
    let found = options.scripts.iter().map(|(name, source)| find(name, source, &options.paths));
    let sources = found.collect::<Result<Vec<_>, String>>()?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    load(&sources, &options.paths, options.on_error, threads.min(INTERPRETERS_MAX))
        .map_err(|error| error.to_string())
}

impl Scriptlet {
    /// Loads all scripts of a stanza. Reads files.
    pub(crate) fn new(options: ScriptletOptions, policies: Arc<Policies>) -> Result<Self, String> {
        let program = RwLock::new(Arc::new(program(&options)?));
        Ok(Self { options, program, policies })
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
        let mut errors = Vec::new();
        if !program.listens(callout) {
            return errors;
        }
        for interpreter in 0..program.interpreters() {
            let execution = Execution::within(program, interpreter, &[callout], "");
            let ending = self.finish(node, execution, callout, interpreter > 0).await;
            errors.extend(ending.errors);
            if !errors.is_empty() {
                break;
            }
        }
        errors
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
                postfleet_lua::Step::Wait(request) => {
                    execution.resume(answer_without_session(node, request).await);
                }
            }
        }
    }

    /// Loads a script as if it were of this stanza, and calls nothing of it. Reads files.
    pub(crate) fn test(&self, path: &str) -> Result<(), String> {
        let source = read("test", Path::new(path)).map_err(|(_, problem)| problem)?;
        let loaded = load(&[source], &self.options.paths, self.options.on_error, 1);
        loaded.map(drop).map_err(|error| error.to_string())
    }

    /// Reads all scripts anew. When one cannot be used, or its `init` fails, what was loaded stays. Says how many there are.
    pub(crate) async fn flush(self: &Arc<Self>, node: &Arc<Node>) -> Result<usize, String> {
        let options = self.options.clone();
        let loaded = tokio::task::spawn_blocking(move || program(&options))
            .await
            .map_err(|_| "the reading task ended".to_owned())?;
        let loaded = Arc::new(loaded?);
        self.start_program(node, &loaded).await?;
        let old =
            std::mem::replace(&mut *self.program.write().unwrap_or_else(PoisonError::into_inner), loaded);
        self.call_all(node, &old, Callout::Deinit).await;
        Ok(self.options.scripts.len())
    }
}

impl Home for Scriptlet {
    fn kind(&self) -> &'static str {
        "scriptlet"
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
