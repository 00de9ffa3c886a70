//! Bounds of what scripts compute.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What an error of a script does to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Nothing: it is logged, and mail goes on.
    Continue,
    /// The command is refused for now.
    Fail,
}

/// Bounds. Reaching one is an error of the script that it cannot catch, but for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instructions of the interpreter until it has to wait or pause; a script that asks the host for something after
    /// half of them is paused, so that others get their turn. A step of a pattern counts as one.
    pub slice_max: u64,
    /// Instructions of a callout.
    pub call_max: u64,
    /// How long a callout computes, waiting not counted. Long texts make single instructions slow.
    pub time_max: Duration,
    /// Bytes of an interpreter, for all calls that are under way in it. More is an error that a script may catch.
    pub memory_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            slice_max: 20_000_000,
            call_max: 1_000_000_000,
            time_max: Duration::from_secs(30),
            memory_max: 64 << 20,
        }
    }
}

/// Counts what is left of a turn of the interpreter.
#[derive(Debug)]
pub(crate) struct Meter {
    left: AtomicU64,
    is_spent: AtomicBool,
    until: Mutex<Option<Instant>>,
    /// Where it was noticed that nothing is left: a script may lose the error on its way.
    place: Mutex<Option<String>>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            left: AtomicU64::new(u64::MAX),
            is_spent: AtomicBool::new(false),
            until: Mutex::new(None),
            place: Mutex::new(None),
        }
    }

    pub(crate) fn start(&self, left: u64, time: Duration) {
        self.left.store(left, Ordering::Relaxed);
        self.is_spent.store(false, Ordering::Relaxed);
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(time);
    }

    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Relaxed)
    }

    /// The first place wins.
    pub(crate) fn note_place(&self, place: &str) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| place.to_owned());
    }

    pub(crate) fn place(&self) -> Option<String> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes instructions; whether there were so many left, and time.
    pub(crate) fn take(&self, count: u64) -> bool {
        let left = self.left();
        self.left.store(left.saturating_sub(count), Ordering::Relaxed);
        let late = self
            .until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() > until);
        if left < count || late {
            self.is_spent.store(true, Ordering::Relaxed);
        }
        !self.is_spent()
    }
}
