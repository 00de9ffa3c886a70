//! Short cuts for the global view: sums of short prefixes, and where to look for long ones.
//!
//! A head covers eight bits below a prefix whose length is a multiple of eight. It holds the sums of the prefixes
//! that are four and eight bits longer, so the sum of any prefix that ends in it is that of at most eight
//! neighbours, and a change touches two sums. For each of its 256 blocks it holds the head below or the leaf of
//! the tree in which an address of the block was last seen. A head exists where many addresses are: the memory is
//! bounded by the number of addresses, and making one takes microseconds.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::size_of;

use crate::bits::Bits;

/// A block with more keys than this gets a head of its own: 4 KiB, so 33 bytes for each key at worst, and about
/// one where addresses are scattered.
pub(crate) const HEAD_KEYS_MIN: u32 = 128;

/// A block with more keys than this is likely to lie in more than one leaf.
const LEAF_KEYS_MAX: u32 = 64;

/// No head lies below a prefix of this length or longer. IPv4 ends here; for IPv6 it is the allocation of a
/// provider, and each further level would cost every change.
const TOP_END: u8 = 32;

/// A head with fewer keys is given up. Far below [`HEAD_KEYS_MIN`], so that heads do not come and go.
const HEAD_KEYS_LOW: u32 = HEAD_KEYS_MIN / 4;

/// In [`Part::below`]: nothing known.
const NONE: u32 = u32::MAX;

/// In [`Part::below`]: the other bits are the number of a head, not of a leaf.
const HEAD: u32 = 0x8000_0000;

#[derive(Clone, Debug)]
struct Head {
    /// The sums of the blocks of four bits.
    short: [u64; 16],
    /// The sums of the blocks of eight bits.
    long: [u64; 256],
    /// What lies below each of the 256 blocks.
    parts: [Part; 256],
}

/// One of the 256 blocks of a head.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// How many keys of the tree it has.
    keys: u32,
    /// The head below, with the bit [`HEAD`], or a leaf, or [`NONE`].
    below: u32,
}

impl Part {
    const fn head(self) -> Option<u32> {
        if self.below != NONE && self.below & HEAD != 0 { Some(self.below & !HEAD) } else { None }
    }
}

impl Head {
    /// The sum of the block of `depth` bits, 1 to 8, that contains the block of eight bits `byte`.
    #[inline]
    fn sum(&self, byte: usize, depth: u8) -> u64 {
        let (sums, at, free): (&[u64], usize, u8) =
            if depth <= 4 { (&self.short, byte >> 4, 4 - depth) } else { (&self.long, byte, 8 - depth) };
        let from = at >> free << free;
        let sums = sums.get(from..from + (1 << free)).unwrap_or_default();
        sums.iter().fold(0, |sum, part| sum.wrapping_add(*part))
    }
}

/// All heads of a tree; the first is the one at /0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heads {
    heads: Vec<Option<Box<Head>>>,
    free: Vec<u32>,
}

/// What the heads know of a block.
pub(crate) enum Found {
    /// Its sum in the global view.
    Sum(u64),
    /// A leaf that may hold all its keys.
    Leaf(u32),
    /// Nothing.
    Unknown,
}

impl Heads {
    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    #[inline]
    fn head(&self, number: u32) -> Option<&Head> {
        self.heads.get(number as usize)?.as_deref()
    }

    #[inline]
    fn head_mut(&mut self, number: u32) -> Option<&mut Head> {
        self.heads.get_mut(number as usize)?.as_deref_mut()
    }

    /// Looks a block up that is longer than /0.
    #[inline]
    pub(crate) fn find<K: Bits>(&self, key: K, length: u8) -> Found {
        let (mut number, mut top) = (0, 0);
        while let Some(head) = self.head(number) {
            let byte = key.byte(top);
            let depth = length - top;
            if depth <= 8 {
                return Found::Sum(head.sum(usize::from(byte), depth));
            }
            let part = head.parts[usize::from(byte)];
            match part.head() {
                Some(below) => number = below,
                None if part.keys == 0 => return Found::Sum(0),
                // Keys that fill more than a leaf are found faster from the root than by trying.
                None if part.below == NONE || part.keys > LEAF_KEYS_MAX => return Found::Unknown,
                None => return Found::Leaf(part.below),
            }
            top += 8;
        }
        Found::Unknown
    }

    /// Adds to the sums of all blocks that contain a key (`change` is a difference modulo 2^64), and notes the
    /// leaf in which the key is.
    #[inline]
    pub(crate) fn add<K: Bits>(&mut self, key: K, change: u64, leaf: u32) {
        let (mut number, mut top) = (0, 0);
        while let Some(head) = self.head_mut(number) {
            let byte = usize::from(key.byte(top));
            head.long[byte] = head.long[byte].wrapping_add(change);
            head.short[byte >> 4] = head.short[byte >> 4].wrapping_add(change);
            let part = &mut head.parts[byte];
            let Some(below) = part.head() else {
                part.below = leaf;
                return;
            };
            number = below;
            top += 8;
        }
    }

    /// Counts a new key. When its block has become large enough for a head, returns the length of the block.
    pub(crate) fn insert<K: Bits>(&mut self, key: K) -> Option<u8> {
        let (mut number, mut top) = (0, 0);
        while let Some(head) = self.head_mut(number) {
            let byte = usize::from(key.byte(top));
            let part = &mut head.parts[byte];
            part.keys += 1;
            top += 8;
            let Some(below) = part.head() else {
                return (part.keys > HEAD_KEYS_MIN && top < TOP_END).then_some(top);
            };
            number = below;
        }
        None
    }

    /// Counts a key that left, and gives up the heads of blocks that have become small.
    pub(crate) fn remove<K: Bits>(&mut self, key: K) {
        let (mut number, mut top) = (0, 0);
        while let Some(head) = self.head_mut(number) {
            let byte = usize::from(key.byte(top));
            let part = &mut head.parts[byte];
            part.keys = part.keys.saturating_sub(1);
            let Some(below) = part.head() else { return };
            if part.keys < HEAD_KEYS_LOW {
                part.below = NONE;
                self.give_up(below);
                return;
            }
            number = below;
            top += 8;
        }
    }

    /// Frees a head and all below it. They have few keys, so they are few.
    fn give_up(&mut self, number: u32) {
        let mut left = Vec::from([number]);
        while let Some(number) = left.pop() {
            if let Some(head) = self.heads.get_mut(number as usize).and_then(Option::take) {
                left.extend(head.parts.iter().filter_map(|part| part.head()));
                self.free.push(number);
            }
        }
    }

    /// Makes the head for the block of the given length around `key`, from the block's keys and their counts and
    /// leaves, and those below it that are due.
    pub(crate) fn make<K: Bits>(&mut self, key: K, length: u8, keys: impl Iterator<Item = (K, u64, u32)>) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.heads.push(None);
            u32::try_from(self.heads.len() - 1).unwrap_or(NONE)
        });
        let mut head =
            Box::new(Head { short: [0; 16], long: [0; 256], parts: [Part { keys: 0, below: NONE }; 256] });
        for (key, count, leaf) in keys {
            let byte = usize::from(key.byte(length));
            head.long[byte] = head.long[byte].wrapping_add(count);
            head.short[byte >> 4] = head.short[byte >> 4].wrapping_add(count);
            head.parts[byte].keys += 1;
            head.parts[byte].below = leaf;
        }
        if let Some(slot) = self.heads.get_mut(number as usize) {
            *slot = Some(head);
        }
        if length == 0 {
            return;
        }
        // The head above now leads here.
        let (mut above, mut top) = (0, 0);
        while let Some(head) = self.head_mut(above) {
            let part = &mut head.parts[usize::from(key.byte(top))];
            top += 8;
            if top == length {
                part.below = HEAD | number;
                return;
            }
            let Some(below) = part.head() else { return };
            above = below;
        }
    }

    /// The blocks of a head that are due for a head of their own, by their first byte below `length`.
    pub(crate) fn due<K: Bits>(&self, key: K, length: u8) -> Vec<u8> {
        if length + 8 >= TOP_END {
            return Vec::new();
        }
        let (mut number, mut top) = (0, 0);
        while top < length {
            let part = self.head(number).map(|head| head.parts[usize::from(key.byte(top))]);
            let Some(below) = part.and_then(Part::head) else { return Vec::new() };
            number = below;
            top += 8;
        }
        let Some(head) = self.head(number) else { return Vec::new() };
        let parts = (0..=u8::MAX).zip(&head.parts);
        parts.filter(|(_, part)| part.keys > HEAD_KEYS_MIN).map(|(byte, _)| byte).collect()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.heads.iter().flatten().count() * size_of::<Head>()
            + self.heads.capacity() * size_of::<Option<Box<Head>>>()
            + self.free.capacity() * size_of::<u32>()
    }
}
