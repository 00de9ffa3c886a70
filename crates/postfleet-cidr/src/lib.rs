//! Counts by address, summed over any prefix: the structure behind `inbound_cidr` and `outbound_cidr`.
//!
//! [`CidrColumns`] holds every column of one object and their sum. It promises: the global view is at every
//! moment the sum of the columns; a change and the sum of any prefix in any view take a number of steps that
//! grows with the logarithm of the number of addresses, without pauses for rehashing or copying; what is
//! displayed depends on the history of each view alone.
//!
//! Pure: no clock, socket, file, task or randomness. Time arrives as [`Monotonic`](postfleet_types::Monotonic).
//! `postfleet-replica` decides when columns change and what is sent; `postfleet-node` owns the clock that calls
//! [`CidrColumns::prune`].
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod bits;
mod blocks;
mod columns;
mod display;
mod heads;
mod idle;
mod plane;
mod tree;
mod views;

pub use columns::{CidrColumns, IDLE_LEAVES_MAX, IDLE_SECONDS, PRUNE_INTERVAL_SECONDS};
pub use display::{CountRow, Row, RowRange, SharedRow, count_row, shared_row};
