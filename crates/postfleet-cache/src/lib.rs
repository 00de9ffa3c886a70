//! Key/value pairs and counters that all members share and that forget by themselves.
//!
//! [`Cache`] holds the pairs of a `cache` object. It promises: members that were delivered the same writes hold the same
//! pairs, whatever they read and however their clocks run; a member reads its own writes at once; two sides of a
//! partition that merge agree on every pair. [`GaugeCache`] holds counters by text with a column for each member.
//!
//! Pure: no clock, socket, file, task or randomness. `postfleet-replica` carries writes through the order;
//! docs/structures/cache.md has the model.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod gauge;
mod own;
mod pairs;
mod ttl;

pub use gauge::{GaugeCache, GaugeLimits};
pub use pairs::{Cache, CacheLimits, Delivered, Row, Write, Writer};
pub use ttl::{Ttl, TtlError};
