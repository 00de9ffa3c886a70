//! Row 1: a throttle decision, one caller.
//!
//! Ours as a node makes it: the plain lock, the clock, one of a thousand throttles of a fleet of three, a unit at hand.
//! Redis: one `EVALSHA` of the generic cell rate algorithm over a TCP connection on loopback. The crate `governor`, which
//! decides for one process and shares nothing, stands beside it for information.

use crate::digest::Digest;
use crate::engine::{EngineFleet, START, monotonic, rate};
use crate::peers::redis::{GCRA, Redis};
use crate::rounds::{Effort, alternate, nanoseconds_each};
use crate::table::{Aim, Line, Unit};
use anyhow::{Result, ensure};
use governor::{Quota, RateLimiter};
use postfleet_throttle::{SharedThrottles, ThrottleId};
use postfleet_types::Monotonic;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

const THROTTLES: u32 = 1000;
/// Far more than a run uses: units are at hand.
const PLENTY: &str = "4000000000/3600";

/// Decisions between two heartbeats that come back; without any, a node stops to use what it owns. More often than on a
/// node, so that a busy machine does not matter.
const HEARTBEAT: usize = 10_000;

/// The first of three members, with a share of every throttle, and their ids.
fn prepare(now: Monotonic, rate_text: &str) -> (EngineFleet<SharedThrottles>, Vec<ThrottleId>) {
    let mut fleet = EngineFleet::new(now, 3);
    let ids = fleet.throttles(now, THROTTLES, rate(rate_text)).swap_remove(0);
    // Its demand is known: it owns what it asked for, and puts it back idle.
    if let Some(first) = fleet.members.first_mut() {
        for id in &ids {
            let _ticket = first.request(now, &[*id], rate(rate_text).units());
        }
    }
    fleet.exchange(now);
    if let Some(first) = fleet.members.first_mut() {
        for id in &ids {
            let _done = first.put_back(now, &[*id], rate(rate_text).units());
        }
        while first.poll_granted().is_some() {}
    }
    (fleet, ids)
}

/// Decides `count` times, throttle after throttle; returns how many units were given.
fn decide(
    table: &Mutex<SharedThrottles>,
    ids: &[ThrottleId],
    count: u32,
    mut clock: impl FnMut() -> Monotonic,
) -> u64 {
    let mut given = 0;
    for (at, id) in ids.iter().cycle().take(usize::try_from(count).unwrap_or(usize::MAX)).enumerate() {
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        if at % HEARTBEAT == 0 {
            let now = clock();
            table.heard(now, now);
        }
        given += table.take(clock(), black_box(&[*id]), 1).unwrap_or(0);
    }
    given
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let (ours_count, redis_count) = (effort.size(2_000_000, 20_000), effort.size(20_000, 500));
    let (fleet, ids) = prepare(monotonic(), PLENTY);
    let [first, ..] =
        <[SharedThrottles; 3]>::try_from(fleet.members).map_err(|_| anyhow::anyhow!("three"))?;
    let table = Mutex::new(first);
    let mut ours = || {
        let mut given = 0;
        let took = nanoseconds_each(ours_count, || {
            given = decide(&table, &ids, ours_count, monotonic);
            Ok(())
        });
        ensure!(given == u64::from(ours_count), "{given} of {ours_count} units were at hand");
        took
    };
    let quota = Quota::per_second(NonZeroU32::MAX);
    let limiters: Vec<_> = (0..THROTTLES).map(|_| RateLimiter::direct(quota)).collect();
    let mut governor = || {
        nanoseconds_each(ours_count, || {
            let all = limiters.iter().cycle().take(usize::try_from(ours_count)?);
            for limiter in all {
                ensure!(black_box(limiter).check().is_ok(), "governor refuses");
            }
            Ok(())
        })
    };
    let work = format!("throttle decision, one caller, {THROTTLES} throttles");
    let redis = match Redis::start()? {
        Ok(redis) => redis,
        Err(why) => {
            let [ours, governor] = alternate(effort, [&mut ours, &mut governor])?;
            let line = Line::new(work, Unit::Nanoseconds, ours.clone()).missing(why).aim(Aim::Times(20.0));
            return Ok(vec![line, beside_governor(ours, governor)]);
        }
    };
    let mut client = redis.connect()?;
    let script = client.load(GCRA)?;
    let keys: Vec<String> = (0..THROTTLES).map(|at| format!("domain:{at}.example")).collect();
    let mut redis_side = || {
        nanoseconds_each(redis_count, || {
            for key in keys.iter().cycle().take(usize::try_from(redis_count)?) {
                // One microsecond a unit, as many as 1000 seconds hold at once.
                let given = client.number(&["EVALSHA", &script, "1", key, "1", "1000000000"])?;
                ensure!(given == 1, "the script refuses");
            }
            Ok(())
        })
    };
    let [ours, redis, governor] = alternate(effort, [&mut ours, &mut redis_side, &mut governor])?;
    let line = Line::new(work, Unit::Nanoseconds, ours.clone())
        .beside("Redis, GCRA by EVALSHA", redis)
        .aim(Aim::Times(20.0));
    Ok(vec![line, beside_governor(ours, governor)])
}

fn beside_governor(ours: Vec<f64>, governor: Vec<f64>) -> Line {
    Line::new("the same", Unit::Nanoseconds, ours)
        .beside("governor, this process only", governor)
        .note("governor shares nothing with other nodes and has no queue; shown for information")
}

/// Throttles of 20 units in 10 seconds, asked far more often: what is given to the member, decision by decision.
pub(super) fn digest() -> Result<u64> {
    let (fleet, ids) = prepare(START, "20/10");
    let [first, ..] =
        <[SharedThrottles; 3]>::try_from(fleet.members).map_err(|_| anyhow::anyhow!("three"))?;
    let table = Mutex::new(first);
    let mut now = START;
    let mut digest = Digest::default();
    for _ in 0..60 {
        let given = decide(&table, &ids, THROTTLES, || {
            now = Monotonic::from_micros(now.as_micros() + 50);
            now
        });
        digest.add(given);
    }
    Ok(digest.value())
}
