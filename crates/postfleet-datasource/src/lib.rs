//! Queries to databases behind a cache: what is asked, where, and what is remembered of the answer.
//!
//! [`Datasource`] decides; it asks nobody. It promises: of several callers who miss the same answer at the same time one
//! asks and all get it; sources take turns and dead ones are passed over and tried again; failures are not remembered,
//! empty answers are; what is remembered is bounded in time and number. [`key`] and [`Rows::encode`] give the forms in
//! which members share answers.
//!
//! Pure: no clock, socket, file, task or randomness. `postfleet-node` owns the drivers and the threads that wait for
//! them.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod cache;
mod datasource;
mod key;
mod placeholders;
mod rotation;
mod rows;
mod statistics;
mod uri;

pub use cache::CacheOptions;
pub use datasource::{Datasource, Found, Ticket};
pub use key::{asked, is_answer, key};
pub use placeholders::{Params, PlaceholderError, Statement, Style};
pub use rotation::Rotation;
pub use rows::{DecodeError, Rows, Value};
pub use statistics::{HEADER, Statistics};
pub use uri::{Driver, Uri, UriError};
