//! Shared counts: every member owns a column of each object, holds a copy of the others' columns, and reads their
//! sum.
//!
//! What this crate promises: after all members have been quiet for `max_delay` and a transit, every member's
//! global view is the same and is the sum of what the members really have open; nothing is counted twice through
//! any join, departure, partition or merge; a departed member's column leaves every global view at the same point
//! of the order; bytes from a peer never panic and never corrupt: at worst a column is dropped and asked for anew.
//! It rests on the promises of the bus (agreed order, FIFO without gaps, view agreement, own messages come back).
//!
//! Pure: no clock, socket, file, task or randomness. Time and events are arguments; messages, deadlines and log
//! lines are polled. `postfleet-node` owns the side effects. See [`Replica`] for the duties of the driver,
//! docs/structures/columns.md for the model and docs/formats/replication.md for the bytes.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod cache;
mod cache_reads;
mod cache_wire;
mod configuring;
mod counting;
mod counts;
mod departed;
mod entries;
mod fetching;
mod frames;
mod limits;
mod members;
mod metrics;
mod object;
mod ordered;
mod pacing;
mod parked;
mod peer;
mod reads;
mod receiving;
mod reconfigure;
mod replica;
mod sending;
mod serving;
mod session;
mod shared;
mod tables;
mod why;
mod wire;

pub use cache::{PAIR_BYTES_MAX, PairTooLong, SharedCache};
pub use counting::{Mode, Reading};
pub use fetching::{FetchEnd, FetchId, Transfer};
pub use frames::{FRAME_BYTES_MAX, FrameLengthError, frame_length};
pub use metrics::{CountError, Metrics, SeriesId, SeriesRow};
pub use object::{MetricWord, ObjectKind, ObjectSpec, Structure};
pub use ordered::TableOptions;
pub use postfleet_cache::GaugeLimits;
pub use postfleet_series::{Key, Monitor, Place, Query, Range, SeriesKind};
pub use postfleet_types::{Notice, Severity};
pub use reads::{ColumnPhase, ColumnStatus, ListRow, ObjectView, Of, ReadError, Rows, Show};
pub use replica::{Counted, Counters, JOIN_PATIENCE, Outbound, Outgoing, Replica, ReplicaOptions};
pub use serving::{Served, Serving, refusal_frame, wait_frame};
pub use tables::ForgetError;
pub use why::{Why, WhyDeparted, WhyGranted, WhyPart};
pub use wire::{
    KIND_ANSWER, KIND_ASK, KIND_BATCH, KIND_CHUNK, KIND_HERITAGE, KIND_MARKER, KIND_TABLES, MESSAGE_VERSION,
    MessageError, decode_any,
};
