//! The metrics listener: `GET /metrics` in the Prometheus text format, and nothing else.

mod figures;
mod text;

use crate::node::Node;
use crate::notices::{Severity, notice};
use crate::socket::{Endpoint, Listening, Socket};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// What holds for one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsOptions {
    /// How long a request, and the next one, may be in coming.
    pub(crate) timeout: Duration,
    /// The most connections at a time.
    pub(crate) connections_max: u32,
    /// Whether the client may ask at all.
    pub(crate) admitted: bool,
}

/// One `Listen` of `Metrics_Listener`.
#[derive(Clone)]
pub(crate) struct MetricsListener {
    /// The options for a client address; `None` for a Unix socket.
    pub(crate) resolve: Arc<dyn Fn(Option<IpAddr>) -> MetricsOptions + Send + Sync>,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Accepts until the socket is to be closed.
pub(crate) async fn listen(
    node: Arc<Node>,
    listening: &Listening,
    endpoint: Endpoint,
    closing: impl Future<Output = ()>,
) {
    let name = format!("Metrics_Listener {endpoint}");
    let open = Arc::new(AtomicU32::new(0));
    let connect = |socket, peer| {
        connection(Arc::clone(&node), endpoint.clone(), Place(Arc::clone(&open)), socket, peer)
    };
    listening.serve(&name, closing, connect).await;
}

/// A place among the connections of a listener, once it is taken.
struct Place(Arc<AtomicU32>);

struct Taken(Arc<AtomicU32>);

impl Place {
    fn take(self, max: u32) -> Option<Taken> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let taken = Taken(self.0);
        // One too many gives its place back when it is dropped.
        (before < max).then_some(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(node: Arc<Node>, endpoint: Endpoint, place: Place, socket: Socket, peer: SocketAddr) {
    let Some(listener) = node.configuration.serving().metrics(&endpoint) else { return };
    let client = match endpoint {
        Endpoint::Tcp(_) => Some(peer.ip()),
        Endpoint::Unix(_) => None,
    };
    let options = (listener.resolve)(client);
    if !options.admitted {
        notice(
            Severity::Info,
            format_args!("Metrics_Listener {endpoint}: {} is in no Peer stanza; closed", peer.ip()),
        );
        return;
    }
    let Some(_taken) = place.take(options.connections_max) else { return };
    match listener.tls {
        None => serve(node, socket, options.timeout).await,
        Some(tls) => {
            let accepting = tokio_rustls::TlsAcceptor::from(tls).accept(socket);
            // A client that fails here has been told by TLS.
            if let Ok(Ok(stream)) = tokio::time::timeout(options.timeout, accepting).await {
                serve(node, stream, options.timeout).await;
            }
        }
    }
}

async fn serve(node: Arc<Node>, stream: impl AsyncRead + AsyncWrite + Unpin, timeout: Duration) {
    let answer = |request: Request<Incoming>| {
        let response = answer(&node, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    };
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer));
    // Clients that vanish, or say nothing for too long, are no matter for the log.
    drop(served.await);
}

fn answer(node: &Node, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let plain = |status, text: String, kind| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
        response
    };
    const WORDS: &str = "text/plain; charset=utf-8";
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            plain(StatusCode::OK, figures::page(node), "text/plain; version=0.0.4; charset=utf-8")
        }
        (_, "/metrics") => {
            let mut response =
                plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".into(), WORDS);
            response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "the figures are at /metrics\n".into(), WORDS),
    }
}

#[cfg(test)]
mod tests {
    use super::figures::ALL;

    /// The manual shows what there is, in the same words.
    #[test]
    fn the_manual_lists_every_figure() {
        let manual = include_str!("../../../../docs/metrics.md");
        let listed: Vec<&str> = manual.lines().filter(|line| line.starts_with("| `postfleet_")).collect();
        let rows: Vec<String> =
            ALL.iter().map(|figure| format!("| `{}` | {} |", figure.name, figure.kind.word())).collect();
        for row in &rows {
            assert_eq!(listed.iter().filter(|line| line.starts_with(row.as_str())).count(), 1, "{row}");
        }
        assert_eq!(listed.len(), rows.len());
    }
}
