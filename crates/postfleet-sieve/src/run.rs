//! A run: steps of scripts against a host, which stops where it must wait and goes on from there.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::compile::{Code, Expression, Script};
use crate::functions::Fetch;
use crate::library::Library;
use crate::parser::Target;
use crate::template::{Piece, Template};
use crate::value::{HashId, Value};
use postfleet_policy::Fault;
use postfleet_policy::{Answer, Context, Host, Phase, Place, Request};
use postfleet_policy::{Disposition, Nested, NestedStep, Outcome, Reply};

/// What becomes of a run after a runtime error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorMode {
    /// The script ends and the command is refused.
    Fail,
    /// The statement is skipped; its result is empty.
    Continue,
}

/// Bounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Statements and single comparisons. Reaching it ends the script, also where errors are skipped.
    pub instructions_max: u64,
    /// Bytes of one string or list. More is a runtime error.
    pub value_bytes_max: usize,
    /// Bytes of all values that a run makes. Reaching it ends the script, also where errors are skipped.
    pub total_bytes_max: usize,
    /// Scripts within scripts. More is a runtime error.
    pub includes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instructions_max: 100_000,
            value_bytes_max: 1 << 20,
            total_bytes_max: 64 << 20,
            includes_max: 16,
        }
    }
}

/// Errors of a run that are logged where they are skipped; the one that ends it is logged in any case.
const ERRORS_TOLD_MAX: u32 = 20;

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The script waits for an answer: give it to [`Execution::resume`], then step again.
    Wait(Request),
    /// The run has ended; stepping again says the same.
    Done(Outcome),
}

impl Nested for Execution {
    fn step(&mut self, host: &mut dyn Host) -> NestedStep {
        match Self::step(self, host) {
            Step::Wait(request) => NestedStep::Wait(request),
            Step::Done(outcome) => NestedStep::Done(outcome),
        }
    }

    fn resume(&mut self, answer: Answer) {
        Self::resume(self, answer);
    }

    fn spent(&self) -> u64 {
        self.instructions
    }
}

/// A runtime error; a final one ends the run, also where errors are skipped: nobody is refused for it then.
pub(crate) struct Raised {
    pub(crate) fault: Fault,
    pub(crate) is_final: bool,
}

impl From<Fault> for Raised {
    fn from(fault: Fault) -> Self {
        Self { fault, is_final: false }
    }
}

/// What a call leads to.
pub(crate) enum Flow {
    Nothing,
    Value(Value),
    End(Disposition),
    Wait(Request, Option<Fetch>),
    Include(Arc<Script>),
}

struct Frame {
    script: Arc<Script>,
    at: usize,
}

struct Waiting {
    request: Request,
    fetch: Option<Fetch>,
    target: Option<Target>,
    script: Arc<Script>,
    line: u32,
    answer: Option<Answer>,
}

/// One run of a script. It owns its variables and nothing of the host.
pub struct Execution {
    frames: Vec<Frame>,
    pub(crate) variables: BTreeMap<String, Value>,
    pub(crate) hashes: Vec<BTreeMap<String, Value>>,
    pub(crate) mode: ErrorMode,
    pub(crate) hold_ms: u64,
    limits: Limits,
    instructions: u64,
    bytes: usize,
    /// Errors so far.
    errors: u32,
    waiting: Option<Waiting>,
    outcome: Option<Outcome>,
    library: Option<Arc<dyn Library>>,
}

impl Execution {
    /// A run that has not begun.
    #[must_use]
    pub fn new(script: &Arc<Script>, mode: ErrorMode, limits: Limits) -> Self {
        Self {
            frames: alloc::vec![Frame { script: Arc::clone(script), at: 0 }],
            variables: BTreeMap::new(),
            hashes: Vec::new(),
            mode,
            hold_ms: 0,
            limits,
            instructions: 0,
            bytes: 0,
            errors: 0,
            waiting: None,
            outcome: None,
            library: None,
        }
    }

    /// The same run with scripts that it may include.
    #[must_use]
    pub fn with_library(mut self, library: Arc<dyn Library>) -> Self {
        self.library = Some(library);
        self
    }

    pub(crate) fn included(&self, phase: Phase, uri: &str) -> Result<Arc<Script>, Fault> {
        let none = || Fault::new(format!("no script '{uri}'; nothing can be included here"));
        self.library.as_ref().ok_or_else(none)?.script(phase, uri)
    }

    /// Answers what the run waits for; without effect if it waits for nothing. The next [`Self::step`] goes on.
    pub fn resume(&mut self, answer: Answer) {
        if let Some(waiting) = &mut self.waiting {
            waiting.answer = Some(answer);
        }
    }

    /// Runs until the script must wait or ends. While an answer is missing the same request is given again.
    pub fn step(&mut self, host: &mut dyn Host) -> Step {
        loop {
            if let Some(outcome) = &self.outcome {
                return Step::Done(outcome.clone());
            }
            if let Some(waiting) = self.waiting.take() {
                let Some(answer) = waiting.answer.clone() else {
                    let request = waiting.request.clone();
                    self.waiting = Some(waiting);
                    return Step::Wait(request);
                };
                self.take_answer(host, &waiting, answer);
                continue;
            }
            let Some(frame) = self.frames.last_mut() else {
                self.end(Disposition::End);
                continue;
            };
            let script = Arc::clone(&frame.script);
            let at = frame.at;
            frame.at = at.saturating_add(1);
            match script.steps.get(at) {
                Some(step) => self.one(host, &script, step.line, &step.code),
                None => {
                    self.frames.pop();
                }
            }
        }
    }

    fn end(&mut self, disposition: Disposition) {
        self.outcome = Some(Outcome { disposition, hold_ms: self.hold_ms });
    }

    fn jump(&mut self, at: usize) {
        if let Some(frame) = self.frames.last_mut() {
            frame.at = at;
        }
    }

    fn one(&mut self, host: &mut dyn Host, script: &Arc<Script>, line: u32, code: &Code) {
        let place = Place { file: &script.file, line };
        if let Err(raised) = self.spend_instructions(1) {
            return self.raise(host, place, &raised);
        }
        match code {
            Code::Jump(to) => self.jump(*to),
            Code::Unless { condition, otherwise, end } => match self.holds(host, condition) {
                Ok(true) => {}
                Ok(false) => self.jump(*otherwise),
                Err(raised) => {
                    self.jump(*end);
                    self.raise(host, place, &raised);
                }
            },
            Code::Assign { target, value } => {
                let value =
                    self.evaluate(host, value).map(|value| value.unwrap_or(Value::Text(String::new())));
                self.settle(host, place, Some(target), value.map(Flow::Value), script);
            }
            Code::Call { target, call } => {
                let flow = self.call(host, place, script.phase, call);
                self.settle(host, place, target.as_ref(), flow, script);
            }
        }
    }

    fn settle(
        &mut self,
        host: &mut dyn Host,
        place: Place<'_>,
        target: Option<&Target>,
        flow: Result<Flow, Raised>,
        script: &Arc<Script>,
    ) {
        match flow {
            Ok(Flow::Nothing) => {}
            Ok(Flow::Value(value)) => {
                if let Err(raised) = self.assign(target, value) {
                    self.empty(target);
                    self.raise(host, place, &raised);
                }
            }
            Ok(Flow::End(disposition)) => self.end(disposition),
            Ok(Flow::Wait(request, fetch)) => {
                let (target, script, line) = (target.cloned(), Arc::clone(script), place.line);
                self.waiting = Some(Waiting { request, fetch, target, script, line, answer: None });
            }
            Ok(Flow::Include(included)) => {
                if self.frames.len() > self.limits.includes_max {
                    let text = format!("more than {} scripts within scripts", self.limits.includes_max);
                    self.raise(host, place, &Fault::new(text).into());
                } else if included.phase == script.phase {
                    self.frames.push(Frame { script: included, at: 0 });
                } else {
                    let (found, phase) = (included.phase.name(), script.phase.name());
                    let text = format!("'{}' was compiled for {found}, not for {phase}", included.file);
                    self.raise(host, place, &Fault::new(text).into());
                }
            }
            Err(raised) => {
                self.empty(target);
                self.raise(host, place, &raised);
            }
        }
    }

    fn take_answer(&mut self, host: &mut dyn Host, waiting: &Waiting, answer: Answer) {
        let place = Place { file: &waiting.script.file, line: waiting.line };
        let flow = match (waiting.fetch, answer) {
            (Some(fetch), Answer::Rows(rows)) => {
                host.set_context(Context::Connection, "datasource_error", None);
                self.rows(fetch, &rows)
            }
            (Some(_), Answer::Failed(fault)) => {
                // The script is expected to look at the key: a database that is away is not an error of the script.
                host.set_context(Context::Connection, "datasource_error", Some(&fault.0));
                host.log_error(place, &fault.0);
                self.empty(waiting.target.as_ref());
                Ok(Flow::Nothing)
            }
            (None, Answer::HoldMs(hold)) => {
                self.hold(waiting.script.phase, hold);
                Ok(Flow::Nothing)
            }
            (None, Answer::Failed(fault)) => Err(fault.into()),
            (None, Answer::HeldMs(_)) => Ok(Flow::Nothing),
            (_, Answer::Slept)
            | (Some(_), Answer::HoldMs(_) | Answer::HeldMs(_))
            | (None, Answer::Rows(_)) => {
                Err(Fault::new("the answer does not belong to what was asked").into())
            }
        };
        self.settle(host, place, waiting.target.as_ref(), flow, &waiting.script);
    }

    fn raise(&mut self, host: &mut dyn Host, place: Place<'_>, raised: &Raised) {
        self.errors = self.errors.saturating_add(1);
        if raised.is_final || self.errors <= ERRORS_TOLD_MAX {
            host.log_error(place, &raised.fault.0);
            if self.errors == ERRORS_TOLD_MAX && self.mode == ErrorMode::Continue {
                host.log_error(place, "further errors of this run are not logged");
            }
        }
        match self.mode {
            ErrorMode::Fail => self.end(Disposition::Failed(Reply::policy_failure())),
            ErrorMode::Continue if raised.is_final => self.end(Disposition::End),
            ErrorMode::Continue => {}
        }
    }

    fn empty(&mut self, target: Option<&Target>) {
        let names = match target {
            None => return,
            Some(Target::One(name)) => core::slice::from_ref(name),
            Some(Target::Spread(names)) => names.as_slice(),
        };
        for name in names {
            self.variables.insert(name.clone(), Value::Text(String::new()));
        }
    }

    fn assign(&mut self, target: Option<&Target>, value: Value) -> Result<(), Raised> {
        self.spend(&value)?;
        match target {
            None => {}
            Some(Target::One(name)) => {
                self.variables.insert(name.clone(), value);
            }
            Some(Target::Spread(names)) => {
                let mut values = match value {
                    Value::List(list) => list.into_iter().map(Value::Text).collect(),
                    Value::Text(_) | Value::Number(_) | Value::Hash(_) | Value::Tag(_) => alloc::vec![value],
                }
                .into_iter();
                for name in names {
                    let value = values.next().unwrap_or(Value::Text(String::new()));
                    self.variables.insert(name.clone(), value);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn spend_instructions(&mut self, count: u64) -> Result<(), Raised> {
        self.instructions = self.instructions.saturating_add(count);
        if self.instructions <= self.limits.instructions_max {
            return Ok(());
        }
        let text = format!("the script took more than {} steps", self.limits.instructions_max);
        Err(Raised { fault: Fault::new(text), is_final: true })
    }

    /// Every value that is made is paid for, so that a run has a bound whatever it does with them.
    pub(crate) fn spend(&mut self, value: &Value) -> Result<(), Raised> {
        self.spend_bytes(value.size())
    }

    fn spend_bytes(&mut self, size: usize) -> Result<(), Raised> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.total_bytes_max {
            let text = format!("the script made values of more than {} bytes", self.limits.total_bytes_max);
            return Err(Raised { fault: Fault::new(text), is_final: true });
        }
        if size > self.limits.value_bytes_max {
            let text = format!("a value of {size} bytes; at most {} are kept", self.limits.value_bytes_max);
            return Err(Fault::new(text).into());
        }
        Ok(())
    }

    pub(crate) fn new_hash(&mut self, hash: BTreeMap<String, Value>) -> Result<Value, Raised> {
        for (key, value) in &hash {
            self.spend_bytes(key.len().saturating_add(value.size()))?;
        }
        self.spend_bytes(64)?;
        self.hashes.push(hash);
        Ok(Value::Hash(HashId(self.hashes.len().saturating_sub(1))))
    }

    /// The value of an expression; `None` for a variable or an element that is not set.
    pub(crate) fn evaluate(
        &mut self,
        host: &mut dyn Host,
        expression: &Expression,
    ) -> Result<Option<Value>, Raised> {
        let value = match expression {
            Expression::Text(template) => Value::Text(self.fill(host, template)?),
            Expression::Number(number) => Value::Number(*number),
            Expression::Tag(name) => Value::Tag(name.clone()),
            Expression::List(list) => {
                let mut texts = Vec::new();
                for template in list {
                    texts.push(self.fill(host, template)?);
                }
                Value::List(texts)
            }
            Expression::Variable { name, index: None } => match self.variables.get(name) {
                Some(value) => value.clone(),
                None => return Ok(None),
            },
            Expression::Variable { name, index: Some(index) } => {
                let index = self.evaluate(host, index)?.unwrap_or(Value::Number(0));
                match self.element(name, &index)? {
                    Some(value) => value,
                    None => return Ok(None),
                }
            }
        };
        self.spend(&value)?;
        Ok(Some(value))
    }

    fn element(&self, name: &str, index: &Value) -> Result<Option<Value>, Raised> {
        let text = index.text().unwrap_or_default();
        match self.variables.get(name) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(self.hashes.get(hash.0).and_then(|hash| hash.get(&text)).cloned()),
            Some(Value::List(list)) => match text.parse::<usize>() {
                Ok(at) => Ok(list.get(at).cloned().map(Value::Text)),
                Err(_) => {
                    Err(Fault::new(format!("'${name}' is a list; '{text}' is not a position in it")).into())
                }
            },
            // A statement that was skipped leaves an empty string where a list or hash was expected.
            Some(Value::Text(text)) if text.is_empty() => Ok(None),
            Some(value @ (Value::Text(_) | Value::Number(_) | Value::Tag(_))) => {
                let kind = value.type_name();
                Err(Fault::new(format!("'${name}' is a {kind}; only lists and hashes have elements")).into())
            }
        }
    }

    pub(crate) fn fill(&mut self, host: &mut dyn Host, template: &Template) -> Result<String, Raised> {
        let mut text = String::new();
        for piece in &template.0 {
            let filled = match piece {
                Piece::Text(literal) => {
                    text.push_str(literal);
                    continue;
                }
                Piece::Variable(name) => match self.variables.get(name) {
                    None => continue,
                    Some(value) => value.text().ok_or_else(|| {
                        Fault::new(format!("'${name}' is a hash; name an element of it in a string"))
                    })?,
                },
                Piece::Context(Some(context), key) => host.context(*context, key).unwrap_or_default(),
                Piece::Context(None, key) => either_context(host, key).unwrap_or_default(),
                Piece::Macro(name) => host.expand(name)?,
            };
            text.push_str(&filled);
            if text.len() > self.limits.value_bytes_max {
                self.spend_bytes(text.len())?;
            }
        }
        Ok(text)
    }
}

/// The message's value, otherwise the connection's.
pub(crate) fn either_context(host: &mut dyn Host, key: &str) -> Option<String> {
    host.context(Context::Message, key).or_else(|| host.context(Context::Connection, key))
}
