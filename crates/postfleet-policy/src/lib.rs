//! What the languages of policy scripts share: when they run, what they may ask of the node, and how a run ends.
//!
//! A language has runs that go on step by step against a [`Host`], stop with a [`Request`] where an answer takes time, go
//! on with its [`Answer`], and end with something that a session can do. Everything that is asked is one small operation
//! with checked arguments, so that every language sees the same objects with the same errors.
//!
//! Pure: no clock, socket, file, task or randomness. `postfleet-node` is the host.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod binding;
mod fault;
mod host;
mod lifetime;
mod lua;
mod message;
#[cfg(feature = "model")]
pub mod model;
mod need;
mod outcome;
mod phase;
mod phases;
mod spf;

pub use binding::{Assign, Binding};
pub use fault::Fault;
pub use host::{
    Answer, Change, Class, Context, Event, Events, Host, Kind, Path, Place, Request, Scope, SeriesRead,
    SeriesWrite, Spread, Windows,
};
pub use lifetime::lifetime;
pub use lua::{
    Alarm, Edit, Item, Level, LuaHost, NamedSeries, Nested, NestedStep, SeriesKey, SeriesKind, TimerChange,
};
pub use message::Message;
pub use need::{Need, Wanted};
pub use outcome::{Disposition, Outcome, Reply};
pub use phase::Phase;
pub use phases::Phases;
pub use spf::spf;
