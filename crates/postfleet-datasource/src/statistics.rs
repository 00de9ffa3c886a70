//! What became of look-ups, as `ds_core stats` prints it.

use core::fmt;

/// The two lines above the caches, and the rule below them.
pub const HEADER: &str = "\
cache name                      lookups %                  deletions %
                       elts  hit miss pend  total  inserts man ttl lru  total
---------------------- ----- -------------------- -------- ------------------";

/// Figures of one cache since the node's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Answers held.
    pub elements: u64,
    /// Look-ups that found an answer.
    pub hits: u64,
    /// Look-ups that had to ask.
    pub misses: u64,
    /// Look-ups that waited for somebody else's question.
    pub pending: u64,
    /// Answers stored.
    pub inserts: u64,
    /// Answers dropped by hand.
    pub manual: u64,
    /// Answers that expired.
    pub expired: u64,
    /// Answers dropped because there were too many.
    pub evicted: u64,
}

impl Statistics {
    /// The two lines of a cache: its name, then its figures.
    #[must_use]
    pub fn row(&self, name: &str) -> impl fmt::Display {
        let name: alloc::string::String = name.chars().take(10).collect();
        let this = *self;
        let lookups = this.hits + this.misses + this.pending;
        let deletions = this.manual + this.expired + this.evicted;
        fmt::from_fn(move |f| {
            writeln!(f, "{name}")?;
            write!(
                f,
                "{:22} {:>5} {:>3} {:>3} {:>3} {:>8} {:>8} {:>3} {:>3} {:>3} {:>6}",
                "",
                this.elements,
                percent(this.hits, lookups),
                percent(this.misses, lookups),
                percent(this.pending, lookups),
                lookups,
                this.inserts,
                percent(this.manual, deletions),
                percent(this.expired, deletions),
                percent(this.evicted, deletions),
                deletions,
            )
        })
    }
}

/// Whole per cent, to the nearest.
fn percent(part: u64, whole: u64) -> u64 {
    (part.saturating_mul(100) + whole / 2).checked_div(whole).unwrap_or(0)
}
