//! Units that were refused to somebody who could not wait, for as long as more of the same may be expected.

use core::time::Duration;
use postfleet_types::Monotonic;

/// For how long a refusal counts, at least; it counts for twice as long at most.
const SPAN_MAX: Duration = Duration::from_millis(250);

/// Refusals of the last moments: an estimate of how many units would be used here as soon as they came.
///
/// Two spans are kept, so that what is wanted neither grows without end while refusals go on nor falls to nothing
/// between two of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    now: u64,
    before: u64,
    /// When the present span began.
    since: Monotonic,
}

impl Wishes {
    pub(crate) const NONE: Self = Self { now: 0, before: 0, since: Monotonic::ZERO };

    /// A twentieth of a period at most: what is kept for a use that does not come is lost for so long.
    fn span(period: Duration) -> Duration {
        SPAN_MAX.min(period / 20)
    }

    /// Refused now.
    pub(crate) fn add(&mut self, now: Monotonic, period: Duration, units: u64) {
        self.pass(now, period);
        if self.is_empty() {
            self.since = now;
        }
        self.now = self.now.saturating_add(units);
    }

    /// Forgets what is too long ago.
    pub(crate) fn pass(&mut self, now: Monotonic, period: Duration) {
        let span = Self::span(period);
        let passed = now.since(self.since);
        if passed < span {
            return;
        }
        self.before = if passed < span * 2 { self.now } else { 0 };
        self.now = 0;
        self.since = now;
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.now == 0 && self.before == 0
    }

    /// Units wanted.
    pub(crate) const fn units(&self) -> u64 {
        self.now.saturating_add(self.before)
    }

    /// When there is something to forget.
    pub(crate) fn due(&self, period: Duration) -> Option<Monotonic> {
        (!self.is_empty()).then(|| self.since + Self::span(period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    fn at(millis: u64) -> Monotonic {
        Monotonic::ZERO + Duration::from_millis(1000 + millis)
    }

    #[test]
    fn a_refusal_counts_for_one_to_two_spans() {
        let mut wishes = Wishes::NONE;
        wishes.add(at(0), PERIOD, 2);
        wishes.add(at(200), PERIOD, 1);
        assert_eq!((wishes.units(), wishes.due(PERIOD)), (3, Some(at(250))));
        wishes.pass(at(250), PERIOD);
        assert_eq!((wishes.units(), wishes.due(PERIOD)), (3, Some(at(500))));
        wishes.pass(at(500), PERIOD);
        assert!(wishes.is_empty());
        assert_eq!(wishes.due(PERIOD), None);
    }

    #[test]
    fn refusals_that_go_on_want_no_more_than_those_of_two_spans() {
        let mut wishes = Wishes::NONE;
        for step in 0..100 {
            wishes.add(at(step * 50), PERIOD, 1);
            assert!(wishes.units() <= 10, "{wishes:?}");
        }
        assert!(wishes.units() >= 5, "{wishes:?}");
    }

    #[test]
    fn short_periods_have_short_spans() {
        let mut wishes = Wishes::NONE;
        wishes.add(at(0), Duration::from_secs(1), 1);
        assert_eq!(wishes.due(Duration::from_secs(1)), Some(at(50)));
    }
}
