//! The group-communication bus: what a carrier must supply ([`carrier`]), the one membership layer above every
//! carrier, and the conformance suite that every backend runs.
//!
//! Pure: no clock, socket, file, task or randomness of its own. `postfleet-node` drives it; the carriers
//! `postfleet-bus-local` and (later) `postfleet-bus-corosync` own the sockets.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod carrier;
pub mod connection;
pub mod event;
pub mod membership;
