//! One shared gauge cache, and the counters that policies use.

use super::pending::{Item, bounded};
use super::wire::name_fits;
use super::{CountError, Metrics, NAMES_MAX};
use crate::counts::Origin;
use crate::entries::CountKey;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use postfleet_cache::{GaugeCache, GaugeLimits};
use postfleet_types::{ColumnId, Monotonic, View};

/// A cache as the order has it, and what of the own column the order has not brought back.
#[derive(Debug)]
pub(super) struct SharedGauge {
    cache: GaugeCache,
    columns: BTreeMap<Origin, ColumnId>,
    undelivered: BTreeMap<Box<str>, i64>,
    /// The latest time that anything was done at.
    now: Monotonic,
}

impl SharedGauge {
    pub(super) fn new(limits: GaugeLimits) -> Self {
        Self {
            cache: GaugeCache::new(limits),
            columns: BTreeMap::new(),
            undelivered: BTreeMap::new(),
            now: Monotonic::ZERO,
        }
    }

    pub(super) const fn limits(&self) -> GaugeLimits {
        self.cache.limits()
    }

    /// A change at its place in the order.
    pub(super) fn change(&mut self, origin: Origin, key: &str, delta: i64, now: Monotonic) {
        let column = *self.columns.entry(origin).or_insert_with(|| self.cache.insert_column());
        self.now = self.now.max(now);
        self.cache.change(column, key, delta, now);
    }

    /// What the column of an origin has for a key from here on.
    pub(super) fn restate(&mut self, origin: Origin, key: &str, value: i64, now: Monotonic) {
        let has = self.delivered(Some(origin), key, now);
        if has.unwrap_or(0) != value {
            self.change(origin, key, value.saturating_sub(has.unwrap_or(0)), now);
        }
    }

    /// A change of the own column that the order has still to bring.
    pub(super) fn note(&mut self, key: &str, delta: i64) {
        let sum = match self.undelivered.get_mut(key) {
            Some(sum) => sum,
            None => self.undelivered.entry(key.into()).or_insert(0),
        };
        *sum = sum.saturating_add(delta);
        if *sum == 0 {
            self.undelivered.remove(key);
        }
    }

    fn delivered(&self, origin: Option<Origin>, key: &str, now: Monotonic) -> Option<i64> {
        let view = match origin {
            None => View::Global,
            Some(origin) => View::Column(*self.columns.get(&origin)?),
        };
        self.cache.value(view, key, now)
    }

    pub(super) fn value(&self, origin: Option<Origin>, key: &str, now: Monotonic) -> Option<i64> {
        let delivered = self.delivered(origin, key, now);
        let own = matches!(origin, None | Some(Origin::OWN));
        match self.undelivered.get(key).filter(|_| own) {
            Some(sum) => Some(delivered.unwrap_or(0).saturating_add(*sum)),
            None => delivered,
        }
    }

    pub(super) fn own_value(&self, key: &str) -> i64 {
        self.value(Some(Origin::OWN), key, self.now).unwrap_or(0)
    }

    /// All keys of a column, ascending.
    pub(super) fn values(&self, origin: Origin) -> BTreeMap<String, i64> {
        let mut values = BTreeMap::new();
        if let Some(column) = self.columns.get(&origin) {
            for (key, value) in self.cache.rows(View::Column(*column), self.now) {
                values.insert(String::from(key), value);
            }
        }
        if origin == Origin::OWN {
            for (key, sum) in &self.undelivered {
                let value = values.entry(String::from(&**key)).or_insert(0);
                *value = value.saturating_add(*sum);
            }
        }
        values
    }

    /// `false` when there was no such key.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        self.cache.remove(key)
    }

    pub(super) fn remove_column(&mut self, origin: Origin) {
        if let Some(column) = self.columns.remove(&origin) {
            self.cache.remove_column(column);
        }
    }

    pub(super) fn rename(&mut self, from: Origin, to: Origin) {
        if let Some(column) = self.columns.remove(&from) {
            self.columns.insert(to, column);
        }
    }

    pub(super) fn has_column(&self, origin: Origin) -> bool {
        self.columns.get(&origin).is_some_and(|column| self.cache.has_column(*column))
    }

    pub(super) fn expire(&mut self, now: Monotonic) {
        self.now = self.now.max(now);
        self.cache.expire(now);
    }

    pub(super) fn total(&self, origin: Option<Origin>) -> i64 {
        let view = match origin {
            None => Some(View::Global),
            Some(origin) => self.columns.get(&origin).copied().map(View::Column),
        };
        let delivered = view.map_or(0, |view| {
            self.cache.rows(view, self.now).fold(0i64, |sum, (_, value)| sum.saturating_add(value))
        });
        let own = matches!(origin, None | Some(Origin::OWN));
        self.undelivered.values().filter(|_| own).fold(delivered, |sum, value| sum.saturating_add(*value))
    }

    pub(super) fn bytes(&self) -> usize {
        let keys: usize = self.cache.rows(View::Global, self.now).map(|(key, _)| 2 * key.len() + 128).sum();
        keys + self.undelivered.keys().map(|key| key.len() + 48).sum::<usize>()
    }

    fn set_limits(&mut self, limits: GaugeLimits) {
        if self.cache.limits() != limits {
            self.cache.set_limits(limits);
        }
    }
}

impl Metrics {
    /// Makes a gauge cache; for one that is there, takes other limits into force.
    ///
    /// # Errors
    /// [`CountError::Name`], [`CountError::Full`].
    pub fn init_gauges(&mut self, name: &str, limits: GaugeLimits) -> Result<(), CountError> {
        if !name_fits(name) {
            return Err(CountError::Name);
        }
        if let Some(gauge) = self.gauges.get_mut(name) {
            gauge.set_limits(limits);
            return Ok(());
        }
        if self.gauges.len() >= NAMES_MAX {
            return Err(CountError::Full);
        }
        self.gauges.insert(name.into(), SharedGauge::new(limits));
        Ok(())
    }

    /// Whether there is such a gauge cache.
    #[must_use]
    pub fn has_gauges(&self, name: &str) -> bool {
        self.gauges.contains_key(name)
    }

    /// Adds to a counter; one that is missing begins at 0.
    ///
    /// # Errors
    /// [`CountError::NoSuchCache`], [`CountError::Key`].
    pub fn add_gauge(&mut self, name: &str, key: &str, delta: i64, now: Monotonic) -> Result<(), CountError> {
        self.add_own_gauge(name, key, delta, now, false)
    }

    pub(crate) fn add_own_gauge(
        &mut self,
        name: &str,
        key: &str,
        delta: i64,
        now: Monotonic,
        sharing: bool,
    ) -> Result<(), CountError> {
        if !key.fits() {
            return Err(CountError::Key);
        }
        let delta = bounded(delta);
        let gauge = self.gauges.get_mut(name).ok_or(CountError::NoSuchCache)?;
        if sharing {
            gauge.note(key, delta);
            self.pending.add_gauge(name, key, delta);
        } else {
            gauge.change(Origin::OWN, key, delta, now);
        }
        Ok(())
    }

    /// The value of a counter, summed over the columns; `None` where there is none, or no such cache.
    #[must_use]
    pub fn gauge(&self, name: &str, key: &str, now: Monotonic) -> Option<i64> {
        self.gauges.get(name)?.value(None, key, now)
    }

    /// Forgets a counter. `false` when there was none.
    pub fn remove_gauge(&mut self, name: &str, key: &str) -> bool {
        self.gauges.get_mut(name).is_some_and(|gauge| gauge.remove(key))
    }

    /// Asks for a key to be forgotten by all members, at its place in the order.
    pub(crate) fn order_removal_of_gauge(&mut self, name: &str, key: &str) {
        if let Some(gauge) = self.gauges.get_mut(name) {
            // What waits of it stands before the removal.
            let waits = self.pending.gauge(name, key);
            gauge.note(key, waits.saturating_neg());
        }
        self.pending.remove(Item::Gauge(name.into(), key.into()));
    }

    /// The counters of one column of a gauge cache, ascending.
    pub(crate) fn gauges_of(&self, origin: Origin, name: &str) -> Vec<(String, i64)> {
        self.gauges.get(name).map_or_else(Vec::new, |gauge| gauge.values(origin).into_iter().collect())
    }

    /// The counters of a gauge cache with their sums, ascending.
    #[must_use]
    pub fn gauge_rows(&self, name: &str, now: Monotonic) -> Vec<(String, i64)> {
        let Some(gauge) = self.gauges.get(name) else { return Vec::new() };
        let keys: Vec<String> =
            gauge.cache.rows(View::Global, now).map(|(key, _)| String::from(key)).collect();
        keys.into_iter()
            .map(|key| (gauge.value(None, &key, now).unwrap_or(0), key))
            .map(|(v, k)| (k, v))
            .collect()
    }
}
