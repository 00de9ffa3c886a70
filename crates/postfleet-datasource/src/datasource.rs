//! One datasource: look up, ask at most once for each answer, remember.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use bytes::Bytes;
use postfleet_types::Monotonic;

use crate::cache::{Answers, CacheOptions};
use crate::rows::Rows;
use crate::statistics::Statistics;

/// The right to ask a question, and the duty to say how that ended with [`Datasource::answered`] or
/// [`Datasource::failed`]. Not copied: one question, one end.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    key: Bytes,
    /// Questions that were overtaken by a flush are not remembered.
    flushes: u64,
}

impl Ticket {
    /// The key of the question; those who wait for its answer know it by this.
    #[must_use]
    pub const fn key(&self) -> &Bytes {
        &self.key
    }
}

/// What a look-up finds.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// The answer.
    Rows(Arc<Rows>),
    /// Nobody has it and nobody asks: ask, and end the ticket.
    Ask(Ticket),
    /// Somebody asks already: wait for the end of the question of that key.
    Wait,
}

/// One datasource.
#[derive(Clone, Debug)]
pub struct Datasource {
    answers: Answers,
    /// Questions that somebody asks, and how many wait with them.
    asked: BTreeMap<Bytes, u64>,
    statistics: Statistics,
    flushes: u64,
}

impl Datasource {
    /// A datasource that remembers nothing yet.
    #[must_use]
    pub fn new(options: CacheOptions) -> Self {
        Self {
            answers: Answers::new(options),
            asked: BTreeMap::new(),
            statistics: Statistics::default(),
            flushes: 0,
        }
    }

    /// Takes new options into force. What is remembered keeps the life it had.
    pub fn set_options(&mut self, options: CacheOptions) {
        self.answers.set_options(options);
    }

    /// Looks a question up. `shared` is the answer that other members published under the key, if there is one: it counts
    /// as a hit and is not stored again, since the shared cache keeps it.
    pub fn look_up(&mut self, key: &Bytes, shared: Option<Rows>, now: Monotonic) -> Found {
        if let Some(rows) = shared.map(Arc::new).or_else(|| self.answers.get(key, now)) {
            self.statistics.hits += 1;
            return Found::Rows(rows);
        }
        if let Some(waiting) = self.asked.get_mut(key) {
            *waiting += 1;
            self.statistics.pending += 1;
            return Found::Wait;
        }
        self.statistics.misses += 1;
        self.asked.insert(key.clone(), 0);
        Found::Ask(Ticket { key: key.clone(), flushes: self.flushes })
    }

    /// The question was answered, perhaps by no rows. `remember` is false with `no_cache`. Returns how many wait.
    pub fn answered(&mut self, ticket: Ticket, rows: &Arc<Rows>, remember: bool, now: Monotonic) -> u64 {
        if remember && ticket.flushes == self.flushes {
            self.answers.store(ticket.key.clone(), Arc::clone(rows), now);
            self.statistics.inserts += 1;
        }
        self.asked.remove(&ticket.key).unwrap_or(0)
    }

    /// The question failed; nothing is remembered, and the next who asks may try. Returns how many wait.
    pub fn failed(&mut self, ticket: Ticket) -> u64 {
        self.asked.remove(&ticket.key).unwrap_or(0)
    }

    /// Drops what has expired and, of what is too much, the oldest.
    pub fn maintain(&mut self, now: Monotonic) {
        let (expired, evicted) = self.answers.maintain(now);
        self.statistics.expired += expired;
        self.statistics.evicted += evicted;
    }

    /// Forgets everything, what is being asked included. Returns how many answers there were.
    pub fn flush(&mut self) -> usize {
        self.flushes += 1;
        let held = self.answers.flush();
        self.statistics.manual += held as u64;
        held
    }

    /// The figures of `ds_core stats`.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics { elements: self.answers.len() as u64, ..self.statistics }
    }
}
