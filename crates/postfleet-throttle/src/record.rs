//! One throttle of one node: when its units were used, and when those that wait are released.

use crate::rate::Rate;
use alloc::collections::VecDeque;
use postfleet_types::Monotonic;

/// A rate and the units used under it.
///
/// Times are kept to a thousandth of the period; units that fall into one such tick count as used at the latest of
/// their times, so no window ever holds more than the rate allows. A throttle takes at most 1001 entries of 24 bytes
/// for its window, and one for each further tick in which something waits.
#[derive(Clone, Debug)]
pub struct Throttle {
    rate: Rate,
    /// Ascending. Those after the present are releases that wait.
    used: VecDeque<Used>,
    units: u64,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    first: Monotonic,
    last: Monotonic,
    units: u64,
}

impl Throttle {
    /// Nothing used yet.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, used: VecDeque::new(), units: 0 }
    }

    /// Its rate.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes another rate; what was used stays used.
    pub const fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Records a unit now, whatever the rate says.
    pub fn inc(&mut self, now: Monotonic) {
        self.prune(now);
        self.record(now, 1);
    }

    /// Removes the latest recorded unit. Nothing happens when there is none.
    pub fn dec(&mut self, now: Monotonic) {
        self.prune(now);
        if let Some(latest) = self.used.back_mut() {
            latest.units -= 1;
            self.units -= 1;
            if latest.units == 0 {
                self.used.pop_back();
            }
        }
    }

    /// Units used in the window that ends now.
    #[must_use]
    pub fn used(&self, now: Monotonic) -> u64 {
        let window = self.used.iter().skip_while(|used| self.is_past(used.last, now));
        window.take_while(|used| used.last <= now).map(|used| used.units).sum()
    }

    /// Whether more was used than the rate allows.
    #[must_use]
    pub fn exceeded(&self, now: Monotonic) -> bool {
        self.used(now) > self.rate.units()
    }

    /// Units that may be used now.
    #[must_use]
    pub fn free(&self, now: Monotonic) -> u64 {
        // Releases that wait have been promised; nothing may push in before them.
        let past: u64 =
            self.used.iter().take_while(|used| self.is_past(used.last, now)).map(|used| used.units).sum();
        self.rate.units().saturating_sub(self.units - past)
    }

    /// Uses up to `units` now, as many as are free, and says how many.
    pub fn take(&mut self, now: Monotonic, units: u64) -> u64 {
        self.prune(now);
        let taken = units.min(self.rate.units().saturating_sub(self.units));
        if taken > 0 {
            self.record(now, taken);
        }
        taken
    }

    /// When a unit will be free: now, or later.
    #[must_use]
    pub fn next_free(&self, now: Monotonic) -> Monotonic {
        // The X-th latest unit has to leave the window first.
        let mut before = match self.units.checked_sub(self.rate.units()) {
            Some(before) => before,
            None => return now,
        };
        for used in &self.used {
            match before.checked_sub(used.units) {
                Some(left) => before = left,
                None => return now.max(used.last + self.rate.period()),
            }
        }
        now
    }

    /// Records a unit at the time at which it may be used, and returns that time. Later units queue behind it.
    pub fn tarpit(&mut self, now: Monotonic) -> Monotonic {
        self.prune(now);
        let release = self.next_free(now);
        self.record(release, 1);
        release
    }

    /// Takes back a unit that [`Throttle::tarpit`] recorded, before it was used.
    pub fn withdraw(&mut self, release: Monotonic) {
        let found = self.used.iter().rposition(|used| used.first <= release && release <= used.last);
        if let Some(at) = found
            && let Some(used) = self.used.get_mut(at)
        {
            used.units -= 1;
            self.units -= 1;
            if used.units == 0 {
                self.used.remove(at);
            }
        }
    }

    /// The latest time on record.
    #[must_use]
    pub fn latest(&self) -> Option<Monotonic> {
        self.used.back().map(|used| used.last)
    }

    fn record(&mut self, at: Monotonic, units: u64) {
        self.units += units;
        // Behind everything that is not later; nearly always at the end.
        let next = self.used.iter().rposition(|used| used.first <= at).map_or(0, |before| before + 1);
        let before = next.checked_sub(1).and_then(|before| self.used.get_mut(before));
        match before {
            Some(used) if at <= used.last || at < used.first + self.rate.tick() => {
                used.last = used.last.max(at);
                used.units += units;
            }
            Some(_) | None => self.used.insert(next, Used { first: at, last: at, units }),
        }
    }

    fn is_past(&self, used: Monotonic, now: Monotonic) -> bool {
        used + self.rate.period() <= now
    }

    fn prune(&mut self, now: Monotonic) {
        while let Some(oldest) = self.used.front()
            && self.is_past(oldest.last, now)
        {
            self.units -= oldest.units;
            self.used.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    fn at(seconds: f64) -> Monotonic {
        Monotonic::ZERO + Duration::from_secs_f64(seconds)
    }

    fn throttle(rate: &str) -> Throttle {
        Throttle::new(rate.parse().unwrap())
    }

    #[test]
    fn replication_a16_a_tarpit_holds_until_the_window_has_room() {
        let mut throttle = throttle("2/10");
        let holds =
            [0.0, 1.0, 2.0, 3.0].map(|second| throttle.tarpit(at(second)).since(at(second)).as_secs_f64());
        assert_eq!(holds, [0.0, 0.0, 8.0, 8.0]);
    }

    #[test]
    fn replication_a17_a_burst_is_spread_over_the_windows() {
        let mut throttle = throttle("30/1");
        let holds: Vec<u64> = (0..100).map(|_| throttle.tarpit(at(0.0)).as_micros() / 1_000_000).collect();
        assert_eq!(holds, (0..100).map(|unit| unit / 30).collect::<Vec<u64>>());
    }

    #[test]
    fn replication_a18_the_quota_is_exceeded_by_one_more() {
        let mut throttle = throttle("5/10");
        for second in 0..5 {
            throttle.inc(at(f64::from(second)));
        }
        assert!(!throttle.exceeded(at(4.0)));
        throttle.inc(at(4.0));
        assert!(throttle.exceeded(at(4.0)));
        assert!(throttle.exceeded(at(9.9)));
        assert!(!throttle.exceeded(at(10.0)));
    }

    #[test]
    fn replication_9_2_dec_and_withdraw_take_units_back() {
        let mut throttle = throttle("2/10");
        throttle.dec(at(0.0));
        throttle.inc(at(0.0));
        throttle.inc(at(1.0));
        throttle.dec(at(2.0));
        assert_eq!(throttle.take(at(2.0), 5), 1);
        let first = throttle.tarpit(at(3.0));
        let second = throttle.tarpit(at(3.0));
        assert_eq!((first, second), (at(10.0), at(12.0)));
        throttle.withdraw(first);
        assert_eq!(throttle.tarpit(at(4.0)), at(12.0));
        // A count made now goes before the releases that wait.
        throttle.inc(at(5.0));
        assert_eq!(throttle.used(at(5.0)), 3);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Inc,
        Dec,
        Check,
        Tarpit,
        Take(u64),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Inc),
            Just(Step::Dec),
            Just(Step::Check),
            Just(Step::Tarpit),
            (1u64..5).prop_map(Step::Take),
            (1u64..4000).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        /// Times are whole ticks, so that nothing is rounded and the plain model has to agree.
        #[test]
        fn a_list_of_times_says_the_same(units in 1u32..6, seconds in 1u32..5, steps in steps()) {
            let rate = Rate::new(units, seconds).unwrap();
            let (x, y) = (usize::try_from(units).unwrap(), rate.period());
            let mut throttle = Throttle::new(rate);
            let mut now = Monotonic::from_millis(100_000);
            // Every unit ever recorded, by time.
            let mut model: Vec<Monotonic> = Vec::new();
            for step in steps {
                model.sort_unstable();
                let used = model.iter().filter(|at| **at + y > now && **at <= now).count();
                let xth = model.len().checked_sub(x).map(|index| model[index] + y);
                match step {
                    Step::Inc => {
                        throttle.inc(now);
                        model.push(now);
                    }
                    Step::Dec => {
                        throttle.dec(now);
                        // Units that have left the window are not on record any more.
                        if model.last().is_some_and(|at| *at + y > now) {
                            model.pop();
                        }
                    }
                    Step::Check => {
                        prop_assert_eq!(throttle.used(now), used as u64);
                        prop_assert_eq!(throttle.exceeded(now), used > x);
                    }
                    Step::Tarpit => {
                        let release = xth.map_or(now, |at| at.max(now));
                        prop_assert_eq!(throttle.tarpit(now), release);
                        model.push(release);
                    }
                    Step::Take(units) => {
                        let on_record = model.iter().filter(|at| **at + y > now).count();
                        let free = x.saturating_sub(on_record) as u64;
                        prop_assert_eq!(throttle.free(now), free);
                        let taken = throttle.take(now, units);
                        prop_assert_eq!(taken, units.min(free));
                        model.extend((0..taken).map(|_| now));
                    }
                    Step::Wait(ticks) => now = now + rate.tick() * u32::try_from(ticks).unwrap(),
                }
            }
        }

        #[test]
        fn no_window_holds_more_than_the_rate(units in 1u32..6, waits in proptest::collection::vec(0u64..700_000, 0..300)) {
            let mut throttle = Throttle::new(Rate::new(units, 1).unwrap());
            let mut now = Monotonic::ZERO;
            let mut released = Vec::new();
            for wait in waits {
                now = now + Duration::from_micros(wait);
                released.push(throttle.tarpit(now));
            }
            for window in released.windows(units as usize + 1) {
                prop_assert!(window[units as usize].since(window[0]) >= Duration::from_secs(1), "{window:?}");
            }
        }
    }
}
