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
mod command;
mod complete;
mod display;
mod edit;
mod effect;
mod fuzz;
mod place;
mod refusal;
mod reply;
mod running;
mod session;
mod shown;
mod writeback;

pub use change::{Area, Change, Difference, RestartOnly};
pub use command::{Command, Errand, redacted};
pub use complete::completions;
pub use fuzz::fuzz_entry;
pub use refusal::Refusal;
pub use reply::{Data, EditData, OptionData, OtherData, PlaceData, Reply, ScopeData};
pub use running::{Conflict, Generation, Proposal, Running};
pub use session::{Activation, Session, Step};
pub use writeback::{Replacement, WriteBack};
