//! The Lua of policy scripts: from text to a decision.
//!
//! [`Program::load`] compiles scripts, runs their text once and learns which callouts they register. [`Execution`] runs a
//! callout against a [`LuaHost`](postfleet_policy::LuaHost), stops with [`Step::Wait`] where an answer takes time, and
//! ends with an [`Ending`]. It promises: whatever the script, it ends within [`Limits`], gives an error instead of a
//! panic, blocks no thread but for its own instructions, and reaches nothing but what the host offers: no files, no
//! processes, no other libraries.
//!
//! The dialect is Lua 5.1 on LuaJIT's interpreter; its compiler is off, because compiled code cannot be interrupted. A
//! callout is a coroutine, and everything it asks of the host is a yield of that coroutine: nothing of the host is ever
//! held by the interpreter.
//!
//! Clocks, files, tasks and the objects themselves belong to `postfleet-node`; here is one clock, which bounds how long a
//! script computes.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "of the interpreter's values, and of the functions that a file serves, all but the named are one case"
)]

mod arguments;
mod call;
mod callout;
mod date;
mod error;
mod functions;
mod limits;
mod needs;
mod pattern;
mod program;
mod run;
mod sandbox;
mod series;
mod timers;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg(test)]
mod tests;

pub use callout::Callout;
pub use error::LoadError;
pub use functions::{Access, FUNCTIONS, Function, Use};
pub use limits::{Limits, OnError};
pub use needs::needs;
pub use program::{Library, NoLibrary, Program, Source};
pub use run::{Ending, Execution, Step};
