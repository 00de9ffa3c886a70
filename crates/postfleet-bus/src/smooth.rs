//! Whether an event loop runs smoothly again.
//!
//! Who was put out because it did not answer heartbeats shall not come back to be put out again: it waits until its loop
//! has run for a while without standing still ([`crate::Reconnect::Smooth`]). A plain pause would not tell: a process
//! that stands still while it waits has waited too.

use core::time::Duration;
use postfleet_types::Monotonic;

/// From one tick to the next.
const TICK: Duration = Duration::from_millis(200);

/// A loop that comes back later than this stood still. A heartbeat's interval: shorter gaps cost nobody his membership,
/// and happen to busy hosts.
const GAP_MAX: Duration = Duration::from_secs(1);

/// The loop's ticks since it last stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smooth {
    needed: Duration,
    since: Monotonic,
    ticked: Monotonic,
}

impl Smooth {
    /// From now on the loop has to run for that long.
    #[must_use]
    pub const fn new(now: Monotonic, needed: Duration) -> Self {
        Self { needed, since: now, ticked: now }
    }

    /// The loop is here. `works`: what the loop is there for works too. `true`: it has run for long enough.
    pub fn tick(&mut self, now: Monotonic, works: bool) -> bool {
        if !works || now.since(self.ticked) > GAP_MAX {
            self.since = now;
        }
        self.ticked = now;
        now.since(self.since) >= self.needed
    }

    /// When to call [`Smooth::tick`] next.
    #[must_use]
    pub fn next_tick(&self) -> Monotonic {
        (self.ticked + TICK).min((self.since + self.needed).max(self.ticked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks on time until the end, or until the loop counts as smooth.
    fn run(smooth: &mut Smooth, until_ms: u64) -> Option<u64> {
        loop {
            let at = smooth.next_tick();
            if at > Monotonic::from_millis(until_ms) {
                return None;
            }
            if smooth.tick(at, true) {
                return Some(at.as_micros() / 1000);
            }
        }
    }

    #[test]
    fn a_loop_that_runs_is_smooth_after_the_time_that_is_needed() {
        let mut smooth = Smooth::new(Monotonic::from_millis(100), Duration::from_secs(4));
        assert_eq!(run(&mut smooth, 100_000), Some(4100));
        let mut at_once = Smooth::new(Monotonic::ZERO, Duration::ZERO);
        assert_eq!(run(&mut at_once, 0), Some(0));
    }

    #[test]
    fn a_loop_that_stands_still_starts_over() {
        let mut smooth = Smooth::new(Monotonic::ZERO, Duration::from_secs(4));
        assert_eq!(run(&mut smooth, 3900), None);
        // A second late is what happens to a busy host; more is not.
        assert!(!smooth.tick(Monotonic::from_millis(3950), true));
        assert!(!smooth.tick(Monotonic::from_millis(9000), true));
        assert_eq!(run(&mut smooth, 100_000), Some(13_000));
        let mut late = Smooth::new(Monotonic::ZERO, Duration::from_secs(4));
        assert!(!late.tick(Monotonic::from_millis(30_000), true));
    }

    #[test]
    fn a_loop_whose_work_hangs_is_not_smooth() {
        let mut smooth = Smooth::new(Monotonic::ZERO, Duration::from_secs(4));
        for at in (0..20_000).step_by(200) {
            assert!(!smooth.tick(Monotonic::from_millis(at), false));
        }
        assert_eq!(run(&mut smooth, 100_000), Some(23_800));
    }
}
