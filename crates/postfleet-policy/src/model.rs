//! A host in memory: one client, a clock that the caller moves, and small versions of what a node keeps.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use postfleet_datasource::Rows;

use crate::fault::Fault;
use crate::host::{
    Answer, Change, Class, Context, Event, Events, Host, Kind, Path, Place, Request, Scope, SeriesRead,
    SeriesWrite, Windows,
};

/// A throttle.
pub struct Throttle {
    limit: u64,
    period_ms: u64,
    counted: Vec<u64>,
    last: u64,
}

impl Throttle {
    fn current(&self, now: u64) -> impl Iterator<Item = u64> + '_ {
        let period = self.period_ms;
        self.counted.iter().copied().filter(move |at| at.saturating_add(period) > now)
    }

    fn used(&self, now: u64) -> u64 {
        u64::try_from(self.current(now).count()).unwrap_or(u64::MAX)
    }
}

/// A gauge cache.
#[derive(Default)]
pub struct Gauge {
    ttl_ms: u64,
    elements_max: usize,
    /// Value and time of the last change.
    keys: BTreeMap<String, (i64, u64)>,
}

/// See the module.
pub struct Model {
    /// The clock.
    pub now_ms: u64,
    /// The client's address.
    pub client: IpAddr,
    /// The connection's context.
    pub connection: BTreeMap<String, String>,
    /// The message's context.
    pub message: BTreeMap<String, String>,
    /// What scripts logged.
    pub logged: Vec<String>,
    /// What went wrong, with its place.
    pub errors: Vec<String>,
    /// What was appended to files.
    pub files: Vec<(String, String)>,
    /// Statistics.
    pub counters: BTreeMap<(String, Class), u64>,
    /// Number of windows of each monitor, by position, and its name.
    pub monitors: Vec<(&'static str, u32)>,
    /// Events of the client's block by window, of this node.
    pub connections: Vec<u64>,
    /// How much of the running window has passed, in thousandths.
    pub window_passed: u64,
    /// Open connections of this node.
    pub open: Vec<IpAddr>,
    /// Of other nodes.
    pub open_elsewhere: Vec<IpAddr>,
    /// Of scripts that name the monitor.
    pub series: BTreeMap<(String, String), BTreeMap<IpAddr, i64>>,
    /// By whether they are shared, and name.
    pub throttles: BTreeMap<(bool, String), Throttle>,
    /// Gauge caches.
    pub gauges: BTreeMap<String, Gauge>,
    /// Replicated caches: value, and when it expires.
    pub caches: BTreeMap<String, BTreeMap<String, (String, Option<u64>)>>,
    /// The message's header fields; none if there is no message.
    pub headers: Option<Vec<(String, String)>>,
    /// The sender.
    pub from: Vec<String>,
    /// The recipients.
    pub to: Vec<String>,
    /// What databases answer.
    pub rows: Result<Rows, Fault>,
    /// What runs waited for.
    pub asked: Vec<Request>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            now_ms: 0,
            client: IpAddr::from([192, 0, 2, 10]),
            connection: BTreeMap::new(),
            message: BTreeMap::new(),
            logged: Vec::new(),
            errors: Vec::new(),
            files: Vec::new(),
            counters: BTreeMap::new(),
            monitors: alloc::vec![("300,6", 6), ("1800,4", 4)],
            connections: alloc::vec![0; 7],
            window_passed: 0,
            open: Vec::new(),
            open_elsewhere: Vec::new(),
            series: BTreeMap::new(),
            throttles: BTreeMap::new(),
            gauges: BTreeMap::new(),
            caches: BTreeMap::from([("mycache".into(), BTreeMap::new())]),
            headers: None,
            from: Vec::new(),
            to: Vec::new(),
            rows: Ok(Rows::default()),
            asked: Vec::new(),
        }
    }
}

impl Model {
    /// Answers what a run waits for.
    pub fn answer(&mut self, request: Request) -> Answer {
        let answer = match &request {
            Request::Query { .. } => self.rows.clone().map_or_else(Answer::Failed, Answer::Rows),
            Request::SharedTarpit { name } => {
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

    fn prefix(&self, mask: Option<u8>, address: Option<&str>) -> Result<(IpAddr, u8), Fault> {
        let wrong = |_| Fault::new("a bad address");
        let address = address.map_or(Ok(self.client), |address| address.parse::<IpAddr>().map_err(wrong))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let mask = mask.unwrap_or(bits);
        if mask > bits {
            Err(Fault::new(format!("mask {mask} is longer than the address")))
        } else {
            Ok((address, mask))
        }
    }

    fn throttle(&mut self, shared: bool, name: &str) -> Result<&mut Throttle, Fault> {
        let now = self.now_ms;
        self.throttles.retain(|_, throttle| throttle.last.saturating_add(throttle.period_ms) >= now);
        let missing = || Fault::new(format!("no such throttle '{name}'"));
        self.throttles.get_mut(&(shared, name.to_string())).ok_or_else(missing)
    }

    fn count_and_wait(&mut self, shared: bool, name: &str) -> Result<u64, Fault> {
        let now = self.now_ms;
        let throttle = self.throttle(shared, name)?;
        throttle.last = now;
        let over = throttle.used(now) >= throttle.limit;
        let frees =
            throttle.current(now).next().map_or(now, |first| first.saturating_add(throttle.period_ms));
        throttle.counted.push(now);
        Ok(if over { frees.saturating_sub(now) } else { 0 })
    }

    fn live_gauge(&mut self, name: &str) -> Result<&mut Gauge, Fault> {
        let now = self.now_ms;
        let missing = || Fault::new(format!("gauge cache '{name}' is not defined"));
        let gauge = self.gauges.get_mut(name).ok_or_else(missing)?;
        let ttl = gauge.ttl_ms;
        gauge.keys.retain(|_, (_, changed)| changed.saturating_add(ttl) > now);
        Ok(gauge)
    }
}

fn within(address: IpAddr, (block, mask): (IpAddr, u8)) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32_u32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((a, family), (b, other)) = (bits(address), bits(block));
    family == other && (a ^ b).leading_zeros() >= u32::from(mask)
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
        self.prefix(mask, None)?;
        let count = u32::try_from(self.monitors.len()).unwrap_or(u32::MAX);
        if monitor >= count {
            return Err(Fault::new(format!("no monitor {monitor}; {count} are configured")));
        }
        let sum = |window: usize| match events.event {
            Event::Connection => self.connections.get(window).copied().unwrap_or(0),
            Event::Reception | Event::Rejection => 0,
        };
        Ok(sum(0) + sum(1) * (1000 - self.window_passed.min(1000)) / 1000)
    }

    fn events_sum(
        &mut self,
        events: Events,
        monitor: Option<&str>,
        windows: Windows,
        mask: Option<u8>,
    ) -> Result<u64, Fault> {
        self.prefix(mask, None)?;
        let mut monitors = self.monitors.iter();
        let found = match monitor {
            None => monitors.next(),
            Some(name) => monitors.find(|(known, _)| *known == name),
        };
        let (_, number) = found.ok_or_else(|| Fault::new("no such monitor"))?;
        if windows.end > *number {
            return Err(Fault::new(format!("window {}; the monitor has {number}", windows.end)));
        }
        let sums = self.connections.iter().zip(0_u32..);
        let inside = sums.filter(|(_, window)| (windows.start..=windows.end).contains(window));
        Ok(if events.event == Event::Connection { inside.map(|(sum, _)| *sum).sum() } else { 0 })
    }

    fn series_sum(&mut self, read: SeriesRead<'_>) -> Result<u64, Fault> {
        let block = self.prefix(read.mask, read.address)?;
        let Some(series) = self.series.get(&(read.series.into(), read.monitor.into())) else { return Ok(0) };
        let inside = series.iter().filter(|(address, _)| within(**address, block));
        let sum = inside.fold(0_i64, |sum, (_, count)| sum.saturating_add(*count));
        Ok(if read.windows.start == 0 { u64::try_from(sum).unwrap_or(0) } else { 0 })
    }

    fn series_add(&mut self, write: SeriesWrite<'_>) -> Result<(), Fault> {
        let (address, _) = self.prefix(None, write.address)?;
        let series = self.series.entry((write.series.into(), write.monitor.into())).or_default();
        let count = series.entry(address).or_default();
        *count = count.saturating_add(write.amount);
        Ok(())
    }

    fn open_connections(&mut self, scope: Scope<'_>, cidr: &str) -> Result<u64, Fault> {
        let wrong = || Fault::new(format!("'{cidr}' is not a block of addresses"));
        let bits = |text: &str| text.parse::<u8>().map_err(|_| wrong());
        let block = match cidr.split_once('/') {
            Some(("", mask)) => self.prefix(Some(bits(mask)?), None)?,
            Some((address, mask)) => self.prefix(Some(bits(mask)?), Some(address))?,
            None => self.prefix(None, Some(cidr))?,
        };
        let elsewhere: &[IpAddr] = match scope {
            Scope::Service("inbound_cidr") => &self.open_elsewhere,
            Scope::Service("SMTP") | Scope::ThisListener => &[],
            Scope::Service(name) => return Err(Fault::new(format!("unknown service '{name}'"))),
        };
        let inside = self.open.iter().chain(elsewhere).filter(|address| within(**address, block));
        Ok(u64::try_from(inside.count()).unwrap_or(u64::MAX))
    }

    fn throttle_create(&mut self, kind: Kind, name: &str, rate: &str, _: f64) -> Result<(), Fault> {
        let (limit, period) = rate.split_once('/').unwrap_or((rate, "1"));
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| Fault::new(format!("'{rate}' is not a rate")));
        let (limit, period_ms) = (number(limit)?, number(period)?.saturating_mul(1000));
        if self.throttle(kind == Kind::Shared, name).is_err() {
            let throttle = Throttle { limit, period_ms, counted: Vec::new(), last: self.now_ms };
            self.throttles.insert((kind == Kind::Shared, name.into()), throttle);
        }
        Ok(())
    }

    fn throttle_change(&mut self, kind: Kind, name: &str, change: Change) -> Result<(), Fault> {
        let now = self.now_ms;
        let throttle = self.throttle(kind == Kind::Shared, name)?;
        throttle.last = now;
        match change {
            Change::Increment => throttle.counted.push(now),
            Change::Decrement => {
                throttle.counted.pop();
            }
        }
        Ok(())
    }

    fn throttle_exceeded(&mut self, kind: Kind, name: &str) -> Result<bool, Fault> {
        let now = self.now_ms;
        let throttle = self.throttle(kind == Kind::Shared, name)?;
        Ok(throttle.used(now) > throttle.limit)
    }

    fn throttle_tarpit(&mut self, name: &str) -> Result<u64, Fault> {
        self.count_and_wait(false, name)
    }

    fn gauge_init(&mut self, name: &str, elements_max: u64, ttl_s: u64, _: bool) -> Result<(), Fault> {
        let gauge = self.gauges.entry(name.into()).or_default();
        gauge.ttl_ms = ttl_s.saturating_mul(1000);
        gauge.elements_max = usize::try_from(elements_max).unwrap_or(usize::MAX);
        Ok(())
    }

    fn gauge_change(&mut self, name: &str, key: &str, change: Change) -> Result<i64, Fault> {
        let now = self.now_ms;
        let gauge = self.live_gauge(name)?;
        let value = gauge.keys.entry(key.into()).or_default();
        let amount = if change == Change::Increment { 1 } else { -1 };
        *value = (value.0.saturating_add(amount), now);
        Ok(value.0)
    }

    fn gauge(&mut self, name: &str, key: &str) -> Result<i64, Fault> {
        Ok(self.live_gauge(name)?.keys.get(key).map_or(0, |(value, _)| *value))
    }

    fn cache(&mut self, name: &str, key: &str) -> Result<Option<String>, Fault> {
        let now = self.now_ms;
        let cache =
            self.caches.get(name).ok_or_else(|| Fault::new(format!("no replicated cache '{name}'")))?;
        let live = cache.get(key).filter(|(_, until)| until.is_none_or(|until| until > now));
        Ok(live.map(|(value, _)| value.clone()))
    }

    fn cache_set(&mut self, name: &str, key: &str, value: &str, ttl_s: Option<u64>) -> Result<(), Fault> {
        let until = ttl_s.map(|ttl| self.now_ms.saturating_add(ttl.saturating_mul(1000)));
        let cache =
            self.caches.get_mut(name).ok_or_else(|| Fault::new(format!("no replicated cache '{name}'")))?;
        cache.insert(key.into(), (value.into(), until));
        Ok(())
    }

    fn envelope(&mut self, path: Path) -> Vec<String> {
        match path {
            Path::From => self.from.clone(),
            Path::To => self.to.clone(),
        }
    }

    fn headers(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        let headers = self.headers.as_ref().ok_or_else(|| Fault::new("there is no message"))?;
        let named = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        Ok(named.map(|(_, value)| value.clone()).collect())
    }

    fn message_bytes(&mut self) -> Result<u64, Fault> {
        let headers = self.headers.as_ref().ok_or_else(|| Fault::new("there is no message"))?;
        let bytes = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        u64::try_from(bytes).map_err(|_| Fault::new("a message too large"))
    }

    fn expand(&mut self, name: &str) -> Result<String, Fault> {
        match name {
            "spfv1:i" => Ok(self.client.to_string()),
            "rfc822:date" => Ok("Thu, 1 Jan 1970 00:00:00 +0000".into()),
            _ => Err(Fault::new(format!("'%{{{name}}}' is not known"))),
        }
    }
}
