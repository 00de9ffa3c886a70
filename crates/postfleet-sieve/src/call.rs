//! Functions.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use postfleet_datasource::{Params, Rows, Value as Cell};

use crate::compile::Call;
use crate::condition::path;
use crate::functions::{Fetch, Function, HashCall, Terminal, ThrottleCall};
use crate::number::Decimal;
use crate::run::{ErrorMode, Execution, Flow, Raised};
use crate::value::Value;
use postfleet_policy::Phase;
use postfleet_policy::{Assign, Fault};
use postfleet_policy::{
    Change, Class, Events, Host, Kind, Place, Request, Scope, SeriesRead, SeriesWrite, Spread, Windows,
};
use postfleet_policy::{Disposition, Reply, lifetime};

/// Characters of a line of `ec_log`; the rest is cut. The paniclog of the reference has this bound.
const LOG_CHARACTERS_MAX: usize = 1972;

/// Lines that `hash_dump` writes; more are left out.
const DUMP_LINES_MAX: usize = 1000;

/// How deep `hash_dump` follows hashes in hashes, which may be circles.
const DUMP_DEPTH_MAX: usize = 4;

/// The arguments of a call. What is not set reads as an empty string, what is absent is absent.
struct Arguments(Vec<Value>);

impl Arguments {
    fn value(&self, at: usize) -> &Value {
        const EMPTY: &Value = &Value::Text(String::new());
        self.0.get(at).unwrap_or(EMPTY)
    }

    fn text(&self, at: usize) -> Result<String, Fault> {
        let wrong = || Fault::new(format!("argument {} is a hash; expected a string", at.saturating_add(1)));
        self.value(at).text().ok_or_else(wrong)
    }

    fn optional(&self, at: usize) -> Result<Option<String>, Fault> {
        if at < self.0.len() { self.text(at).map(Some) } else { Ok(None) }
    }

    fn number(&self, at: usize) -> Result<u64, Fault> {
        number(&self.text(at)?)
    }

    fn strings(&self, at: usize) -> Result<Vec<String>, Fault> {
        let wrong = || Fault::new(format!("argument {} is a hash; expected strings", at.saturating_add(1)));
        self.value(at).strings().ok_or_else(wrong)
    }
}

fn number<N: TryFrom<u64>>(text: &str) -> Result<N, Fault> {
    let found = text.trim().parse::<u64>().ok().and_then(|number| N::try_from(number).ok());
    found.ok_or_else(|| Fault::new(format!("'{text}' is not a number, or is too large here")))
}

fn mask(text: Option<&str>) -> Result<Option<u8>, Fault> {
    let Some(text) = text else { return Ok(None) };
    match number::<u8>(text)? {
        bits @ 0..=128 => Ok(Some(bits)),
        bits => Err(Fault::new(format!("mask {bits} is longer than an address"))),
    }
}

fn windows(start: Option<&str>, end: Option<&str>) -> Result<Windows, Fault> {
    let start = start.map_or(Ok(0), number)?;
    let end = end.map_or(Ok(start), number)?;
    if end < start {
        return Err(Fault::new(format!("the last window, {end}, is before the first, {start}")));
    }
    Ok(Windows { start, end })
}

impl Execution {
    pub(crate) fn call(
        &mut self,
        host: &mut dyn Host,
        place: Place<'_>,
        phase: Phase,
        call: &Call,
    ) -> Result<Flow, Raised> {
        let mut values = Vec::new();
        for argument in &call.arguments {
            values.push(self.evaluate(host, argument)?.unwrap_or(Value::Text(String::new())));
        }
        let given = Arguments(values);
        match call.function {
            Function::Events(events) => Ok(text(self.events(host, events, &given)?)),
            Function::Series => Ok(text(self.series(host, &given)?)),
            Function::SeriesAdd => self.series_add(host, &given),
            Function::Service => {
                one(host.open_connections(Scope::Service(&given.text(0)?), &given.text(1)?)?)
            }
            Function::AllListeners => one(host.open_connections(Scope::Service("SMTP"), &given.text(0)?)?),
            Function::ThisListener => one(host.open_connections(Scope::ThisListener, &given.text(0)?)?),
            Function::Throttle(kind, what) => self.throttle(host, phase, (kind, what), &given),
            Function::GaugeInit => {
                let replicated = given.optional(3)?.map_or(Ok(0), |text| number::<u64>(&text))? != 0;
                host.gauge_init(&given.text(0)?, given.number(1)?, given.number(2)?, replicated)?;
                Ok(Flow::Nothing)
            }
            Function::GaugeChange(change) => {
                host.gauge_change(&given.text(0)?, &given.text(1)?, change)?;
                Ok(Flow::Nothing)
            }
            Function::Gauge => Ok(text(host.gauge(&given.text(0)?, &given.text(1)?)?)),
            Function::CacheRead => {
                Ok(text(host.cache(&given.text(0)?, &given.text(1)?)?.unwrap_or_default()))
            }
            Function::CacheWrite => {
                let ttl = lifetime(&given.text(3)?)?;
                host.cache_set(&given.text(0)?, &given.text(1)?, &given.text(2)?, ttl)?;
                Ok(Flow::Nothing)
            }
            Function::End(how) => Ok(Flow::End(terminal(host, place, how, &given)?)),
            Function::Tarpit => {
                let seconds = given.number(0)?;
                count(host, place, given.optional(1)?, Class::Informational);
                if !self.hold(phase, seconds.saturating_mul(1000)) {
                    host.log_error(place, "ec_tarpit: there is no session left to hold");
                }
                Ok(Flow::Nothing)
            }
            Function::Log => {
                let text: String = given.text(0)?.chars().take(LOG_CHARACTERS_MAX).collect();
                host.log(place, &text);
                Ok(Flow::Nothing)
            }
            Function::LogFile => {
                host.log_file(&given.text(0)?, &given.text(1)?)?;
                Ok(Flow::Nothing)
            }
            Function::SetBinding | Function::SetBindingGroup => {
                let name = given.text(0)?;
                let is_group = call.function == Function::SetBindingGroup;
                // A name that is not there has been told, and changes nothing.
                let _assigned =
                    host.assign(if is_group { Assign::Group(&name) } else { Assign::Binding(&name) });
                Ok(Flow::Nothing)
            }
            Function::Count => {
                host.count(&given.text(0)?, Class::Informational);
                Ok(Flow::Nothing)
            }
            Function::Include => {
                let script = self.included(phase, &given.text(0)?)?;
                if given.0.len() > 1 {
                    self.variables.insert("args".into(), Value::List(given.strings(1)?));
                }
                Ok(Flow::Include(script))
            }
            Function::ErrorMode => {
                self.mode = match given.text(0)?.as_str() {
                    "fail" => ErrorMode::Fail,
                    "continue" => ErrorMode::Continue,
                    mode => {
                        return Err(Fault::new(format!(
                            "error mode '{mode}'; expected \"fail\" or \"continue\""
                        ))
                        .into());
                    }
                };
                Ok(Flow::Nothing)
            }
            Function::HashCreate => Ok(Flow::Value(self.new_hash(BTreeMap::new())?)),
            Function::Hash(what) => self.hash_function(host, place, what, &given),
            Function::ContextRead(context) => {
                Ok(text(host.context(context, &given.text(0)?).unwrap_or_default()))
            }
            Function::ContextWrite(context) => {
                host.set_context(context, &given.text(0)?, Some(&given.text(1)?));
                Ok(Flow::Nothing)
            }
            Function::ContextDelete(context) => {
                host.set_context(context, &given.text(0)?, None);
                Ok(Flow::Nothing)
            }
            Function::Arithmetic(operator) => {
                let (a, b) = (Decimal::whole(&given.text(0)?)?, Decimal::whole(&given.text(1)?)?);
                Ok(text(a.apply(operator, b)?))
            }
            Function::Split => {
                let (delimiter, whole) = (given.text(0)?, given.text(1)?);
                if delimiter.is_empty() {
                    return Err(Fault::new("the delimiter is empty").into());
                }
                Ok(Flow::Value(Value::List(whole.split(delimiter.as_str()).map(Into::into).collect())))
            }
            Function::Join => Ok(text(given.strings(1)?.join(&given.text(0)?))),
            Function::Envelope => {
                let all = host.envelope(path(&given.text(0)?)?);
                let mut parts: Vec<String> = all.iter().map(|address| call.part.of(address).into()).collect();
                Ok(Flow::Value(if parts.len() > 1 {
                    Value::List(parts)
                } else {
                    Value::Text(parts.pop().unwrap_or_default())
                }))
            }
            Function::Query(fetch) => {
                let params = self.params(&given)?;
                let execute = fetch == Fetch::Execute;
                let request = Request::Query {
                    cache: given.text(0)?,
                    query: given.text(1)?,
                    params,
                    execute,
                    fresh: false,
                };
                Ok(Flow::Wait(request, Some(fetch)))
            }
        }
    }

    /// Adds to the hold; without a session there is nothing to hold, which the answer says.
    pub(crate) fn hold(&mut self, phase: Phase, ms: u64) -> bool {
        let holds = phase.holds_a_session();
        if holds {
            self.hold_ms = self.hold_ms.saturating_add(ms);
        }
        holds
    }

    fn hash(&self, value: &Value) -> Result<&BTreeMap<String, Value>, Fault> {
        if let Value::Hash(id) = value
            && let Some(hash) = self.hashes.get(id.0)
        {
            return Ok(hash);
        }
        Err(Fault::new(format!("expected a hash, found a {}", value.type_name())))
    }

    /// The hash of a call in hash form, which takes nothing else.
    fn form(&self, given: &Arguments) -> Result<Option<&BTreeMap<String, Value>>, Fault> {
        if !matches!(given.value(0), Value::Hash(_)) {
            return Ok(None);
        }
        if given.0.len() > 1 {
            return Err(Fault::new("nothing may follow the hash"));
        }
        self.hash(given.value(0)).map(Some)
    }

    fn events(&self, host: &mut dyn Host, events: Events, given: &Arguments) -> Result<u64, Fault> {
        if let Some(hash) = self.form(given)? {
            let key = |name: &str| field(hash, name);
            let windows = windows(key("period_start")?.as_deref(), key("period_end")?.as_deref())?;
            return host.events_sum(
                events,
                key("monitor")?.as_deref(),
                windows,
                mask(key("mask")?.as_deref())?,
            );
        }
        host.events_average(events, number(&given.text(0)?)?, mask(given.optional(1)?.as_deref())?)
    }

    fn series(&self, host: &mut dyn Host, given: &Arguments) -> Result<u64, Fault> {
        if let Some(hash) = self.form(given)? {
            let key = |name: &str| field(hash, name);
            let (series, monitor) = (required(hash, "series")?, required(hash, "monitor")?);
            let windows = windows(key("period_start")?.as_deref(), key("period_end")?.as_deref())?;
            let (mask, address) = (mask(key("mask")?.as_deref())?, key("ip")?);
            let address = address.as_deref();
            return host.series_sum(SeriesRead {
                series: &series,
                monitor: &monitor,
                windows,
                mask,
                address,
            });
        }
        if given.0.len() < 3 {
            return Err(Fault::new("expected a name, \"interval,number\" and a mask, or a hash"));
        }
        let windows = windows(given.optional(3)?.as_deref(), given.optional(4)?.as_deref())?;
        let (series, monitor, mask) = (given.text(0)?, given.text(1)?, mask(Some(&given.text(2)?))?);
        host.series_sum(SeriesRead { series: &series, monitor: &monitor, windows, mask, address: None })
    }

    fn series_add(&self, host: &mut dyn Host, given: &Arguments) -> Result<Flow, Raised> {
        let amount = |text: Option<String>| match text {
            None => Ok(1),
            Some(text) => {
                let wrong = |_| Fault::new(format!("'{text}' is not a whole number to add"));
                text.trim().parse::<i64>().map_err(wrong)
            }
        };
        if let Some(hash) = self.form(given)? {
            let spread = match field(hash, "replicate")?.as_deref().map(str::trim) {
                None | Some("0") => Spread::None,
                Some("1") => Spread::Cluster,
                Some("-1") => Spread::Managers,
                Some(other) => {
                    return Err(Fault::new(format!("replicate '{other}'; expected 1, 0 or -1")).into());
                }
            };
            let serialize = match field(hash, "serialize")?.as_deref().map(str::trim) {
                None | Some("0") => false,
                Some("1") => true,
                Some(other) => return Err(Fault::new(format!("serialize '{other}'; expected 1 or 0")).into()),
            };
            let (series, monitor) = (required(hash, "series")?, required(hash, "monitor")?);
            let (amount, address) = (amount(field(hash, "count")?)?, field(hash, "ip")?);
            let address = address.as_deref();
            let write =
                SeriesWrite { series: &series, monitor: &monitor, amount, spread, address, serialize };
            host.series_add(write)?;
            return Ok(Flow::Nothing);
        }
        if given.0.len() < 2 {
            return Err(Fault::new("expected a name and \"interval,number\", or a hash").into());
        }
        let (series, monitor, amount) = (given.text(0)?, given.text(1)?, amount(given.optional(2)?)?);
        let (spread, address, serialize) = (Spread::None, None, false);
        host.series_add(SeriesWrite {
            series: &series,
            monitor: &monitor,
            amount,
            spread,
            address,
            serialize,
        })?;
        Ok(Flow::Nothing)
    }

    fn throttle(
        &mut self,
        host: &mut dyn Host,
        phase: Phase,
        function: (Kind, ThrottleCall),
        given: &Arguments,
    ) -> Result<Flow, Raised> {
        let name = given.text(0)?;
        match function {
            (kind, ThrottleCall::Create) => {
                let epsilon = given.optional(2)?.unwrap_or_else(|| "0.95".into());
                let number =
                    epsilon.trim().parse::<f64>().ok().filter(|number| *number > 0.0 && *number < 1.0);
                let wrong = || Fault::new(format!("epsilon '{epsilon}'; expected a number between 0 and 1"));
                host.throttle_create(kind, &name, &given.text(1)?, number.ok_or_else(wrong)?)?;
            }
            (kind, ThrottleCall::Change(change)) => host.throttle_change(kind, &name, change)?,
            (kind, ThrottleCall::Check) => return Ok(text(host.throttle_exceeded(kind, &name)?)),
            (Kind::Local, ThrottleCall::Tarpit) => {
                let ms = host.throttle_tarpit(&name)?;
                self.hold(phase, ms);
            }
            // With no session to hold it counts, and there is nothing to wait for.
            (Kind::Shared, ThrottleCall::Tarpit) if !phase.holds_a_session() => {
                host.throttle_change(Kind::Shared, &name, Change::Increment)?;
            }
            (Kind::Shared, ThrottleCall::Tarpit) => {
                return Ok(Flow::Wait(Request::SharedTarpit { name }, None));
            }
        }
        Ok(Flow::Nothing)
    }

    fn hash_function(
        &mut self,
        host: &mut dyn Host,
        place: Place<'_>,
        function: HashCall,
        given: &Arguments,
    ) -> Result<Flow, Raised> {
        let hash = self.hash(given.value(0))?;
        Ok(match function {
            HashCall::Get => {
                let value = hash.get(&given.text(1)?).cloned();
                Flow::Value(value.unwrap_or(Value::Text(String::new())))
            }
            HashCall::Keys => Flow::Value(Value::List(hash.keys().cloned().collect())),
            HashCall::Values => {
                let texts = hash.values().filter_map(|value| match value {
                    Value::Text(text) => Some(text.clone()),
                    Value::Number(_) | Value::List(_) | Value::Hash(_) | Value::Tag(_) => None,
                });
                Flow::Value(Value::List(texts.collect()))
            }
            HashCall::Dump => {
                let mut lines = Vec::new();
                self.dump(given.value(0), "", 0, &mut lines);
                for line in lines {
                    host.log(place, &line);
                }
                Flow::Nothing
            }
            HashCall::Set => {
                let Value::Text(key) = given.value(1) else {
                    let found = given.value(1).type_name();
                    return Err(
                        Fault::new(format!("the key of a hash must be a string, found a {found}")).into()
                    );
                };
                let value = given.value(2).clone();
                self.spend(&Value::Text(key.clone()))?;
                self.spend(&value)?;
                if let Value::Hash(id) = given.value(0)
                    && let Some(hash) = self.hashes.get_mut(id.0)
                {
                    hash.insert(key.clone(), value);
                }
                Flow::Nothing
            }
        })
    }

    fn dump(&self, value: &Value, before: &str, depth: usize, lines: &mut Vec<String>) {
        let Ok(hash) = self.hash(value) else { return };
        for (key, value) in hash {
            if lines.len() >= DUMP_LINES_MAX {
                if lines.len() == DUMP_LINES_MAX {
                    lines.push("…".into());
                }
                return;
            }
            let path = format!("{before}{key}");
            match value.text() {
                Some(text) => {
                    lines.push(format!("{path} = {text}").chars().take(LOG_CHARACTERS_MAX).collect());
                }
                None if depth < DUMP_DEPTH_MAX => {
                    self.dump(value, &format!("{path}."), depth.saturating_add(1), lines);
                }
                None => lines.push(format!("{path} = (a hash)").chars().take(LOG_CHARACTERS_MAX).collect()),
            }
        }
    }

    fn params(&self, given: &Arguments) -> Result<Params, Fault> {
        Ok(match given.0.get(2) {
            None => Params::default(),
            Some(value @ Value::Hash(_)) => {
                let mut named = BTreeMap::new();
                for (name, value) in self.hash(value)? {
                    named.insert(name.clone(), cell(name, value)?);
                }
                Params::Named(named)
            }
            Some(_) => Params::Positional(given.strings(2)?.into_iter().map(Cell::Text).collect()),
        })
    }

    /// The answer to a query in the form that the function promises.
    pub(crate) fn rows(&mut self, fetch: Fetch, rows: &Rows) -> Result<Flow, Raised> {
        let first = rows.rows.first();
        Ok(match fetch {
            Fetch::Execute => Flow::Nothing,
            Fetch::First => {
                Flow::Value(Value::List(first.map(|row| row.iter().map(shown).collect()).unwrap_or_default()))
            }
            Fetch::Flat => Flow::Value(Value::List(rows.rows.iter().flatten().map(shown).collect())),
            Fetch::FirstNamed => {
                let named =
                    rows.columns.iter().cloned().zip(first.into_iter().flatten().map(shown).map(Value::Text));
                Flow::Value(self.new_hash(named.collect())?)
            }
        })
    }
}

fn terminal(
    host: &mut dyn Host,
    place: Place<'_>,
    function: Terminal,
    given: &Arguments,
) -> Result<Disposition, Fault> {
    Ok(match function {
        Terminal::Action | Terminal::Disconnect => {
            let reply = Reply::new(given.text(0)?.trim(), &given.text(1)?)?;
            count(host, place, given.optional(2)?, reply.class());
            if function == Terminal::Action {
                Disposition::Action(reply)
            } else {
                Disposition::Disconnect(reply)
            }
        }
        Terminal::Keep => {
            count(host, place, given.optional(0)?, Class::Informational);
            Disposition::Keep
        }
        Terminal::Discard => {
            let reason = given.optional(0)?;
            count(host, place, reason.clone(), Class::Informational);
            Disposition::Discard { reason }
        }
        Terminal::Reject => {
            let text = given.text(0)?;
            count(host, place, given.optional(1)?, Class::Permanent);
            Disposition::Reject { text }
        }
        Terminal::Redirect => {
            let address = given.text(0)?;
            let valid = address
                .rsplit_once('@')
                .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
            if !valid || address.chars().any(|c| c.is_control() || c == '<' || c == '>') {
                return Err(Fault::new(format!("'{address}' is not an address to redirect to")));
            }
            count(host, place, None, Class::Informational);
            Disposition::Redirect { address }
        }
        Terminal::Stop => Disposition::Stop,
    })
}

fn count(host: &mut dyn Host, place: Place<'_>, counter: Option<String>, class: Class) {
    let counter = counter.unwrap_or_else(|| format!("{}:{}", place.file, place.line));
    host.count(&counter, class);
}

fn text(value: impl ToString) -> Flow {
    Flow::Value(Value::Text(value.to_string()))
}

fn one(value: u64) -> Result<Flow, Raised> {
    Ok(Flow::Value(Value::List(alloc::vec![value.to_string()])))
}

fn field(hash: &BTreeMap<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    let wrong = || Fault::new(format!("'{name}' of the hash is a hash; expected a string"));
    hash.get(name).map(|value| value.text().ok_or_else(wrong)).transpose()
}

fn required(hash: &BTreeMap<String, Value>, name: &str) -> Result<String, Fault> {
    field(hash, name)?.ok_or_else(|| Fault::new(format!("the hash has no '{name}'")))
}

fn cell(name: &str, value: &Value) -> Result<Cell, Fault> {
    Ok(match value {
        Value::Text(text) | Value::Tag(text) => Cell::Text(text.clone()),
        Value::Number(number) => {
            i64::try_from(*number).map_or_else(|_| Cell::Text(number.to_string()), Cell::Integer)
        }
        Value::List(list) => Cell::List(list.clone()),
        Value::Hash(_) => return Err(Fault::new(format!("parameter '{name}' is a hash; expected a string"))),
    })
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Cell::List(list) => list.join(" "),
    }
}
