//! How long a window is and how many are kept: `"300,6"`.

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

use postfleet_types::WallTime;

/// The longest interval, in seconds: a year.
const INTERVAL_MAX: u32 = 31_536_000;
/// The most past windows. Each costs its own trees, and a query over all of them a look-up in each.
const NUMBER_MAX: u16 = 1024;

/// A monitor: windows of `interval` seconds, the running one and `number` past ones. Written `interval,number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monitor {
    interval: NonZeroU32,
    number: u16,
}

/// Why a text is no monitor. The caller's input is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MonitorError {
    /// Not two numbers with a comma between them.
    #[error("expected INTERVAL,NUMBER, for example 300,6: six windows of 300 seconds")]
    Form,
    /// The interval is out of range.
    #[error("the interval must be 1 to {INTERVAL_MAX} seconds")]
    Interval,
    /// The number is out of range.
    #[error("the number of windows must be 1 to {NUMBER_MAX}")]
    Number,
}

impl Monitor {
    /// Windows of `interval` seconds (1 to 31,536,000), and `number` (1 to 1024) past ones.
    ///
    /// # Errors
    /// [`MonitorError::Interval`] and [`MonitorError::Number`] outside of these ranges.
    pub fn new(interval: u32, number: u16) -> Result<Self, MonitorError> {
        let interval = NonZeroU32::new(interval)
            .filter(|interval| interval.get() <= INTERVAL_MAX)
            .ok_or(MonitorError::Interval)?;
        if !(1..=NUMBER_MAX).contains(&number) {
            return Err(MonitorError::Number);
        }
        Ok(Self { interval, number })
    }

    /// The length of a window in seconds.
    #[must_use]
    pub const fn interval(self) -> u32 {
        self.interval.get()
    }

    /// How many past windows are kept beside the running one; also the highest number of a window.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number
    }

    /// Which window since the epoch a time lies in.
    #[must_use]
    pub fn index(self, unix_seconds: u64) -> u64 {
        unix_seconds / u64::from(self.interval.get())
    }

    /// When the window of that index begins.
    #[must_use]
    pub fn begin(self, index: u64) -> WallTime {
        WallTime::from_unix_seconds(index.saturating_mul(u64::from(self.interval.get())))
    }

    /// When the oldest window begins that is kept at that time.
    #[must_use]
    pub fn oldest(self, now: WallTime) -> WallTime {
        self.begin(self.index(now.unix_seconds()).saturating_sub(self.number.into()))
    }

    /// The weighted sliding average: an estimate of the last whole interval that does not fall to 0 at a window change.
    ///
    /// With so many events in the `running` window, so many in the one `before` it, and `elapsed` whole seconds since the
    /// running one began: `(running × interval + before × (interval − elapsed)) ÷ interval`, rounded down.
    #[must_use]
    pub fn average(self, running: u64, before: u64, elapsed: u64) -> u64 {
        let interval = u64::from(self.interval.get());
        let rest = u128::from(interval.saturating_sub(elapsed));
        let weighted = u128::from(running) * u128::from(interval) + u128::from(before) * rest;
        u64::try_from(weighted / u128::from(interval)).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.interval, self.number)
    }
}

impl FromStr for Monitor {
    type Err = MonitorError;

    fn from_str(text: &str) -> Result<Self, MonitorError> {
        let (interval, number) = text.split_once(',').ok_or(MonitorError::Form)?;
        // `parse` would take a leading plus.
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (interval, number) = (interval.trim_matches(' '), number.trim_matches(' '));
        if !digits(interval) || !digits(number) {
            return Err(MonitorError::Form);
        }
        Self::new(
            interval.parse().map_err(|_| MonitorError::Interval)?,
            number.parse().map_err(|_| MonitorError::Number)?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_a21_weighted_averages() {
        let average = |interval, running, before, elapsed| {
            Monitor::new(interval, 1).unwrap().average(running, before, elapsed)
        };
        assert_eq!(average(300, 10, 40, 75), 40);
        assert_eq!(average(300, 3, 7, 100), 7);
        assert_eq!(average(60, 0, 12, 59), 0);
        assert_eq!(average(60, 5, 0, 1), 5);
        // Whatever is told: no more than there is of it.
        assert_eq!(average(60, 5, 7, 61), 5);
        assert_eq!(average(1, u64::MAX, u64::MAX, 0), u64::MAX);
    }

    #[test]
    fn texts() {
        let check = |text: &str, expected| assert_eq!(text.parse::<Monitor>(), expected, "{text}");
        check("300,6", Monitor::new(300, 6));
        check("300, 6", Monitor::new(300, 6));
        check("0,6", Err(MonitorError::Interval));
        check("99999999999,6", Err(MonitorError::Interval));
        check("300,0", Err(MonitorError::Number));
        check("300,70000", Err(MonitorError::Number));
        for text in ["", "300", "300,", ",6", "300,6,1", "+300,6", "5m,6", "300;6"] {
            check(text, Err(MonitorError::Form));
        }
        assert_eq!(Monitor::new(1800, 4).map(|monitor| monitor.to_string()), Ok("1800,4".into()));
    }
}
