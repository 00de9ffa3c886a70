//! A client's socket: plain or under TLS.

use crate::socket::{Socket, one_of_streams};
use std::io;
use std::sync::Arc;
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
            cipher_bits: connection
                .negotiated_cipher_suite()
                .map(|suite| bits(suite.suite()))
                .unwrap_or_default(),
            client_subject: None,
            client_verified: false,
        }
    }
}

/// Bits of the key. A suite that is built in uses all that its algorithm has.
fn bits(suite: rustls::CipherSuite) -> u16 {
    let name = suite.as_str().unwrap_or_default();
    let known = [("AES_128", 128), ("AES_256", 256), ("CHACHA20", 256)];
    known.into_iter().find(|(algorithm, _)| name.contains(algorithm)).map_or(0, |(_, bits)| bits)
}

one_of_streams!(Stream { Plain, Tls });
