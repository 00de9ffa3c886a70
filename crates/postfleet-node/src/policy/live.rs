//! What policy keeps from one generation of the configuration to the next.

use crate::clock;
use crate::lock::locked;
use crate::notices::{Severity, notice};
use postfleet_policy::Class;
use postfleet_replica::Monitor;
use postfleet_throttle::{NamedThrottles, Rate, UnknownThrottle};
use postfleet_types::{Monotonic, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Counters of one module or rule that are kept; the surplus is counted as `(others)`, so that a script that makes names
/// from what clients say does not fill the memory.
const COUNTERS_MAX: usize = 10_000;

/// Which names a throttle of this node lives among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThrottleSpace {
    /// `ec_throttle_*`.
    Local,
    /// `ec_shared_throttle_*` where nothing shares them.
    Shared,
}

/// Counters of one module.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    since: WallTime,
    counts: BTreeMap<(String, Class), u64>,
}

impl Counters {
    fn new() -> Self {
        Self { since: clock::wall(), counts: BTreeMap::new() }
    }

    /// Since when they count.
    pub(crate) const fn since(&self) -> WallTime {
        self.since
    }

    /// Name, class and count, by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, Class, u64)> {
        self.counts.iter().map(|((name, class), count)| (name.as_str(), *class, *count))
    }
}

struct Throttles {
    local: NamedThrottles,
    shared: NamedThrottles,
}

/// Locks are plain and held for single operations; none is held while another is taken.
pub(crate) struct Policies {
    throttles: Mutex<Throttles>,
    /// By kind and name of the module.
    counters: Mutex<BTreeMap<String, Counters>>,
    /// The windows of the series that scripts defined.
    series: Mutex<BTreeMap<String, Monitor>>,
    /// What was said since the last reload.
    told: Mutex<BTreeSet<String>>,
}

impl Policies {
    /// `throttles_max` is `Siv_Throttle_Cache_Size`.
    pub(crate) fn new(throttles_max: usize) -> Self {
        Self {
            throttles: Mutex::new(Throttles {
                local: NamedThrottles::new(throttles_max),
                shared: NamedThrottles::new(throttles_max),
            }),
            counters: Mutex::default(),
            series: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// A new generation: warnings are due anew.
    pub(crate) fn adopt(&self, throttles_max: usize) {
        let mut throttles = locked(&self.throttles);
        throttles.local.set_capacity(throttles_max);
        throttles.shared.set_capacity(throttles_max);
        drop(throttles);
        locked(&self.told).clear();
    }

    /// The windows of a series that a script defined.
    pub(super) fn named_series(&self, name: &str) -> Option<Monitor> {
        locked(&self.series).get(name).copied()
    }

    /// A script defined a series.
    pub(super) fn name_series(&self, name: &str, monitor: Monitor) {
        locked(&self.series).insert(name.to_owned(), monitor);
    }

    /// Warns once in a generation.
    pub(crate) fn warn_once(&self, key: &str, text: impl FnOnce() -> String) {
        if locked(&self.told).insert(key.to_owned()) {
            notice(Severity::Warning, text());
        }
    }

    fn with<T>(&self, space: ThrottleSpace, act: impl FnOnce(&mut NamedThrottles, Monotonic) -> T) -> T {
        let now = clock::monotonic();
        let mut throttles = locked(&self.throttles);
        let table = match space {
            ThrottleSpace::Local => &mut throttles.local,
            ThrottleSpace::Shared => &mut throttles.shared,
        };
        table.handle_timeout(now);
        let done = act(table, now);
        let notices: Vec<_> = std::iter::from_fn(|| table.poll_notice()).collect();
        drop(throttles);
        for told in notices {
            notice(told.severity, told.text);
        }
        done
    }

    pub(crate) fn create(&self, space: ThrottleSpace, name: &str, rate: Rate) {
        self.with(space, |table, now| table.create(now, name, rate));
    }

    pub(crate) fn inc(&self, space: ThrottleSpace, name: &str) -> Result<(), UnknownThrottle> {
        self.with(space, |table, now| table.inc(now, name))
    }

    pub(crate) fn dec(&self, space: ThrottleSpace, name: &str) -> Result<(), UnknownThrottle> {
        self.with(space, |table, now| table.dec(now, name))
    }

    pub(crate) fn check(&self, space: ThrottleSpace, name: &str) -> Result<bool, UnknownThrottle> {
        self.with(space, |table, now| table.check(now, name))
    }

    /// Uses one unit now, if there is one.
    pub(crate) fn take(&self, space: ThrottleSpace, name: &str) -> Result<bool, UnknownThrottle> {
        self.with(space, |table, now| table.take(now, name, 1).map(|taken| taken > 0))
    }

    /// Counts a unit, and says until when the session is held.
    pub(crate) fn tarpit(
        self: &Arc<Self>,
        space: ThrottleSpace,
        name: &str,
    ) -> Result<Held, UnknownThrottle> {
        let (now, release) =
            self.with(space, |table, now| table.tarpit(now, name).map(|release| (now, release)))?;
        let kept = (release > now).then(|| Arc::clone(self));
        Ok(Held { policies: kept, space, name: name.to_owned(), now, release })
    }

    /// Counts something that a module did.
    pub(crate) fn count(&self, module: &str, name: &str, class: Class) {
        let mut all = locked(&self.counters);
        let counters = match all.get_mut(module) {
            Some(counters) => counters,
            None => all.entry(module.to_owned()).or_insert_with(Counters::new),
        };
        let known = (name.to_owned(), class);
        let full = counters.counts.len() >= COUNTERS_MAX && !counters.counts.contains_key(&known);
        let key = if full { ("(others)".to_owned(), class) } else { known };
        let count = counters.counts.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// The counters of a module.
    pub(crate) fn counters(&self, module: &str) -> Counters {
        let mut all = locked(&self.counters);
        all.entry(module.to_owned()).or_insert_with(Counters::new).clone()
    }

    /// Zeroes the counters of a module.
    pub(crate) fn reset(&self, module: &str) {
        locked(&self.counters).insert(module.to_owned(), Counters::new());
    }
}

/// A session that a throttle of this node holds. Dropped before its time, it takes its unit with it.
pub(crate) struct Held {
    policies: Option<Arc<Policies>>,
    space: ThrottleSpace,
    name: String,
    now: Monotonic,
    release: Monotonic,
}

impl Held {
    /// For how long.
    pub(crate) fn duration(&self) -> std::time::Duration {
        self.release.since(self.now)
    }

    /// The time is over, or whatever ended the hold counts as if it were.
    pub(crate) fn done(mut self) {
        self.policies = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(policies) = self.policies.take() {
            policies.with(self.space, |table, _| table.withdraw(&self.name, self.release));
        }
    }
}
