//! `first_failure FROM COUNT`: the first of so many seeds that violates an invariant, and which. The exit status is 0 when one
//! did. `scripts/mutations` asks it whether deliberate faults are seen.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use postfleet_sim::{Log, RunOptions, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [from, count] = numbers[..] else {
        println!("usage: first_failure FROM COUNT");
        return ExitCode::from(2);
    };
    for seed in from..from.saturating_add(count) {
        if let Some(violation) = run(seed, &RunOptions::default(), Log::none()).violation {
            println!("seed {seed}: {}", violation.invariant);
            return ExitCode::SUCCESS;
        }
    }
    println!("none of {count} seeds");
    ExitCode::FAILURE
}
