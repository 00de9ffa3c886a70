//! The bus for several machines: closed process groups of Corosync.
//!
//! The crate promises what [`postfleet_bus::carrier::Carrier`] demands, between hosts of one Corosync ring. libcpg,
//! libquorum and libcmap are loaded at run time, so one program runs with and without Corosync, and says which
//! Debian package is missing when it is.
//!
//! It is impure, but only in `driver` (threads, clock, waiting) and `library` (the C calls, the only `unsafe` of
//! the project). What decides is pure and lies beside them: [`stream`] (what the library tells becomes
//! events), [`history`] (what libcpg hides of how rings are formed), [`outgoing`] (what may be sent when), [`bound`] (how long a silent host stays a member), [`status`]
//! (what return codes mean), [`conf`] (the file that describes a ring).
//!
//! For operators: docs/corosync.md.

pub mod bound;
pub mod conf;
mod driver;
pub mod history;
mod library;
pub mod outgoing;
pub mod status;
pub mod stream;

pub use driver::{
    Class, CorosyncCarrier, CorosyncOptions, OpenError, RING_HOSTS_LIMIT, RING_HOSTS_SUPPORTED,
};
