//! Asks databases and files what a datasource wants to know.
//!
//! Impure: files, sockets and threads. Promises: an answer has at most as many rows as were asked for; an error says whether
//! the source could not be reached, so that another one may be asked, or whether the query is at fault; no error carries
//! a password of an address. What is remembered and whose turn it is decides `postfleet-datasource`; `postfleet-node`
//! brings both together.

mod charset;
mod csv;
#[cfg(feature = "odbc")]
mod odbc;
mod pgsql;
mod pool;
mod sqlite;

pub use charset::{Charset, CharsetError};
pub use pool::{Busy, Pool, PoolOptions};

use std::time::Duration;

use postfleet_datasource::{Driver, Params, PlaceholderError, Rows, Uri};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Query {
    /// The text, with `?` or `:name` for parameters where the driver takes them.
    pub text: String,
    /// What they stand for.
    pub params: Params,
    /// The most rows that are fetched; `None` for all.
    pub rows_max: Option<u32>,
    /// How bytes that are no UTF-8 are read.
    pub charset: Charset,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The source could not be reached; nothing was asked. Another one may be.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke before the answer was there. Whether the query was carried out is not known.
    #[error("{0}")]
    Broken(String),
    /// The source refuses the query, or the query does not fit the driver. Another source would say the same.
    #[error("{0}")]
    Refused(String),
}

impl From<PlaceholderError> for QueryError {
    fn from(error: PlaceholderError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// An open connection to a source. One query at a time. Using, and dropping, one may block: not in a task.
pub trait Connection: Send {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`QueryError`]. After anything but [`QueryError::Refused`] the connection is of no more use.
    fn query(&mut self, query: &Query) -> Result<Rows, QueryError>;

    /// Whether it may be used again, after so long without a query. Asked before each use after the first.
    fn is_alive(&mut self, _idle: Duration) -> bool {
        true
    }
}

/// Whether this build has the driver.
#[must_use]
pub const fn is_built(driver: Driver) -> bool {
    match driver {
        Driver::Sqlite | Driver::Csv | Driver::Pgsql | Driver::Null => true,
        Driver::Odbc => cfg!(feature = "odbc"),
    }
}

/// Connects to a source. Blocks.
///
/// # Errors
/// [`QueryError`]; [`QueryError::Refused`] when the address itself can never work.
pub fn open(uri: &Uri) -> Result<Box<dyn Connection>, QueryError> {
    match uri.driver {
        Driver::Sqlite => Ok(Box::new(sqlite::Sqlite::open(&uri.rest)?)),
        Driver::Csv => Ok(Box::new(csv::Csv)),
        Driver::Pgsql => Ok(Box::new(pgsql::Pgsql::open(&uri.rest)?)),
        Driver::Null => Ok(Box::new(Null)),
        #[cfg(feature = "odbc")]
        Driver::Odbc => Ok(Box::new(odbc::Odbc::open(&uri.rest)?)),
        #[cfg(not(feature = "odbc"))]
        Driver::Odbc => {
            let text =
                "this build has no ODBC driver; build it with the feature odbc, or use sqlite or pgsql";
            Err(QueryError::Refused(text.into()))
        }
    }
}

/// Whether a query only reads, so that it may be asked again when a connection broke over it. Judged by its first word:
/// a `SELECT` that calls a function with effects counts as reading.
#[must_use]
pub fn only_reads(query: &str) -> bool {
    let word: String = query.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    ["select", "values", "table"].iter().any(|reading| word.eq_ignore_ascii_case(reading))
        // A path: the csv driver.
        || query.starts_with('/')
}

/// Never finds anything.
struct Null;

impl Connection for Null {
    fn query(&mut self, _query: &Query) -> Result<Rows, QueryError> {
        Ok(Rows::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_may_be_asked_twice() {
        for query in ["select 1", "  SELECT\n1", "values (1)", "/etc/a.csv"] {
            assert!(only_reads(query), "{query}");
        }
        for query in [
            "insert into t values (1)",
            "with x as (delete from t returning *) select * from x",
            "selection",
            "",
        ] {
            assert!(!only_reads(query), "{query}");
        }
    }
}
