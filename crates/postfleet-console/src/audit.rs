//! `inbound_audit …` and `sievelib gauge_cache …`: commands and answers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use postfleet_types::Prefix;

use crate::answer::Answer;
use crate::command::Command;
use crate::lex::Word;
use crate::machine::{Fields, put};

/// The longest window, in seconds: a year.
const INTERVAL_MAX: u32 = 31_536_000;
/// The most past windows.
const NUMBER_MAX: u16 = 1024;

/// The windows of a series: `interval,number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Windows {
    /// The length of one, 1 to 31,536,000 seconds.
    pub interval: u32,
    /// Past ones kept beside the running one, 1 to 1024.
    pub number: u16,
}

/// `inbound_audit …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditCommand {
    /// `help`
    Help,
    /// `show ip <ip[/mask]>`
    ShowIp(Prefix),
    /// `show all`
    ShowAll,
    /// `add`, `subtract`
    Add {
        /// The series.
        series: String,
        /// Its windows.
        windows: Windows,
        /// What is counted.
        address: IpAddr,
        /// How often; negative for `subtract`.
        delta: i64,
    },
    /// `count_cidr`
    Count {
        /// The addresses.
        block: Prefix,
        /// The series.
        series: String,
        /// Its windows.
        windows: Windows,
        /// One end of the range of windows, by number.
        from: u16,
        /// The other.
        to: u16,
    },
    /// `delete_ip`
    Delete {
        /// The address.
        address: IpAddr,
        /// The series.
        series: String,
        /// Its windows.
        windows: Windows,
    },
    /// `load`
    Load {
        /// The series.
        series: String,
        /// The file; none: that of the series.
        file: Option<String>,
    },
    /// `define`
    Define {
        /// The series.
        series: String,
        /// `cidr`, `cidr_ipv6` or `string`.
        kind: &'static str,
        /// Its windows.
        windows: Windows,
        /// Who hears of it.
        share: Share,
        /// It is kept over an orderly restart.
        persist: bool,
        /// Its changes are written to files.
        serialize: bool,
    },
}

/// Who hears of what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// This node alone.
    #[default]
    None,
    /// All members.
    Cluster,
    /// Managers.
    Manager,
}

/// `sievelib gauge_cache …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GaugeCommand {
    /// `add`, `sub`
    Add {
        /// The cache.
        cache: String,
        /// The key.
        key: String,
        /// How much; negative for `sub`.
        delta: i64,
    },
    /// `show`
    Show {
        /// The cache.
        cache: String,
        /// The key.
        key: String,
    },
    /// `delete`
    Delete {
        /// The cache.
        cache: String,
        /// The key.
        key: String,
    },
    /// `define`
    Define {
        /// The cache.
        cache: String,
        /// The most keys, at least 1.
        keys: u64,
        /// Seconds after its last change that a key is forgotten; 0: never.
        ttl: u64,
        /// Whether all members share it.
        replicate: bool,
    },
}

/// The commands of `inbound_audit help`, with what they do.
const HELP: [(&str, &str); 7] = [
    ("show ip <ip[/mask]>", "    Display verbose statistics for the specified ip or cidr block"),
    ("delete_ip <ip> <series> <parameters>", "    Delete an IP from a defined named series"),
    (
        "count_cidr <ip[/mask]> <series> <parameters> <period_start> <period_end>",
        "    Count a CIDR in a named series",
    ),
    ("add <series> <parameters> <ip> <increment>", "    Add a value to a CIDR in a named series"),
    ("subtract <series> <parameters> <ip> <decrement>", "    Subtract a value from a CIDR in a named series"),
    ("show all", "    Display verbose statistics for all domains as a CSV list"),
    (
        "load <series> <filename>",
        "    Load a series from a file.  The filename can be omitted if\n    the file has the same name as the series",
    ),
];

/// `inbound_audit help`.
pub(crate) fn help() -> Answer {
    let lines = HELP.iter().flat_map(|(usage, text)| core::iter::once(*usage).chain(text.lines()));
    Answer::Lines(lines.map(String::from).collect())
}

/// Counts of clients, by window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditIp {
    /// Whose counts.
    pub block: Prefix,
    /// Whose view they are.
    pub scope: AuditScope,
    /// In the order of the configuration.
    pub monitors: Vec<AuditMonitor>,
}

/// Whose view counts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditScope {
    /// The fleet's.
    Cluster,
    /// This node's.
    Node,
    /// The fleet's where the words of `metrics` say so, and this node's.
    Mixed,
}

/// The counts of one monitor, from window 0 to the oldest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditMonitor {
    /// Its windows.
    pub windows: Windows,
    /// Connections accepted.
    pub connections: Vec<u64>,
    /// Recipients received.
    pub receptions: Vec<u64>,
    /// Refusals.
    pub rejections: Vec<u64>,
}

pub(crate) fn text_ip(out: &mut String, audit: &AuditIp) {
    type Counts = fn(&AuditMonitor) -> &[u64];
    let labels: [(&str, Counts); 3] = [
        ("Connections", |monitor| &monitor.connections),
        ("Receptions", |monitor| &monitor.receptions),
        ("Rejections", |monitor| &monitor.rejections),
    ];
    for (label, counts) in labels {
        for monitor in &audit.monitors {
            for (window, count) in counts(monitor).iter().enumerate() {
                put(out, format_args!("{label} {}/{window}: {count}\n", monitor.windows.interval));
            }
        }
    }
}

pub(crate) fn describe_ip(fields: &mut Fields<'_>, audit: &AuditIp) {
    fields.shown("cidr", audit.block);
    fields.text(
        "scope",
        match audit.scope {
            AuditScope::Cluster => "cluster",
            AuditScope::Node => "node",
            AuditScope::Mixed => "mixed",
        },
    );
    fields.records("monitors", "Monitor", &audit.monitors, |monitor, fields| {
        fields.whole("window", monitor.windows.interval);
        fields.whole("windows", monitor.windows.number);
        for (name, element, counts) in [
            ("connections", "Connections", &monitor.connections),
            ("receptions", "Receptions", &monitor.receptions),
            ("rejections", "Rejections", &monitor.rejections),
        ] {
            fields.wholes(name, element, counts);
        }
    });
}

fn windows(word: &Word) -> Option<Windows> {
    let (interval, number) = word.text.split_once(',')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (interval, number) = (interval.trim_matches(' '), number.trim_matches(' '));
    if !digits(interval) || !digits(number) {
        return None;
    }
    let windows = Windows { interval: interval.parse().ok()?, number: number.parse().ok()? };
    ((1..=INTERVAL_MAX).contains(&windows.interval) && (1..=NUMBER_MAX).contains(&windows.number))
        .then_some(windows)
}

fn block(word: &Word) -> Option<Prefix> {
    word.text.parse().ok()
}

fn address(word: &Word) -> Option<IpAddr> {
    word.text.parse().ok()
}

/// A number above 0 that is small enough to be added up for ever.
fn increment(word: &Word) -> Option<i64> {
    word.text.parse::<u32>().ok().filter(|number| *number > 0).map(i64::from)
}

fn name(word: &Word) -> Option<String> {
    (!word.text.is_empty()).then(|| word.text.clone())
}

pub(crate) mod build {
    use super::{AuditCommand, Command, GaugeCommand, Share, Word, address, block, increment, name, windows};

    fn audit(command: AuditCommand) -> Option<Command> {
        Some(Command::InboundAudit(command))
    }

    pub(crate) fn help(words: &[Word]) -> Option<Command> {
        words.is_empty().then_some(Command::InboundAudit(AuditCommand::Help))
    }

    pub(crate) fn show_ip(words: &[Word]) -> Option<Command> {
        let [asked] = words else { return None };
        audit(AuditCommand::ShowIp(block(asked)?))
    }

    pub(crate) fn show_all(words: &[Word]) -> Option<Command> {
        words.is_empty().then_some(Command::InboundAudit(AuditCommand::ShowAll))
    }

    fn changed(words: &[Word], sign: i64) -> Option<Command> {
        let [series, parameters, ip, by] = words else { return None };
        audit(AuditCommand::Add {
            series: name(series)?,
            windows: windows(parameters)?,
            address: address(ip)?,
            delta: sign * increment(by)?,
        })
    }

    pub(crate) fn add(words: &[Word]) -> Option<Command> {
        changed(words, 1)
    }

    pub(crate) fn subtract(words: &[Word]) -> Option<Command> {
        changed(words, -1)
    }

    pub(crate) fn count(words: &[Word]) -> Option<Command> {
        let [asked, series, parameters, from, to] = words else { return None };
        let windows = windows(parameters)?;
        let window = |word: &Word| word.text.parse().ok().filter(|number| *number <= windows.number);
        audit(AuditCommand::Count {
            block: block(asked)?,
            series: name(series)?,
            windows,
            from: window(from)?,
            to: window(to)?,
        })
    }

    pub(crate) fn delete(words: &[Word]) -> Option<Command> {
        let [ip, series, parameters] = words else { return None };
        audit(AuditCommand::Delete {
            address: address(ip)?,
            series: name(series)?,
            windows: windows(parameters)?,
        })
    }

    pub(crate) fn load(words: &[Word]) -> Option<Command> {
        match words {
            [series] => audit(AuditCommand::Load { series: name(series)?, file: None }),
            [series, file] => audit(AuditCommand::Load { series: name(series)?, file: Some(name(file)?) }),
            _ => None,
        }
    }

    pub(crate) fn define(words: &[Word]) -> Option<Command> {
        let [series, kind, parameters, options @ ..] = words else { return None };
        let kind = ["cidr", "cidr_ipv6", "string"].into_iter().find(|known| *known == kind.text)?;
        let (mut share, mut persist, mut serialize) = (Share::None, false, false);
        for option in options {
            match option.text.as_str() {
                "cluster" => share = Share::Cluster,
                "manager" => share = Share::Manager,
                "persist" => persist = true,
                "serialize" => serialize = true,
                _ => return None,
            }
        }
        let (series, windows) = (name(series)?, windows(parameters)?);
        audit(AuditCommand::Define { series, kind, windows, share, persist, serialize })
    }

    fn gauge(words: &[Word], sign: i64) -> Option<Command> {
        let [cache, key, by] = words else { return None };
        let delta = sign * increment(by)?;
        Some(Command::GaugeCache(GaugeCommand::Add { cache: name(cache)?, key: name(key)?, delta }))
    }

    pub(crate) fn gauge_add(words: &[Word]) -> Option<Command> {
        gauge(words, 1)
    }

    pub(crate) fn gauge_sub(words: &[Word]) -> Option<Command> {
        gauge(words, -1)
    }

    pub(crate) fn gauge_show(words: &[Word]) -> Option<Command> {
        let [cache, key] = words else { return None };
        Some(Command::GaugeCache(GaugeCommand::Show { cache: name(cache)?, key: name(key)? }))
    }

    pub(crate) fn gauge_delete(words: &[Word]) -> Option<Command> {
        let [cache, key] = words else { return None };
        Some(Command::GaugeCache(GaugeCommand::Delete { cache: name(cache)?, key: name(key)? }))
    }

    pub(crate) fn gauge_define(words: &[Word]) -> Option<Command> {
        let (cache, keys, ttl, replicate) = match words {
            [cache, keys, ttl] => (cache, keys, ttl, false),
            [cache, keys, ttl, word] if word.text == "replicate" => (cache, keys, ttl, true),
            _ => return None,
        };
        Some(Command::GaugeCache(GaugeCommand::Define {
            cache: name(cache)?,
            keys: keys.text.parse().ok().filter(|keys| *keys > 0)?,
            ttl: ttl.text.parse().ok()?,
            replicate,
        }))
    }
}

/// What a wrong use of a command of `inbound_audit` is answered with: the line of its help.
pub(crate) fn usage(words: &str) -> Option<String> {
    let command = words.strip_prefix("inbound_audit ")?;
    let (line, _) =
        HELP.iter().find(|(line, _)| line.strip_prefix(command).is_some_and(|rest| rest.starts_with(' ')))?;
    Some(format!("usage: {line}"))
}
