//! Units that were used and may not be used again yet.

use alloc::collections::VecDeque;
use core::time::Duration;
use postfleet_types::Monotonic;

/// Used units by the time of their use, oldest first.
///
/// Times are kept to a tick: units used within one tick cool together, from the last of them. At most 1002 entries of
/// 24 bytes, whatever the rate.
#[derive(Clone, Debug)]
pub(crate) struct Cooling {
    used: VecDeque<Used>,
    units: u64,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    /// Uses up to here join the entry.
    until: Monotonic,
    last: Monotonic,
    units: u64,
}

impl Cooling {
    pub(crate) const EMPTY: Self = Self { used: VecDeque::new(), units: 0 };

    pub(crate) const fn units(&self) -> u64 {
        self.units
    }

    #[inline]
    pub(crate) fn push(&mut self, now: Monotonic, units: u64, tick: Duration) {
        self.units += units;
        match self.used.back_mut() {
            Some(latest) if now < latest.until => {
                latest.last = latest.last.max(now);
                latest.units += units;
            }
            Some(_) | None => self.used.push_back(Used { until: now + tick, last: now, units }),
        }
    }

    /// Takes out what has cooled.
    pub(crate) fn harvest(&mut self, now: Monotonic, cooling: Duration) -> u64 {
        let mut cooled = 0;
        while let Some(oldest) = self.used.front()
            && oldest.last + cooling <= now
        {
            cooled += oldest.units;
            self.used.pop_front();
        }
        self.units -= cooled;
        cooled
    }

    /// When the next units have cooled.
    #[inline]
    pub(crate) fn next(&self, cooling: Duration) -> Option<Monotonic> {
        self.used.front().map(|oldest| oldest.last + cooling)
    }

    /// Takes back units that were not used after all, the latest first. Returns how many.
    pub(crate) fn take_back(&mut self, units: u64) -> u64 {
        let mut left = units;
        while left > 0
            && let Some(latest) = self.used.back_mut()
        {
            let taken = latest.units.min(left);
            latest.units -= taken;
            left -= taken;
            if latest.units == 0 {
                self.used.pop_back();
            }
        }
        self.units -= units - left;
        units - left
    }

    /// Forgets the oldest units. Returns how many.
    pub(crate) fn forget(&mut self, units: u64) -> u64 {
        let mut left = units;
        while left > 0
            && let Some(oldest) = self.used.front_mut()
        {
            let taken = oldest.units.min(left);
            oldest.units -= taken;
            left -= taken;
            if oldest.units == 0 {
                self.used.pop_front();
            }
        }
        self.units -= units - left;
        units - left
    }

    pub(crate) fn clear(&mut self) {
        self.used.clear();
        self.units = 0;
    }
}
