//! Whether the work of a node gets anywhere.
//!
//! A node whose disk hangs still has an event loop that runs, and would stay a member for ever while it accepts
//! nothing. So the pieces of work that it is there for are noted while they last; when none has ended for a
//! while although some are under way, the node sends no heartbeats, and the others go on without it.

use postfleet_types::Monotonic;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Pieces of work under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    under_way: BTreeMap<u64, Monotonic>,
    /// When one ended last.
    ended: Monotonic,
}

/// A piece of work that ends with this value.
#[derive(Debug)]
pub(crate) struct Piece {
    progress: Progress,
    number: u64,
    clock: fn() -> Monotonic,
}

impl Drop for Piece {
    fn drop(&mut self) {
        let now = (self.clock)();
        let mut state = self.progress.locked();
        state.under_way.remove(&self.number);
        state.ended = state.ended.max(now);
    }
}

impl Progress {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece of work begins.
    pub(crate) fn begin(&self) -> Piece {
        self.begin_by(crate::clock::monotonic)
    }

    fn begin_by(&self, clock: fn() -> Monotonic) -> Piece {
        let mut state = self.locked();
        let number = state.next;
        state.next += 1;
        state.under_way.insert(number, clock());
        Piece { progress: self.clone(), number, clock }
    }

    /// How long work has been waiting for any piece of it to end; nothing when there is none.
    pub(crate) fn stuck_for(&self, now: Monotonic) -> Duration {
        let state = self.locked();
        let begun = state.under_way.values().next();
        begun.map_or(Duration::ZERO, |begun| now.since((*begun).max(state.ended)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(0) };
    }

    fn clock() -> Monotonic {
        Monotonic::from_millis(NOW.get())
    }

    #[test]
    fn work_is_stuck_when_none_of_it_ends() {
        let progress = Progress::default();
        let stuck = |at: u64| {
            NOW.set(at);
            progress.stuck_for(clock()).as_millis()
        };
        assert_eq!(stuck(50_000), 0);
        let first = progress.begin_by(clock);
        assert_eq!(stuck(53_000), 3000);
        // Slow, and not stuck: others end meanwhile.
        let second = progress.begin_by(clock);
        NOW.set(55_000);
        drop(second);
        assert_eq!(stuck(56_000), 1000);
        drop(first);
        assert_eq!(stuck(90_000), 0);
        let third = progress.begin_by(clock);
        assert_eq!(stuck(91_500), 1500);
        drop(third);
    }
}
