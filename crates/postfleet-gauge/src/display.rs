//! How a row is laid out.

use alloc::string::{String, ToString};
use core::fmt;

/// Shows a row as `cluster shared show` does: the key in 60 columns, a colon, the count in 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeRow<'a> {
    /// The key.
    pub key: &'a str,
    /// Its count.
    pub count: u64,
}

impl fmt::Display for GaugeRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>60}: {:12}", self.key, self.count)
    }
}

/// The row as `cluster shared show` prints it. Longer keys and counts push the row right.
#[must_use]
pub fn gauge_row(key: &str, count: u64) -> String {
    GaugeRow { key, count }.to_string()
}
