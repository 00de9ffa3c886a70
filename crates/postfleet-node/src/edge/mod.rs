//! The SMTP edge: listeners, and a task for each session.
//!
//! A connection is counted from accept to close, before anything is read from it. On a listener that takes PROXY
//! headers it is counted from the moment the header has named the client.

mod budget;
mod policing;
mod proxy;
mod receptions;
mod session;
mod spooled;
mod stream;
pub(crate) mod tls;

pub(crate) use budget::{Budgets, Cap};
pub(crate) use receptions::Receptions;
pub(crate) use spooled::domain_of;

use crate::clock;
use crate::counts;
use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::policy::{Arrival, Visit};
use crate::socket::{Endpoint, Listening, Socket};
use postfleet_replica::MetricWord;
use postfleet_smtp::{ConnectRefusal, SessionFacts, SessionSettings};
use postfleet_types::normalised;
use session::Beginning;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use stream::Stream;

/// What a listener's options come to for one client.
#[derive(Clone)]
pub(crate) struct PeerSettings {
    pub(crate) session: Arc<SessionSettings>,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first octet.
    pub(crate) implicit_tls: bool,
    pub(crate) caps: Arc<[Cap]>,
    /// `Always_Allow`: the client may send to any destination.
    pub(crate) can_relay: bool,
    /// `Always_Deny`: the connection is closed without a word.
    pub(crate) deny: bool,
    /// `Context`: what policy finds in the connection's context.
    pub(crate) context: BTreeMap<String, String>,
}

/// One `Listen` of `ESMTP_Listener`.
pub(crate) struct SmtpListener {
    /// Its canonical address.
    pub(crate) name: String,
    /// `Proxy_Protocol_Timeout`, when `Proxy_Protocol` is on.
    pub(crate) proxy: Option<Duration>,
    /// The options for a client address.
    pub(crate) resolve: Box<dyn Fn(IpAddr) -> Arc<PeerSettings> + Send + Sync>,
}

/// Accepts until the socket is to be closed.
pub(crate) async fn listen(
    node: Arc<Node>,
    listening: &Listening,
    endpoint: Endpoint,
    closing: impl Future<Output = ()>,
) {
    let name = format!("ESMTP_Listener {endpoint}");
    let connect = |socket, peer| connection(Arc::clone(&node), endpoint.clone(), socket, peer);
    listening.serve(&name, closing, connect).await;
}

async fn connection(node: Arc<Node>, endpoint: Endpoint, mut socket: Socket, peer: SocketAddr) {
    let (mut client, mut local) = (peer, socket.local_address());
    let Some(listener) = node.configuration.serving().smtp(&endpoint) else { return };
    if let Some(patience) = listener.proxy {
        // `Always_Deny` keeps everybody but the proxies away, so it is judged by the real address.
        if (listener.resolve)(normalised(client.ip())).deny {
            return;
        }
        match proxy::read_header(&mut socket, patience).await {
            Ok(Some(addresses)) => (client, local) = (addresses.client, addresses.local),
            Ok(None) => {}
            Err(error) => {
                notice(
                    Severity::Info,
                    format_args!("{}: connection from {client} closed: {error}", listener.name),
                );
                return;
            }
        }
    }
    let _counted = node.connections.open(counts::SMTP, client.ip());
    node.audit.event(MetricWord::Connect, client.ip(), 1);
    // The header may have been long in coming: what holds is what is in effect now. Nothing can come into effect
    // between the look at the limits and the place taken under them.
    let Some((settings, esmtp, policy, place)) = node.configuration.with_serving(|serving| {
        let settings = (serving.smtp(&endpoint)?.resolve)(normalised(client.ip()));
        let place = node.budgets.take(&endpoint, client.ip(), &settings.caps);
        Some((settings, serving.esmtp, Arc::clone(&serving.policy), place))
    }) else {
        return;
    };
    if settings.deny && listener.proxy.is_none() {
        return;
    }
    let refusal = place.is_none().then_some(ConnectRefusal::SessionLimit);
    let mut stream = Stream::Plain(socket);
    let mut tls = None;
    if settings.implicit_tls {
        let Some(config) = settings.tls.clone() else { return };
        match tokio::time::timeout(Duration::from_secs(60), stream.start_tls(config)).await {
            Ok(Ok(started)) => {
                tls = Some(started.tls_facts());
                stream = started;
            }
            Ok(Err(_)) | Err(_) => return,
        }
    }
    // Nobody has anything to say on most relays: then a session costs what it did without policy.
    let listened = !policy.is_idle();
    let ends = listened.then(|| Arc::clone(&policy));
    let _at_listener = listened.then(|| node.connections.open_at(&endpoint, client.ip()));
    let visit = listened.then(|| {
        let mut visit = Visit::new(
            &node,
            Arrival {
                policy,
                listener: endpoint.clone(),
                client,
                local,
                context: settings.context.clone(),
                can_relay: settings.can_relay,
            },
        );
        if let Some(tls) = &tls {
            visit.encrypted(tls);
        }
        Box::new(visit)
    });
    let facts = SessionFacts { client, local, opened: clock::wall(), now: clock::monotonic(), tls };
    session::serve(
        &node,
        stream,
        Beginning {
            settings: Arc::clone(&settings.session),
            esmtp,
            facts,
            connection: node.store.draw_id(),
            tls: settings.tls.clone(),
            can_relay: settings.can_relay,
            refusal,
            visit,
        },
    )
    .await;
    drop(place);
    if let Some(policy) = ends {
        policy.session_ended(&node).await;
    }
}
