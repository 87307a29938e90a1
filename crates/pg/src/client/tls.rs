//! A client's connection, plain or encrypted, as libpq's `sslmode` has it.

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{ClientError, Duplex, Login, TcpStream};
use crate::endpoint::endpoint;

/// Where systems keep the certificates of authorities.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Whether a connection is encrypted, and what of the server's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server can.
    #[default]
    Prefer,
    /// Always; the certificate is not verified.
    Require,
    /// Always; an authority has signed the certificate.
    VerifyCa,
    /// Always; and it is that of this host.
    VerifyFull,
}

/// A stream on which the startup may begin.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Duplex>,
    /// What a login can be bound to.
    pub(super) endpoint: Option<Vec<u8>>,
    pub(super) encrypted: bool,
}

/// Connects and encrypts, as the login asks.
pub(super) async fn open(login: &Login) -> Result<Opened, ClientError> {
    let name = format!("{}:{}", login.host, login.port);
    let connected = TcpStream::connect((login.host.as_str(), login.port)).await;
    let mut stream = connected.map_err(|error| ClientError::Unreachable(name, error))?;
    stream.set_nodelay(true)?;
    let plain = |stream| Opened { stream: Box::new(stream), endpoint: None, encrypted: false };
    if login.ssl == SslMode::Disable {
        return Ok(plain(stream));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match stream.read_u8().await? {
        b'S' => encrypt(login, stream).await,
        _ if login.ssl == SslMode::Prefer => Ok(plain(stream)),
        _ => Err(ClientError::Tls("the server has no certificate".into())),
    }
}

async fn encrypt(login: &Login, stream: TcpStream) -> Result<Opened, ClientError> {
    let failed = |error: &dyn std::fmt::Display| ClientError::Tls(error.to_string());
    let name = ServerName::try_from(login.host.clone()).map_err(|error| failed(&error))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = Verifier { chain: chain(login, &provider)?, login: login.ssl, provider };
    let config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let endpoint = certificates.first().and_then(|certificate| endpoint(certificate));
    Ok(Opened { stream: Box::new(stream), endpoint, encrypted: true })
}

/// What verifies the chain of a certificate, where one is to be verified.
fn chain(
    login: &Login,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, ClientError> {
    // As libpq has it: whoever names authorities wants them to be looked at.
    let verifies = matches!(login.ssl, SslMode::VerifyCa | SslMode::VerifyFull);
    if !verifies && login.ssl_root.is_none() {
        return Ok(None);
    }
    // Anybody can have a certificate of theirs, for a name of their own.
    if login.ssl_root.as_deref() == Some("system") && login.ssl != SslMode::VerifyFull {
        let message = "the authorities of the system say something of a name only: verify-full";
        return Err(ClientError::Tls(message.into()));
    }
    let file = match login.ssl_root.as_deref() {
        Some("system") => SYSTEM_ROOTS.into_iter().find(|file| Path::new(file).exists()),
        Some(file) => Some(file),
        None => None,
    };
    let file = file.ok_or_else(|| {
        ClientError::Tls("no certificates of authorities: name a file, or `system`".into())
    })?;
    let unusable = |error: String| ClientError::Tls(format!("\"{file}\": {error}"));
    let text = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut text.as_slice()) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.build().map(Some).map_err(|error| unusable(error.to_string()))
}

/// What of a certificate is verified.
#[derive(Debug)]
struct Verifier {
    /// None where anybody's is taken.
    chain: Option<Arc<WebPkiServerVerifier>>,
    login: SslMode,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let other_name = matches!(
            verified,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        match other_name && self.login != SslMode::VerifyFull {
            true => Ok(ServerCertVerified::assertion()),
            false => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
