//! Counts by text key: the structure behind `outbound_domains` and `outbound_binding_domains`.
//!
//! [`GaugeColumns`] holds every column of one object and their sum. It promises: the global view is at every
//! moment the sum of the columns; a key whose counts are all 0 takes no memory; rows ascend by the bytes of the
//! key. [`keys`] builds the keys.
//!
//! Pure: no clock, socket, file, task or randomness. `postfleet-replica` decides when columns change and what is
//! sent; `postfleet-node` owns everything else.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod cells;
mod columns;
mod display;
pub mod keys;

pub use columns::GaugeColumns;
pub use display::{GaugeRow, gauge_row};
