//! The listener: one task per connection, a limit on them, an orderly end.
//!
//! Invariants: 1. cancel requests come in even when all sessions are taken, because the limit counts
//! sessions and not sockets; who has not authenticated takes no session's place. 2. [`serve`] returns only when no connection is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};

use crate::admission::{Place, STARTUPS_MAX, Startups};
use crate::attempts::Attempts;
use crate::connection::{Connection, Interrupts, Keys};
use crate::session::SharedDatabase;
use crate::startup;
use crate::tls::Certificate;
use crate::wire::{MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN};

/// How long a client may take until it has authenticated.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long sessions may take to notice the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How to listen.
#[derive(Clone)]
pub struct Config {
    /// Offer TLS; without it an SSLRequest is answered with no.
    pub tls: Option<Arc<Certificate>>,
    /// The most sessions at a time.
    pub connections_max: usize,
    /// The longest message that a client may send once it is in, bytes.
    pub message_bytes_max: usize,
    /// Who has failed to log in.
    pub attempts: Arc<Attempts>,
}

impl Default for Config {
    fn default() -> Config {
        let message_bytes_max = MESSAGE_BYTES_MAX;
        Config { tls: None, connections_max: 1_000, message_bytes_max, attempts: Arc::default() }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) database: SharedDatabase,
    pub(crate) tls: Option<Arc<Certificate>>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) sessions: Arc<Semaphore>,
    pub(crate) message_bytes_max: usize,
    pub(crate) attempts: Arc<Attempts>,
}

/// Serves connections until `shutdown` becomes true (or its sender is dropped), then ends every
/// session with SQLSTATE 57P01 and returns.
pub async fn serve(
    listener: TcpListener,
    database: SharedDatabase,
    config: Config,
    mut shutdown: watch::Receiver<bool>,
) {
    let shared = Arc::new(Shared {
        database,
        tls: config.tls,
        keys: Arc::new(Keys::default()),
        sessions: Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS))),
        message_bytes_max: config.message_bytes_max.clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX),
        attempts: config.attempts,
    });
    let startups = Arc::new(Startups::default());
    let sockets_max = config.connections_max.saturating_add(STARTUPS_MAX);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = ended(&mut shutdown) => break,
            Some(joined) = connections.join_next() => reap(joined),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let address = peer.ip().to_canonical();
                    let room = connections.len() < sockets_max;
                    let Some(place) = room.then(|| startups.enter(address)).flatten() else {
                        let connections = connections.len();
                        tracing::warn!(%address, connections, "connection turned away");
                        continue;
                    };
                    let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
                    connections.spawn(attend(stream, peer, place, shared, shutdown));
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
    place: Place,
    shared: Arc<Shared>,
    mut shutdown: watch::Receiver<bool>,
) {
    let result = tokio::select! {
        biased;
        () = ended(&mut shutdown) => return,
        started = startup::start(stream, peer, &shared, STARTUP_TIMEOUT) => started,
    };
    drop(place);
    if let Err(error) = &result {
        tracing::info!(%peer, %error, "a connection ended before it was a session");
    }
    let ended = match result {
        Ok(Some(started)) => {
            let settling = started.session.settling();
            let interrupts = Interrupts::new(started.key.ender(), shutdown, settling);
            Connection::new(started, interrupts).run().await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection lost");
    }
}
