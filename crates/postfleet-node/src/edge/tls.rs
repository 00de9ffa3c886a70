//! TLS for SMTP listeners: certificate and key from files, TLS 1.2 and 1.3 only.

use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// Reads a certificate chain and its key.
pub(crate) fn server_config(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("TLS_Certificate: cannot read {} as PEM", certificate.display()))?;
    if chain.is_empty() {
        bail!("TLS_Certificate: {} holds no certificate", certificate.display());
    }
    let key_der = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("TLS_Key: cannot read {} as PEM", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS protocol versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .with_context(|| format!("TLS_Key: {} does not fit {}", key.display(), certificate.display()))?;
    Ok(Arc::new(config))
}
