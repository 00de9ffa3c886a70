//! The leaves of one tree that are at 0, longest first.

use alloc::vec::Vec;
use core::mem::size_of;

use postfleet_types::Monotonic;

const NONE: u32 = u32::MAX;

/// A list that is appended to at its end and left from anywhere, in constant time. An entry is known by the
/// number of its slot, which the leaf holds in place of a count.
#[derive(Clone, Debug)]
pub(crate) struct IdleList<K> {
    slots: Vec<Idle<K>>,
    first: u32,
    last: u32,
    /// Slots that are not used, linked by `next`.
    free: u32,
    len: usize,
}

#[derive(Clone, Debug)]
struct Idle<K> {
    key: K,
    since: Monotonic,
    previous: u32,
    next: u32,
}

impl<K: Copy> IdleList<K> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), first: NONE, last: NONE, free: NONE, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The entry that is longest in the list.
    pub(crate) fn first(&self) -> Option<(K, Monotonic)> {
        self.slots.get(self.first as usize).map(|idle| (idle.key, idle.since))
    }

    /// Appends an entry and returns its slot.
    pub(crate) fn push(&mut self, key: K, since: Monotonic) -> u32 {
        let idle = Idle { key, since, previous: self.last, next: NONE };
        let slot = match self.slots.get_mut(self.free as usize) {
            Some(unused) => {
                let slot = self.free;
                self.free = unused.next;
                *unused = idle;
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).unwrap_or(NONE);
                self.slots.push(idle);
                slot
            }
        };
        match self.slots.get_mut(self.last as usize) {
            Some(last) => last.next = slot,
            None => self.first = slot,
        }
        self.last = slot;
        self.len += 1;
        slot
    }

    /// Takes an entry out. `slot` has to be one that [`IdleList::push`] returned and that is still in the list.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(idle) = self.slots.get_mut(slot as usize) else { return };
        let (previous, next) = (idle.previous, idle.next);
        idle.next = self.free;
        self.free = slot;
        match self.slots.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.first = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            None => self.last = previous,
        }
        self.len -= 1;
    }

    /// Gives the memory back when nothing is in the list.
    pub(crate) fn release(&mut self) {
        if self.len == 0 {
            *self = Self::new();
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Idle<K>>()
    }
}
