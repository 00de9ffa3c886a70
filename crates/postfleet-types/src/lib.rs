//! Ids, units, time and wire primitives that every other crate shares.
//!
//! Pure: no clock, socket, file, task or randomness of its own. Time is handed in as [`Monotonic`] or
//! [`WallTime`], randomness as a [`Random`] that the caller seeded.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod address;
pub mod calendar;
pub mod column;
pub mod names;
pub mod notice;
pub mod random;
pub mod time;
pub mod wire;

pub use address::{Prefix, PrefixError, normalised};
pub use calendar::CalendarTime;
pub use column::{Change, ColumnId, View};
pub use names::{Epoch, GroupName, NameError, NodeName, NodeType, PrivateName, SubclusterName, ViewId};
pub use notice::{Notice, Severity};
pub use random::Random;
pub use time::{Monotonic, WallTime};
pub use wire::{Reader, WireError, Writer};
