//! TLS towards other servers.

use super::settings::Dialing;
use crate::any_certificate::AnyCertificate;
use crate::lock::locked;
use crate::notices::{Severity, notice};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
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
        // `TLS_Verify = no`: any certificate will do, as between relays that do not know each other.
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
