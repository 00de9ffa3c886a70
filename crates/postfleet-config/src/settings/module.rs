//! Audit series, data sources and policy rules.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::time::Duration;

use postfleet_types::Prefix;

use super::Lookup;
use crate::config::Config;
use crate::resolve::Facts;
use crate::schema::Scope;
use crate::tree::InstanceId;
use crate::value::{Throttle, Value};

/// The longest window: a year.
const WINDOW_SECONDS_MAX: u32 = 31_536_000;
/// The most windows: each costs its own trees.
const WINDOWS_MAX: u32 = 1024;

/// A series of windows: the last so many, each so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monitor {
    /// Length of a window in seconds.
    pub window_seconds: NonZeroU32,
    /// How many windows are kept.
    pub windows: NonZeroU32,
}

/// Why a text is no monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MonitorError {
    /// It is not two numbers.
    Form,
    /// One of them is 0 or too large.
    Range,
}

impl Monitor {
    /// Reads `W,N`, with or without blanks around the numbers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    pub(crate) fn read(text: &str) -> Result<Self, MonitorError> {
        let (window, windows) = text.split_once(',').ok_or(MonitorError::Form)?;
        let number = |part: &str| {
            let part = part.trim();
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(MonitorError::Form);
            }
            part.parse::<NonZeroU32>().map_err(|_| MonitorError::Range)
        };
        let monitor = Self { window_seconds: number(window)?, windows: number(windows)? };
        let fits = monitor.window_seconds.get() <= WINDOW_SECONDS_MAX && monitor.windows.get() <= WINDOWS_MAX;
        if fits { Ok(monitor) } else { Err(MonitorError::Range) }
    }
}

/// `inbound_audit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// `enabled`.
    pub enabled: bool,
    /// `monitors`, each once, in the order written.
    pub monitors: Vec<Monitor>,
    /// `maintenance_interval`.
    pub maintenance_interval: Duration,
    /// `log_dir`.
    pub log_dir: String,
    /// `serialize_dir`.
    pub serialize_dir: String,
}

/// One `Datasource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasourceSettings {
    /// Its name.
    pub name: String,
    /// `uri`: `DRIVER:REST`, in the order written.
    pub uris: Vec<String>,
    /// `cache_life`; zero: nothing is kept.
    pub cache_life: Duration,
    /// `cache_size`.
    pub cache_size: u64,
    /// `max_rows`; `None`: all.
    pub max_rows: Option<u32>,
    /// `no_cache`.
    pub no_cache: bool,
    /// `pool`.
    pub pool: String,
    /// `serialized`.
    pub serialized: bool,
    /// `assume_charset`.
    pub assume_charset: String,
}

/// One `ThreadPool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadPoolSettings {
    /// Its name.
    pub name: String,
    /// `Concurrency`, when it is written.
    pub concurrency: Option<u32>,
    /// `Backlog`; `None`: no limit.
    pub backlog: Option<u32>,
}

/// When a policy rule is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulePhase {
    /// At the connection.
    Connect,
    /// At EHLO or HELO.
    Ehlo,
    /// At MAIL.
    Mailfrom,
    /// At each RCPT.
    Rcptto,
    /// When the message is there.
    Final,
}

/// What makes a policy rule fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleTrigger {
    /// A count above this.
    Limit(u32),
    /// No unit left of this.
    Rate(Throttle),
}

/// What a policy rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// The command is refused.
    Reply {
        /// 400 to 599.
        code: u16,
        /// The text behind it.
        text: String,
    },
    /// The reply is held back.
    Tarpit(Duration),
    /// The message is accepted and dropped.
    Discard,
}

impl RuleAction {
    /// Reads `CODE TEXT`, `tarpit SECONDS` or `discard`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("discard") {
            return Some(Self::Discard);
        }
        let (word, rest) = text.split_once(char::is_whitespace)?;
        let rest = rest.trim();
        if word.eq_ignore_ascii_case("tarpit") {
            let digits = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
            return digits.then(|| rest.parse().ok()).flatten().map(Duration::from_secs).map(Self::Tarpit);
        }
        let digits = word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit());
        let code: u16 = digits.then(|| word.parse().ok()).flatten()?;
        ((400..600).contains(&code) && !rest.is_empty()).then(|| Self::Reply { code, text: rest.to_string() })
    }
}

/// One `Policy_Rule`.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSettings {
    /// Its name.
    pub name: String,
    /// `phase`.
    pub phase: RulePhase,
    /// `key`, with its macros.
    pub key: String,
    /// `object`.
    pub object: String,
    /// `limit` or `rate`.
    pub trigger: RuleTrigger,
    /// `action`.
    pub action: RuleAction,
    /// `exempt`.
    pub exempt: Vec<Prefix>,
    /// `shadow`.
    pub shadow: bool,
    /// `enabled`.
    pub enabled: bool,
}

impl Config {
    /// `inbound_audit`; `None` when there is none.
    #[must_use]
    pub fn inbound_audit(&self) -> Option<AuditSettings> {
        let instance = self.tree().anonymous(Scope::InboundAudit)?;
        let audit = Lookup::new(self, Facts { instance: Some(instance), ..Facts::default() });
        let mut monitors: Vec<Monitor> = Vec::new();
        for monitor in audit.texts("monitors").iter().filter_map(|text| Monitor::parse(text)) {
            if !monitors.contains(&monitor) {
                monitors.push(monitor);
            }
        }
        Some(AuditSettings {
            enabled: audit.bool("enabled"),
            monitors,
            maintenance_interval: audit.seconds("maintenance_interval"),
            log_dir: audit.text("log_dir").unwrap_or_default(),
            serialize_dir: audit.text("serialize_dir").unwrap_or_default(),
        })
    }

    /// Every `Datasource`, in text order.
    #[must_use]
    pub fn datasources(&self) -> Vec<DatasourceSettings> {
        let stanzas = self.tree().children(InstanceId::GLOBAL, Scope::Datasource);
        stanzas
            .map(|(id, stanza)| {
                let source = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
                DatasourceSettings {
                    name: stanza.name.clone().unwrap_or_default(),
                    uris: source.texts("uri"),
                    cache_life: source.seconds("cache_life"),
                    cache_size: source.u64("cache_size"),
                    max_rows: source
                        .value("max_rows")
                        .as_ref()
                        .and_then(Value::as_int)
                        .and_then(|rows| u32::try_from(rows).ok()),
                    no_cache: source.bool("no_cache"),
                    pool: source.text("pool").unwrap_or_default(),
                    serialized: source.bool("serialized"),
                    assume_charset: source.text("assume_charset").unwrap_or_default(),
                }
            })
            .collect()
    }

    /// Every `ThreadPool`, in text order.
    #[must_use]
    pub fn thread_pools(&self) -> Vec<ThreadPoolSettings> {
        let stanzas = self.tree().children(InstanceId::GLOBAL, Scope::ThreadPool);
        stanzas
            .map(|(id, stanza)| {
                let pool = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
                ThreadPoolSettings {
                    name: stanza.name.clone().unwrap_or_default(),
                    concurrency: pool.set("Concurrency").map(|_| pool.u32("Concurrency")),
                    backlog: pool.limit("Backlog"),
                }
            })
            .collect()
    }

    /// Every `Policy_Rule`, in the order in which they are tried.
    #[must_use]
    pub fn policy_rules(&self) -> Vec<RuleSettings> {
        let stanzas = self.tree().children(InstanceId::GLOBAL, Scope::PolicyRule);
        stanzas
            .filter_map(|(id, stanza)| {
                let rule = Lookup::new(self, Facts { instance: Some(id), ..Facts::default() });
                let trigger = match (rule.value("limit"), rule.value("rate")) {
                    (Some(_), _) => RuleTrigger::Limit(rule.u32("limit")),
                    (None, Some(Value::Throttle(rate))) => RuleTrigger::Rate(rate),
                    (None, _) => return None,
                };
                Some(RuleSettings {
                    name: stanza.name.clone().unwrap_or_default(),
                    phase: match rule.word("phase") {
                        "ehlo" => RulePhase::Ehlo,
                        "mailfrom" => RulePhase::Mailfrom,
                        "rcptto" => RulePhase::Rcptto,
                        "final" => RulePhase::Final,
                        _ => RulePhase::Connect,
                    },
                    key: rule.text("key")?,
                    object: rule.text("object")?,
                    trigger,
                    action: RuleAction::parse(&rule.text("action")?)?,
                    exempt: rule.prefixes("exempt"),
                    shadow: rule.bool("shadow"),
                    enabled: rule.bool("enabled"),
                })
            })
            .collect()
    }
}
