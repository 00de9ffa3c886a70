//! A client's socket: plain or under TLS.

use crate::socket::Socket;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The stream of one session.
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// Does the handshake as the server. TLS never starts twice.
    pub(super) async fn start_tls(self, config: Arc<rustls::ServerConfig>) -> io::Result<Self> {
        match self {
            Self::Plain(socket) => {
                TlsAcceptor::from(config).accept(socket).await.map(|stream| Self::Tls(Box::new(stream)))
            }
            Self::Tls(_) => Err(io::Error::other("TLS is on already")),
        }
    }

    /// Version and cipher suite, once TLS is on.
    pub(super) fn tls_facts(&self) -> postfleet_smtp::TlsFacts {
        let Self::Tls(stream) = self else { return postfleet_smtp::TlsFacts::default() };
        let (_, connection) = stream.get_ref();
        postfleet_smtp::TlsFacts {
            version: match connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
                _ => String::new(),
            },
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default()
                .to_owned(),
            client_subject: None,
            client_verified: false,
        }
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain($stream) => $call,
            Self::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
