//! Addresses and prefixes.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// The address as it is counted: an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) is the IPv4 address.
#[must_use]
pub const fn normalised(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// A block of addresses: an address with all bits after `length` cleared.
///
/// Ordered by family (IPv4 first), then address, then shorter prefix first, which is the order of displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Why a text is no prefix. The caller's input is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The part before the slash is neither an IPv4 nor an IPv6 address.
    #[error("not an address; expected a.b.c.d, a.b.c.d/0-32, an IPv6 address or IPv6/0-128")]
    Address,
    /// The part after the slash is not a length that the family has.
    #[error("prefix length must be a number from 0 to {max}")]
    Length {
        /// The longest prefix of the family.
        max: u8,
    },
}

impl Prefix {
    /// The block of the given length that contains `address`.
    ///
    /// # Errors
    /// [`PrefixError::Length`] when the family has no such length.
    pub const fn containing(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let max = Self::bits(address);
        if length > max {
            return Err(PrefixError::Length { max });
        }
        Ok(Self { address: masked(address, length), length })
    }

    /// The block that is just this address.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self { address, length: Self::bits(address) }
    }

    /// The first address of the block.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that are fixed.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a length in bits, not a count of elements")]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// The length of a full address of the family: 32 or 128.
    #[must_use]
    pub const fn bits(address: IpAddr) -> u8 {
        match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// Whether the block contains `address`. An IPv4 block never contains an IPv6 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.length) == self.address
    }

    /// Parses like [`FromStr`], and says whether bits after the prefix had to be cleared.
    ///
    /// # Errors
    /// As [`PrefixError`].
    pub fn parse_lenient(text: &str) -> Result<(Self, bool), PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address)?;
        let max = Self::bits(address);
        let length = match length {
            None => max,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| PrefixError::Length { max })?
            }
            Some(_) => return Err(PrefixError::Length { max }),
        };
        let prefix = Self::containing(address, length)?;
        Ok((prefix, prefix.address != address))
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        Self::parse_lenient(text).map(|(prefix, _)| prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

const fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = if length == 0 { 0 } else { u32::MAX << (32 - length as u32) };
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = if length == 0 { 0 } else { u128::MAX << (128 - length as u32) };
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_parse_and_print() {
        let check = |text: &str, shown: &str| {
            assert_eq!(text.parse::<Prefix>().map(|p| p.to_string()), Ok(shown.to_string()));
        };
        check("10.1.2.3", "10.1.2.3/32");
        check("10.1.2.3/8", "10.0.0.0/8");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("2001:DB8::1/32", "2001:db8::/32");
        assert_eq!("10.1.2.3/33".parse::<Prefix>(), Err(PrefixError::Length { max: 32 }));
        assert_eq!("10.1.2.3/+8".parse::<Prefix>(), Err(PrefixError::Length { max: 32 }));
        assert_eq!("10.1.2/8".parse::<Prefix>(), Err(PrefixError::Address));
    }

    #[test]
    fn families_do_not_mix() {
        let all_v4: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all_v4.contains("192.0.2.1".parse().unwrap()));
        assert!(!all_v4.contains("2001:db8::1".parse().unwrap()));
    }
}
