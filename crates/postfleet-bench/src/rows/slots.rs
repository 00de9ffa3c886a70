//! Row 2: a connection slot that is owned already is taken and given back.
//!
//! Ours as a node does it: the plain lock, the clock, one of a hundred paths of a fleet of three. Redis: a lease in a
//! sorted set, one script call to take it and one command to give it back, over a TCP connection on loopback.

use crate::digest::Digest;
use crate::engine::{EngineFleet, START, monotonic};
use crate::peers::redis::{LEASE, Redis};
use crate::rounds::{Effort, alternate, nanoseconds_each};
use crate::table::{Aim, Line, Unit};
use anyhow::{Context, Result, ensure};
use postfleet_throttle::{Path, Slots};
use postfleet_types::Monotonic;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

const PATHS: u32 = 100;
const LIMIT: u64 = 20;

/// Turns between two heartbeats that come back; without any, a node opens nothing any more.
const HEARTBEAT: usize = 10_000;

/// Turns on one table.
const PART: u32 = 5000;

fn paths() -> Result<Vec<Path>> {
    (0..PATHS).map(|at| Ok(Path::new([(format!("domain:{at}.example").as_str(), LIMIT)])?)).collect()
}

/// A fleet of which the first member owns slots of every path.
fn prepare(now: Monotonic, paths: &[Path]) -> EngineFleet<Slots> {
    let mut fleet: EngineFleet<Slots> = EngineFleet::new(now, 3);
    if let Some(first) = fleet.members.first_mut() {
        paths.iter().for_each(|path| first.want(now, path, 10));
    }
    fleet.exchange(now);
    fleet
}

/// Opens and closes on path after path; returns how many could be opened.
fn turn(table: &Mutex<Slots>, paths: &[Path], count: u32, mut clock: impl FnMut() -> Monotonic) -> u64 {
    let mut opened = 0;
    for (at, path) in paths.iter().cycle().take(usize::try_from(count).unwrap_or(usize::MAX)).enumerate() {
        if at % HEARTBEAT == 0 {
            let now = clock();
            table.lock().unwrap_or_else(PoisonError::into_inner).heard(now, now);
        }
        if table.lock().unwrap_or_else(PoisonError::into_inner).open(clock(), black_box(path)) {
            opened += 1;
        }
        table.lock().unwrap_or_else(PoisonError::into_inner).closed(clock(), black_box(path));
    }
    opened
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let (ours_count, redis_count) = (effort.size(200_000, 5000), effort.size(10_000, 300));
    let paths = paths()?;
    let mut ours = || {
        let (mut done, mut nanoseconds, mut tries) = (0, 0.0, 0);
        while done < ours_count {
            // Anew for each part: slots that nobody uses are given up after a second.
            let first = prepare(monotonic(), &paths).members.into_iter().next().context("a member")?;
            let table = Mutex::new(first);
            let mut opened = 0;
            let each = nanoseconds_each(PART, || {
                opened = turn(&table, &paths, PART, monotonic);
                Ok(())
            })?;
            tries += 1;
            ensure!(
                tries < 10 * (ours_count / PART + 1),
                "the machine is too busy: slots are given up meanwhile"
            );
            // A part in which the machine stood still for that second is done again.
            if opened == u64::from(PART) {
                done += PART;
                nanoseconds += each * f64::from(PART);
            }
        }
        Ok(nanoseconds / f64::from(done))
    };
    let work = format!("acquire and release a slot already granted, {PATHS} paths");
    let line = |ours| Line::new(work, Unit::Nanoseconds, ours).aim(Aim::Times(50.0));
    let redis = match Redis::start()? {
        Ok(redis) => redis,
        Err(why) => {
            let [ours] = alternate(effort, [&mut ours])?;
            return Ok(vec![line(ours).missing(why)]);
        }
    };
    let mut client = redis.connect()?;
    let script = client.load(LEASE)?;
    let keys: Vec<String> = (0..PATHS).map(|at| format!("slots:domain:{at}.example")).collect();
    let limit = LIMIT.to_string();
    let mut redis_side = || {
        nanoseconds_each(redis_count, || {
            for (at, key) in keys.iter().cycle().take(usize::try_from(redis_count)?).enumerate() {
                let holder = format!("relay-1:{at}");
                let got = client.number(&["EVALSHA", &script, "1", key, &holder, &limit, "30000"])?;
                let gone = client.number(&["ZREM", key, &holder])?;
                ensure!(got == 1 && gone == 1, "the lease was not to be had");
            }
            Ok(())
        })
    };
    let [ours, redis] = alternate(effort, [&mut ours, &mut redis_side])?;
    Ok(vec![line(ours).beside("Redis, sorted-set lease, two calls", redis)])
}

/// Paths of all members, opened and closed at once until slots have changed owner.
pub(super) fn digest() -> Result<u64> {
    let paths = paths()?;
    let mut fleet = prepare(START, &paths);
    let mut digest = Digest::default();
    let mut now = START;
    for round in 0..40_u64 {
        now = Monotonic::from_micros(now.as_micros() + 100_000);
        for (member, number) in fleet.members.iter_mut().zip(0_u64..) {
            let mut opened = 0;
            for path in paths.iter().skip(usize::try_from((round + number) % 3)?).step_by(3) {
                member.want(now, path, 12);
                opened += u64::from(member.open(now, path));
            }
            digest.add(opened);
        }
        fleet.turn(now);
        for member in &mut fleet.members {
            paths.iter().for_each(|path| member.closed(now, path));
        }
    }
    let mut opened = 0;
    if let Some(first) = fleet.members.into_iter().next() {
        opened = turn(&Mutex::new(first), &paths, PATHS, || now);
    }
    digest.add(opened);
    Ok(digest.value())
}
