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
    /// How many of the first `len` keys, which ascend, lie below `key`.
    fn below(keys: &[Self; BLOCK], len: usize, key: Self) -> usize;
    /// How many of the first `len` keys, which ascend, do not lie above `key`.
    fn up_to(keys: &[Self; BLOCK], len: usize, key: Self) -> usize;
}

impl Bits for u32 {
    const BITS: u8 = 32;
    const LOWEST: Self = 0;
    const HIGHEST: Self = Self::MAX;

    fn common(self, other: Self) -> u8 {
        narrow((self ^ other).leading_zeros())
    }

    fn last(self, length: u8) -> Self {
        self | Self::MAX.checked_shr(u32::from(length)).unwrap_or(0)
    }

    fn address(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(self))
    }

    // Comparing with all keys of a block needs no branch that could be mispredicted, its loads do not wait for
    // each other, and the compiler makes vector instructions of it; binary search has none of that.
    #[inline]
    fn below(keys: &[Self; BLOCK], len: usize, key: Self) -> usize {
        let count: u32 = keys.iter().map(|other| u32::from(*other < key)).sum();
        len.min(count as usize)
    }

    #[inline]
    fn up_to(keys: &[Self; BLOCK], len: usize, key: Self) -> usize {
        let count: u32 = keys.iter().map(|other| u32::from(*other <= key)).sum();
        len.min(count as usize)
    }
}

impl Bits for u128 {
    const BITS: u8 = 128;
    const LOWEST: Self = 0;
    const HIGHEST: Self = Self::MAX;

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
        keys.get(..len).map_or(0, |keys| keys.partition_point(|other| *other < key))
    }

    #[inline]
    fn up_to(keys: &[Self; BLOCK], len: usize, key: Self) -> usize {
        keys.get(..len).map_or(0, |keys| keys.partition_point(|other| *other <= key))
    }
}

fn narrow(bits: u32) -> u8 {
    u8::try_from(bits).unwrap_or(u8::MAX)
}
