//! The life of the configuration in a running node.
//!
//! ```text
//!  config reload, SIGHUP ──► load, check ──┐
//!                                          ├─► Proposal ──► activate: read settings, open new sockets   (may fail)
//!  config set, commit ─────────────────────┘                        │
//!                                                                   ▼            one step from here on, cannot fail
//!                                            limits counted anew, Serving replaced, replica, spool, sockets
//! ```
//!
//! A generation is prepared without touching what runs, and comes into effect as a whole or not at all. Work that is
//! under way keeps what it began with: an ESMTP session until its next MAIL or RSET, a console until it ends.

mod listeners;
mod serving;

pub(crate) use listeners::Listeners;
pub(crate) use serving::Serving;

use crate::files::{load_config, load_request};
use crate::logs::Prepared;
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::settings::{self, Known, Settings};
use anyhow::Context as _;
use postfleet_config::live::{Generation, Proposal, RestartOnly, Running};
use postfleet_config::{Config, Diagnostic, LoadOutcome};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::watch;

/// The configuration of the node and everything that is served by it.
pub(crate) struct Configuration {
    /// The main file that the process was started with; none: it is searched for, every time anew.
    main: Option<PathBuf>,
    /// A plain lock: it is held for a look, and to replace what is looked at.
    running: Mutex<Running>,
    /// Read at every new connection, written by a change.
    serving: RwLock<Arc<Serving>>,
    /// The generation that ESMTP sessions have to have, for those that have an older one.
    esmtp: watch::Sender<Generation>,
    /// One change at a time: it is held from the preparation of a generation until all of it is in effect.
    changing: tokio::sync::Mutex<Listeners>,
}

/// A generation that has come into effect.
#[derive(Debug)]
pub(crate) struct Activated {
    pub(crate) generation: Generation,
    /// What could not be done and is tried again, and what became of mail, a sentence each.
    pub(crate) told: Vec<String>,
}

/// Why a generation did not come into effect. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActivateError {
    /// Another change was faster.
    #[error("the running configuration has changed")]
    Conflict,
    /// The node is about to end.
    #[error("the node is stopping")]
    Stopping,
    /// Something that the configuration names cannot be used, such as a certificate. The operator is at fault.
    #[error("{0:#}")]
    Unusable(anyhow::Error),
}

impl Configuration {
    pub(crate) fn new(config: Config, main: Option<PathBuf>, settings: &Settings) -> Self {
        let running = Running::start(config);
        let esmtp = running.generation();
        Self {
            main,
            running: Mutex::new(running),
            serving: RwLock::new(Arc::new(Serving::new(settings, esmtp, None))),
            esmtp: watch::Sender::new(esmtp),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// The current configuration. Hold it for a look only.
    pub(crate) fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What new connections are served by.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.with_serving(Arc::clone)
    }

    /// Does something that no change may fall into.
    pub(crate) fn with_serving<T>(&self, act: impl FnOnce(&Arc<Serving>) -> T) -> T {
        act(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells ESMTP sessions which generation they have to have.
    pub(crate) fn esmtp_changes(&self) -> watch::Receiver<Generation> {
        self.esmtp.subscribe()
    }

    /// Opens the sockets of the start. Only a control socket that cannot be opened keeps the node from starting.
    pub(crate) async fn open(node: &Arc<Node>, settings: &Settings) -> anyhow::Result<()> {
        let mut listeners = node.configuration.changing.lock().await;
        let prepared =
            listeners.prepare(&settings.listeners).missing_control().map_err(|(endpoint, error)| {
                anyhow::Error::new(error).context(format!("Control_Listener: cannot listen on {endpoint}"))
            })?;
        listeners.change(node, &settings.listeners, prepared).await;
        Ok(())
    }

    /// The main file that the process was started with.
    pub(crate) fn main(&self) -> Option<&Path> {
        self.main.as_deref()
    }

    /// No change comes into effect while the result is kept.
    pub(crate) async fn still(&self) -> tokio::sync::MutexGuard<'_, impl Sized + use<>> {
        self.changing.lock().await
    }

    /// Closes all sockets. No change comes into effect afterwards.
    pub(crate) async fn close(&self) {
        self.changing.lock().await.close_all().await;
    }
}

/// Brings a proposal into effect, or leaves everything as it is.
pub(crate) async fn activate(node: &Arc<Node>, proposal: Proposal) -> Result<Activated, ActivateError> {
    let configuration = &node.configuration;
    let mut listeners = configuration.changing.lock().await;
    if *node.stopping.borrow() {
        return Err(ActivateError::Stopping);
    }
    if !configuration.running().is_current(&proposal) {
        return Err(ActivateError::Conflict);
    }
    let in_effect = Arc::clone(proposal.in_effect());
    let known = Known { identity: node.identity.clone(), policies: Arc::clone(&node.policies) };
    let settings = read(in_effect, known).await.map_err(ActivateError::Unusable)?;
    let logs = prepare_logs(node, &settings).await.map_err(ActivateError::Unusable)?;
    // Behind all else that may refuse: what scripts do when they start cannot be undone.
    settings.policy.start(node).await.map_err(|error| ActivateError::Unusable(anyhow::anyhow!(error)))?;
    let prepared = listeners.prepare(&settings.listeners);
    // Everything that can fail lies behind: from here on the generation comes into effect.
    let touches_esmtp = proposal.change().touches_esmtp();
    let activated = configuration.running().activate(proposal);
    let Ok(generation) = activated else {
        settings.policy.stop(node).await;
        return Err(ActivateError::Conflict);
    };
    let before = Arc::clone(&configuration.serving().policy);
    {
        let mut serving = configuration.serving.write().unwrap_or_else(PoisonError::into_inner);
        let esmtp = if touches_esmtp { generation } else { serving.esmtp };
        let next = Serving::new(&settings, esmtp, Some(&serving));
        node.budgets.recount(|endpoint, client| {
            Some(Arc::clone(&(next.smtp(endpoint)?.resolve)(postfleet_types::normalised(client)).caps))
        });
        *serving = Arc::new(next);
    }
    node.logs.adopt(logs);
    node.store.adopt(&settings.store);
    node.receptions.adopt(settings.reception_rate);
    node.datasources.adopt(&settings.datasources);
    node.audit.adopt(settings.audit);
    if let (Some(fleet), Some((tuned, objects))) = (&node.fleet, settings.fleet) {
        fleet.adopt(tuned, objects);
        node.audit.share_gauges();
    }
    // Behind the objects of the fleet: with the first limit of the fleet comes the object that counts for it.
    let moved = node.delivery.adopt(settings.delivery);
    node.policies.adopt(settings.named_throttles_max);
    before.stop(node).await;
    settings.policy.begin(node);
    let mut told = listeners.change(node, &settings.listeners, prepared).await;
    if let Some(moved) = moved {
        notice(Severity::Warning, &moved);
        told.push(moved);
    }
    if touches_esmtp {
        configuration.esmtp.send_replace(generation);
    }
    Ok(Activated { generation, told })
}

/// Opens new logs where disks may take their time.
async fn prepare_logs(node: &Arc<Node>, settings: &Settings) -> anyhow::Result<Prepared> {
    let (node, settings) = (Arc::clone(node), settings.logs.clone());
    tokio::task::spawn_blocking(move || node.logs.prepare(&settings))
        .await
        .context("the task that opens logs ended")?
}

/// Reads the settings where files and resolvers may take their time.
async fn read(config: Arc<Config>, known: Known) -> anyhow::Result<Settings> {
    tokio::task::spawn_blocking(move || settings::read(&config, Some(&known)))
        .await
        .context("the reading task ended")?
}

/// How often a reload starts over because another change was faster.
const TRIES: usize = 5;

/// `config reload [FILE]`: loads the configuration anew, and brings it into effect. The text is the answer, complete
/// with line ends; `Err` when the generation in effect stays.
pub(crate) async fn reload(node: &Arc<Node>, file: Option<&Path>) -> Result<String, String> {
    let started = Instant::now();
    let outcome = load(file.or(node.configuration.main.as_deref())).await;
    let (mut outcome, mut text) = match outcome {
        Ok(outcome) => {
            let report = outcome.report();
            (outcome, report)
        }
        Err(error) => return Err(failed(node, &format!("{error:#}\n"))),
    };
    let Some(config) = outcome.config.take() else { return Err(failed(node, &text)) };
    let counts = Counts::of(&config, outcome.diagnostics.len());
    let main = config.main_file().to_owned();
    let mut tries = TRIES;
    let (discarded, restart_only, activated) = loop {
        let (proposal, discarded) = {
            let running = node.configuration.running();
            (running.reload(config.clone()), running.unsaved())
        };
        let restart_only: Vec<Diagnostic> =
            proposal.change().restart_only.iter().map(RestartOnly::warning).collect();
        match activate(node, proposal).await {
            Ok(activated) => break (discarded, restart_only, activated),
            Err(ActivateError::Conflict) if tries > 0 => tries -= 1,
            Err(error) => return Err(failed(node, &format!("{text}{error}\n"))),
        }
    };
    text.push_str(&postfleet_config::report(&restart_only));
    for sentence in &activated.told {
        text.push_str(&format!("{sentence}\n"));
    }
    let config = node.configuration.running().configured().clone();
    text.push_str(&postfleet_config::report(&crate::names::check_interfaces(&config)));
    settings::tell_without_effect(&config);
    settings::tell_interfaces(&config);
    for warning in &restart_only {
        notice(Severity::Warning, warning.sentence());
    }
    notice(
        Severity::Notice,
        format_args!(
            "generation {} is in effect: {main}, loaded in {} ms, {} stanzas, {} options, {} warnings",
            activated.generation,
            started.elapsed().as_millis(),
            counts.stanzas,
            counts.options,
            counts.warnings + restart_only.len()
        ),
    );
    let first =
        if discarded > 0 { format!("Discarding {discarded} unsaved change(s).\n") } else { String::new() };
    Ok(format!("{first}{text}Reconfigure complete\n"))
}

/// A reload that nobody waits for: its report goes to the log.
pub(crate) async fn reload_unasked(node: &Arc<Node>, why: &str) {
    notice(Severity::Notice, format_args!("reloading the configuration: {why}"));
    let (severity, text) = match reload(node, None).await {
        Ok(text) => (Severity::Notice, text),
        Err(text) => (Severity::Error, text),
    };
    for line in text.lines() {
        notice(severity, line);
    }
}

/// What a configuration has in it.
struct Counts {
    stanzas: usize,
    options: usize,
    warnings: usize,
}

impl Counts {
    fn of(config: &Config, warnings: usize) -> Self {
        let written = config.tree().instances().filter(|(_, instance)| instance.opened.is_some());
        Self {
            stanzas: written.count(),
            options: config.tree().instances().map(|(_, instance)| instance.options().count()).sum(),
            warnings,
        }
    }
}

/// The answer to a reload that failed, and a line in the log.
fn failed(node: &Node, text: &str) -> String {
    const LAST: &str = "Reconfigure failed.\n";
    let generation = node.configuration.running().generation();
    let first = text.lines().next().unwrap_or_default();
    notice(
        Severity::Error,
        format_args!("the configuration was not reloaded, generation {generation} stays in effect: {first}"),
    );
    if text.ends_with(LAST) { text.to_owned() } else { format!("{text}{LAST}") }
}

async fn load(main: Option<&Path>) -> anyhow::Result<LoadOutcome> {
    let main = main.map(Path::to_path_buf);
    tokio::task::spawn_blocking(move || {
        let request = load_request(main.as_deref())?;
        Ok(load_config(&request))
    })
    .await
    .context("the loading task ended")?
}
