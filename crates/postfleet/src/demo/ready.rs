//! Waiting until a fleet is up: every node answers, sees all others, and shares data with them.

use super::layout::NodeLayout;
use super::{Interrupt, say};
use anyhow::{Context, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// A fleet on one machine is up within a second; a machine that is very busy gets more.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn wait(nodes: &mut [(NodeLayout, Child)], interrupted: &Interrupt) -> anyhow::Result<()> {
    let names: Vec<String> = nodes.iter().map(|(node, _)| node.name.clone()).collect();
    let started = Instant::now();
    for (node, child) in nodes.iter_mut() {
        while !knows_all(&node.control(), &names) {
            if let Some(status) = child.try_wait().context("cannot watch a node")? {
                bail!("{} ended at once ({status}). Its log says:\n{}", node.name, tail(&node.log()));
            }
            if started.elapsed() > PATIENCE {
                bail!(
                    "{} does not see the whole fleet after {} seconds; its log says:\n{}",
                    node.name,
                    PATIENCE.as_secs(),
                    tail(&node.log())
                );
            }
            if interrupted.wait(Duration::from_millis(20)) {
                bail!("interrupted");
            }
        }
    }
    say(&format!("All nodes see each other after {:.1} s", started.elapsed().as_secs_f64()));
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
