//! The calendar, in UTC: a node has no other, and scripts on all nodes shall see the same.

use postfleet_types::calendar::{MONTHS, WEEKDAYS, short};

/// A moment by the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    /// From 0, a Sunday.
    pub(crate) weekday: i64,
    /// From 1.
    pub(crate) yearday: i64,
}

/// Days from 1970-01-01 to a day. Months beyond the year and days beyond the month are carried over.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let months = month.saturating_sub(1);
    let year = year.saturating_add(months.div_euclid(12));
    let month = months.rem_euclid(12).saturating_add(1);
    // Years begin in March, so that the leap day is the last.
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = month.saturating_add(9).rem_euclid(12);
    let of_year = (153 * shifted + 2) / 5 + day.saturating_sub(1);
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era.saturating_mul(146_097).saturating_add(of_era).saturating_sub(719_468)
}

/// Seconds since 1970.
pub(crate) fn seconds(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> i64 {
    days(year, month, day)
        .saturating_mul(86_400)
        .saturating_add(hour.saturating_mul(3600))
        .saturating_add(minute.saturating_mul(60))
        .saturating_add(second)
}

impl Date {
    /// The moment so many seconds after 1970.
    pub(crate) fn at(seconds: i64) -> Self {
        let day_number = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400);
        let z = day_number.saturating_add(719_468);
        let era = z.div_euclid(146_097);
        let of_era = z.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era.saturating_mul(400) + i64::from(month <= 2);
        Self {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: day_number.saturating_add(4).rem_euclid(7),
            yearday: day_number.saturating_sub(days(year, 1, 1)).saturating_add(1),
        }
    }

    fn name(names: &'static [&'static str], at: i64) -> &'static str {
        usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
    }

    /// The text of a format as `strftime` has it, for the letters of the reference manual.
    pub(crate) fn format(&self, format: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut letters = format.chars();
        while let Some(c) = letters.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let day = Self::name(&WEEKDAYS, self.weekday);
            let month = Self::name(&MONTHS, self.month.saturating_sub(1));
            let twelve = (self.hour + 11) % 12 + 1;
            let piece = match letters.next() {
                Some('a') => short(day).to_owned(),
                Some('A') => day.to_owned(),
                Some('b') => short(month).to_owned(),
                Some('B') => month.to_owned(),
                Some('c') => self.format("%a %b %d %H:%M:%S %Y")?,
                Some('d') => format!("{:02}", self.day),
                Some('H') => format!("{:02}", self.hour),
                Some('I') => format!("{twelve:02}"),
                Some('j') => format!("{:03}", self.yearday),
                Some('m') => format!("{:02}", self.month),
                Some('M') => format!("{:02}", self.minute),
                Some('p') => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
                Some('S') => format!("{:02}", self.second),
                Some('w') => self.weekday.to_string(),
                Some('x') => self.format("%m/%d/%y")?,
                Some('X') => self.format("%H:%M:%S")?,
                Some('y') => format!("{:02}", self.year.rem_euclid(100)),
                Some('Y') => self.year.to_string(),
                Some('z') => "+0000".to_owned(),
                Some('Z') => "UTC".to_owned(),
                Some('%') => "%".to_owned(),
                Some(other) => return Err(format!("'%{other}' is no part of a date here")),
                None => return Err("the format ends with '%'".to_owned()),
            };
            text.push_str(&piece);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Date, seconds};

    #[test]
    fn days_and_their_numbers_agree() {
        assert_eq!(seconds(1970, 1, 1, 0, 0, 0), 0);
        assert_eq!(seconds(2026, 11, 28, 20, 22, 27), 1_795_897_347);
        assert_eq!(seconds(2025, 14, 1, 0, 0, 0), seconds(2026, 2, 1, 0, 0, 0));
        for at in (-4_000_000_000_i64..8_000_000_000).step_by(12_345_677) {
            let date = Date::at(at);
            let again = seconds(date.year, date.month, date.day, date.hour, date.minute, date.second);
            assert_eq!(again, at, "{date:?}");
        }
    }

    #[test]
    fn formats() {
        let date = Date::at(1_795_897_347);
        assert_eq!(
            date.format("%A %c %j %I%p %y").as_deref(),
            Ok("Saturday Sat Nov 28 20:22:27 2026 332 08PM 26")
        );
        assert!(date.format("%Q").is_err() && date.format("%").is_err());
    }
}
