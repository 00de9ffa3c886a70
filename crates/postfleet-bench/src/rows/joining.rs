//! Row 7: a joiner until it has everything.
//!
//! One node holds a million addresses. Another process is started; the time runs from its start until it says that
//! nothing is missing and shows them all. HAProxy alike: from the start of the process until its table has all entries.

use crate::digest::Digest;
use crate::member::{Member, scattered};
use crate::peers::haproxy::Haproxies;
use crate::rounds::{Effort, alternate};
use crate::table::{Aim, Line, Unit};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// Starts member `number` beside one with so many addresses; returns it and how long it took.
fn join(dir: &Path, number: u8, keys: u32) -> Result<(Member, Duration)> {
    let begin = Instant::now();
    let mut joiner = Member::start(dir, number)?;
    joiner.wait("complete 2", "true", LOOK)?;
    joiner.wait("total", &keys.to_string(), LOOK)?;
    Ok((joiner, begin.elapsed()))
}

fn origin(dir: &Path, keys: u32) -> Result<Member> {
    let mut origin = Member::start(dir, 1)?;
    origin.wait_complete(1)?;
    origin.ask(&format!("fill 0 {keys}"))?;
    Ok(origin)
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let keys = effort.size(1_000_000, 5000);
    let dir = tempfile::tempdir()?;
    let mut origin = origin(dir.path(), keys)?;
    let mut number = 1;
    let mut our_side = || {
        number += 1;
        let (joiner, took) = join(dir.path(), number, keys)?;
        drop(joiner);
        // The next one begins when this one has left.
        origin.wait("complete 1", "true", LOOK)?;
        Ok(took.as_secs_f64() * 1e9)
    };
    let line = |ours| {
        Line::new(format!("joiner complete, {keys} keys"), Unit::Nanoseconds, ours).aim(Aim::Times(2.0))
    };
    let peers = match Haproxies::configure(2)? {
        Ok(peers) => peers,
        Err(why) => {
            let [ours] = alternate(effort, [&mut our_side])?;
            return Ok(vec![line(ours).missing(why)]);
        }
    };
    let mut full = peers.start(1)?;
    full.set_all(scattered(0, keys))?;
    ensure!(full.used()? == keys, "HAProxy has not taken all entries");
    let mut peer_side = || {
        let begin = Instant::now();
        let mut joiner = peers.start(2)?;
        while joiner.used()? < keys {
            ensure!(begin.elapsed() < Duration::from_secs(120), "HAProxy has not resynchronised");
            std::thread::sleep(LOOK);
        }
        Ok(begin.elapsed().as_secs_f64() * 1e9)
    };
    let [ours, peer] = alternate(effort, [&mut our_side, &mut peer_side])?;
    let median = crate::rounds::Spread::of(&peer).context("a round")?.median;
    let note = format!(
        "from the start of the process; HAProxy took {:.0} entries a second",
        f64::from(keys) / median * 1e9
    );
    Ok(vec![line(ours).beside("HAProxy peers, resynchronisation", peer).note(note)])
}

/// What a joiner of a node with 5000 addresses shows.
pub(super) fn digest() -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let _origin = origin(dir.path(), 5000)?;
    let (mut joiner, _) = join(dir.path(), 2, 5000)?;
    let mut digest = Digest::default();
    for prefix in ["0.0.0.0/0", "16.0.0.0/4", "77.0.0.0/8"] {
        digest.add(joiner.number(&format!("sum {prefix}"))?);
    }
    if digest.value() == Digest::default().value() {
        bail!("nothing was read");
    }
    Ok(digest.value())
}
