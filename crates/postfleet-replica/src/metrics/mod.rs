//! The data of a `metrics` object: windowed series and gauge caches, with a column for every member.
//!
//! A series counts at once; a counter of a gauge cache that is shared is kept as the order has it, and beside it what this
//! member did that the order has not brought back: so all members forget and evict the same keys.

mod deliver;
mod gauges;
mod pending;
pub(crate) mod wire;

pub use wire::SeriesId;

use crate::counting::Reading;
use crate::counts::Origin;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem::size_of;
use core::time::Duration;
use gauges::SharedGauge;
use pending::{InFlight, Item, Own, Pending, bounded};
use postfleet_cache::GaugeLimits;
use postfleet_series::{Key, Monitor, Place, Query, Range, Series, SeriesKind};
use postfleet_types::{ColumnId, Monotonic, PrivateName, View, WallTime};
use wire::{Encoder, OwnedId, OwnedKey, name_fits};

/// Series, and gauge caches, that one object may have. Each costs memory for every member that counts in it.
const NAMES_MAX: usize = 4096;

/// Keys of a window that left its series that are freed at a time: well below a millisecond.
const DISMANTLED_AT_ONCE: usize = 10_000;

/// How often columns of departed members are looked at.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(15);

/// Why something was not counted. The caller is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// The name is empty or longer than 255 bytes.
    #[error("a name of a series or gauge cache has 1 to 255 bytes")]
    Name,
    /// The key does not fit the series, is empty, or is longer than 1000 bytes.
    #[error("the series does not count this kind of key, or the key is empty or longer than 1000 bytes")]
    Key,
    /// A series of this name and windows counts by something else.
    #[error("the series counts by {}", .0.word())]
    Kind(SeriesKind),
    /// There are too many.
    #[error("there are {NAMES_MAX} series or gauge caches already")]
    Full,
    /// The name is that of a built-in series.
    #[error("this is the name of a built-in series; give the series another")]
    Reserved,
    /// There is no gauge cache of this name.
    #[error("no such gauge cache")]
    NoSuchCache,
}

/// One series, and whose columns it has.
#[derive(Debug)]
struct SharedSeries {
    series: Series,
    columns: BTreeMap<Origin, ColumnId>,
}

impl SharedSeries {
    fn column(&mut self, origin: Origin) -> ColumnId {
        *self.columns.entry(origin).or_insert_with(|| self.series.insert_column())
    }

    fn view(&self, origin: Option<Origin>) -> Option<View> {
        match origin {
            None => Some(View::Global),
            Some(origin) => self.columns.get(&origin).copied().map(View::Column),
        }
    }

    fn book(&mut self, origin: Origin, key: Key<'_>, delta: i64, at: WallTime) {
        let column = self.column(origin);
        // Of the right kind: checked where it came from. Too old is no matter.
        let _ = self.series.book(column, key, delta, at);
    }
}

/// What of a `metrics` object is held.
#[derive(Debug, Default)]
pub struct Metrics {
    wall: WallTime,
    /// By name, then ascending by windows.
    series: BTreeMap<Box<str>, Vec<SharedSeries>>,
    gauges: BTreeMap<Box<str>, SharedGauge>,
    pending: Pending,
    in_flight: InFlight,
    /// Keys that were removed at the others' will or the own, since the last look.
    erased: Vec<Item>,
    /// Departed columns that others go on with: one may arrive from a member that has yet to learn it.
    replaced: VecDeque<(OwnedId, PrivateName)>,
    /// Columns that the own ones go on with: who comes is told, in front of the own column.
    own_replaced: Vec<(OwnedId, PrivateName)>,
    upkeep: Option<Monotonic>,
}

/// A series as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesRow {
    /// Its name.
    pub name: String,
    /// What it counts by.
    pub kind: SeriesKind,
    /// Its windows.
    pub monitor: Monitor,
}

impl Metrics {
    /// Nothing, at that time of day.
    #[must_use]
    pub fn new(wall: WallTime) -> Self {
        Self { wall, ..Self::default() }
    }

    /// Moves windows on. Cheap while the second stays the same.
    pub fn advance(&mut self, wall: WallTime) {
        let moved = self.wall.unix_seconds() != wall.unix_seconds();
        self.wall = wall;
        if moved {
            for shared in self.series.values_mut().flatten() {
                shared.series.advance(wall);
            }
        }
    }

    fn find(&self, name: &str, monitor: Monitor) -> Option<&SharedSeries> {
        self.series.get(name)?.iter().find(|shared| shared.series.monitor() == monitor)
    }

    fn find_mut(&mut self, name: &str, monitor: Monitor) -> Option<&mut SharedSeries> {
        self.series.get_mut(name)?.iter_mut().find(|shared| shared.series.monitor() == monitor)
    }

    /// The series, made when it is missing.
    fn series_mut(&mut self, id: SeriesId<'_>) -> Result<&mut SharedSeries, CountError> {
        if !name_fits(id.name) {
            return Err(CountError::Name);
        }
        if self.find(id.name, id.monitor).is_none() {
            if self.series.values().map(Vec::len).sum::<usize>() >= NAMES_MAX {
                return Err(CountError::Full);
            }
            let series = Series::new(id.kind, id.monitor, self.wall);
            let list = self.series.entry(id.name.into()).or_default();
            let at = list.partition_point(|shared| shared.series.monitor() < id.monitor);
            let mut shared = SharedSeries { series, columns: BTreeMap::new() };
            shared.column(Origin::OWN);
            list.insert(at, shared);
        }
        match self.find_mut(id.name, id.monitor) {
            Some(shared) if shared.series.kind() == id.kind => Ok(shared),
            Some(shared) => Err(CountError::Kind(shared.series.kind())),
            None => Err(CountError::Full),
        }
    }

    /// Counts in the own column, in the window that `at` lies in; what is older than the oldest counts nowhere. The
    /// series is made when it is missing.
    ///
    /// # Errors
    /// [`CountError`].
    pub fn add(
        &mut self,
        id: SeriesId<'_>,
        key: Key<'_>,
        delta: i64,
        at: WallTime,
    ) -> Result<(), CountError> {
        self.add_own(id, key, delta, at, false)
    }

    pub(crate) fn add_own(
        &mut self,
        id: SeriesId<'_>,
        key: Key<'_>,
        delta: i64,
        at: WallTime,
        sharing: bool,
    ) -> Result<(), CountError> {
        if !takes(id.kind, key) {
            return Err(CountError::Key);
        }
        let delta = bounded(delta);
        let shared = self.series_mut(id)?;
        let index = shared.series.place(at);
        shared.book(Origin::OWN, key, delta, at);
        if let Some(index) = index
            && sharing
            && delta != 0
        {
            self.pending.add(id, index, key, delta);
        }
        Ok(())
    }

    /// Forgets a key of a series. `false` when there is no such series.
    pub fn remove_item(&mut self, id: SeriesId<'_>, key: Key<'_>) -> bool {
        let Some(shared) = self.find_mut(id.name, id.monitor) else { return false };
        shared.series.remove_item(key);
        true
    }

    /// What a series counts by; `None` when there is none of that name and windows.
    #[must_use]
    pub fn kind(&self, name: &str, monitor: Monitor) -> Option<SeriesKind> {
        self.find(name, monitor).map(|shared| shared.series.kind())
    }

    /// The sum of the own column over windows, which may be negative.
    #[must_use]
    pub fn own_sum(&self, name: &str, monitor: Monitor, query: Query<'_>, range: Range) -> i64 {
        self.sum_of(name, monitor, Some(Origin::OWN), query, range)
    }

    pub(crate) fn sum_of(
        &self,
        name: &str,
        monitor: Monitor,
        origin: Option<Origin>,
        query: Query<'_>,
        range: Range,
    ) -> i64 {
        let Some(shared) = self.find(name, monitor) else { return 0 };
        shared.view(origin).map_or(0, |view| shared.series.balance(view, query, range))
    }

    /// Calls `visit` for a piece of what the own column of a series has, or all columns together: when the window begins,
    /// the key, the count. Returns where to go on; `None` at the end.
    pub fn piece(
        &self,
        of: Reading,
        name: &str,
        monitor: Monitor,
        from: &Place,
        limit: usize,
        visit: &mut dyn FnMut(WallTime, Key<'_>, i64),
    ) -> Option<Place> {
        let shared = self.find(name, monitor)?;
        shared.series.piece(shared.view(of.origin())?, from, limit, visit)
    }

    /// Every key of the own column of a series with its counts from window 0 to the oldest, ascending.
    #[must_use]
    pub fn own_rows(&self, name: &str, monitor: Monitor) -> Vec<(String, Vec<i64>)> {
        self.find(name, monitor).map_or_else(Vec::new, |shared| {
            shared.view(Some(Origin::OWN)).map(|view| shared.series.rows(view)).unwrap_or_default()
        })
    }

    /// As [`Metrics::own_rows`], of any column or of all.
    pub(crate) fn rows_of(
        &self,
        origin: Option<Origin>,
        name: &str,
        monitor: Monitor,
    ) -> Vec<(String, Vec<i64>)> {
        self.find(name, monitor).map_or_else(Vec::new, |shared| {
            shared.view(origin).map(|view| shared.series.rows(view)).unwrap_or_default()
        })
    }

    /// Every series, ascending by name and windows.
    #[must_use]
    pub fn list(&self) -> Vec<SeriesRow> {
        let row = |name: &str, shared: &SharedSeries| SeriesRow {
            name: name.to_string(),
            kind: shared.series.kind(),
            monitor: shared.series.monitor(),
        };
        self.series.iter().flat_map(|(name, list)| list.iter().map(move |shared| row(name, shared))).collect()
    }

    /// Drops series in which nobody has counted anything for their whole span, unless they are to be kept.
    pub fn drop_empty(&mut self, keep: impl Fn(SeriesId<'_>) -> bool) {
        for (name, list) in &mut self.series {
            list.retain(|shared| {
                let id = SeriesId { name, kind: shared.series.kind(), monitor: shared.series.monitor() };
                !shared.series.is_empty(View::Global) || shared.series.has_retired() || keep(id)
            });
        }
        self.series.retain(|_, list| !list.is_empty());
    }

    /// A column as bodies of at most about `limit` bytes; none when it is empty. Equal columns give equal bodies.
    pub(crate) fn encode(&self, origin: Origin, limit: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(limit);
        for (name, list) in &self.series {
            for shared in list {
                let Some(view) = shared.view(Some(origin)) else { continue };
                let (kind, monitor) = (shared.series.kind(), shared.series.monitor());
                let mut open = None;
                shared.series.for_each(view, |begin, key, count| {
                    if open != Some(begin) {
                        open = Some(begin);
                        encoder.window(SeriesId { name, kind, monitor }, monitor.index(begin.unix_seconds()));
                    }
                    encoder.push(key, bounded(count));
                });
            }
        }
        for (name, gauge) in &self.gauges {
            encoder.gauges(name, gauge.limits());
            for (key, value) in gauge.values(origin) {
                encoder.push(Key::Text(&key), bounded(value));
            }
        }
        encoder.finish()
    }

    /// What waits, as bodies of at most about `limit` bytes.
    pub(crate) fn take_pending(&mut self, limit: usize) -> Vec<Vec<u8>> {
        let pending = core::mem::take(&mut self.pending);
        pending.encode(&*self, limit)
    }

    /// A body was sent with that number.
    pub(crate) fn sent(&mut self, seq: u64, body: Vec<u8>) {
        self.in_flight.push(seq, body);
    }

    /// Drops a column.
    pub(crate) fn remove(&mut self, origin: Origin) {
        for shared in self.series.values_mut().flatten() {
            if let Some(column) = shared.columns.remove(&origin) {
                shared.series.remove_column(column);
            }
        }
        for gauge in self.gauges.values_mut() {
            gauge.remove_column(origin);
        }
    }

    /// A column goes on under another origin.
    pub(crate) fn rename(&mut self, from: Origin, to: Origin) {
        for shared in self.series.values_mut().flatten() {
            if let Some(column) = shared.columns.remove(&from) {
                shared.columns.insert(to, column);
            }
        }
        for gauge in self.gauges.values_mut() {
            gauge.rename(from, to);
        }
    }

    /// Whether a column counts nothing any more.
    pub(crate) fn is_empty(&self, origin: Origin) -> bool {
        let series = self
            .series
            .values()
            .flatten()
            .all(|shared| shared.view(Some(origin)).is_none_or(|view| shared.series.is_empty(view)));
        series && self.gauges.values().all(|gauge| !gauge.has_column(origin))
    }

    /// The sum of all that a column, or all of them, has; 0 where it is negative.
    pub(crate) fn total(&self, origin: Option<Origin>) -> u64 {
        let series: i64 = self
            .series
            .values()
            .flatten()
            .filter_map(|shared| Some((shared, shared.view(origin)?)))
            .map(|(shared, view)| shared.series.balance(view, Query::All, Range::new(0, u16::MAX)))
            .fold(0, i64::saturating_add);
        let gauges = self.gauges.values().fold(0i64, |sum, gauge| sum.saturating_add(gauge.total(origin)));
        u64::try_from(series.saturating_add(gauges)).unwrap_or(0)
    }

    /// The sum over all windows of the named audit series, those that `is_word` tells from the built-in ones.
    pub(crate) fn named_total(&self, origin: Option<Origin>, is_word: impl Fn(&str) -> bool) -> i64 {
        self.series
            .iter()
            .filter(|(name, _)| !is_word(name))
            .flat_map(|(_, list)| list)
            .filter_map(|shared| Some((shared, shared.view(origin)?)))
            .map(|(shared, view)| shared.series.balance(view, Query::All, Range::new(0, u16::MAX)))
            .fold(0, i64::saturating_add)
    }

    pub(crate) fn gauges_total(&self, origin: Option<Origin>) -> i64 {
        self.gauges.values().fold(0i64, |sum, gauge| sum.saturating_add(gauge.total(origin)))
    }

    /// When [`Metrics::upkeep`] has something to do.
    #[must_use]
    pub fn poll_upkeep(&self) -> Option<Monotonic> {
        if self.series.values().flatten().any(|shared| shared.series.has_retired()) {
            return Some(Monotonic::ZERO);
        }
        if self.series.is_empty() && self.gauges.is_empty() {
            None
        } else {
            self.upkeep.or(Some(Monotonic::ZERO))
        }
    }

    /// Frees windows that left their series, a piece at a time, and gauges that have expired. `true` when the columns of
    /// departed members are to be looked at.
    pub fn upkeep(&mut self, now: Monotonic) -> bool {
        let mut keys = DISMANTLED_AT_ONCE;
        for shared in self.series.values_mut().flatten() {
            if shared.series.has_retired() {
                shared.series.dismantle(keys);
                keys = 0;
            }
            if keys == 0 {
                return false;
            }
        }
        if self.upkeep.is_some_and(|due| due > now) {
            return false;
        }
        self.upkeep = Some(now + UPKEEP_INTERVAL);
        for gauge in self.gauges.values_mut() {
            gauge.expire(now);
        }
        true
    }

    /// The memory held, in bytes, without what the allocator adds. Passes all keys.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let series = self.series.values().flatten().map(|shared| shared.series.memory_bytes()).sum::<usize>();
        series + self.gauges.values().map(|gauge| size_of::<SharedGauge>() + gauge.bytes()).sum::<usize>()
    }
}

impl Own for Metrics {
    fn cells(&self, id: SeriesId<'_>, key: Key<'_>) -> Vec<(u64, i64)> {
        let Some(shared) = self.find(id.name, id.monitor) else { return Vec::new() };
        let Some(view) = shared.view(Some(Origin::OWN)) else { return Vec::new() };
        let index = |begin: WallTime| id.monitor.index(begin.unix_seconds());
        shared
            .series
            .cells(view, key)
            .into_iter()
            .map(|(begin, count)| (index(begin), bounded(count)))
            .collect()
    }

    fn gauge(&self, name: &str, key: &str) -> i64 {
        self.gauges.get(name).map_or(0, |gauge| gauge.own_value(key))
    }

    fn limits(&self, name: &str) -> Option<GaugeLimits> {
        self.gauges.get(name).map(SharedGauge::limits)
    }

    fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }
}

/// Whether a series of that kind counts such a key.
fn takes(kind: SeriesKind, key: Key<'_>) -> bool {
    use crate::entries::CountKey;
    match (kind, OwnedKey::from(key)) {
        (SeriesKind::Text, OwnedKey::Text(text)) => text.as_ref().fits(),
        (SeriesKind::Clients, OwnedKey::Address(_)) => true,
        (SeriesKind::Cidr, OwnedKey::Address(address)) => address.is_ipv4(),
        (SeriesKind::CidrIpv6, OwnedKey::Address(address)) => address.is_ipv6(),
        (SeriesKind::Text, OwnedKey::Address(_)) | (_, OwnedKey::Text(_)) => false,
    }
}
