//! A host in memory: one client, a fleet of nodes on which it can be, a clock that the caller moves, and small versions of
//! what nodes keep. For tests, fuzzers, and trying scripts on recorded sessions.

mod counts;
mod keys;
mod lua;
mod objects;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use postfleet_datasource::Rows;
use postfleet_types::Prefix;

use crate::binding::{Assign, Binding};
use crate::fault::Fault;
use crate::host::{Answer, Change, Class, Context, Event, Events, Host, Kind, Path, Place, Request};
use crate::host::{Scope, SeriesRead, SeriesWrite, Spread, Windows};
use crate::lua::{Level, Nested, TimerChange};
use crate::message::Message;
use crate::outcome::Reply;
use crate::phase::Phase;
use crate::spf::spf;

pub use counts::Monitor;
use counts::{Columns, Named};
pub use keys::Cache;
use keys::Gauge;
use objects::Throttle;

/// An object that a script used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// Whether it was changed.
    pub writes: bool,
    /// Its name.
    pub object: String,
}

/// Begins a run of a file.
pub type Sieves = fn(Phase, &str) -> Result<Box<dyn Nested>, Fault>;

/// See the module.
pub struct Model {
    /// The clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// On which node the client is.
    pub node: usize,
    /// The moment, for what depends on it.
    pub phase: Option<Phase>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Its port.
    pub client_port: u16,
    /// Our end of its connection.
    pub listener: SocketAddr,
    /// The connection's context.
    pub connection: BTreeMap<String, String>,
    /// The message's context.
    pub message: BTreeMap<String, String>,
    /// What scripts logged.
    pub logged: Vec<String>,
    /// What scripts asked for their timers.
    pub timers: Vec<(u32, TimerChange)>,
    /// What Lua printed.
    pub printed: Vec<(Level, String)>,
    /// What went wrong, with its place.
    pub errors: Vec<String>,
    /// What was appended to files.
    pub files: Vec<(String, String)>,
    /// Statistics.
    pub counters: BTreeMap<(String, Class), u64>,
    /// The monitors of the configuration.
    pub monitors: Vec<Monitor>,
    /// Words that the metrics replicate, and `inbound_cidr`.
    pub replicated: BTreeSet<String>,
    /// What is told once for each reload.
    pub warnings: BTreeSet<String>,
    /// Open connections by node.
    pub open: Vec<(usize, IpAddr)>,
    /// Replicated caches.
    pub caches: BTreeMap<String, Cache>,
    /// The message's header fields; none if there is no message.
    pub headers: Option<Vec<(String, String)>>,
    /// The text of the message behind the fields.
    pub body: String,
    /// The name that the client gave.
    pub helo: String,
    /// The sender.
    pub from: Vec<String>,
    /// The recipients.
    pub to: Vec<String>,
    /// In a phase for one recipient, this one.
    pub recipient: Option<String>,
    /// What modules before this one decided.
    pub decided: Option<Reply>,
    /// The bindings there are.
    pub bindings: Vec<Binding>,
    /// Who the copy at hand is assigned to.
    pub binding: Option<Binding>,
    /// How scripts of the other language are had.
    pub sieves: Option<Sieves>,
    /// What databases answer.
    pub rows: Result<Rows, Fault>,
    /// What runs waited for.
    pub asked: Vec<Request>,
    /// What was used.
    pub touched: BTreeSet<Touch>,
    events: BTreeMap<&'static str, Columns<IpAddr>>,
    series: BTreeMap<(String, String), (Monitor, Spread, Columns<IpAddr>)>,
    named: BTreeMap<String, Named>,
    throttles: BTreeMap<(bool, String), Throttle>,
    gauges: BTreeMap<String, Gauge>,
}

impl Default for Model {
    fn default() -> Self {
        let words = ["connect", "reception", "rejection", "audit_series", "gauge_cache", "inbound_cidr"];
        Self {
            now_ms: 0,
            node: 0,
            phase: None,
            client: Some(IpAddr::from([192, 0, 2, 10])),
            client_port: 50_000,
            listener: SocketAddr::from(([192, 0, 2, 1], 25)),
            connection: BTreeMap::new(),
            message: BTreeMap::new(),
            logged: Vec::new(),
            timers: Vec::new(),
            printed: Vec::new(),
            errors: Vec::new(),
            files: Vec::new(),
            counters: BTreeMap::new(),
            monitors: ["300,6", "1800,4"].into_iter().filter_map(Monitor::parse).collect(),
            replicated: words.map(Into::into).into(),
            warnings: BTreeSet::new(),
            open: Vec::new(),
            caches: BTreeMap::from([("mycache".into(), Cache::default())]),
            headers: None,
            body: String::new(),
            helo: String::new(),
            from: Vec::new(),
            to: Vec::new(),
            recipient: None,
            bindings: Vec::new(),
            binding: None,
            decided: None,
            sieves: None,
            rows: Ok(Rows::default()),
            asked: Vec::new(),
            touched: BTreeSet::new(),
            events: BTreeMap::new(),
            series: BTreeMap::new(),
            named: BTreeMap::new(),
            throttles: BTreeMap::new(),
            gauges: BTreeMap::new(),
        }
    }
}

const fn word(event: Event) -> &'static str {
    match event {
        Event::Connection => "connect",
        Event::Reception => "reception",
        Event::Rejection => "rejection",
    }
}

impl Model {
    /// Something happened on the client's node at the present time.
    pub fn happened(&mut self, event: Event, address: IpAddr, count: i64) {
        let (now_s, node) = (self.now_s(), self.node);
        self.events.entry(word(event)).or_default().add(node, now_s, address, count);
    }

    /// The client's node fails: what it counted is gone for all.
    pub fn forget_node(&mut self, node: usize) {
        self.open.retain(|(on, _)| *on != node);
        for columns in self.events.values_mut() {
            columns.forget(node);
        }
        for (_, _, columns) in self.series.values_mut() {
            columns.forget(node);
        }
        for named in self.named.values_mut() {
            named.forget(node);
        }
        // Gauge caches keep what a departed node counted: they forget by time alone.
    }

    /// Answers what a run waits for.
    pub fn answer(&mut self, request: Request) -> Answer {
        let answer = match &request {
            Request::Query { cache, execute, .. } => {
                self.touch(*execute, format!("Datasource {cache}"));
                self.rows.clone().map_or_else(Answer::Failed, Answer::Rows)
            }
            Request::SharedTarpit { name } => {
                self.touch(true, format!("shared_named_throttles {name}"));
                self.count_and_wait(true, name).map_or_else(Answer::Failed, Answer::HoldMs)
            }
            Request::Sleep { ms } => {
                self.now_ms = self.now_ms.saturating_add(*ms);
                Answer::Slept
            }
        };
        self.asked.push(request);
        answer
    }

    /// The message as a whole.
    fn whole(&self) -> Option<Message> {
        let mut text = String::new();
        for (name, value) in self.headers.as_ref()? {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let header_octets = text.len();
        text.push_str(&self.body);
        let mut message = Message::default();
        message.push(text.as_bytes());
        message.complete(u64::try_from(header_octets).unwrap_or(u64::MAX));
        Some(message)
    }

    fn now_s(&self) -> u64 {
        self.now_ms / 1000
    }

    fn touch(&mut self, writes: bool, object: String) {
        self.touched.insert(Touch { writes, object });
    }

    /// The client's address.
    fn client(&self) -> Result<IpAddr, Fault> {
        self.client.ok_or_else(|| Fault::new("there is no connecting address here"))
    }

    fn block(&self, mask: Option<u8>, address: Option<&str>) -> Result<Prefix, Fault> {
        let wrong = |_| Fault::new("a bad address");
        let address = match address {
            Some(address) => address.parse::<IpAddr>().map_err(wrong)?,
            None => self.client()?,
        };
        let bits = mask.unwrap_or(Prefix::bits(address));
        Prefix::containing(address, bits)
            .map_err(|_| Fault::new(format!("mask {bits} is longer than the address")))
    }

    /// Whether the sum of all nodes is read; where nothing is shared that is said once.
    fn reads_all(&mut self, word: &str, wanted: bool) -> bool {
        let shared = self.replicated.contains(word);
        if wanted && !shared {
            self.warnings
                .insert(format!("{word} is not replicated: a script that asks for all nodes sees one"));
        }
        wanted && shared
    }
}

impl Host for Model {
    fn context(&mut self, context: Context, key: &str) -> Option<String> {
        match context {
            Context::Connection => self.connection.get(key).cloned(),
            Context::Message => self.message.get(key).cloned(),
        }
    }

    fn set_context(&mut self, context: Context, key: &str, value: Option<&str>) {
        let keys = match context {
            Context::Connection => &mut self.connection,
            Context::Message => &mut self.message,
        };
        match value {
            Some(value) => keys.insert(key.into(), value.into()),
            None => keys.remove(key),
        };
    }

    fn log(&mut self, _: Place<'_>, text: &str) {
        self.logged.push(text.into());
    }

    fn log_error(&mut self, place: Place<'_>, text: &str) {
        self.errors.push(format!("{}:{}: {text}", place.file, place.line));
    }

    fn log_file(&mut self, uri: &str, text: &str) -> Result<(), Fault> {
        self.files.push((uri.into(), text.into()));
        Ok(())
    }

    fn count(&mut self, counter: &str, class: Class) {
        let count = self.counters.entry((counter.into(), class)).or_default();
        *count = count.saturating_add(1);
    }

    fn events_average(&mut self, events: Events, monitor: u32, mask: Option<u8>) -> Result<u64, Fault> {
        let block = self.block(mask, None)?;
        let count = self.monitors.len();
        let found = usize::try_from(monitor).ok().and_then(|at| self.monitors.get(at)).copied();
        let monitor =
            found.ok_or_else(|| Fault::new(format!("no monitor {monitor}; {count} are configured")))?;
        self.average_of(events, monitor, block)
    }

    fn events_sum(
        &mut self,
        events: Events,
        monitor: Option<&str>,
        windows: Windows,
        mask: Option<u8>,
    ) -> Result<u64, Fault> {
        let block = self.block(mask, None)?;
        self.sum_of(events, monitor, windows, block)
    }

    fn series_sum(&mut self, read: SeriesRead<'_>) -> Result<u64, Fault> {
        self.series_sum_of(read)
    }

    fn series_add(&mut self, write: SeriesWrite<'_>) -> Result<(), Fault> {
        self.series_add_to(write)
    }

    fn open_connections(&mut self, scope: Scope<'_>, cidr: &str) -> Result<u64, Fault> {
        let wrong = || Fault::new(format!("'{cidr}' is not a block of addresses"));
        let bits = |text: &str| text.parse::<u8>().map_err(|_| wrong());
        let block = match cidr.split_once('/') {
            Some(("", mask)) => self.block(Some(bits(mask)?), None)?,
            Some((address, mask)) => self.block(Some(bits(mask)?), Some(address))?,
            None => self.block(None, Some(cidr))?,
        };
        self.open_in(scope, block)
    }

    fn throttle_create(&mut self, kind: Kind, name: &str, rate: &str, _: f64) -> Result<(), Fault> {
        self.throttle_made(kind, name, rate)
    }

    fn throttle_change(&mut self, kind: Kind, name: &str, change: Change) -> Result<(), Fault> {
        self.throttle_changed(kind, name, change)
    }

    fn throttle_exceeded(&mut self, kind: Kind, name: &str) -> Result<bool, Fault> {
        self.throttle_is_exceeded(kind, name)
    }

    fn throttle_tarpit(&mut self, name: &str) -> Result<u64, Fault> {
        self.touch(true, format!("throttle {name}"));
        self.count_and_wait(false, name)
    }

    fn gauge_init(
        &mut self,
        name: &str,
        elements_max: u64,
        ttl_s: u64,
        replicated: bool,
    ) -> Result<(), Fault> {
        self.gauge_made(name, elements_max, ttl_s, replicated);
        Ok(())
    }

    fn gauge_change(&mut self, name: &str, key: &str, change: Change) -> Result<i64, Fault> {
        self.gauge_changed(name, key, change)
    }

    fn gauge(&mut self, name: &str, key: &str) -> Result<i64, Fault> {
        self.gauge_value(name, key)
    }

    fn cache(&mut self, name: &str, key: &str) -> Result<Option<String>, Fault> {
        self.cached(name, key)
    }

    fn cache_set(&mut self, name: &str, key: &str, value: &str, ttl_s: Option<u64>) -> Result<(), Fault> {
        self.set_cached(name, key, Some((value, ttl_s)))
    }

    fn binding(&mut self) -> Option<Binding> {
        self.binding.clone()
    }

    fn assign(&mut self, to: Assign<'_>) -> Option<Binding> {
        let found = self.bindings.iter().find(|binding| match to {
            Assign::Binding(name) => binding.name == name,
            Assign::Group(group) => binding.group == group,
        });
        let Some(found) = found.cloned() else {
            self.errors.push(format!("there is no {to:?}"));
            return None;
        };
        self.binding = Some(found.clone());
        Some(found)
    }

    fn envelope(&mut self, path: Path) -> Vec<String> {
        match (path, &self.recipient) {
            (Path::From, _) => self.from.clone(),
            (Path::To, Some(recipient)) => alloc::vec![recipient.clone()],
            (Path::To, None) => self.to.clone(),
        }
    }

    fn headers(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        let headers = self.headers.as_ref().ok_or_else(|| Fault::new("there is no message"))?;
        let named = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        Ok(named.map(|(_, value)| value.clone()).collect())
    }

    fn message_bytes(&mut self) -> Result<u64, Fault> {
        let headers = self.headers.as_ref().ok_or_else(|| Fault::new("there is no message"))?;
        let fields =
            headers.iter().map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(4));
        let bytes = fields.sum::<usize>().saturating_add(self.body.len());
        u64::try_from(bytes).map_err(|_| Fault::new("a message too large"))
    }

    fn expand(&mut self, name: &str) -> Result<String, Fault> {
        let unknown = || Fault::new(format!("'%{{{name}}}' means nothing"));
        match name.split_once(':') {
            Some(("rfc822", "date")) => {
                let now = postfleet_types::WallTime::from_unix_seconds(self.now_s());
                Ok(format!("{}", now.civil().rfc5322()))
            }
            Some(("rfc2822", words)) => {
                let message = self.whole().ok_or_else(|| Fault::new("there is no message yet"))?;
                message.expand(words).ok_or_else(unknown)
            }
            Some(("spfv1", letters)) => {
                let sender = self.from.first().map(String::as_str);
                spf(letters, self.client()?, sender, &self.helo).ok_or_else(unknown)
            }
            _ => Err(unknown()),
        }
    }
}
