//! What a calendar calls moments: names of months and days, and the conversions of `strftime`.

use alloc::string::String;
use core::fmt::Write as _;

use crate::time::WallTime;

/// The months.
pub const MONTHS: [&str; 12] = [
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

/// The days of a week.
pub const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The conversions of `strftime`, of POSIX and the few that every system has.
pub const CONVERSIONS: &str = "aAbBcCdDeFgGhHIjklmMnprRsStTuUVwWxXyYzZ";

/// The first three letters of a month or day.
#[must_use]
pub fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

/// A moment as a calendar shows it. The caller knows the clock and the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarTime<'a> {
    /// Such as 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
    /// Minutes east of Greenwich.
    pub offset_minutes: i32,
    /// The name of the zone.
    pub zone: &'a str,
    /// Seconds since 1970.
    pub unix_seconds: i64,
}

impl<'a> CalendarTime<'a> {
    /// A moment in a zone, so many seconds east of universal time. Before 1970 it is 1970.
    #[must_use]
    pub fn local(at: WallTime, offset_seconds: i32, zone: &'a str) -> Self {
        let offset = u64::from(offset_seconds.unsigned_abs());
        let shifted = if offset_seconds < 0 {
            at.unix_seconds().saturating_sub(offset)
        } else {
            at.unix_seconds().saturating_add(offset)
        };
        let civil = WallTime::from_unix_seconds(shifted).civil();
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        Self {
            year: i32::try_from(civil.year).unwrap_or(i32::MAX),
            month: small(civil.month),
            day: small(civil.day),
            hour: small(civil.hour),
            minute: small(civil.minute),
            second: small(civil.second),
            offset_minutes: offset_seconds / 60,
            zone,
            unix_seconds: i64::try_from(at.unix_seconds()).unwrap_or(i64::MAX),
        }
    }

    /// Appends what one of [`CONVERSIONS`] stands for, in the C locale; nothing for another letter.
    pub fn convert(&self, letter: char, out: &mut String) {
        let weekday = self.weekday();
        let day_name = WEEKDAYS.get(usize::from(weekday)).copied().unwrap_or("");
        let month_name = MONTHS.get(usize::from(self.month.saturating_sub(1))).copied().unwrap_or("");
        let of_year = self.day_of_year();
        let twelve = match self.hour % 12 {
            0 => 12,
            hour => hour,
        };
        // A `String` takes everything.
        let _ = match letter {
            'a' => out.write_str(short(day_name)),
            'A' => out.write_str(day_name),
            'b' | 'h' => out.write_str(short(month_name)),
            'B' => out.write_str(month_name),
            'C' => write!(out, "{:02}", self.year.div_euclid(100)),
            'd' => write!(out, "{:02}", self.day),
            'e' => write!(out, "{:2}", self.day),
            'g' => write!(out, "{:02}", self.iso_week().0.rem_euclid(100)),
            'G' => write!(out, "{}", self.iso_week().0),
            'H' => write!(out, "{:02}", self.hour),
            'I' => write!(out, "{twelve:02}"),
            'j' => write!(out, "{of_year:03}"),
            'k' => write!(out, "{:2}", self.hour),
            'l' => write!(out, "{twelve:2}"),
            'm' => write!(out, "{:02}", self.month),
            'M' => write!(out, "{:02}", self.minute),
            'n' => out.write_char('\n'),
            'p' => out.write_str(if self.hour < 12 { "AM" } else { "PM" }),
            's' => write!(out, "{}", self.unix_seconds),
            'S' => write!(out, "{:02}", self.second),
            't' => out.write_char('\t'),
            'u' => write!(out, "{}", if weekday == 0 { 7 } else { weekday }),
            'U' => write!(out, "{:02}", (of_year + 6 - u32::from(weekday)) / 7),
            'V' => write!(out, "{:02}", self.iso_week().1),
            'w' => write!(out, "{weekday}"),
            'W' => write!(out, "{:02}", (of_year + 6 - u32::from((weekday + 6) % 7)) / 7),
            'y' => write!(out, "{:02}", self.year.rem_euclid(100)),
            'Y' => write!(out, "{}", self.year),
            'z' => {
                let sign = if self.offset_minutes < 0 { '-' } else { '+' };
                let minutes = self.offset_minutes.unsigned_abs();
                write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
            }
            'Z' => out.write_str(self.zone),
            'c' => self.several("a b e H:M:S Y", out),
            'D' | 'x' => self.several("m/d/y", out),
            'F' => self.several("Y-m-d", out),
            'r' => self.several("I:M:S p", out),
            'R' => self.several("H:M", out),
            'T' | 'X' => self.several("H:M:S", out),
            _ => Ok(()),
        };
    }

    /// Every letter is a conversion, the rest is text.
    fn several(&self, letters: &str, out: &mut String) -> core::fmt::Result {
        for letter in letters.chars() {
            if letter.is_ascii_alphabetic() {
                self.convert(letter, out);
            } else {
                out.push(letter);
            }
        }
        Ok(())
    }

    /// 1 to 366.
    fn day_of_year(&self) -> u32 {
        const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let before = BEFORE.get(usize::from(self.month.saturating_sub(1))).copied().unwrap_or(0);
        before + u32::from(self.day) + u32::from(self.month > 2 && is_leap(self.year))
    }

    /// 0 is Sunday.
    fn weekday(&self) -> u8 {
        let before = i64::from(self.year) - 1;
        let days = before * 365 + before.div_euclid(4) - before.div_euclid(100)
            + before.div_euclid(400)
            + i64::from(self.day_of_year());
        u8::try_from(days.rem_euclid(7)).unwrap_or(0)
    }

    /// Year and week as ISO 8601 counts them: a week belongs to the year of its Thursday.
    fn iso_week(&self) -> (i32, u32) {
        let from_monday = u32::from((self.weekday() + 6) % 7);
        let week = (self.day_of_year() + 9 - from_monday) / 7;
        let long = |year: i32| {
            let first = Self { year, month: 1, day: 1, ..*self }.weekday();
            first == 4 || (first == 3 && is_leap(year))
        };
        if week == 0 {
            let before = self.year.saturating_sub(1);
            return (before, if long(before) { 53 } else { 52 });
        }
        if week == 53 && !long(self.year) {
            return (self.year.saturating_add(1), 1);
        }
        (self.year, week)
    }
}

fn is_leap(year: i32) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}
