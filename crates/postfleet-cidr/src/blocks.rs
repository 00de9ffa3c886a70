//! Numbered blocks of equal size, allocated a few at a time when something is first written to them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::size_of;

/// The entries of a block. A block of IPv4 keys fills four cache lines; with 64 entries a tree of a million keys
/// has two levels above its leaves, and moving half a block stays far below a microsecond.
pub(crate) const BLOCK: usize = 64;

/// The blocks of a chunk, the unit of allocation. Few enough that a tree of one leaf stays small, enough that the
/// list of chunks stays in the cache.
const CHUNK: usize = 8;

type Chunk<T> = Box<[[T; BLOCK]; CHUNK]>;

/// Arrays of [`BLOCK`] entries by number. Growth allocates one chunk and never moves a block.
#[derive(Clone, Debug)]
pub(crate) struct Blocks<T> {
    chunks: Vec<Option<Chunk<T>>>,
    /// What an entry is that was never written.
    blank: T,
}

#[inline]
const fn split(number: u32) -> (usize, usize) {
    (number as usize / CHUNK, number as usize % CHUNK)
}

impl<T: Copy + PartialEq> Blocks<T> {
    pub(crate) const fn new(blank: T) -> Self {
        Self { chunks: Vec::new(), blank }
    }

    /// The block, `None` when nothing was ever written near it.
    #[inline]
    pub(crate) fn block(&self, number: u32) -> Option<&[T; BLOCK]> {
        let (chunk, block) = split(number);
        self.chunks.get(chunk)?.as_ref()?.get(block)
    }

    #[inline]
    pub(crate) fn at(&self, number: u32, slot: usize) -> T {
        self.block(number).and_then(|block| block.get(slot)).copied().unwrap_or(self.blank)
    }

    #[inline]
    fn existing(&mut self, number: u32) -> Option<&mut [T; BLOCK]> {
        let (chunk, block) = split(number);
        self.chunks.get_mut(chunk)?.as_mut()?.get_mut(block)
    }

    /// The block for writing, allocated if need be.
    #[inline]
    pub(crate) fn make(&mut self, number: u32) -> &mut [T; BLOCK] {
        let (chunk, block) = split(number);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        // The lines above and the remainder in `split` keep both indices in bounds.
        let blank = self.blank;
        &mut self.chunks[chunk].get_or_insert_with(|| Box::new([[blank; BLOCK]; CHUNK]))[block]
    }

    /// Writes one entry; a blank one does not make a block.
    #[inline]
    pub(crate) fn set(&mut self, number: u32, slot: usize, value: T) {
        if value == self.blank && self.block(number).is_none() {
            return;
        }
        if let Some(entry) = self.make(number).get_mut(slot) {
            *entry = value;
        }
    }

    /// Moves the entries from `slot` on one up; `slot` becomes blank. The last entry of the block is lost.
    pub(crate) fn open_slot(&mut self, number: u32, slot: usize) {
        let blank = self.blank;
        if let Some(tail) = self.existing(number).and_then(|block| block.get_mut(slot..)) {
            tail.rotate_right(1);
            if let Some(first) = tail.first_mut() {
                *first = blank;
            }
        }
    }

    /// Moves the entries behind `slot` one down over it.
    pub(crate) fn close_slot(&mut self, number: u32, slot: usize) {
        let blank = self.blank;
        if let Some(tail) = self.existing(number).and_then(|block| block.get_mut(slot..)) {
            tail.rotate_left(1);
            if let Some(last) = tail.last_mut() {
                *last = blank;
            }
        }
    }

    /// Takes the first `left_len` entries of one block and the first `right_len` of another as one sequence, and
    /// leaves the first `keep` in the one and the others in the other. Splits, merges and balances.
    pub(crate) fn spread(&mut self, left: (u32, usize), right: (u32, usize), keep: usize) {
        let ((left, left_len), (right, right_len)) = (left, right);
        if self.block(left).is_none() && self.block(right).is_none() {
            return;
        }
        let mut all = [self.blank; 2 * BLOCK];
        let entries = |number, len: usize| self.block(number).and_then(|block| block.get(..len));
        if let (Some(to), Some(from)) = (all.get_mut(..left_len), entries(left, left_len)) {
            to.copy_from_slice(from);
        }
        let len = left_len + right_len;
        if let (Some(to), Some(from)) = (all.get_mut(left_len..len), entries(right, right_len)) {
            to.copy_from_slice(from);
        }
        self.fill(left, all.get(..keep).unwrap_or_default());
        self.fill(right, all.get(keep..len).unwrap_or_default());
    }

    /// Makes the block begin with `entries`, blank behind.
    fn fill(&mut self, number: u32, entries: &[T]) {
        let blank = self.blank;
        let (head, tail) = self.make(number).split_at_mut(entries.len().min(BLOCK));
        for (to, from) in head.iter_mut().zip(entries) {
            *to = *from;
        }
        tail.fill(blank);
    }

    /// Makes all entries of a block blank. Its memory waits for the next use of the number.
    pub(crate) fn clear(&mut self, number: u32) {
        let blank = self.blank;
        if let Some(block) = self.existing(number) {
            block.fill(blank);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.iter().flatten().count() * size_of::<[[T; BLOCK]; CHUNK]>()
            + self.chunks.capacity() * size_of::<Option<Chunk<T>>>()
    }
}
