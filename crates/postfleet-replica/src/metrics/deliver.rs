//! What the order brings: others' bodies, the own ones back, columns of members that have departed.

use super::gauges::SharedGauge;
use super::pending::Item;
use super::wire::{OwnedId, OwnedKey, Section, SeriesId, decode, decode_window};
use super::{Metrics, NAMES_MAX};
use crate::counts::Origin;
use crate::entries::CountKey;
use alloc::vec::Vec;
use postfleet_cache::GaugeLimits;
use postfleet_series::Key;
use postfleet_types::{Monotonic, PrivateName, View, WireError};

/// Replacements remembered for columns of departed members that may arrive later.
const REMEMBERED_MAX: usize = 1024;

/// Where a body comes from.
#[derive(Clone, Copy)]
enum Source<'a> {
    /// A member, at its place in the order.
    Order,
    /// A member, behind its place in the order: what it did to others' columns has been done there.
    Held,
    /// Another member that kept the column of a departed one.
    Heritage(&'a PrivateName),
}

impl Metrics {
    /// Adds the entries of a body to a column, does what it says about keys, and says how many entries there were. A series
    /// of which this member has another type is passed over.
    pub(crate) fn apply(&mut self, origin: Origin, body: &[u8], now: Monotonic) -> Result<usize, WireError> {
        self.take(origin, body, now, Source::Order)
    }

    /// As [`Metrics::apply`], of a body that had to wait for the rest of its column: what it says about keys of all columns was
    /// done at its place in the order ([`Metrics::apply_operations`]) and remains to be done in this one.
    pub(crate) fn apply_held(
        &mut self,
        origin: Origin,
        body: &[u8],
        now: Monotonic,
    ) -> Result<usize, WireError> {
        self.take(origin, body, now, Source::Held)
    }

    /// Does at its place in the order what a body says about keys of all columns, while its entries wait or are ignored.
    pub(crate) fn apply_operations(&mut self, origin: Origin, body: &[u8], now: Monotonic) {
        // What cannot be read is noticed where the entries are applied.
        let _ = decode::<WireError>(body, |section| {
            if matches!(section, Section::Remove { .. } | Section::RemoveGauge { .. }) {
                self.operate(origin, section, now);
            }
            Ok(())
        });
    }

    /// Adds a part of the column that `member` left behind.
    pub(crate) fn inherit(
        &mut self,
        origin: Origin,
        member: &PrivateName,
        body: &[u8],
        now: Monotonic,
    ) -> Result<usize, WireError> {
        self.take(origin, body, now, Source::Heritage(member))
    }

    fn take(
        &mut self,
        origin: Origin,
        body: &[u8],
        now: Monotonic,
        source: Source<'_>,
    ) -> Result<usize, WireError> {
        let mut changes = 0;
        decode(body, |section| {
            match section {
                Section::Window { id, index, entries } => {
                    if let Source::Heritage(member) = source
                        && self.replaced.contains(&(id.into(), member.clone()))
                    {
                        return Ok(());
                    }
                    changes += self.take_window(origin, id, index, entries)?;
                }
                Section::Gauges { name, limits, entries } => {
                    changes += self.take_gauges(origin, name, limits, entries, now)?;
                }
                Section::Remove { .. }
                | Section::RemoveGauge { .. }
                | Section::Restate { .. }
                | Section::RestateGauge { .. }
                | Section::Replaces { .. } => {
                    changes += 1;
                    match source {
                        Source::Order => self.operate(origin, section, now),
                        Source::Held => self.operate_held(origin, section, now),
                        Source::Heritage(_) => {}
                    }
                }
            }
            Ok::<(), WireError>(())
        })?;
        Ok(changes)
    }

    fn take_window(
        &mut self,
        origin: Origin,
        id: SeriesId<'_>,
        index: u64,
        entries: &[u8],
    ) -> Result<usize, WireError> {
        let at = id.monitor.begin(index);
        let mut changes = 0;
        let mut shared = self.series_mut(id).ok();
        decode_window(id.kind, entries, |key, number| {
            changes += 1;
            if let Some(shared) = &mut shared {
                shared.book(origin, key, number, at);
            }
            Ok::<(), WireError>(())
        })?;
        Ok(changes)
    }

    fn take_gauges(
        &mut self,
        origin: Origin,
        name: &str,
        limits: GaugeLimits,
        entries: &[u8],
        now: Monotonic,
    ) -> Result<usize, WireError> {
        if !self.gauges.contains_key(name) && self.gauges.len() < NAMES_MAX {
            self.gauges.insert(name.into(), SharedGauge::new(limits));
        }
        let mut changes = 0;
        let mut gauge = self.gauges.get_mut(name);
        str::decode(entries, |key, number| {
            changes += 1;
            if let Some(gauge) = &mut gauge {
                gauge.change(origin, key, number, now);
            }
            Ok::<(), WireError>(())
        })?;
        Ok(changes)
    }

    /// Does what a section says about keys.
    fn operate(&mut self, origin: Origin, section: Section<'_>, now: Monotonic) {
        match section {
            Section::Remove { id, key } => {
                self.erase(id, &key);
                self.erased.push(Item::Series(id.into(), key));
            }
            Section::RemoveGauge { name, key } => {
                if let Some(gauge) = self.gauges.get_mut(name) {
                    gauge.remove(key);
                }
                self.erased.push(Item::Gauge(name.into(), key.into()));
            }
            Section::Restate { id, key, cells } => {
                let Ok(shared) = self.series_mut(id) else { return };
                let column = shared.column(origin);
                for (begin, count) in shared.series.cells(View::Column(column), key.key()) {
                    shared.book(origin, key.key(), count.saturating_neg(), begin);
                }
                for (index, count) in cells {
                    shared.book(origin, key.key(), count, id.monitor.begin(index));
                }
            }
            Section::RestateGauge { name, key, value } => {
                if let Some(gauge) = self.gauges.get_mut(name)
                    && key.fits()
                {
                    gauge.restate(origin, key, value, now);
                }
            }
            Section::Replaces { .. } | Section::Window { .. } | Section::Gauges { .. } => {}
        }
    }

    /// Does in one column what a section says about keys.
    fn operate_held(&mut self, origin: Origin, section: Section<'_>, now: Monotonic) {
        let section = match section {
            Section::Remove { id, key } => Section::Restate { id, key, cells: Vec::new() },
            Section::RemoveGauge { name, key } => Section::RestateGauge { name, key, value: 0 },
            other @ (Section::Window { .. }
            | Section::Gauges { .. }
            | Section::Restate { .. }
            | Section::RestateGauge { .. }
            | Section::Replaces { .. }) => other,
        };
        self.operate(origin, section, now);
    }

    /// A key goes from all columns. What this member counted and the order has not brought yet stands behind the removal.
    fn erase(&mut self, id: SeriesId<'_>, key: &OwnedKey) {
        let mut later = self.in_flight.cells(id, key);
        later.extend(self.pending.cells(id, key));
        let Some(shared) = self.find_mut(id.name, id.monitor) else { return };
        shared.series.remove_item(key.key());
        for (index, delta) in later {
            shared.book(Origin::OWN, key.key(), delta, id.monitor.begin(index));
        }
    }

    /// A column of a series whose origin has departed goes: its owner goes on with it under another name. `origin`: where it
    /// is held.
    pub(crate) fn replace(&mut self, id: &OwnedId, member: &PrivateName, origin: Option<Origin>) {
        if let Some(shared) = self.find_mut(&id.name, id.monitor)
            && let Some(column) = origin.and_then(|origin| shared.columns.remove(&origin))
        {
            shared.series.remove_column(column);
        }
        if self.replaced.len() >= REMEMBERED_MAX {
            self.replaced.pop_front();
        }
        self.replaced.push_back((id.clone(), member.clone()));
    }

    /// The columns that a body says are gone on with.
    pub(crate) fn replacements(body: &[u8]) -> Vec<(OwnedId, PrivateName)> {
        let mut found = Vec::new();
        // What cannot be read is noticed where the body is applied.
        let _ = decode::<WireError>(body, |section| {
            if let Section::Replaces { id, member } = section {
                found.push((id.into(), member));
            }
            Ok(())
        });
        found
    }

    /// One of the own bodies came back: it is at its place in the order on every member.
    pub(crate) fn own_delivered(&mut self, seq: u64, body: &[u8], now: Monotonic) {
        if !self.in_flight.contains(seq) {
            return;
        }
        self.deliver_own(body, now);
        self.in_flight.pop(seq);
    }

    fn deliver_own(&mut self, body: &[u8], now: Monotonic) {
        // Own bodies can be read.
        let _ = decode::<WireError>(body, |section| {
            match section {
                Section::Gauges { name, entries, .. } => {
                    if let Some(gauge) = self.gauges.get_mut(name) {
                        str::decode::<WireError>(entries, |key, delta| {
                            gauge.note(key, delta.saturating_neg());
                            gauge.change(Origin::OWN, key, delta, now);
                            Ok(())
                        })?;
                    }
                }
                Section::Remove { .. } | Section::RemoveGauge { .. } => {
                    self.operate(Origin::OWN, section, now);
                }
                // The own column has it already.
                Section::Window { .. }
                | Section::Restate { .. }
                | Section::RestateGauge { .. }
                | Section::Replaces { .. } => {}
            }
            Ok(())
        });
    }

    /// Nobody is there to hear of what waits and of what is under way: it is done here and now.
    pub(crate) fn forget_pending(&mut self, now: Monotonic) {
        for body in self.take_pending(usize::MAX / 2) {
            self.in_flight.push_last(body);
        }
        while let Some((seq, body)) = self.in_flight.first() {
            self.deliver_own(&body, now);
            self.in_flight.pop(seq);
        }
        self.erased.clear();
    }

    /// Asks for a key to be forgotten by all members, at its place in the order.
    pub(crate) fn order_removal(&mut self, id: SeriesId<'_>, key: Key<'_>) {
        self.pending.remove(Item::Series(id.into(), key.into()));
    }

    /// The own column of a series goes on where that of a departed member ended. `sharing`: the members hear of it now.
    pub(crate) fn order_replacement(&mut self, id: SeriesId<'_>, member: PrivateName, sharing: bool) {
        let told = (OwnedId::from(id), member);
        if self.own_replaced.contains(&told) || self.own_replaced.len() >= REMEMBERED_MAX {
            return;
        }
        if sharing {
            self.pending.replaces(told.0.clone(), told.1.clone());
        }
        self.own_replaced.push(told);
    }

    /// A cut of the own column is about to be sent: what it goes on with is told first.
    pub(crate) fn repeat_replacements(&mut self) {
        for (id, member) in &self.own_replaced {
            self.pending.replaces(id.clone(), member.clone());
        }
    }

    /// After keys were removed. Where a cut of the own column is on its way that does not know of it, what the column has for
    /// them is told anew. Where columns of departed members are on their way, they are removed once more behind these: nobody
    /// else can tell of them anew. `true` when something waits for one of these reasons.
    pub(crate) fn restate_erased(&mut self, cut_under_way: bool, heritage_under_way: bool) -> bool {
        let mut any = false;
        for item in core::mem::take(&mut self.erased) {
            if heritage_under_way {
                match &item {
                    Item::Series(id, key) => self.order_removal(id.id(), key.key()),
                    Item::Gauge(name, key) => self.order_removal_of_gauge(name, key),
                }
                any = true;
            }
            if cut_under_way || self.in_flight.restates(&item) {
                self.pending.restate(item);
                any = true;
            }
        }
        any
    }
}
