//! Counters and values by key that are forgotten.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use super::Model;
use crate::fault::Fault;
use crate::host::Change;

/// Values by key, and when they expire.
pub type Cache = BTreeMap<String, (String, Option<u64>)>;

/// What each node counted.
type ByNode = BTreeMap<usize, i64>;

/// When, and after how many other changes.
type Changed = (u64, u64);

/// A gauge cache: for each key the value of each node, and when it was changed last.
#[derive(Default)]
pub(super) struct Gauge {
    ttl_ms: u64,
    elements_max: usize,
    replicated: bool,
    keys: BTreeMap<String, (ByNode, Changed)>,
    /// Changes so far: what decides which of two keys of the same moment is the older.
    changes: u64,
}

impl Gauge {
    fn sum(&self, node: usize, key: &str) -> i64 {
        let Some((columns, _)) = self.keys.get(key) else { return 0 };
        let meant = columns.iter().filter(|(on, _)| self.replicated || **on == node);
        meant.fold(0, |sum, (_, value)| sum.saturating_add(*value))
    }
}

impl Model {
    pub(super) fn gauge_made(&mut self, name: &str, elements_max: u64, ttl_s: u64, replicated: bool) {
        self.touch(true, format!("gauge_cache {name}"));
        let gauge = self.gauges.entry(name.into()).or_default();
        gauge.ttl_ms = ttl_s.saturating_mul(1000);
        gauge.elements_max = usize::try_from(elements_max).unwrap_or(usize::MAX);
        gauge.replicated = replicated;
    }

    fn live_gauge(&mut self, name: &str) -> Result<&mut Gauge, Fault> {
        let now = self.now_ms;
        let missing = || Fault::new(format!("gauge cache '{name}' is not defined"));
        let gauge = self.gauges.get_mut(name).ok_or_else(missing)?;
        let ttl = gauge.ttl_ms;
        if ttl > 0 {
            gauge.keys.retain(|_, (_, (changed, _))| changed.saturating_add(ttl) > now);
        }
        Ok(gauge)
    }

    pub(super) fn gauge_changed(&mut self, name: &str, key: &str, change: Change) -> Result<i64, Fault> {
        let (now, node) = (self.now_ms, self.node);
        self.touch(true, format!("gauge_cache {name}"));
        let gauge = self.live_gauge(name)?;
        gauge.changes = gauge.changes.saturating_add(1);
        let order = gauge.changes;
        let (columns, changed) = gauge.keys.entry(key.into()).or_default();
        let value = columns.entry(node).or_default();
        *value = value.saturating_add(if change == Change::Increment { 1 } else { -1 });
        *changed = (now, order);
        while gauge.keys.len() > gauge.elements_max.max(1) {
            let oldest =
                gauge.keys.iter().min_by_key(|(_, (_, changed))| *changed).map(|(key, _)| key.clone());
            match oldest {
                Some(oldest) => gauge.keys.remove(&oldest),
                None => break,
            };
        }
        Ok(gauge.sum(node, key))
    }

    pub(super) fn gauge_value(&mut self, name: &str, key: &str) -> Result<i64, Fault> {
        let node = self.node;
        let value = self.live_gauge(name)?.sum(node, key);
        self.touch(false, format!("gauge_cache {name}"));
        Ok(value)
    }

    pub(super) fn gauge_removed(&mut self, name: &str, key: &str) -> Result<(), Fault> {
        self.live_gauge(name)?.keys.remove(key);
        self.touch(true, format!("gauge_cache {name}"));
        Ok(())
    }

    fn cache_mut(&mut self, name: &str) -> Result<&mut Cache, Fault> {
        let missing = || Fault::new(format!("no replicated cache '{name}'"));
        self.caches.get_mut(name).ok_or_else(missing)
    }

    pub(super) fn cached(&mut self, name: &str, key: &str) -> Result<Option<String>, Fault> {
        let now = self.now_ms;
        let live = self
            .cache_mut(name)?
            .get(key)
            .filter(|(_, until)| until.is_none_or(|until| until > now))
            .cloned();
        self.touch(false, format!("cache {name}"));
        Ok(live.map(|(value, _)| value))
    }

    /// Sets a value for a time, or removes it.
    pub(super) fn set_cached(
        &mut self,
        name: &str,
        key: &str,
        value: Option<(&str, Option<u64>)>,
    ) -> Result<(), Fault> {
        let now = self.now_ms;
        let cache = self.cache_mut(name)?;
        match value {
            Some((value, ttl_s)) => {
                let until = ttl_s.map(|ttl| now.saturating_add(ttl.saturating_mul(1000)));
                cache.insert(key.into(), (value.into(), until));
            }
            None => {
                cache.remove(key);
            }
        }
        self.touch(true, format!("cache {name}"));
        Ok(())
    }
}
