//! What is counted in series and gauge caches that are shared: the words of `parameters`, series that policies name, gauge
//! caches. Everything here changes the own column at once and waits for nobody.
//!
//! Series are windows of the time of day: hand it over ([`Replica::set_wall`]) before anything that counts or reads.

use crate::SeriesRow;
use crate::counts::Origin;
use crate::metrics::wire::OwnedId;
use crate::metrics::{CountError, Metrics, SeriesId};
use crate::object::{MetricWord, ObjectKind, ObjectSpec};
use crate::replica::Replica;
use crate::shared::{Data, Shared};
use alloc::vec::Vec;
use bytes::Bytes;
use postfleet_cache::GaugeLimits;
use postfleet_series::{Key, Monitor, Query, Range};
use postfleet_types::{Monotonic, PrivateName, WallTime};

use crate::wire::{Block, read_batch};

/// Whom a series is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Every member: an object of kind `metrics` with the word `audit_series`.
    Cluster,
    /// Managers: an object of kind `eccmgr_metrics` with that word.
    Managers,
}

impl Mode {
    const fn kind(self) -> ObjectKind {
        match self {
            Self::Cluster => ObjectKind::Metrics,
            Self::Managers => ObjectKind::EccmgrMetrics,
        }
    }
}

/// Which counts of a shared series are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All columns.
    Global,
    /// The own one.
    Own,
}

impl Reading {
    pub(crate) const fn origin(self) -> Option<Origin> {
        match self {
            Self::Global => None,
            Self::Own => Some(Origin::OWN),
        }
    }
}

fn object(objects: &mut [Shared], kind: ObjectKind, word: MetricWord) -> Option<(&ObjectSpec, &mut Data)> {
    objects
        .iter_mut()
        .filter(|shared| shared.spec.kind == kind && shared.spec.words.contains(&word))
        .find_map(|shared| Some((&shared.spec, shared.data.as_mut()?)))
}

impl Replica {
    /// Tells the time of day. Cheap while the second stays the same.
    pub fn set_wall(&mut self, wall: WallTime) {
        for metrics in self.objects.iter_mut().filter_map(|object| object.data.as_mut()?.counts.metrics_mut())
        {
            metrics.advance(wall);
        }
    }

    fn data_of(&self, kind: ObjectKind, word: MetricWord) -> Option<&Data> {
        self.objects
            .iter()
            .filter(|shared| shared.spec.kind == kind && shared.spec.words.contains(&word))
            .find_map(|shared| shared.data.as_ref())
    }

    fn metrics_of(&self, kind: ObjectKind, word: MetricWord) -> Option<&Metrics> {
        self.data_of(kind, word)?.counts.metrics()
    }

    /// Whether an object of that mode shares what the word says.
    #[must_use]
    pub fn shares(&self, mode: Mode, word: MetricWord) -> bool {
        self.metrics_of(mode.kind(), word).is_some()
    }

    /// An event that a built-in series counts happened, at that time of day. `false` when no object counts it, so that it is
    /// the caller's to count.
    pub fn count_event(
        &mut self,
        now: Monotonic,
        word: MetricWord,
        key: Key<'_>,
        delta: i64,
        at: WallTime,
    ) -> bool {
        let sharing = self.sharing();
        let Some(kind) = word.counts_by() else { return false };
        let mut counted = false;
        for mode in [Mode::Cluster, Mode::Managers] {
            let Some((spec, data)) = object(&mut self.objects, mode.kind(), word) else { continue };
            counted = true;
            for monitor in spec.monitors(word) {
                let id = SeriesId { name: word.word(), kind, monitor: *monitor };
                let Some(metrics) = data.counts.metrics_mut() else { continue };
                // The name fits, and a key that does not is not a client or domain.
                if metrics.add_own(id, key, delta, at, sharing).is_ok() {
                    self.counters.own_changes += 1;
                    if sharing {
                        data.noted(now);
                    }
                }
            }
        }
        counted
    }

    /// Counts in a series that policy names. `false` when no object of that mode carries the word `audit_series`: then
    /// nothing was counted.
    ///
    /// # Errors
    /// [`CountError`].
    pub fn count_named(
        &mut self,
        now: Monotonic,
        mode: Mode,
        id: SeriesId<'_>,
        key: Key<'_>,
        delta: i64,
        at: WallTime,
    ) -> Result<bool, CountError> {
        let sharing = self.sharing();
        let Some((_, data)) = object(&mut self.objects, mode.kind(), MetricWord::AuditSeries) else {
            return Ok(false);
        };
        let Some(metrics) = data.counts.metrics_mut() else { return Ok(false) };
        metrics.add_own(id, key, delta, at, sharing)?;
        self.counters.own_changes += 1;
        if sharing {
            data.noted(now);
        }
        Ok(true)
    }

    /// Removes a key of a named series from all columns on all members, at its place in the order. `false` when this member
    /// does not know the series.
    pub fn remove_from_named(&mut self, now: Monotonic, id: SeriesId<'_>, key: Key<'_>) -> bool {
        let sharing = self.sharing();
        let mut known = false;
        for mode in [Mode::Cluster, Mode::Managers] {
            let Some((_, data)) = object(&mut self.objects, mode.kind(), MetricWord::AuditSeries) else {
                continue;
            };
            let Some(metrics) = data.counts.metrics_mut() else { continue };
            if metrics.kind(id.name, id.monitor) != Some(id.kind) {
                continue;
            }
            known = true;
            if sharing {
                metrics.order_removal(id, key);
                data.noted(now);
            } else {
                metrics.remove_item(id, key);
            }
        }
        known
    }

    /// The own column of a named series goes on where that of a member ended that has left for good, in an earlier life of
    /// this node: all members drop what they hold of that one, at one point of the order.
    pub fn replace_named(&mut self, now: Monotonic, id: SeriesId<'_>, member: &PrivateName) {
        let sharing = self.sharing();
        for mode in [Mode::Cluster, Mode::Managers] {
            let Some((_, data)) = object(&mut self.objects, mode.kind(), MetricWord::AuditSeries) else {
                continue;
            };
            let departed = data.departed.get(member).map(|departed| departed.origin);
            let Some(metrics) = data.counts.metrics_mut() else { continue };
            metrics.replace(&OwnedId::from(id), member, departed);
            metrics.order_replacement(id, member.clone(), sharing);
            if sharing {
                data.noted(now);
            }
        }
    }

    /// What the shared series of a name and windows has; `None` when no object shares it. Sums may be negative.
    #[must_use]
    pub fn shared_sum(
        &self,
        name: &str,
        monitor: Monitor,
        query: Query<'_>,
        range: Range,
        reading: Reading,
    ) -> Option<i64> {
        let word = match MetricWord::from_word(name) {
            Some(word) if word.counts_by().is_some() => word,
            Some(_) | None => MetricWord::AuditSeries,
        };
        let origin = reading.origin();
        let cluster = self.metrics_of(ObjectKind::Metrics, word);
        let managers = self.metrics_of(ObjectKind::EccmgrMetrics, word);
        let sum = |metrics: &Metrics| metrics.sum_of(name, monitor, origin, query, range);
        if word == MetricWord::AuditSeries {
            // An event is counted in one of them.
            let known = [cluster, managers].into_iter().flatten().filter(|m| m.kind(name, monitor).is_some());
            let sums: Vec<i64> = known.map(sum).collect();
            return (!sums.is_empty()).then(|| sums.into_iter().fold(0, i64::saturating_add));
        }
        // An event is counted in both.
        cluster.or(managers).map(sum)
    }

    /// The own column of the shared series of that name and windows, and all that goes with it. `None` when there is none.
    #[must_use]
    pub fn shared_series(&self, mode: Mode, name: &str) -> Option<&Metrics> {
        let word = match MetricWord::from_word(name) {
            Some(word) if word.counts_by().is_some() => word,
            Some(_) | None => MetricWord::AuditSeries,
        };
        self.metrics_of(mode.kind(), word)
    }

    /// All objects of series and gauge caches.
    pub fn all_metrics(&self) -> impl Iterator<Item = &Metrics> {
        self.datas().filter_map(|data| data.counts.metrics())
    }

    /// The series that all nodes share, ascending by name and windows, and whether who comes is told what there is.
    #[must_use]
    pub fn cluster_series(&self) -> Vec<(SeriesRow, bool)> {
        let mut list = Vec::new();
        for object in self.objects.iter().filter(|object| object.spec.kind == ObjectKind::Metrics) {
            let metrics = object.data.as_ref().and_then(|data| data.counts.metrics());
            for row in metrics.map(Metrics::list).unwrap_or_default() {
                let read = self.shared_series(Mode::Cluster, &row.name);
                if read.is_some_and(|read| read.kind(&row.name, row.monitor).is_some()) {
                    list.push((row, object.spec.snapped()));
                }
            }
        }
        list.sort_by(|(a, _), (b, _)| (&a.name, a.monitor).cmp(&(&b.name, b.monitor)));
        list.dedup_by(|(a, _), (b, _)| a == b);
        list
    }

    /// Whether no counts of other members are on their way to the series that all nodes share.
    #[must_use]
    pub fn cluster_series_complete(&self) -> bool {
        let mut names = self.objects.iter().filter(|object| object.spec.kind == ObjectKind::Metrics);
        names.all(|object| self.object(&object.spec.name).is_ok_and(|view| view.missing().is_empty()))
    }

    /// Drops shared series in which nobody has counted anything for their whole span, unless they are to be kept.
    pub fn drop_empty_series(&mut self, keep: impl Fn(SeriesId<'_>) -> bool) {
        for metrics in self.objects.iter_mut().filter_map(|object| object.data.as_mut()?.counts.metrics_mut())
        {
            metrics.drop_empty(&keep);
        }
    }

    fn gauges(&mut self) -> Option<&mut Data> {
        object(&mut self.objects, ObjectKind::Metrics, MetricWord::GaugeCache).map(|(_, data)| data)
    }

    /// Makes a shared gauge cache, or takes other limits of one into force. `false` when no object carries the word
    /// `gauge_cache`.
    ///
    /// # Errors
    /// [`CountError`].
    pub fn init_gauges(&mut self, name: &str, limits: GaugeLimits) -> Result<bool, CountError> {
        match self.gauges().and_then(|data| data.counts.metrics_mut()) {
            None => Ok(false),
            Some(metrics) => metrics.init_gauges(name, limits).map(|()| true),
        }
    }

    /// Adds to a shared counter. `false` when there is no shared gauge cache of that name.
    ///
    /// # Errors
    /// [`CountError::Key`].
    pub fn add_gauge(
        &mut self,
        now: Monotonic,
        name: &str,
        key: &str,
        delta: i64,
    ) -> Result<bool, CountError> {
        let sharing = self.sharing();
        let Some(data) = self.gauges() else { return Ok(false) };
        let Some(metrics) = data.counts.metrics_mut().filter(|metrics| metrics.has_gauges(name)) else {
            return Ok(false);
        };
        metrics.add_own_gauge(name, key, delta, now, sharing)?;
        if sharing {
            data.noted(now);
        }
        self.counters.own_changes += 1;
        Ok(true)
    }

    /// Removes a shared counter from all columns on all members, at its place in the order. `false` when there is none.
    pub fn remove_gauge(&mut self, now: Monotonic, name: &str, key: &str) -> bool {
        let sharing = self.sharing();
        let Some(data) = self.gauges() else { return false };
        let Some(metrics) = data.counts.metrics_mut() else { return false };
        let known = metrics.gauge(name, key, now).is_some();
        if !sharing {
            return metrics.remove_gauge(name, key);
        }
        if known {
            metrics.order_removal_of_gauge(name, key);
            data.noted(now);
        }
        known
    }

    /// The shared gauge caches; `None` when no object carries the word.
    #[must_use]
    pub fn shared_gauges(&self) -> Option<&Metrics> {
        self.metrics_of(ObjectKind::Metrics, MetricWord::GaugeCache)
    }

    /// One of the own batches came back.
    pub(crate) fn receive_own_batch(&mut self, now: Monotonic, payload: &Bytes) {
        if self.objects.iter().all(|object| !object.spec.kind.keeps_what_happened()) {
            return;
        }
        let Ok(batch) = read_batch(payload) else { return };
        for block in batch.blocks {
            let Block::Entries { kind, name, seq, body } = block else { continue };
            let found = self.objects.iter_mut().find(|object| object.spec.name == name);
            if let Some(Shared { spec, data: Some(data), .. }) = found
                && spec.kind.code() == kind
                && let Some(metrics) = data.counts.metrics_mut()
            {
                metrics.own_delivered(seq, body, now);
            }
        }
        self.restate_erased(now);
    }

    /// What a body that was applied says about columns of members that have departed.
    pub(crate) fn replace_columns(&mut self, name: &str, body: &[u8]) {
        let found = self.objects.iter_mut().find(|object| object.spec.name == name);
        let Some(data) = found.and_then(|object| object.data.as_mut()) else { return };
        if !data.keeps_departed() {
            return;
        }
        for (id, member) in Metrics::replacements(body) {
            let present = self.peers.get(&member).and_then(|peer| peer.origin);
            let origin = data.departed.get(&member).map(|departed| departed.origin).or(present);
            if let Some(metrics) = data.counts.metrics_mut() {
                metrics.replace(&id, &member, origin);
            }
        }
    }

    /// After keys were removed from columns: where a cut of the own column is on its way that does not know of it, what the
    /// column has for them is told anew behind it.
    pub(crate) fn restate_erased(&mut self, now: Monotonic) {
        let cut_under_way = self.markers_under_way > 0 || !self.sessions.is_empty();
        let heritage_under_way = self.heirs.under_way();
        let sharing = self.sharing();
        for data in self.objects.iter_mut().filter_map(|object| object.data.as_mut()) {
            let (cut, heritage) = (cut_under_way && data.snapped, heritage_under_way && data.snapped);
            if let Some(metrics) = data.counts.metrics_mut()
                && metrics.restate_erased(cut, heritage)
                && sharing
            {
                data.noted(now);
            }
        }
    }
}
