//! What a decision costs where a unit is at hand, beside the crate `governor`, which decides for one process.
//!
//! `governor` is asked with a clock that stands still as well, since our side gets the time as an argument.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use governor::clock::{DefaultClock, FakeRelativeClock};
use governor::{Quota, RateLimiter};
use postfleet_throttle::{
    Configuration, NamedThrottles, Path, Present, SharedThrottles, SlotOptions, Slots, ThrottleId,
    ThrottleOptions,
};
use postfleet_types::{Monotonic, PrivateName};
use std::num::NonZeroU32;

fn main() {
    divan::main();
}

const UNITS: u32 = 4_000_000_000;
const START: Monotonic = Monotonic::from_millis(1_000_000);
/// Decisions in one sample.
const TURNS: u64 = 1000;

fn name(node: &str) -> PrivateName {
    PrivateName::shared(&node.parse().expect("a node name"), 1)
}

/// The first of three members, which owns every unit of a throttle and uses none.
fn shared(throttles: usize) -> (SharedThrottles, Vec<ThrottleId>) {
    let names = [name("a"), name("b"), name("c")];
    let present = names.each_ref().map(|name| Present { name, relay: true });
    let mut tables = names.each_ref().map(|name| SharedThrottles::new(name, ThrottleOptions::default()));
    for (table, own) in tables.iter_mut().zip(&names) {
        let joined: Vec<PrivateName> = names.iter().filter(|name| *name != own).cloned().collect();
        table.reconfigure(START, &Configuration { id: 7, members: &present, departed: &[], joined: &joined });
    }
    let rate = format!("{UNITS}/3600").parse().expect("a rate");
    let deliver = |tables: &mut [SharedThrottles; 3]| {
        while let Some((from, bytes)) =
            (0..3).find_map(|of| Some((of, tables[of].drain_outbox(START, 60_000)?)))
        {
            tables.iter_mut().for_each(|table| table.apply(START, &names[from], &bytes).expect("a message"));
        }
    };
    deliver(&mut tables);
    let mut ids = Vec::new();
    for number in 0..throttles {
        let id = tables[0].configure(START, &format!("domain:{number}.example"), rate).expect("a name");
        tables[0].request(START, &[id], u64::from(UNITS)).expect("a path");
        ids.push(id);
    }
    deliver(&mut tables);
    for id in &ids {
        tables[0].put_back(START, &[*id], u64::from(UNITS)).expect("a path");
    }
    let [first, ..] = tables;
    (first, ids)
}

/// A shared throttle of a fleet of three.
#[divan::bench(args = [1, 1000])]
fn shared_throttle(bencher: Bencher<'_, '_>, throttles: usize) {
    let (mut table, ids) = shared(throttles);
    let mut turn = 0u64;
    bencher.counter(ItemsCount::new(TURNS)).bench_local(|| {
        for _ in 0..TURNS {
            turn += 1;
            let id = ids[usize::try_from(turn).unwrap_or(0) % ids.len()];
            // A microsecond for each: the window moves.
            let now = Monotonic::from_micros(START.as_micros() + turn % 1_000_000);
            assert_eq!(table.take(now, black_box(&[id]), 1), Ok(1));
        }
    });
}

/// The peer, with a clock that stands still.
#[divan::bench]
fn governor_clock_given(bencher: Bencher<'_, '_>) {
    let clock = FakeRelativeClock::default();
    let quota = Quota::per_second(NonZeroU32::MAX);
    let limiter = RateLimiter::direct_with_clock(quota, clock);
    bencher.counter(ItemsCount::new(TURNS)).bench_local(|| {
        for _ in 0..TURNS {
            assert!(black_box(&limiter).check().is_ok());
        }
    });
}

/// The peer as it comes: it reads the clock.
#[divan::bench]
fn governor_clock_read(bencher: Bencher<'_, '_>) {
    let quota = Quota::per_second(NonZeroU32::MAX);
    let limiter = RateLimiter::direct_with_clock(quota, DefaultClock::default());
    bencher.counter(ItemsCount::new(TURNS)).bench_local(|| {
        for _ in 0..TURNS {
            assert!(black_box(&limiter).check().is_ok());
        }
    });
}

/// A throttle of one node, by name.
#[divan::bench(args = [1, 1000])]
fn named_throttle(bencher: Bencher<'_, '_>, throttles: usize) {
    let mut table = NamedThrottles::new(throttles);
    let names: Vec<String> = (0..throttles).map(|number| format!("domain:{number}.example")).collect();
    for name in &names {
        table.create(START, name, format!("{UNITS}/3600").parse().expect("a rate"));
    }
    let mut turn = 0u64;
    bencher.counter(ItemsCount::new(TURNS)).bench_local(|| {
        for _ in 0..TURNS {
            turn += 1;
            let name = &names[usize::try_from(turn).unwrap_or(0) % names.len()];
            let now = Monotonic::from_micros(START.as_micros() + turn);
            assert_eq!(table.take(now, black_box(name), 1), Ok(1));
        }
    });
}

/// A connection on a slot that is owned: taken and given back to this member's other mail.
#[divan::bench(args = [1, 100])]
fn slot_taken_and_released(bencher: Bencher<'_, '_>, paths: usize) {
    let mut slots = Slots::new(&name("a"), SlotOptions::default());
    let paths: Vec<Path> = (0..paths)
        .map(|number| Path::new([(format!("domain:{number}.example").as_str(), 20)]).expect("a path"))
        .collect();
    for path in &paths {
        slots.want(START, path, 10);
    }
    let mut turn = 0;
    bencher.counter(ItemsCount::new(TURNS)).bench_local(|| {
        for _ in 0..TURNS {
            turn += 1;
            let path = black_box(&paths[turn % paths.len()]);
            assert!(slots.open(START, path));
            slots.closed(START, path);
        }
    });
}
