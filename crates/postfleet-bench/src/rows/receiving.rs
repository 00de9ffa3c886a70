//! Row 6: processor time of the receiver for each change that comes from another node.
//!
//! Changes of different addresses are made on one node at a steady rate; all threads of the other one are timed by the
//! kernel, in user and kernel mode, and what they ran is divided by the changes that they applied. Heartbeats and everything
//! else that a node does meanwhile are in it, on both sides.

use super::propagation::{BUSY, Ours};
use crate::digest::Digest;
use crate::member::{pace, scattered};
use crate::peers::haproxy::{Haproxies, Haproxy};
use crate::rounds::{Effort, alternate};
use crate::table::{Aim, Line, Unit};
use anyhow::{Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Few changes: what a message costs weighs more.
const SLOW: u32 = 1000;

/// Nanoseconds of our receiver for each change, at that rate, for so long.
fn ours(fleet: &mut Ours, first: &mut u32, rate: u32, length: Duration) -> Result<f64> {
    let (total, received) = (fleet.reader.number("total")?, fleet.reader.number("received")?);
    let before = fleet.reader.cpu_nanoseconds()?;
    fleet.writer.ask(&format!("pace {first} {rate}"))?;
    std::thread::sleep(length);
    let made = fleet.writer.number("pace-stop")?;
    let ran = fleet.reader.cpu_nanoseconds()? - before;
    *first += u32::try_from(made)?;
    let wanted = (total + made).to_string();
    fleet.reader.wait("total", &wanted, Duration::from_millis(1))?;
    let received = fleet.reader.number("received")? - received;
    ensure!(received == made, "{made} changes were made and {received} received");
    Ok(ran / made as f64)
}

/// The same of HAProxy's.
fn theirs(all: &mut [Haproxy], first: &mut u32, rate: u32, length: Duration) -> Result<f64> {
    let [writer, reader] = all else { anyhow::bail!("two processes") };
    let used = reader.used()?;
    let before = reader.cpu_nanoseconds()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = Arc::clone(&stop);
    std::thread::spawn(move || {
        std::thread::sleep(length);
        stopper.store(true, Ordering::Relaxed);
    });
    let made = pace(rate, &stop, |at, count| writer.set_all(scattered(*first + at, count)))?;
    *first += made;
    let ran = reader.cpu_nanoseconds()? - before;
    let begin = Instant::now();
    while reader.used()? < used + made {
        ensure!(
            begin.elapsed() < Duration::from_secs(30),
            "not all changes have arrived at the other HAProxy"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let reached = f64::from(made) / length.as_secs_f64() / f64::from(rate);
    ensure!(reached > 0.5, "HAProxy took only {:.0} % of the changes by its stats socket", reached * 100.0);
    Ok(ran / f64::from(made))
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let length = Duration::from_millis(u64::from(effort.size(3000, 300)));
    let mut fleet = Ours::start()?;
    let peers = Haproxies::configure(2)?;
    let mut started = match &peers {
        Ok(peers) => Ok(peers.start_all()?),
        Err(why) => Err(why.clone()),
    };
    let (mut first, mut peer_first) = (0, 0);
    let mut lines = Vec::new();
    for (rate, aim) in [(BUSY, Aim::Times(8.0)), (SLOW, Aim::None)] {
        let line = |ours| {
            let work = format!("processor time for each received change, {rate} changes/s");
            Line::new(work, Unit::Nanoseconds, ours).aim(aim)
        };
        let mut our_side = || ours(&mut fleet, &mut first, rate, length);
        lines.push(match &mut started {
            Ok(all) => {
                let mut peer_side = || theirs(all, &mut peer_first, rate, length);
                let [ours, peer] = alternate(effort, [&mut our_side, &mut peer_side])?;
                line(ours).beside("HAProxy peers, receiver", peer)
            }
            Err(why) => {
                let [ours] = alternate(effort, [&mut our_side])?;
                line(ours).missing(why.clone())
            }
        });
    }
    Ok(lines)
}

/// A thousand changes, received.
pub(super) fn digest() -> Result<u64> {
    let mut fleet = Ours::start()?;
    fleet.writer.ask("fill 0 1000")?;
    fleet.reader.wait("total", "1000", Duration::from_millis(1))?;
    let mut digest = Digest::default();
    digest.add(fleet.reader.number("received")?);
    for prefix in ["0.0.0.0/1", "64.0.0.0/4", "128.0.0.0/2"] {
        digest.add(fleet.reader.number(&format!("sum {prefix}"))?);
    }
    Ok(digest.value())
}
