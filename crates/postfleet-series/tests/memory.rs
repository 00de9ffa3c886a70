//! A million addresses in six past windows and the running one, in three columns: bytes, and how long a window change
//! takes. Small in a debug build.
#![allow(clippy::disallowed_types, clippy::unwrap_used, reason = "a measurement needs a clock")]

use std::alloc::System;
use std::time::{Duration, Instant};

use postfleet_series::{Key, Series, SeriesKind};
use postfleet_types::{Random, WallTime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn bytes_an_address_and_the_longest_step_of_a_window_change() {
    let count: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let region = Region::new(ALLOCATOR);
    let at = |window: u64| WallTime::from_unix_seconds(300_000 + 300 * window);
    let mut series = Series::new(SeriesKind::Clients, "300,6".parse().unwrap(), at(0));
    let columns = [(); 3].map(|()| series.insert_column());
    for window in 0..7 {
        series.advance(at(window));
        let mut random = Random::seeded(5);
        for _ in 0..count {
            let address = u32::try_from(random.next_u64() >> 32).unwrap_or(0);
            for column in columns {
                series.book(column, Key::Address(address.to_be_bytes().into()), 1, at(window)).unwrap();
            }
        }
    }
    let change = region.change();
    let held =
        change.bytes_allocated + change.bytes_reallocated.max(0).unsigned_abs() - change.bytes_deallocated;
    let computed = series.memory_bytes();
    assert!(held.abs_diff(computed) < held / 20, "{held} bytes are held, memory_bytes says {computed}");
    let one = held as f64 / count as f64;
    println!("{count} addresses in 7 windows and 3 columns: {one:.0} bytes an address");
    // 7 windows at no more than 100 bytes for the sum and three columns.
    assert!(one < 700.0);

    let mut longest = Duration::ZERO;
    let mut timed = |step: &mut dyn FnMut() -> bool| {
        let begin = Instant::now();
        let done = step();
        longest = longest.max(begin.elapsed());
        done
    };
    timed(&mut || {
        series.advance(at(7));
        true
    });
    while !timed(&mut || series.dismantle(1000)) {}
    println!("longest step of a window change: {longest:?}");
}
