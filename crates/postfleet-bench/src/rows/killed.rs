//! Row 11: what a node held is free again after its process was killed.
//!
//! Three nodes; one holds connections, or all slots of a path that another waits for, and is killed with SIGKILL. The time runs from the signal until both others show the
//! sum without it, or the one that waits has opened them all. Redis: a lease whose holder is gone is free when its time is over; the row states the time that its
//! lease has.

use crate::digest::Digest;
use crate::member::{Member, SLOTS};
use crate::peers::redis::{LEASE, Redis};
use crate::rounds::{Effort, alternate};
use crate::table::{Aim, Line, Unit};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

const HELD: u32 = 1000;
/// Of the lease of the peer. Short: a holder has to renew it far more often than that.
const LEASE_MILLIS: u32 = 3000;

/// Kills a node that holds connections; says how long the others show them, and what they show in the end.
fn killed() -> Result<(Duration, u64)> {
    let dir = tempfile::tempdir()?;
    let mut members = Member::fleet(dir.path(), 3)?;
    let look = Duration::from_millis(1);
    for (member, number) in members.iter_mut().zip(0..) {
        member.ask(&format!("fill {} {HELD}", number * HELD))?;
    }
    for member in &mut members {
        member.wait("total", &(3 * HELD).to_string(), look)?;
    }
    let mut last = members.pop().context("three members")?;
    let begin = Instant::now();
    last.kill()?;
    for member in &mut members {
        member.wait("total", &(2 * HELD).to_string(), Duration::from_micros(200))?;
    }
    let took = begin.elapsed();
    let shown = members.first_mut().context("a member")?.number("sum 0.0.0.0/0")?;
    Ok((took, shown))
}

/// Kills a node that owns all slots of a path; says how long it takes until another that waits for them has them all.
fn slots_of_killed() -> Result<Duration> {
    let dir = tempfile::tempdir()?;
    let mut members = Member::fleet(dir.path(), 3)?;
    let (all, look) = (SLOTS.to_string(), Duration::from_millis(1));
    let mut last = members.pop().context("three members")?;
    last.ask(&format!("want {SLOTS}"))?;
    last.wait("slots", &all, look)?;
    let heir = members.first_mut().context("a member")?;
    heir.ask(&format!("want {SLOTS}"))?;
    let begin = Instant::now();
    last.kill()?;
    heir.wait("slots", &all, Duration::from_micros(200))?;
    Ok(begin.elapsed())
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    let mut our_side = || Ok(killed()?.0.as_secs_f64() * 1e9);
    let mut slot_side = || Ok(slots_of_killed()?.as_secs_f64() * 1e9);
    let line = |what: &str, ours| Line::new(what, Unit::Nanoseconds, ours).aim(Aim::AtMost(1e8));
    let (counts, slots) =
        ("counts of a killed process gone on all others", "slots of a killed process opened by another");
    let redis = match Redis::start()? {
        Ok(redis) => redis,
        Err(why) => {
            let [ours, ours_slots] = alternate(effort, [&mut our_side, &mut slot_side])?;
            return Ok(vec![line(counts, ours).missing(why.clone()), line(slots, ours_slots).missing(why)]);
        }
    };
    let mut client = redis.connect()?;
    let script = client.load(LEASE)?;
    let millis = LEASE_MILLIS.to_string();
    let mut peer_side = || {
        // Everything is held; the holder is gone at once. Another asks until it gets one.
        client.call(&["DEL", "slots"])?;
        ensure!(
            client.number(&["EVALSHA", &script, "1", "slots", "gone", "1", &millis])? == 1,
            "the first lease"
        );
        let begin = Instant::now();
        while client.number(&["EVALSHA", &script, "1", "slots", "waiting", "1", &millis])? == 0 {
            ensure!(begin.elapsed() < Duration::from_secs(30), "the lease does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(begin.elapsed().as_secs_f64() * 1e9)
    };
    let [ours, ours_slots, redis] = alternate(effort, [&mut our_side, &mut slot_side, &mut peer_side])?;
    let name = format!("Redis, lease of {} s", LEASE_MILLIS / 1000);
    Ok(vec![line(counts, ours).beside(&name, redis.clone()), line(slots, ours_slots).beside(&name, redis)])
}

pub(super) fn digest() -> Result<u64> {
    let mut digest = Digest::default();
    digest.add(killed()?.1);
    Ok(digest.value())
}
