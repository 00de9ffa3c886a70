//! What the manager does with the logs of the nodes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use postfleet_types::calendar::{CONVERSIONS, CalendarTime};

use super::Lookup;
use crate::config::Config;
use crate::resolve::Facts;
use crate::schema::Scope;
use crate::tree::InstanceId;
use crate::value::{Pattern, Value};

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
    pub fn expand(&self, time: &CalendarTime<'_>, log: &str, node: &str, subcluster: &str) -> String {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Log => path.push_str(&file_name(log)),
                Part::Node => path.push_str(&file_name(node)),
                Part::Subcluster => path.push_str(&file_name(subcluster)),
                Part::Time(letter) => time.convert(*letter, &mut path),
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

    fn time(year: i32, month: u8, day: u8) -> CalendarTime<'static> {
        CalendarTime {
            year,
            month,
            day,
            hour: 7,
            minute: 8,
            second: 9,
            offset_minutes: -90,
            zone: "XST",
            unix_seconds: 1_772_694_489,
        }
    }

    fn expand(template: &str, time: &CalendarTime<'_>) -> String {
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
