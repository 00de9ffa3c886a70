//! Rates and concurrency limits, of one node and of the whole fleet.
//!
//! What this crate promises: units of a throttle `X/Y` that are used through [`SharedThrottles::take`] and
//! [`SharedThrottles::request`] are at most X in any Y seconds, over all members, however their clocks are set, through
//! crashes, hangs, joins and partitions (docs/structures/throttle.md says what each partition policy keeps); whoever
//! waits and owns fewest is served first; at the same point of the order all members hold the same table; a decision
//! reads memory and waits for nobody; bytes from a peer never panic.
//!
//! - [`NamedThrottles`], [`Throttle`]: throttles of one node.
//! - [`SharedThrottles`]: throttles of the fleet.
//! - [`Slots`], [`decide`]: connection limits of the fleet, and the question whether a connection may start.
//!
//! Pure: no clock, socket, file, task or randomness. Time and deliveries are arguments; messages, grants, deadlines and
//! log lines are polled. `postfleet-replica` carries the messages, `postfleet-node` owns the side effects.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod applying;
mod cooling;
mod deal;
mod entry;
mod fleet;
mod fuzz;
mod limits;
mod lines;
mod marks;
mod member;
mod named;
mod pool;
mod quorum;
mod rate;
mod record;
mod reference;
mod rules;
mod shadow;
mod shared;
mod slot_locals;
mod slot_pool;
mod slot_why;
mod slots;
mod slots_applying;
mod slots_moving;
mod verdicts;
mod why;
mod wire;
mod wishes;

pub use entry::ThrottleCounters;
pub use fleet::{Configuration, Departure, EXCHANGE_PATIENCE, Present};
pub use fuzz::fuzz;
pub use limits::{Basis, Decision, Limit, LimitKey, Limits, Open, Refusal, Through, To, decide};
pub use lines::Ticket;
pub use named::{NamedThrottles, UnknownThrottle};
pub use rate::{Epsilon, EpsilonError, Rate, RateError, SECONDS_MAX};
pub use record::Throttle;
pub use reference::Partition;
pub use shadow::{Shadowed, Shadows};
pub use shared::{Granted, SharedThrottles, TableCounters, ThrottleError, ThrottleId, ThrottleOptions};
pub use slot_why::{SlotRow, SlotWhy};
pub use slots::{Path, PathError, SlotOptions, Slots};
pub use why::{ThrottleRow, Why, WhyGone, WhyGrant, WhyMember};
pub use wire::{MESSAGE_VERSION, MessageError, NAME_BYTES_MAX, decode_any};
