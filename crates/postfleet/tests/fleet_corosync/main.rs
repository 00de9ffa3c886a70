//! Fleets of real nodes on real Corosync rings: one network namespace, one daemon and one node for each host.
//!
//! `make test-corosync` plays it; ROUNDS says how many faults `rounds` does, and POSTFLEET_SOAK=1 gives every fault the
//! time it has in a manual instead of a short one. Arguments choose tests by parts of their names.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking, and tells what it does on standard error"
)]

mod accuracy;
mod fleet;
mod mail;
mod measure;
mod oracle;
mod quorum;
mod rounds;
mod single;
#[path = "../support/mod.rs"]
mod support;

use postfleet_testbed::enclosure;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// Gets the beginning of the namespaces' names.
type Test = fn(&str);

const TESTS: [(&str, Test); 6] = [
    ("bus_case_08_engine_comes_and_goes", single::engine_comes_and_goes),
    ("bus_case_20_large_rings", single::large_rings),
    ("bus_s12_7_votes_decide_who_has_the_limits", quorum::votes_decide),
    ("rounds_of_faults", rounds::play),
    ("bus_case_09_times_and_sizes", measure::play),
    ("rates_of_a_fleet", accuracy::play),
];

fn main() -> ExitCode {
    if let Ok(bus) = std::env::var(measure::OBSERVE) {
        measure::observe(&bus);
    }
    if std::env::var_os("POSTFLEET_RINGS").is_none() {
        eprintln!("fleet_corosync: LEFT OUT of the ordinary run; `make test-corosync` plays it");
        return ExitCode::SUCCESS;
    }
    if let Some(obstacle) = enclosure::obstacle() {
        eprintln!("fleet_corosync: LEFT OUT: {obstacle}. FLEETS ON COROSYNC HAVE NOT BEEN TESTED.");
        return ExitCode::SUCCESS;
    }
    let prefix = match enclosure::enter() {
        Ok(prefix) => prefix,
        Err(code) => return code,
    };
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut failed = false;
    for (name, body) in TESTS {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| body(&prefix))).is_ok();
        failed |= !passed;
        eprintln!("{name} ... {} ({:.1?})", if passed { "ok" } else { "FAILED" }, begun.elapsed());
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
