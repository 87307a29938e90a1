//! The listener: one task per connection, a limit on them, an orderly end.
//!
//! Invariants: 1. cancel requests come in even when all sessions are taken, because the limit counts
//! sessions and not sockets; 2. [`serve`] returns only when no connection is left.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig, crypto};

use crate::connection::{Connection, Interrupts, Keys};
use crate::session::SharedDatabase;
use crate::startup;

/// How long a client may take until it has authenticated.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long sessions may take to notice the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Sockets beyond the sessions, for startups and cancel requests.
const SPARE_SOCKETS: usize = 64;

/// How to listen.
#[derive(Clone, Debug)]
pub struct Config {
    /// Offer TLS; without it an SSLRequest is answered with no.
    pub tls: Option<Tls>,
    /// The most sessions at a time.
    pub connections_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { tls: None, connections_max: 1_000 }
    }
}

/// The files of a certificate, PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why the listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the TLS configuration cannot be read or holds nothing of use.
    #[error("could not load \"{}\": {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) database: SharedDatabase,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) sessions: Arc<Semaphore>,
}

/// Serves connections until `shutdown` becomes true (or its sender is dropped), then ends every
/// session with SQLSTATE 57P01 and returns.
///
/// # Errors
/// The TLS files cannot be loaded.
pub async fn serve(
    listener: TcpListener,
    database: SharedDatabase,
    config: Config,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    let shared = Arc::new(Shared {
        database,
        tls: config.tls.as_ref().map(acceptor).transpose()?,
        keys: Arc::new(Keys::default()),
        sessions: Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS))),
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = ended(&mut shutdown) => break,
            Some(joined) = connections.join_next() => reap(joined),
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= config.connections_max.saturating_add(SPARE_SOCKETS) =>
                    tracing::warn!(connections = connections.len(), "connection turned away"),
                Ok((stream, peer)) => {
                    let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
                    connections.spawn(attend(stream, peer, shared, shutdown));
                }
                Err(error) => {
                    // Out of file descriptors: those in use must close first.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, drained).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Waits for the end of the server.
pub(crate) async fn ended(shutdown: &mut watch::Receiver<bool>) {
    // A dropped sender is an end too.
    shutdown.wait_for(|ended| *ended).await.ok();
}

fn reap(joined: Result<(), JoinError>) {
    if let Err(error) = joined
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task failed");
    }
}

async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut shutdown: watch::Receiver<bool>,
) {
    let result = tokio::select! {
        biased;
        () = ended(&mut shutdown) => return,
        started = startup::start(stream, peer, &shared, STARTUP_TIMEOUT) => started,
    };
    let ended = match result {
        Ok(Some(started)) => {
            let interrupts = Interrupts::new(started.key.cancelled(), shutdown);
            Connection::new(started, interrupts).run().await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection lost");
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, Error> {
    let failed = |path: &Path, reason: String| Error::Tls { path: path.to_owned(), reason };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error: io::Error| failed(path, error.to_string()))
    };
    let chain = rustls_pemfile::certs(&mut read(&tls.certificate)?.as_slice())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(&tls.certificate, error.to_string()))?;
    let key = rustls_pemfile::private_key(&mut read(&tls.key)?.as_slice())
        .map_err(|error| failed(&tls.key, error.to_string()))?
        .ok_or_else(|| failed(&tls.key, "no private key in it".into()))?;
    let refused = |error: rustls::Error| failed(&tls.certificate, error.to_string());
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(refused)?;
    config.alpn_protocols = vec![startup::ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
