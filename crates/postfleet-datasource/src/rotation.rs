//! Several sources of the same data: they take turns, and dead ones are passed over.

use alloc::vec::Vec;
use core::time::Duration;

use postfleet_types::Monotonic;

/// How long a dead source is passed over the first time; each further failure doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause. Long enough that a dead database costs little, short enough that its return is noticed.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
struct Source {
    /// Failures in a row.
    failures: u32,
    /// Not to be asked before then.
    dead_until: Option<Monotonic>,
}

/// Whose turn it is. No source is preferred.
#[derive(Clone, Debug)]
pub struct Rotation {
    sources: Vec<Source>,
    next: usize,
}

impl Rotation {
    /// That many sources, all alive.
    #[must_use]
    pub fn new(sources: usize) -> Self {
        Self { sources: alloc::vec![Source::default(); sources], next: 0 }
    }

    /// The sources to try for one query, in order: those alive from the next turn on, then the dead ones, the one that
    /// may be back first in front. A query that finds all dead still tries each once.
    pub fn turn(&mut self, now: Monotonic) -> Vec<usize> {
        let count = self.sources.len();
        let in_turn = (0..count).map(|step| (self.next + step) % count);
        let dead = |source: usize| {
            self.sources.get(source).and_then(|source| source.dead_until).filter(|until| *until > now)
        };
        let mut order: Vec<(Option<Monotonic>, usize)> =
            in_turn.map(|source| (dead(source), source)).collect();
        // A stable sort: `None`, alive, comes first, and turns stay in order.
        order.sort_by_key(|(dead, _)| *dead);
        if let Some((None, first)) = order.first() {
            self.next = (first + 1) % count;
        }
        order.into_iter().map(|(_, source)| source).collect()
    }

    /// A source answered.
    pub fn alive(&mut self, source: usize) {
        if let Some(source) = self.sources.get_mut(source) {
            *source = Source::default();
        }
    }

    /// A source could not be reached. Returns for how long it is passed over.
    pub fn dead(&mut self, source: usize, now: Monotonic) -> Duration {
        let Some(source) = self.sources.get_mut(source) else { return Duration::ZERO };
        let pause = PAUSE_MIN.saturating_mul(1 << source.failures.min(6)).min(PAUSE_MAX);
        source.failures = source.failures.saturating_add(1);
        source.dead_until = Some(now + pause);
        pause
    }
}
