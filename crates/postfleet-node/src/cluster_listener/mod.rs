//! The cluster listener: where other members reach this node point to point, and how this node reaches them.
//!
//! A connection is admitted first (`docs/formats/cluster-listener.md`), then belongs to the service it named.

mod admission;
mod channel;
mod dial;
mod state;

pub(crate) use admission::{Door, FleetKey, Service};
pub(crate) use channel::{Channel, Tls};
pub(crate) use dial::{Dialing, dial};
pub(crate) use state::{Turns, read_frame};

use crate::counts;
use crate::fleet::{Fleet, ShownMember};
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::socket::{Endpoint, Listening, Socket};
use admission::{ADMISSION, Refusal};
use postfleet_types::normalised;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A `ping` connection that is silent for so long is closed.
const PING_IDLE: Duration = Duration::from_secs(60);

/// What the listener is told by the configuration.
#[derive(Clone)]
pub(crate) struct ClusterListenerOptions {
    /// The fleet key. Without one, only addresses of members are admitted.
    pub(crate) key: Option<FleetKey>,
    /// With it the lines run inside TLS.
    pub(crate) tls: Option<Tls>,
}

/// Accepts until the socket is to be closed.
pub(crate) async fn listen(
    node: Arc<Node>,
    listening: &Listening,
    endpoint: Endpoint,
    closing: impl Future<Output = ()>,
) {
    let connection = |socket, peer: SocketAddr| {
        let node = Arc::clone(&node);
        let options = node.configuration.serving().cluster(&endpoint);
        async move {
            if let Some(options) = options {
                serve(&node, socket, peer.ip(), &options).await;
            }
        }
    };
    listening.serve("ECCluster_Listener", closing, connection).await;
}

async fn serve(node: &Arc<Node>, socket: Socket, peer: IpAddr, options: &ClusterListenerOptions) {
    let _counted = node.connections.open(counts::CLUSTER, peer);
    let door = Door {
        name: node.identity.name.as_str(),
        key: options.key.as_ref(),
        is_member: node.fleet.as_ref().is_some_and(|fleet| is_member(fleet, peer)),
        stopping: *node.stopping.borrow(),
        busy: node.fleet.as_ref().is_some_and(|fleet| fleet.turns.all_taken()),
    };
    converse(node.fleet.as_ref(), socket, peer, &door, options.tls.as_ref()).await;
}

/// Admits a client and serves it until one side has enough.
pub(crate) async fn converse(
    fleet: Option<&Arc<Fleet>>,
    socket: Socket,
    peer: IpAddr,
    door: &Door<'_>,
    tls: Option<&Tls>,
) {
    let admitted = async {
        let mut channel = match Channel::accept(socket, tls).await {
            Ok(channel) => channel,
            Err(error) => {
                notice(Severity::Warning, format_args!("cluster listener: {peer}: TLS failed: {error}"));
                return None;
            }
        };
        let answer = admission::answer(&mut channel, door).await?;
        Some((channel, answer))
    };
    let Ok(Some((mut channel, answer))) = tokio::time::timeout(ADMISSION, admitted).await else { return };
    match answer {
        Err(refusal) => {
            if matches!(refusal, Refusal::NotAuthenticated | Refusal::NotAMember) {
                notice(Severity::Warning, format_args!("cluster listener: {peer} refused: {refusal}"));
            }
        }
        Ok((Service::Ping, _)) => ping(&mut channel).await,
        Ok((Service::State, client)) => {
            // Without a fleet nobody is a member; a key may be configured all the same.
            let Some(fleet) = fleet else { return };
            if let Err(error) = state::serve(fleet, channel, &client).await {
                notice(
                    Severity::Debug,
                    format_args!("cluster listener: counts for {}: {error}", client.node()),
                );
            }
        }
    }
}

/// Every byte comes back.
async fn ping(channel: &mut Channel) {
    let mut byte = [0];
    let echo = async |byte: &mut [u8; 1], channel: &mut Channel| {
        channel.read_exact(byte).await?;
        channel.write_all(byte).await?;
        channel.flush().await
    };
    while matches!(tokio::time::timeout(PING_IDLE, echo(&mut byte, channel)).await, Ok(Ok(()))) {}
}

/// Whether a member has announced that address, or `peers` names it. Who joins is a member of the shared connection, and
/// fetches, before the main one has admitted it, or the other way round.
pub(crate) fn is_member(fleet: &Fleet, peer: IpAddr) -> bool {
    let announced = |members: &[ShownMember]| -> Vec<IpAddr> {
        members.iter().map(|shown| shown.member.info.address.ip()).collect()
    };
    let (main, shared) = (announced(&fleet.main().members), announced(&fleet.shared().members));
    is_among(peer, [&main, &shared, &fleet.settings().peers])
}

fn is_among(peer: IpAddr, known: [&[IpAddr]; 3]) -> bool {
    let peer = normalised(peer);
    known.iter().any(|known| known.iter().any(|address| normalised(*address) == peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Acceptance case 17 of the bus, its other side: a member of either connection, or a node that `peers` lists, is no
    /// stranger.
    #[test]
    fn bus_case_17_who_is_let_in_without_a_key() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let known = [ip("192.0.2.1")];
        for known in [[&known[..], &[], &[]], [&[], &known, &[]], [&[], &[], &known]] {
            assert!(is_among(ip("192.0.2.1"), known) && is_among(ip("::ffff:192.0.2.1"), known));
            assert!(!is_among(ip("192.0.2.2"), known));
        }
        assert!(!is_among(ip("192.0.2.1"), [&[], &[], &[]]));
    }
}
