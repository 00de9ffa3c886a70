//! What of the own columns waits to be sent, and what was sent and has not come back.

use super::wire::{Encoder, OwnedId, OwnedKey, Section, SeriesId, decode, decode_window};
use crate::entries::{CountKey, NUMBER_MAX};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;
use postfleet_cache::GaugeLimits;
use postfleet_series::{Key, Monitor, SeriesKind};
use postfleet_types::{PrivateName, WireError};

/// A key of a series, or of a gauge cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Series(OwnedId, OwnedKey),
    Gauge(Box<str>, Box<str>),
}

/// Changes of a window, merged by key.
#[derive(Clone, Debug)]
enum Cells {
    Addresses(BTreeMap<IpAddr, i64>),
    Texts(BTreeMap<Box<str>, i64>),
}

/// Windows and kind of a series, and the index of a window.
type WindowOf = (Monitor, SeriesKind, u64);

/// What waits, merged.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    removes: Vec<Item>,
    replaces: Vec<(OwnedId, PrivateName)>,
    restates: BTreeSet<Item>,
    /// By name.
    series: BTreeMap<Box<str>, BTreeMap<WindowOf, Cells>>,
    gauges: BTreeMap<Box<str>, BTreeMap<Box<str>, i64>>,
}

/// What the own columns have, for those who restate it and for the limits of gauge caches.
pub(super) trait Own {
    fn cells(&self, id: SeriesId<'_>, key: Key<'_>) -> Vec<(u64, i64)>;
    fn gauge(&self, name: &str, key: &str) -> i64;
    fn limits(&self, name: &str) -> Option<GaugeLimits>;
    fn in_flight(&self) -> &InFlight;
}

fn add<K: Ord + ?Sized, O: Ord + core::borrow::Borrow<K>>(
    changes: &mut BTreeMap<O, i64>,
    key: &K,
    own: impl FnOnce() -> O,
    delta: i64,
) {
    match changes.get_mut(key) {
        Some(sum) => {
            *sum = sum.saturating_add(delta);
            if *sum == 0 {
                changes.remove(key);
            }
        }
        None => {
            changes.insert(own(), delta);
        }
    }
}

impl Pending {
    pub(super) fn add(&mut self, id: SeriesId<'_>, index: u64, key: Key<'_>, delta: i64) {
        let windows = match self.series.get_mut(id.name) {
            Some(windows) => windows,
            None => self.series.entry(id.name.into()).or_default(),
        };
        let cells = windows.entry((id.monitor, id.kind, index)).or_insert_with(|| match id.kind {
            SeriesKind::Text => Cells::Texts(BTreeMap::new()),
            SeriesKind::Cidr | SeriesKind::CidrIpv6 | SeriesKind::Clients => {
                Cells::Addresses(BTreeMap::new())
            }
        });
        match (cells, key) {
            (Cells::Addresses(cells), Key::Address(address)) => {
                let address = postfleet_types::normalised(address);
                add(cells, &address, || address, delta);
            }
            (Cells::Texts(cells), Key::Text(text)) => add(cells, text, || text.into(), delta),
            (Cells::Addresses(_) | Cells::Texts(_), _) => {}
        }
    }

    pub(super) fn add_gauge(&mut self, name: &str, key: &str, delta: i64) {
        let keys = match self.gauges.get_mut(name) {
            Some(keys) => keys,
            None => self.gauges.entry(name.into()).or_default(),
        };
        add(keys, key, || key.into(), delta);
    }

    /// A key goes. What waits for it goes with it: it stands before the removal.
    pub(super) fn remove(&mut self, item: Item) {
        match &item {
            Item::Series(id, key) => {
                for ((monitor, kind, _), cells) in self.series.get_mut(&id.name).into_iter().flatten() {
                    if (*monitor, *kind) == (id.monitor, id.kind) {
                        match (cells, key) {
                            (Cells::Addresses(cells), OwnedKey::Address(address)) => {
                                cells.remove(address);
                            }
                            (Cells::Texts(cells), OwnedKey::Text(text)) => {
                                cells.remove(text);
                            }
                            (Cells::Addresses(_) | Cells::Texts(_), _) => {}
                        }
                    }
                }
            }
            Item::Gauge(name, key) => {
                if let Some(keys) = self.gauges.get_mut(name) {
                    keys.remove(key);
                }
            }
        }
        self.removes.push(item);
    }

    pub(super) fn replaces(&mut self, id: OwnedId, member: PrivateName) {
        self.replaces.push((id, member));
    }

    /// What the own column has for a key is to be told anew.
    pub(super) fn restate(&mut self, item: Item) {
        self.restates.insert(item);
    }

    /// What waits for a key, by window.
    pub(super) fn cells(&self, id: SeriesId<'_>, key: &OwnedKey) -> Vec<(u64, i64)> {
        let windows = self.series.get(id.name).into_iter().flatten();
        windows
            .filter(|((monitor, kind, _), _)| (*monitor, *kind) == (id.monitor, id.kind))
            .filter_map(|((_, _, index), cells)| {
                let delta = match (cells, key) {
                    (Cells::Addresses(cells), OwnedKey::Address(address)) => cells.get(address),
                    (Cells::Texts(cells), OwnedKey::Text(text)) => cells.get(text),
                    (Cells::Addresses(_) | Cells::Texts(_), _) => None,
                };
                delta.map(|delta| (*index, *delta))
            })
            .collect()
    }

    pub(super) fn gauge(&self, name: &str, key: &str) -> i64 {
        self.gauges.get(name).and_then(|keys| keys.get(key)).copied().unwrap_or(0)
    }

    /// As bodies of at most about `limit` bytes: first what is done to keys, then changes.
    pub(super) fn encode(&self, own: &impl Own, limit: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(limit);
        for item in &self.removes {
            encoder.operation(&match item {
                Item::Series(id, key) => Section::Remove { id: id.id(), key: key.clone() },
                Item::Gauge(name, key) => Section::RemoveGauge { name, key },
            });
        }
        for (id, member) in &self.replaces {
            encoder.operation(&Section::Replaces { id: id.id(), member: member.clone() });
        }
        for item in &self.restates {
            // As before the changes that follow.
            // What is restated stands behind a removal that waits, or is under way: that one counts as done.
            let removed = self.removes.contains(item);
            encoder.operation(&match item {
                Item::Series(id, key) => {
                    let mut cells = BTreeMap::new();
                    if !removed && let Some(behind) = own.in_flight().cells_behind_removal(id.id(), key) {
                        for (index, delta) in behind {
                            *cells.entry(index).or_default() += delta;
                        }
                    } else if !removed {
                        cells.extend(own.cells(id.id(), key.key()));
                        for (index, delta) in self.cells(id.id(), key) {
                            *cells.entry(index).or_default() -= delta;
                        }
                    }
                    let cells = cells.into_iter().filter(|(_, count)| *count != 0).collect();
                    Section::Restate { id: id.id(), key: key.clone(), cells }
                }
                Item::Gauge(name, key) => {
                    let value = match own.in_flight().gauge_behind_removal(name, key) {
                        _ if removed => 0,
                        Some(behind) => behind,
                        None => own.gauge(name, key).saturating_sub(self.gauge(name, key)),
                    };
                    Section::RestateGauge { name, key, value }
                }
            });
        }
        for (name, windows) in &self.series {
            for ((monitor, kind, index), cells) in windows {
                encoder.window(SeriesId { name, kind: *kind, monitor: *monitor }, *index);
                match cells {
                    Cells::Addresses(cells) => {
                        cells
                            .iter()
                            .for_each(|(key, delta)| encoder.push(Key::Address(*key), bounded(*delta)));
                    }
                    Cells::Texts(cells) => {
                        cells.iter().for_each(|(key, delta)| encoder.push(Key::Text(key), bounded(*delta)));
                    }
                }
            }
        }
        for (name, keys) in &self.gauges {
            let Some(limits) = own.limits(name) else { continue };
            encoder.gauges(name, limits);
            keys.iter().for_each(|(key, delta)| encoder.push(Key::Text(key), bounded(*delta)));
        }
        encoder.finish()
    }
}

/// A number as it may travel.
pub(super) fn bounded(number: i64) -> i64 {
    number.clamp(-NUMBER_MAX, NUMBER_MAX)
}

/// Bodies that were sent and have not come back, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct InFlight(VecDeque<(u64, Vec<u8>)>);

impl InFlight {
    pub(super) fn push(&mut self, seq: u64, body: Vec<u8>) {
        self.0.push_back((seq, body));
    }

    /// As the last one, with whatever number follows.
    pub(super) fn push_last(&mut self, body: Vec<u8>) {
        let seq = self.0.back().map_or(0, |(seq, _)| seq.saturating_add(1));
        self.push(seq, body);
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        self.0.iter().any(|(held, _)| *held == seq)
    }

    /// Forgets what is not younger than `seq`.
    pub(super) fn pop(&mut self, seq: u64) {
        while self.0.front().is_some_and(|(held, _)| *held <= seq) {
            self.0.pop_front();
        }
    }

    pub(super) fn first(&self) -> Option<(u64, Vec<u8>)> {
        self.0.front().cloned()
    }

    /// The changes of a key that are under way, by window.
    pub(super) fn cells(&self, id: SeriesId<'_>, key: &OwnedKey) -> Vec<(u64, i64)> {
        let mut cells = Vec::new();
        self.each(|section| {
            if let Section::Window { id: found, index, entries } = section
                && *found == id
            {
                cells.extend(changes_of(id, key, entries).into_iter().map(|delta| (*index, delta)));
            }
        });
        cells
    }

    /// The changes of a key that are under way behind its removal, by window; `None` when no removal is.
    pub(super) fn cells_behind_removal(&self, id: SeriesId<'_>, key: &OwnedKey) -> Option<Vec<(u64, i64)>> {
        let mut behind = None;
        self.each(|section| {
            if let Section::Remove { id: found, key: removed } = section
                && (*found, removed) == (id, key)
            {
                behind = Some(Vec::new());
            } else if let Section::Window { id: found, index, entries } = section
                && *found == id
                && let Some(cells) = &mut behind
            {
                cells.extend(changes_of(id, key, entries).into_iter().map(|delta| (*index, delta)));
            }
        });
        behind
    }

    /// As [`InFlight::cells_behind_removal`], of a gauge.
    pub(super) fn gauge_behind_removal(&self, name: &str, key: &str) -> Option<i64> {
        let mut behind = None;
        self.each(|section| {
            if let Section::RemoveGauge { name: found, key: removed } = section
                && (*found, *removed) == (name, key)
            {
                behind = Some(0_i64);
            } else if let Section::Gauges { name: found, entries, .. } = section
                && *found == name
                && let Some(sum) = &mut behind
            {
                // Own bodies can be read.
                let _ = str::decode::<WireError>(entries, |found, delta| {
                    if found == key {
                        *sum = sum.saturating_add(delta);
                    }
                    Ok(())
                });
            }
        });
        behind
    }

    /// Whether something is under way that says what the column has for a key.
    pub(super) fn restates(&self, item: &Item) -> bool {
        let mut any = false;
        self.each(|section| {
            any |= match (section, item) {
                (Section::Restate { id, key, .. }, Item::Series(owned, item)) => {
                    *id == owned.id() && key == item
                }
                (Section::RestateGauge { name, key, .. }, Item::Gauge(cache, item)) => {
                    *name == &**cache && *key == &**item
                }
                _ => false,
            };
        });
        any
    }

    fn each(&self, mut take: impl FnMut(&Section<'_>)) {
        for (_, body) in &self.0 {
            let _ = decode::<WireError>(body, |section| {
                take(&section);
                Ok(())
            });
        }
    }
}

/// The changes of a key in a window of an own body.
fn changes_of(id: SeriesId<'_>, key: &OwnedKey, entries: &[u8]) -> Vec<i64> {
    let mut changes = Vec::new();
    // Own bodies can be read.
    let _ = decode_window::<WireError>(id.kind, entries, |found, delta| {
        if OwnedKey::from(found) == *key {
            changes.push(delta);
        }
        Ok(())
    });
    changes
}
