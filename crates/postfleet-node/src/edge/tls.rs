//! TLS for listeners: certificate and key from files, TLS 1.2 and 1.3 only.

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// Reads a certificate chain and its key. With `authorities`, clients need a certificate of one of these.
pub(crate) fn server_config(
    certificate: &Path,
    key: &Path,
    authorities: Option<&Path>,
) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("TLS_Certificate: cannot read {} as PEM", certificate.display()))?;
    if chain.is_empty() {
        bail!("TLS_Certificate: {} holds no certificate", certificate.display());
    }
    let key_der = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("TLS_Key: cannot read {} as PEM", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS protocol versions")?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let unreadable = || format!("TLS_Client_CA: cannot read {} as PEM", path.display());
            for authority in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
                roots.add(authority.with_context(unreadable)?).with_context(unreadable)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .with_context(|| format!("TLS_Client_CA: {} is of no use", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(chain, key_der)
        .with_context(|| format!("TLS_Key: {} does not fit {}", key.display(), certificate.display()))?;
    Ok(Arc::new(config))
}
