//! The group-communication bus: what a carrier must supply ([`carrier`]), the one membership layer above every
//! carrier ([`membership`], [`connection`]), the conformance suite that every backend runs (feature `suite`), and
//! the promises as functions over what members record (feature `record`).
//!
//! Pure: no clock, socket, file, task or randomness of its own. `postfleet-node` drives it; the carriers
//! `postfleet-bus-local` and (later) `postfleet-bus-corosync` own the sockets.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod carrier;
pub mod connection;
pub mod envelope;
pub mod event;
pub mod membership;
pub mod notice;
#[cfg(any(test, feature = "suite"))]
pub mod scripted;
mod smooth;
pub mod solo;
#[cfg(any(test, feature = "record"))]
pub mod suite;

pub use carrier::{Carrier, CarrierEvent, CarrierLost, RawId, RawReason, Submit};
pub use connection::Connection;
pub use envelope::Load;
pub use event::{
    BusEvent, BusStatus, Destination, GroupCause, LeaveReason, LostReason, Member, MemberInfo, SendError,
    SendId, SendOptions, Service,
};
pub use membership::{Counters, MemberHealth, Membership, Options, Reconnect};
pub use notice::{Notice, Severity};
pub use smooth::Smooth;
pub use solo::Solo;
