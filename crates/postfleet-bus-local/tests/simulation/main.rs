//! Seeded schedules of whole buses: several processes, their sockets byte by byte, the lock file, kills at any
//! point, stops, false suspicion. One seed decides everything.
//!
//! Promises checked: C1, C2 (what they are built from: P5, P7, P9 to P12), and that after the faults have ended
//! everybody is in one configuration and every accepted message of a survivor has been delivered.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are its own"
)]

mod check;
mod world;

use postfleet_types::Random;
use std::fmt::Write as _;
use world::World;

/// Schedules in the ordinary run; `POSTFLEET_CASES` sets another number.
const SCHEDULES: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

struct Outcome {
    delivered: usize,
    takeovers: u64,
    world: World,
}

fn run(seed: u64) -> Result<Outcome, String> {
    let mut world = World::new(seed);
    world.run_with_faults();
    world.heal();
    check::all(&world).map_err(|fault| format!("{fault}\n{}", world.describe()))?;
    let delivered = world.lives().iter().map(|life| life.delivered.len()).sum();
    Ok(Outcome { delivered, takeovers: world.number(), world })
}

#[test]
fn bus_12a_3_schedules_keep_the_promises() {
    let seeds: Vec<u64> = match number("POSTFLEET_SEED") {
        Some(seed) => vec![seed],
        None => {
            let mut random = Random::seeded(12);
            (0..number("POSTFLEET_CASES").unwrap_or(SCHEDULES)).map(|_| random.next_u64()).collect()
        }
    };
    let (mut delivered, mut takeovers) = (0, 0);
    for seed in &seeds {
        let outcome =
            std::panic::catch_unwind(|| run(*seed)).unwrap_or_else(|_| Err("a panic, see above".to_owned()));
        match outcome {
            Ok(outcome) => {
                delivered += outcome.delivered;
                takeovers += outcome.takeovers;
            }
            Err(fault) => panic!(
                "{fault}\nrepeat with: POSTFLEET_SEED={seed} cargo test -p postfleet-bus-local --test simulation"
            ),
        }
    }
    println!("{} schedules, {delivered} deliveries, {takeovers} generations", seeds.len());
    assert!(seeds.len() == 1 || takeovers > 2 * seeds.len() as u64, "the schedules take nothing over");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = |seed| {
        let mut text = String::new();
        for life in run(seed).unwrap().world.lives() {
            write!(text, "{life:?}").unwrap();
        }
        text
    };
    for seed in 0..5 {
        assert!(bytes(seed) == bytes(seed), "seed {seed}");
    }
}
