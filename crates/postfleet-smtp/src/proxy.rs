//! The PROXY protocol header, versions 1 and 2, that a load balancer puts in front of a connection.
//!
//! After the specification "The PROXY protocol, versions 1 & 2" (HAProxy Technologies, 2020). Additional fields (TLVs)
//! of version 2 are skipped. Deviations: datagram transports are refused, a mail client cannot have come over one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, CR LF included.
pub const PROXY_V1_OCTETS_MAX: usize = 107;
/// Longest header of version 2: the fixed part and what its 16-bit length can announce.
pub const PROXY_V2_OCTETS_MAX: usize = 16 + 65_535;

const V1_START: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;

/// The client's real address and the one it connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyAddresses {
    /// Where the connection comes from.
    pub client: SocketAddr,
    /// Where it went to.
    pub local: SocketAddr,
}

/// What the octets received so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The start of a header; read more and ask again with all octets.
    Incomplete,
    /// A whole header.
    Complete {
        /// Octets of the header. The client's own octets begin behind it.
        length: usize,
        /// The addresses; none for `LOCAL` and `UNKNOWN`, where those of the connection hold.
        addresses: Option<ProxyAddresses>,
    },
}

/// The peer sent something else than a header: close the connection. The peer is at fault, or whoever lets
/// clients reach a listener that only proxies should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Neither version's beginning.
    #[error("no PROXY header")]
    NoHeader,
    /// Version 1 without CR LF within its limit.
    #[error("PROXY header of more than {PROXY_V1_OCTETS_MAX} octets")]
    TooLong,
    /// Version 1 with a malformed line.
    #[error("malformed PROXY line")]
    Malformed,
    /// Version 2 with a version, command, family or transport that is not assigned, or is no stream.
    #[error("PROXY header of version 2 with an unsupported {0}")]
    Unsupported(&'static str),
    /// Version 2 that is too short for the addresses it announces.
    #[error("PROXY header of version 2 is too short for its addresses")]
    TooShort,
}

/// Reads the header at the start of `octets`, everything received so far.
///
/// A wrong start is an error as soon as it can be seen, and the answer for a longer input never contradicts the one
/// for its beginning. Costs are constant for version 2 and bounded by 107 octets for version 1.
///
/// # Errors
/// As [`ProxyError`]; all of them are final.
pub fn parse_proxy_header(octets: &[u8]) -> Result<ProxyHeader, ProxyError> {
    if begins(octets, V2_SIGNATURE) {
        v2(octets)
    } else if begins(octets, V1_START) {
        v1(octets)
    } else {
        Err(ProxyError::NoHeader)
    }
}

/// Whether `octets` agree with `start` as far as both go.
fn begins(octets: &[u8], start: &[u8]) -> bool {
    octets.iter().zip(start).all(|(a, b)| a == b)
}

fn v1(octets: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let head = octets.get(..PROXY_V1_OCTETS_MAX).unwrap_or(octets);
    // The line has no LF of its own, so that the first one must end it.
    let Some(end) = memchr::memchr(b'\n', head) else {
        return if head.len() < PROXY_V1_OCTETS_MAX {
            Ok(ProxyHeader::Incomplete)
        } else {
            Err(ProxyError::TooLong)
        };
    };
    let line = head.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(ProxyError::Malformed)?;
    let line = line.strip_prefix(V1_START).ok_or(ProxyError::Malformed)?;
    let length = end + 1;
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(ProxyHeader::Complete { length, addresses: None });
    }
    let text = core::str::from_utf8(line).map_err(|_| ProxyError::Malformed)?;
    let addresses = v1_addresses(text).ok_or(ProxyError::Malformed)?;
    Ok(ProxyHeader::Complete { length, addresses: Some(addresses) })
}

fn v1_addresses(text: &str) -> Option<ProxyAddresses> {
    let mut words = text.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (client, local) = (address()?, address()?);
    let (client_port, local_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    Some(ProxyAddresses {
        client: SocketAddr::new(client, client_port),
        local: SocketAddr::new(local, local_port),
    })
}

/// A decimal number from 0 to 65535 without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

/// A header whose fixed part is not complete: what is there must be right already.
fn v2_prefix(octets: &[u8]) -> Result<ProxyHeader, ProxyError> {
    if let Some(version) = octets.get(12) {
        version_and_command(*version)?;
    }
    if let Some(family) = octets.get(13) {
        family_and_transport(*family)?;
    }
    Ok(ProxyHeader::Incomplete)
}

fn v2(octets: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let Some((fixed, behind)) = octets.split_first_chunk::<V2_FIXED>() else {
        return v2_prefix(octets);
    };
    let [.., version, family, high, low] = *fixed;
    let command = version_and_command(version)?;
    let family = family_and_transport(family)?;
    let announced = usize::from(u16::from_be_bytes([high, low]));
    let needed = match (command, family) {
        (Command::Proxy, Family::V4) => 12,
        (Command::Proxy, Family::V6) => 36,
        (Command::Proxy, Family::Unix) => 216,
        (Command::Local, _) | (Command::Proxy, Family::Unspecified) => 0,
    };
    if announced < needed {
        return Err(ProxyError::TooShort);
    }
    let Some(body) = behind.get(..announced) else { return Ok(ProxyHeader::Incomplete) };
    let addresses = match (command, family) {
        (Command::Proxy, Family::V4) => Some(v4_addresses(body).ok_or(ProxyError::TooShort)?),
        (Command::Proxy, Family::V6) => Some(v6_addresses(body).ok_or(ProxyError::TooShort)?),
        (Command::Proxy, Family::Unix | Family::Unspecified) | (Command::Local, _) => None,
    };
    Ok(ProxyHeader::Complete { length: V2_FIXED + announced, addresses })
}

#[derive(Clone, Copy)]
enum Command {
    Local,
    Proxy,
}

fn version_and_command(octet: u8) -> Result<Command, ProxyError> {
    match (octet >> 4, octet & 0x0f) {
        (2, 0) => Ok(Command::Local),
        (2, 1) => Ok(Command::Proxy),
        (2, _) => Err(ProxyError::Unsupported("command")),
        _ => Err(ProxyError::Unsupported("version")),
    }
}

#[derive(Clone, Copy)]
enum Family {
    Unspecified,
    V4,
    V6,
    Unix,
}

fn family_and_transport(octet: u8) -> Result<Family, ProxyError> {
    match (octet >> 4, octet & 0x0f) {
        (0, 0..=2) | (1..=3, 0) => Ok(Family::Unspecified),
        (1, 1) => Ok(Family::V4),
        (2, 1) => Ok(Family::V6),
        (3, 1) => Ok(Family::Unix),
        (0..=3, _) => Err(ProxyError::Unsupported("transport")),
        _ => Err(ProxyError::Unsupported("address family")),
    }
}

fn v4_addresses(body: &[u8]) -> Option<ProxyAddresses> {
    let (client, rest) = body.split_first_chunk::<4>()?;
    let (local, rest) = rest.split_first_chunk::<4>()?;
    ports(rest, IpAddr::V4(Ipv4Addr::from(*client)), IpAddr::V4(Ipv4Addr::from(*local)))
}

fn v6_addresses(body: &[u8]) -> Option<ProxyAddresses> {
    let (client, rest) = body.split_first_chunk::<16>()?;
    let (local, rest) = rest.split_first_chunk::<16>()?;
    ports(rest, IpAddr::V6(Ipv6Addr::from(*client)), IpAddr::V6(Ipv6Addr::from(*local)))
}

fn ports(rest: &[u8], client: IpAddr, local: IpAddr) -> Option<ProxyAddresses> {
    let (client_port, rest) = rest.split_first_chunk::<2>()?;
    let (local_port, _additional) = rest.split_first_chunk::<2>()?;
    Some(ProxyAddresses {
        client: SocketAddr::new(client, u16::from_be_bytes(*client_port)),
        local: SocketAddr::new(local, u16::from_be_bytes(*local_port)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole header and every beginning of it; then the same with octets of the client behind it.
    fn check(header: &[u8], addresses: Option<(&str, &str)>) {
        let wanted = addresses.map(|(client, local)| ProxyAddresses {
            client: client.parse().unwrap(),
            local: local.parse().unwrap(),
        });
        for end in 0..header.len() {
            assert_eq!(parse_proxy_header(&header[..end]), Ok(ProxyHeader::Incomplete), "{end}");
        }
        for tail in ["", "EHLO c.example\r\n"] {
            let octets = [header, tail.as_bytes()].concat();
            let complete = ProxyHeader::Complete { length: header.len(), addresses: wanted };
            assert_eq!(parse_proxy_header(&octets), Ok(complete));
        }
    }

    fn v2_header(version: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[version, family], &length, body].concat()
    }

    #[test]
    fn version_1() {
        check(
            b"PROXY TCP4 192.0.2.5 198.51.100.1 47780 25\r\n",
            Some(("192.0.2.5:47780", "198.51.100.1:25")),
        );
        check(b"PROXY TCP6 2001:db8::5 ::1 0 65535\r\n", Some(("[2001:db8::5]:0", "[::1]:65535")));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN whatever stands here\r\n", None);
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(PROXY_V1_OCTETS_MAX - 16));
        assert_eq!(longest.len(), PROXY_V1_OCTETS_MAX);
        check(longest.as_bytes(), None);
    }

    #[test]
    fn version_1_refusals() {
        let check =
            |text: &str, wanted| assert_eq!(parse_proxy_header(text.as_bytes()), Err(wanted), "{text}");
        for text in ["EHLO c.example\r\n", "PROXX", "proxy ", "PROXYTCP4", " PROXY"] {
            check(text, ProxyError::NoHeader);
        }
        for rest in [
            "TCP4 1.2.3.4 1.2.3.4 1 2\n",
            "TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
            "TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            "TCP4 1.2.3.4 ::1 1 2\r\n",
            "TCP6 1.2.3.4 ::1 1 2\r\n",
            "TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "TCP4 1.2.3.4 1.2.3.4  2\r\n",
            "TCP4 1.2.3.4\r\n",
            "UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
            "\r\n",
            "UNKNOWNX\r\n",
            "UNKNOWN\n",
            "TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
        ] {
            check(&["PROXY ", rest].concat(), ProxyError::Malformed);
        }
        check(&"PROXY UNKNOWN ".repeat(8), ProxyError::TooLong);
        let one_too_many = format!("PROXY UNKNOWN {}\r\n", "x".repeat(PROXY_V1_OCTETS_MAX - 15));
        check(&one_too_many, ProxyError::TooLong);
    }

    #[test]
    fn version_2() {
        let v4 = [192, 0, 2, 5, 198, 51, 100, 1, 0xba, 0xa4, 0, 25];
        check(&v2_header(0x21, 0x11, &v4), Some(("192.0.2.5:47780", "198.51.100.1:25")));
        let with_fields = [&v4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        check(&v2_header(0x21, 0x11, &with_fields), Some(("192.0.2.5:47780", "198.51.100.1:25")));
        let mut v6 = [0_u8; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
        check(&v2_header(0x21, 0x21, &v6), Some(("[::1]:3", "[::2]:4")));
        check(&v2_header(0x20, 0x00, &[]), None);
        check(&v2_header(0x20, 0x11, &v4), None);
        check(&v2_header(0x20, 0x11, &[]), None);
        check(&v2_header(0x21, 0x00, b"anything"), None);
        check(&v2_header(0x21, 0x31, &[0; 216]), None);
    }

    #[test]
    fn version_2_refusals() {
        let check = |header: Vec<u8>, wanted| assert_eq!(parse_proxy_header(&header), Err(wanted));
        check(v2_header(0x11, 0x11, &[0; 12]), ProxyError::Unsupported("version"));
        check(v2_header(0x22, 0x11, &[0; 12]), ProxyError::Unsupported("command"));
        check(v2_header(0x21, 0x12, &[0; 12]), ProxyError::Unsupported("transport"));
        check(v2_header(0x21, 0x41, &[0; 12]), ProxyError::Unsupported("address family"));
        check(v2_header(0x21, 0x11, &[0; 11]), ProxyError::TooShort);
        check(v2_header(0x21, 0x21, &[0; 35]), ProxyError::TooShort);
        check(b"\r\n\r\n\0\r\nQUIP".to_vec(), ProxyError::NoHeader);
        let longest = v2_header(0x21, 0x11, &vec![0; 65_535]);
        assert_eq!(longest.len(), PROXY_V2_OCTETS_MAX);
        assert_eq!(parse_proxy_header(&longest[..longest.len() - 1]), Ok(ProxyHeader::Incomplete));
    }
}
