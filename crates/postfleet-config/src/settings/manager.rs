//! What the manager does with the logs of the nodes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::time::Duration;

use super::Lookup;
use crate::config::Config;
use crate::resolve::Facts;
use crate::schema::Scope;
use crate::tree::InstanceId;
use crate::value::{Pattern, Value};

/// A moment as a calendar shows it. The caller knows the clock and the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarTime {
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
    pub offset_minutes: i16,
    /// The name of the zone.
    pub zone: String,
    /// Seconds since 1970.
    pub unix_seconds: i64,
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Log,
    Node,
    Subcluster,
    Time(char),
}

/// The path under which lines of the nodes are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTemplate {
    parts: Vec<Part>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// It is not an absolute path.
    Relative,
    /// It has this placeholder, which nothing stands behind.
    Unknown(String),
}

/// The conversions of strftime, of POSIX and the few that every system has.
const CONVERSIONS: &str = "aAbBcCdDeFgGhHIjklmMnprRsStTuUVwWxXyYzZ";

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
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

impl LogTemplate {
    /// Reads a template; `None` when it is not an absolute path or has an unknown placeholder.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    pub(crate) fn read(text: &str) -> Result<Self, TemplateError> {
        if !text.starts_with('/') || text.ends_with('/') {
            return Err(TemplateError::Relative);
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            plain.push_str(rest.get(..at).unwrap_or(""));
            rest = rest.get(at + 1..).unwrap_or("");
            let part = if let Some(braced) = rest.strip_prefix('{') {
                let (name, behind) =
                    braced.split_once('}').ok_or_else(|| TemplateError::Unknown(format!("%{rest}")))?;
                rest = behind;
                match name {
                    "l" => Part::Log,
                    "n" => Part::Node,
                    "s" => Part::Subcluster,
                    _ => return Err(TemplateError::Unknown(format!("%{{{name}}}"))),
                }
            } else {
                // The modifiers of other calendars change nothing in the digits used here.
                let bare = rest
                    .strip_prefix(['E', 'O'])
                    .filter(|bare| bare.starts_with(|c| CONVERSIONS.contains(c)));
                let letters = bare.unwrap_or(rest);
                let letter = letters.chars().next();
                rest = letters.get(letter.map_or(0, char::len_utf8)..).unwrap_or("");
                match letter {
                    Some('%') => {
                        plain.push('%');
                        continue;
                    }
                    Some(letter) if CONVERSIONS.contains(letter) => Part::Time(letter),
                    other => {
                        let shown = other.map_or_else(String::new, |letter| letter.to_string());
                        return Err(TemplateError::Unknown(format!("%{shown}")));
                    }
                }
            };
            if !plain.is_empty() {
                parts.push(Part::Text(core::mem::take(&mut plain)));
            }
            parts.push(part);
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The file of a line. Names cannot leave the directory they stand in: a `/` in one becomes `_`, so does a
    /// dot in front.
    #[must_use]
    pub fn expand(&self, time: &CalendarTime, log: &str, node: &str, subcluster: &str) -> String {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Log => path.push_str(&file_name(log)),
                Part::Node => path.push_str(&file_name(node)),
                Part::Subcluster => path.push_str(&file_name(subcluster)),
                Part::Time(letter) => conversion(&mut path, *letter, time),
            }
        }
        path
    }
}

fn file_name(name: &str) -> String {
    let safe = name.replace(['/', '\0'], "_");
    match safe.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if safe.is_empty() => "_".to_string(),
        None => safe,
    }
}

/// One conversion of strftime, in the C locale.
fn conversion(out: &mut String, letter: char, time: &CalendarTime) {
    let weekday = weekday(time);
    let day_name = DAYS.get(usize::from(weekday)).copied().unwrap_or("");
    let month_name = MONTHS.get(usize::from(time.month.saturating_sub(1))).copied().unwrap_or("");
    let of_year = day_of_year(time);
    let twelve = match time.hour % 12 {
        0 => 12,
        hour => hour,
    };
    let (iso_year, iso_week) = iso_week(time, weekday, of_year);
    let short = |name: &'static str| name.get(..3).unwrap_or(name);
    let several = |out: &mut String, letters: &str| {
        for letter in letters.chars() {
            if letter.is_ascii_alphabetic() {
                conversion(out, letter, time);
            } else {
                out.push(letter);
            }
        }
    };
    let _ = match letter {
        'a' => write!(out, "{}", short(day_name)),
        'A' => write!(out, "{day_name}"),
        'b' | 'h' => write!(out, "{}", short(month_name)),
        'B' => write!(out, "{month_name}"),
        'C' => write!(out, "{:02}", time.year.div_euclid(100)),
        'd' => write!(out, "{:02}", time.day),
        'e' => write!(out, "{:2}", time.day),
        'g' => write!(out, "{:02}", iso_year.rem_euclid(100)),
        'G' => write!(out, "{iso_year}"),
        'H' => write!(out, "{:02}", time.hour),
        'I' => write!(out, "{twelve:02}"),
        'j' => write!(out, "{of_year:03}"),
        'k' => write!(out, "{:2}", time.hour),
        'l' => write!(out, "{twelve:2}"),
        'm' => write!(out, "{:02}", time.month),
        'M' => write!(out, "{:02}", time.minute),
        'n' => out.write_char('\n'),
        'p' => write!(out, "{}", if time.hour < 12 { "AM" } else { "PM" }),
        's' => write!(out, "{}", time.unix_seconds),
        'S' => write!(out, "{:02}", time.second),
        't' => out.write_char('\t'),
        'u' => write!(out, "{}", if weekday == 0 { 7 } else { weekday }),
        'U' => write!(out, "{:02}", (of_year + 6 - u32::from(weekday)) / 7),
        'V' => write!(out, "{iso_week:02}"),
        'w' => write!(out, "{weekday}"),
        'W' => write!(out, "{:02}", (of_year + 6 - u32::from((weekday + 6) % 7)) / 7),
        'y' => write!(out, "{:02}", time.year.rem_euclid(100)),
        'Y' => write!(out, "{}", time.year),
        'z' => {
            let sign = if time.offset_minutes < 0 { '-' } else { '+' };
            let minutes = time.offset_minutes.unsigned_abs();
            write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
        }
        'Z' => write!(out, "{}", time.zone),
        'c' => {
            several(out, "a b e H:M:S Y");
            Ok(())
        }
        'D' | 'x' => {
            several(out, "m/d/y");
            Ok(())
        }
        'F' => {
            several(out, "Y-m-d");
            Ok(())
        }
        'r' => {
            several(out, "I:M:S p");
            Ok(())
        }
        'R' => {
            several(out, "H:M");
            Ok(())
        }
        'T' | 'X' => {
            several(out, "H:M:S");
            Ok(())
        }
        _ => Ok(()),
    };
}

fn is_leap(year: i32) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

/// 1 to 366.
fn day_of_year(time: &CalendarTime) -> u32 {
    const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let before = BEFORE.get(usize::from(time.month.saturating_sub(1))).copied().unwrap_or(0);
    before + u32::from(time.day) + u32::from(time.month > 2 && is_leap(time.year))
}

/// 0 is Sunday.
fn weekday(time: &CalendarTime) -> u8 {
    let before = i64::from(time.year) - 1;
    let days = before * 365 + before.div_euclid(4) - before.div_euclid(100)
        + before.div_euclid(400)
        + i64::from(day_of_year(time));
    u8::try_from(days.rem_euclid(7)).unwrap_or(0)
}

/// Year and week as ISO 8601 counts them: a week belongs to the year of its Thursday.
fn iso_week(time: &CalendarTime, weekday: u8, of_year: u32) -> (i32, u32) {
    let from_monday = u32::from((weekday + 6) % 7);
    let week = (of_year + 9 - from_monday) / 7;
    let long = |year: i32| {
        let first = CalendarTime { year, month: 1, day: 1, ..time.clone() };
        let first = self::weekday(&first);
        first == 4 || (first == 3 && is_leap(year))
    };
    if week == 0 {
        return (time.year - 1, if long(time.year - 1) { 53 } else { 52 });
    }
    if week == 53 && !long(time.year) {
        return (time.year + 1, 1);
    }
    (time.year, week)
}

/// `Logs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsSettings {
    /// `logfile`; `None`: logs are not gathered.
    pub logfile: Option<LogTemplate>,
    /// `file_mode`.
    pub file_mode: u32,
    /// `dir_mode`.
    pub dir_mode: u32,
    /// `max_open`.
    pub max_open: u32,
    /// `max_idle`.
    pub max_idle: Duration,
    /// `control_cache`.
    pub control_cache: Option<String>,
}

/// `as_logger`.
#[derive(Clone, Debug, PartialEq)]
pub struct AsLoggerSettings {
    /// `enabled`.
    pub enabled: bool,
    /// `base_dir`.
    pub base_dir: String,
    /// `log_interval`.
    pub log_interval: Duration,
    /// `series_include_default = "all"`.
    pub include_all: bool,
    /// `series_include`.
    pub include: Vec<Pattern>,
    /// `series_exclude`.
    pub exclude: Vec<Pattern>,
}

impl AsLoggerSettings {
    /// Whether a series of this name is written.
    #[must_use]
    pub fn includes(&self, series: &str) -> bool {
        let listed = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.is_match(series));
        if self.include_all { !listed(&self.exclude) } else { listed(&self.include) }
    }
}

impl Config {
    /// `Logs`; `None` when there is none, as on every node.
    #[must_use]
    pub fn logs(&self) -> Option<LogsSettings> {
        let instance = self.tree().anonymous(Scope::Logs)?;
        let logs = Lookup::new(self, Facts { instance: Some(instance), ..Facts::default() });
        Some(LogsSettings {
            logfile: logs.filled("logfile").and_then(|text| LogTemplate::parse(&text)),
            file_mode: logs.u32("file_mode"),
            dir_mode: logs.u32("dir_mode"),
            max_open: logs.u32("max_open"),
            max_idle: logs.seconds("max_idle"),
            control_cache: logs.filled("control_cache"),
        })
    }

    /// The names under which the manager pulls the logs of a node, tried in order. Empty: nothing is pulled from it.
    #[must_use]
    pub fn subscribers(&self, manager: &str, node: &str) -> Vec<String> {
        let tree = self.tree();
        let logs = tree.anonymous(Scope::Logs);
        let block = logs.and_then(|logs| tree.child(logs, Scope::Manager, manager));
        let inner = block.and_then(|block| tree.child(block, Scope::Node, node));
        let set = [inner, block, logs].into_iter().flatten().find_map(|id: InstanceId| {
            tree.instance(id)?.assigned("Subscriber").map(|assigned| assigned.value.clone())
        });
        match set {
            Some(Value::List(names)) => {
                names.iter().filter_map(Value::as_text).map(ToString::to_string).collect()
            }
            Some(_) | None => Vec::from([manager.to_string(), "master".to_string()]),
        }
    }

    /// `as_logger`; `None` when there is none.
    #[must_use]
    pub fn as_logger(&self) -> Option<AsLoggerSettings> {
        let instance = self.tree().anonymous(Scope::AsLogger)?;
        let logger = Lookup::new(self, Facts { instance: Some(instance), ..Facts::default() });
        Some(AsLoggerSettings {
            enabled: logger.bool("enabled"),
            base_dir: logger.text("base_dir").unwrap_or_default(),
            log_interval: logger.seconds("log_interval"),
            include_all: logger.word("series_include_default") == "all",
            include: logger.patterns("series_include"),
            exclude: logger.patterns("series_exclude"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(year: i32, month: u8, day: u8) -> CalendarTime {
        CalendarTime {
            year,
            month,
            day,
            hour: 7,
            minute: 8,
            second: 9,
            offset_minutes: -90,
            zone: "XST".to_string(),
            unix_seconds: 1_772_694_489,
        }
    }

    fn expand(template: &str, time: &CalendarTime) -> String {
        LogTemplate::parse(template).unwrap().expand(time, "mainlog", "node1", "mycluster")
    }

    #[test]
    fn configuration_a51_paths_of_gathered_logs() {
        assert_eq!(
            expand("/var/log/eccluster/%Y/%m/%d/%{l}/%{s}/%{n}", &time(2026, 3, 5)),
            "/var/log/eccluster/2026/03/05/mainlog/mycluster/node1"
        );
    }

    /// Against what date(1) prints in the C locale.
    #[test]
    fn conversions_are_those_of_strftime() {
        let check = |letter: &str, expected: &str| {
            assert_eq!(expand(&format!("/{letter}"), &time(2026, 3, 5)), format!("/{expected}"), "{letter}");
        };
        for (letter, expected) in [
            ("%a", "Thu"),
            ("%A", "Thursday"),
            ("%b", "Mar"),
            ("%B", "March"),
            ("%C", "20"),
            ("%D", "03/05/26"),
            ("%e", " 5"),
            ("%F", "2026-03-05"),
            ("%G", "2026"),
            ("%V", "10"),
            ("%I", "07"),
            ("%j", "064"),
            ("%p", "AM"),
            ("%R", "07:08"),
            ("%T", "07:08:09"),
            ("%u", "4"),
            ("%U", "09"),
            ("%w", "4"),
            ("%W", "09"),
            ("%y", "26"),
            ("%z", "-0130"),
            ("%Z", "XST"),
            ("%%", "%"),
            ("%c", "Thu Mar  5 07:08:09 2026"),
            ("%s", "1772694489"),
            ("%Od", "05"),
            ("%r", "07:08:09 AM"),
        ] {
            check(letter, expected);
        }
    }

    #[test]
    fn weeks_at_the_turn_of_the_year() {
        for (year, month, day, expected) in [
            (2024, 12, 30, "2025-01 52 53"),
            (2027, 1, 1, "2026-53 00 00"),
            (2023, 1, 1, "2022-52 01 00"),
            (2020, 12, 31, "2020-53 52 52"),
            (2024, 2, 29, "2024-09 08 09"),
        ] {
            assert_eq!(
                expand("/%G-%V %U %W", &time(year, month, day)),
                format!("/{expected}"),
                "{year}-{month}-{day}"
            );
        }
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        let template = LogTemplate::parse("/a/%{n}").unwrap();
        assert_eq!(template.expand(&time(2026, 1, 1), "l", "../../etc/x", "s"), "/a/_._.._etc_x");
        assert_eq!(template.expand(&time(2026, 1, 1), "l", "..", "s"), "/a/_.");
        assert_eq!(template.expand(&time(2026, 1, 1), "l", "", "s"), "/a/_");
    }

    #[test]
    fn unknown_placeholders_are_named() {
        let unknown = |text: &str| match LogTemplate::read(text) {
            Err(TemplateError::Unknown(found)) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!(unknown("/a/%{x}"), "%{x}");
        assert_eq!(unknown("/a/%Q"), "%Q");
        assert_eq!(unknown("/a/%"), "%");
        assert_eq!(unknown("/a/%{l"), "%{l");
        assert_eq!(LogTemplate::read("a/%Y"), Err(TemplateError::Relative));
    }
}
