//! `postfleet demo --stop`.

use super::{fleet, process, say};
use anyhow::bail;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long open sessions of a demo may hold up its end; a second signal ends the wait.
pub(super) const SESSIONS_PATIENCE: Duration = Duration::from_secs(2);
/// How long a node may take for everything else.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn stop(dir: &Path) -> anyhow::Result<ExitCode> {
    match stop_rest(dir)? {
        0 => say(&format!("No node of the fleet in {} is running.", dir.display())),
        count => say(&format!("Stopped {count} nodes.")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops whatever nodes of the fleet are running, and says how many there were.
pub(super) fn stop_rest(dir: &Path) -> anyhow::Result<usize> {
    let nodes = fleet::read(dir)?;
    let running: Vec<(&fleet::Known, u32)> =
        nodes.iter().filter_map(|node| pid_of(node).map(|pid| (node, pid))).collect();
    let is_running = |node: &fleet::Known, pid: u32| process::is_node(pid, &node.config);
    for patience in [SESSIONS_PATIENCE, PATIENCE] {
        for (_, pid) in running.iter().filter(|(node, pid)| is_running(node, *pid)) {
            process::terminate(*pid);
        }
        let started = Instant::now();
        // A process that has ended but was not collected by its parent has no command line any more.
        while running.iter().any(|(node, pid)| is_running(node, *pid)) && started.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    for (node, pid) in running.iter().filter(|(node, pid)| is_running(node, *pid)) {
        process::kill(*pid);
        std::thread::sleep(Duration::from_millis(100));
        if is_running(node, *pid) {
            bail!(
                "{} (process {pid}) cannot be stopped; it belongs to another user, or hangs in the kernel",
                node.name
            );
        }
        say(&format!("{} did not stop in time and was killed", node.name));
    }
    Ok(running.len())
}

/// The process of a node: the one that `fleet.json` names, or the one that was started again since.
pub(crate) fn pid_of(node: &fleet::Known) -> Option<u32> {
    let from_file = std::fs::read_to_string(&node.pid_file).ok().and_then(|text| text.trim().parse().ok());
    [from_file, Some(node.pid)].into_iter().flatten().find(|pid| process::is_node(*pid, &node.config))
}
