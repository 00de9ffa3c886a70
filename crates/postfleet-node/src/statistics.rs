//! The totals that `summary` shows.

use crate::clock;
use postfleet_types::Monotonic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start or the last `summary reset`.
pub(crate) struct Statistics {
    pub(crate) started: Monotonic,
    reset_at: Mutex<Monotonic>,
    received: AtomicU64,
    rejected: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Statistics {
    pub(crate) fn new() -> Self {
        let now = clock::monotonic();
        Self {
            started: now,
            reset_at: Mutex::new(now),
            received: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn count_received(&self, copies: u64) {
        self.received.fetch_add(copies, Ordering::Relaxed);
    }

    pub(crate) fn count_rejected(&self, records: u64) {
        self.rejected.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn count_delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    pub(crate) fn reset_at(&self) -> Monotonic {
        *self.reset_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn reset(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.rejected.store(0, Ordering::Relaxed);
        self.delivered.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
        *self.reset_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = clock::monotonic();
    }
}
