//! Test equipment that several crates share; no program is built with it.
//!
//! [`member`] and [`processes`]: members of the bus's conformance suite as processes of their own, and the half of a
//! rig that starts, stops, kills and hears them. [`ring`]: Corosync rings on one machine, a network namespace for each
//! host, with cuts and stopped daemons. [`enclosure`]: the namespace in which a test drives such a ring, and the
//! cleaning up after it.
//!
//! Everything here fails by panicking, like the tests it serves.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "test equipment fails by panicking"
)]

pub mod enclosure;
pub mod member;
pub mod processes;
pub mod ring;
