//! Points in time, as values that the caller hands in.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

use crate::calendar::{MONTHS, WEEKDAYS, short};

/// A point on the caller's monotonic clock, in microseconds since an origin of the caller's choosing.
///
/// Never compared between processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// The point that lies `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point that lies `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(earlier.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// A point in civil time, in milliseconds since 1970-01-01 00:00:00 UTC. Used for display, message ids and
/// spool files; never for limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// The point `millis` milliseconds after the epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The point `seconds` seconds after the epoch.
    #[must_use]
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The date and time of day in UTC (proleptic Gregorian calendar).
    #[must_use]
    pub fn civil(self) -> Civil {
        // Days-to-civil after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (public domain).
        let seconds = self.unix_seconds();
        let days = seconds / 86_400;
        let of_day = seconds % 86_400;
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Civil {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            weekday: (days + 4) % 7,
        }
    }

    /// The moment of a date and time of day in UTC; `None` for one that the calendar does not have, or before 1970.
    #[must_use]
    pub fn from_civil(date: (u64, u64, u64), time: (u64, u64, u64)) -> Option<Self> {
        let (year, month, day) = date;
        let (hour, minute, second) = time;
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        // The way back of `civil`, after the same source.
        let year_of = if month <= 2 { year - 1 } else { year };
        let era = year_of / 400;
        let year_of_era = year_of % 400;
        let shifted_month = (month + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
        let at = Self::from_unix_seconds(days * 86_400 + hour * 3600 + minute * 60 + second);
        let civil = at.civil();
        // The 30th of February would be the 1st or 2nd of March.
        ((civil.year, civil.month, civil.day) == date).then_some(at)
    }
}

/// A date and time of day. `weekday` counts from Sunday = 0, `month` and `day` from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Civil {
    pub year: u64,
    pub month: u64,
    pub day: u64,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
    pub weekday: u64,
}

impl Civil {
    /// `Sun, 17 Mar 2030 17:46:40 +0000`, the form of RFC 5322, section 3.3.
    #[must_use]
    pub fn rfc5322(&self) -> impl fmt::Display + use<> {
        let this = *self;
        fmt::from_fn(move |f| {
            write!(
                f,
                "{}, {} {} {:04} {:02}:{:02}:{:02} +0000",
                name(&WEEKDAYS, this.weekday),
                this.day,
                name(&MONTHS, this.month.saturating_sub(1)),
                this.year,
                this.hour,
                this.minute,
                this.second
            )
        })
    }

    /// `Mar 17 2030`.
    #[must_use]
    pub fn month_day_year(&self) -> impl fmt::Display + use<> {
        let this = *self;
        fmt::from_fn(move |f| {
            write!(f, "{} {} {}", name(&MONTHS, this.month.saturating_sub(1)), this.day, this.year)
        })
    }

    /// `2030-03-17T17:46:40Z`, the form of RFC 3339.
    #[must_use]
    pub fn rfc3339(&self) -> impl fmt::Display + use<> {
        let this = *self;
        fmt::from_fn(move |f| {
            write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                this.year, this.month, this.day, this.hour, this.minute, this.second
            )
        })
    }
}

fn name(table: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| table.get(index)).map_or("???", |name| short(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_agree_with_known_days() {
        let check = |seconds, text: &str| {
            assert_eq!(WallTime::from_unix_seconds(seconds).civil().rfc5322().to_string(), text);
        };
        check(0, "Thu, 1 Jan 1970 00:00:00 +0000");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000");
        check(1_900_000_000, "Sun, 17 Mar 2030 17:46:40 +0000");
        assert_eq!(
            WallTime::from_unix_seconds(1_900_000_000).civil().rfc3339().to_string(),
            "2030-03-17T17:46:40Z"
        );
    }

    #[test]
    fn monotonic_saturates() {
        let late = Monotonic::from_micros(u64::MAX);
        assert_eq!(late + Duration::from_secs(1), late);
        assert_eq!(Monotonic::ZERO - Duration::from_secs(1), Monotonic::ZERO);
        assert_eq!(Monotonic::ZERO.since(late), Duration::ZERO);
    }
}
