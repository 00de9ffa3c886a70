//! Series and gauge caches of this node: what the edge, consoles and policy count.
//!
//! What is shared is kept by the replica, everything else here. An event is counted in one of the two, and a question is
//! answered with the sum of both, so nothing is counted twice whatever is shared, and since when. Nothing here waits: not for
//! the network, and only the file functions for a disk.

mod files;
mod journal;

pub(crate) use journal::keep;

use crate::clock;
use crate::fleet::Fleet;
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_config::AsLoggerSettings;
use postfleet_replica::{
    CountError, GaugeLimits, Key, MetricWord, Metrics, Mode, Monitor, Query, Range, Reading, SeriesId,
    SeriesKind,
};
use postfleet_series::Journal;
use postfleet_types::normalised;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Everything about series that the configuration says.
#[derive(Clone, Debug)]
pub(crate) struct AuditOptions {
    /// Windows of the series by client.
    pub(crate) monitors: Vec<Monitor>,
    pub(crate) maintenance_interval: Duration,
    /// Where changes of series are written.
    pub(crate) log_dir: PathBuf,
    /// Where series are kept over a restart.
    pub(crate) serialize_dir: PathBuf,
    /// `as_logger`: which series of the fleet are written, period by period.
    pub(crate) journal: Option<AsLoggerSettings>,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            monitors: Vec::new(),
            maintenance_interval: Duration::from_secs(300),
            log_dir: "/var/log/ecelerity/audit_series_logs".into(),
            serialize_dir: "/var/log/ecelerity/audit_series_persist".into(),
            journal: None,
        }
    }
}

/// The words whose series count by client, in the order of displays.
pub(crate) const CLIENT_WORDS: [MetricWord; 3] =
    [MetricWord::Connect, MetricWord::Reception, MetricWord::Rejection];

/// How a named series is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) kind: SeriesKind,
    /// Who hears of it; none: this node alone.
    pub(crate) mode: Option<Mode>,
    /// It is kept over an orderly restart.
    pub(crate) persist: bool,
    /// Its changes are written to files.
    pub(crate) serialize: bool,
}

impl Definition {
    /// What a series has that was never defined.
    pub(crate) const fn plain(kind: SeriesKind) -> Self {
        Self { kind, mode: None, persist: false, serialize: false }
    }
}

type Name = (String, Monitor);

struct Inner {
    options: AuditOptions,
    local: Metrics,
    defined: BTreeMap<Name, Definition>,
    /// Gauge caches that were to be shared when nothing shared them.
    to_be_shared: BTreeMap<String, GaugeLimits>,
}

/// The series and gauge caches of the node.
///
/// A plain lock: it is held for single operations. It is never held while the replica's is taken the other way round:
/// first this one, then that.
pub(crate) struct Audit {
    inner: Mutex<Inner>,
    fleet: Option<Arc<Fleet>>,
    /// What was written of this node's series that are to be written. Held while files are.
    written: tokio::sync::Mutex<BTreeMap<Name, Journal>>,
    /// The same of the fleet's series.
    journals: tokio::sync::Mutex<journal::Journals>,
}

impl Audit {
    pub(crate) fn new(options: AuditOptions, fleet: Option<Arc<Fleet>>) -> Self {
        let local = Metrics::new(clock::wall());
        let inner = Inner { options, local, defined: BTreeMap::new(), to_be_shared: BTreeMap::new() };
        Self {
            inner: Mutex::new(inner),
            fleet,
            written: tokio::sync::Mutex::default(),
            journals: tokio::sync::Mutex::default(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.local.advance(clock::wall());
        inner
    }

    /// Takes the options of a new configuration. Series by client with windows that are not monitored any more age out.
    pub(crate) fn adopt(&self, options: AuditOptions) {
        self.locked().options = options;
    }

    /// What the configuration says.
    pub(crate) fn options(&self) -> AuditOptions {
        self.locked().options.clone()
    }

    /// Something happened that the series by client count.
    pub(crate) fn event(&self, word: MetricWord, client: IpAddr, times: u32) {
        let (now, at, key) = (clock::monotonic(), clock::wall(), Key::Address(normalised(client)));
        if let Some(fleet) = &self.fleet
            && fleet.counting(|replica| replica.count_event(now, word, key, times.into(), at))
        {
            return;
        }
        let Some(kind) = word.counts_by() else { return };
        let mut inner = self.locked();
        for at_monitor in 0..inner.options.monitors.len() {
            let Some(monitor) = inner.options.monitors.get(at_monitor).copied() else { break };
            let id = SeriesId { name: word.word(), kind, monitor };
            // A client is always a key of such a series.
            let _counted = inner.local.add(id, key, times.into(), at);
        }
    }

    /// An attempt to deliver a message to a domain has ended. Only objects of the fleet count it: nothing on this node asks.
    pub(crate) fn attempted(&self, word: MetricWord, domain: &str) {
        let (now, at) = (clock::monotonic(), clock::wall());
        if let Some(fleet) = &self.fleet {
            fleet.counting(|replica| replica.count_event(now, word, Key::Text(domain), 1, at));
        }
    }

    /// The sum over windows of a series: the fleet's where it is shared. Never below 0.
    pub(crate) fn count(&self, name: &str, monitor: Monitor, query: Query<'_>, range: Range) -> u64 {
        u64::try_from(self.balance(name, monitor, query, range, Reading::Global)).unwrap_or(0)
    }

    /// As [`Audit::count`], of what this node counted.
    pub(crate) fn own_count(&self, name: &str, monitor: Monitor, query: Query<'_>, range: Range) -> u64 {
        u64::try_from(self.balance(name, monitor, query, range, Reading::Own)).unwrap_or(0)
    }

    fn balance(&self, name: &str, monitor: Monitor, query: Query<'_>, range: Range, of: Reading) -> i64 {
        let own = self.locked().local.own_sum(name, monitor, query, range);
        let shared = self
            .fleet
            .as_ref()
            .and_then(|fleet| fleet.replica(|replica| replica.shared_sum(name, monitor, query, range, of)));
        own.saturating_add(shared.unwrap_or(0))
    }

    /// The weighted sliding average over the last whole interval.
    pub(crate) fn average(&self, name: &str, monitor: Monitor, query: Query<'_>, of: Reading) -> u64 {
        let count = |window| {
            u64::try_from(self.balance(name, monitor, query, Range::window(window), of)).unwrap_or(0)
        };
        let elapsed = clock::wall().unix_seconds() % u64::from(monitor.interval());
        monitor.average(count(0), count(1), elapsed)
    }

    /// Whether the fleet shares what a built-in series counts.
    pub(crate) fn shares(&self, word: MetricWord) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.replica(|replica| replica.shares(Mode::Cluster, word)))
    }

    /// Makes a named series, or changes how it is kept from now on. One that is to be kept over a restart is loaded when it
    /// is made; see [`Audit::restore`].
    pub(crate) fn define(
        &self,
        name: &str,
        monitor: Monitor,
        definition: Definition,
    ) -> Result<(), CountError> {
        self.keep(name, monitor, definition)?;
        if let Some(mode) = definition.mode
            && !self.shares_named(mode)
        {
            notice(Severity::Warning, unshared(name, mode));
        }
        Ok(())
    }

    /// As [`Audit::define`], without a word about what is not shared.
    pub(crate) fn keep(
        &self,
        name: &str,
        monitor: Monitor,
        definition: Definition,
    ) -> Result<(), CountError> {
        reserved(name)?;
        let id = SeriesId { name, kind: definition.kind, monitor };
        if let Some(known) = self.kind(name, monitor).filter(|known| *known != id.kind) {
            return Err(CountError::Kind(known));
        }
        self.locked().defined.insert((name.to_owned(), monitor), definition);
        Ok(())
    }

    /// A series is not kept in a special way any more; what was counted ages out.
    pub(crate) fn undefine(&self, name: &str, monitor: Monitor) {
        self.locked().defined.remove(&(name.to_owned(), monitor));
    }

    /// How a series was defined; `None` when it was not.
    pub(crate) fn defined(&self, name: &str, monitor: Monitor) -> Option<Definition> {
        self.locked().defined.get(&(name.to_owned(), monitor)).copied()
    }

    /// Whether the fleet shares named series that are to be shared in this way.
    pub(crate) fn shares_named(&self, mode: Mode) -> bool {
        self.fleet
            .as_ref()
            .is_some_and(|fleet| fleet.replica(|replica| replica.shares(mode, MetricWord::AuditSeries)))
    }

    /// How a named series is kept: as it was defined, or as another member shares it. `None` for one nobody knows.
    pub(crate) fn definition(&self, name: &str, monitor: Monitor) -> Option<Definition> {
        if let Some(defined) = self.locked().defined.get(&(name.to_owned(), monitor)) {
            return Some(*defined);
        }
        let shared = self.fleet.as_ref().and_then(|fleet| {
            fleet.replica(|replica| {
                [Mode::Cluster, Mode::Managers].into_iter().find_map(|mode| {
                    let kind = replica.shared_series(mode, name)?.kind(name, monitor)?;
                    Some(Definition { mode: Some(mode), ..Definition::plain(kind) })
                })
            })
        });
        shared.or_else(|| self.locked().local.kind(name, monitor).map(Definition::plain))
    }

    /// The windows in which a series counts: those of the configuration for the series by client, those it was given
    /// for a named one. The first is the one that was asked for first, or the shortest that others share.
    pub(crate) fn monitors_of(&self, name: &str) -> Vec<Monitor> {
        if MetricWord::names_series(name) {
            return self.options().monitors;
        }
        let own: Vec<Monitor> = {
            let inner = self.locked();
            let defined =
                inner.defined.keys().filter(|(known, _)| known == name).map(|(_, monitor)| *monitor);
            let counted =
                inner.local.list().into_iter().filter(|row| row.name == name).map(|row| row.monitor);
            defined.chain(counted).collect()
        };
        if !own.is_empty() {
            return own;
        }
        self.fleet.as_ref().map_or_else(Vec::new, |fleet| {
            fleet.replica(|replica| {
                let rows = replica.all_metrics().flat_map(postfleet_replica::Metrics::list);
                rows.filter(|row| row.name == name).map(|row| row.monitor).collect()
            })
        })
    }

    fn kind(&self, name: &str, monitor: Monitor) -> Option<SeriesKind> {
        self.definition(name, monitor).map(|definition| definition.kind)
    }

    /// Counts in a named series, for whom `mode` says; where nothing shares it for them, on this node alone.
    pub(crate) fn add(
        &self,
        id: SeriesId<'_>,
        key: Key<'_>,
        delta: i64,
        mode: Option<Mode>,
    ) -> Result<(), CountError> {
        reserved(id.name)?;
        let (now, at) = (clock::monotonic(), clock::wall());
        if let (Some(mode), Some(fleet)) = (mode, &self.fleet)
            && fleet.counting(|replica| replica.count_named(now, mode, id, key, delta, at))?
        {
            return Ok(());
        }
        self.locked().local.add(id, key, delta, at)
    }

    /// Forgets a key of a named series, everywhere. `false` when there is no such series.
    pub(crate) fn remove(&self, id: SeriesId<'_>, key: Key<'_>) -> bool {
        let local = self.locked().local.remove_item(id, key);
        let shared = self.fleet.as_ref().is_some_and(|fleet| {
            fleet.counting(|replica| replica.remove_from_named(clock::monotonic(), id, key))
        });
        local || shared
    }

    /// Makes a gauge cache, or takes other limits of one into force. `shared`: for all members, as far as a `metrics` object
    /// with the word `gauge_cache` carries it; `false` as long as none does.
    pub(crate) fn init_gauges(
        &self,
        name: &str,
        limits: GaugeLimits,
        shared: bool,
    ) -> Result<bool, CountError> {
        if shared
            && let Some(fleet) = &self.fleet
            && fleet.counting(|replica| replica.init_gauges(name, limits))?
        {
            return Ok(true);
        }
        let mut inner = self.locked();
        inner.local.init_gauges(name, limits)?;
        if shared {
            inner.to_be_shared.insert(name.to_owned(), limits);
        } else {
            inner.to_be_shared.remove(name);
        }
        Ok(!shared)
    }

    /// The fleet shares other objects from now on: gauge caches that were to be shared may be so now. What this node counted
    /// in them alone is not carried over.
    pub(crate) fn share_gauges(&self) {
        let Some(fleet) = &self.fleet else { return };
        let waiting = self.locked().to_be_shared.clone();
        for (name, limits) in waiting {
            if fleet.counting(|replica| replica.init_gauges(&name, limits)).unwrap_or(false) {
                self.locked().to_be_shared.remove(&name);
            }
        }
    }

    /// Adds to a counter of a gauge cache; its value afterwards, nobody else's change between.
    pub(crate) fn add_gauge(&self, name: &str, key: &str, delta: i64) -> Result<i64, CountError> {
        let now = clock::monotonic();
        let value = |of: &Metrics| of.gauge(name, key, now).unwrap_or(0);
        if let Some(fleet) = &self.fleet {
            let shared = fleet.counting(|replica| {
                let added = replica.add_gauge(now, name, key, delta)?;
                Ok(added.then(|| replica.shared_gauges().map_or(0, value)))
            })?;
            if let Some(value) = shared {
                return Ok(value);
            }
        }
        let mut inner = self.locked();
        inner.local.add_gauge(name, key, delta, now)?;
        Ok(value(&inner.local))
    }

    /// The value of a counter; `None` where there is none.
    pub(crate) fn gauge(&self, name: &str, key: &str) -> Result<Option<i64>, CountError> {
        let now = clock::monotonic();
        let shared = self.fleet.as_ref().and_then(|fleet| {
            fleet.replica(|replica| {
                let gauges = replica.shared_gauges().filter(|gauges| gauges.has_gauges(name))?;
                Some(gauges.gauge(name, key, now))
            })
        });
        if let Some(value) = shared {
            return Ok(value);
        }
        let inner = self.locked();
        if inner.local.has_gauges(name) {
            Ok(inner.local.gauge(name, key, now))
        } else {
            Err(CountError::NoSuchCache)
        }
    }

    /// Forgets a counter, everywhere. `false` when there was none.
    pub(crate) fn remove_gauge(&self, name: &str, key: &str) -> Result<bool, CountError> {
        if self.gauge(name, key)?.is_none() {
            return Ok(false);
        }
        let now = clock::monotonic();
        if let Some(fleet) = &self.fleet
            && fleet.counting(|replica| replica.remove_gauge(now, name, key))
        {
            return Ok(true);
        }
        Ok(self.locked().local.remove_gauge(name, key))
    }

    /// What this node counted by client: for each address and series with anything but zeros, the counts by window.
    pub(crate) fn own_rows(&self, word: MetricWord, monitor: Monitor) -> BTreeMap<IpAddr, Vec<i64>> {
        let mut rows: BTreeMap<IpAddr, Vec<i64>> = BTreeMap::new();
        let mut take = |list: Vec<(String, Vec<i64>)>| {
            for (key, counts) in list {
                let Ok(address) = key.parse() else { continue };
                let row = rows.entry(address).or_insert_with(|| vec![0; counts.len()]);
                for (cell, count) in row.iter_mut().zip(counts) {
                    *cell += count;
                }
            }
        };
        take(self.locked().local.own_rows(word.word(), monitor));
        if let Some(fleet) = &self.fleet {
            take(fleet.replica(|replica| {
                [Mode::Cluster, Mode::Managers]
                    .into_iter()
                    .find_map(|mode| replica.shared_series(mode, word.word()))
                    .map(|metrics| metrics.own_rows(word.word(), monitor))
                    .unwrap_or_default()
            }));
        }
        rows
    }

    /// Frees what windows have left behind, bit by bit. `true` when there is more.
    fn upkeep(&self) -> bool {
        let now = clock::monotonic();
        let mut inner = self.locked();
        if inner.local.poll_upkeep().is_some_and(|due| due <= now) {
            let _looked = inner.local.upkeep(now);
        }
        inner.local.poll_upkeep().is_some_and(|due| due <= now)
    }

    /// Drops series that were not defined and in which nothing is left.
    fn drop_empty(&self) {
        let kept: Vec<Name> = {
            let mut inner = self.locked();
            let kept: Vec<Name> = inner.defined.keys().cloned().collect();
            inner.local.drop_empty(|id| {
                kept.iter().any(|(name, monitor)| (name.as_str(), *monitor) == (id.name, id.monitor))
            });
            kept
        };
        if let Some(fleet) = &self.fleet {
            fleet.counting(|replica| {
                replica.drop_empty_series(|id| {
                    kept.iter().any(|(name, monitor)| (name.as_str(), *monitor) == (id.name, id.monitor))
                });
            });
        }
    }
}

/// What is to be said where nothing shares what a series should.
pub(crate) fn unshared(name: &str, mode: Mode) -> String {
    let (object, what) = match mode {
        Mode::Cluster => ("metrics", "the other nodes do not hear of it"),
        Mode::Managers => ("eccmgr_metrics", "managers do not hear of it"),
    };
    format!(
        "series '{name}' counts on this node alone: {what} without Replicate \"{object}\" with the word audit_series in \
         its parameters"
    )
}

/// The same of a gauge cache.
pub(crate) fn unshared_gauges(name: &str) -> String {
    format!(
        "gauge cache '{name}' counts on this node alone: the others do not hear of it without Replicate \"metrics\" with \
         the word gauge_cache in its parameters"
    )
}

/// A named series must not be taken for one of the node's own.
fn reserved(name: &str) -> Result<(), CountError> {
    if MetricWord::names_series(name) { Err(CountError::Reserved) } else { Ok(()) }
}

/// Looks after series for as long as the node lives.
pub(crate) async fn maintain(node: Arc<Node>) {
    let mut last = clock::monotonic();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        while node.audit.upkeep() {
            tokio::task::yield_now().await;
        }
        // The interval may change meanwhile.
        if clock::monotonic().since(last) >= node.audit.options().maintenance_interval {
            last = clock::monotonic();
            node.audit.drop_empty();
            node.audit.serialize().await;
        }
    }
}
