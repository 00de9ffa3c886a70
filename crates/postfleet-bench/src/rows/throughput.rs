//! Row 3: decisions a second of one core, replication on.
//!
//! Ours: three members on one thread, each of which has its mail ask for units of any of the throttles and applies the
//! messages of all three, every 10 ms. Those refused wait in the fleet's queue. The fleet's time goes on by the same step
//! with every decision, so that mail asks for a known part of what the limits allow, however fast the core is: asked for as
//! fast as possible, nearly every decision would be a refusal, which costs next to nothing. Redis: `redis-benchmark` with
//! 50 clients and the GCRA script. Both sides a second of the time that their thread ran, since a core is what a decision
//! costs; the clients of Redis are not counted.

use crate::digest::Digest;
use crate::engine::{EngineFleet, START, monotonic, rate};
use crate::peers::redis::{GCRA, Redis};
use crate::rounds::{Effort, Spread, alternate};
use crate::table::{Aim, Line, Unit};
use anyhow::{Result, ensure};
use nix::time::{ClockId, clock_gettime};
use postfleet_throttle::{SharedThrottles, ThrottleId, Ticket};
use postfleet_types::{Monotonic, Random};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

/// Throttles, and what each of them allows.
const THROTTLES: u32 = 1000;
const RATE: &str = "400/1";
/// What mail asks for, in hundredths of what the throttles allow together.
const DEMANDS: [u64; 2] = [60, 200];
/// Decisions of a member between two looks at the bus.
const TURN: u32 = 256;

#[derive(Default)]
struct Waiting {
    throttles: BTreeMap<Ticket, usize>,
    has: Vec<bool>,
}

struct Mail {
    fleet: EngineFleet<SharedThrottles>,
    throttles: u32,
    ids: Vec<Vec<ThrottleId>>,
    /// The messages of each member that wait: for which throttle. At most one a throttle.
    waiting: Vec<Waiting>,
    random: Random,
    decided: u64,
    given: u64,
}

impl Mail {
    fn new(now: Monotonic, throttles: u32, rate_text: &str) -> Self {
        let mut fleet = EngineFleet::new(now, 3);
        let ids = fleet.throttles(now, throttles, rate(rate_text));
        let waiting =
            ids.iter().map(|ids| Waiting { has: vec![false; ids.len()], ..Waiting::default() }).collect();
        Self { fleet, throttles, ids, waiting, random: Random::seeded(3), decided: 0, given: 0 }
    }

    /// Each member decides [`TURN`] times for any of the throttles; one that is refused waits, if none of its messages
    /// waits for that throttle already.
    fn turn(&mut self, mut clock: impl FnMut() -> Monotonic) -> Result<()> {
        let members = self.fleet.members.iter_mut().zip(&self.ids).zip(&mut self.waiting);
        for ((member, ids), waiting) in members {
            for _ in 0..TURN {
                let at = usize::try_from(self.random.below(u64::from(self.throttles)))?;
                let (Some(id), Some(waits)) = (ids.get(at), waiting.has.get_mut(at)) else { continue };
                let now = clock();
                let taken = member.take(now, &[*id], 1)?;
                self.decided += 1;
                self.given += taken;
                if taken == 0 && !*waits {
                    waiting.throttles.insert(member.request(now, &[*id], 1)?, at);
                    *waits = true;
                }
            }
            while let Some(granted) = member.poll_granted() {
                self.given += granted.units;
                if let Some(at) = waiting.throttles.remove(&granted.ticket)
                    && let Some(waits) = waiting.has.get_mut(at)
                {
                    *waits = false;
                }
            }
        }
        self.fleet.turn(clock());
        Ok(())
    }
}

fn thread_nanoseconds() -> Result<f64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
    Ok(time.as_secs_f64() * 1e9)
}

pub(super) fn run(effort: Effort) -> Result<Vec<Line>> {
    DEMANDS.iter().map(|demand| load(effort, *demand)).collect()
}

fn load(effort: Effort, demand: u64) -> Result<Line> {
    let allowed = u64::from(THROTTLES) * rate(RATE).units();
    let step = 1_000_000_000 * 100 / (allowed * demand);
    let seconds = f64::from(effort.size(2000, 100)) / 1000.0;
    let mut parts = Vec::new();
    let mut messages = Vec::new();
    let mut ours = || {
        let mut mail = Mail::new(START, THROTTLES, RATE);
        let mut nanoseconds = START.as_micros() * 1000;
        let (begin, carried) = (thread_nanoseconds()?, mail.fleet.messages);
        let mut ran = 0.0;
        while ran < seconds * 1e9 {
            for _ in 0..16 {
                mail.turn(|| {
                    // A node reads the clock for every decision.
                    black_box(monotonic());
                    nanoseconds += step;
                    Monotonic::from_micros(nanoseconds / 1000)
                })?;
            }
            ran = thread_nanoseconds()? - begin;
        }
        parts.push(mail.given as f64 / mail.decided as f64);
        messages.push((mail.fleet.messages - carried) as f64 / (ran / 1e9));
        Ok(mail.decided as f64 / (ran / 1e9))
    };
    let line = |ours, note| {
        let work = format!(
            "decisions a second of one core, three nodes, replication on, {demand} % of the limits asked for"
        );
        Line::new(work, Unit::PerSecond, ours).note(note).aim(Aim::Times(20.0))
    };
    let mut elapsed = Vec::new();
    let (ours, peer) = match Redis::start()? {
        Ok(redis) => {
            let script = redis.connect()?.load(GCRA)?;
            let requests = effort.size(100_000, 2000);
            // The same rate: microseconds between units, and a second's worth at once.
            let interval = (1_000_000 / rate(RATE).units()).to_string();
            let keys = THROTTLES.to_string();
            let mut redis_side = || {
                let command = ["EVALSHA", &script, "1", "domain:__rand_int__.example", &interval, "1000000"];
                let throughput = redis.benchmark(requests, &keys, &command)?;
                elapsed.push(throughput.elapsed);
                Ok(throughput.of_processor)
            };
            let [ours, redis] = alternate(effort, [&mut ours, &mut redis_side])?;
            (ours, Ok(redis))
        }
        Err(why) => {
            let [ours] = alternate(effort, [&mut ours])?;
            (ours, Err(why))
        }
    };
    let median = |values: &[f64]| Spread::of(values).map_or(0.0, |spread| spread.median);
    let mut note = format!(
        "{:.0} % of our decisions gave a unit, {:.0} messages a second of that core",
        median(&parts) * 100.0,
        median(&messages)
    );
    Ok(match peer {
        Ok(peer) => {
            note.push_str(&format!("; redis-benchmark saw {:.0} k/s", median(&elapsed) / 1e3));
            line(ours, note).beside("Redis, GCRA, redis-benchmark -c 50", peer)
        }
        Err(why) => line(ours, note).missing(why),
    })
}

/// A second of the fleet's time, in which decisions take 2 µs.
pub(super) fn digest() -> Result<u64> {
    let mut mail = Mail::new(START, 1000, "20/1");
    let mut now = START;
    let mut digest = Digest::default();
    for turn in 0..100 {
        mail.turn(|| {
            now = Monotonic::from_micros(now.as_micros() + 20);
            now
        })?;
        if turn % 10 == 0 {
            digest.add(mail.given);
        }
    }
    // In a second and a half, no throttle gives more than two windows.
    ensure!(mail.given <= 2 * 20 * 1000, "{} units were given", mail.given);
    digest.add(mail.fleet.messages);
    Ok(digest.value())
}
