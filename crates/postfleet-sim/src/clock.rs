//! The clocks of a host: each wrong in its own way.

use core::time::Duration;
use postfleet_types::{Monotonic, Random, WallTime};

/// A host's clocks against the time of the simulation.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// What its monotonic clock shows at the beginning.
    origin: u64,
    /// Microseconds that it gains in a second; negative when it is slow.
    drift_ppm: i64,
    /// Milliseconds that its wall clock is ahead.
    wall_offset: i64,
}

/// Noon of a day in 2030, the true time at the beginning.
const WALL_START: i64 = 1_900_000_000_000;
/// Far more than a quartz does, and all that a clock that is being slewed does.
const DRIFT_PPM_MAX: u64 = 500;

impl Clock {
    /// A clock with an origin and a drift of its own.
    pub(crate) fn new(random: &mut Random) -> Self {
        let origin = random.below(1 << 40);
        let drift = i64::try_from(random.below(2 * DRIFT_PPM_MAX + 1)).unwrap_or(0);
        let wall = i64::try_from(random.below(201)).unwrap_or(0);
        Self { origin, drift_ppm: drift - 500, wall_offset: wall - 100 }
    }

    /// Sets the wall clock wrong by so many milliseconds.
    pub(crate) const fn set_wall_offset(&mut self, millis: i64) {
        self.wall_offset = millis;
    }

    /// How wrong the wall clock is, in milliseconds.
    #[must_use]
    pub(crate) const fn wall_offset(&self) -> i64 {
        self.wall_offset
    }

    /// What the monotonic clock shows at a time of the simulation.
    #[must_use]
    pub(crate) fn local(&self, now: Monotonic) -> Monotonic {
        let passed = i128::from(now.as_micros());
        let gained = passed * i128::from(self.drift_ppm) / 1_000_000;
        Monotonic::from_micros(u64::try_from(i128::from(self.origin) + passed + gained).unwrap_or(0))
    }

    /// The earliest time of the simulation at which the monotonic clock shows at least this.
    #[must_use]
    pub(crate) fn global(&self, local: Monotonic) -> Monotonic {
        let shown = i128::from(local.as_micros()) - i128::from(self.origin);
        let guess = shown * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm));
        let mut global = Monotonic::from_micros(u64::try_from(guess - 2).unwrap_or(0));
        while self.local(global) < local {
            global = global + Duration::from_micros(1);
        }
        global
    }

    /// What the wall clock shows.
    #[must_use]
    pub(crate) fn wall(&self, now: Monotonic) -> WallTime {
        let millis = i64::try_from(now.as_micros() / 1000).unwrap_or(0);
        let shown = WALL_START.saturating_add(millis).saturating_add(self.wall_offset);
        WallTime::from_unix_millis(u64::try_from(shown).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_at_the_first_moment_that_shows_it() {
        let mut random = Random::seeded(1);
        for _ in 0..1000 {
            let clock = Clock::new(&mut random);
            let now = Monotonic::from_micros(random.below(1 << 33));
            let local = clock.local(now);
            let found = clock.global(local);
            assert!(found <= now && clock.local(found) >= local, "{clock:?} {now:?}");
            assert!(found == Monotonic::ZERO || clock.local(found - Duration::from_micros(1)) < local);
        }
    }
}
