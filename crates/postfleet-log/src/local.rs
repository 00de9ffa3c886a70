//! What clocks on the wall show: dates and times of day in a zone.

use alloc::format;
use alloc::string::{String, ToString as _};

use postfleet_types::WallTime;

/// The local time at some moment: how far it is from universal time, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime<'a> {
    /// Seconds east of universal time.
    pub offset_seconds: i32,
    /// `CET`
    pub name: &'a str,
}

impl LocalTime<'_> {
    /// Universal time.
    pub const UTC: Self = Self { offset_seconds: 0, name: "UTC" };

    /// The moment with the conversions of strftime that logs use, names in English. A conversion that is not one of them
    /// stays as it is written.
    #[must_use]
    pub fn format(&self, at: WallTime, format: &str) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        const LONG_MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const LONG_DAYS: [&str; 7] =
            ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        let offset = u64::from(self.offset_seconds.unsigned_abs());
        let shifted = if self.offset_seconds < 0 {
            at.unix_seconds().saturating_sub(offset)
        } else {
            at.unix_seconds().saturating_add(offset)
        };
        let civil = WallTime::from_unix_seconds(shifted).civil();
        let name = |names: &[&'static str], at: u64| {
            usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default().to_string()
        };
        let month = civil.month.saturating_sub(1);
        let (morning, twelve) =
            (civil.hour < 12, if matches!(civil.hour, 0 | 12) { 12 } else { civil.hour % 12 });
        let day_of_year = || {
            let first = WallTime::from_civil((civil.year, 1, 1), (0, 0, 0)).unwrap_or_default();
            (shifted.saturating_sub(first.unix_seconds())) / 86_400 + 1
        };
        let zone = || {
            let sign = if self.offset_seconds < 0 { '-' } else { '+' };
            format!("{sign}{:02}{:02}", offset / 3600, offset / 60 % 60)
        };
        let mut out = String::new();
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let text = match rest.next() {
                Some('Y') => civil.year.to_string(),
                Some('C') => format!("{:02}", civil.year / 100),
                Some('y') => format!("{:02}", civil.year % 100),
                Some('m') => format!("{:02}", civil.month),
                Some('d') => format!("{:02}", civil.day),
                Some('e') => format!("{:2}", civil.day),
                Some('j') => format!("{:03}", day_of_year()),
                Some('H') => format!("{:02}", civil.hour),
                Some('k') => format!("{:2}", civil.hour),
                Some('I') => format!("{twelve:02}"),
                Some('p') => String::from(if morning { "AM" } else { "PM" }),
                Some('M') => format!("{:02}", civil.minute),
                Some('S') => format!("{:02}", civil.second),
                Some('b' | 'h') => name(&MONTHS, month),
                Some('B') => name(&LONG_MONTHS, month),
                Some('a') => name(&DAYS, civil.weekday),
                Some('A') => name(&LONG_DAYS, civil.weekday),
                Some('u') => (if civil.weekday == 0 { 7 } else { civil.weekday }).to_string(),
                Some('w') => civil.weekday.to_string(),
                Some('F') => format!("{}-{:02}-{:02}", civil.year, civil.month, civil.day),
                Some('D') => format!("{:02}/{:02}/{:02}", civil.month, civil.day, civil.year % 100),
                Some('T') => format!("{:02}:{:02}:{:02}", civil.hour, civil.minute, civil.second),
                Some('R') => format!("{:02}:{:02}", civil.hour, civil.minute),
                Some('s') => at.unix_seconds().to_string(),
                Some('n' | 't') => " ".to_string(),
                Some('z') => zone(),
                Some('Z') => self.name.to_string(),
                Some('%') => "%".to_string(),
                Some(other) => format!("%{other}"),
                None => "%".to_string(),
            };
            out.push_str(&text);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_in_zones_east_and_west() {
        let at = WallTime::from_unix_seconds(1_700_000_000);
        let berlin = LocalTime { offset_seconds: 3600, name: "CET" };
        assert_eq!(berlin.format(at, "%a %d %b %Y %H:%M:%S %z %Z"), "Tue 14 Nov 2023 23:13:20 +0100 CET");
        let newfoundland = LocalTime { offset_seconds: -12_600, name: "NST" };
        assert_eq!(newfoundland.format(at, "%F %T %z %s"), "2023-11-14 18:43:20 -0330 1700000000");
        // Days change with the zone.
        let late = LocalTime { offset_seconds: 7200, name: "X" };
        assert_eq!(
            late.format(at, "%A %e %B %j %u %I %p %D %R %k"),
            "Wednesday 15 November 319 3 12 AM 11/15/23 00:13  0"
        );
        assert_eq!(LocalTime::UTC.format(at, "%Q %% %"), "%Q % %");
        assert_eq!(newfoundland.format(WallTime::default(), "%Y"), "1970");
    }
}
