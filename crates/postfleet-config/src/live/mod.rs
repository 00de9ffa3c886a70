//! The running configuration: what is in effect, how it changes, and what a change touches.
//!
//! [`Running`] is the one current configuration of a process. Everything that changes it makes a [`Proposal`] first;
//! the process prepares what the proposal's [`Change`] says has changed, and then calls [`Running::activate`], or
//! drops the proposal and nothing has happened. Every activation makes the next [`Generation`].
//!
//! ```text
//!  Config::load ──► Running::reload ──┐
//!                                     ├──► Proposal ──► the process prepares ──► Running::activate
//!  console commands ──────────────────┘
//! ```

mod change;
mod effect;
mod running;

pub use change::{Area, Change, Difference, RestartOnly};
pub use running::{Conflict, Generation, Proposal, Running};
