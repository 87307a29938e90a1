//! The certificate that clients see, from files, and from other files without a restart.
//!
//! Invariants: 1. what is in use is a whole, working pair of certificate and key: files that are not stay
//! unused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig, crypto};

use crate::endpoint::endpoint;
use crate::startup::ALPN;

/// The files of a certificate, PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A file of the TLS configuration cannot be read or holds nothing of use.
#[derive(Debug, thiserror::Error)]
#[error("could not load \"{}\": {reason}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What a connection is encrypted with.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) tls: TlsAcceptor,
    /// What a login over it can be bound to.
    pub(crate) endpoint: Option<Arc<[u8]>>,
}

/// A certificate in use.
pub struct Certificate {
    files: Tls,
    acceptor: RwLock<Acceptor>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, holds nothing of use, or the key is not that of the certificate.
    pub fn load(files: Tls) -> Result<Certificate, TlsError> {
        let acceptor = RwLock::new(acceptor(&files)?);
        Ok(Certificate { files, acceptor })
    }

    /// Reads the files again; connections that come after it see what is in them.
    ///
    /// # Errors
    /// As for [`Certificate::load`]; then the one before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = acceptor(&self.files)?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> Acceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn acceptor(tls: &Tls) -> Result<Acceptor, TlsError> {
    let failed = |path: &Path, reason: String| TlsError { path: path.to_owned(), reason };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error: io::Error| failed(path, error.to_string()))
    };
    let chain = rustls_pemfile::certs(&mut read(&tls.certificate)?.as_slice())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(&tls.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(&tls.certificate, "no certificate in it".into()));
    }
    let key = rustls_pemfile::private_key(&mut read(&tls.key)?.as_slice())
        .map_err(|error| failed(&tls.key, error.to_string()))?
        .ok_or_else(|| failed(&tls.key, "no private key in it".into()))?;
    let endpoint = chain.first().and_then(|own| endpoint(own)).map(Arc::from);
    let refused = |error: rustls::Error| failed(&tls.certificate, error.to_string());
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(refused)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), endpoint })
}
