//! One view of the counts: the cells of the leaves and the sums above them.

use alloc::collections::BTreeMap;
use core::hint::black_box;
use core::mem::size_of;

use postfleet_types::Monotonic;

use crate::bits::Bits;
use crate::blocks::{BLOCK, Blocks};
use crate::idle::IdleList;

/// A cell of a leaf: what a view holds of one address.
///
/// 0: nothing, the view's tree has no such leaf. Below [`WIDE`]: the count. [`WIDE`]: a larger count, which the
/// plane keeps apart. With the top bit: the leaf is at 0, and the other bits are its slot in the idle list.
type Cell = u32;

const WIDE: Cell = 0x7fff_ffff;
const IDLE: Cell = 0x8000_0000;

/// The counts of one view, laid out beside the keys of the tree: cells by number of leaf, sums by number of inner
/// node and child.
#[derive(Clone, Debug)]
pub(crate) struct Plane<K> {
    cells: Blocks<Cell>,
    sums: Blocks<u64>,
    pub(crate) total: u64,
    pub(crate) idle: IdleList<K>,
    wide: BTreeMap<K, u64>,
}

impl<K: Bits> Plane<K> {
    pub(crate) const fn new() -> Self {
        Self {
            cells: Blocks::new(0),
            sums: Blocks::new(0),
            total: 0,
            idle: IdleList::new(),
            wide: BTreeMap::new(),
        }
    }

    /// Whether the view's tree has no leaf.
    pub(crate) const fn is_empty(&self) -> bool {
        self.total == 0 && self.idle.len() == 0
    }

    /// The count of a leaf, `None` when the view's tree does not have it.
    #[inline]
    pub(crate) fn leaf(&self, leaf: u32, slot: usize, key: K) -> Option<u64> {
        match self.cells.at(leaf, slot) {
            0 => None,
            cell => Some(self.decode(cell, key)),
        }
    }

    #[inline]
    pub(crate) fn count(&self, leaf: u32, slot: usize, key: K) -> u64 {
        self.decode(self.cells.at(leaf, slot), key)
    }

    #[inline]
    fn decode(&self, cell: Cell, key: K) -> u64 {
        match cell {
            WIDE => self.wide.get(&key).copied().unwrap_or(0),
            IDLE.. => 0,
            count => u64::from(count),
        }
    }

    /// Sets a count other than 0 for a leaf, or, with a time, 0 for one that the view's tree has; without a time a
    /// count of 0 removes the leaf. The sums above are the caller's.
    #[inline]
    pub(crate) fn put(&mut self, leaf: u32, slot: usize, key: K, count: u64, idle_since: Option<Monotonic>) {
        let old = self.cells.at(leaf, slot);
        if old & IDLE != 0 {
            if count == 0 && idle_since.is_some() {
                return;
            }
            self.idle.remove(old & !IDLE);
        } else if old == WIDE {
            self.wide.remove(&key);
        }
        let cell = match (u32::try_from(count), idle_since) {
            (Ok(0), Some(since)) if old != 0 => IDLE | self.idle.push(key, since),
            (Ok(count), _) if count < WIDE => count,
            _ => {
                self.wide.insert(key, count);
                WIDE
            }
        };
        self.cells.set(leaf, slot, cell);
    }

    /// Adds to the sum of a child; `change` is a difference modulo 2^64.
    #[inline]
    pub(crate) fn add_sum(&mut self, inner: u32, child: usize, change: u64) {
        if let Some(sum) = self.sums.make(inner).get_mut(child) {
            *sum = sum.wrapping_add(change);
        }
    }

    pub(crate) fn set_sum(&mut self, inner: u32, child: usize, sum: u64) {
        self.sums.set(inner, child, sum);
    }

    /// The sum of some children of an inner node.
    #[inline]
    pub(crate) fn children_sum(&self, inner: u32, from: usize, to: usize) -> u64 {
        self.sums
            .block(inner)
            .and_then(|sums| sums.get(from..to))
            .map_or(0, |sums| sums.iter().fold(0, |a, b| a.wrapping_add(*b)))
    }

    /// The sum of some cells of a leaf.
    #[inline]
    pub(crate) fn cells_sum(&self, leaf: u32, keys: &[K; BLOCK], from: usize, to: usize) -> u64 {
        let Some(cells) = self.cells.block(leaf).and_then(|cells| cells.get(from..to)) else { return 0 };
        if self.wide.is_empty() {
            cells.iter().map(|cell| if *cell < WIDE { u64::from(*cell) } else { 0 }).sum()
        } else {
            let keys = keys.get(from..to).unwrap_or_default();
            keys.iter().zip(cells).fold(0, |sum, (key, cell)| sum.wrapping_add(self.decode(*cell, *key)))
        }
    }

    /// The sum of the cells of a leaf whose keys lie between `low` and `high`, both included; `len` keys are used.
    #[inline]
    pub(crate) fn sum_between(&self, leaf: u32, keys: &[K; BLOCK], len: usize, low: K, high: K) -> u64 {
        let Some(cells) = self.cells.block(leaf) else { return 0 };
        // In a large tree neither the keys nor the cells are in the cache. Touching one cell of each cache line
        // now lets both arrive at the same time; which cell is wanted is known only when the keys are there.
        black_box([cells[0], cells[BLOCK / 4], cells[BLOCK / 2], cells[BLOCK / 4 * 3]]);
        let from = K::below(keys, len, low);
        let to = if low == high {
            len.min(from + usize::from(keys.get(from) == Some(&low)))
        } else if len.checked_sub(1).and_then(|last| keys.get(last)).is_none_or(|last| *last <= high) {
            len
        } else {
            K::up_to(keys, len, high)
        };
        self.cells_sum(leaf, keys, from, to)
    }

    /// Whether the cell is blank.
    pub(crate) fn is_blank(&self, leaf: u32, slot: usize) -> bool {
        self.cells.at(leaf, slot) == 0
    }

    /// The cells as they are, for moves that leave the idle list and wide counts alone.
    pub(crate) const fn cells_mut(&mut self) -> &mut Blocks<Cell> {
        &mut self.cells
    }

    /// The sums as they are.
    pub(crate) const fn sums_mut(&mut self) -> &mut Blocks<u64> {
        &mut self.sums
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.cells.memory_bytes()
            + self.sums.memory_bytes()
            + self.idle.memory_bytes()
            + self.wide.len() * 2 * size_of::<(K, u64)>()
    }
}
