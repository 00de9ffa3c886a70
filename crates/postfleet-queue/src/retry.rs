//! When a message is tried again, and when it has failed for good.

use core::time::Duration;

use postfleet_config::retry::RetrySchedule;

/// All retries were used up.
pub(crate) const TOO_OFTEN: &str = "554 5.4.7 [internal] exceeded max retries without delivery";
/// The message became too old.
pub(crate) const TOO_OLD: &str = "554 5.4.7 [internal] exceeded max time without delivery";
/// The message was too old before it was its turn.
pub(crate) const NOT_ATTEMPTED: &str = "554 5.4.5 [internal] Delivery not attempted (message expired)";

/// The options that decide about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Intervals, their cap, the age at which a message fails, the number of retries.
    pub schedule: RetrySchedule,
    /// `Never_Retry`.
    pub never_retry: bool,
    /// `Never_Attempt_Expired_Messages`.
    pub never_attempt_expired: bool,
}

/// What follows from a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next attempt is so much later.
    Retry(Duration),
    /// It was the last one; the reply says why.
    Failed(&'static str),
}

impl RetryPolicy {
    /// Decides after an attempt has failed: `failures` counts it, `age` is the time since the message was accepted.
    ///
    /// An attempt that would come after the message has expired is pulled to the moment of expiry.
    #[must_use]
    pub fn after_failure(&self, failures: u32, age: Duration) -> After {
        if self.never_retry {
            return After::Failed(TOO_OFTEN);
        }
        let life = Duration::from_secs(self.schedule.expiration_seconds);
        if age >= life {
            return After::Failed(TOO_OLD);
        }
        if self.schedule.retries_max().is_some_and(|most| failures > most) {
            return After::Failed(TOO_OFTEN);
        }
        After::Retry(self.schedule.delay(failures).min(life.saturating_sub(age)))
    }

    /// Whether a message of this age has expired.
    #[must_use]
    pub const fn is_expired(&self, age: Duration) -> bool {
        age.as_secs() >= self.schedule.expiration_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postfleet_config::retry::Retries;
    use proptest::prelude::*;

    fn policy(cap: u64, expiration: u64, retries: Retries) -> RetryPolicy {
        let schedule = RetrySchedule {
            interval_seconds: 1200,
            interval_seconds_max: cap,
            expiration_seconds: expiration,
            retries,
        };
        RetryPolicy { schedule, never_retry: false, never_attempt_expired: false }
    }

    /// The times of all attempts when each of them fails, and the last reply.
    fn attempts(policy: &RetryPolicy) -> (Vec<u64>, &'static str) {
        let mut at = Duration::ZERO;
        let mut times = Vec::new();
        for failures in 1.. {
            times.push(at.as_secs());
            match policy.after_failure(failures, at) {
                After::Retry(pause) => at += pause,
                After::Failed(reply) => return (times, reply),
            }
        }
        unreachable!()
    }

    #[test]
    fn mta_case_13_attempts_of_the_defaults() {
        let (times, reply) = attempts(&policy(43_200, 86_400, Retries::Auto));
        assert_eq!(times, [0, 1200, 3600, 8400, 18_000, 37_200, 75_600]);
        assert_eq!(reply, "554 5.4.7 [internal] exceeded max retries without delivery");
    }

    #[test]
    fn mta_case_14_equal_intervals() {
        let (times, reply) = attempts(&policy(1200, 86_400, Retries::AtMost(5)));
        assert_eq!(times.last(), Some(&6000));
        assert_eq!(reply, TOO_OFTEN);
        let (times, _) = attempts(&policy(43_200, 86_400, Retries::AtMost(5)));
        assert_eq!(times.last(), Some(&37_200));
    }

    #[test]
    fn mta_6_3_the_last_attempt_is_at_expiry() {
        let (times, reply) = attempts(&policy(43_200, 10_000, Retries::Unlimited));
        assert_eq!(times, [0, 1200, 3600, 8400, 10_000]);
        assert_eq!(reply, TOO_OLD);
    }

    #[test]
    fn mta_6_3_never_retry_fails_at_once() {
        let never = RetryPolicy { never_retry: true, ..policy(1200, 86_400, Retries::Auto) };
        assert_eq!(never.after_failure(1, Duration::ZERO), After::Failed(TOO_OFTEN));
    }

    proptest! {
        /// Attempts never go back in time, never pass the expiry, and come to an end.
        #[test]
        fn attempts_end(interval in 1_u64..5000, cap in 1_u64..50_000, life in 1_u64..100_000, most in 0_u32..40, kind in 0..3) {
            let retries = match kind { 0 => Retries::Auto, 1 => Retries::Unlimited, _ => Retries::AtMost(most) };
            let schedule =
                RetrySchedule { interval_seconds: interval, interval_seconds_max: cap, expiration_seconds: life, retries };
            let (times, _) = attempts(&RetryPolicy { schedule, never_retry: false, never_attempt_expired: false });
            prop_assert!(times.is_sorted());
            prop_assert!(times.last().is_some_and(|last| *last <= life), "{times:?}");
            if let Some(most) = schedule.retries_max() {
                prop_assert!(times.len() <= most as usize + 1);
            }
        }
    }
}
