//! Who writes what, and where: one value of a configuration.

use super::custom::{Custom, Values};
use super::lines::{self, Attempted, Ids, Rejected};
use super::writer::{Output, SaysLost};
use crate::clock;
use crate::notices::Origin;
use postfleet_config::{DebugFlags, LogFormat, LogStage, LogSwitches};
use postfleet_log::{Authentication, BounceKind, MailRecord, Names};
use postfleet_queue::Verdict;
use postfleet_spool::Stored;
use postfleet_types::{Severity, WallTime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) type Outputs = BTreeMap<String, Arc<Output>>;

/// See the module.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) cluster: (String, String),
    pub(super) debug: DebugFlags,
    pub(super) outputs: Outputs,
    pub(super) loggers: Vec<Logger>,
    pub(super) main: Vec<Main>,
    pub(super) reject: Vec<Log>,
    pub(super) panic: Vec<Log>,
    pub(super) account: Vec<Log>,
    pub(super) bounce: Vec<Bounces>,
    pub(super) custom: Vec<Custom>,
    pub(super) beats: BTreeMap<BeatKey, Beat>,
}

/// A stanza, and the files that it writes.
pub(super) struct Logger {
    pub(super) scope: &'static str,
    pub(super) name: String,
    pub(super) outputs: Vec<String>,
}

/// A log whose every record is wanted.
pub(super) struct Log {
    pub(super) output: Arc<Output>,
    pub(super) format: LogFormat,
}

/// A mainlog.
pub(super) struct Main {
    pub(super) output: Arc<Output>,
    pub(super) format: LogFormat,
    pub(super) switches: LogSwitches,
}

/// A bouncelog.
pub(super) struct Bounces {
    pub(super) output: Arc<Output>,
    pub(super) format: LogFormat,
    pub(super) inband: bool,
    pub(super) transient: bool,
}

/// What tells heartbeats apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BeatKey {
    pub(super) output: String,
    pub(super) kind: BeatKind,
    pub(super) period: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BeatKind {
    /// Of mainlogs and bouncelogs.
    Mail,
    /// Of rejectlogs.
    Rejection,
}

/// Heartbeats of one log.
pub(super) struct Beat {
    pub(super) output: Arc<Output>,
    pub(super) kind: BeatKind,
    pub(super) format: LogFormat,
    pub(super) cluster: (String, String),
}

impl Beat {
    pub(super) fn write(&self, at: WallTime) {
        self.output.push(match (self.format, self.kind) {
            (LogFormat::Json, _) => postfleet_log::json_heartbeat(at, (&self.cluster.0, &self.cluster.1)),
            (LogFormat::Ec, BeatKind::Mail) => postfleet_log::heartbeat(at),
            (LogFormat::Ec, BeatKind::Rejection) => postfleet_log::reject_heartbeat(at),
        });
    }
}

impl Plan {
    /// How a log says that lines were lost.
    pub(super) fn says_lost(&self, output: &Arc<Output>) -> Option<SaysLost> {
        let log = self.panic.iter().find(|log| Arc::ptr_eq(&log.output, output))?;
        match log.format {
            LogFormat::Ec => Some(panic_lines_lost),
            // The notice that tells it comes as an object.
            LogFormat::Json => None,
        }
    }

    /// The files of one logger, or all; none when there is no such logger.
    pub(super) fn outputs_of(&self, logger: Option<(&str, &str)>) -> Option<Outputs> {
        let Some((scope, name)) = logger else { return Some(self.outputs.clone()) };
        let logger = self.loggers.iter().find(|logger| logger.scope == scope && logger.name == name)?;
        let found = logger.outputs.iter().filter_map(|path| self.outputs.get_key_value(path));
        Some(found.map(|(path, output)| (path.clone(), Arc::clone(output))).collect())
    }

    fn cluster(&self) -> (&str, &str) {
        (&self.cluster.0, &self.cluster.1)
    }

    fn customs(&self, stage: LogStage) -> impl Iterator<Item = &Custom> {
        self.custom.iter().filter(move |custom| custom.stage == stage)
    }

    pub(super) fn received(&self, at: WallTime, stored: &Stored) {
        let wanted = self.main.iter().any(|main| main.switches.receptions);
        if !wanted && self.customs(LogStage::Reception).next().is_none() {
            return;
        }
        for copy in &stored.envelope.copies {
            let ids = Ids::new(copy.id, stored.envelope.batch, stored.envelope.connection);
            let names = ids.names(at, copy.binding_group.as_str(), copy.binding.as_str());
            let record = lines::reception(stored, copy);
            self.mail(&record, &names);
            for custom in self.customs(LogStage::Reception) {
                custom.write(&Values::of_reception(&names, &record, stored));
            }
        }
    }

    /// Whether anybody wants to know what became of messages.
    pub(super) fn wants_attempts(&self) -> bool {
        !(self.main.is_empty() && self.bounce.is_empty() && self.custom.is_empty())
    }

    pub(super) fn attempted(&self, at: WallTime, attempted: &Attempted<'_>) {
        let ids = attempted.ids();
        let queue = &attempted.report.queue;
        let names = ids.names(at, queue.binding_group.as_str(), queue.binding.as_str());
        let record = attempted.record(at);
        self.mail(&record, &names);
        let stage = match &attempted.report.verdict {
            Verdict::Delivered => LogStage::Delivery,
            Verdict::Delayed { reply, .. } => {
                self.bounced(attempted, BounceKind::Transient, reply, &names);
                LogStage::TransientFailure
            }
            Verdict::Failed { reply, .. } => {
                self.bounced(attempted, BounceKind::Bounce, reply, &names);
                LogStage::PermanentFailure
            }
        };
        for custom in self.customs(stage) {
            custom.write(&Values::of_attempt(&names, &record, attempted));
        }
    }

    fn bounced(&self, attempted: &Attempted<'_>, kind: BounceKind, reply: &str, names: &Names<'_>) {
        if self.bounce.is_empty() {
            return;
        }
        let record = attempted.bounce(kind, reply);
        let wanted = |log: &&Bounces| match kind {
            BounceKind::Bounce => log.inband,
            BounceKind::Transient => log.transient,
        };
        for log in self.bounce.iter().filter(wanted) {
            let line = match log.format {
                LogFormat::Ec => record.line(names),
                LogFormat::Json => {
                    postfleet_log::json_bounce(&record, names, self.cluster()).map(String::into_bytes)
                }
            };
            if let Some(line) = line {
                log.output.push(line);
            }
        }
    }

    /// A record of the mainlog.
    fn mail(&self, record: &MailRecord<'_>, names: &Names<'_>) {
        let wanted = |switches: &LogSwitches| match record {
            MailRecord::Reception(_) => switches.receptions,
            MailRecord::Handover(_) => switches.deliveries,
            MailRecord::Failure(failure) if failure.permanent => switches.permanent_failures,
            MailRecord::Failure(_) => switches.transient_failures,
        };
        for main in self.main.iter().filter(|main| wanted(&main.switches)) {
            main.output.push(match main.format {
                LogFormat::Ec => record.line(names),
                LogFormat::Json => postfleet_log::json(record, names, self.cluster()).into_bytes(),
            });
        }
    }

    /// Whether anybody wants to know what is refused.
    pub(super) fn wants_rejections(&self) -> bool {
        !self.reject.is_empty() || self.customs(LogStage::Rejection).next().is_some()
    }

    pub(super) fn rejected(&self, at: WallTime, rejected: &Rejected<'_>) {
        let (connection, message) = rejected.contexts();
        let name = rejected.connection.to_string();
        let text = rejected.text();
        let record = rejected.record(at, &name, &text, (&connection, &message));
        // The recipients of a refused message have a line each, and it is the same one.
        let line = |log: &Log| match log.format {
            LogFormat::Ec => record.line(),
            LogFormat::Json => postfleet_log::json_rejection(&record, self.cluster()),
        };
        let lines: Vec<_> = self.reject.iter().map(|log| (log, line(log))).collect();
        for _ in 0..rejected.copies {
            for (log, line) in &lines {
                log.output.push(line.clone());
            }
            for custom in self.customs(LogStage::Rejection) {
                custom.write(&Values::of_rejection(&record, rejected));
            }
        }
    }

    /// Whether a paniclog wants such lines.
    pub(super) fn wants_notice(&self, severity: Severity, origin: &Origin<'_>) -> bool {
        !self.panic.is_empty() && (origin.life || self.debug.selects(level(severity), origin.subsystem))
    }

    pub(super) fn noticed(&self, at: WallTime, severity: Severity, origin: &Origin<'_>, text: &str) {
        for log in &self.panic {
            match log.format {
                LogFormat::Ec if origin.module.is_empty() => {
                    postfleet_log::panic_lines(at, text).for_each(|line| log.output.push(line));
                }
                LogFormat::Ec => {
                    let text = format!("{}: {text}", origin.module);
                    postfleet_log::panic_lines(at, &text).for_each(|line| log.output.push(line));
                }
                LogFormat::Json => {
                    let from = (origin.subsystem, origin.module);
                    log.output.push(postfleet_log::json_panic(
                        at,
                        severity.word(),
                        from,
                        text,
                        self.cluster(),
                    ));
                }
            }
        }
    }

    pub(super) fn authenticated(&self, authentication: &Authentication<'_>) {
        for log in &self.account {
            log.output.push(match log.format {
                LogFormat::Ec => authentication.line(),
                LogFormat::Json => postfleet_log::json_authentication(authentication, self.cluster()),
            });
        }
    }
}

fn panic_lines_lost(lines: u64) -> String {
    format!("{}:logging: {lines} paniclog lines lost", clock::wall().unix_seconds())
}

/// The place of a level in `Debug_Flags`.
const fn level(severity: Severity) -> usize {
    match severity {
        Severity::Debug => 0,
        Severity::Info => 1,
        Severity::Notice => 2,
        Severity::Warning => 3,
        Severity::Error => 4,
        Severity::Critical => 5,
    }
}
