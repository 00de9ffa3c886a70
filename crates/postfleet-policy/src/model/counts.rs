//! What is counted over time.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use postfleet_types::Prefix;

use super::{Model, word};
use crate::fault::Fault;
use crate::host::{Events, Scope, SeriesRead, SeriesWrite, Spread, Windows};
use crate::lua::{Item, NamedSeries, SeriesKey, SeriesKind};

/// Windows of a length, and how many beside the running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Seconds.
    pub interval_s: u64,
    /// Windows.
    pub windows: u32,
}

impl Monitor {
    /// `interval,number`, both from 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (interval, windows) = text.split_once(',')?;
        let interval_s = interval.trim().parse::<u64>().ok().filter(|interval| *interval > 0)?;
        let windows = windows.trim().parse::<u32>().ok().filter(|windows| *windows > 0)?;
        Some(Self { interval_s, windows })
    }

    /// The window of a moment, counted backwards from the running one.
    fn age(self, now_s: u64, at_s: u64) -> u64 {
        (now_s / self.interval_s).saturating_sub(at_s / self.interval_s)
    }
}

/// Additions by node, key and time.
pub(super) struct Columns<K>(BTreeMap<(usize, K, u64), i64>);

impl<K> Default for Columns<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Columns<K> {
    pub(super) fn add(&mut self, node: usize, now_s: u64, key: K, count: i64) {
        let sum = self.0.entry((node, key, now_s)).or_default();
        *sum = sum.saturating_add(count);
    }

    pub(super) fn forget(&mut self, node: usize) {
        self.0.retain(|(on, _, _), _| *on != node);
    }

    /// The sum over windows, of one node or of all.
    fn sum(
        &self,
        node: Option<usize>,
        (monitor, now_s): (Monitor, u64),
        windows: Windows,
        is_meant: impl Fn(&K) -> bool,
    ) -> u64 {
        let inside = self.0.iter().filter(|((on, key, at), _)| {
            let age = monitor.age(now_s, *at);
            node.is_none_or(|node| node == *on)
                && (u64::from(windows.start)..=u64::from(windows.end)).contains(&age)
                && is_meant(key)
        });
        let sum = inside.fold(0_i64, |sum, (_, count)| sum.saturating_add(*count));
        u64::try_from(sum).unwrap_or(0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Address(IpAddr),
    Text(String),
}

/// A defined series.
pub(super) struct Named {
    kind: SeriesKind,
    monitor: Monitor,
    spread: Spread,
    columns: Columns<Key>,
}

impl Named {
    pub(super) fn forget(&mut self, node: usize) {
        self.columns.forget(node);
    }

    /// Whether an address is of the family that is counted.
    fn fits(&self, address: IpAddr) -> bool {
        (self.kind == SeriesKind::Cidr) == address.is_ipv4()
    }
}

fn within(windows: Windows, monitor: Monitor) -> Result<(), Fault> {
    if windows.end > monitor.windows {
        return Err(Fault::new(format!(
            "window {}; there are {} beside the running one",
            windows.end, monitor.windows
        )));
    }
    Ok(())
}

impl Model {
    pub(super) fn average_of(
        &mut self,
        events: Events,
        monitor: Monitor,
        block: Prefix,
    ) -> Result<u64, Fault> {
        let sum = |model: &mut Self, window| {
            model.sum_over(events, monitor, Windows { start: window, end: window }, block)
        };
        let (now, before) = (sum(self, 0), sum(self, 1));
        let passed = self.now_s() % monitor.interval_s;
        let left = monitor.interval_s.saturating_sub(passed);
        Ok(now.saturating_add(before.saturating_mul(left) / monitor.interval_s))
    }

    fn sum_over(&mut self, events: Events, monitor: Monitor, windows: Windows, block: Prefix) -> u64 {
        let word = word(events.event);
        let node = if self.reads_all(word, events.cluster) { None } else { Some(self.node) };
        self.touch(
            false,
            if node.is_none() { format!("metrics/{word}") } else { format!("monitors, {word}") },
        );
        let now_s = self.now_s();
        self.events.get(word).map_or(0, |columns| {
            columns.sum(node, (monitor, now_s), windows, |address| block.contains(*address))
        })
    }

    pub(super) fn sum_of(
        &mut self,
        events: Events,
        monitor: Option<&str>,
        windows: Windows,
        block: Prefix,
    ) -> Result<u64, Fault> {
        let found = match monitor {
            None => self.monitors.first().copied(),
            Some(name) => Monitor::parse(name).filter(|wanted| self.monitors.contains(wanted)),
        };
        let missing = || match monitor {
            Some(name) => Fault::new(format!("no monitor \"{name}\" is configured")),
            None => Fault::new("no monitor is configured"),
        };
        let monitor = found.ok_or_else(missing)?;
        within(windows, monitor)?;
        Ok(self.sum_over(events, monitor, windows, block))
    }

    pub(super) fn series_sum_of(&mut self, read: SeriesRead<'_>) -> Result<u64, Fault> {
        let block = self.block(read.mask, read.address)?;
        self.touch(false, format!("audit_series {}", read.series));
        let now_s = self.now_s();
        let node = self.node;
        let Some((monitor, spread, columns)) = self.series.get(&(read.series.into(), read.monitor.into()))
        else {
            return Ok(0);
        };
        let node = (*spread == Spread::None).then_some(node);
        Ok(columns.sum(node, (*monitor, now_s), read.windows, |address| block.contains(*address)))
    }

    pub(super) fn series_add_to(&mut self, write: SeriesWrite<'_>) -> Result<(), Fault> {
        let address = self.block(None, write.address)?.address();
        let wrong = || Fault::new(format!("'{}' is no monitor; expected \"interval,number\"", write.monitor));
        let monitor = Monitor::parse(write.monitor).ok_or_else(wrong)?;
        self.touch(true, format!("audit_series {}", write.series));
        let (node, now_s) = (self.node, self.now_s());
        let (_, spread, columns) = self
            .series
            .entry((write.series.into(), write.monitor.into()))
            .or_insert_with(|| (monitor, write.spread, Columns::default()));
        *spread = write.spread;
        columns.add(node, now_s, address, write.amount);
        Ok(())
    }

    pub(super) fn open_in(&mut self, scope: Scope<'_>, block: Prefix) -> Result<u64, Fault> {
        let all = match scope {
            Scope::Service("inbound_cidr") => self.reads_all("inbound_cidr", true),
            Scope::Service("SMTP") | Scope::ThisListener => false,
            Scope::Service("ECStream" | "Control" | "ECmmove2" | "ECCluster") => return Ok(0),
            Scope::Service(name) => return Err(Fault::new(format!("unknown service '{name}'"))),
        };
        self.touch(false, if all { "inbound_cidr".into() } else { "local service tree".into() });
        let node = self.node;
        let inside =
            self.open.iter().filter(|(on, address)| (all || *on == node) && block.contains(*address));
        Ok(u64::try_from(inside.count()).unwrap_or(u64::MAX))
    }

    fn named(&mut self, name: &str) -> Result<&mut Named, Fault> {
        let missing = || Fault::new(format!("audit series '{name}' is not defined"));
        self.named.get_mut(name).ok_or_else(missing)
    }

    pub(super) fn kind_of(&mut self, name: &str) -> Result<SeriesKind, Fault> {
        Ok(self.named(name)?.kind)
    }

    pub(super) fn define(&mut self, series: NamedSeries<'_>) {
        self.touch(true, format!("audit_series {}", series.name));
        let monitor = Monitor { interval_s: u64::from(series.interval_s), windows: series.windows };
        match self.named.get_mut(series.name) {
            Some(named) if named.kind == series.kind && named.monitor == monitor => {
                named.spread = series.spread
            }
            _ => {
                let columns = Columns::default();
                let named = Named { kind: series.kind, monitor, spread: series.spread, columns };
                self.named.insert(series.name.into(), named);
            }
        }
    }

    /// The key as it is stored; none if its family is not counted.
    fn key(&mut self, name: &str, key: SeriesKey<'_>) -> Result<Option<Key>, Fault> {
        let client = self.client;
        let named = self.named(name)?;
        let address = match key {
            SeriesKey::Text(text) if named.kind == SeriesKind::Text => {
                return Ok(Some(Key::Text(text.into())));
            }
            SeriesKey::Address(address) => address,
            SeriesKey::Client => client.ok_or_else(|| Fault::new("there is no connecting address here"))?,
            SeriesKey::Text(_) => {
                return Err(Fault::new(format!("audit series '{name}' is counted by address")));
            }
        };
        if named.kind == SeriesKind::Text {
            return Err(Fault::new(format!("audit series '{name}' is counted by text")));
        }
        Ok(named.fits(address).then_some(Key::Address(address)))
    }

    pub(super) fn named_add(&mut self, name: &str, key: SeriesKey<'_>, amount: i64) -> Result<(), Fault> {
        let Some(key) = self.key(name, key)? else { return Ok(()) };
        self.touch(true, format!("audit_series {name}"));
        let (node, now_s) = (self.node, self.now_s());
        self.named(name)?.columns.add(node, now_s, key, amount);
        Ok(())
    }

    pub(super) fn named_sum(&mut self, name: &str, item: Item<'_>, windows: Windows) -> Result<u64, Fault> {
        self.touch(false, format!("audit_series {name}"));
        let (node, now_s) = (self.node, self.now_s());
        let named = self.named(name)?;
        within(windows, named.monitor)?;
        let node = (named.spread == Spread::None).then_some(node);
        Ok(named.columns.sum(node, (named.monitor, now_s), windows, |key| match (key, item) {
            (Key::Address(address), Item::Block(block)) => block.contains(*address),
            (Key::Text(text), Item::Text(wanted)) => text == wanted,
            (Key::Address(_), Item::Text(_)) | (Key::Text(_), Item::Block(_)) => false,
        }))
    }

    pub(super) fn named_remove(&mut self, name: &str, key: SeriesKey<'_>) -> Result<(), Fault> {
        let Some(key) = self.key(name, key)? else { return Ok(()) };
        self.touch(true, format!("audit_series {name}"));
        let node = self.node;
        let named = self.named(name)?;
        let all = named.spread != Spread::None;
        named.columns.0.retain(|(on, known, _), _| *known != key || !(all || *on == node));
        Ok(())
    }
}
