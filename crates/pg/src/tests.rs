//! A listener on a free port over a small database, driven by psql, by tokio-postgres and by hand.

mod database;
mod driver;
mod fuzz;
mod psql;
mod raw;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Config, serve};
use database::TestDatabase;

/// A running listener; dropping it ends it.
struct Server {
    address: SocketAddr,
    database: Arc<TestDatabase>,
    shutdown: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Server {
    async fn start() -> Server {
        Server::start_with(TestDatabase::new().await, Config::default()).await
    }

    async fn start_with(database: TestDatabase, config: Config) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let database = Arc::new(database);
        let (shutdown, ended) = watch::channel(false);
        let served = tokio::spawn(serve(listener, database.clone(), config, ended));
        Server { address, database, shutdown, served }
    }
}
