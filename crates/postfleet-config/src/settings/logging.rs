//! Loggers and where they write.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::Lookup;
use crate::config::Config;
use crate::resolve::Facts;
use crate::schema::Scope;
use crate::source::Span;
use crate::tree::InstanceId;

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// Appended to a file.
    File {
        /// Its absolute path.
        path: String,
    },
    /// Into a segmented journal.
    Journal {
        /// The absolute path of its directory.
        path: String,
        /// Who reads it. They are made when it is opened.
        subscribers: Vec<String>,
        /// Whether it was written `cluster://`, so that another host is expected to read it.
        served: bool,
    },
}

impl LogDestination {
    /// The path of the file or directory.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::File { path } | Self::Journal { path, .. } => path,
        }
    }
}

/// Why a text is no destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationError {
    pub(crate) code: u16,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// Reads a destination: a path, `file://PATH`, or `cluster://PATH=>SUBSCRIBER` and the other forms of a journal.
/// The remark says that two slashes were taken for three.
pub(crate) fn destination(text: &str) -> Result<(LogDestination, Option<String>), DestinationError> {
    let wrong = |message: String, hint: Option<String>| DestinationError { code: 4005, message, hint };
    let absolute = |path: &str| {
        let path = path.trim_end_matches('/');
        (path.starts_with('/') && path.len() > 1).then(|| path.to_string())
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return match absolute(text) {
            Some(path) => Ok((LogDestination::File { path }, None)),
            None if text.split_once(':').is_some_and(|(word, _)| unread(word)) => Err(DestinationError {
                code: 3008,
                message: format!(
                    "'{}' is known and not read; nothing is logged there",
                    crate::value::clip(text)
                ),
                hint: None,
            }),
            None => Err(wrong(format!("'{}' is not an absolute path", crate::value::clip(text)), None)),
        };
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => match absolute(rest) {
            Some(path) => Ok((LogDestination::File { path }, None)),
            None => Err(wrong(format!("'{}' is not an absolute path", crate::value::clip(rest)), None)),
        },
        "cluster" | "jlog" => {
            let (rest, last) = match rest.rsplit_once("=>") {
                Some((rest, name)) => (rest, Some(name)),
                None => (rest, None),
            };
            let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
            if path.is_empty() {
                return Err(wrong("the path of the journal is missing".to_string(), None));
            }
            let rooted = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
            let remark =
                (rooted != path).then(|| format!("'{scheme}://{path}' is taken for '{scheme}://{rooted}'"));
            let path = absolute(&rooted)
                .ok_or_else(|| wrong("the path of the journal is missing".to_string(), None))?;
            let mut subscribers: Vec<String> = Vec::new();
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                let names = pair.strip_prefix("subscribers=").ok_or_else(|| {
                    wrong(format!("'{}' is not a parameter of a journal", crate::value::clip(pair)), None)
                })?;
                subscribers.extend(names.split(',').map(ToString::to_string));
            }
            if let Some(name) = last {
                if name.contains(',') {
                    let hint = format!("{scheme}://{path}?subscribers={name}");
                    return Err(wrong("'=>' names one subscriber".to_string(), Some(hint)));
                }
                subscribers.push(name.to_string());
            }
            if last.is_none() && subscribers.is_empty() {
                subscribers.push("master".to_string());
            }
            if subscribers.iter().any(|name| name.is_empty() || name.contains('/') || name.starts_with('.')) {
                return Err(wrong("a subscriber has no name that a file can have".to_string(), None));
            }
            let mut each: Vec<String> = Vec::new();
            for name in subscribers {
                if !each.contains(&name) {
                    each.push(name);
                }
            }
            let served = scheme.eq_ignore_ascii_case("cluster");
            Ok((LogDestination::Journal { path, subscribers: each, served }, remark))
        }
        _ => Err(DestinationError {
            code: 3008,
            message: format!("destinations '{}' are not written to", crate::value::clip(scheme)),
            hint: Some("a path, or cluster://PATH=>SUBSCRIBER".to_string()),
        }),
    }
}

fn unread(word: &str) -> bool {
    ["syslog", "program", "pipe", "persist"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// A log and the mode of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where it goes.
    pub destination: LogDestination,
    /// Mode of a new file.
    pub mode: u32,
}

/// The form of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Fields with `@` or blanks between.
    #[default]
    Ec,
    /// One JSON object a line.
    Json,
}

/// `Debug_Flags`: of which subsystems messages are written, for each level from `DEBUG` to `CRITICAL`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugFlags(pub [Vec<String>; 6]);

impl DebugFlags {
    /// The levels, in order.
    const LEVELS: [&str; 6] = ["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"];
    /// The subsystems that have a bit in the masks of old, the first with the lowest.
    const BITS: [&str; 15] = [
        "ERROR", "TIME", "FD", "SMTP", "LOG1", "DNS", "DNSDS", "NET", "SIG", "MEM", "DB", "LIC", "SSL",
        "MOD", "START",
    ];

    /// Whether messages of a subsystem are written; levels count from 0, `DEBUG`.
    #[must_use]
    pub fn selects(&self, level: usize, subsystem: &str) -> bool {
        let bit = Self::BITS.iter().position(|word| *word == subsystem);
        self.0.get(level).is_some_and(|words| {
            words.iter().any(|word| match word.parse::<u64>() {
                // Subsystems without a bit go with the mask that has them all.
                Ok(mask) => match bit {
                    Some(bit) => mask >> bit & 1 == 1,
                    None => mask & 0x7FFF == 0x7FFF,
                },
                Err(_) => word.eq_ignore_ascii_case("ALL") || word.eq_ignore_ascii_case(subsystem),
            })
        })
    }

    /// Whether anything of a level is written.
    #[must_use]
    pub fn selects_any(&self, level: usize) -> bool {
        self.0.get(level).is_some_and(|words| !words.is_empty())
    }
}

/// What the loggers record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSwitches {
    /// Receptions.
    pub receptions: bool,
    /// Deliveries and transfers.
    pub deliveries: bool,
    /// Transient failures.
    pub transient_failures: bool,
    /// Permanent failures.
    pub permanent_failures: bool,
    /// Rejections.
    pub rejections: bool,
    /// Events of the system.
    pub errors: bool,
}

/// One `ec_logger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcLoggerSettings {
    /// Its name.
    pub name: String,
    /// `enabled`.
    pub enabled: bool,
    /// `mainlog`; `None`: it is not written. So for the others.
    pub mainlog: Option<LogFile>,
    /// `rejectlog`.
    pub rejectlog: Option<LogFile>,
    /// `paniclog`.
    pub paniclog: Option<LogFile>,
    /// `acctlog`.
    pub acctlog: Option<LogFile>,
    /// `importlog`.
    pub importlog: Option<LogFile>,
    /// `heartbeat`; `None`: no such lines.
    pub heartbeat: Option<Duration>,
    /// `record_format`.
    pub format: LogFormat,
    /// What is recorded.
    pub switches: LogSwitches,
}

/// One `bounce_logger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BounceLoggerSettings {
    /// Its name.
    pub name: String,
    /// `enabled`.
    pub enabled: bool,
    /// `bouncelog`.
    pub bouncelog: Option<LogFile>,
    /// `heartbeat`.
    pub heartbeat: Option<Duration>,
    /// `record_format`.
    pub format: LogFormat,
    /// `log_inband_bounces`.
    pub inband: bool,
    /// `log_outofband_bounces`.
    pub outofband: bool,
    /// `log_transient_failures`.
    pub transient_failures: bool,
}

/// What a custom logger can record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogStage {
    /// Receptions.
    Reception,
    /// Deliveries.
    Delivery,
    /// Transient failures.
    TransientFailure,
    /// Permanent failures.
    PermanentFailure,
    /// Rejections.
    Rejection,
    /// Transfers to other nodes.
    Transfer,
}

impl LogStage {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Reception,
        Self::Delivery,
        Self::TransientFailure,
        Self::PermanentFailure,
        Self::Rejection,
        Self::Transfer,
    ];

    /// The beginning of the stage's options.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reception => "reception",
            Self::Delivery => "delivery",
            Self::TransientFailure => "transient_failure",
            Self::PermanentFailure => "permanent_failure",
            Self::Rejection => "rejection",
            Self::Transfer => "xfer",
        }
    }

    /// The option that switches it; transfers have none.
    pub(crate) const fn switch(self) -> Option<&'static str> {
        match self {
            Self::Reception => Some("log_receptions"),
            Self::Delivery => Some("log_deliveries"),
            Self::TransientFailure => Some("log_transient_failures"),
            Self::PermanentFailure => Some("log_permanent_failures"),
            Self::Rejection => Some("log_rejections"),
            Self::Transfer => None,
        }
    }
}

/// One stage that a custom logger records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomStage {
    /// Which.
    pub stage: LogStage,
    /// The format of its lines.
    pub format: String,
    /// Where they go.
    pub file: LogFile,
}

/// One `custom_logger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomLoggerSettings {
    /// Its name.
    pub name: String,
    /// `enabled`.
    pub enabled: bool,
    /// The stages that are on.
    pub stages: Vec<CustomStage>,
    /// `paniclog`, when `log_errors` is on.
    pub paniclog: Option<LogFile>,
    /// `namespace`, in order.
    pub namespaces: Vec<String>,
    /// `sanitize`.
    pub sanitize: Option<String>,
    /// `thread_pool`; `None`: its own.
    pub thread_pool: Option<String>,
    /// `concurrency`.
    pub concurrency: u32,
}

impl Lookup<'_> {
    fn log_format(&self) -> LogFormat {
        if self.word("record_format") == "json" { LogFormat::Json } else { LogFormat::Ec }
    }

    fn log_file(&self, log: &str, mode: &str) -> Option<LogFile> {
        let (destination, _) = destination(&self.filled(log)?).ok()?;
        Some(LogFile { destination, mode: self.u32(mode) })
    }
}

impl Config {
    fn stanzas(&self, scope: Scope) -> impl Iterator<Item = (String, Lookup<'_>)> {
        self.tree().children(InstanceId::GLOBAL, scope).map(|(id, stanza)| {
            let facts = Facts { instance: Some(id), ..Facts::default() };
            (stanza.name.clone().unwrap_or_default(), Lookup::new(self, facts))
        })
    }

    /// `Debug_Flags`.
    #[must_use]
    pub fn debug_flags(&self) -> DebugFlags {
        let instance = self.tree().anonymous(Scope::DebugFlags);
        let flags = Lookup::new(self, Facts { instance, ..Facts::default() });
        DebugFlags(DebugFlags::LEVELS.map(|level| flags.texts(level)))
    }

    /// Every `ec_logger`, in text order.
    #[must_use]
    pub fn ec_loggers(&self) -> Vec<EcLoggerSettings> {
        self.stanzas(Scope::EcLogger)
            .map(|(name, logger)| EcLoggerSettings {
                name,
                enabled: logger.bool("enabled"),
                mainlog: logger.log_file("mainlog", "mainlog_mode"),
                rejectlog: logger.log_file("rejectlog", "rejectlog_mode"),
                paniclog: logger.log_file("paniclog", "paniclog_mode"),
                acctlog: logger.log_file("acctlog", "acctlog_log_mode"),
                importlog: logger.log_file("importlog", "importlog_mode"),
                heartbeat: logger.time("heartbeat"),
                format: logger.log_format(),
                switches: LogSwitches {
                    receptions: logger.bool("log_receptions"),
                    deliveries: logger.bool("log_deliveries"),
                    transient_failures: logger.bool("log_transient_failures"),
                    permanent_failures: logger.bool("log_permanent_failures"),
                    rejections: logger.bool("log_rejections"),
                    errors: logger.bool("log_errors"),
                },
            })
            .collect()
    }

    /// Every `bounce_logger`, in text order.
    #[must_use]
    pub fn bounce_loggers(&self) -> Vec<BounceLoggerSettings> {
        self.stanzas(Scope::BounceLogger)
            .map(|(name, logger)| BounceLoggerSettings {
                name,
                enabled: logger.bool("enabled"),
                bouncelog: logger.log_file("bouncelog", "bouncelog_mode"),
                heartbeat: logger.time("heartbeat"),
                format: logger.log_format(),
                inband: logger.bool("log_inband_bounces"),
                outofband: logger.bool("log_outofband_bounces"),
                transient_failures: logger.bool("log_transient_failures"),
            })
            .collect()
    }

    /// Every `custom_logger`, in text order.
    #[must_use]
    pub fn custom_loggers(&self) -> Vec<CustomLoggerSettings> {
        self.stanzas(Scope::CustomLogger)
            .map(|(name, logger)| CustomLoggerSettings {
                name,
                enabled: logger.bool("enabled"),
                stages: LogStage::ALL.into_iter().filter_map(|stage| custom_stage(&logger, stage)).collect(),
                paniclog: logger.log_file("paniclog", "paniclog_mode").filter(|_| logger.bool("log_errors")),
                namespaces: logger
                    .text("namespace")
                    .unwrap_or_default()
                    .split(',')
                    .map(|name| name.trim().to_string())
                    .filter(|name| !name.is_empty())
                    .collect(),
                sanitize: logger.filled("sanitize"),
                thread_pool: logger.filled("thread_pool"),
                concurrency: logger.u32("concurrency"),
            })
            .collect()
    }

    /// Every file and journal that some logger writes, with the logger and the place of the option, or of the
    /// logger when the path is a default.
    pub(crate) fn log_destinations(&self) -> Vec<(InstanceId, Span, LogDestination)> {
        const LOGS: [(Scope, &[&str]); 3] = [
            (Scope::EcLogger, &["mainlog", "rejectlog", "paniclog", "acctlog", "importlog"]),
            (Scope::BounceLogger, &["bouncelog"]),
            (
                Scope::CustomLogger,
                &[
                    "mainlog",
                    "paniclog",
                    "reception_logfile",
                    "delivery_logfile",
                    "transient_failure_logfile",
                    "permanent_failure_logfile",
                    "rejection_logfile",
                    "xfer_logfile",
                ],
            ),
        ];
        let mut found = Vec::new();
        for (scope, names) in LOGS {
            for (id, stanza) in self.tree().children(InstanceId::GLOBAL, scope) {
                let logger = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
                for name in names {
                    let span = stanza.assigned(name).map(|assigned| assigned.span).or(stanza.opened);
                    if let Some(text) = logger.filled(name)
                        && let (Ok((destination, _)), Some(span)) = (destination(&text), span)
                    {
                        found.push((id, span, destination));
                    }
                }
            }
        }
        found
    }
}

fn custom_stage(logger: &Lookup<'_>, stage: LogStage) -> Option<CustomStage> {
    let word = stage.word();
    let format = logger.filled(&format!("{word}_format"))?;
    let on = stage.switch().and_then(|switch| logger.set(switch)).and_then(|value| value.as_bool());
    if on == Some(false) {
        return None;
    }
    let file = logger
        .log_file(&format!("{word}_logfile"), &format!("{word}_log_mode"))
        .or_else(|| logger.log_file("mainlog", "mainlog_mode"))?;
    Some(CustomStage { stage, format, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(text: &str) -> (String, Vec<String>, bool) {
        match destination(text) {
            Ok((LogDestination::Journal { path, subscribers, .. }, remark)) => {
                (path, subscribers, remark.is_some())
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn destinations_of_the_manual() {
        let main = "/var/log/ecelerity/mainlog.cluster".to_string();
        assert_eq!(
            journal("cluster:///var/log/ecelerity/mainlog.cluster=>master"),
            (main.clone(), names(&["master"]), false)
        );
        assert_eq!(
            journal("cluster:///var/log/ecelerity/mainlog.cluster?subscribers=agg1,agg2"),
            (main.clone(), names(&["agg1", "agg2"]), false)
        );
        assert_eq!(
            journal("JLOG:///var/log/ecelerity/mainlog.cluster/?subscribers=a,b=>b"),
            (main.clone(), names(&["a", "b"]), false)
        );
        assert_eq!(journal("jlog://var/log/ecelerity/mainlog.cluster").0, main);
        assert!(journal("jlog://var/log/ecelerity/mainlog.cluster").2, "the missing slash is remarked on");
        let file = LogDestination::File { path: "/var/log/x".to_string() };
        assert_eq!(destination("/var/log/x"), Ok((file.clone(), None)));
        assert_eq!(destination("file:///var/log/x"), Ok((file, None)));
    }

    #[test]
    fn what_is_no_destination() {
        let code = |text: &str| destination(text).map(|_| 0).unwrap_or_else(|error| error.code);
        for text in [
            "log",
            "file://log",
            "cluster://",
            "cluster:///a?x=1",
            "cluster:///a=>",
            "cluster:///a=>../x",
            "/",
        ] {
            assert_eq!(code(text), 4005, "{text}");
        }
        assert_eq!(code("syslog://?facility=mail"), 3008);
        assert_eq!(code("syslog:mail"), 3008);
        let error = destination("cluster:///a=>b,c").unwrap_err();
        assert_eq!((error.code, error.hint.as_deref()), (4005, Some("cluster:///a?subscribers=b,c")));
    }
}
