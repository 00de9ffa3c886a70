//! All columns of one object.

use alloc::vec::Vec;
use core::mem::size_of;
use core::net::IpAddr;
use core::time::Duration;

use postfleet_types::{Change, ColumnId, Monotonic, Prefix, View, normalised};

use crate::bits::Bits;
use crate::display::{Row, RowRange, append_rows};
use crate::tree::Tree;
use crate::views::GLOBAL;

/// How long a leaf stays in a tree after its count fell to 0: while it does, the branches that it caused are
/// still displayed above what is open below them. In seconds.
pub const IDLE_SECONDS: u64 = 300;

/// The longest time between two checks for leaves that have been at 0 for [`IDLE_SECONDS`]. In seconds.
pub const PRUNE_INTERVAL_SECONDS: u64 = 30;

/// The most leaves at 0 that one tree holds, both families together; beyond it the one longest at 0 goes first
/// (of two with the same time, IPv4 first).
pub const IDLE_LEAVES_MAX: usize = 65_536;

/// All columns of one object that counts by address, and their sum.
///
/// Addresses are normalised inside: an IPv4-mapped IPv6 address is counted as the IPv4 address. Each column and
/// the global view keep leaves that fell to 0 for a while, by their own clocks ([`IDLE_SECONDS`]).
///
/// [`CidrColumns::change`], [`CidrColumns::count`] and [`CidrColumns::sum`] take logarithmic time in every view.
/// [`CidrColumns::remove_column`], [`CidrColumns::clear_column`], [`CidrColumns::replace_column`] and
/// [`CidrColumns::rows`] pass all addresses of the object. docs/structures/cidr-tree.md gives the memory.
#[derive(Clone, Debug)]
pub struct CidrColumns {
    v4: Tree<u32>,
    v6: Tree<u128>,
    /// Ascending; the plane of a column is one behind its place here.
    columns: Vec<ColumnId>,
    next_column: u32,
    checked: Monotonic,
}

impl Default for CidrColumns {
    fn default() -> Self {
        Self::new()
    }
}

impl CidrColumns {
    /// An object without columns.
    #[must_use]
    pub fn new() -> Self {
        Self {
            v4: Tree::new(),
            v6: Tree::new(),
            columns: Vec::new(),
            next_column: 0,
            checked: Monotonic::ZERO,
        }
    }

    /// Adds an empty column. Its id is never used again in this object.
    pub fn insert_column(&mut self) -> ColumnId {
        let id = ColumnId(self.next_column);
        self.next_column = self.next_column.saturating_add(1);
        self.columns.push(id);
        self.v4.insert_plane();
        self.v6.insert_plane();
        id
    }

    /// The columns held, in the order in which they were added.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> + '_ {
        self.columns.iter().copied()
    }

    /// Drops a column; its counts leave the global view. `false` when there is no such column.
    pub fn remove_column(&mut self, column: ColumnId, now: Monotonic) -> bool {
        let Some(plane) = self.plane(View::Column(column)) else { return false };
        self.columns.retain(|held| *held != column);
        self.drop_plane(plane, now);
        true
    }

    /// Empties a column, as [`CidrColumns::replace_column`] with nothing does.
    pub fn clear_column(&mut self, column: ColumnId, now: Monotonic) -> bool {
        self.replace_column(column, core::iter::empty(), now)
    }

    /// Makes the column what a snapshot says: leaves at 0 that it held are forgotten with the old counts. The
    /// global view takes the difference, and keeps what fell to 0 in it. `false` when there is no such column.
    ///
    /// Fastest when the addresses ascend. The result is the same in any order, except that of two counts for one
    /// address the last that is not 0 holds.
    pub fn replace_column(
        &mut self,
        column: ColumnId,
        leaves: impl IntoIterator<Item = (IpAddr, u64)>,
        now: Monotonic,
    ) -> bool {
        let Some(plane) = self.plane(View::Column(column)) else { return false };
        self.v4.set_aside(plane);
        self.v6.set_aside(plane);
        for (address, count) in leaves {
            match normalised(address) {
                IpAddr::V4(v4) => self.v4.replace_one(plane, v4.to_bits(), count, now),
                IpAddr::V6(v6) => self.v6.replace_one(plane, v6.to_bits(), count, now),
            }
        }
        self.drop_plane(self.columns.len() + 1, now);
        true
    }

    /// Adds `delta` to the count of an address in a column.
    ///
    /// A count stays within 0 and `u32::MAX`; what does not fit is left out and reported. Taking from an address
    /// that the column does not hold creates nothing.
    #[inline]
    pub fn change(&mut self, column: ColumnId, address: IpAddr, delta: i64, now: Monotonic) -> Change {
        let Some(plane) = self.plane(View::Column(column)) else {
            return Change { count: 0, clamped: delta != 0 };
        };
        let change = match normalised(address) {
            IpAddr::V4(v4) => self.v4.change(plane, v4.to_bits(), delta, now),
            IpAddr::V6(v6) => self.v6.change(plane, v6.to_bits(), delta, now),
        };
        if delta < 0 {
            self.limit_idle(plane);
            self.limit_idle(GLOBAL);
        }
        change
    }

    /// The count of one address; 0 where there is none.
    #[must_use]
    #[inline]
    pub fn count(&self, view: View, address: IpAddr) -> u64 {
        let Some(plane) = self.plane(view) else { return 0 };
        match normalised(address) {
            IpAddr::V4(v4) => self.v4.count(plane, v4.to_bits()),
            IpAddr::V6(v6) => self.v6.count(plane, v6.to_bits()),
        }
    }

    /// The sum of the counts in a block. Any block may be asked for.
    ///
    /// A block inside `::ffff:0:0/96` is the IPv4 block that it maps; a shorter one holds IPv6 addresses only.
    #[must_use]
    #[inline]
    pub fn sum(&self, view: View, prefix: Prefix) -> u64 {
        let Some(plane) = self.plane(view) else { return 0 };
        let length = prefix.length();
        match prefix.address() {
            IpAddr::V4(v4) => sum(&self.v4, plane, v4.to_bits(), length),
            IpAddr::V6(v6) => match (length.checked_sub(96), v6.to_ipv4_mapped()) {
                (Some(length), Some(v4)) => sum(&self.v4, plane, v4.to_bits(), length),
                (None, _) | (_, None) => sum(&self.v6, plane, v6.to_bits(), length),
            },
        }
    }

    /// The sum of all counts.
    #[must_use]
    pub fn total(&self, view: View) -> u64 {
        self.plane(view).map_or(0, |plane| total(&self.v4, plane).saturating_add(total(&self.v6, plane)))
    }

    /// The addresses with a count other than 0, ascending, IPv4 before IPv6.
    ///
    /// A column takes as long as the global view: all addresses of the object are passed.
    pub fn leaves(&self, view: View) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        let plane = self.plane(view);
        let v4 = plane.and_then(|plane| self.v4.leaves(plane)).into_iter().flatten();
        let v6 = plane.and_then(|plane| self.v6.leaves(plane)).into_iter().flatten();
        v4.map(|(key, count)| (key.address(), count))
            .chain(v6.map(|(key, count)| (key.address(), count)))
            .filter(|(_, count)| *count > 0)
    }

    /// As [`CidrColumns::leaves`], from an address on: for those who read a large object piece by piece.
    pub fn leaves_from(&self, view: View, from: IpAddr) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        let plane = self.plane(view);
        let (v4, v6) = match normalised(from) {
            IpAddr::V4(v4) => (Some(v4.to_bits()), 0),
            IpAddr::V6(v6) => (None, v6.to_bits()),
        };
        let v4 =
            plane.zip(v4).and_then(|(plane, from)| self.v4.leaves_from(plane, from)).into_iter().flatten();
        let v6 = plane.and_then(|plane| self.v6.leaves_from(plane, v6)).into_iter().flatten();
        v4.map(|(key, count)| (key.address(), count))
            .chain(v6.map(|(key, count)| (key.address(), count)))
            .filter(|(_, count)| *count > 0)
    }

    /// The rows of a display: every branch and leaf with a length in the range, and for every leaf the blocks of
    /// the first and the last length; ascending, shorter first, without those at 0.
    #[must_use]
    pub fn rows(&self, view: View, range: &RowRange) -> Vec<Row> {
        let mut rows = Vec::new();
        let Some(plane) = self.plane(view) else { return rows };
        if let (Some(range), Some(leaves)) = (&range.v4, self.v4.leaves(plane)) {
            append_rows(&mut rows, range, leaves);
        }
        if let (Some(range), Some(leaves)) = (&range.v6, self.v6.leaves(plane)) {
            append_rows(&mut rows, range, leaves);
        }
        rows
    }

    /// When [`CidrColumns::prune`] should be called next; `None` while nothing is at 0. A call that changes counts
    /// or prunes may change the answer.
    #[must_use]
    pub fn poll_prune(&self) -> Option<Monotonic> {
        let oldest = (0..=self.columns.len())
            .flat_map(|plane| [self.v4.idle_since(plane), self.v6.idle_since(plane)])
            .flatten()
            .min()?;
        let due = oldest + Duration::from_secs(IDLE_SECONDS);
        Some(due.max(self.checked + Duration::from_secs(PRUNE_INTERVAL_SECONDS)))
    }

    /// Forgets the leaves that have been at 0 for [`IDLE_SECONDS`] in their tree. Returns how many.
    pub fn prune(&mut self, now: Monotonic) -> usize {
        self.checked = now;
        let age = Duration::from_secs(IDLE_SECONDS);
        self.v4.prune(now, age) + self.v6.prune(now, age)
    }

    /// Forgets all leaves at 0, whatever their age. For tests that compare the rows of two members, whose
    /// histories differ.
    pub fn prune_all_idle(&mut self) {
        self.v4.prune(Monotonic::ZERO, Duration::ZERO);
        self.v6.prune(Monotonic::ZERO, Duration::ZERO);
    }

    /// How many addresses some view holds, those at 0 included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether no view holds an address.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory held, in bytes, without what the allocator adds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.columns.capacity() * size_of::<ColumnId>()
            + self.v4.memory_bytes()
            + self.v6.memory_bytes()
    }

    #[inline]
    fn plane(&self, view: View) -> Option<usize> {
        match view {
            View::Global => Some(GLOBAL),
            View::Column(column) => self.columns.binary_search(&column).ok().map(|at| at + 1),
        }
    }

    /// Drops a plane in both halves. What falls to 0 globally is kept as far as there is room: the last of it,
    /// IPv4 before IPv6.
    fn drop_plane(&mut self, plane: usize, now: Monotonic) {
        let (mut skip_v4, mut skip_v6) = (0, 0);
        if self.len() > IDLE_LEAVES_MAX {
            let only_v6 = self.v6.only_in(plane);
            skip_v6 = only_v6.saturating_sub(IDLE_LEAVES_MAX);
            skip_v4 = self.v4.only_in(plane).saturating_sub(IDLE_LEAVES_MAX - (only_v6 - skip_v6));
        }
        self.v4.drop_plane(plane, skip_v4, now);
        self.v6.drop_plane(plane, skip_v6, now);
        self.limit_idle(GLOBAL);
    }

    #[inline]
    fn limit_idle(&mut self, plane: usize) {
        while self.v4.idle_len(plane) + self.v6.idle_len(plane) > IDLE_LEAVES_MAX {
            match (self.v4.idle_since(plane), self.v6.idle_since(plane)) {
                (Some(v4), Some(v6)) if v6 < v4 => self.v6.forget_first(plane),
                (None, _) => self.v6.forget_first(plane),
                (Some(_), _) => self.v4.forget_first(plane),
            }
        }
    }
}

#[inline]
fn sum<K: Bits>(tree: &Tree<K>, plane: usize, low: K, length: u8) -> u64 {
    if length == 0 {
        total(tree, plane)
    } else if plane == GLOBAL {
        tree.global_sum(low, length)
    } else {
        tree.planes.get(plane).map_or(0, |plane| tree.sum(plane, low, low.last(length)))
    }
}

fn total<K: Bits>(tree: &Tree<K>, plane: usize) -> u64 {
    tree.planes.get(plane).map_or(0, |plane| plane.total)
}
