//! Counters by text, with a column for each member, that forget by themselves.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use postfleet_types::{ColumnId, Monotonic, View};

/// How much a gauge cache holds and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeLimits {
    /// The most keys. Beyond it the key modified longest ago goes. At least 1.
    pub keys_max: usize,
    /// How long after its last modification a key is forgotten; `None` for never.
    pub ttl: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Gauge {
    /// Ascending by column; those at 0 stay, since the key exists.
    columns: Vec<(ColumnId, i64)>,
    modified: Monotonic,
    /// Its place in the order of modifications.
    place: u64,
}

/// The counters of a gauge cache.
///
/// Modifications are applied in the order in which this member learns of them: its own when they are made, those of
/// others when they are delivered. Reads change nothing, not even how long a key lives.
#[derive(Clone, Debug)]
pub struct GaugeCache {
    limits: GaugeLimits,
    gauges: BTreeMap<Box<str>, Gauge>,
    by_place: BTreeMap<u64, Box<str>>,
    next_place: u64,
    next_column: u32,
}

impl GaugeCache {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: GaugeLimits) -> Self {
        Self { limits, gauges: BTreeMap::new(), by_place: BTreeMap::new(), next_place: 0, next_column: 0 }
    }

    /// Takes new limits into force; values stay, as far as they fit.
    pub fn set_limits(&mut self, limits: GaugeLimits) {
        self.limits = limits;
        self.evict();
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> GaugeLimits {
        self.limits
    }

    /// A new column. Its id is never used again in this cache.
    pub fn insert_column(&mut self) -> ColumnId {
        let id = ColumnId(self.next_column);
        self.next_column = self.next_column.saturating_add(1);
        id
    }

    /// Drops a column, and the keys that are in no other. Passes all keys.
    pub fn remove_column(&mut self, column: ColumnId) {
        let mut bare = Vec::new();
        for (key, gauge) in &mut self.gauges {
            if let Ok(at) = gauge.columns.binary_search_by_key(&column, |(id, _)| *id) {
                gauge.columns.remove(at);
                if gauge.columns.is_empty() {
                    bare.push(key.clone());
                }
            }
        }
        for key in bare {
            self.remove(&key);
        }
    }

    /// Whether a column has a value for any key. Passes all keys.
    #[must_use]
    pub fn has_column(&self, column: ColumnId) -> bool {
        self.gauges.values().any(|gauge| gauge.columns.binary_search_by_key(&column, |(id, _)| *id).is_ok())
    }

    /// Adds to a counter in a column; a key that is not there is made. Values may be negative.
    pub fn change(&mut self, column: ColumnId, key: &str, delta: i64, now: Monotonic) {
        self.expire(now);
        let place = self.next_place;
        self.next_place += 1;
        if let Some(gauge) = self.gauges.get_mut(key) {
            match gauge.columns.binary_search_by_key(&column, |(id, _)| *id) {
                Ok(at) => {
                    if let Some((_, value)) = gauge.columns.get_mut(at) {
                        *value = value.saturating_add(delta);
                    }
                }
                Err(at) => gauge.columns.insert(at, (column, delta)),
            }
            self.by_place.remove(&gauge.place);
            gauge.modified = now;
            gauge.place = place;
        } else {
            let gauge = Gauge { columns: alloc::vec![(column, delta)], modified: now, place };
            self.gauges.insert(key.into(), gauge);
        }
        self.by_place.insert(place, key.into());
        self.evict();
    }

    /// The value of a key; `None` where there is none or it has expired.
    #[must_use]
    pub fn value(&self, view: View, key: &str, now: Monotonic) -> Option<i64> {
        let gauge = self.gauges.get(key).filter(|gauge| !self.expired(gauge, now))?;
        Some(value(gauge, view))
    }

    /// Forgets a key in all columns. `false` when there was none.
    pub fn remove(&mut self, key: &str) -> bool {
        match self.gauges.remove(key) {
            None => false,
            Some(gauge) => {
                self.by_place.remove(&gauge.place);
                true
            }
        }
    }

    /// Forgets the keys that have not been modified for the time to live.
    pub fn expire(&mut self, now: Monotonic) {
        // Modifications get later times and higher places, so the first place is the first to expire.
        while let Some(key) = self.by_place.values().next()
            && self.gauges.get(key).is_none_or(|gauge| self.expired(gauge, now))
            && let Some((_, key)) = self.by_place.pop_first()
        {
            self.gauges.remove(&key);
        }
    }

    /// The keys with their values, ascending.
    pub fn rows(&self, view: View, now: Monotonic) -> impl Iterator<Item = (&str, i64)> + '_ {
        self.gauges
            .iter()
            .filter(move |(_, gauge)| !self.expired(gauge, now))
            .map(move |(key, gauge)| (&**key, value(gauge, view)))
    }

    /// How many keys are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.gauges.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gauges.is_empty()
    }

    fn expired(&self, gauge: &Gauge, now: Monotonic) -> bool {
        self.limits.ttl.is_some_and(|ttl| gauge.modified + ttl <= now)
    }

    fn evict(&mut self) {
        while self.gauges.len() > self.limits.keys_max.max(1)
            && let Some((_, key)) = self.by_place.pop_first()
        {
            self.gauges.remove(&key);
        }
    }
}

fn value(gauge: &Gauge, view: View) -> i64 {
    match view {
        View::Global => gauge.columns.iter().fold(0, |sum: i64, (_, value)| sum.saturating_add(*value)),
        View::Column(column) => gauge
            .columns
            .binary_search_by_key(&column, |(id, _)| *id)
            .ok()
            .and_then(|at| gauge.columns.get(at))
            .map_or(0, |(_, value)| *value),
    }
}
