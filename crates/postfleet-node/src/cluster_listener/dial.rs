//! Connecting to the cluster listener of another member.

use super::admission::{AskError, FleetKey, Service, ask};
use super::channel::{Channel, Tls};
use crate::socket::Socket;
use postfleet_types::PrivateName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// How long connecting may take, and the handshakes after it: shorter than a joiner waits for counts.
const PATIENCE: Duration = Duration::from_secs(3);

/// What this node shows and asks when it connects to others. It is the same for all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialing {
    pub(crate) key: Option<FleetKey>,
    pub(crate) tls: Option<Tls>,
}

/// Why a member could not be reached for a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("it announces no address")]
    NoAddress,
    #[error("{address}: {error}")]
    Connect { address: SocketAddr, error: io::Error },
    #[error("{address}: no answer within {} s", PATIENCE.as_secs())]
    Silent { address: SocketAddr },
    #[error("{address}: TLS failed: {error}")]
    Tls { address: SocketAddr, error: io::Error },
    #[error("{address}: {error}")]
    Ask { address: SocketAddr, error: AskError },
}

/// Connects to the listener of `node` at `address`, from the address that members know this node by.
pub(crate) async fn dial(
    dialing: &Dialing,
    own: (&PrivateName, IpAddr),
    node: &str,
    address: SocketAddr,
    service: Service,
) -> Result<Channel, DialError> {
    if address.port() == 0 || address.ip().is_unspecified() {
        return Err(DialError::NoAddress);
    }
    let (name, from) = own;
    let connecting = timeout(PATIENCE, connect(from, address)).await;
    let socket = connecting
        .map_err(|_| DialError::Silent { address })?
        .map_err(|error| DialError::Connect { address, error })?;
    let admitted = async {
        let mut channel = Channel::connect(socket, dialing.tls.as_ref())
            .await
            .map_err(|error| DialError::Tls { address, error })?;
        ask(&mut channel, dialing.key.as_ref(), service, name, node)
            .await
            .map_err(|error| DialError::Ask { address, error })?;
        Ok(channel)
    };
    timeout(PATIENCE, admitted).await.map_err(|_| DialError::Silent { address })?
}

async fn connect(from: IpAddr, address: SocketAddr) -> io::Result<Socket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without a key a listener knows its peers by their addresses. An address that cannot be bound (behind a
    // translator, for one) is no reason not to try.
    if from.is_ipv4() == address.is_ipv4() && !from.is_unspecified() {
        let _other_address = socket.bind(SocketAddr::new(from, 0));
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Socket::Tcp(stream))
}

#[cfg(test)]
mod tests {
    use super::super::admission::{Door, Refusal, answer};
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn key(text: &str) -> FleetKey {
        FleetKey::new(text.repeat(4).into_bytes())
    }

    /// One connection to a listener named mx1: how each side found it.
    fn meet(listener: Dialing, client: Dialing, is_member: bool) -> (Option<Result<(), Refusal>>, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = TcpListener::bind((HOST, 0)).await.unwrap();
            let address = socket.local_addr().unwrap();
            let accepting = async {
                let (stream, _) = socket.accept().await.unwrap();
                let mut channel = Channel::accept(Socket::Tcp(stream), listener.tls.as_ref()).await.ok()?;
                let door =
                    Door { name: "mx1", key: listener.key.as_ref(), is_member, stopping: false, busy: false };
                let found = answer(&mut channel, &door).await?;
                if found.is_ok() {
                    channel.write_all(b"after").await.unwrap();
                    channel.flush().await.unwrap();
                }
                Some(found.map(|(service, name)| {
                    assert_eq!((service, name.as_str()), (Service::State, "#ec0-00042#mx2"));
                }))
            };
            let dialing = async {
                let name = "#ec0-00042#mx2".parse().unwrap();
                match dial(&client, (&name, HOST), "mx1", address, Service::State).await {
                    Ok(mut channel) => {
                        let mut bytes = [0; 5];
                        channel.read_exact(&mut bytes).await.unwrap();
                        String::from_utf8(bytes.to_vec()).unwrap()
                    }
                    Err(error) => error.to_string().replace(&address.to_string(), "ADDRESS"),
                }
            };
            tokio::join!(accepting, dialing)
        })
    }

    fn with(text: &str, tls: bool) -> Dialing {
        Dialing { key: Some(key(text)), tls: tls.then(|| Tls::new().unwrap()) }
    }

    #[test]
    fn members_meet_with_a_key_with_tls_and_without() {
        let met = (Some(Ok(())), String::from("after"));
        assert_eq!(meet(Dialing::default(), Dialing::default(), true), met);
        assert_eq!(meet(with("fleetkey", false), with("fleetkey", false), false), met);
        assert_eq!(meet(with("fleetkey", true), with("fleetkey", true), false), met);
    }

    #[test]
    fn bus_case_16_a_client_with_a_wrong_key_is_refused() {
        for tls in [false, true] {
            let (found, said) = meet(with("fleetkey", tls), with("otherkey", tls), true);
            assert_eq!(found, Some(Err(Refusal::NotAuthenticated)));
            assert_eq!(said, "ADDRESS: it says: 3 not authenticated");
        }
        let (found, _) = meet(with("fleetkey", false), Dialing::default(), true);
        assert_eq!(found, Some(Err(Refusal::NotAuthenticated)), "a listener with a key never accepts -");
    }

    #[test]
    fn bus_case_17_a_stranger_is_refused_without_a_key() {
        let (found, said) = meet(Dialing::default(), Dialing::default(), false);
        assert_eq!(
            (found, said.as_str()),
            (Some(Err(Refusal::NotAMember)), "ADDRESS: it says: 4 not a member")
        );
    }

    #[test]
    fn a_client_notices_a_listener_that_lacks_the_key_or_tls() {
        let (_, said) = meet(Dialing::default(), with("fleetkey", false), true);
        assert_eq!(said, "ADDRESS: it does not hold the fleet's key (Cluster_Key)");
        let (found, said) = meet(with("fleetkey", false), with("fleetkey", true), true);
        assert_eq!(found, None);
        assert!(said.starts_with("ADDRESS: TLS failed"), "{said}");
    }
}
