//! TLS towards other servers.

use super::settings::Dialing;
use crate::lock::locked;
use crate::notices::{Severity, notice};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio_rustls::TlsConnector;

type Wanted = (bool, Option<PathBuf>);

/// One connector for each way in which certificates are looked at.
#[derive(Default)]
pub(super) struct Connectors(Mutex<BTreeMap<Wanted, Option<TlsConnector>>>);

impl Connectors {
    pub(super) fn get(&self, dialing: &Dialing) -> Option<TlsConnector> {
        let key = (dialing.verify, dialing.authorities.clone());
        let mut made = locked(&self.0);
        made.entry(key)
            .or_insert_with(|| match connector(dialing) {
                Ok(connector) => Some(connector),
                Err(error) => {
                    notice(Severity::Error, format_args!("TLS of outbound connections: {error:#}"));
                    None
                }
            })
            .clone()
    }
}

fn connector(dialing: &Dialing) -> anyhow::Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = if dialing.verify {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &dialing.authorities {
            for authority in CertificateDer::pem_file_iter(path)? {
                roots.add(authority?)?;
            }
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth()
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// `TLS_Verify = no`: any certificate will do, as between relays that do not know each other. Who listens in is kept out,
/// who stands in between is not.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
