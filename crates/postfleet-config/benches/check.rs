//! What a check and a reload take, by the number of stanzas. Behind × stands the time as a multiple of that for half as much:
//! 2 is in proportion.
//!
//! Built as a test (`cargo test --benches`) it runs once with few stanzas.
#![expect(clippy::print_stdout, clippy::disallowed_types, reason = "a benchmark measures time and prints it")]

mod sample;

use postfleet_config::live::Running;
use postfleet_config::{Config, LoadRequest, MemoryFiles};
use std::hint::black_box;
use std::time::{Duration, Instant};

const MAIN: &str = "/etc/bench/postfleet.conf";

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let (sizes, rounds): (&[usize], usize) =
        if measured { (&[2_500, 5_000, 10_000, 20_000], 9) } else { (&[250], 1) };
    println!("stanzas    check           reload");
    let mut before: Option<(Duration, Duration)> = None;
    for size in sizes {
        let files = MemoryFiles::new().with(MAIN, sample::mixed(*size));
        let changed = MemoryFiles::new().with(MAIN, format!("{}Idle_Timeout = 8\n", sample::mixed(*size)));
        let (config, next) = (load(&files), load(&changed));
        let running = Running::start(config);
        let check = median(rounds, || {
            black_box(load(&files));
        });
        let reload = median(rounds, || {
            let mut running = running.clone();
            let proposal = running.reload(next.clone());
            assert!(running.activate(proposal).is_ok(), "nobody else changes it");
        });
        let times = |now: Duration, before: Option<Duration>| {
            let ratio = before.map_or_else(String::new, |before| {
                format!("×{:.2}", now.as_secs_f64() / before.as_secs_f64())
            });
            format!("{:>7.1} ms {ratio:>6}", now.as_secs_f64() * 1e3)
        };
        println!(
            "{size:>7} {} {}",
            times(check, before.map(|(check, _)| check)),
            times(reload, before.map(|(_, reload)| reload))
        );
        before = Some((check, reload));
    }
}

fn load(files: &MemoryFiles) -> Config {
    let request = LoadRequest { main: Some(MAIN.into()), ..LoadRequest::default() };
    let outcome = Config::load(files, &request);
    assert_eq!(outcome.report(), "", "the sample is right");
    outcome.config.expect("nothing was found, so there is a configuration")
}

fn median(rounds: usize, mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let started = Instant::now();
            act();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}
