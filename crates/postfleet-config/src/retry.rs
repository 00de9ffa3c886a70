//! When an undelivered message is tried again, and for how often.

use core::time::Duration;

/// `Max_Retries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// Derived from the age at which a message fails.
    Auto,
    /// Only the age counts.
    Unlimited,
    /// So many.
    AtMost(u32),
}

/// The retry options of one scope, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    /// `Retry_Interval`, in seconds, at least 1.
    pub interval_seconds: u64,
    /// `Max_Retry_Interval`, in seconds, at least 1.
    pub interval_seconds_max: u64,
    /// `Message_Expiration`, in seconds.
    pub expiration_seconds: u64,
    /// `Max_Retries`.
    pub retries: Retries,
}

impl RetrySchedule {
    /// The pause before a retry; the first one is number 1. It doubles with each, up to the cap.
    #[must_use]
    pub fn delay(&self, retry: u32) -> Duration {
        Duration::from_secs(self.doubled(retry.saturating_sub(1)).min(self.interval_seconds_max))
    }

    /// The interval after so many doublings; `u64::MAX` where that is too large to write down.
    fn doubled(&self, times: u32) -> u64 {
        let factor = 1_u64.checked_shl(times).unwrap_or(u64::MAX);
        self.interval_seconds.saturating_mul(factor)
    }

    /// How many retries there may be; `None`: as many as fit into the age at which the message fails.
    ///
    /// `auto` is the largest n with `interval × (2ⁿ − 1)` not above the age; the cap is not looked at.
    #[must_use]
    pub fn retries_max(&self) -> Option<u32> {
        match self.retries {
            Retries::Unlimited => None,
            Retries::AtMost(retries) => Some(retries),
            Retries::Auto => {
                let fits = |retries: u32| {
                    let factor = 1_u64.checked_shl(retries).unwrap_or(u64::MAX) - 1;
                    self.interval_seconds
                        .checked_mul(factor)
                        .is_some_and(|sum| sum <= self.expiration_seconds)
                };
                Some((1..64).take_while(|retries| fits(*retries)).last().unwrap_or(0))
            }
        }
    }

    /// The time from the first failure to a retry.
    #[must_use]
    pub fn elapsed(&self, retry: u32) -> Duration {
        let mut elapsed = Duration::ZERO;
        for number in 1..=retry {
            let delay = self.delay(number);
            // From here on every pause is as long as the cap.
            if delay.as_secs() == self.interval_seconds_max {
                let rest = u64::from(retry - number) + 1;
                let rest = Duration::from_secs(self.interval_seconds_max.saturating_mul(rest));
                return elapsed.saturating_add(rest);
            }
            elapsed = elapsed.saturating_add(delay);
        }
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cap: u64, expiration: u64, retries: Retries) -> RetrySchedule {
        RetrySchedule {
            interval_seconds: 1200,
            interval_seconds_max: cap,
            expiration_seconds: expiration,
            retries,
        }
    }

    #[test]
    fn configuration_a64_retry_arithmetic() {
        assert_eq!(schedule(1200, 86_400, Retries::AtMost(5)).elapsed(5).as_secs(), 6000);
        assert_eq!(schedule(43_200, 86_400, Retries::AtMost(5)).elapsed(5).as_secs(), 37_200);
        assert_eq!(schedule(43_200, 86_400, Retries::Auto).retries_max(), Some(6));
        assert_eq!(schedule(43_200, 604_800, Retries::Auto).retries_max(), Some(8));
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let delays = schedule(5000, 86_400, Retries::Unlimited);
        let seconds: Vec<u64> = (1..6).map(|retry| delays.delay(retry).as_secs()).collect();
        assert_eq!(seconds, [1200, 2400, 4800, 5000, 5000]);
        assert_eq!(delays.retries_max(), None);
        assert_eq!(delays.elapsed(5).as_secs(), 1200 + 2400 + 4800 + 2 * 5000);
        assert_eq!(delays.elapsed(0), Duration::ZERO);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let wide = RetrySchedule {
            interval_seconds: u64::MAX,
            interval_seconds_max: u64::MAX,
            expiration_seconds: u64::MAX,
            retries: Retries::Auto,
        };
        assert_eq!(wide.delay(u32::MAX).as_secs(), u64::MAX);
        assert_eq!(wide.retries_max(), Some(1));
        let _ = wide.elapsed(u32::MAX);
        assert_eq!(schedule(1, 0, Retries::Auto).retries_max(), Some(0));
        assert_eq!(schedule(1200, 1199, Retries::Auto).retries_max(), Some(0));
        assert_eq!(schedule(1200, 1200, Retries::Auto).retries_max(), Some(1));
    }
}
