//! What breaks into a running statement: a cancel request, its timeout, or the end of the server.
//!
//! Invariants: 1. while a statement settles, neither a cancel request nor the timeout ends it: the client
//! is told what has happened ([`Session::settling`](crate::session::Session::settling)).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use millrace_types::{Report, SqlState};
use pgwire::api::{ClientInfo, DefaultClient, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::messages::ProtocolVersion;
use pgwire::messages::startup::{BackendKeyData, SecretKey};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use crate::listener::ended;

/// How often it is asked whether what a session changes is known to have happened.
const SETTLING: Duration = Duration::from_millis(2);

/// What ends a session's statement, or the session, from another one.
#[derive(Clone, Debug)]
pub struct Ender {
    cancelled: watch::Sender<u64>,
    terminated: watch::Sender<bool>,
}

impl Ender {
    /// Ends the statement that runs, if one does.
    pub fn cancel(&self) {
        self.cancelled.send_modify(|count| *count += 1);
    }

    /// Ends the session.
    pub fn terminate(&self) {
        self.terminated.send_replace(true);
    }
}

/// The sessions that can be cancelled, by process number.
#[derive(Default)]
pub(crate) struct Keys {
    generator: RandomPidSecretKeyGenerator,
    sessions: Mutex<BTreeMap<i32, (Bytes, Ender)>>,
}

/// A session's entry in [`Keys`]; dropping it removes the entry.
pub(crate) struct Key {
    process: i32,
    secret: SecretKey,
    ender: Ender,
    keys: Arc<Keys>,
}

impl Keys {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<i32, (Bytes, Ender)>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a session a process number and a secret as long as its protocol version wants.
    pub(crate) fn register(self: &Arc<Keys>, peer: SocketAddr, version: ProtocolVersion) -> Key {
        let mut client = DefaultClient::<()>::new(peer, false);
        client.set_protocol_version(version);
        let (process, secret) = self.generator.generate(&client);
        let ender =
            Ender { cancelled: watch::Sender::new(0), terminated: watch::Sender::new(false) };
        self.sessions().insert(process, (secret.to_bytes(), ender.clone()));
        Key { process, secret, ender, keys: Arc::clone(self) }
    }

    /// Cancels what the session runs now. Nobody is told whether there was one.
    pub(crate) fn cancel(&self, process: i32, secret: &[u8]) {
        if let Some((key, ender)) = self.sessions().get(&process)
            && key == secret
        {
            ender.cancel();
        }
    }
}

impl Key {
    /// The number of the session.
    pub(crate) fn process(&self) -> i32 {
        self.process
    }

    /// The message that tells the client.
    pub(crate) fn message(&self) -> BackendKeyData {
        BackendKeyData::new(self.process, self.secret.clone())
    }

    /// What ends the session, or what it runs.
    pub(crate) fn ender(&self) -> &Ender {
        &self.ender
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
    terminated: watch::Receiver<bool>,
    shutdown: watch::Receiver<bool>,
    /// When the statement under way has taken too long.
    deadline: Option<Instant>,
    /// The statement under way cannot be ended.
    settling: Arc<AtomicBool>,
}

impl Interrupts {
    pub(crate) fn new(
        ender: &Ender,
        shutdown: watch::Receiver<bool>,
        settling: Arc<AtomicBool>,
    ) -> Interrupts {
        let (cancelled, terminated) = (ender.cancelled.subscribe(), ender.terminated.subscribe());
        Interrupts { cancelled, terminated, shutdown, deadline: None, settling }
    }

    /// A statement begins that may take so long. Cancel requests that came while nothing ran are forgotten.
    pub(crate) fn begin(&mut self, timeout: Option<Duration>) {
        self.cancelled.mark_unchanged();
        self.deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    /// The statement under way may take as long as it wants.
    pub(crate) fn lift(&mut self) {
        self.deadline = None;
    }

    fn is_settling(&self) -> bool {
        self.settling.load(Ordering::SeqCst)
    }

    /// Waits for an interruption and says what it does.
    pub(crate) async fn raised(&mut self) -> Failure {
        let deadline = self.deadline;
        let timeout = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let failure = tokio::select! {
            biased;
            () = ended(&mut self.shutdown) => return shut_down(),
            () = ended(&mut self.terminated) => shut_down(),
            Ok(()) = self.cancelled.changed() => cancelled(),
            () = timeout => timed_out(),
        };
        // Where that ends the statement, its outcome is there at once and this is not asked again.
        while self.is_settling() {
            tokio::time::sleep(SETTLING).await;
        }
        failure
    }

    /// Waits for the end of the server.
    pub(crate) async fn end(&mut self) -> Failure {
        tokio::select! {
            () = ended(&mut self.shutdown) => {}
            () = ended(&mut self.terminated) => {}
        }
        shut_down()
    }

    /// An interruption that has come already.
    pub(crate) fn pending(&mut self) -> Result<(), Failure> {
        if *self.shutdown.borrow() || *self.terminated.borrow() {
            return Err(shut_down());
        }
        if self.cancelled.has_changed().unwrap_or(false) {
            self.cancelled.mark_unchanged();
            return Err(cancelled());
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(timed_out());
        }
        Ok(())
    }
}

fn cancelled() -> Failure {
    let message = "canceling statement due to user request";
    Failure::Statement(Report::new(SqlState::QUERY_CANCELED, message))
}

fn timed_out() -> Failure {
    let message = "canceling statement due to statement timeout";
    Failure::Statement(Report::new(SqlState::QUERY_CANCELED, message))
}

fn shut_down() -> Failure {
    let message = "terminating connection due to administrator command";
    Failure::Session(Report::new(SqlState::ADMIN_SHUTDOWN, message))
}
