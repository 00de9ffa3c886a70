//! `Inbound_Throttle_Messages`: how many messages the node takes in a period. It delays, and rarely refuses.
//!
//! A MAIL command takes a unit at the time at which the throttle lets it, and its reply waits until then. The unit
//! comes back when the transaction ends without an acknowledged message.

use crate::clock;
use postfleet_throttle::{Rate, Throttle};
use postfleet_types::Monotonic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest wait, whatever `Idle_Time` says: clients give up after five minutes (RFC 5321, section 4.5.3.2.2).
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The node's throttle; without one, everything passes.
pub(crate) struct Receptions {
    throttle: Mutex<Option<Throttle>>,
}

/// What a MAIL command gets.
pub(super) enum Reception {
    /// There is no throttle.
    Free,
    /// A unit, and when it may be used.
    Unit(Unit),
    /// It would have to wait for too long. Nothing was taken.
    TooLong,
}

/// A unit that a transaction holds; dropped, it goes back to the throttle.
pub(super) struct Unit {
    from: Option<Arc<Receptions>>,
    pub(super) release: Monotonic,
}

impl Unit {
    /// Its message was acknowledged.
    pub(super) fn spend(mut self) {
        self.from = None;
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let Some(from) = &self.from else { return };
        if let Some(throttle) = from.locked().as_mut() {
            throttle.withdraw(self.release);
        }
    }
}

impl Receptions {
    pub(crate) fn new(rate: Option<Rate>) -> Arc<Self> {
        Arc::new(Self { throttle: Mutex::new(rate.map(Throttle::new)) })
    }

    /// Takes another rate; what was used under the one before stays used.
    pub(crate) fn adopt(&self, rate: Option<Rate>) {
        let mut throttle = self.locked();
        match (throttle.as_mut(), rate) {
            (Some(throttle), Some(rate)) => throttle.set_rate(rate),
            (_, rate) => *throttle = rate.map(Throttle::new),
        }
    }

    /// A unit for a client that waits for `idle_time` at most.
    pub(super) fn take(self: &Arc<Self>, idle_time: Duration) -> Reception {
        self.take_at(clock::monotonic(), idle_time.min(WAIT_MAX))
    }

    fn take_at(self: &Arc<Self>, now: Monotonic, patience: Duration) -> Reception {
        let mut throttle = self.locked();
        let Some(throttle) = throttle.as_mut() else { return Reception::Free };
        if throttle.next_free(now) > now + patience {
            return Reception::TooLong;
        }
        Reception::Unit(Unit { from: Some(Arc::clone(self)), release: throttle.tarpit(now) })
    }

    fn locked(&self) -> MutexGuard<'_, Option<Throttle>> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::ZERO + Duration::from_secs(seconds)
    }

    fn receptions(rate: &str) -> Arc<Receptions> {
        Receptions::new(Some(rate.parse().unwrap()))
    }

    fn unit(receptions: &Arc<Receptions>, now: Monotonic) -> Unit {
        match receptions.take_at(now, PATIENCE) {
            Reception::Unit(unit) => unit,
            Reception::Free | Reception::TooLong => panic!("no unit"),
        }
    }

    #[test]
    fn units_queue_and_a_wait_beyond_patience_takes_none() {
        let receptions = receptions("1/10");
        let (first, second) = (unit(&receptions, at(100)), unit(&receptions, at(101)));

        assert_eq!([first.release, second.release], [at(100), at(110)]);
        assert!(matches!(receptions.take_at(at(102), PATIENCE), Reception::TooLong));
        assert_eq!(unit(&receptions, at(105)).release, at(120));
    }

    #[test]
    fn a_unit_comes_back_unless_its_message_was_acknowledged() {
        let receptions = receptions("1/10");
        drop(unit(&receptions, at(100)));
        let again = unit(&receptions, at(100));
        assert_eq!(again.release, at(100));
        again.spend();

        assert_eq!(unit(&receptions, at(101)).release, at(110));
    }

    #[test]
    fn another_rate_counts_what_was_used_before() {
        let receptions = receptions("2/10");
        unit(&receptions, at(100)).spend();
        receptions.adopt(Some("1/20".parse().unwrap()));
        assert_eq!(unit(&receptions, at(106)).release, at(120));

        receptions.adopt(None);
        assert!(matches!(receptions.take_at(at(106), PATIENCE), Reception::Free));
    }
}
