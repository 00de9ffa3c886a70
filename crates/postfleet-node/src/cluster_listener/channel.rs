//! A connection between nodes: plain, or under TLS 1.3.
//!
//! Certificates are made at the start and checked by nobody. What authenticates both ends is the fleet key, whose
//! proofs cover what the two ends of one TLS connection know and nobody in the middle can.

use crate::any_certificate::AnyCertificate;
use crate::socket::{Socket, one_of_streams};
use anyhow::Context;
use rustls::crypto::ring as provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The label of RFC 8446, 7.5, under which both ends export [`BINDING_BYTES`].
const LABEL: &[u8] = b"EXPORTER-postfleet-cluster";
const BINDING_BYTES: usize = 32;

/// Both sides of TLS between nodes.
#[derive(Clone)]
pub(crate) struct Tls {
    accepting: Arc<rustls::ServerConfig>,
    connecting: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Makes a certificate for this run.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec![String::from("postfleet")])
            .context("ECCluster_Listener: TLS: cannot make a certificate")?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .map_err(|error| anyhow::anyhow!("ECCluster_Listener: TLS: cannot make a key: {error}"))?;
        let crypto = Arc::new(provider::default_provider());
        let accepting = rustls::ServerConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS protocol versions")?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .context("ECCluster_Listener: TLS: the certificate made cannot be used")?;
        let connecting = rustls::ClientConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS protocol versions")?
            .dangerous()
            // The proofs of the fleet key do the rest.
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(crypto)))
            .with_no_client_auth();
        Ok(Self { accepting: Arc::new(accepting), connecting: Arc::new(connecting) })
    }
}

/// The stream of one connection between nodes.
pub(crate) enum Channel {
    Plain(Socket),
    Accepted(Box<server::TlsStream<Socket>>),
    Connected(Box<client::TlsStream<Socket>>),
}

one_of_streams!(Channel { Plain, Accepted, Connected });

impl Channel {
    /// The listener's side.
    pub(super) async fn accept(socket: Socket, tls: Option<&Tls>) -> io::Result<Self> {
        match tls {
            None => Ok(Self::Plain(socket)),
            Some(tls) => {
                let stream = TlsAcceptor::from(Arc::clone(&tls.accepting)).accept(socket).await?;
                Ok(Self::Accepted(Box::new(stream)))
            }
        }
    }

    /// The client's side.
    pub(crate) async fn connect(socket: Socket, tls: Option<&Tls>) -> io::Result<Self> {
        match tls {
            None => Ok(Self::Plain(socket)),
            Some(tls) => {
                let name = ServerName::try_from("postfleet").map_err(io::Error::other)?;
                let stream = TlsConnector::from(Arc::clone(&tls.connecting)).connect(name, socket).await?;
                Ok(Self::Connected(Box::new(stream)))
            }
        }
    }

    /// What both ends of this TLS connection know; empty without TLS.
    pub(super) fn binding(&self) -> io::Result<Vec<u8>> {
        let exported = match self {
            Self::Plain(_) => return Ok(Vec::new()),
            Self::Accepted(stream) => {
                stream.get_ref().1.export_keying_material([0; BINDING_BYTES], LABEL, None)
            }
            Self::Connected(stream) => {
                stream.get_ref().1.export_keying_material([0; BINDING_BYTES], LABEL, None)
            }
        };
        exported.map(Vec::from).map_err(io::Error::other)
    }

    /// The connection below.
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Accepted(stream) => stream.get_ref().0,
            Self::Connected(stream) => stream.get_ref().0,
        }
    }
}
