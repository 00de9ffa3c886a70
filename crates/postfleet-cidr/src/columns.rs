//! All columns of one object.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem::size_of;
use core::net::IpAddr;
use core::time::Duration;

use postfleet_types::{Change, ColumnId, Monotonic, Prefix, View, normalised};

use crate::display::{Bits, Row, RowRange, append_rows};

/// How long a leaf stays in a tree after its count fell to 0: while it does, the branches that it caused are
/// still displayed above what is open below them. In seconds.
pub const IDLE_SECONDS: u64 = 300;

/// The longest time between two checks for leaves that have been at 0 for [`IDLE_SECONDS`]. In seconds.
pub const PRUNE_INTERVAL_SECONDS: u64 = 30;

/// The most leaves at 0 that one tree holds; beyond it the one longest at 0 goes first.
pub const IDLE_LEAVES_MAX: usize = 65_536;

#[derive(Clone, Debug, Default)]
struct Tree {
    leaf: BTreeMap<IpAddr, (u64, u64)>,
    idle: BTreeMap<u64, (IpAddr, Monotonic)>,
    next: u64,
    total: u64,
}

impl Tree {
    fn set(&mut self, address: IpAddr, count: u64, now: Monotonic) {
        let before = self.leaf.get(&address).copied();
        if before.is_none() && count == 0 {
            return;
        }
        if let Some((0, stamp)) = before {
            if count == 0 {
                return;
            }
            self.idle.remove(&stamp);
        }
        self.total = self.total.saturating_sub(before.map_or(0, |b| b.0)).saturating_add(count);
        self.leaf.insert(address, (count, self.next));
        if count == 0 {
            self.idle.insert(self.next, (address, now));
            self.next += 1;
            if self.idle.len() > IDLE_LEAVES_MAX {
                self.pop();
            }
        }
    }

    fn pop(&mut self) {
        if let Some((_, (address, _))) = self.idle.pop_first() {
            self.leaf.remove(&address);
        }
    }

    fn prune(&mut self, now: Monotonic) -> usize {
        let before = self.leaf.len();
        while let Some((_, (_, since))) = self.idle.first_key_value()
            && now.since(*since) >= Duration::from_secs(IDLE_SECONDS)
        {
            self.pop();
        }
        before - self.leaf.len()
    }
}

/// All columns of one object that counts by address, and their sum.
///
/// Addresses are normalised inside: an IPv4-mapped IPv6 address is counted as the IPv4 address. Each column and
/// the global view keep leaves that fell to 0 for a while, by their own clocks ([`IDLE_SECONDS`]).
#[derive(Clone, Debug, Default)]
pub struct CidrColumns {
    global: Tree,
    columns: BTreeMap<ColumnId, Tree>,
    next: u32,
    checked: Monotonic,
}

impl CidrColumns {
    /// An object without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an empty column. Its id is never used again in this object.
    pub fn insert_column(&mut self) -> ColumnId {
        let id = ColumnId(self.next);
        self.next += 1;
        self.columns.insert(id, Tree::default());
        id
    }

    /// The columns held, in the order in which they were added.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> + '_ {
        self.columns.keys().copied()
    }

    /// Drops a column; its counts leave the global view. `false` when there is no such column.
    pub fn remove_column(&mut self, column: ColumnId, now: Monotonic) -> bool {
        self.clear_column(column, now) && self.columns.remove(&column).is_some()
    }

    /// Empties a column as [`CidrColumns::replace_column`] with nothing does.
    pub fn clear_column(&mut self, column: ColumnId, now: Monotonic) -> bool {
        self.replace_column(column, core::iter::empty(), now)
    }

    /// Makes the column what a snapshot says: leaves at 0 that it held are forgotten with the old counts. The
    /// global view takes the difference, and keeps what fell to 0 in it. Returns `false` when there is no such column.
    ///
    /// `leaves` should ascend (IPv4 first); the result is the same in any order, the last of two counts for one
    /// address holds.
    pub fn replace_column(
        &mut self,
        column: ColumnId,
        leaves: impl IntoIterator<Item = (IpAddr, u64)>,
        now: Monotonic,
    ) -> bool {
        let Some(tree) = self.columns.get_mut(&column) else { return false };
        let old = core::mem::take(tree);
        for (address, count) in leaves {
            tree.set(normalised(address), count.min(u64::from(u32::MAX)), now);
        }
        tree.leaf.retain(|_, leaf| leaf.0 > 0);
        tree.idle.clear();
        let keys: BTreeSet<IpAddr> = old.leaf.keys().chain(tree.leaf.keys()).copied().collect();
        for key in keys {
            let was = old.leaf.get(&key).map_or(0, |l| l.0);
            let is = tree.leaf.get(&key).map_or(0, |l| l.0);
            if was != is {
                let global = self.global.leaf.get(&key).map_or(0, |l| l.0);
                self.global.set(key, global.saturating_sub(was).saturating_add(is), now);
            }
        }
        true
    }

    /// Adds `delta` to the count of an address in a column.
    ///
    /// A count stays within 0 and `u32::MAX`; what does not fit is left out and reported. Taking from an address
    /// that the column does not hold creates nothing.
    pub fn change(&mut self, column: ColumnId, address: IpAddr, delta: i64, now: Monotonic) -> Change {
        let address = normalised(address);
        let Some(tree) = self.columns.get_mut(&column) else {
            return Change { count: 0, clamped: delta != 0 };
        };
        let before = tree.leaf.get(&address).map_or(0, |l| l.0);
        let wanted = i128::from(before) + i128::from(delta);
        let count = u64::from(u32::try_from(wanted.max(0)).unwrap_or(u32::MAX));
        tree.set(address, count, now);
        let global = self.global.leaf.get(&address).map_or(0, |l| l.0);
        self.global.set(address, global.saturating_sub(before).saturating_add(count), now);
        Change { count, clamped: i128::from(count) != wanted }
    }

    fn tree(&self, view: View) -> Option<&Tree> {
        match view {
            View::Global => Some(&self.global),
            View::Column(column) => self.columns.get(&column),
        }
    }

    /// The count of one address; 0 where there is none.
    #[must_use]
    pub fn count(&self, view: View, address: IpAddr) -> u64 {
        self.tree(view).and_then(|tree| tree.leaf.get(&normalised(address))).map_or(0, |l| l.0)
    }

    /// The sum of the counts in a block. Any block may be asked for.
    ///
    /// A block inside `::ffff:0:0/96` is the IPv4 block that it maps; a shorter one holds IPv6 addresses only.
    #[must_use]
    pub fn sum(&self, view: View, prefix: Prefix) -> u64 {
        let prefix = match (prefix.address(), normalised(prefix.address())) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix.length() >= 96 => {
                Prefix::containing(v4, prefix.length() - 96).unwrap_or(prefix)
            }
            _ => prefix,
        };
        let last = match prefix.address() {
            IpAddr::V4(v4) => v4.to_bits().last(prefix.length()).address(),
            IpAddr::V6(v6) => v6.to_bits().last(prefix.length()).address(),
        };
        self.tree(view).map_or(0, |tree| tree.leaf.range(prefix.address()..=last).map(|(_, l)| l.0).sum())
    }

    /// The sum of all counts.
    #[must_use]
    pub fn total(&self, view: View) -> u64 {
        self.tree(view).map_or(0, |tree| tree.total)
    }

    /// The addresses with a count other than 0, ascending, IPv4 before IPv6.
    pub fn leaves(&self, view: View) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        self.tree(view)
            .into_iter()
            .flat_map(|tree| tree.leaf.iter().map(|(a, l)| (*a, l.0)).filter(|(_, count)| *count > 0))
    }

    /// The rows of a display: every branch and leaf with a length in the range, and for every leaf the blocks of
    /// the first and the last length; ascending, shorter first, without those at 0.
    #[must_use]
    pub fn rows(&self, view: View, range: &RowRange) -> Vec<Row> {
        let mut rows = Vec::new();
        let Some(tree) = self.tree(view) else { return rows };
        if let Some(range) = &range.v4 {
            append_rows(
                &mut rows,
                range,
                tree.leaf.iter().filter_map(|(a, l)| match a {
                    IpAddr::V4(a) => Some((a.to_bits(), l.0)),
                    IpAddr::V6(_) => None,
                }),
            );
        }
        if let Some(range) = &range.v6 {
            append_rows(
                &mut rows,
                range,
                tree.leaf.iter().filter_map(|(a, l)| match a {
                    IpAddr::V6(a) => Some((a.to_bits(), l.0)),
                    IpAddr::V4(_) => None,
                }),
            );
        }
        rows
    }

    /// When [`CidrColumns::prune`] should be called next; `None` while nothing is at 0. It answers differently
    /// after every call that takes a time.
    #[must_use]
    pub fn poll_prune(&self) -> Option<Monotonic> {
        let oldest = core::iter::once(&self.global)
            .chain(self.columns.values())
            .filter_map(|tree| tree.idle.first_key_value().map(|(_, (_, since))| *since))
            .min()?;
        let due = oldest + Duration::from_secs(IDLE_SECONDS);
        Some(due.max(self.checked + Duration::from_secs(PRUNE_INTERVAL_SECONDS)))
    }

    /// Forgets the leaves that have been at 0 for [`IDLE_SECONDS`] in their tree. Returns how many.
    pub fn prune(&mut self, now: Monotonic) -> usize {
        self.checked = now;
        self.global.prune(now) + self.columns.values_mut().map(|tree| tree.prune(now)).sum::<usize>()
    }

    /// Forgets all leaves at 0, whatever their age. For tests that compare the rows of two members, whose
    /// histories differ.
    pub fn prune_all_idle(&mut self) {
        for tree in core::iter::once(&mut self.global).chain(self.columns.values_mut()) {
            while !tree.idle.is_empty() {
                tree.pop();
            }
        }
    }

    /// The memory held, in bytes, without what the allocator adds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        core::iter::once(&self.global)
            .chain(self.columns.values())
            .map(|tree| tree.leaf.len() * size_of::<(IpAddr, (u64, u64))>())
            .sum()
    }
}
