//! A run: the callouts of one moment, module after module, each a coroutine that stops where it must wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{Table, Thread, Value};
use postfleet_policy::{Answer, Disposition, Level, LuaHost, Nested, NestedStep, Outcome, Reply, Request};

use crate::call::{Caller, Done, Effects, Pending, function};
use crate::callout::Callout;
use crate::functions::{AGAIN, CONT, DONE, Op};
use crate::limits::OnError;
use crate::program::{Loaded, Program, Shared, Target};
use crate::sandbox::Turn;
use crate::timers;

/// How long a callout that has something pending is left alone, and how often.
const AGAIN_MS: u64 = 100;
const AGAIN_MAX: u32 = 600;

/// Instructions that a statement of another language is counted as: it does more than one.
const NESTED_COST: u64 = 20;

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It waits for an answer: give it to [`Execution::resume`], then step again.
    Wait(Request),
    /// The run has ended; stepping again says the same.
    Done(Ending),
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What is to be done.
    pub outcome: Outcome,
    /// Whether the other modules of the phase are left out.
    pub ends_phase: bool,
    /// Scripts that failed, and how; already logged.
    pub errors: Vec<String>,
    /// What a console command printed: lines.
    pub output: String,
}

/// What is done when the answer has come.
enum Waiting {
    /// The script goes on with it.
    Script(Pending),
    /// The script was paused and goes on with what it had asked for.
    Paused(Vec<Value>),
    /// The callout is called anew.
    Again,
    /// A script of another language goes on with it.
    Nested(Box<dyn Nested>),
}

/// One call under way.
struct Running {
    target: Target,
    thread: Thread,
    globals: Table,
    /// What the coroutine is resumed with; a `nil` in front of its arguments is the module itself.
    next: Vec<Value>,
    instructions: u64,
    computed: Duration,
    /// Instructions since the last wait.
    slice: u64,
    again: u32,
}

/// The run of one moment of a session. It owns its coroutines and nothing of the host.
pub struct Execution {
    program: Shared,
    interpreter: usize,
    callouts: Vec<Callout>,
    /// The text of the command that the moment is about.
    argument: String,
    /// The words of a console command.
    words: Vec<String>,
    /// What is still to be called, the last first; entries of the list of recipients one by one.
    queue: Vec<(Target, Callout, Option<String>)>,
    is_queued: bool,
    running: Option<(Running, Callout, Option<String>)>,
    waiting: Option<(Request, Waiting, Option<Answer>)>,
    effects: Effects,
    ends_phase: bool,
    errors: Vec<String>,
    ended: bool,
}

impl Execution {
    /// A run that has not begun. The argument is the text of the command that the moment is about, such as the address.
    #[must_use]
    pub fn new(program: &Arc<Program>, callouts: &[Callout], argument: &str) -> Self {
        Self::within(program, program.free(), callouts, argument)
    }

    /// The same in a certain interpreter, for what each of them has to be told.
    #[must_use]
    pub fn within(program: &Arc<Program>, interpreter: usize, callouts: &[Callout], argument: &str) -> Self {
        Self {
            program: Arc::clone(program),
            interpreter,
            callouts: callouts.to_vec(),
            argument: argument.to_owned(),
            words: Vec::new(),
            queue: Vec::new(),
            is_queued: false,
            running: None,
            waiting: None,
            effects: Effects::default(),
            ends_phase: false,
            errors: Vec::new(),
            ended: false,
        }
    }

    /// The run of a console command, if a script registered its first word. It runs in the first interpreter, so that all
    /// commands see the same variables.
    #[must_use]
    pub fn control(program: &Arc<Program>, words: &[String]) -> Option<Self> {
        let first = words.first()?;
        let control = program.loaded.first()?.controls.iter().find(|control| control.word == *first)?;
        let target = Target::Function(control.function.clone(), control.word.clone());
        let words = words.to_vec();
        Some(Self { words, ..Self::of_function(program, Callout::Control, target) })
    }

    /// The run of a timer that is due, if something still refers to the timer.
    #[must_use]
    pub fn timer(program: &Arc<Program>, number: u32) -> Option<Self> {
        let loaded = program.loaded.first()?;
        let _turn = loaded.turn();
        let (function, name) = timers::function(&loaded.sandbox.timer_of, number)?;
        Some(Self::of_function(program, Callout::Timer, Target::Function(function, name)))
    }

    fn of_function(program: &Arc<Program>, callout: Callout, target: Target) -> Self {
        let queue = vec![(target, callout, None)];
        Self { queue, is_queued: true, ..Self::within(program, 0, &[callout], "") }
    }

    /// Ends a run that waits and will get no answer.
    pub fn fail(&mut self, host: &mut dyn LuaHost, problem: &str) {
        let program = Arc::clone(&self.program);
        self.waiting = None;
        self.queue.clear();
        if let Some(loaded) = program.loaded.get(self.interpreter)
            && let Some((running, callout, _)) = self.running.take()
        {
            self.failed(host, loaded, &running.target, callout, problem);
        }
        self.ended = true;
    }

    /// Answers what the run waits for; without effect if it waits for nothing. The next [`Self::step`] goes on.
    pub fn resume(&mut self, answer: Answer) {
        if let Some((_, _, waiting)) = &mut self.waiting {
            *waiting = Some(answer);
        }
    }

    /// Runs until a script must wait or the run ends. While an answer is missing the same request is given again.
    pub fn step(&mut self, host: &mut dyn LuaHost) -> Step {
        let program = Arc::clone(&self.program);
        let Some(loaded) = program.loaded.get(self.interpreter) else { return self.done() };
        if !self.is_queued {
            self.is_queued = true;
            self.enqueue(host, loaded);
        }
        loop {
            if self.ended {
                return self.done();
            }
            match self.waiting.take() {
                Some((request, waiting, None)) => {
                    self.waiting = Some((request.clone(), waiting, None));
                    return Step::Wait(request);
                }
                Some((_, Waiting::Nested(mut nested), Some(answer))) => {
                    nested.resume(answer);
                    self.nested(host, loaded, nested);
                    continue;
                }
                Some((_, waiting, Some(answer))) => self.take_answer(loaded, waiting, answer),
                None => {}
            }
            let Some((running, callout, item)) = self.running.take() else {
                self.begin(host, loaded);
                continue;
            };
            self.go_on(host, loaded, running, callout, item);
        }
    }

    fn done(&self) -> Step {
        let disposition = self.effects.verdict.clone().unwrap_or(Disposition::End);
        let outcome = Outcome { disposition, hold_ms: self.effects.hold_ms };
        Step::Done(Ending {
            outcome,
            ends_phase: self.ends_phase,
            errors: self.errors.clone(),
            output: self.effects.output.clone(),
        })
    }

    /// Lists what is to be called, the last first: module after module, each with all callouts of the moment.
    fn enqueue(&mut self, host: &mut dyn LuaHost, loaded: &Loaded) {
        let mut queue = Vec::new();
        let modules = loaded.modules.len();
        for module in 0..modules {
            for callout in &self.callouts {
                if !loaded.with(*callout).any(|with| with == module) {
                    continue;
                }
                if *callout == Callout::RcpttoList {
                    let item = |item| (Target::Module(module), *callout, Some(item));
                    queue.extend(host.recipients().into_iter().map(item));
                } else {
                    queue.push((Target::Module(module), *callout, None));
                }
            }
        }
        queue.reverse();
        self.queue = queue;
    }

    fn begin(&mut self, host: &mut dyn LuaHost, loaded: &Loaded) {
        let Some((target, callout, item)) = self.queue.pop() else {
            self.ended = true;
            return;
        };
        match self.prepared(loaded, &target, callout, item.as_deref()) {
            Ok(running) => self.running = Some((running, callout, item)),
            Err(problem) => self.failed(host, loaded, &target, callout, &problem),
        }
    }

    fn prepared(
        &self,
        loaded: &Loaded,
        target: &Target,
        callout: Callout,
        item: Option<&str>,
    ) -> Result<Running, String> {
        let (thread, globals) = loaded.begin(target, callout)?;
        let sandbox = &loaded.sandbox;
        let string = |text: &str| {
            sandbox.lua.create_string(text).map(Value::String).map_err(|error| crate::error::text(&error))
        };
        let entry = |address: &str| {
            let table = sandbox.lua.create_table().map_err(|error| crate::error::text(&error))?;
            table.raw_set("address", address).map_err(|error| crate::error::text(&error))?;
            Ok::<_, String>(Value::Table(table))
        };
        let accept = || Value::Table(sandbox.accept.clone());
        let vctx = || Value::Table(sandbox.vctx.clone());
        let msg = || Value::Table(sandbox.msg.clone());
        let mut next: Vec<Value> = loaded.table(target).cloned().map(Value::Table).into_iter().collect();
        match callout {
            Callout::Init | Callout::Deinit | Callout::Dealloc | Callout::Timer => {}
            Callout::Control => next.push(command(loaded, &self.words)?),
            Callout::Connect => next.extend([accept(), vctx()]),
            Callout::Ehlo | Callout::Mailfrom => next.extend([string(&self.argument)?, accept(), vctx()]),
            Callout::Rcptto => next.extend([msg(), string(&self.argument)?, accept(), vctx()]),
            Callout::RcpttoList | Callout::RcpttoListFinal => {
                next.extend([entry(item.unwrap_or_default())?, vctx()]);
            }
            Callout::Data | Callout::Spool | Callout::EachRcpt => next.extend([msg(), accept(), vctx()]),
            Callout::SetBinding => next.push(msg()),
        }
        let computed = Duration::ZERO;
        let target = target.clone();
        Ok(Running { target, thread, globals, next, instructions: 0, computed, slice: 0, again: 0 })
    }

    fn take_answer(&mut self, loaded: &Loaded, waiting: Waiting, answer: Answer) {
        let Some((running, callout, item)) = &mut self.running else { return };
        running.slice = 0;
        match waiting {
            Waiting::Nested(_) => {}
            Waiting::Paused(values) => running.next = values,
            Waiting::Again => {
                let (target, callout, item) = (running.target.clone(), *callout, item.clone());
                let (instructions, computed, again) = (running.instructions, running.computed, running.again);
                // A callout that cannot be made anew ends as it would have without the wait.
                if let Ok(mut anew) = self.prepared(loaded, &target, callout, item.as_deref()) {
                    anew.instructions = instructions;
                    anew.computed = computed;
                    anew.again = again;
                    self.running = Some((anew, callout, item));
                } else {
                    self.running = None;
                }
            }
            Waiting::Script(pending) => {
                let mut caller =
                    Caller { sandbox: &loaded.sandbox, callout: *callout, effects: &mut self.effects };
                running.next = packed(loaded, caller.answered(pending, answer));
            }
        }
    }

    fn go_on(
        &mut self,
        host: &mut dyn LuaHost,
        loaded: &Loaded,
        mut running: Running,
        callout: Callout,
        item: Option<String>,
    ) {
        let limits = self.program.limits;
        let sandbox = &loaded.sandbox;
        let (turn, spent) = {
            let _turn = loaded.turn();
            let left = limits
                .call_max
                .saturating_sub(running.instructions)
                .min(limits.slice_max.saturating_sub(running.slice));
            let entered = loaded.enter(&running.target, &running.globals);
            let began = Instant::now();
            sandbox.meter.start(left, limits.time_max.saturating_sub(running.computed));
            let next = std::mem::take(&mut running.next);
            let turn = match entered {
                Ok(()) => sandbox.go_on(&running.thread, mlua::Variadic::from_iter(next)),
                Err(problem) => Turn::Failed(problem),
            };
            let used = left.saturating_sub(sandbox.meter.left());
            running.instructions = running.instructions.saturating_add(used);
            running.slice = running.slice.saturating_add(used);
            running.computed = running.computed.saturating_add(began.elapsed());
            sandbox.tidy();
            (turn, sandbox.meter.is_spent().then(|| sandbox.meter.place()))
        };
        match turn {
            Turn::Failed(problem) if spent.is_some() => {
                let problem = spent.flatten().unwrap_or(problem);
                let why = if running.computed >= limits.time_max {
                    format!("{} s of computing", limits.time_max.as_secs())
                } else {
                    let count = running.instructions;
                    format!("{count} instructions, {} of them without a wait", running.slice)
                };
                self.failed(host, loaded, &running.target, callout, &format!("{problem} ({why})"));
            }
            Turn::Failed(problem) => self.failed(host, loaded, &running.target, callout, &problem),
            Turn::Returned(values) => {
                sandbox.keep(running.thread.clone());
                self.returned(host, loaded, running, callout, item, &values);
            }
            Turn::Asks(number, values) => {
                let defines = function(number).is_ok_and(|function| function.op == Op::SeriesDefine);
                if defines
                    && callout != Callout::Init
                    && self.program.is_first_define(loaded, &running.target)
                {
                    let name = loaded.name(&running.target);
                    host.print(
                        Level::Notice,
                        &format!(
                            "{name} defines an audit series in {}; init is the place for it",
                            callout.moment()
                        ),
                    );
                }
                let mut caller = Caller { sandbox, callout, effects: &mut self.effects };
                match caller.perform(host, number, &values) {
                    Ok(Done::Nested(nested)) => {
                        self.running = Some((running, callout, item));
                        return self.nested(host, loaded, nested);
                    }
                    Ok(Done::Wait(request, pending)) => {
                        self.waiting = Some((request, Waiting::Script(pending), None));
                    }
                    other => {
                        let values = other.map(|done| match done {
                            Done::Values(values) => values,
                            Done::Wait(..) | Done::Nested(_) => Vec::new(),
                        });
                        let values = packed(loaded, values);
                        if running.slice > limits.slice_max / 2 {
                            self.waiting = Some((Request::Sleep { ms: 0 }, Waiting::Paused(values), None));
                        } else {
                            running.next = values;
                        }
                    }
                }
                self.running = Some((running, callout, item));
            }
        }
    }

    /// Lets a script of another language go on; the running one waits for its end.
    fn nested(&mut self, host: &mut dyn LuaHost, loaded: &Loaded, mut nested: Box<dyn Nested>) {
        let Some((running, callout, _)) = &mut self.running else { return };
        let (began, before) = (Instant::now(), nested.spent());
        let step = nested.step(host);
        running.computed = running.computed.saturating_add(began.elapsed());
        let used = nested.spent().saturating_sub(before).saturating_mul(NESTED_COST);
        running.instructions = running.instructions.saturating_add(used);
        running.slice = running.slice.saturating_add(used);
        match step {
            NestedStep::Wait(request) => {
                running.slice = 0;
                self.waiting = Some((request, Waiting::Nested(nested), None));
            }
            NestedStep::Done(outcome) => {
                let mut caller =
                    Caller { sandbox: &loaded.sandbox, callout: *callout, effects: &mut self.effects };
                let values = packed(loaded, caller.ended(outcome));
                if running.slice > self.program.limits.slice_max / 2 {
                    self.waiting = Some((Request::Sleep { ms: 0 }, Waiting::Paused(values), None));
                } else {
                    running.next = values;
                }
            }
        }
    }

    fn returned(
        &mut self,
        host: &mut dyn LuaHost,
        loaded: &Loaded,
        mut running: Running,
        callout: Callout,
        item: Option<String>,
        values: &[Value],
    ) {
        let first = values.first();
        if matches!(callout, Callout::Init | Callout::Deinit) {
            if !matches!(first, Some(Value::Boolean(true))) {
                let problem = format!("returned {}; expected true", shown(first));
                self.failed(host, loaded, &running.target, callout, &problem);
            }
            return;
        }
        if matches!(callout, Callout::Dealloc | Callout::Control | Callout::Timer) {
            return;
        }
        match first.and_then(Value::as_integer) {
            Some(CONT) => {}
            Some(DONE) => {
                self.ends_phase = true;
                self.queue.clear();
            }
            Some(AGAIN) if callout != Callout::SetBinding && running.again < AGAIN_MAX => {
                running.again = running.again.saturating_add(1);
                self.waiting = Some((Request::Sleep { ms: AGAIN_MS }, Waiting::Again, None));
                self.running = Some((running, callout, item));
            }
            Some(AGAIN) if callout != Callout::SetBinding => {
                let problem = format!("returned VALIDATE_AGAIN more than {AGAIN_MAX} times");
                self.failed(host, loaded, &running.target, callout, &problem);
            }
            _ => {
                let again = if callout == Callout::SetBinding { "" } else { ", VALIDATE_AGAIN" };
                let problem = format!(
                    "illegal return value {}; expected msys.core.VALIDATE_CONT, VALIDATE_DONE{again}",
                    shown(first)
                );
                self.failed(host, loaded, &running.target, callout, &problem);
            }
        }
    }

    fn failed(
        &mut self,
        host: &mut dyn LuaHost,
        loaded: &Loaded,
        target: &Target,
        callout: Callout,
        problem: &str,
    ) {
        let name = loaded.name(target);
        host.print(Level::Error, &format!("{} error: {problem}", callout.name()));
        host.print(Level::Error, &format!("{name} error: {problem}"));
        self.errors.push(format!("{name}: {}: {problem}", callout.name()));
        self.running = None;
        if self.program.on_error == OnError::Fail && callout.phase().is_some() {
            self.effects.verdict = Some(Disposition::Failed(Reply::policy_failure()));
            self.ends_phase = true;
            self.queue.clear();
        }
    }
}

/// What a console command gets: its words, the command itself first, and how many there are.
fn command(loaded: &Loaded, words: &[String]) -> Result<Value, String> {
    let made = || -> mlua::Result<Value> {
        let (command, list) = (loaded.sandbox.lua.create_table()?, loaded.sandbox.lua.create_table()?);
        for (at, word) in words.iter().enumerate() {
            list.raw_set(at, word.as_str())?;
        }
        command.raw_set("argc", words.len())?;
        command.raw_set("argv", list)?;
        Ok(Value::Table(command))
    };
    made().map_err(|error| crate::error::text(&error))
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Boolean(value)) => value.to_string(),
        Some(value) => crate::arguments::text_of(value).unwrap_or_else(|| value.type_name().to_owned()),
    }
}

/// What a coroutine is resumed with: whether it went well, then the values or what is wrong.
fn packed(loaded: &Loaded, values: Result<Vec<Value>, String>) -> Vec<Value> {
    match values {
        Ok(values) => std::iter::once(Value::Boolean(true)).chain(values).collect(),
        Err(problem) => {
            let problem = loaded.sandbox.lua.create_string(problem).map_or(Value::Nil, Value::String);
            vec![Value::Boolean(false), problem]
        }
    }
}
