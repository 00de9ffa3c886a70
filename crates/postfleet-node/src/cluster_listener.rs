//! The cluster listener: where other members reach this node point to point.
//!
//! A connection is admitted first (`docs/formats/cluster-listener.md`), then belongs to the service it named. The
//! only service of this version is `ping`.

use crate::counts;
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::socket::{Listening, Socket};
use crate::system;
use postfleet_types::{PrivateName, Random, normalised};
use ring::hmac;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The protocol version of the greeting.
const VERSION: u32 = 1;
/// The longest line, its end included.
const LINE_BYTES_MAX: usize = 512;
/// The whole admission must be over by then.
const ADMISSION: Duration = Duration::from_secs(10);

/// A `ping` connection that is silent for so long is closed.
const PING_IDLE: Duration = Duration::from_secs(60);

/// What the listener is told by the configuration.
#[derive(Clone)]
pub(crate) struct ClusterListenerOptions {
    /// The fleet key. Without one, only addresses of members are admitted.
    pub(crate) key: Option<Arc<[u8]>>,
}

/// Why a peer is turned away, with the number of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Version,
    Service,
    NotAuthenticated,
    NotAMember,
    ShuttingDown,
}

impl Refusal {
    const fn code(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::Service => 2,
            Self::NotAuthenticated => 3,
            Self::NotAMember => 4,
            Self::ShuttingDown => 6,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "protocol version",
            Self::Service => "unknown service or version",
            Self::NotAuthenticated => "not authenticated",
            Self::NotAMember => "not a member",
            Self::ShuttingDown => "shutting down",
        })
    }
}

/// The client's line: `SERVICE <service> <version> <private name> <nonce> <proof>`.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    service: &'a str,
    version: &'a str,
    client: PrivateName,
    nonce: &'a str,
    proof: &'a str,
}

impl<'a> Request<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let request = match (
            words.next()?,
            words.next()?,
            words.next()?,
            words.next()?,
            words.next()?,
            words.next()?,
        ) {
            ("SERVICE", service, version, client, nonce, proof) => {
                Self { service, version, client: client.parse().ok()?, nonce, proof }
            }
            _ => return None,
        };
        let nonce_is_right =
            request.nonce.len() == 32 && request.nonce.bytes().all(|b| b.is_ascii_hexdigit());
        (words.next().is_none() && nonce_is_right).then_some(request)
    }
}

/// The fields under a proof. `side` says who proves: `C` the client, `S` the listener.
fn proof(key: &[u8], side: &str, listener: (&str, &str), request: &Request<'_>) -> String {
    let (listener_node, listener_nonce) = listener;
    let fields = [
        listener_nonce,
        request.nonce,
        side,
        request.service,
        request.version,
        listener_node,
        request.client.node(),
    ];
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), fields.join("\n").as_bytes());
    hex(tag.as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Equal, in a time that tells nothing about where they differ.
fn same(ours: &str, theirs: &str) -> bool {
    ours.len() == theirs.len()
        && ours.bytes().zip(theirs.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Decides about a request. The proof that goes into the answer is `-` where there is no key.
fn admit(
    key: Option<&[u8]>,
    listener: (&str, &str),
    request: &Request<'_>,
    is_member: bool,
) -> Result<String, Refusal> {
    let answer = match key {
        Some(key) => {
            if !same(&proof(key, "C", listener, request), request.proof) {
                return Err(Refusal::NotAuthenticated);
            }
            proof(key, "S", listener, request)
        }
        None if !is_member => return Err(Refusal::NotAMember),
        None => String::from("-"),
    };
    match (request.service, request.version) {
        ("ping", "1") => Ok(answer),
        _ => Err(Refusal::Service),
    }
}

/// Accepts until the task is aborted.
pub(crate) async fn listen(node: Arc<Node>, listening: Listening, options: ClusterListenerOptions) {
    let connection = |socket, peer: SocketAddr| {
        let (node, options) = (Arc::clone(&node), options.clone());
        async move { serve(&node, socket, peer.ip(), &options).await }
    };
    listening.serve("ECCluster_Listener", connection).await;
}

async fn serve(node: &Arc<Node>, mut stream: Socket, peer: IpAddr, options: &ClusterListenerOptions) {
    let _counted = node.connections.open(counts::CLUSTER, peer);
    let admitted = tokio::time::timeout(ADMISSION, admission(node, &mut stream, peer, options)).await;
    if !matches!(admitted, Ok(Some(()))) {
        return;
    }
    // `ping`: every byte comes back.
    let mut byte = [0];
    let echo = async |byte: &mut [u8; 1], stream: &mut Socket| {
        stream.read_exact(byte).await?;
        stream.write_all(byte).await
    };
    while matches!(tokio::time::timeout(PING_IDLE, echo(&mut byte, &mut stream)).await, Ok(Ok(()))) {}
}

async fn admission(
    node: &Node,
    stream: &mut Socket,
    peer: IpAddr,
    options: &ClusterListenerOptions,
) -> Option<()> {
    let mut random = Random::seeded(system::random_seed());
    let nonce = format!("{:016x}{:016x}", system::random_seed(), random.next_u64() ^ system::random_seed());
    let name = node.identity.name.as_str();
    stream.write_all(format!("POSTFLEET-CLUSTER {VERSION} {name} {nonce}\n").as_bytes()).await.ok()?;
    let line = read_line(stream).await?;
    let refuse = |refusal: Refusal| {
        if matches!(refusal, Refusal::NotAuthenticated | Refusal::NotAMember) {
            notice(Severity::Warning, format_args!("cluster listener: {peer} refused: {refusal}"));
        }
        format!("NO {} {refusal}\n", refusal.code())
    };
    let answer = match Request::parse(&line) {
        _ if *node.stopping.borrow() => Err(Refusal::ShuttingDown),
        None => Err(Refusal::Version),
        Some(request) => admit(options.key.as_deref(), (name, &nonce), &request, is_member(node, peer)),
    };
    match answer {
        Ok(proof) => stream.write_all(format!("OK {proof}\n").as_bytes()).await.ok(),
        Err(refusal) => {
            drop(stream.write_all(refuse(refusal).as_bytes()).await);
            None
        }
    }
}

fn is_member(node: &Node, peer: IpAddr) -> bool {
    let peer = normalised(peer);
    let of_member = |fleet: &Arc<crate::fleet::Fleet>| {
        fleet.main().members.iter().any(|shown| normalised(shown.member.info.address.ip()) == peer)
    };
    node.fleet.as_ref().is_some_and(of_member)
}

/// One line, without its end; none when it is too long, not UTF-8, or the connection ends.
async fn read_line(stream: &mut Socket) -> Option<String> {
    let mut line = Vec::new();
    while line.len() < LINE_BYTES_MAX {
        match stream.read_u8().await.ok()? {
            b'\n' => return String::from_utf8(line).ok(),
            byte => line.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "00112233445566778899aabbccddeeff";
    const OURS: (&str, &str) = ("mx1", "ffeeddccbbaa99887766554433221100");

    fn request(line: &str) -> Request<'_> {
        Request::parse(line).unwrap()
    }

    /// Bus document, acceptance case 16.
    #[test]
    fn bus_case_16_a_wrong_key_is_refused_before_the_service_is_looked_at() {
        let right = b"0123456789abcdef0123456789abcdef";
        let line = format!("SERVICE nosuch 1 #ec0-00042#mx2 {NONCE} -");
        let bare = request(&line);
        let line =
            format!("SERVICE nosuch 1 #ec0-00042#mx2 {NONCE} {}", proof(b"another key", "C", OURS, &bare));
        assert_eq!(admit(Some(right), OURS, &request(&line), true), Err(Refusal::NotAuthenticated));
        assert_eq!(admit(Some(right), OURS, &bare, true), Err(Refusal::NotAuthenticated));
        let line = format!("SERVICE nosuch 1 #ec0-00042#mx2 {NONCE} {}", proof(right, "C", OURS, &bare));
        assert_eq!(admit(Some(right), OURS, &request(&line), false), Err(Refusal::Service));
    }

    #[test]
    fn both_sides_prove_that_they_hold_the_key() {
        let key = b"0123456789abcdef0123456789abcdef";
        let line = format!("SERVICE ping 1 #ec0-00042#mx2 {NONCE} -");
        let line =
            format!("SERVICE ping 1 #ec0-00042#mx2 {NONCE} {}", proof(key, "C", OURS, &request(&line)));
        let asked = request(&line);
        let answer = admit(Some(key), OURS, &asked, false).unwrap();
        assert_eq!(answer, proof(key, "S", OURS, &asked));
        assert_ne!(answer, asked.proof);
    }

    /// Bus document, acceptance case 17.
    #[test]
    fn bus_case_17_without_a_key_only_members_are_admitted() {
        let line = format!("SERVICE ping 1 #ec0-00042#mx2 {NONCE} -");
        assert_eq!(admit(None, OURS, &request(&line), false), Err(Refusal::NotAMember));
        assert_eq!(admit(None, OURS, &request(&line), true), Ok("-".into()));
    }

    #[test]
    fn lines_of_another_form_are_no_requests() {
        for line in [
            "",
            "SERVICE",
            "SERVICE ping 1 #ec0-00042#mx2 00 -",
            "SERVICE ping 1 mx2 00112233445566778899aabbccddeeff -",
            "SERVICE ping 1 #ec0-00042#mx2 00112233445566778899aabbccddeeff - more",
            "service ping 1 #ec0-00042#mx2 00112233445566778899aabbccddeeff -",
        ] {
            assert_eq!(Request::parse(line), None, "{line}");
        }
    }
}
