//! The bus for the nodes of one machine: one process hosts the hub, the others attach to it over a Unix socket,
//! and when the host dies or stops another takes over without a message lost, repeated or out of order.
//!
//! The crate promises what [`postfleet_bus::carrier::Carrier`] demands, on one machine. It is impure, but only in
//! [`driver`]: sockets, locks, threads and the clock. Everything that decides is pure and lies beside it, so a
//! simulation can run it: [`attachment`] (what a member keeps and delivers), [`hub`] (the order, and the
//! take-over), [`seek`] (who becomes the hub), [`frame`](mod@frame) (what goes over the socket), [`log`].
//!
//! For operators: docs/local-bus.md. Frames and take-over step by step: docs/formats/local-bus.md.

pub mod attachment;
pub mod driver;
pub mod frame;
pub mod hub;
pub mod log;
pub mod member;
pub mod seek;

pub use driver::{Class, LocalCarrier, LocalOptions, OpenError, Step};
