//! Scripts that were loaded: interpreters in which their functions stand ready.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table, Thread, Value};
use postfleet_policy::TimerChange;

use crate::arguments::{Arguments, Outcome};
use crate::call::{function, printed, time};
use crate::callout::Callout;
use crate::error::{LoadError, text};
use crate::functions::Op;
use crate::limits::{Limits, OnError};
use crate::sandbox::{Globals, Sandbox, Turn};
use crate::timers;

/// Bytes of one script.
pub(crate) const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// Bytes of the word of a console command.
const CONTROL_BYTES_MAX: usize = 64;

/// Modules that the scripts of one program may require.
const REQUIRED_MAX: usize = 200;

/// The text of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in the configuration.
    pub name: String,
    /// The file as messages show it.
    pub file: String,
    /// The text.
    pub text: String,
}

/// Where `require` finds modules that the operator wrote.
pub trait Library: Send + Sync {
    /// The module of this name, if there is one.
    ///
    /// # Errors
    /// It is there but cannot be read.
    fn module(&self, name: &str) -> Result<Option<Source>, String>;

    /// Whether the console has a command of its own that begins with this word.
    fn is_command(&self, word: &str) -> bool;
}

/// No modules.
#[derive(Clone, Copy, Debug)]
pub struct NoLibrary;

impl Library for NoLibrary {
    fn module(&self, _: &str) -> Result<Option<Source>, String> {
        Ok(None)
    }

    fn is_command(&self, _: &str) -> bool {
        false
    }
}

/// What a script registered.
pub(crate) struct Module {
    pub(crate) name: String,
    script: usize,
    table: Table,
    callouts: BTreeSet<Callout>,
}

/// A console command that a script registered.
pub(crate) struct Control {
    pub(crate) word: String,
    pub(crate) function: Function,
}

/// What is called.
#[derive(Clone)]
pub(crate) enum Target {
    /// A callout of this module.
    Module(usize),
    /// A function alone, with what messages call it.
    Function(Function, String),
}

/// One interpreter with all scripts.
pub(crate) struct Loaded {
    pub(crate) sandbox: Sandbox,
    scripts: Vec<Globals>,
    pub(crate) modules: Vec<Module>,
    pub(crate) controls: Vec<Control>,
    /// What was asked for timers as the scripts were loaded.
    timers: Vec<(u32, TimerChange)>,
}

/// See the module.
pub struct Program {
    pub(crate) loaded: Vec<Loaded>,
    pub(crate) limits: Limits,
    pub(crate) on_error: OnError,
    notes: Vec<String>,
    next: AtomicUsize,
    /// Scripts of which was told that they define series outside of `init`.
    told: Mutex<BTreeSet<usize>>,
}

impl Program {
    /// Loads scripts in their order into so many interpreters, one at least: calls in one interpreter take turns.
    ///
    /// # Errors
    /// One does not compile, or fails as its text is run.
    pub fn load(
        sources: &[Source],
        library: &dyn Library,
        limits: Limits,
        on_error: OnError,
        interpreters: usize,
        now_s: u64,
    ) -> Result<Self, LoadError> {
        let mut notes = Vec::new();
        let mut loaded = Vec::new();
        for number in 0..interpreters.max(1) {
            // What scripts say as they are loaded is the same in all interpreters.
            let mut said = Vec::new();
            loaded.push(Loading { library, limits, now_s, notes: &mut said, required: 0 }.all(sources)?);
            if number == 0 {
                notes = said;
            }
        }
        let (next, told) = (AtomicUsize::new(0), Mutex::default());
        Ok(Self { loaded, limits, on_error, notes, next, told })
    }

    /// What is to be told about the loading: lines that scripts printed, and modules without callouts.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many interpreters there are.
    #[must_use]
    pub fn interpreters(&self) -> usize {
        self.loaded.len()
    }

    /// The names of the modules, in the order in which they are called.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().take(1).flat_map(|loaded| &loaded.modules).map(|module| module.name.as_str())
    }

    /// Whether some module has this callout.
    #[must_use]
    pub fn listens(&self, callout: Callout) -> bool {
        self.loaded
            .iter()
            .take(1)
            .any(|loaded| loaded.modules.iter().any(|module| module.callouts.contains(&callout)))
    }

    /// Collects rubbish, so that timers that nothing refers to are gone. What the last call of a script set goes with it.
    pub fn collect(&self) {
        for loaded in &self.loaded {
            let _turn = loaded.turn();
            for globals in &loaded.scripts {
                drop(globals.enter_base());
            }
            // An error of a finaliser is a script's own; there are none here.
            drop(loaded.sandbox.lua.gc_collect());
        }
    }

    /// The words of the console commands that scripts registered.
    pub fn controls(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().take(1).flat_map(|loaded| &loaded.controls).map(|control| control.word.as_str())
    }

    /// What the scripts asked for timers as they were loaded. It is to be done when the program comes into force.
    #[must_use]
    pub fn timers(&self) -> &[(u32, TimerChange)] {
        self.loaded.first().map(|loaded| loaded.timers.as_slice()).unwrap_or_default()
    }

    /// Whether it is the first time that the script of what is called defines a series outside of `init`.
    pub(crate) fn is_first_define(&self, loaded: &Loaded, target: &Target) -> bool {
        let script = loaded.number_of_script(target);
        script.is_some_and(|script| self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(script))
    }

    /// An interpreter that is not running, if there is one.
    pub(crate) fn free(&self) -> usize {
        let count = self.loaded.len().max(1);
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let all = (0..count).map(|at| first.wrapping_add(at) % count);
        let is_free = |at: &usize| {
            let turn = self.loaded.get(*at).map(|loaded| loaded.sandbox.turn.try_lock());
            !matches!(turn, Some(Err(TryLockError::WouldBlock)))
        };
        all.clone().find(is_free).unwrap_or(first % count)
    }
}

impl Loaded {
    /// The modules with a callout, in their order.
    pub(crate) fn with(&self, callout: Callout) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.modules
            .iter()
            .enumerate()
            .filter(move |(_, module)| module.callouts.contains(&callout))
            .map(|(at, _)| at)
    }

    /// A call that has not begun: its coroutine and the globals of its own.
    pub(crate) fn begin(&self, target: &Target, callout: Callout) -> Outcome<(Thread, Table)> {
        let globals = self.script(target).ok_or_else(|| "no such script".to_owned())?;
        let made = || -> mlua::Result<(Thread, Table)> {
            let function = match (target, self.table(target)) {
                (Target::Function(function, _), _) => function.clone(),
                (Target::Module(_), Some(table)) => table.raw_get(callout.name())?,
                (Target::Module(_), None) => return Err(mlua::Error::runtime("no such module")),
            };
            let own = if callout == Callout::Init {
                globals.of_script()
            } else {
                globals.of_call(&self.sandbox.lua)?
            };
            Ok((self.sandbox.coroutine(function)?, own))
        };
        made().map_err(|error| text(&error))
    }

    /// The script that what is called belongs to.
    fn number_of_script(&self, target: &Target) -> Option<usize> {
        match target {
            Target::Module(module) => Some(self.modules.get(*module)?.script),
            Target::Function(function, _) => self.scripts.iter().position(|script| script.holds(function)),
        }
    }

    /// Its globals.
    fn script(&self, target: &Target) -> Option<&Globals> {
        self.scripts.get(self.number_of_script(target)?)
    }

    /// Puts the globals of a call in their place. The caller holds the turn.
    pub(crate) fn enter(&self, target: &Target, own: &Table) -> Outcome<()> {
        self.script(target).map_or(Ok(()), |globals| globals.enter(own)).map_err(|error| text(&error))
    }

    /// The table of a module, which its functions get as `self`.
    pub(crate) fn table(&self, target: &Target) -> Option<&Table> {
        match target {
            Target::Module(module) => self.modules.get(*module).map(|module| &module.table),
            Target::Function(..) => None,
        }
    }

    /// As messages call it.
    pub(crate) fn name<'a>(&'a self, target: &'a Target) -> &'a str {
        match target {
            Target::Module(module) => self.modules.get(*module).map_or("", |module| module.name.as_str()),
            Target::Function(_, name) => name,
        }
    }

    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.sandbox.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Loading<'a> {
    library: &'a dyn Library,
    limits: Limits,
    now_s: u64,
    notes: &'a mut Vec<String>,
    required: usize,
}

impl Loading<'_> {
    fn all(&mut self, sources: &[Source]) -> Result<Loaded, LoadError> {
        let sandbox = Sandbox::new(&self.limits).map_err(|error| LoadError {
            file: "scriptlet".to_owned(),
            line: None,
            problem: text(&error),
        })?;
        let mut loaded = Loaded {
            sandbox,
            scripts: Vec::new(),
            modules: Vec::new(),
            controls: Vec::new(),
            timers: Vec::new(),
        };
        for source in sources {
            let before = (loaded.modules.len(), loaded.controls.len(), loaded.timers.len());
            self.one(&mut loaded, source)?;
            let registered = loaded.modules.get(before.0..).unwrap_or_default();
            if registered.is_empty() {
                if (loaded.controls.len(), loaded.timers.len()) != (before.1, before.2) {
                    continue;
                }
                self.notes.push(format!(
                    "{}: the script registers no module and is never called; end it with \
                     msys.registerModule(\"{}\", …)",
                    source.file, source.name
                ));
            } else if !registered.iter().any(|module| module.name == source.name) {
                let names: Vec<&str> = registered.iter().map(|module| module.name.as_str()).collect();
                self.notes.push(format!(
                    "{}: script \"{}\" registers {}; both names should be the same",
                    source.file,
                    source.name,
                    names.join(", ")
                ));
            }
        }
        Ok(loaded)
    }

    fn one(&mut self, loaded: &mut Loaded, source: &Source) -> Result<(), LoadError> {
        let failed = |problem: String| LoadError::from_message(&source.file, &problem);
        let globals = loaded.sandbox.globals().map_err(|error| failed(text(&error)))?;
        let script = loaded.scripts.len();
        let chunk = compile(&loaded.sandbox, &globals, source).map_err(failed)?;
        let thread = loaded.sandbox.lua.create_thread(chunk).map_err(|error| failed(text(&error)))?;
        globals.enter_base().map_err(|error| failed(text(&error)))?;
        let mut answer: Vec<Value> = Vec::new();
        let mut left = self.limits.slice_max;
        loop {
            let turn = {
                let _turn = loaded.sandbox.turn.lock().unwrap_or_else(PoisonError::into_inner);
                loaded.sandbox.meter.start(left, self.limits.time_max);
                let turn = loaded.sandbox.go_on(&thread, mlua::Variadic::from_iter(answer));
                left = loaded.sandbox.meter.left();
                turn
            };
            match turn {
                Turn::Returned(_) => break,
                Turn::Failed(problem) => return Err(failed(problem)),
                Turn::Asks(number, values) => {
                    answer = match self.perform(loaded, &globals, script, (number, &values)) {
                        Ok(values) => std::iter::once(Value::Boolean(true)).chain(values).collect(),
                        Err(problem) => {
                            let problem = loaded.sandbox.lua.create_string(problem);
                            let problem = problem.map_err(|error| failed(text(&error)))?;
                            vec![Value::Boolean(false), Value::String(problem)]
                        }
                    };
                }
            }
        }
        loaded.scripts.push(globals);
        Ok(())
    }

    fn perform(
        &mut self,
        loaded: &mut Loaded,
        globals: &Globals,
        script: usize,
        (number, values): (usize, &[Value]),
    ) -> Outcome<Vec<Value>> {
        let function = function(number)?;
        let given = Arguments { function, values, accept: &loaded.sandbox.accept };
        match function.op {
            Op::Print => self.notes.push(printed(values)),
            Op::Log => self.notes.push(given.text(1)?),
            Op::AsyncOk => return Ok(vec![Value::Boolean(false)]),
            Op::Now | Op::Time | Op::Date => return Ok(vec![time(&loaded.sandbox.lua, &given, self.now_s)?]),
            Op::Require => {
                let name = given.text(0)?;
                self.required = self.required.saturating_add(1);
                if self.required > REQUIRED_MAX {
                    return Err(format!("more than {REQUIRED_MAX} modules"));
                }
                let Some(source) = self.library.module(&name)? else {
                    return Err(format!(
                        "module '{name}' not found; it is no package of msys and no file beside the scripts"
                    ));
                };
                return match compile(&loaded.sandbox, globals, &source) {
                    Ok(chunk) => Ok(vec![Value::Function(chunk)]),
                    Err(problem) => {
                        let problem =
                            loaded.sandbox.lua.create_string(problem).map_err(|error| text(&error))?;
                        Ok(vec![Value::Nil, Value::String(problem)])
                    }
                };
            }
            Op::RegisterModule => {
                let name = given.text(0)?;
                let Some(Value::Table(table)) = given.get(1) else { return Err(given.wrong(1, "table")) };
                if loaded.modules.iter().any(|module| module.name == name) {
                    return Err(format!(
                        "module '{name}' is registered twice; give one of them another name"
                    ));
                }
                let has = |callout: &Callout| {
                    matches!(table.raw_get::<Value>(callout.name()), Ok(Value::Function(_)))
                };
                let callouts: BTreeSet<Callout> = Callout::ALL.into_iter().filter(has).collect();
                if callouts.is_empty() {
                    self.notes
                        .push(format!("no usable methods found for module {name} in registerModule call"));
                }
                loaded.modules.push(Module { name, script, table: table.clone(), callouts });
            }
            Op::RegisterControl => {
                let control = self.control(&loaded.sandbox.lua, &loaded.controls, &given)?;
                loaded.controls.extend(control);
            }
            Op::Timer(_) | Op::TimerStart | Op::TimerStop => {
                loaded.timers.extend(timers::change(&loaded.sandbox.lua, &given).transpose()?);
            }
            _ => {
                return Err(format!(
                    "'{}' asks a node that may not be running yet; call it in init or in a callout",
                    function.name
                ));
            }
        }
        Ok(Vec::new())
    }

    /// A word that is taken is told of and stays with whom it has.
    fn control(&mut self, lua: &Lua, known: &[Control], given: &Arguments<'_>) -> Outcome<Option<Control>> {
        let word = given.text(0)?;
        let Some(Value::Function(function)) = given.get(1) else { return Err(given.wrong(1, "function")) };
        if !timers::is_of_a_script(lua, function) {
            return Err(given.bad(1, timers::OF_A_SCRIPT));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if word.is_empty() || word.len() > CONTROL_BYTES_MAX || !word.chars().all(is_word) {
            return Err(given.bad(
                0,
                &format!("expected 1 to {CONTROL_BYTES_MAX} letters, digits, '_', '-' and '.'; got '{word}'"),
            ));
        }
        let taken = if self.library.is_command(&word) {
            "the console has a command of this name"
        } else if known.iter().any(|control| control.word == word) {
            "it is registered already"
        } else {
            return Ok(Some(Control { word, function: function.clone() }));
        };
        self.notes.push(format!("{} \"{word}\" is refused: {taken}", given.function.name));
        Ok(None)
    }
}

fn compile(sandbox: &Sandbox, globals: &Globals, source: &Source) -> Outcome<Function> {
    if source.text.len() > SCRIPT_BYTES_MAX {
        return Err(format!(
            "{} bytes are too many for a script; at most {SCRIPT_BYTES_MAX}",
            source.text.len()
        ));
    }
    // A shell's first line is no Lua.
    let shell = source.text.starts_with('#');
    let text_of = if shell { format!("--{}", source.text) } else { source.text.clone() };
    sandbox
        .lua
        .load(text_of)
        .set_name(format!("@{}", source.file))
        .set_mode(ChunkMode::Text)
        .set_environment(globals.proxy.clone())
        .into_function()
        .map_err(|error| text(&error))
}

/// A program that runs may be dropped while another takes its place; executions hold it.
pub(crate) type Shared = Arc<Program>;
