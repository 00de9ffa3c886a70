//! Events over time: windows of counts by address or by text, for every member and for the sum of all.
//!
//! [`Series`] holds the running window and a number of past ones. It promises: windows begin at multiples of the
//! interval since the Unix epoch, so all members change them together; an event is booked by its own time, however late
//! it comes; a query over windows is the sum of the columns, window by window, and never below 0; a window change takes
//! a number of steps that does not grow with the number of keys of the other windows.
//!
//! Pure: no clock, socket, file, task or randomness. Time arrives as [`WallTime`](postfleet_types::WallTime).
//! `postfleet-replica` decides what is sent; `postfleet-node` owns the clock and the files whose text [`mod@file`] writes
//! and reads. docs/structures/series.md has the model.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod file;
mod journal;
mod monitor;
mod piece;
pub mod query;
mod series;
mod signed;
mod window;

pub use journal::Journal;
pub use monitor::{Monitor, MonitorError};
pub use piece::{OwnedKey, Place};
pub use series::{BookError, Booked, Key, Query, Range, Series, SeriesKind};
