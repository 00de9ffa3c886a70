//! What clocks on the wall show: dates and times of day in a zone.

use alloc::string::String;

use postfleet_types::WallTime;
use postfleet_types::calendar::{CONVERSIONS, CalendarTime};

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

    /// The moment with conversions of strftime, names in English. A conversion that is not one of them
    /// stays as it is written.
    #[must_use]
    pub fn format(&self, at: WallTime, format: &str) -> String {
        let time = CalendarTime::local(at, self.offset_seconds, self.name);
        let mut out = String::new();
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match rest.next() {
                // A line has no line ends in it.
                Some('n' | 't') => out.push(' '),
                Some('%') | None => out.push('%'),
                Some(letter) if CONVERSIONS.contains(letter) => time.convert(letter, &mut out),
                Some(other) => out.extend(['%', other]),
            }
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
        assert_eq!(
            LocalTime::UTC.format(at, "%G-W%V %g %U %W|%c|%x %X|%l|%r"),
            "2023-W46 23 46 46|Tue Nov 14 22:13:20 2023|11/14/23 22:13:20|10|10:13:20 PM"
        );
        assert_eq!(LocalTime::UTC.format(at, "%Q %% %"), "%Q % %");
        assert_eq!(newfoundland.format(WallTime::default(), "%Y"), "1970");
    }
}
