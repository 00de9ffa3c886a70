//! Throttles.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::Model;
use crate::fault::Fault;
use crate::host::{Change, Kind};

pub(super) struct Throttle {
    limit: u64,
    period_ms: u64,
    counted: Vec<u64>,
    last: u64,
}

impl Throttle {
    fn current(&self, now: u64) -> impl Iterator<Item = u64> + '_ {
        let period = self.period_ms;
        self.counted.iter().copied().filter(move |at| at.saturating_add(period) > now)
    }

    fn used(&self, now: u64) -> u64 {
        u64::try_from(self.current(now).count()).unwrap_or(u64::MAX)
    }
}

fn shown(kind: Kind, name: &str) -> alloc::string::String {
    match kind {
        Kind::Local => format!("throttle {name}"),
        Kind::Shared => format!("shared_named_throttles {name}"),
    }
}

impl Model {
    fn throttle(&mut self, shared: bool, name: &str) -> Result<&mut Throttle, Fault> {
        let now = self.now_ms;
        self.throttles.retain(|_, throttle| throttle.last.saturating_add(throttle.period_ms) >= now);
        let missing = || Fault::new(format!("no such throttle '{name}'"));
        self.throttles.get_mut(&(shared, name.to_string())).ok_or_else(missing)
    }

    pub(super) fn count_and_wait(&mut self, shared: bool, name: &str) -> Result<u64, Fault> {
        let now = self.now_ms;
        let throttle = self.throttle(shared, name)?;
        throttle.last = now;
        let over = throttle.used(now) >= throttle.limit;
        let frees =
            throttle.current(now).next().map_or(now, |first| first.saturating_add(throttle.period_ms));
        throttle.counted.push(now);
        Ok(if over { frees.saturating_sub(now) } else { 0 })
    }

    pub(super) fn throttle_made(&mut self, kind: Kind, name: &str, rate: &str) -> Result<(), Fault> {
        let (limit, period) = rate.split_once('/').unwrap_or((rate, "1"));
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| Fault::new(format!("'{rate}' is not a rate")));
        let (limit, period_ms) = (number(limit)?, number(period)?.saturating_mul(1000));
        self.touch(true, shown(kind, name));
        if self.throttle(kind == Kind::Shared, name).is_err() {
            let throttle = Throttle { limit, period_ms, counted: Vec::new(), last: self.now_ms };
            self.throttles.insert((kind == Kind::Shared, name.into()), throttle);
        }
        Ok(())
    }

    pub(super) fn throttle_changed(&mut self, kind: Kind, name: &str, change: Change) -> Result<(), Fault> {
        let now = self.now_ms;
        let throttle = self.throttle(kind == Kind::Shared, name)?;
        throttle.last = now;
        match change {
            Change::Increment => throttle.counted.push(now),
            Change::Decrement => {
                throttle.counted.pop();
            }
        }
        self.touch(true, shown(kind, name));
        Ok(())
    }

    pub(super) fn throttle_is_exceeded(&mut self, kind: Kind, name: &str) -> Result<bool, Fault> {
        let now = self.now_ms;
        let throttle = self.throttle(kind == Kind::Shared, name)?;
        let exceeded = throttle.used(now) > throttle.limit;
        self.touch(false, shown(kind, name));
        Ok(exceeded)
    }
}
