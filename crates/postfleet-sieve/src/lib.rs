//! The Sieve of policy scripts: from text to a decision.
//!
//! [`Script::compile`] checks a script for its phase: names, arguments, where a function is permitted. [`Execution`] runs
//! it against a [`Host`], stops with [`Step::Wait`] where an answer takes time, and ends with an [`Outcome`]. It promises:
//! whatever the text and the message, it ends within [`Limits`], gives an error instead of a panic, and never blocks.
//!
//! Where the language leaves room: variables are shared with included scripts, and the second argument of `ec_include`
//! is their `$args`; a hash is one thing however many variables hold it; when the condition of an `if` fails and errors
//! do not end the script, the whole `if` is skipped; a query that fails gives an empty result and the connection key
//! `datasource_error`, and is logged, but is no runtime error; `%{name:…}` with an unknown name does not compile.
//!
//! Pure: no clock, socket, file, task or randomness. `postfleet-node` is the host.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod address;
mod call;
mod compare;
mod compile;
mod condition;
mod error;
mod functions;
mod lexer;
mod library;
mod needs;
mod number;
mod parser;
mod run;
mod template;
mod value;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg(test)]
mod reference;
#[cfg(any(test, feature = "fuzzing"))]
mod running;
#[cfg(test)]
mod tests;

pub use compile::Script;
pub use error::CompileError;
pub use lexer::SCRIPT_BYTES_MAX;
pub use library::Library;
pub use parser::DEPTH_MAX;
pub use postfleet_policy::{
    Answer, Change, Class, Context, Disposition, Event, Events, Fault, Host, Kind, Outcome, Path, Phase,
    Place, Reply, Request, Scope, SeriesRead, SeriesWrite, Spread, Windows,
};
pub use run::{ErrorMode, Execution, Limits, Step};
