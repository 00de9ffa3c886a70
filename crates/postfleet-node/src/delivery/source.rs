//! Which address of this machine a connection comes from.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Who is at fault when there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// We are: this machine has not got the source address.
    NoSource(io::Error),
    /// We are: every local port that could lead there is in use.
    NoPort(io::Error),
    /// The other side, or the way there.
    Refused(io::Error),
}

/// Connects from a source address: `*`, an address, or a name of this machine.
pub(super) async fn connect(bind: &str, to: SocketAddr) -> Result<TcpStream, ConnectError> {
    let source = if bind == "*" { None } else { Some(source(bind, to).await?) };
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(ConnectError::Refused)?;
    if let Some(source) = source {
        share_ports(&socket);
        socket.bind(SocketAddr::new(source, 0)).map_err(unbound)?;
    }
    socket.connect(to).await.map_err(|error| unconnected(error, source.is_some() || to.is_ipv4()))
}

/// Has the port chosen when it is known where the connection goes: two exchangers may see the same one. Otherwise all
/// connections from an address together have no more than there are ports.
fn share_ports(socket: &TcpSocket) {
    // Without it connections are fewer, and all else as it was.
    #[cfg(target_os = "linux")]
    let _fewer = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

fn unbound(error: io::Error) -> ConnectError {
    if error.kind() == ErrorKind::AddrInUse {
        ConnectError::NoPort(error)
    } else {
        ConnectError::NoSource(error)
    }
}

/// `has_source`: there is an address for the connection to come from, so that only a port can be missing. A machine without
/// an IPv6 address says the same of every connection to one.
fn unconnected(error: io::Error, has_source: bool) -> ConnectError {
    if has_source && error.kind() == ErrorKind::AddrNotAvailable {
        ConnectError::NoPort(error)
    } else {
        ConnectError::Refused(error)
    }
}

async fn source(bind: &str, to: SocketAddr) -> Result<IpAddr, ConnectError> {
    let own = addresses(bind).await.map_err(ConnectError::NoSource)?;
    // Another address of the exchanger may be of the other family.
    own.into_iter().find(|own| own.is_ipv4() == to.is_ipv4()).ok_or_else(|| {
        let family = if to.is_ipv4() { "IPv4" } else { "IPv6" };
        ConnectError::Refused(io::Error::other(format!("Bind_Address {bind} has no {family} address")))
    })
}

async fn addresses(bind: &str) -> io::Result<Vec<IpAddr>> {
    match bind.trim_matches(['[', ']']).parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => Ok(lookup_host((bind, 0)).await?.map(|found| found.ip()).collect()),
    }
}

/// Whether connections may be made to IPv4 addresses, and to IPv6 addresses. Of a name that is not known now both are
/// assumed: the connections will say that it is not.
pub(super) async fn families(bind: &str) -> (bool, bool) {
    if bind == "*" {
        return (true, true);
    }
    match addresses(bind).await {
        Ok(own) => (own.iter().any(IpAddr::is_ipv4), own.iter().any(IpAddr::is_ipv6)),
        Err(_) => (true, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_has_families() {
        assert_eq!(families("*").await, (true, true));
        assert_eq!(families("192.0.2.1").await, (true, false));
        assert_eq!(families("[2001:db8::1]").await, (false, true));
        // No address for us, and one for the system: so are names.
        assert_eq!(families("127.1").await, (true, false));
    }

    #[tokio::test]
    async fn an_exchanger_of_another_family_has_failed_and_the_source_has_not() {
        let to = "[2001:db8::1]:25".parse().unwrap();
        match connect("127.1", to).await {
            Err(ConnectError::Refused(error)) => {
                assert_eq!(error.to_string(), "Bind_Address 127.1 has no IPv6 address");
            }
            other => panic!("{other:?}"),
        }
        let missing = connect("203.0.113.9", "127.0.0.1:25".parse().unwrap()).await;
        assert!(matches!(missing, Err(ConnectError::NoSource(_))), "{missing:?}");
    }

    #[test]
    fn ports_that_are_all_in_use_are_no_missing_source() {
        let error = |kind: ErrorKind| io::Error::from(kind);
        assert!(matches!(unbound(error(ErrorKind::AddrNotAvailable)), ConnectError::NoSource(_)));
        assert!(matches!(unbound(error(ErrorKind::AddrInUse)), ConnectError::NoPort(_)));
        assert!(matches!(unconnected(error(ErrorKind::AddrNotAvailable), true), ConnectError::NoPort(_)));
        assert!(matches!(unconnected(error(ErrorKind::AddrNotAvailable), false), ConnectError::Refused(_)));
        assert!(matches!(unconnected(error(ErrorKind::ConnectionRefused), true), ConnectError::Refused(_)));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_port_is_chosen_when_it_is_known_where_to() {
        let socket = TcpSocket::new_v4().unwrap();
        share_ports(&socket);
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 0);
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = socket.connect(server.local_addr().unwrap()).await.unwrap();
        assert_ne!(stream.local_addr().unwrap().port(), 0);
    }
}
