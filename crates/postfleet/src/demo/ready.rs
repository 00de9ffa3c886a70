//! Waiting until a fleet is up: every node answers, sees all others, and shares data with them.

use super::Interrupt;
use super::layout::NodeLayout;
use anyhow::{Context, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// A fleet on one machine is up within a second; a machine that is very busy gets more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a node is a member. The next one is started then, so that the first is the oldest, and the leader.
pub(crate) fn wait_for_member(node: &mut (NodeLayout, Child), interrupted: &Interrupt) -> anyhow::Result<()> {
    let member = |control: &Path| {
        ask(control, "cluster info")
            .is_ok_and(|answer| answer.contains("[m:#") && !answer.contains("(no leader)"))
    };
    wait_until(node, interrupted, "is no member of the fleet", member)
}

/// Waits until every node shares data with every other.
pub(crate) fn wait(nodes: &mut [(NodeLayout, Child)], interrupted: &Interrupt) -> anyhow::Result<()> {
    let names: Vec<String> = nodes.iter().map(|(node, _)| node.name.clone()).collect();
    for node in nodes.iter_mut() {
        wait_until(node, interrupted, "does not see the whole fleet", |control| knows_all(control, &names))?;
    }
    Ok(())
}

fn wait_until(
    (node, child): &mut (NodeLayout, Child),
    interrupted: &Interrupt,
    problem: &str,
    reached: impl Fn(&Path) -> bool,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !reached(&node.control()) {
        if let Some(status) = child.try_wait().context("cannot watch a node")? {
            bail!("{} ended at once ({status}). Its log says:\n{}", node.name, tail(&node.log()));
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "{} {problem} after {} seconds; its log says:\n{}",
                node.name,
                PATIENCE.as_secs(),
                tail(&node.log())
            );
        }
        if interrupted.wait(Duration::from_millis(5)) {
            bail!("interrupted");
        }
    }
    Ok(())
}

/// Whether the node behind this console shares data with every node of the list.
fn knows_all(control: &Path, names: &[String]) -> bool {
    names.iter().all(|name| {
        ask(control, &format!("cluster shared show inbound_cidr from {name}"))
            .is_ok_and(|answer| answer.starts_with("lazy"))
    })
}

fn ask(control: &Path, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(command.as_bytes())?;
    stream.write_all(b"\n")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // The greeting comes first; the rest is the bare answer.
    Ok(answer.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default())
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
}
