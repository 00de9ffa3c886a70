//! The text logs: what happens becomes lines, and threads write them.
//!
//! ```text
//!  reception, delivery, rejection, … ── record ──► Plan: who wants it, in which form ──► Output of each file
//!                                                                                        (queue, thread: writer)
//! ```
//!
//! Whoever has something to tell makes the lines and puts them into queues; nobody who handles mail waits for a disk.

mod custom;
mod destination;
mod lines;
mod opening;
mod plan;
mod writer;

pub(crate) use lines::{Attempt, Attempted, Queued, Rejected};
pub(crate) use opening::{LogSettings, Prepared, check};
pub(crate) use writer::Figures;

use crate::clock;
use crate::notices::{self, Origin, Severity, notice};
use plan::Plan;
use postfleet_log::Authentication;
use postfleet_spool::Stored;
use postfleet_types::WallTime;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long the end of the node waits for logs.
const END: Duration = Duration::from_secs(5);

/// The logs of a node.
pub(crate) struct Logs {
    /// Read while lines are made, so that no line is on its way to a log that a change has closed.
    plan: RwLock<Plan>,
    /// Wakes whoever writes heartbeats.
    changed: Notify,
}

impl Logs {
    /// Opens the logs of the start.
    pub(crate) fn start(settings: &LogSettings) -> anyhow::Result<Arc<Self>> {
        let logs = Arc::new(Self { plan: RwLock::new(Plan::default()), changed: Notify::new() });
        let prepared = logs.prepare(settings)?;
        logs.adopt(prepared);
        Ok(logs)
    }

    /// Opens what is not open yet. Nothing is written to it before it is adopted. Waits for disks.
    pub(crate) fn prepare(&self, settings: &LogSettings) -> anyhow::Result<Prepared> {
        let open = self.with_plan(|plan| plan.outputs.clone());
        opening::prepare(settings, &open)
    }

    /// Takes another configuration. What is written no more is closed behind its last line.
    pub(crate) fn adopt(&self, prepared: Prepared) {
        let mut plan = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *plan, prepared.into_plan());
        for output in plan.outputs.values() {
            output.set_says_lost(plan.says_lost(output));
        }
        for (name, output) in &before.outputs {
            if !plan.outputs.contains_key(name) {
                output.close();
            }
        }
        drop(plan);
        self.changed.notify_one();
    }

    fn with_plan<T>(&self, act: impl FnOnce(&Plan) -> T) -> T {
        act(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A transaction is in the spool: each of its copies was received.
    pub(crate) fn received(&self, stored: &Stored) {
        self.with_plan(|plan| plan.received(clock::wall(), stored));
    }

    /// Whether anybody wants to know what became of messages.
    pub(crate) fn wants_attempts(&self) -> bool {
        self.with_plan(Plan::wants_attempts)
    }

    /// An attempt to deliver a message has ended.
    pub(crate) fn attempted(&self, attempted: &Attempted<'_>) {
        self.with_plan(|plan| plan.attempted(clock::wall(), attempted));
    }

    /// Whether anybody wants to know what is refused.
    pub(crate) fn wants_rejections(&self) -> bool {
        self.with_plan(Plan::wants_rejections)
    }

    /// Something was refused.
    pub(crate) fn rejected(&self, rejected: &Rejected<'_>) {
        self.with_plan(|plan| plan.rejected(clock::wall(), rejected));
    }

    /// Somebody has come to a console, or was sent away.
    pub(crate) fn authenticated(&self, authentication: &Authentication<'_>) {
        self.with_plan(|plan| plan.authenticated(authentication));
    }

    /// Whether a paniclog wants such lines.
    pub(crate) fn wants_notice(&self, severity: Severity, origin: &Origin<'_>) -> bool {
        self.with_plan(|plan| plan.wants_notice(severity, origin))
    }

    /// A line for paniclogs.
    pub(crate) fn noticed(&self, at: WallTime, severity: Severity, origin: &Origin<'_>, text: &str) {
        self.with_plan(|plan| plan.noticed(at, severity, origin, text));
    }

    /// Closes and opens files again: those of one logger, or all. What could not be done, a sentence each; `None` when
    /// there is no such logger.
    pub(crate) async fn reopen(&self, logger: Option<(&str, &str)>) -> Option<Vec<String>> {
        let outputs = self.with_plan(|plan| plan.outputs_of(logger))?;
        let asked: Vec<_> = outputs.iter().map(|(name, output)| (name.clone(), output.reopen())).collect();
        let mut complaints = Vec::new();
        let until = tokio::time::Instant::now() + END;
        for (name, told) in asked {
            match tokio::time::timeout_at(until, told).await {
                // A log that was closed meanwhile needs no other file.
                Ok(Ok(Ok(())) | Err(_)) => {}
                Ok(Ok(Err(error))) => complaints
                    .push(format!("{name} cannot be opened: {error}; the file that was open goes on")),
                Err(_) => complaints.push(format!(
                    "{name} does not answer; it is opened again when what it is writing has been written"
                )),
            }
        }
        Some(complaints)
    }

    /// Whether there is such a logger.
    pub(crate) fn knows(&self, scope: &str, name: &str) -> bool {
        self.with_plan(|plan| plan.outputs_of(Some((scope, name))).is_some())
    }

    /// How all logs are doing, by name.
    pub(crate) fn figures(&self) -> Vec<Figures> {
        self.with_plan(|plan| plan.outputs.values().map(|output| output.figures()).collect())
    }

    /// Closes all logs when dropped, and waits a little for what is not written yet.
    pub(crate) fn ending(self: &Arc<Self>) -> Ending {
        Ending(Arc::clone(self))
    }

    /// Writes heartbeats for ever.
    pub(crate) async fn beat(self: Arc<Self>) {
        let mut due: BTreeMap<plan::BeatKey, tokio::time::Instant> = BTreeMap::new();
        loop {
            let now = tokio::time::Instant::now();
            let next = self.with_plan(|plan| {
                let beats = &plan.beats;
                due.retain(|key, _| beats.contains_key(key));
                for (key, beat) in beats {
                    // A period beyond what the clock can say never ends.
                    let Some(first) = now.checked_add(key.period) else { continue };
                    let at = due.entry(key.clone()).or_insert(first);
                    if *at <= now {
                        beat.write(clock::wall());
                        // A node that stood still does not make up for it.
                        *at = at.checked_add(key.period).unwrap_or(first).max(now);
                    }
                }
                due.values().min().copied()
            });
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

/// See [`Logs::ending`].
pub(crate) struct Ending(Arc<Logs>);

impl Drop for Ending {
    fn drop(&mut self) {
        let outputs = self.0.with_plan(|plan| plan.outputs.clone());
        // Logs that are closed hear nothing of each other.
        notices::log_to(None);
        outputs.values().for_each(|output| output.close());
        let until = Instant::now() + END;
        for output in outputs.values() {
            let closed = output.wait_closed(until);
            let lost = output.untold();
            if lost > 0 {
                notice(
                    Severity::Error,
                    format_args!(
                        "log {}: {lost} lines are lost that came when it was full, or closed already",
                        output.name()
                    ),
                );
            }
            if !closed {
                let figures = output.figures();
                notice(
                    Severity::Critical,
                    format_args!(
                        "log {}: {} lines are not written, because its destination does not answer",
                        figures.name, figures.waiting
                    ),
                );
            }
        }
    }
}
