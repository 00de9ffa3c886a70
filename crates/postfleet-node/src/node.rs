//! One node: what all its tasks share, and its life from start to stop.

use crate::audit::{self, Audit};
use crate::clock;
use crate::counts::{OpenConnections, SMTP};
use crate::datasource::Datasources;
use crate::delivery::Delivery;
use crate::edge::{Budgets, Receptions};
use crate::fleet::{self, Class, Fleet};
use crate::logs::Logs;
use crate::notices::{self, Severity, notice};
use crate::policy::{self, Policies};
use crate::reload::{self, Configuration};
use crate::settings::Settings;
use crate::statistics::Statistics;
use crate::store::Store;
use anyhow::Context;
use postfleet_bus::envelope::Load;
use postfleet_config::Config;
use postfleet_spool::Stored;
use postfleet_types::NodeName;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long sessions may go on after the node was asked to stop.
const DRAIN: Duration = Duration::from_secs(30);
/// How long an orderly leave of the bus may take: the flush of promise P28, and some.
const LEAVE: Duration = Duration::from_secs(4);

/// Who this node is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: NodeName,
    /// Where other members reach its cluster listener.
    pub(crate) address: SocketAddr,
}

/// Shared by all tasks.
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) configuration: Configuration,
    pub(crate) fleet: Option<Arc<Fleet>>,
    pub(crate) connections: Arc<OpenConnections>,
    pub(crate) audit: Audit,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) receptions: Arc<Receptions>,
    pub(crate) datasources: Datasources,
    pub(crate) policies: Arc<Policies>,
    pub(crate) statistics: Statistics,
    pub(crate) logs: Arc<Logs>,
    pub(crate) store: Arc<Store>,
    pub(crate) delivery: Arc<Delivery>,
    /// True once the node was asked to stop.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Node {
    /// Asks the node to stop in an orderly way.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// What a node starts from.
pub(crate) struct Start {
    pub(crate) config: Config,
    /// The main file that was named; none: it was searched for.
    pub(crate) main: Option<PathBuf>,
    pub(crate) settings: Settings,
}

/// Puts a node together, with its spool open; nothing of it runs yet.
pub(crate) fn assemble(start: Start) -> anyhow::Result<(Arc<Node>, Settings)> {
    let Start { config, main, settings } = start;
    let logs = Logs::start(&settings.logs)?;
    notices::log_to(Some(Arc::clone(&logs)));
    let fleet = settings.fleet.clone().map(|(fleet, objects)| Fleet::new(fleet, objects));
    let delivery = Delivery::new(Arc::clone(&settings.delivery), fleet.clone());
    let (told, log) = (Arc::clone(&delivery), Arc::clone(&logs));
    let on_stored = Arc::new(move |stored: &Stored, before: bool| {
        if !before {
            log.received(stored);
        }
        told.stored(stored, before);
    });
    let store = Store::open(&settings.spool_base, settings.store.clone(), on_stored)
        .inspect_err(|_| drop(logs.ending()))?;
    let node = Arc::new(Node {
        identity: settings.identity.clone(),
        configuration: Configuration::new(config, main, &settings),
        connections: OpenConnections::new(fleet.clone()),
        datasources: Datasources::new(&settings.datasources, fleet.clone()),
        audit: Audit::new(settings.audit.clone(), fleet.clone()),
        fleet,
        budgets: Arc::new(Budgets::default()),
        receptions: Receptions::new(settings.reception_rate),
        policies: Arc::clone(&settings.policies),
        statistics: Statistics::new(),
        logs,
        store,
        delivery,
        stopping: watch::Sender::new(false),
    });
    Ok((node, settings))
}

/// Runs a node until it is asked to stop. `enough` completes when the user wants no more waiting.
pub(crate) async fn run(
    start: Start,
    mut reloads: mpsc::Receiver<()>,
    stop: impl Future<Output = ()>,
    enough: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (node, settings) = assemble(start)?;
    let _ending = node.logs.ending();
    settings.policy.start(&node).await.map_err(anyhow::Error::msg)?;
    Configuration::open(&node, &settings).await?;
    node.delivery.start(&node);
    settings.policy.begin(&node);
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&node.store).watch_space());
    background.spawn(Arc::clone(&node.logs).beat());
    background.spawn(prune(Arc::clone(&node)));
    background.spawn(policy::keep_fresh(Arc::clone(&node)));
    background.spawn(audit::maintain(Arc::clone(&node)));
    background.spawn(audit::keep(Arc::clone(&node)));
    let reloading = Arc::clone(&node);
    background.spawn(async move {
        while reloads.recv().await.is_some() {
            // What rotates logs sends this signal, too.
            reopen_logs(&reloading).await;
            reload::reload_unasked(&reloading, "SIGHUP").await;
        }
    });
    let mut connections = JoinSet::new();
    if let Some(fleet) = &node.fleet {
        let watched = Arc::clone(&node);
        let report: fleet::ReportOf = Arc::new(move || fleet::Report {
            load: Load { queue: watched.delivery.len() as u64, connections: watched.connections.total(SMTP) },
            stuck: watched.store.stuck_for(),
        });
        for class in [Class::Main, Class::Shared] {
            connections.spawn(fleet::run(Arc::clone(fleet), class, Arc::clone(&report)));
        }
    }
    let _pid_file = settings.pid_file.as_deref().map(PidFile::write).transpose()?;
    notices::life(format_args!("node {} is up, process {}", node.identity.name, std::process::id()));

    let mut stopping = node.stopping.subscribe();
    tokio::select! {
        () = stop => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    notice(Severity::Notice, "stopping: no new connections; sessions end at their next command");
    node.stop();
    node.configuration.close().await;
    tokio::select! {
        () = drained(&node) => {}
        () = tokio::time::sleep(DRAIN) => {
            notice(Severity::Warning, format_args!("{} sessions did not end in time", node.connections.total(SMTP)));
        }
        () = enough => {}
    }
    node.configuration.serving().policy.stop(&node).await;
    let _told = node.store.flush_finished().await;
    node.audit.serialize().await;
    node.audit.save().await;
    node.audit.end_period(clock::wall()).await;
    if let Some(fleet) = &node.fleet {
        fleet.leave();
        let left = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LEAVE, left).await.is_err() {
            notice(Severity::Warning, "the bus did not confirm the leave in time");
        }
    }
    notices::life("stopped");
    Ok(())
}

async fn reopen_logs(node: &Node) {
    for complaint in node.logs.reopen(None).await.unwrap_or_default() {
        notice(Severity::Error, complaint);
    }
}

async fn drained(node: &Node) {
    while node.connections.total(SMTP) > 0 || node.delivery.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Forgets addresses that have been quiet for long.
async fn prune(node: Arc<Node>) {
    loop {
        tokio::time::sleep(Duration::from_secs(15)).await;
        node.connections.prune();
        node.datasources.maintain();
        if let Some(fleet) = &node.fleet {
            let _later = fleet.maintain();
        }
    }
}

struct PidFile(std::path::PathBuf);

impl PidFile {
    fn write(path: &std::path::Path) -> anyhow::Result<Self> {
        let text = format!("{}\n", std::process::id());
        std::fs::write(path, text).with_context(|| format!("Pidfile: cannot write {}", path.display()))?;
        Ok(Self(path.to_path_buf()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A node that was started meanwhile has its own number in it.
        let ours =
            std::fs::read_to_string(&self.0).is_ok_and(|text| text.trim().parse() == Ok(std::process::id()));
        if ours {
            drop(std::fs::remove_file(&self.0));
        }
    }
}
