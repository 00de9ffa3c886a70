//! The three lines that open a connection between nodes, from both sides. `docs/formats/cluster-listener.md`.

use super::channel::Channel;
use crate::system;
use postfleet_types::{PrivateName, Random};
use ring::hmac;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The protocol version of the greeting.
const VERSION: u32 = 1;
/// The longest line, its end included.
const LINE_BYTES_MAX: usize = 512;
/// The whole admission must be over by then.
pub(super) const ADMISSION: Duration = Duration::from_secs(10);

/// What all members know and nobody else. Never printed.
#[derive(Clone)]
pub(crate) struct FleetKey(Arc<[u8]>);

impl FleetKey {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey")
    }
}

/// What a connection can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Every byte comes back.
    Ping,
    /// Bulk state.
    State,
}

impl Service {
    const ALL: [Self; 2] = [Self::Ping, Self::State];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::State => "state",
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::Ping | Self::State => "1",
        }
    }
}

/// Why a peer is turned away, with the number of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Version,
    Service,
    NotAuthenticated,
    NotAMember,
    Busy,
    ShuttingDown,
}

impl Refusal {
    const fn code(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::Service => 2,
            Self::NotAuthenticated => 3,
            Self::NotAMember => 4,
            Self::Busy => 5,
            Self::ShuttingDown => 6,
        }
    }

    /// The line that says so.
    pub(super) fn line(self) -> String {
        format!("NO {} {self}\n", self.code())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "protocol version",
            Self::Service => "unknown service or version",
            Self::NotAuthenticated => "not authenticated",
            Self::NotAMember => "not a member",
            Self::Busy => "busy",
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
        (words.next().is_none() && is_nonce(request.nonce)).then_some(request)
    }
}

fn is_nonce(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn nonce() -> String {
    let mut random = Random::seeded(system::random_seed());
    format!("{:016x}{:016x}", system::random_seed(), random.next_u64() ^ system::random_seed())
}

/// The listener's part of what proofs speak about.
#[derive(Clone, Copy)]
struct Greeting<'a> {
    node: &'a str,
    nonce: &'a str,
    /// What both ends of a TLS connection know, and nobody in the middle; empty without TLS.
    binding: &'a [u8],
}

impl<'a> Greeting<'a> {
    fn parse(line: &'a str, binding: &'a [u8]) -> Option<Self> {
        let mut words = line.split(' ');
        match (words.next()?, words.next()?, words.next()?, words.next()?, words.next()) {
            ("POSTFLEET-CLUSTER", "1", node, nonce, None) if is_nonce(nonce) => {
                Some(Self { node, nonce, binding })
            }
            _ => None,
        }
    }
}

/// The fields under a proof. `side` says who proves: `C` the client, `S` the listener.
fn proof(key: &FleetKey, side: &str, listener: Greeting<'_>, request: &Request<'_>) -> String {
    let fields = [
        listener.nonce,
        request.nonce,
        side,
        request.service,
        request.version,
        listener.node,
        request.client.node(),
    ];
    let mut text = fields.join("\n").into_bytes();
    if !listener.binding.is_empty() {
        text.push(b'\n');
        text.extend_from_slice(listener.binding);
    }
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.0), &text).as_ref())
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
    key: Option<&FleetKey>,
    listener: Greeting<'_>,
    request: &Request<'_>,
    is_member: bool,
) -> Result<(Service, String), Refusal> {
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
    let named = |service: &Service| service.word() == request.service && service.version() == request.version;
    let service = Service::ALL.into_iter().find(named).ok_or(Refusal::Service)?;
    Ok((service, answer))
}

/// What a listener knows when a connection comes.
pub(crate) struct Door<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: Option<&'a FleetKey>,
    /// The peer's address is that of a member.
    pub(crate) is_member: bool,
    pub(crate) stopping: bool,
    /// No more connections for bulk state are taken.
    pub(crate) busy: bool,
}

/// Admits a client, or turns it away and says why. `None`: it went away or did not speak the protocol in time.
pub(super) async fn answer(
    channel: &mut Channel,
    door: &Door<'_>,
) -> Option<Result<(Service, PrivateName), Refusal>> {
    let nonce = nonce();
    let binding = channel.binding().ok()?;
    let greeting = Greeting { node: door.name, nonce: &nonce, binding: &binding };
    let line = format!("POSTFLEET-CLUSTER {VERSION} {} {nonce}\n", door.name);
    channel.write_all(line.as_bytes()).await.ok()?;
    channel.flush().await.ok()?;
    let line = read_line(channel).await?;
    let decided = match Request::parse(&line) {
        _ if door.stopping => Err(Refusal::ShuttingDown),
        None => Err(Refusal::Version),
        Some(request) => match admit(door.key, greeting, &request, door.is_member) {
            Ok((Service::State, _)) if door.busy => Err(Refusal::Busy),
            decided => decided.map(|(service, proof)| (service, request.client, proof)),
        },
    };
    let line = match &decided {
        Ok((_, _, proof)) => format!("OK {proof}\n"),
        Err(refusal) => refusal.line(),
    };
    channel.write_all(line.as_bytes()).await.ok()?;
    channel.flush().await.ok()?;
    Some(decided.map(|(service, client, _)| (service, client)))
}

/// Why a listener could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It answered in another protocol.
    #[error("it does not speak the protocol of cluster listeners, version {VERSION}")]
    Protocol,
    /// Somebody else answered.
    #[error("node {0} answers there")]
    OtherNode(String),
    /// It said no.
    #[error("it says: {0}")]
    Refused(String),
    /// It did not prove that it holds the fleet's key.
    #[error("it does not hold the fleet's key (Cluster_Key)")]
    WrongProof,
}

/// Asks the listener of `node` for a service; afterwards the connection belongs to it.
pub(crate) async fn ask(
    channel: &mut Channel,
    key: Option<&FleetKey>,
    service: Service,
    own: &PrivateName,
    node: &str,
) -> Result<(), AskError> {
    let binding = channel.binding()?;
    let line = read_line(channel).await.ok_or(AskError::Protocol)?;
    let greeting = Greeting::parse(&line, &binding).ok_or(AskError::Protocol)?;
    if greeting.node != node {
        return Err(AskError::OtherNode(greeting.node.to_owned()));
    }
    let nonce = nonce();
    let mut request = Request {
        service: service.word(),
        version: service.version(),
        client: own.clone(),
        nonce: &nonce,
        proof: "-",
    };
    let ours = key.map(|key| proof(key, "C", greeting, &request));
    request.proof = ours.as_deref().unwrap_or("-");
    let line = format!(
        "SERVICE {} {} {} {} {}\n",
        request.service, request.version, request.client, request.nonce, request.proof
    );
    channel.write_all(line.as_bytes()).await?;
    channel.flush().await?;
    let line = read_line(channel).await.ok_or(AskError::Protocol)?;
    match line.split_once(' ') {
        Some(("OK", theirs)) => match key {
            Some(key) if !same(&proof(key, "S", greeting, &request), theirs) => Err(AskError::WrongProof),
            Some(_) | None => Ok(()),
        },
        Some(("NO", why)) => Err(AskError::Refused(why.chars().filter(|c| !c.is_control()).collect())),
        Some(_) | None => Err(AskError::Protocol),
    }
}

/// One line, without its end; none when it is too long, not UTF-8, or the connection ends.
async fn read_line(stream: &mut Channel) -> Option<String> {
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
    const OURS: Greeting<'static> =
        Greeting { node: "mx1", nonce: "ffeeddccbbaa99887766554433221100", binding: &[] };

    fn key(text: &str) -> FleetKey {
        FleetKey::new(text.as_bytes().to_vec())
    }

    fn request(line: &str) -> Request<'_> {
        Request::parse(line).unwrap()
    }

    /// Bus document, acceptance case 16.
    #[test]
    fn bus_case_16_a_wrong_key_is_refused_before_the_service_is_looked_at() {
        let right = key("0123456789abcdef0123456789abcdef");
        let line = format!("SERVICE nosuch 1 #ec0-00042#mx2 {NONCE} -");
        let bare = request(&line);
        let wrong = proof(&key("another key"), "C", OURS, &bare);
        let line = format!("SERVICE nosuch 1 #ec0-00042#mx2 {NONCE} {wrong}");
        assert_eq!(admit(Some(&right), OURS, &request(&line), true), Err(Refusal::NotAuthenticated));
        assert_eq!(admit(Some(&right), OURS, &bare, true), Err(Refusal::NotAuthenticated));
        let line = format!("SERVICE nosuch 1 #ec0-00042#mx2 {NONCE} {}", proof(&right, "C", OURS, &bare));
        assert_eq!(admit(Some(&right), OURS, &request(&line), false), Err(Refusal::Service));
    }

    #[test]
    fn both_sides_prove_that_they_hold_the_key() {
        let key = key("0123456789abcdef0123456789abcdef");
        let line = format!("SERVICE ping 1 #ec0-00042#mx2 {NONCE} -");
        let line =
            format!("SERVICE ping 1 #ec0-00042#mx2 {NONCE} {}", proof(&key, "C", OURS, &request(&line)));
        let asked = request(&line);
        let (service, answer) = admit(Some(&key), OURS, &asked, false).unwrap();
        assert_eq!((service, &answer), (Service::Ping, &proof(&key, "S", OURS, &asked)));
        assert_ne!(answer, asked.proof);
        // Whoever relays between two TLS connections has another binding on each side.
        let bound = Greeting { binding: &[1; 32], ..OURS };
        assert_eq!(admit(Some(&key), bound, &asked, false), Err(Refusal::NotAuthenticated));
    }

    /// Bus document, acceptance case 17.
    #[test]
    fn bus_case_17_without_a_key_only_members_are_admitted() {
        let line = format!("SERVICE state 1 #ec0-00042#mx2 {NONCE} -");
        assert_eq!(admit(None, OURS, &request(&line), false), Err(Refusal::NotAMember));
        assert_eq!(admit(None, OURS, &request(&line), true), Ok((Service::State, "-".into())));
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
        for line in ["", "220 mx1 ESMTP", "POSTFLEET-CLUSTER 2 mx1 00112233445566778899aabbccddeeff"] {
            assert!(Greeting::parse(line, &[]).is_none(), "{line}");
        }
    }
}
