//! Addresses with ports, as listeners and clients write them.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a socket listens. Prints in the canonical form, which tells two sockets apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// All IPv4 addresses: `*:25`.
    AnyV4(u16),
    /// All IPv6 addresses, and no IPv4 ones: `[*]:25`.
    AnyV6(u16),
    /// One address.
    Ip(IpAddr, u16),
    /// A Unix socket.
    Path(String),
}

impl ListenAddress {
    /// The port; `None` for a Unix socket.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::AnyV4(port) | Self::AnyV6(port) | Self::Ip(_, port) => Some(*port),
            Self::Path(_) => None,
        }
    }

    /// The address to bind; wildcards as the unspecified address of the family, `None` for a Unix socket.
    #[must_use]
    pub const fn bind_address(&self) -> Option<IpAddr> {
        match self {
            Self::AnyV4(_) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            Self::AnyV6(_) => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            Self::Ip(address, _) => Some(*address),
            Self::Path(_) => None,
        }
    }

    /// Whether only processes of this machine can reach the socket.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match self {
            Self::AnyV4(_) | Self::AnyV6(_) => false,
            Self::Ip(address, _) => address.is_loopback(),
            Self::Path(_) => true,
        }
    }

    /// Reads a listen address.
    ///
    /// # Errors
    /// [`AddressError`]: the text is at fault.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.starts_with('/') {
            return Ok(Self::Path(text.to_string()));
        }
        let (host, port) = split(text)?;
        match host {
            Host::Any => Ok(Self::AnyV4(port)),
            Host::AnyV6 => Ok(Self::AnyV6(port)),
            Host::V4(address) if address.is_unspecified() => Ok(Self::AnyV4(port)),
            Host::V6(address) if address.is_unspecified() => Ok(Self::AnyV6(port)),
            Host::V4(address) => Ok(Self::Ip(IpAddr::V4(address), port)),
            Host::V6(address) => Ok(Self::Ip(IpAddr::V6(address), port)),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyV4(port) => write!(f, "*:{port}"),
            Self::AnyV6(port) => write!(f, "[*]:{port}"),
            Self::Ip(IpAddr::V4(address), port) => write!(f, "{address}:{port}"),
            Self::Ip(IpAddr::V6(address), port) => write!(f, "[{address}]:{port}"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// Why a text is no address. The text is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct AddressError {
    /// What is wrong.
    pub problem: String,
    /// What was expected.
    pub expected: &'static str,
    /// The spelling that was probably meant.
    pub meant: Option<String>,
}

const FORMS: &str = "ADDRESS:PORT, *:PORT, [IPv6]:PORT, [*]:PORT or an absolute path";

enum Host {
    Any,
    AnyV6,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

fn error(problem: impl Into<String>) -> AddressError {
    AddressError { problem: problem.into(), expected: FORMS, meant: None }
}

/// A port number, 1 to 65535, in digits.
pub(crate) fn port(text: &str) -> Option<u16> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port != 0)
}

fn split(text: &str) -> Result<(Host, u16), AddressError> {
    let wrong_port = |digits: &str| error(format!("'{digits}' is not a port from 1 to 65535"));
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inner, behind)) = rest.split_once(']') else {
            return Err(error(format!("'{text}' lacks the closing bracket")));
        };
        let Some(digits) = behind.strip_prefix(':') else {
            return Err(error(format!("'{text}' has no port")));
        };
        let number = port(digits).ok_or_else(|| wrong_port(digits))?;
        if inner == "*" {
            return Ok((Host::AnyV6, number));
        }
        let address = ipv6(inner).ok_or_else(|| error(format!("'{inner}' is not an IPv6 address")))?;
        return Ok((Host::V6(address), number));
    }
    let Some((host, digits)) = text.rsplit_once(':') else {
        let meant = port(text).map(|port| format!(":{port}"));
        return Err(AddressError { meant, ..error(format!("'{text}' has no port")) });
    };
    if host.contains(':') {
        let meant = ipv6(host)
            .filter(|_| port(digits).is_some())
            .map(|address| format!("[{address}]:{digits}"))
            .or_else(|| ipv6(text).map(|address| format!("[{address}]:25")));
        let problem = "an IPv6 address with a port stands in brackets".to_string();
        return Err(AddressError { problem, expected: FORMS, meant });
    }
    let number = port(digits).ok_or_else(|| wrong_port(digits))?;
    if host.is_empty() || host == "*" {
        return Ok((Host::Any, number));
    }
    match host.parse() {
        Ok(address) => Ok((Host::V4(address), number)),
        Err(_) => Err(error(format!("'{host}' is not an IPv4 address"))),
    }
}

/// An IPv6 address, also with its last part written as an IPv4 address; never with a zone.
pub(crate) fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok()
}

/// An address without port, with or without brackets around IPv6.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return ipv6(inner).map(IpAddr::V6);
    }
    text.parse().ok()
}

/// A DNS name: labels of letters, digits, `-` and `_`, at most 253 characters, perhaps a final dot.
pub(crate) fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            matches!(label.len(), 1..=63)
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_have_one_canonical_form() {
        let check = |text: &str, canonical: &str| {
            assert_eq!(
                ListenAddress::parse(text).map(|a| a.to_string()),
                Ok(canonical.to_string()),
                "{text}"
            );
        };
        check(":25", "*:25");
        check("*:25", "*:25");
        check("0.0.0.0:25", "*:25");
        check("127.0.0.1:25", "127.0.0.1:25");
        check("[*]:25", "[*]:25");
        check("[::]:25", "[*]:25");
        check("[0:0:0:0:0:0:0:0]:25", "[*]:25");
        check("[2001:DB8::1]:25", "[2001:db8::1]:25");
        check("[::192.168.0.1]:25", "[::c0a8:1]:25");
        check("[::C0A8:1]:25", "[::c0a8:1]:25");
        check("/tmp/2025", "/tmp/2025");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "25",
            ":0",
            ":65536",
            "1.2.3:25",
            "01.2.3.4:25",
            "[::1]",
            "[fe80::1%eth0]:25",
            "host:25",
            ":",
        ] {
            assert!(ListenAddress::parse(text).is_err(), "{text}");
        }
        let meant = |text| ListenAddress::parse(text).unwrap_err().meant;
        assert_eq!(meant("2001:db8::5:25"), Some("[2001:db8::5]:25".to_string()));
    }
}
