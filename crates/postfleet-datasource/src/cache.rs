//! Answers that are remembered, bounded in time and number.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;
use postfleet_types::Monotonic;

use crate::rows::Rows;

/// How much is remembered and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// How long an answer stays (`cache_life`).
    pub life: Duration,
    /// The most answers (`cache_size`), at least 1. More are held until maintenance.
    pub answers_max: usize,
}

#[derive(Clone, Debug)]
struct Answer {
    rows: Arc<Rows>,
    end: Monotonic,
    place: u64,
}

/// Answers by key.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    options: CacheOptions,
    by_key: BTreeMap<Bytes, Answer>,
    /// In the order in which they were stored, with the time at which each ends.
    by_place: BTreeMap<u64, Bytes>,
    by_end: BTreeSet<(Monotonic, u64)>,
    next_place: u64,
}

impl Answers {
    pub(crate) fn new(options: CacheOptions) -> Self {
        Self {
            options,
            by_key: BTreeMap::new(),
            by_place: BTreeMap::new(),
            by_end: BTreeSet::new(),
            next_place: 0,
        }
    }

    pub(crate) fn set_options(&mut self, options: CacheOptions) {
        self.options = options;
    }

    pub(crate) fn get(&self, key: &[u8], now: Monotonic) -> Option<Arc<Rows>> {
        self.by_key.get(key).filter(|answer| answer.end > now).map(|answer| Arc::clone(&answer.rows))
    }

    pub(crate) fn store(&mut self, key: Bytes, rows: Arc<Rows>, now: Monotonic) {
        self.remove(&key);
        let place = self.next_place;
        self.next_place += 1;
        let end = now + self.options.life;
        self.by_place.insert(place, key.clone());
        self.by_end.insert((end, place));
        self.by_key.insert(key, Answer { rows, end, place });
    }

    /// Drops what has expired, then the oldest of what is too much. How many of each.
    pub(crate) fn maintain(&mut self, now: Monotonic) -> (u64, u64) {
        let (mut expired, mut evicted) = (0, 0);
        while let Some((_, place)) = self.by_end.first().filter(|(end, _)| *end <= now).copied() {
            self.remove_place(place);
            expired += 1;
        }
        while self.by_key.len() > self.options.answers_max.max(1)
            && let Some(place) = self.by_place.keys().next().copied()
        {
            self.remove_place(place);
            evicted += 1;
        }
        (expired, evicted)
    }

    pub(crate) fn flush(&mut self) -> usize {
        let held = self.by_key.len();
        self.by_key.clear();
        self.by_place.clear();
        self.by_end.clear();
        held
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    fn remove_place(&mut self, place: u64) {
        match self.by_place.get(&place).cloned() {
            Some(key) => self.remove(&key),
            None => self.by_end.retain(|(_, held)| *held != place),
        }
    }

    fn remove(&mut self, key: &Bytes) {
        if let Some(answer) = self.by_key.remove(key) {
            self.by_place.remove(&answer.place);
            self.by_end.remove(&(answer.end, answer.place));
        }
    }
}
