//! `postfleet demo --stop`.

use super::{fleet, process, say};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Nodes drain their sessions before they end.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn stop(dir: &Path) -> anyhow::Result<ExitCode> {
    let nodes = fleet::read(dir)?;
    let running: Vec<(&fleet::Known, u32)> =
        nodes.iter().filter_map(|node| pid_of(node).map(|pid| (node, pid))).collect();
    if running.is_empty() {
        say(&format!("No node of the fleet in {} is running.", dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    for (_, pid) in &running {
        process::terminate(*pid);
    }
    let started = Instant::now();
    for (node, pid) in &running {
        // A process that has ended but was not collected by its parent has no command line any more.
        while process::is_node(*pid, &node.config) {
            if started.elapsed() > PATIENCE {
                process::kill(*pid);
                say(&format!("{} did not stop in time and was killed", node.name));
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    say(&format!("Stopped {} nodes.", running.len()));
    Ok(ExitCode::SUCCESS)
}

/// The process of a node: the one that `fleet.json` names, or the one that was started again since.
pub(crate) fn pid_of(node: &fleet::Known) -> Option<u32> {
    let from_file = std::fs::read_to_string(&node.pid_file).ok().and_then(|text| text.trim().parse().ok());
    [from_file, Some(node.pid)].into_iter().flatten().find(|pid| process::is_node(*pid, &node.config))
}
