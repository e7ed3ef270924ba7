//! The node's certificate, made at the first start where none is given.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::settings::Settings;

/// A certificate chain and its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Why a node has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path} cannot be read or written", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("a certificate cannot be made")]
    Generate(#[from] rcgen::Error),
    #[error("the certificate or its key cannot be used: {0}")]
    Unusable(String),
}

/// The identity the settings ask for; `None` with `--insecure`.
///
/// # Errors
///
/// [`TlsError`]: a file is missing or wrong.
pub fn identity(settings: &Settings) -> Result<Option<Identity>, TlsError> {
    if settings.insecure {
        return Ok(None);
    }
    if let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) {
        return Ok(Some(Identity { certificate: read(certificate)?, key: read(key)? }));
    }
    generated(&settings.root.join("tls"), &names(settings)).map(Some)
}

/// What the certificate is to be valid for.
fn names(settings: &Settings) -> Vec<String> {
    let listening = settings.nsdb.iter().chain([&settings.rest]).map(|addr| addr.ip());
    let mut names: Vec<String> = vec!["localhost".into(), "127.0.0.1".into(), "::1".into()];
    names.extend(listening.filter(|ip| !ip.is_unspecified()).map(|ip: IpAddr| ip.to_string()));
    names.extend(settings.tls_names.iter().cloned());
    names.sort();
    names.dedup();
    names
}

/// The identity in `dir`: its authority is made once, the node's certificate at every start, since
/// the names may have changed.
fn generated(dir: &Path, names: &[String]) -> Result<Identity, TlsError> {
    fs::create_dir_all(dir).map_err(|source| TlsError::File { path: dir.into(), source })?;
    let (ca_file, ca_key_file) = (dir.join("ca.pem"), dir.join("ca.key"));
    if !ca_file.exists() {
        let key = KeyPair::generate()?;
        let certificate = authority()?.self_signed(&key)?;
        write(&ca_key_file, &key.serialize_pem())?;
        write(&ca_file, &certificate.pem())?;
    }
    let issuer = Issuer::new(authority()?, KeyPair::from_pem(&read(&ca_key_file)?)?);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "MidoNet cluster node");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "MidoNet cluster authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn read(path: &Path) -> Result<String, TlsError> {
    fs::read_to_string(path).map_err(|source| TlsError::File { path: path.into(), source })
}

/// Writes a file only its owner can read.
fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|source| TlsError::File { path: path.into(), source })
}

impl Identity {
    /// The server side of TLS for HTTP/1.1.
    ///
    /// # Errors
    ///
    /// [`TlsError::Unusable`]: the PEM is no certificate and key that fit.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(&error))?;
        let key =
            PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| unusable(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| unusable(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_made_once_and_its_certificates_can_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let first = generated(dir.path(), &["localhost".into(), "10.0.0.1".into()]).unwrap();
        let authority = read(&dir.path().join("ca.pem")).unwrap();
        let second = generated(dir.path(), &["localhost".into()]).unwrap();
        assert_eq!(read(&dir.path().join("ca.pem")).unwrap(), authority);
        assert_ne!(first.certificate, second.certificate);
        assert!(first.server_config().is_ok() && second.server_config().is_ok());
        let mixed = Identity { certificate: first.certificate, key: second.key };
        assert!(matches!(mixed.server_config(), Err(TlsError::Unusable(_))));
    }
}
