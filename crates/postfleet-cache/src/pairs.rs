//! The pairs of a cache, as the order made them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use postfleet_types::{Monotonic, PrivateName};

use crate::own::{OwnWrites, remaining};
use crate::ttl::Ttl;

/// How long a pair that has expired keeps its stamp, in milliseconds of stamps: an hour. A write whose clock is further
/// behind than that may be stamped differently by a member that forgot and one that did not.
const STAMP_MEMORY_MILLIS: u64 = 3_600_000;

/// How many forgotten pairs one delivery clears away at most, so that none takes long.
const CLEARED_A_DELIVERY: usize = 8;

/// Who wrote a pair last. Compared by bytes.
pub type Writer = PrivateName;

/// How much a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// The most pairs (`max_size`); `None` for no bound.
    pub pairs_max: Option<usize>,
}

/// A write as it is sent: the same for every member that is delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// What is left of its time to live when it is sent.
    pub ttl: Ttl,
    /// The writer's wall clock when it is sent, in milliseconds since the epoch.
    pub clock_millis: u64,
}

/// Whose write was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered<'a> {
    /// One of our own came back.
    Own(&'a Writer),
    /// Somebody else's.
    Other(&'a Writer),
}

/// A pair in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// The value; `None` for a pair that has expired and keeps its stamp.
    pub value: Option<Bytes>,
    /// Of two rows for one key the higher stamp wins.
    pub stamp: u64,
    /// The stamp at which it expires; `u64::MAX` for never.
    pub stamp_end: u64,
    /// What is left of its time to live.
    pub ttl: Ttl,
    /// Who wrote it. Of two rows with one stamp the higher name wins.
    pub writer: Writer,
}

#[derive(Clone, Debug)]
struct Pair {
    /// `None` once it has expired by this member's clock.
    value: Option<Bytes>,
    stamp: u64,
    /// When it ends by stamps; the same on every member.
    stamp_end: u64,
    /// When it ends by this member's clock.
    end: Option<Monotonic>,
    writer: Writer,
    /// Its place in the order of writes.
    place: u64,
    /// The exchange during which it was written last, and how often it was written during that one.
    written: (u64, u64),
}

/// The pairs of a cache.
///
/// Writes go through the order: [`Cache::set`] notes one, [`Cache::send`] gives what is to be multicast, and
/// [`Cache::deliver`] applies what the order brings, our own writes included.
#[derive(Clone, Debug)]
pub struct Cache {
    limits: CacheLimits,
    pairs: BTreeMap<Bytes, Pair>,
    /// Keys by their place in the order of writes.
    by_place: BTreeMap<u64, Bytes>,
    /// Keys by the stamp at which they end, of those that end.
    by_stamp_end: BTreeSet<(u64, Bytes)>,
    /// Keys by when they end by this member's clock.
    by_end: BTreeSet<(Monotonic, Bytes)>,
    next_place: u64,
    /// The current exchange, or the last one.
    exchange: u64,
    /// Sides that met are telling each other what they hold.
    exchanging: bool,
    own: OwnWrites,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            pairs: BTreeMap::new(),
            by_place: BTreeMap::new(),
            by_stamp_end: BTreeSet::new(),
            by_end: BTreeSet::new(),
            next_place: 0,
            exchange: 0,
            exchanging: false,
            own: OwnWrites::default(),
        }
    }

    /// Takes new limits into force. Members reload at different moments, so they may differ until the pairs in question
    /// are set again.
    pub fn set_limits(&mut self, limits: CacheLimits) {
        self.limits = limits;
        if !self.exchanging {
            self.evict(0);
        }
    }

    /// Writes a pair. This member reads it at once, the others when it is delivered. Returns whether one more write
    /// waits to be sent.
    pub fn set(&mut self, key: Bytes, value: Bytes, ttl: Ttl, now: Monotonic) -> bool {
        self.own.note(key, value, ttl, now)
    }

    /// How many writes wait to be sent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.own.waiting()
    }

    /// What waits, to be multicast now.
    #[must_use = "writes that are not sent never come back"]
    pub fn send(&mut self, now: Monotonic, clock_millis: u64) -> Vec<Write> {
        self.own.send(now, clock_millis)
    }

    /// What was sent and did not come back waits again: the bus was lost.
    pub fn lost(&mut self) {
        self.own.lost();
    }

    /// Applies a delivered write.
    pub fn deliver(&mut self, from: Delivered<'_>, write: Write, now: Monotonic) {
        let writer = match from {
            Delivered::Own(writer) => {
                self.own.delivered(&write.key);
                writer
            }
            Delivered::Other(writer) => writer,
        };
        let (stamp, times) = match self.pairs.get(&write.key) {
            Some(pair) => {
                let before = if pair.written.0 == self.exchange { pair.written.1 } else { 0 };
                (write.clock_millis.max(pair.stamp.saturating_add(1)), before.saturating_add(1))
            }
            None => (write.clock_millis, 1),
        };
        let end = write.ttl.duration().map(|ttl| now + ttl);
        let stamp_end = match write.ttl.as_millis() {
            0 => u64::MAX,
            millis => stamp.saturating_add(millis),
        };
        self.put(
            write.key,
            Pair {
                value: Some(write.value),
                stamp,
                stamp_end,
                end,
                writer: writer.clone(),
                place: 0,
                written: (self.exchange, times),
            },
        );
        // What goes has to be the same everywhere, so nothing goes before all hold the same.
        if !self.exchanging {
            self.evict(write.clock_millis);
            self.clear_forgotten(write.clock_millis, now);
        }
    }

    /// The value of a key: that of our own last write while it is on its way, else what the order says.
    #[must_use]
    pub fn value(&self, key: &[u8], now: Monotonic) -> Option<&Bytes> {
        if let Some(own) = self.own.value(key, now) {
            return own;
        }
        let pair = self.pairs.get(key)?;
        if pair.end.is_some_and(|end| end <= now) { None } else { pair.value.as_ref() }
    }

    /// Drops the values that have expired. Their keys stay for a while, because what is evicted must not depend on
    /// this member's clock.
    pub fn expire(&mut self, now: Monotonic) {
        while let Some((end, _)) = self.by_end.first()
            && *end <= now
            && let Some((_, key)) = self.by_end.pop_first()
        {
            if let Some(pair) = self.pairs.get_mut(&key) {
                pair.value = None;
            }
        }
    }

    /// When [`Cache::expire`] has something to do. Changed by deliveries, merges and by `expire`.
    #[must_use]
    pub fn poll_expire(&self) -> Option<Monotonic> {
        self.by_end.first().map(|(end, _)| *end)
    }

    /// A pair by its key: its value, what is left of its time to live, and its last writer. Own writes that are on their way
    /// are not in it.
    #[must_use]
    pub fn pair(&self, key: &[u8], now: Monotonic) -> Option<(&Bytes, Ttl, &Writer)> {
        let pair = self.pairs.get(key).filter(|pair| pair.end.is_none_or(|end| end > now))?;
        Some((pair.value.as_ref()?, left(pair, now), &pair.writer))
    }

    /// The pairs that have a value, ascending by key: key, what is left of the time to live, and the last writer.
    pub fn shown(&self, now: Monotonic) -> impl Iterator<Item = (&Bytes, Ttl, &Writer)> + '_ {
        self.pairs.iter().filter_map(move |(key, pair)| {
            let alive = pair.value.is_some() && pair.end.is_none_or(|end| end > now);
            alive.then(|| (key, left(pair, now), &pair.writer))
        })
    }

    /// Everything, for a snapshot, in the order in which it was written.
    pub fn rows(&self, now: Monotonic) -> impl Iterator<Item = Row> + '_ {
        self.by_place.values().filter_map(move |key| {
            let pair = self.pairs.get(key)?;
            let alive = pair.end.is_none_or(|end| end > now);
            Some(Row {
                key: key.clone(),
                value: pair.value.clone().filter(|_| alive),
                stamp: pair.stamp,
                stamp_end: pair.stamp_end,
                ttl: left(pair, now),
                writer: pair.writer.clone(),
            })
        })
    }

    /// Sides meet: from this point of the order on, until [`Cache::end_exchange`], each takes in what the others held at this
    /// point, and writes go on. Once more before the end: the exchange begins anew.
    pub fn begin_exchange(&mut self) {
        self.exchange += 1;
        self.exchanging = true;
    }

    /// Takes in rows that another side, or the own one, held when the exchange began. In any order, any number of times.
    ///
    /// For every key the higher stamp wins, then the higher writer. A key that was written since the exchange began keeps
    /// that value: its writes came later than any of these rows, and are stamped as if the highest row had been here
    /// before them.
    pub fn absorb(&mut self, rows: impl IntoIterator<Item = Row>, now: Monotonic) {
        for row in rows {
            if let Some(pair) = self.pairs.get_mut(&row.key) {
                if self.exchanging && pair.written.0 == self.exchange {
                    let stamp = row.stamp.saturating_add(pair.written.1);
                    if stamp > pair.stamp {
                        let key = row.key;
                        self.by_stamp_end.remove(&(pair.stamp_end, key.clone()));
                        if pair.stamp_end != u64::MAX {
                            pair.stamp_end = pair.stamp_end.saturating_add(stamp - pair.stamp);
                            self.by_stamp_end.insert((pair.stamp_end, key));
                        }
                        pair.stamp = stamp;
                    }
                    continue;
                }
                if (pair.stamp, &pair.writer) >= (row.stamp, &row.writer) {
                    continue;
                }
            }
            let end = match &row.value {
                Some(_) => row.ttl.duration().map(|ttl| now + ttl),
                None => None,
            };
            self.put(
                row.key,
                Pair {
                    value: row.value,
                    stamp: row.stamp,
                    stamp_end: row.stamp_end,
                    end,
                    writer: row.writer,
                    place: 0,
                    written: (0, 0),
                },
            );
        }
    }

    /// The exchange is over, at the same point of the order for all: pairs are put into the order of their stamps, so that all
    /// agree on what will be evicted first, and what is too much goes.
    pub fn end_exchange(&mut self) {
        self.exchanging = false;
        // No pair counts as written during the next exchange.
        self.exchange += 1;
        self.order_by_stamps();
        self.evict(0);
    }

    /// Whether an exchange is going on.
    #[must_use]
    pub const fn is_exchanging(&self) -> bool {
        self.exchanging
    }

    /// Drops the pairs whose key `chosen` says yes to. Returns how many had a value. This member's stamps of them are gone
    /// too: what others hold may differ until the keys are set again.
    pub fn forget(&mut self, now: Monotonic, chosen: impl Fn(&[u8]) -> bool) -> usize {
        let keys: Vec<Bytes> = self.pairs.keys().filter(|key| chosen(key)).cloned().collect();
        let mut had_value = 0;
        for key in keys {
            if self
                .pairs
                .get(&key)
                .is_some_and(|pair| pair.value.is_some() && pair.end.is_none_or(|end| end > now))
            {
                had_value += 1;
            }
            self.take(&key);
        }
        had_value
    }

    /// How many keys are held, those included whose value has expired.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Puts a pair in the last place of the order, in the place of what was there under its key.
    fn put(&mut self, key: Bytes, mut pair: Pair) {
        self.take(&key);
        pair.place = self.next_place;
        self.next_place += 1;
        self.by_place.insert(pair.place, key.clone());
        if pair.stamp_end != u64::MAX {
            self.by_stamp_end.insert((pair.stamp_end, key.clone()));
        }
        if let Some(end) = pair.end {
            self.by_end.insert((end, key.clone()));
        }
        self.pairs.insert(key, pair);
    }

    fn take(&mut self, key: &Bytes) {
        if let Some(pair) = self.pairs.remove(key) {
            self.by_place.remove(&pair.place);
            self.by_stamp_end.remove(&(pair.stamp_end, key.clone()));
            if let Some(end) = pair.end {
                self.by_end.remove(&(end, key.clone()));
            }
        }
    }

    /// Brings the cache down to its size. First goes what has expired by the stamp of the write that is being
    /// delivered, then what was written longest ago. Both are functions of the order alone, so every member evicts the
    /// same pairs: not reads, and not this member's clock.
    fn evict(&mut self, stamp: u64) {
        let Some(max) = self.limits.pairs_max else { return };
        while self.pairs.len() > max {
            let expired = self.by_stamp_end.first().filter(|(end, _)| *end <= stamp).map(|(_, key)| key);
            let Some(key) = expired.or_else(|| self.by_place.values().next()).cloned() else { return };
            self.take(&key);
        }
    }

    /// Forgets the stamps of pairs that expired long ago.
    fn clear_forgotten(&mut self, stamp: u64, now: Monotonic) {
        for _ in 0..CLEARED_A_DELIVERY {
            let Some((end, key)) = self.by_stamp_end.first() else { return };
            let long_ago = end.saturating_add(STAMP_MEMORY_MILLIS) <= stamp;
            let dead = self
                .pairs
                .get(key)
                .is_none_or(|pair| pair.value.is_none() || pair.end.is_some_and(|end| end <= now));
            // A clock that is hours ahead must not take away what is alive.
            if !long_ago || !dead {
                return;
            }
            let key = key.clone();
            self.take(&key);
        }
    }

    fn order_by_stamps(&mut self) {
        let mut keys: Vec<(u64, Bytes)> =
            self.pairs.iter().map(|(key, pair)| (pair.stamp, key.clone())).collect();
        keys.sort_unstable();
        self.by_place.clear();
        self.next_place = 0;
        for (_, key) in keys {
            if let Some(pair) = self.pairs.get_mut(&key) {
                pair.place = self.next_place;
                self.by_place.insert(pair.place, key);
                self.next_place += 1;
            }
        }
    }
}

fn left(pair: &Pair, now: Monotonic) -> Ttl {
    match pair.end {
        // An expired pair has no end of its own any more, but never was one for ever.
        None if pair.stamp_end != u64::MAX => Ttl::from_millis(1),
        None => Ttl::NEVER,
        Some(end) => {
            let whole = u64::try_from(end.since(now).as_millis()).unwrap_or(u64::MAX);
            remaining(Ttl::from_millis(whole.max(1)), now, now)
        }
    }
}

/// A row as text, for tests and logs: the key as UTF-8 as far as it is.
impl core::fmt::Display for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let key = String::from_utf8_lossy(&self.key);
        write!(f, "{key} stamp {} ttl {} by {}", self.stamp, self.ttl, self.writer)
    }
}
