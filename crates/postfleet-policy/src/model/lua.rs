//! What only Lua asks.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use postfleet_types::Prefix;

use super::Model;
use crate::fault::Fault;
use crate::host::{Events, Path, Scope, Windows};
use crate::lua::{Edit, Item, Level, LuaHost, NamedSeries, Nested, SeriesKey, SeriesKind, TimerChange};
use crate::outcome::Reply;
use crate::phase::Phase;

fn checked(address: &str) -> Result<(), Fault> {
    let wrong = address.chars().any(|c| c.is_control() || c == '<' || c == '>');
    if wrong { Err(Fault::new(format!("'{address}' is not an address"))) } else { Ok(()) }
}

impl LuaHost for Model {
    fn sieve(&mut self, phase: Phase, file: &str) -> Result<Box<dyn Nested>, Fault> {
        self.sieves
            .map_or_else(|| Err(Fault::new(format!("{file}: no such file"))), |sieves| sieves(phase, file))
    }

    fn timer(&mut self, number: u32, change: TimerChange) -> Result<(), Fault> {
        self.timers.push((number, change));
        Ok(())
    }

    fn client(&mut self) -> Option<IpAddr> {
        self.client
    }

    fn peers(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        Some((SocketAddr::new(self.client?, self.client_port), self.listener))
    }

    fn now_s(&mut self) -> u64 {
        Self::now_s(self)
    }

    fn print(&mut self, level: Level, text: &str) {
        self.printed.push((level, text.into()));
    }

    fn events_of(
        &mut self,
        events: Events,
        monitor: &str,
        windows: Windows,
        block: Prefix,
    ) -> Result<u64, Fault> {
        self.sum_of(events, Some(monitor), windows, block)
    }

    fn open_from(&mut self, scope: Scope<'_>, block: Prefix) -> Result<u64, Fault> {
        self.open_in(scope, block)
    }

    fn define_series(&mut self, series: NamedSeries<'_>) -> Result<(), Fault> {
        self.define(series);
        Ok(())
    }

    fn series_kind(&mut self, name: &str) -> Result<SeriesKind, Fault> {
        self.kind_of(name)
    }

    fn named_series_add(&mut self, name: &str, key: SeriesKey<'_>, amount: i64) -> Result<(), Fault> {
        self.named_add(name, key, amount)
    }

    fn named_series_sum(&mut self, name: &str, item: Item<'_>, windows: Windows) -> Result<u64, Fault> {
        self.named_sum(name, item, windows)
    }

    fn named_series_remove(&mut self, name: &str, key: SeriesKey<'_>) -> Result<(), Fault> {
        self.named_remove(name, key)
    }

    fn gauge_remove(&mut self, name: &str, key: &str) -> Result<(), Fault> {
        self.gauge_removed(name, key)
    }

    fn has_cache(&mut self, name: &str) -> bool {
        self.caches.contains_key(name)
    }

    fn cache_delete(&mut self, name: &str, key: &str) -> Result<(), Fault> {
        self.set_cached(name, key, None)
    }

    fn edit_recipients(&mut self, edit: Edit, addresses: &[String]) -> Result<(), Fault> {
        for address in addresses {
            checked(address)?;
        }
        match edit {
            Edit::Replace => self.to = addresses.to_vec(),
            Edit::Add => {
                for address in addresses {
                    if !self.to.contains(address) {
                        self.to.push(address.clone());
                    }
                }
            }
            Edit::Remove => self.to.retain(|address| !addresses.contains(address)),
        }
        Ok(())
    }

    fn set_envelope(&mut self, path: Path, address: &str) -> Result<(), Fault> {
        checked(address)?;
        match path {
            Path::From => self.from = alloc::vec![address.into()],
            Path::To if self.recipient.is_some() => self.recipient = Some(address.into()),
            Path::To => {
                return Err(Fault::new("the recipient can be changed in each_rcpt and set_binding only"));
            }
        }
        Ok(())
    }

    fn decided(&mut self) -> Option<Reply> {
        self.decided.clone()
    }

    fn recipients(&mut self) -> Vec<String> {
        self.to.clone()
    }
}
