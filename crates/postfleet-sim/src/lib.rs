//! A whole fleet in one process, from one seed: the evidence that it keeps its promises.
//!
//! [`Plan`] decides what a run will do: how many hosts, how they are set, which faults happen when. [`run()`] carries it
//! out on the simulated [`engine`], with the membership layer and the replica that nodes run, checks the
//! [`invariant`]s meanwhile, repairs everything and demands that all comes right within a bound. [`log`] is what
//! happened, line by line, the same bytes for the same run; [`replay`] reads it back.
//!
//! Pure: no clock, socket, file, task or randomness of its own; the seed decides everything. `postfleet sim` is the
//! command around it. What is simulated and what is not: docs/simulation.md.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod clock;
pub mod engine;
pub mod fault;
pub mod invariant;
mod limits;
mod link;
pub mod log;
mod plan;
mod process;
pub mod replay;
mod run;
mod shrink;
mod streams;
mod truth;
mod world;

pub use fault::{Fault, Kind, Kinds};
pub use invariant::{Invariant, Violation};
pub use log::Log;
pub use plan::{Plan, RunOptions, Settings, UnknownWork, Work};
pub use run::{Figures, Outcome, run, run_plan};
pub use shrink::{Shrunken, shrink};
