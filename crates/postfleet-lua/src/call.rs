//! What scripts ask of the host.

use std::collections::BTreeMap;

use mlua::{Lua, Table, Value};
use postfleet_datasource::{Params, Rows, Value as Cell};
use postfleet_policy::{
    Answer, Assign, Change, Context, Disposition, Edit, Fault, Kind, Level, LuaHost, Nested, Path, Reply,
    Request, lifetime,
};

use crate::arguments::{Arguments, Outcome, text_of};
use crate::callout::Callout;
use crate::date::{Date, seconds};
use crate::functions::{End, FUNCTIONS, Fetch, Function, Keyed, Op, context, level};
use crate::sandbox::Sandbox;
use crate::series;
use crate::timers;

/// The longest that a script may sleep at a time.
const SLEEP_SECONDS_MAX: f64 = 300.0;

/// Bytes of a line that scripts print; the rest is cut.
const LINE_BYTES_MAX: usize = 4096;

/// Bytes that a console command may print.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What a call has done to the session so far.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) verdict: Option<Disposition>,
    pub(crate) hold_ms: u64,
    /// What a console command printed.
    pub(crate) output: String,
}

impl Effects {
    fn output(&mut self, line: &str) -> Outcome<()> {
        if self.output.len().saturating_add(line.len()) >= OUTPUT_BYTES_MAX {
            return Err(format!("the command printed more than {OUTPUT_BYTES_MAX} bytes"));
        }
        // Scripts print what clients sent; it does not reach a terminal as it is.
        for c in line.chars() {
            if c.is_control() && !matches!(c, '\n' | '\t') {
                self.output.extend(c.escape_default());
            } else {
                self.output.push(c);
            }
        }
        self.output.push('\n');
        Ok(())
    }
}

/// What is done with the answer to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pending {
    Query {
        fetch: Fetch,
        raises: bool,
    },
    /// The script gets the seconds that it was held for.
    Held(u64),
    SharedTarpit,
    Nothing,
}

pub(crate) enum Done {
    Values(Vec<Value>),
    Wait(Request, Pending),
    /// A script of another language runs first.
    Nested(Box<dyn Nested>),
}

impl Done {
    const NOTHING: Self = Self::Values(Vec::new());

    fn one(value: impl Into<Value>) -> Self {
        Self::Values(vec![value.into()])
    }
}

/// A call under way.
pub(crate) struct Caller<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) callout: Callout,
    pub(crate) effects: &'a mut Effects,
}

fn fault(fault: Fault) -> String {
    fault.0
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(crate) fn function(number: usize) -> Outcome<&'static Function> {
    FUNCTIONS.get(number).ok_or_else(|| "no such function".to_owned())
}

/// What `print` writes: the arguments with blanks between them.
pub(crate) fn printed(given: &[Value]) -> String {
    let shown = |value: &Value| {
        text_of(value).unwrap_or_else(|| match value {
            Value::Nil => "nil".to_owned(),
            Value::Boolean(value) => value.to_string(),
            other => other.type_name().to_owned(),
        })
    };
    let mut line = given.iter().map(shown).collect::<Vec<_>>().join(" ");
    if line.len() > LINE_BYTES_MAX {
        let cut = (0..=LINE_BYTES_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
    }
    line
}

impl Caller<'_> {
    fn lua(&self) -> &Lua {
        &self.sandbox.lua
    }

    pub(crate) fn perform(
        &mut self,
        host: &mut dyn LuaHost,
        number: usize,
        values: &[Value],
    ) -> Outcome<Done> {
        let function = function(number)?;
        let phase = self.callout.phase();
        if matches!(function.op, Op::RegisterModule | Op::RegisterControl | Op::Require) {
            return Err(format!(
                "{} belongs to the beginning of a script, outside of functions",
                function.name
            ));
        }
        let permitted = match (self.callout, function.op) {
            (callout, Op::Timer(_)) => callout == Callout::Init,
            (Callout::Control | Callout::Timer, _) => function.needs_no_session(),
            _ => function.is_permitted(phase),
        };
        if !permitted {
            let shown = function.phases.shown();
            let shown = if shown.is_empty() { "the beginning of a script" } else { &*shown };
            let places = if function.at_init { format!("init, {shown}") } else { shown.to_owned() };
            let moment = self.callout.moment();
            return Err(format!("'{}' is not permitted in {moment}; it is in {places}", function.name));
        }
        let given = Arguments { function, values, accept: &self.sandbox.accept };
        match function.op {
            Op::Events(event) => Ok(Done::one(integer(series::events(host, &given, event)?))),
            Op::SessionCount => Ok(Done::one(integer(series::session_count(host, &given, false)?))),
            Op::SessionCountOf => Ok(Done::one(integer(series::session_count(host, &given, true)?))),
            Op::SeriesDefine => series::define(host, &given).map(|()| Done::NOTHING),
            Op::SeriesAdd => series::add(host, &given).map(|()| Done::NOTHING),
            Op::SeriesCount => Ok(Done::one(integer(series::count(host, &given)?))),
            Op::SeriesRemove => series::remove(host, &given).map(|()| Done::NOTHING),
            Op::GaugeDefine
            | Op::GaugeChange(_)
            | Op::GaugeGet
            | Op::GaugeRemove
            | Op::CacheGet
            | Op::CacheSet
            | Op::CacheDelete => self.cache(host, &given),
            Op::ThrottleCreate(_) | Op::ThrottleChange(..) | Op::ThrottleCheck(_) | Op::ThrottleTarpit(_) => {
                self.throttle(host, &given)
            }
            Op::SetCode { .. } | Op::Tarpit | Op::Code | Op::Discard => self.decide(host, &given),
            Op::Vctx(_) | Op::Message(_) => self.context(host, &given),
            Op::RecipientList | Op::EditRecipients(_) | Op::Envelope(_) | Op::Peer(_) => {
                self.envelope(host, &given)
            }
            Op::Binding | Op::BindingGroup => self.binding(host, &given),
            Op::ExpandMacro => Ok(Done::one(self.string(&expand(host, &given.text(0)?)?)?)),
            Op::Now | Op::Time | Op::Date => time(self.lua(), &given, host.now_s()).map(Done::one),
            Op::Sleep => {
                let seconds = given.number(0)?;
                if !(0.0..=SLEEP_SECONDS_MAX).contains(&seconds) {
                    return Err(given.bad(0, &format!("expected seconds from 0 to {SLEEP_SECONDS_MAX}")));
                }
                Ok(Done::Wait(Request::Sleep { ms: milliseconds(seconds) }, Pending::Nothing))
            }
            Op::AsyncOk => Ok(Done::one(Value::Boolean(true))),
            Op::Print if self.callout == Callout::Control => {
                self.effects.output(&printed(values)).map(|()| Done::NOTHING)
            }
            Op::Print => {
                host.print(Level::Critical, &printed(values));
                Ok(Done::NOTHING)
            }
            Op::Log => {
                let name = given.text(0)?;
                let known = level(&name);
                let unknown = "expected debug, info, notice, warning, error or critical";
                let text = given.text(1)?;
                host.print(known.ok_or_else(|| given.bad(0, unknown))?, &printed(&[self.string(&text)?]));
                Ok(Done::NOTHING)
            }
            Op::Query(fetch) => query(&given, fetch),
            Op::Sieve => self.sieve(host, &given),
            Op::Timer(_) | Op::TimerStart | Op::TimerStop => {
                if let Some((number, change)) = timers::change(self.lua(), &given).transpose()? {
                    host.timer(number, change).map_err(fault)?;
                }
                Ok(Done::NOTHING)
            }
            Op::RegisterModule | Op::RegisterControl | Op::Require | Op::TimerName => Ok(Done::NOTHING),
        }
    }

    /// What does not run is told to the script, which may go on without it.
    fn sieve(&self, host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<Done> {
        let file = given.text(0)?;
        let phase = self.callout.phase().ok_or("there is no session here")?;
        if let Some(name) = given.optional_text(1)?
            && name != phase.name()
        {
            return Err(given.bad(1, &format!("expected {}, where the script is", phase.name())));
        }
        match host.sieve(phase, &file) {
            Ok(nested) => Ok(Done::Nested(nested)),
            Err(problem) => Ok(Done::Values(vec![Value::Boolean(false), self.string(&problem.0)?])),
        }
    }

    /// What a script of another language decided is decided by the script that began it.
    pub(crate) fn ended(&mut self, outcome: postfleet_policy::Outcome) -> Outcome<Vec<Value>> {
        self.effects.hold_ms = self.effects.hold_ms.saturating_add(outcome.hold_ms);
        match outcome.disposition {
            Disposition::End | Disposition::Keep | Disposition::Stop => {}
            Disposition::Failed(_) => {
                let problem = "the Sieve script ended with an error, which is in the log";
                return Ok(vec![Value::Boolean(false), self.string(problem)?]);
            }
            decided => self.effects.verdict = Some(decided),
        }
        Ok(vec![Value::Boolean(true)])
    }

    fn binding(&self, host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<Done> {
        let is_group = given.function.op == Op::BindingGroup;
        let binding = match given.optional_text(0)? {
            Some(name) => host.assign(if is_group { Assign::Group(&name) } else { Assign::Binding(&name) }),
            None => host.binding(),
        };
        Ok(match binding {
            Some(binding) => Done::one(self.string(if is_group { &binding.group } else { &binding.name })?),
            None => Done::one(Value::Nil),
        })
    }

    fn string(&self, text: &str) -> Outcome<Value> {
        self.lua().create_string(text).map(Value::String).map_err(|error| crate::error::text(&error))
    }

    fn cache(&mut self, host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<Done> {
        let name = given.text(0)?;
        match given.function.op {
            Op::GaugeDefine => {
                let (elements, ttl) = (given.count(1, 1)?, given.count(2, 0)?);
                let replicated = given.optional_boolean(3)?.unwrap_or(false);
                // The name of a replicated cache means that cache: nothing is to be made.
                if !host.has_cache(&name) {
                    host.gauge_init(&name, elements, ttl, replicated).map_err(fault)?;
                }
                Ok(Done::NOTHING)
            }
            Op::GaugeChange(change) => {
                let value = host.gauge_change(&name, &given.text(1)?, change).map_err(fault)?;
                Ok(Done::one(Value::Integer(value)))
            }
            Op::GaugeGet => {
                let key = given.text(1)?;
                match host.gauge(&name, &key) {
                    Ok(value) => Ok(Done::one(Value::Integer(value))),
                    Err(_) if host.has_cache(&name) => self.cached(host, &name, &key),
                    Err(error) => Err(error.0),
                }
            }
            Op::GaugeRemove => {
                host.gauge_remove(&name, &given.text(1)?).map_err(fault)?;
                Ok(Done::NOTHING)
            }
            Op::CacheGet => self.cached(host, &name, &given.text(1)?),
            Op::CacheSet => {
                let ttl = given.optional_text(3)?.map_or(Ok(None), |text| lifetime(&text)).map_err(fault)?;
                host.cache_set(&name, &given.text(1)?, &given.text(2)?, ttl).map_err(fault)?;
                Ok(Done::NOTHING)
            }
            _ => {
                host.cache_delete(&name, &given.text(1)?).map_err(fault)?;
                Ok(Done::NOTHING)
            }
        }
    }

    fn cached(&self, host: &mut dyn LuaHost, name: &str, key: &str) -> Outcome<Done> {
        Ok(match host.cache(name, key).map_err(fault)? {
            Some(value) => Done::one(self.string(&value)?),
            None => Done::one(Value::Nil),
        })
    }

    fn throttle(&mut self, host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<Done> {
        let name = given.text(0)?;
        let holds = self.callout.phase().is_some_and(postfleet_policy::Phase::holds_a_session);
        match given.function.op {
            Op::ThrottleCreate(kind) => {
                let epsilon = if given.get(2).is_some() { given.number(2)? } else { 0.95 };
                if epsilon <= 0.0 || epsilon >= 1.0 {
                    return Err(given.bad(2, "expected a number between 0 and 1"));
                }
                host.throttle_create(kind, &name, &given.text(1)?, epsilon).map_err(fault)?;
                Ok(Done::NOTHING)
            }
            Op::ThrottleChange(kind, change) => {
                host.throttle_change(kind, &name, change).map_err(fault)?;
                Ok(Done::NOTHING)
            }
            Op::ThrottleCheck(kind) => {
                Ok(Done::one(Value::Boolean(host.throttle_exceeded(kind, &name).map_err(fault)?)))
            }
            // With no session to hold it counts, and there is nothing to wait for.
            Op::ThrottleTarpit(kind) if !holds => {
                host.throttle_change(kind, &name, Change::Increment).map_err(fault)?;
                Ok(Done::one(Value::Integer(0)))
            }
            Op::ThrottleTarpit(Kind::Shared) => {
                Ok(Done::Wait(Request::SharedTarpit { name }, Pending::SharedTarpit))
            }
            _ => {
                let ms = host.throttle_tarpit(&name).map_err(fault)?;
                if ms == 0 {
                    return Ok(Done::one(Value::Integer(0)));
                }
                Ok(Done::Wait(Request::Sleep { ms }, Pending::Held(ms)))
            }
        }
    }

    fn decide(&mut self, host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<Done> {
        match given.function.op {
            Op::SetCode { closes } => {
                let reply = Reply::new(given.text(0)?.trim(), &given.text(1)?).map_err(fault)?;
                self.effects.verdict =
                    Some(if closes { Disposition::Disconnect(reply) } else { Disposition::Action(reply) });
            }
            Op::Tarpit => {
                let seconds = given.number(0)?;
                if seconds < 0.0 {
                    return Err(given.bad(0, "expected seconds from 0"));
                }
                if self.callout.phase().is_some_and(postfleet_policy::Phase::holds_a_session) {
                    self.effects.hold_ms = self.effects.hold_ms.saturating_add(milliseconds(seconds));
                } else {
                    host.print(Level::Warning, "vctx:tarpit: there is no session left to hold");
                }
            }
            Op::Discard => {
                let reason = given.optional_text(0)?;
                let is_code = |reason: &str| {
                    let code = reason.get(..3).unwrap_or_default();
                    let rest = reason.get(3..).unwrap_or_default();
                    (rest.is_empty() || rest.starts_with(' ')) && Reply::new(code, "").is_ok()
                };
                let reason = match reason {
                    None => "550 5.7.0 discarded by policy".to_owned(),
                    Some(reason) if is_code(&reason) => reason,
                    Some(_) => "550 5.7.1 [internal] discarded by policy".to_owned(),
                };
                self.effects.verdict = Some(Disposition::Discard { reason: Some(reason) });
            }
            _ if given.get(0).is_none() => {
                let decided = match &self.effects.verdict {
                    Some(Disposition::Action(reply) | Disposition::Disconnect(reply)) => Some(reply.clone()),
                    _ => host.decided(),
                };
                let Some(reply) = decided else { return Ok(Done::NOTHING) };
                let text = self.string(&reply.lines().join("\n"))?;
                return Ok(Done::Values(vec![Value::Integer(i64::from(reply.code())), text]));
            }
            _ => {
                let (code, text) = (given.text(0)?, given.text(1)?);
                let reply = if code.trim() == "0" {
                    let (code, rest) = text.split_once(' ').unwrap_or((text.as_str(), ""));
                    Reply::new(code, rest)
                } else {
                    Reply::new(code.trim(), &text)
                };
                self.effects.verdict = Some(Disposition::Action(reply.map_err(fault)?));
            }
        }
        Ok(Done::NOTHING)
    }

    fn context(&mut self, host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<Done> {
        let constant = given.count::<i64>(0, i64::MIN)?;
        let which = context(constant).ok_or_else(|| {
            given.bad(
                0,
                "expected msys.core.VCTX_CONN or VCTX_MESS, or msys.core.ECMESS_CTX_CONN or ECMESS_CTX_MESS",
            )
        })?;
        let key = given.text(1)?;
        let how = match given.function.op {
            Op::Vctx(how) | Op::Message(how) => how,
            _ => Keyed::Get,
        };
        let of_message = matches!(given.function.op, Op::Message(_));
        let flag = |is: bool| Value::Integer(i64::from(is));
        match how {
            Keyed::Set => {
                let value = match given.get(2) {
                    Some(Value::Boolean(value)) => value.to_string(),
                    _ => given.text(2)?,
                };
                host.set_context(which, &key, Some(&value));
                Ok(Done::NOTHING)
            }
            Keyed::Get => Ok(match host.context(which, &key) {
                Some(value) => Done::one(self.string(&value)?),
                None if of_message => Done::one(self.string("")?),
                None => Done::one(Value::Nil),
            }),
            Keyed::Exists => Ok(Done::one(flag(host.context(which, &key).is_some()))),
            Keyed::ExistsAndGet => Ok(match host.context(which, &key) {
                Some(value) => Done::Values(vec![flag(true), self.string(&value)?]),
                None => Done::Values(vec![flag(false), Value::Nil]),
            }),
            Keyed::Delete => {
                let existed = host.context(which, &key).is_some();
                host.set_context(which, &key, None);
                Ok(Done::one(flag(existed)))
            }
        }
    }

    fn envelope(&mut self, host: &mut dyn LuaHost, given: &Arguments<'_>) -> Outcome<Done> {
        match given.function.op {
            Op::RecipientList => {
                if given.get(0).is_some() {
                    host.edit_recipients(Edit::Replace, &given.addresses(0)?).map_err(fault)?;
                }
                let list = self.lua().create_sequence_from(host.recipients());
                list.map(|list| Done::one(Value::Table(list))).map_err(|error| crate::error::text(&error))
            }
            Op::EditRecipients(edit) => {
                host.edit_recipients(edit, &given.addresses(0)?).map_err(fault)?;
                Ok(Done::NOTHING)
            }
            Op::Peer(end) => {
                let flag = given.optional_text(0)?;
                let (client, listener) = host.peers().ok_or("the message came by no connection")?;
                let address = if end == End::Client { client } else { listener };
                let shown = match flag.as_deref() {
                    Some("ip") => address.ip().to_string(),
                    Some("port") => address.port().to_string(),
                    None | Some("all") => address.to_string(),
                    Some(_) => return Err(given.bad(0, "expected ip, port or all")),
                };
                Ok(Done::one(self.string(&shown)?))
            }
            op => {
                let path = if op == Op::Envelope(Path::From) { Path::From } else { Path::To };
                if let Some(address) = given.optional_text(0)? {
                    host.set_envelope(path, &address).map_err(fault)?;
                }
                let first = host.envelope(path).into_iter().next().unwrap_or_default();
                Ok(Done::one(self.string(&first)?))
            }
        }
    }

    /// What the script gets for the answer to its request.
    pub(crate) fn answered(&mut self, pending: Pending, answer: Answer) -> Outcome<Vec<Value>> {
        #[allow(clippy::cast_precision_loss, reason = "seconds of a hold are few")]
        let seconds = |ms: u64| Value::Number(ms as f64 / 1000.0);
        match (pending, answer) {
            (Pending::Nothing, _) => Ok(Vec::new()),
            (Pending::Query { fetch, raises: _ }, Answer::Rows(rows)) => {
                let made = match fetch {
                    Fetch::Execute => Ok(Value::Boolean(true)),
                    Fetch::First => match rows.rows.first() {
                        Some(row) => self.row(&rows, row).map(Value::Table),
                        None => Ok(Value::Nil),
                    },
                    Fetch::All => self.rows(&rows).map(Value::Table),
                };
                made.map(|value| vec![value]).map_err(|error| crate::error::text(&error))
            }
            (Pending::Query { fetch, raises: false }, Answer::Failed(fault)) => {
                let nothing = if fetch == Fetch::Execute { Value::Boolean(false) } else { Value::Nil };
                Ok(vec![nothing, self.string(&fault.0)?])
            }
            (_, Answer::Failed(fault)) => Err(fault.0),
            (Pending::Held(ms), _) => Ok(vec![seconds(ms)]),
            (Pending::SharedTarpit, Answer::HeldMs(ms)) => Ok(vec![seconds(ms)]),
            (Pending::SharedTarpit, Answer::HoldMs(ms)) => {
                self.effects.hold_ms = self.effects.hold_ms.saturating_add(ms);
                Ok(vec![seconds(ms)])
            }
            (Pending::Query { .. } | Pending::SharedTarpit, _) => {
                Err("the answer does not belong to what was asked".to_owned())
            }
        }
    }

    fn rows(&self, rows: &Rows) -> mlua::Result<Table> {
        let list = self.lua().create_table()?;
        for row in &rows.rows {
            list.raw_push(self.row(rows, row)?)?;
        }
        Ok(list)
    }

    fn row(&self, rows: &Rows, row: &[Cell]) -> mlua::Result<Table> {
        let lua = self.lua();
        let table = lua.create_table()?;
        for (at, cell) in row.iter().enumerate() {
            let value = match cell {
                Cell::Null => Value::Nil,
                Cell::Integer(number) => Value::Integer(*number),
                Cell::Real(number) => Value::Number(*number),
                Cell::Text(text) => Value::String(lua.create_string(text)?),
                Cell::Blob(bytes) => Value::String(lua.create_string(bytes)?),
                Cell::List(list) => Value::Table(lua.create_sequence_from(list.iter().map(String::as_str))?),
            };
            match rows.columns.get(at) {
                Some(name) => table.raw_set(name.as_str(), value)?,
                None => table.raw_set(at.saturating_add(1), value)?,
            }
        }
        Ok(table)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

fn cell(name: &str, value: &Value) -> Outcome<Cell> {
    Ok(match value {
        Value::Integer(number) => Cell::Integer(*number),
        Value::Number(number) => Cell::Real(*number),
        Value::Boolean(value) => Cell::Integer(i64::from(*value)),
        Value::String(text) => Cell::Text(text.to_string_lossy()),
        Value::Table(table) => {
            let items = table.sequence_values::<Value>();
            let texts = items.map(|item| item.ok().as_ref().and_then(text_of)).collect::<Option<Vec<_>>>();
            Cell::List(
                texts.ok_or_else(|| format!("parameter '{name}' is a table of other things than strings"))?,
            )
        }
        other => {
            return Err(format!(
                "parameter '{name}' is a {}; expected a string or a number",
                other.type_name()
            ));
        }
    })
}

fn query(given: &Arguments<'_>, fetch: Fetch) -> Outcome<Done> {
    let (cache, query) = (given.text(0)?, given.text(1)?);
    let params = match given.get(2) {
        None => Params::default(),
        Some(Value::Table(table)) => {
            let mut named = BTreeMap::new();
            let mut positional = BTreeMap::new();
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair.map_err(|error| crate::error::text(&error))?;
                match key {
                    Value::Integer(at) => {
                        positional.insert(at, cell(&at.to_string(), &value)?);
                    }
                    other => {
                        let name =
                            text_of(&other).ok_or_else(|| given.wrong(2, "table of strings and numbers"))?;
                        let value = cell(&name, &value)?;
                        named.insert(name, value);
                    }
                }
            }
            if !named.is_empty() && !positional.is_empty() {
                return Err(given.bad(2, "either numbers for ? or names for :name, not both"));
            }
            let is_sequence = positional.keys().copied().eq(1..=i64::try_from(positional.len()).unwrap_or(0));
            if !is_sequence {
                return Err(given.bad(2, "numbers for ? begin with 1 and leave none out"));
            }
            if named.is_empty() {
                Params::Positional(positional.into_values().collect())
            } else {
                Params::Named(named)
            }
        }
        Some(_) => return Err(given.wrong(2, "table")),
    };
    let options = given.options(3, &["nocache", "raise_error"])?;
    if options.is_none() && given.get(3).is_some() {
        return Err(given.wrong(3, "table"));
    }
    let (fresh, raises) = match &options {
        Some(options) => (options.boolean("nocache")?, options.boolean_or("raise_error", true)?),
        None => (false, true),
    };
    let execute = fetch == Fetch::Execute;
    Ok(Done::Wait(Request::Query { cache, query, params, execute, fresh }, Pending::Query { fetch, raises }))
}

/// `%{…}` in a text.
fn expand(host: &mut dyn LuaHost, text: &str) -> Outcome<String> {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("%{") {
        made.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("'%{{{after}' has no end; expected a closing brace"));
        };
        let value = match name.split_once(':') {
            Some(("vctx_conn", key)) => host.context(Context::Connection, key).unwrap_or_default(),
            Some(("vctx_mess", key)) => host.context(Context::Message, key).unwrap_or_default(),
            Some(_) => host.expand(name).map_err(fault)?,
            None => match host.context(Context::Message, name) {
                Some(value) => value,
                None => host.context(Context::Connection, name).unwrap_or_default(),
            },
        };
        made.push_str(&value);
        rest = after;
    }
    made.push_str(rest);
    Ok(made)
}

/// `os.time`, `os.date` and the seconds since 1970.
pub(crate) fn time(lua: &Lua, given: &Arguments<'_>, now_s: u64) -> Outcome<Value> {
    let now = i64::try_from(now_s).unwrap_or(i64::MAX);
    let failed = |error: mlua::Error| crate::error::text(&error);
    match given.function.op {
        Op::Time => {
            let Some(options) =
                given.options(0, &["year", "month", "day", "hour", "min", "sec", "isdst", "wday", "yday"])?
            else {
                return Ok(Value::Integer(now));
            };
            let field = |name: &str, default: Option<i64>| -> Outcome<i64> {
                let found = options.integer(name)?.or(default).filter(|number| number.abs() < 100_000_000);
                found.ok_or_else(|| format!("field '{name}' of the date is missing or out of range"))
            };
            let (year, month, day) = (field("year", None)?, field("month", None)?, field("day", None)?);
            let (hour, minute, second) =
                (field("hour", Some(12))?, field("min", Some(0))?, field("sec", Some(0))?);
            Ok(Value::Integer(seconds(year, month, day, hour, minute, second)))
        }
        Op::Date => {
            let format = given.optional_text(0)?.unwrap_or_else(|| "%c".to_owned());
            let at = if given.get(1).is_some() { given.count::<i64>(1, i64::MIN)? } else { now };
            if at.abs() > 100_000_000_000_000 {
                return Err(given.bad(1, "out of range"));
            }
            let date = Date::at(at);
            let format = format.strip_prefix('!').unwrap_or(&format);
            if format != "*t" {
                let text = date.format(format).map_err(|problem| given.bad(0, &problem))?;
                return lua.create_string(text).map(Value::String).map_err(failed);
            }
            let table = lua.create_table().map_err(failed)?;
            let fields = [
                ("year", date.year),
                ("month", date.month),
                ("day", date.day),
                ("hour", date.hour),
                ("min", date.minute),
                ("sec", date.second),
                ("wday", date.weekday.saturating_add(1)),
                ("yday", date.yearday),
            ];
            for (name, value) in fields {
                table.raw_set(name, value).map_err(failed)?;
            }
            table.raw_set("isdst", false).map_err(failed)?;
            Ok(Value::Table(table))
        }
        _ => Ok(Value::Integer(now)),
    }
}
