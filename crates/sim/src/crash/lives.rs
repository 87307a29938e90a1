//! Clients over the lives of a server: they connect again after each kill, until they are told to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Error};

use crate::server::{self, Server};

/// Where a server listens, over its restarts, and whether its clients go on.
#[derive(Clone)]
pub(super) struct Lives {
    address: watch::Receiver<Option<SocketAddr>>,
    end: Arc<AtomicBool>,
}

impl Lives {
    pub(super) fn of(server: &Server) -> Lives {
        Lives { address: server.address(), end: Arc::default() }
    }

    /// Tells all clones to end.
    pub(super) fn end(&self) {
        self.end.store(true, Ordering::SeqCst);
    }

    pub(super) fn go_on(&self) -> bool {
        !self.end.load(Ordering::SeqCst)
    }

    /// Where the process that runs listens.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        *self.address.borrow()
    }

    /// A connection as root to the process that runs, or the next one; None at the end.
    pub(super) async fn connect(&mut self) -> Option<Client> {
        self.login("root", None).await
    }

    /// The same as some user.
    ///
    /// # Panics
    /// If the server refuses them for another reason than that it starts or ends.
    pub(super) async fn login(&mut self, user: &str, password: Option<&str>) -> Option<Client> {
        while self.go_on() {
            let listens = self.address.wait_for(Option::is_some);
            let Ok(found) = timeout(Duration::from_millis(200), listens).await else { continue };
            let address = *found.expect("the server outlives its clients");
            match server::login(address.expect("waited for"), user, password).await {
                Ok(client) => return Some(client),
                Err(error) => assert!(is_end(&error), "{user} is refused: {error:?}"),
            }
            // Between the kill and the notice of it.
            sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

/// True if the server has gone, goes or is not ready; else it is an answer.
pub(super) fn is_end(error: &Error) -> bool {
    error.code().is_none_or(|code| code.code().starts_with("57P"))
}
