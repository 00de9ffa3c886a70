//! Reads a PROXY header off a socket, and not an octet more: TLS may begin right behind it.

use crate::socket::Socket;
use postfleet_smtp::{ProxyAddresses, ProxyHeader, parse_proxy_header};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// No header is shorter: `PROXY UNKNOWN` and a line end in version 1, the fixed part in version 2.
const SHORTEST: usize = 15;
/// Where version 2 gives the length of what follows its fixed part.
const V2_FIXED: usize = 16;

/// The addresses that the header carries; none when it says that the connection's own hold.
pub(super) async fn read_header(
    socket: &mut Socket,
    patience: Duration,
) -> io::Result<Option<ProxyAddresses>> {
    timeout(patience, header(socket))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no PROXY header in time")))
}

async fn header<S: AsyncRead + Unpin>(socket: &mut S) -> io::Result<Option<ProxyAddresses>> {
    let mut octets = vec![0; SHORTEST];
    socket.read_exact(&mut octets).await?;
    loop {
        match parse_proxy_header(&octets) {
            Ok(ProxyHeader::Complete { addresses, .. }) => return Ok(addresses),
            Ok(ProxyHeader::Incomplete) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        let missing = match octets.get(V2_FIXED - 2..V2_FIXED) {
            Some(&[high, low]) if !octets.starts_with(b"PROXY") => {
                (V2_FIXED + usize::from(u16::from_be_bytes([high, low]))).saturating_sub(octets.len()).max(1)
            }
            // Version 1 ends where its line ends, and only reading on shows where that is.
            Some(_) | None => 1,
        };
        let start = octets.len();
        octets.resize(start + missing, 0);
        socket.read_exact(octets.get_mut(start..).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &[u8]) -> (Option<String>, Vec<u8>) {
        let mut input = input;
        let addresses = header(&mut input).await.unwrap();
        (addresses.map(|addresses| addresses.client.to_string()), input.to_vec())
    }

    #[tokio::test]
    async fn what_follows_the_header_is_left_alone() {
        let (client, rest) = read(b"PROXY TCP4 203.0.113.5 192.0.2.1 40000 25\r\nEHLO x\r\n").await;
        assert_eq!(client.as_deref(), Some("203.0.113.5:40000"));
        assert_eq!(rest, b"EHLO x\r\n");
        let (client, rest) = read(b"PROXY UNKNOWN\r\nEHLO x\r\n").await;
        assert_eq!((client, rest), (None, b"EHLO x\r\n".to_vec()));
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
        v2.extend([203, 0, 113, 6, 192, 0, 2, 1, 0x9c, 0x40, 0, 25]);
        v2.extend(b"\x16\x03\x01");
        let (client, rest) = read(&v2).await;
        assert_eq!(client.as_deref(), Some("203.0.113.6:40000"));
        assert_eq!(rest, b"\x16\x03\x01");
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        assert!(header(&mut &b"EHLO client.example\r\n"[..]).await.is_err());
        assert!(header(&mut &b"PROXY TCP4"[..]).await.is_err());
    }
}
