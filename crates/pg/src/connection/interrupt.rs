//! What breaks into a running statement: a cancel request, or the end of the server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use millrace_types::{Report, SqlState};
use pgwire::api::{ClientInfo, DefaultClient, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::messages::ProtocolVersion;
use pgwire::messages::startup::{BackendKeyData, SecretKey};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::listener::ended;

/// The sessions that can be cancelled, by process number.
#[derive(Default)]
pub(crate) struct Keys {
    generator: RandomPidSecretKeyGenerator,
    sessions: Mutex<BTreeMap<i32, (Bytes, watch::Sender<u64>)>>,
}

/// A session's entry in [`Keys`]; dropping it removes the entry.
pub(crate) struct Key {
    process: i32,
    secret: SecretKey,
    cancelled: watch::Receiver<u64>,
    keys: Arc<Keys>,
}

impl Keys {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<i32, (Bytes, watch::Sender<u64>)>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a session a process number and a secret as long as its protocol version wants.
    pub(crate) fn register(self: &Arc<Keys>, peer: SocketAddr, version: ProtocolVersion) -> Key {
        let mut client = DefaultClient::<()>::new(peer, false);
        client.set_protocol_version(version);
        let (process, secret) = self.generator.generate(&client);
        let (sender, cancelled) = watch::channel(0);
        self.sessions().insert(process, (secret.to_bytes(), sender));
        Key { process, secret, cancelled, keys: Arc::clone(self) }
    }

    /// Cancels what the session runs now. Nobody is told whether there was one.
    pub(crate) fn cancel(&self, process: i32, secret: &[u8]) {
        if let Some((key, sender)) = self.sessions().get(&process)
            && key == secret
        {
            sender.send_modify(|count| *count += 1);
        }
    }
}

impl Key {
    /// The message that tells the client.
    pub(crate) fn message(&self) -> BackendKeyData {
        BackendKeyData::new(self.process, self.secret.clone())
    }

    /// Changes with each cancel request.
    pub(crate) fn cancelled(&self) -> watch::Receiver<u64> {
        self.cancelled.clone()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.keys.sessions().remove(&self.process);
    }
}

/// A connection's view of what may interrupt it.
pub(crate) struct Interrupts {
    cancelled: watch::Receiver<u64>,
    shutdown: watch::Receiver<bool>,
}

impl Interrupts {
    pub(crate) fn new(
        cancelled: watch::Receiver<u64>,
        shutdown: watch::Receiver<bool>,
    ) -> Interrupts {
        Interrupts { cancelled, shutdown }
    }

    /// Forgets cancel requests that came while nothing ran.
    pub(crate) fn begin(&mut self) {
        self.cancelled.mark_unchanged();
    }

    /// Waits for an interruption and says what it does.
    pub(crate) async fn raised(&mut self) -> Failure {
        tokio::select! {
            biased;
            () = ended(&mut self.shutdown) => shut_down(),
            Ok(()) = self.cancelled.changed() => cancelled(),
        }
    }

    /// Waits for the end of the server.
    pub(crate) async fn end(&mut self) -> Failure {
        ended(&mut self.shutdown).await;
        shut_down()
    }

    /// An interruption that has come already.
    pub(crate) fn pending(&mut self) -> Result<(), Failure> {
        if *self.shutdown.borrow() {
            return Err(shut_down());
        }
        if self.cancelled.has_changed().unwrap_or(false) {
            self.begin();
            return Err(cancelled());
        }
        Ok(())
    }
}

fn cancelled() -> Failure {
    let message = "canceling statement due to user request";
    Failure::Statement(Report::new(SqlState::QUERY_CANCELED, message))
}

fn shut_down() -> Failure {
    let message = "terminating connection due to administrator command";
    Failure::Session(Report::new(SqlState::ADMIN_SHUTDOWN, message))
}
