//! Asks everybody who has something to say about a phase, waits where they wait, and holds the session.

use super::live::ThrottleSpace;
use super::visit::Visit;
use super::{Run, Step, Verdict, objects, rules};
use crate::fleet::NAMED;
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_policy::{Answer, Fault, Phase, Request};
use postfleet_smtp::Reply;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest that a session is held in one phase.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(300);

/// What was decided about a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Go on.
    #[default]
    Continue,
    /// Go on, and say this.
    Accept(Reply),
    /// Refused with this.
    Refuse(Reply),
    /// Refused with this, then closed.
    Disconnect(Reply),
    /// Swallowed, with the reason for the log.
    Discard(String),
    /// Sent to this address instead.
    Redirect(String),
}

impl From<Verdict> for Ruling {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Reply(reply) if (200..=299).contains(&reply.code()) => Self::Accept(reply),
            Verdict::Reply(reply) => Self::Refuse(reply),
            Verdict::Disconnect(reply) => Self::Disconnect(reply),
            Verdict::Discard(reason) => {
                Self::Discard(reason.unwrap_or_else(|| "550 5.7.0 discarded by policy".into()))
            }
            Verdict::Redirect(address) => Self::Redirect(address),
        }
    }
}

/// Time for which a session was and is to be held in one phase.
struct Hold {
    wanted: Duration,
    /// What scripts have waited for already.
    waited: Duration,
}

impl Hold {
    fn left(&self) -> Duration {
        HOLD_MAX.saturating_sub(self.waited)
    }
}

/// Asks about one phase. Dropped half-way, it asks nothing more, and units that a throttle held the session for come
/// back.
pub(crate) async fn ask(visit: &mut Visit, phase: Phase) -> Ruling {
    let mut hold = Hold { wanted: Duration::ZERO, waited: Duration::ZERO };
    visit.decided = None;
    let ruling = rulings(visit, phase, &mut hold).await;
    if phase.holds_a_session() {
        let wanted = hold.wanted.min(hold.left());
        if !wanted.is_zero() {
            tokio::time::sleep(wanted).await;
        }
    }
    for held in visit.held.drain(..) {
        held.done();
    }
    ruling
}

async fn rulings(visit: &mut Visit, phase: Phase, hold: &mut Hold) -> Ruling {
    if let Some(finding) = rules::first(visit, phase).await {
        hold.wanted = hold.wanted.saturating_add(finding.hold);
        if let Some(verdict) = finding.verdict {
            return verdict.into();
        }
    }
    let policy = Arc::clone(visit.policy());
    let mut ruling = Ruling::Continue;
    for module in &policy.modules {
        if !module.listens(phase) || bypassed(visit, module.kind(), module.name()) {
            continue;
        }
        if visit.last_module() != module.kind() {
            visit.last_module = Some(module.kind().into());
        }
        let mut run: Box<dyn Run> = Arc::clone(module).run(phase);
        let finding = loop {
            match run.step(visit) {
                Step::Done(finding) => break finding,
                Step::Wait(request) => {
                    let answer = answer(visit, request, phase, hold).await;
                    run.resume(answer);
                }
            }
        };
        hold.wanted = hold.wanted.saturating_add(finding.hold);
        if let Some(verdict) = finding.verdict {
            visit.decided = verdict.reply();
            ruling = verdict.into();
        }
        if finding.ends_phase {
            break;
        }
    }
    ruling
}

/// The contexts may switch a module off, by its kind or by its name.
fn bypassed(visit: &Visit, kind: &str, name: &str) -> bool {
    [kind, name].iter().any(|module| visit.connection.is_true(&format!("__bypass_{module}")))
}

async fn answer(visit: &mut Visit, request: Request, phase: Phase, hold: &mut Hold) -> Answer {
    match request {
        query @ Request::Query { .. } => answer_without_session(&visit.node, query).await,
        Request::Sleep { ms } => {
            let time = Duration::from_millis(ms).min(hold.left());
            tokio::time::sleep(time).await;
            hold.waited = hold.waited.saturating_add(time);
            Answer::Slept
        }
        Request::SharedTarpit { name } => shared_tarpit(visit, &name, phase, hold).await,
    }
}

/// Answers what needs no session.
pub(super) async fn answer_without_session(node: &Arc<Node>, request: Request) -> Answer {
    match request {
        Request::Query { cache, query, params, execute, fresh } => {
            let Some(source) = node.datasources.get(&cache) else {
                return Answer::Failed(Fault::new(format!(
                    "no datasource '{cache}'; add Datasource \"{cache}\" to the configuration"
                )));
            };
            match source.query(&query, params, execute || fresh).await {
                Ok(rows) => Answer::Rows((*rows).clone()),
                Err(error) => Answer::Failed(Fault::new(error.to_string())),
            }
        }
        Request::Sleep { ms } => {
            tokio::time::sleep(Duration::from_millis(ms).min(HOLD_MAX)).await;
            Answer::Slept
        }
        Request::SharedTarpit { .. } => Answer::Failed(Fault::new("there is no session to hold")),
    }
}

/// Counts in a shared throttle and waits until its unit has come: who gets one, and when, is decided in the order of the
/// fleet. After the longest hold the unit is counted all the same.
async fn shared_tarpit(visit: &mut Visit, name: &str, phase: Phase, hold: &mut Hold) -> Answer {
    let fleet = visit.objects().shared_throttles().cloned();
    let Some(fleet) = fleet else {
        let held = visit.tarpit(ThrottleSpace::Shared, name, phase);
        return held.map_or_else(Answer::Failed, Answer::HoldMs);
    };
    let waiting = match fleet.hold(NAMED, name) {
        Ok(waiting) => waiting,
        Err(error) => return Answer::Failed(objects::limit_fault(error)),
    };
    let started = Instant::now();
    let granted = tokio::time::timeout(hold.left(), waiting.granted()).await.is_ok();
    let waited = started.elapsed();
    hold.waited = hold.waited.saturating_add(waited);
    if !granted {
        notice(
            Severity::Warning,
            format_args!(
                "{} was held for {} s by throttle '{name}' and goes on",
                visit.client,
                HOLD_MAX.as_secs()
            ),
        );
        if let Err(error) = fleet.inc_throttle(name, 1) {
            return Answer::Failed(objects::limit_fault(error));
        }
    }
    Answer::HeldMs(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX))
}
