//! What only Lua asks of the node.

use super::host::LiveHost;
use crate::clock;
use crate::notices::{Severity, notice};
use postfleet_policy::{
    Edit, Events, Fault, Item, Level, LuaHost, NamedSeries, Nested, Path, Phase, Reply, Scope, SeriesKey,
    SeriesKind, TimerChange, Windows,
};
use postfleet_types::{Prefix, normalised};
use std::net::{IpAddr, SocketAddr};

const fn severity(level: Level) -> Severity {
    match level {
        Level::Debug => Severity::Debug,
        Level::Info => Severity::Info,
        Level::Notice => Severity::Notice,
        Level::Warning => Severity::Warning,
        Level::Error => Severity::Error,
        Level::Critical => Severity::Critical,
    }
}

fn no_session() -> Fault {
    Fault::new("there is no message here")
}

impl LuaHost for LiveHost<'_> {
    fn sieve(&mut self, phase: Phase, file: &str) -> Result<Box<dyn Nested>, Fault> {
        self.home.sieve(phase, file)
    }

    fn timer(&mut self, number: u32, change: TimerChange) -> Result<(), Fault> {
        // All interpreters make the same timers, and one of them runs them.
        if self.repeats { Ok(()) } else { self.home.timer(number, change) }
    }

    fn client(&mut self) -> Option<IpAddr> {
        self.visit.as_ref().map(|visit| normalised(visit.client.ip()))
    }

    fn peers(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        self.visit.as_ref().map(|visit| (visit.client, visit.local))
    }

    fn now_s(&mut self) -> u64 {
        clock::wall().unix_seconds()
    }

    fn print(&mut self, level: Level, text: &str) {
        if self.repeats {
            return;
        }
        for line in text.split('\n') {
            notice(severity(level), format_args!("{}: {line}", self.home.kind()));
        }
    }

    fn events_of(
        &mut self,
        events: Events,
        monitor: &str,
        windows: Windows,
        block: Prefix,
    ) -> Result<u64, Fault> {
        self.objects().events_sum_of(events, Some(monitor), windows, block)
    }

    fn open_from(&mut self, scope: Scope<'_>, block: Prefix) -> Result<u64, Fault> {
        self.objects().open_in(scope, block)
    }

    fn define_series(&mut self, series: NamedSeries<'_>) -> Result<(), Fault> {
        self.objects().define_series(series)
    }

    fn series_kind(&mut self, name: &str) -> Result<SeriesKind, Fault> {
        self.objects().series_kind(name)
    }

    fn named_series_add(&mut self, name: &str, key: SeriesKey<'_>, amount: i64) -> Result<(), Fault> {
        if self.repeats {
            return Ok(());
        }
        self.objects().named_series_add(name, key, amount)
    }

    fn named_series_sum(&mut self, name: &str, item: Item<'_>, windows: Windows) -> Result<u64, Fault> {
        self.objects().named_series_sum(name, item, windows)
    }

    fn named_series_remove(&mut self, name: &str, key: SeriesKey<'_>) -> Result<(), Fault> {
        self.objects().named_series_remove(name, key)
    }

    fn gauge_remove(&mut self, name: &str, key: &str) -> Result<(), Fault> {
        self.objects().gauge_remove(name, key)
    }

    fn has_cache(&mut self, name: &str) -> bool {
        self.node.fleet.as_ref().is_some_and(|fleet| fleet.has_cache(name))
    }

    fn cache_delete(&mut self, name: &str, key: &str) -> Result<(), Fault> {
        self.objects().cache_delete(name, key)
    }

    fn edit_recipients(&mut self, edit: Edit, addresses: &[String]) -> Result<(), Fault> {
        self.visit.as_deref_mut().ok_or_else(no_session)?.edit_recipients(edit, addresses)
    }

    fn set_envelope(&mut self, path: Path, address: &str) -> Result<(), Fault> {
        self.visit.as_deref_mut().ok_or_else(no_session)?.set_envelope(path, address)
    }

    fn decided(&mut self) -> Option<Reply> {
        self.visit.as_ref().and_then(|visit| visit.decided.clone())
    }

    fn recipients(&mut self) -> Vec<String> {
        self.visit.as_ref().map(|visit| visit.addressees()).unwrap_or_default()
    }
}
