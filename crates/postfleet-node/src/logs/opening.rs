//! From the configuration to a plan: files are opened here.

use super::custom::{Custom, Form};
use super::destination::{Destination, LogFile};
use super::plan::{Beat, BeatKey, BeatKind, Bounces, Log, Logger, Main, Outputs, Plan};
use super::writer::{Bound, Output};
use anyhow::bail;
use postfleet_config::{
    BounceLoggerSettings, CustomLoggerSettings, DebugFlags, EcLoggerSettings, LogDestination, LogFormat,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What may wait for the disk, a log.
const BOUND: Bound = Bound { lines: 65_536, octets: 16 << 20 };
/// The same of a paniclog.
const PANIC_BOUND: Bound = Bound { lines: 8192, octets: 16 << 20 };

/// What the configuration says of logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// The node and its subcluster, for JSON.
    pub(crate) cluster: (String, String),
    pub(crate) debug: DebugFlags,
    pub(crate) ec: Vec<EcLoggerSettings>,
    pub(crate) bounce: Vec<BounceLoggerSettings>,
    pub(crate) custom: Vec<CustomLoggerSettings>,
}

/// A plan that is not in effect yet. Dropped, it closes what it has opened.
pub(crate) struct Prepared {
    plan: Plan,
    opened: Vec<Arc<Output>>,
}

impl Prepared {
    pub(super) fn into_plan(mut self) -> Plan {
        self.opened.clear();
        std::mem::take(&mut self.plan)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.opened.iter().for_each(|output| output.close());
    }
}

/// Opens what is not open yet.
pub(super) fn prepare(settings: &LogSettings, before: &Outputs) -> anyhow::Result<Prepared> {
    let plan = Plan { cluster: settings.cluster.clone(), debug: settings.debug.clone(), ..Plan::default() };
    let mut opening = Opening { prepared: Prepared { plan, opened: Vec::new() }, before };
    for logger in settings.ec.iter().filter(|logger| logger.enabled) {
        opening.ec(logger)?;
    }
    for logger in settings.bounce.iter().filter(|logger| logger.enabled) {
        opening.bounce(logger)?;
    }
    for logger in settings.custom.iter().filter(|logger| logger.enabled) {
        opening.custom(logger)?;
    }
    Ok(opening.prepared)
}

/// Finds what is wrong with loggers before anything is opened.
pub(crate) fn check(settings: &LogSettings) -> anyhow::Result<()> {
    for logger in settings.ec.iter().filter(|logger| logger.enabled) {
        let logs = [
            ("mainlog", &logger.mainlog),
            ("rejectlog", &logger.rejectlog),
            ("paniclog", &logger.paniclog),
            ("acctlog", &logger.acctlog),
        ];
        for (option, log) in logs {
            if let Some(log) = log {
                path_of(("ec_logger", &logger.name, option), log)?;
            }
        }
    }
    for logger in settings.bounce.iter().filter(|logger| logger.enabled) {
        if let Some(log) = &logger.bouncelog {
            path_of(("bounce_logger", &logger.name, "bouncelog"), log)?;
        }
    }
    for logger in settings.custom.iter().filter(|logger| logger.enabled) {
        for stage in &logger.stages {
            path_of(
                ("custom_logger", &logger.name, &format!("{}_logfile", stage.stage.word())),
                &stage.file,
            )?;
            Form::parse(&logger.name, stage, logger.sanitize.as_deref())?;
        }
        if let Some(log) = &logger.paniclog {
            path_of(("custom_logger", &logger.name, "paniclog"), log)?;
        }
    }
    Ok(())
}

fn path_of<'a>(
    (scope, name, option): (&str, &str, &str),
    log: &'a postfleet_config::LogFile,
) -> anyhow::Result<&'a String> {
    match &log.destination {
        LogDestination::File { path } => Ok(path),
        LogDestination::Journal { path, served, .. } => {
            let scheme = if *served { "cluster" } else { "jlog" };
            bail!(
                "CFG-6233 {scope} \"{name}\": {option} = \"{scheme}://{path}…\": journals are not written in this \
                 version; name a file, for example \"{path}.ec\", or \"\" for no log"
            )
        }
    }
}

/// Opens logs while a plan is made.
struct Opening<'a> {
    prepared: Prepared,
    before: &'a Outputs,
}

impl Opening<'_> {
    fn output(
        &mut self,
        (scope, name, option): (&'static str, &str, &str),
        log: &postfleet_config::LogFile,
        bound: Bound,
    ) -> anyhow::Result<Arc<Output>> {
        let path = path_of((scope, name, option), log)?;
        let plan = &mut self.prepared.plan;
        match plan.loggers.iter_mut().find(|logger| logger.scope == scope && logger.name == name) {
            Some(logger) => logger.outputs.push(path.clone()),
            None => {
                plan.loggers.push(Logger { scope, name: name.to_owned(), outputs: vec![path.clone()] });
            }
        }
        if let Some(open) = plan.outputs.get(path) {
            return Ok(Arc::clone(open));
        }
        let output = if let Some(open) = self.before.get(path) {
            open.set_mode(log.mode);
            Arc::clone(open)
        } else {
            let file: Box<dyn Destination> = match LogFile::open(Path::new(path), log.mode) {
                Ok(file) => Box::new(file),
                Err(error) => bail!(
                    "CFG-6234 {scope} \"{name}\": {option}: {path} cannot be opened: {error}; make its folder, let user \
                     {} write there, or name another file",
                    rustix::process::geteuid().as_raw()
                ),
            };
            let output = Output::start(path, bound, log.mode, file)?;
            self.prepared.opened.push(Arc::clone(&output));
            output
        };
        plan.outputs.insert(path.clone(), Arc::clone(&output));
        Ok(output)
    }

    fn beat(&mut self, output: &Arc<Output>, kind: BeatKind, format: LogFormat, period: Option<Duration>) {
        let Some(period) = period else { return };
        let key = BeatKey { output: output.name().to_owned(), kind, period };
        let cluster = self.prepared.plan.cluster.clone();
        let beat = Beat { output: Arc::clone(output), kind, format, cluster };
        // Two loggers that share a file by default beat once.
        self.prepared.plan.beats.entry(key).or_insert(beat);
    }

    fn ec(&mut self, logger: &EcLoggerSettings) -> anyhow::Result<()> {
        let at = |option| ("ec_logger", logger.name.as_str(), option);
        let format = logger.format;
        if let Some(log) = &logger.mainlog {
            let output = self.output(at("mainlog"), log, BOUND)?;
            self.beat(&output, BeatKind::Mail, format, logger.heartbeat);
            merge(&mut self.prepared.plan.main, Main { output, format, switches: logger.switches });
        }
        if let Some(log) = logger.rejectlog.as_ref().filter(|_| logger.switches.rejections) {
            let output = self.output(at("rejectlog"), log, BOUND)?;
            self.beat(&output, BeatKind::Rejection, format, logger.heartbeat);
            once(&mut self.prepared.plan.reject, Log { output, format });
        }
        if let Some(log) = logger.paniclog.as_ref().filter(|_| logger.switches.errors) {
            self.panic(at("paniclog"), log, format)?;
        }
        if let Some(log) = &logger.acctlog {
            let output = self.output(at("acctlog"), log, BOUND)?;
            once(&mut self.prepared.plan.account, Log { output, format });
        }
        Ok(())
    }

    fn panic(
        &mut self,
        at: (&'static str, &str, &str),
        log: &postfleet_config::LogFile,
        format: LogFormat,
    ) -> anyhow::Result<()> {
        let output = self.output(at, log, PANIC_BOUND)?;
        once(&mut self.prepared.plan.panic, Log { output, format });
        Ok(())
    }

    fn bounce(&mut self, logger: &BounceLoggerSettings) -> anyhow::Result<()> {
        let Some(log) = &logger.bouncelog else { return Ok(()) };
        let output = self.output(("bounce_logger", &logger.name, "bouncelog"), log, BOUND)?;
        self.beat(&output, BeatKind::Mail, logger.format, logger.heartbeat);
        let list = &mut self.prepared.plan.bounce;
        match list.iter_mut().find(|other| Arc::ptr_eq(&other.output, &output)) {
            Some(other) => {
                other.inband |= logger.inband;
                other.transient |= logger.transient_failures;
            }
            None => list.push(Bounces {
                output,
                format: logger.format,
                inband: logger.inband,
                transient: logger.transient_failures,
            }),
        }
        Ok(())
    }

    fn custom(&mut self, logger: &CustomLoggerSettings) -> anyhow::Result<()> {
        for stage in &logger.stages {
            let option = format!("{}_logfile", stage.stage.word());
            let output = self.output(("custom_logger", &logger.name, &option), &stage.file, BOUND)?;
            let form = Form::parse(&logger.name, stage, logger.sanitize.as_deref())?;
            form.tell_unknown(&logger.name, stage.stage);
            self.prepared.plan.custom.push(Custom { stage: stage.stage, form, output });
        }
        if let Some(log) = &logger.paniclog {
            self.panic(("custom_logger", &logger.name, "paniclog"), log, LogFormat::Ec)?;
        }
        Ok(())
    }
}

/// An event is written once to a file, whichever loggers name it.
fn merge(list: &mut Vec<Main>, main: Main) {
    match list.iter_mut().find(|other| Arc::ptr_eq(&other.output, &main.output)) {
        Some(other) => {
            let (a, b) = (&mut other.switches, main.switches);
            a.receptions |= b.receptions;
            a.deliveries |= b.deliveries;
            a.transient_failures |= b.transient_failures;
            a.permanent_failures |= b.permanent_failures;
        }
        None => list.push(main),
    }
}

fn once(list: &mut Vec<Log>, log: Log) {
    if !list.iter().any(|other| Arc::ptr_eq(&other.output, &log.output)) {
        list.push(log);
    }
}
