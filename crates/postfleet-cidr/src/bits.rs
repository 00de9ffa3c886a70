//! Addresses as bits, so that both families share their code.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::blocks::BLOCK;

/// An address as an unsigned integer.
pub(crate) trait Bits: Copy + Ord + fmt::Debug {
    /// The length of an address in bits.
    const BITS: u8;
    /// The lowest address.
    const LOWEST: Self;
    /// The highest address. It fills what a block of keys has to spare.
    const HIGHEST: Self;

    /// How many leading bits two addresses share.
    fn common(self, other: Self) -> u8;
    /// The last address of the block of the given length that begins with `self`.
    fn last(self, length: u8) -> Self;
    /// The address itself.
    fn address(self) -> IpAddr;
    /// The eight bits behind the first `top`, which has to be a multiple of eight.
    fn byte(self, top: u8) -> u8;
    /// The address whose eight bits behind the first `top` are `byte`, the bits before them those of `self`, and
    /// all others 0.
    fn with_byte(self, top: u8, byte: u8) -> Self;
    /// How many of the first `len` keys, which ascend, lie below `key`.
    fn below(keys: &[Self; BLOCK], len: usize, key: Self) -> usize;
    /// How many of the first `len` keys, which ascend, do not lie above `key`.
    fn up_to(keys: &[Self; BLOCK], len: usize, key: Self) -> usize;
}

impl Bits for u32 {
    const BITS: u8 = 32;
    const LOWEST: Self = 0;
    const HIGHEST: Self = Self::MAX;

    #[inline]
    fn byte(self, top: u8) -> u8 {
        self.to_be_bytes().get(usize::from(top / 8)).copied().unwrap_or(0)
    }

    fn with_byte(self, top: u8, byte: u8) -> Self {
        let mut bytes = self.to_be_bytes();
        for (at, entry) in bytes.iter_mut().enumerate().skip(usize::from(top / 8)) {
            *entry = if at == usize::from(top / 8) { byte } else { 0 };
        }
        Self::from_be_bytes(bytes)
    }

    fn common(self, other: Self) -> u8 {
        narrow((self ^ other).leading_zeros())
    }

    fn last(self, length: u8) -> Self {
        self | Self::MAX.checked_shr(u32::from(length)).unwrap_or(0)
    }

    fn address(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(self))
    }

    #[inline]
    fn below(keys: &[Self; BLOCK], len: usize, key: Self) -> usize {
        let (from, near) = quarter(keys, |other| *other < key);
        // Without branches, and in vector instructions.
        let count: u32 = near.iter().map(|other| u32::from(*other < key)).sum();
        len.min(from + count as usize)
    }

    #[inline]
    fn up_to(keys: &[Self; BLOCK], len: usize, key: Self) -> usize {
        let (from, near) = quarter(keys, |other| *other <= key);
        // Without branches, and in vector instructions.
        let count: u32 = near.iter().map(|other| u32::from(*other <= key)).sum();
        len.min(from + count as usize)
    }
}

impl Bits for u128 {
    const BITS: u8 = 128;
    const LOWEST: Self = 0;
    const HIGHEST: Self = Self::MAX;

    #[inline]
    fn byte(self, top: u8) -> u8 {
        self.to_be_bytes().get(usize::from(top / 8)).copied().unwrap_or(0)
    }

    fn with_byte(self, top: u8, byte: u8) -> Self {
        let mut bytes = self.to_be_bytes();
        for (at, entry) in bytes.iter_mut().enumerate().skip(usize::from(top / 8)) {
            *entry = if at == usize::from(top / 8) { byte } else { 0 };
        }
        Self::from_be_bytes(bytes)
    }

    fn common(self, other: Self) -> u8 {
        narrow((self ^ other).leading_zeros())
    }

    fn last(self, length: u8) -> Self {
        self | Self::MAX.checked_shr(u32::from(length)).unwrap_or(0)
    }

    fn address(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(self))
    }

    #[inline]
    fn below(keys: &[Self; BLOCK], len: usize, key: Self) -> usize {
        let (from, near) = quarter(keys, |other| *other < key);
        len.min(from + near.partition_point(|other| *other < key))
    }

    #[inline]
    fn up_to(keys: &[Self; BLOCK], len: usize, key: Self) -> usize {
        let (from, near) = quarter(keys, |other| *other <= key);
        len.min(from + near.partition_point(|other| *other <= key))
    }
}

const QUARTER: usize = BLOCK / 4;

/// The quarter of a block in which `before` turns false, and where it begins. Three comparisons that do not wait
/// for each other leave one quarter to search, which for IPv4 keys is one cache line.
#[inline]
fn quarter<K>(keys: &[K; BLOCK], before: impl Fn(&K) -> bool) -> (usize, &[K; QUARTER]) {
    let ends = [&keys[QUARTER - 1], &keys[2 * QUARTER - 1], &keys[3 * QUARTER - 1]];
    let number = usize::from(before(ends[0])) + usize::from(before(ends[1])) + usize::from(before(ends[2]));
    (QUARTER * number, &keys.as_chunks().0[number % 4])
}

fn narrow(bits: u32) -> u8 {
    u8::try_from(bits).unwrap_or(u8::MAX)
}
