//! Policy: what rules and scripts decide at the phases of a session, on what the fleet shares.
//!
//! ```text
//!  session task ── question ──► ask: rules, then modules in the order of the configuration
//!       ▲                         │ step                        │ waits (datasource, shared throttle, hold)
//!       │                         ▼                             ▼
//!       └──── ruling ◄──── Run of a module ──► LiveHost ──► Objects: replica, series, caches, throttles
//! ```
//!
//! A [`Policy`] belongs to a generation of the configuration: a session asks the one that it began with. What outlives
//! generations (throttles of this node, statistics) is in [`Policies`]. A module is anything that can be asked in phases
//! ([`Module`]); what it asks of the node goes through one host, so that all languages see the same objects.

mod ask;
mod context;
mod host;
mod live;
mod lua_host;
mod named_series;
mod objects;
#[cfg(feature = "rig")]
pub(crate) mod rig;
pub(crate) mod rules;
pub(crate) mod script_files;
pub(crate) mod scriptlet;
pub(crate) mod sieve;
mod timers;
mod visit;

pub(crate) use ask::{Ruling, ask};
pub(crate) use live::{Policies, ThrottleSpace};
pub(crate) use rules::Rule;
pub(crate) use visit::{Arrival, Destination, Visit};

use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_lua::Ending;
use postfleet_policy::{Answer, Disposition, Phase, Request};
use postfleet_smtp::{Questions, Reply};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a module has to say about a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answered with this: a code from 400 refuses, one below 300 accepts.
    Reply(Reply),
    /// Answered with this, then closed.
    Disconnect(Reply),
    /// Swallowed, with the reason for the log.
    Discard(Option<String>),
    /// Sent to this address instead.
    Redirect(String),
}

impl Verdict {
    /// What a script ended with; none when it has nothing to say.
    fn of(disposition: Disposition) -> Option<Self> {
        Some(match disposition {
            Disposition::End | Disposition::Keep | Disposition::Stop => return None,
            Disposition::Discard { reason } => Self::Discard(reason),
            Disposition::Reject { text } => Self::Reply(Reply::verbatim(550, text)),
            Disposition::Redirect { address } => Self::Redirect(address),
            Disposition::Action(reply) | Disposition::Failed(reply) => Self::Reply(smtp_reply(&reply)),
            Disposition::Disconnect(reply) => Self::Disconnect(smtp_reply(&reply)),
        })
    }
}

impl Verdict {
    /// What it replies with, as scripts see it.
    fn reply(&self) -> Option<postfleet_policy::Reply> {
        match self {
            Self::Reply(reply) | Self::Disconnect(reply) => {
                postfleet_policy::Reply::new(&reply.code().to_string(), reply.text()).ok()
            }
            Self::Discard(_) | Self::Redirect(_) => None,
        }
    }
}

/// A script's reply as the session sends it.
fn smtp_reply(reply: &postfleet_policy::Reply) -> Reply {
    Reply::verbatim(reply.code(), reply.lines().join("\n"))
}

/// The end of a module's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) verdict: Option<Verdict>,
    /// No other module is asked in this phase.
    pub(crate) ends_phase: bool,
    /// How long the session is held, in addition to what others ask for.
    pub(crate) hold: Duration,
}

/// Where a run stands.
pub(crate) enum Step {
    /// It goes on with the answer.
    Wait(Request),
    Done(Finding),
}

/// One run of a module in one phase. It owns what it needs between steps, and nothing of the session.
pub(crate) trait Run: Send {
    /// Goes on until it has to wait or ends. Does not block.
    fn step(&mut self, visit: &mut Visit) -> Step;
    /// Takes the answer to what [`Step::Wait`] asked.
    fn resume(&mut self, answer: Answer);
}

/// What is asked in phases: a stanza of the configuration.
pub(crate) trait Module: Send + Sync {
    /// The kind of stanza.
    fn kind(&self) -> &'static str;
    /// The name of the stanza.
    fn name(&self) -> &str;
    /// Whether it wants to be asked.
    fn listens(&self, phase: Phase) -> bool;
    /// A run that has not begun.
    fn run(self: Arc<Self>, phase: Phase) -> Box<dyn Run>;
}

/// How often it is looked whether the time of a script is over, which is counted in whole seconds.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the scripts of the configuration in effect as their files are, see `script_ttl`.
pub(crate) async fn keep_fresh(node: Arc<Node>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let policy = Arc::clone(&node.configuration.serving().policy);
        if policy.scriptlets.is_empty() {
            continue;
        }
        policy.look_again(&node).await;
    }
}

/// The policy of one generation.
#[derive(Default)]
pub(crate) struct Policy {
    pub(crate) rules: Vec<Rule>,
    /// In the order in which they are asked.
    pub(crate) modules: Vec<Arc<dyn Module>>,
    /// Those of the modules that are of one kind.
    pub(crate) sieves: Vec<Arc<sieve::Sieve>>,
    pub(crate) scriptlets: Vec<Arc<scriptlet::Scriptlet>>,
}

impl Policy {
    /// Lets scripts prepare what they need. When one cannot, the policy must not come into effect.
    pub(crate) async fn start(&self, node: &Arc<Node>) -> Result<(), String> {
        for (at, scriptlet) in self.scriptlets.iter().enumerate() {
            if let Err(error) = scriptlet.start(node).await {
                for started in self.scriptlets.iter().take(at) {
                    started.stop(node).await;
                }
                let name = Module::name(scriptlet.as_ref());
                return Err(format!("CFG-6182 scriptlet \"{name}\": {error}"));
            }
        }
        Ok(())
    }

    /// The policy is in effect from now on: timers of scripts run.
    pub(crate) fn begin(&self, node: &Arc<Node>) {
        let mut known = BTreeMap::new();
        for scriptlet in &self.scriptlets {
            scriptlet.begin(node);
            for word in scriptlet.commands() {
                if let Some(first) = known.get(&word) {
                    notice(
                        Severity::Warning,
                        format_args!(
                            "scriptlet \"{}\": the console command \"{word}\" is that of scriptlet \"{first}\"",
                            Module::name(scriptlet.as_ref())
                        ),
                    );
                } else {
                    known.insert(word, Module::name(scriptlet.as_ref()));
                }
            }
        }
    }

    /// The words of the console commands that scripts registered.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.scriptlets.iter().flat_map(|scriptlet| scriptlet.commands()).collect()
    }

    /// Runs a console command of a script, if there is one of this name.
    pub(crate) async fn command(&self, node: &Arc<Node>, words: &[String]) -> Option<Ending> {
        for scriptlet in &self.scriptlets {
            if let Some(ending) = scriptlet.command(node, words).await {
                return Some(ending);
            }
        }
        None
    }

    /// Tells scripts that they are not needed any more. Sessions that began with them may still ask.
    pub(crate) async fn stop(&self, node: &Arc<Node>) {
        for scriptlet in &self.scriptlets {
            scriptlet.stop(node).await;
        }
    }

    /// Scripts whose time is over are looked at again.
    async fn look_again(&self, node: &Arc<Node>) {
        for scriptlet in &self.scriptlets {
            scriptlet.look_again(node).await;
        }
    }

    /// A session that began with this policy is over.
    pub(crate) async fn session_ended(&self, node: &Arc<Node>) {
        for scriptlet in &self.scriptlets {
            scriptlet.session_ended(node).await;
        }
    }

    /// Whether anybody has something to say in a phase.
    pub(crate) fn listens(&self, phase: Phase) -> bool {
        self.rules.iter().any(|rule| rule.phase() == phase)
            || self.modules.iter().any(|module| module.listens(phase))
    }

    /// Whether nobody ever has something to say: sessions do without a [`Visit`] then.
    pub(crate) fn is_idle(&self) -> bool {
        !Phase::ALL.into_iter().any(|phase| self.listens(phase))
    }

    /// Whether somebody looks at messages.
    pub(crate) fn reads_messages(&self) -> bool {
        [Phase::Data, Phase::Spool, Phase::EachRcpt, Phase::SetBinding]
            .into_iter()
            .any(|phase| self.listens(phase))
    }

    /// When sessions have to ask. What a later phase reads from the contexts is learned at the questions before it, so
    /// they are asked too, and answered at once.
    pub(crate) fn questions(&self) -> Questions {
        let from = |first: Phase| Phase::ALL.into_iter().any(|phase| phase >= first && self.listens(phase));
        Questions {
            connect: self.listens(Phase::Accept) || self.listens(Phase::Connect),
            ehlo: from(Phase::Ehlo),
            mail: from(Phase::Mailfrom),
            recipient: from(Phase::Rcptto),
        }
    }
}
