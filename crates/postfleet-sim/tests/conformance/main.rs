//! The conformance suite of the bus on the simulated engine. Nothing is left out; times are virtual.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may end here, and is told how much to do"
)]

mod hidden;
mod partition;
mod rig;

use postfleet_sim::engine::Timing;
use rig::SimRig;

fn rig(seed: u64) -> SimRig {
    SimRig::new(seed, if seed.is_multiple_of(4) { Timing::PROMPT } else { Timing::RACK })
}

postfleet_bus::conformance_tests!(rig);
