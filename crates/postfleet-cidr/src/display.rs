//! Which rows a view shows, and how a row is laid out.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

use postfleet_types::Prefix;

use crate::bits::Bits;

/// The prefix lengths to show, for each family. A family without a range, or with an empty one, shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// Lengths of IPv4 prefixes; what is beyond 32 counts as 32.
    pub v4: Option<RangeInclusive<u8>>,
    /// Lengths of IPv6 prefixes; what is beyond 128 counts as 128.
    pub v6: Option<RangeInclusive<u8>>,
}

impl RowRange {
    /// What `cluster shared show` displays: IPv4 from /8, IPv6 from /32 (the allocation of a provider).
    pub const SHARED: Self = Self { v4: Some(8..=32), v6: Some(32..=128) };

    /// What the console's `count` displays for one length (`low == high`) or a range of lengths: both families,
    /// IPv4 cut to /32; a single length beyond 32 shows IPv6 only.
    #[must_use]
    pub fn of_lengths(low: u8, high: u8) -> Self {
        let v4 = if low == high && low > 32 { None } else { Some(low.min(32)..=high.min(32)) };
        Self { v4, v6: Some(low.min(128)..=high.min(128)) }
    }
}

/// A row of a display: a block and the sum of the counts in it, which is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The block.
    pub prefix: Prefix,
    /// The sum of the counts in it.
    pub count: u64,
}

/// Shows a row as `cluster shared show` does: the count in 7 columns, the prefix from column 33.
#[derive(Clone, Copy, Debug)]
pub struct SharedRow<'a>(pub &'a Row);

impl fmt::Display for SharedRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7}{:25}{}", self.0.count, "", self.0.prefix)
    }
}

/// Shows a row as `count` does: the count in 7 columns, then one blank more than the prefix is long.
#[derive(Clone, Copy, Debug)]
pub struct CountRow<'a>(pub &'a Row);

impl fmt::Display for CountRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blanks = usize::from(self.0.prefix.length()) + 1;
        write!(f, "{:7}{:blanks$}{}", self.0.count, "", self.0.prefix)
    }
}

/// The row as `cluster shared show` prints it.
#[must_use]
pub fn shared_row(row: &Row) -> String {
    SharedRow(row).to_string()
}

/// The row as `count` prints it.
#[must_use]
pub fn count_row(row: &Row) -> String {
    CountRow(row).to_string()
}

/// A node of the displayed trie that is an ancestor of the leaf last seen.
struct Open {
    length: u8,
    count: u64,
}

/// Appends the rows of one family. `leaves` are all leaves of the tree in ascending order, those at 0 included:
/// they hold the branches open.
///
/// A branch exists where two neighbouring leaves first differ. The stack holds the visible ancestors of the last
/// leaf; the next leaf closes all that are longer than what both share, and their count passes to the ancestor
/// that stays.
pub(crate) fn append_rows<K: Bits>(
    rows: &mut Vec<Row>,
    range: &RangeInclusive<u8>,
    leaves: impl Iterator<Item = (K, u64)>,
) {
    let (low, high) = (*range.start(), (*range.end()).min(K::BITS));
    if low > high {
        return;
    }
    let mut found: Vec<(K, u8, u64)> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut last: Option<K> = None;
    // Closes everything longer than `shared`, the length that the leaf `last` has in common with the next.
    let close = |open: &mut Vec<Open>, found: &mut Vec<(K, u8, u64)>, last: K, shared: Option<u8>| {
        let mut carried = 0;
        while let Some(node) = open.pop_if(|node| shared.is_none_or(|shared| node.length > shared)) {
            carried = node.count.saturating_add(carried);
            if carried > 0 {
                found.push((last, node.length, carried));
            }
        }
        if let Some(shared) = shared {
            if (low..=high).contains(&shared) && open.last().is_none_or(|node| node.length != shared) {
                open.push(Open { length: shared, count: carried });
            } else if let Some(node) = open.last_mut() {
                node.count = node.count.saturating_add(carried);
            }
        }
    };
    for (leaf, count) in leaves {
        if let Some(last) = last {
            close(&mut open, &mut found, last, Some(last.common(leaf)));
        }
        for length in [low, high] {
            if open.last().is_none_or(|node| node.length < length) {
                open.push(Open { length, count: 0 });
            }
        }
        if let Some(node) = open.last_mut() {
            node.count = node.count.saturating_add(count);
        }
        last = Some(leaf);
    }
    if let Some(last) = last {
        close(&mut open, &mut found, last, None);
    }
    let from = rows.len();
    rows.extend(found.into_iter().filter_map(|(leaf, length, count)| {
        Prefix::containing(leaf.address(), length).ok().map(|prefix| Row { prefix, count })
    }));
    if let Some(added) = rows.get_mut(from..) {
        added.sort_unstable();
    }
}
