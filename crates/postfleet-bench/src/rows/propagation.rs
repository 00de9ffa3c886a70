//! Row 5: how long a change takes until another node shows it.
//!
//! Both sides alike: a request over a local stream to one process makes the change (a connection counted; a counter set),
//! then the other process is asked over its own local stream, again and again, until its answer has it. The time of the
//! requests is in it on both sides. Idle: nothing has changed for 60 ms. Busy: 20 000 other changes a second go the same
//! way.

use crate::digest::Digest;
use crate::member::Member;
use crate::peers::haproxy::{Haproxies, Haproxy};
use crate::rounds::{Effort, alternate, quantile};
use crate::table::{Aim, Line, Unit};
use anyhow::{Result, ensure};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Longer than the 50 ms after which a node counts as idle.
const PAUSE: Duration = Duration::from_millis(60);
/// Other changes in a second.
pub(super) const BUSY: u32 = 20_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Milliseconds may lie between two probes under load, so that they fall anywhere in the rhythm of batches.
fn pause_of(probe: u32) -> Duration {
    PAUSE + Duration::from_micros(u64::from(probe * 7919 % 10_000))
}

fn probe_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xc612_0000 + number)
}

/// Two nodes of ours.
pub(super) struct Ours {
    pub(super) writer: Member,
    pub(super) reader: Member,
    probes: u32,
    _dir: tempfile::TempDir,
}

impl Ours {
    pub(super) fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut members = Member::fleet(dir.path(), 2)?.into_iter();
        let (Some(writer), Some(reader)) = (members.next(), members.next()) else {
            anyhow::bail!("two members")
        };
        Ok(Self { writer, reader, probes: 0, _dir: dir })
    }

    /// Nanoseconds until the reader shows a connection of an address that is counted now for the first time.
    fn probe(&mut self) -> Result<f64> {
        self.probes += 1;
        let client = probe_address(self.probes);
        let (change, read) = (format!("open {client}"), format!("sum {client}/32"));
        let begin = Instant::now();
        self.writer.ask(&change)?;
        while self.reader.ask(&read)? != "1" {
            ensure!(begin.elapsed() < PATIENCE, "the other node does not show the change");
        }
        Ok(begin.elapsed().as_secs_f64() * 1e9)
    }

    fn probes(&mut self, count: u32) -> Result<Vec<f64>> {
        let each = |number| {
            std::thread::sleep(pause_of(number));
            self.probe()
        };
        (0..count).map(each).collect()
    }
}

struct Theirs {
    writer: Haproxy,
    reader: Haproxy,
    probes: u32,
    _all: Haproxies,
}

impl Theirs {
    fn start() -> Result<Result<Self, String>> {
        let all = match Haproxies::configure(2)? {
            Ok(all) => all,
            Err(why) => return Ok(Err(why)),
        };
        let mut started = all.start_all()?.into_iter();
        let (Some(writer), Some(reader)) = (started.next(), started.next()) else {
            anyhow::bail!("two processes")
        };
        Ok(Ok(Self { writer, reader, probes: 0, _all: all }))
    }

    fn probe(&mut self) -> Result<f64> {
        self.probes += 1;
        let client = probe_address(self.probes);
        let begin = Instant::now();
        self.writer.set(client, 1)?;
        while self.reader.read(client, "gpc0")? != Some(1) {
            ensure!(begin.elapsed() < PATIENCE, "the other HAProxy does not show the change");
        }
        Ok(begin.elapsed().as_secs_f64() * 1e9)
    }

    fn probes(&mut self, count: u32) -> Result<Vec<f64>> {
        let each = |number| {
            std::thread::sleep(pause_of(number));
            self.probe()
        };
        (0..count).map(each).collect()
    }
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let probes = effort.size(60, 5);
    let mut ours = Ours::start()?;
    let (mut all, mut all_peer) = (Vec::new(), Vec::new());
    let half = |values: &[f64]| quantile(values, 0.5);
    let mut our_side = || {
        let values = ours.probes(probes)?;
        all.extend_from_slice(&values);
        Ok(half(&values))
    };
    let line = |what: &str, ours| {
        Line::new(format!("change readable on another node, {what}"), Unit::Nanoseconds, ours)
    };
    let mut lines = Vec::new();
    match Theirs::start()? {
        Ok(mut theirs) => {
            let mut peer_side = || {
                let values = theirs.probes(probes)?;
                all_peer.extend_from_slice(&values);
                Ok(half(&values))
            };
            let [ours, peer] = alternate(effort, [&mut our_side, &mut peer_side])?;
            lines.push(line("idle, median", ours).beside("HAProxy peers", peer).aim(Aim::Times(1.0)));
            lines.push(
                line("idle, 99 of 100", vec![quantile(&all, 0.99)])
                    .beside("HAProxy peers", vec![quantile(&all_peer, 0.99)])
                    .note(format!("over all rounds, {} changes of each side", all.len())),
            );
        }
        Err(why) => {
            let [ours] = alternate(effort, [&mut our_side])?;
            lines.push(line("idle, median", ours).missing(why.clone()).aim(Aim::Times(1.0)));
            lines.push(line("idle, 99 of 100", vec![quantile(&all, 0.99)]).missing(why));
        }
    }
    lines.push(busy(effort, &mut ours)?);
    Ok(lines)
}

/// The same under load. The peer is not loaded alike: its changes come over its stats socket, which its one thread has to
/// parse, and would be measured instead of its replication.
fn busy(effort: Effort, ours: &mut Ours) -> Result<Line> {
    let probes = effort.size(60, 5);
    ours.writer.ask(&format!("pace 0 {}", BUSY))?;
    let begin = Instant::now();
    let mut side = || Ok(quantile(&ours.probes(probes)?, 0.99));
    let [figures] = alternate(effort, [&mut side])?;
    let seconds = begin.elapsed().as_secs_f64();
    let made = ours.writer.number("pace-stop")?;
    let rate = made as f64 / seconds / 1e3;
    Ok(Line::new("change readable on another node, 20 000 changes/s, 99 of 100", Unit::Nanoseconds, figures)
        .aim(Aim::AtMost(20e6))
        .note(format!("{rate:.1} thousand changes a second were made")))
}

/// Ten changes and what the other node shows.
pub(super) fn digest() -> Result<u64> {
    let mut ours = Ours::start()?;
    let mut digest = Digest::default();
    for _ in 0..10 {
        ours.probe()?;
    }
    digest.add(ours.reader.number("total")?);
    digest.add(ours.reader.number("sum 198.18.0.0/16")?);
    Ok(digest.value())
}
