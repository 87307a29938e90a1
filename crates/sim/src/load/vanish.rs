//! Clients that are gone from one moment to the next.

use super::process::Process;
use super::raw::Raw;
use crate::server::Server;
use crate::wait;

/// What a client has done when it goes.
#[derive(Clone, Copy, Debug)]
enum Midst {
    Transaction,
    Result,
    Calculation,
    Copy,
    Portal,
    Subscription,
}

const ALL: [Midst; 6] = [
    Midst::Transaction,
    Midst::Result,
    Midst::Calculation,
    Midst::Copy,
    Midst::Portal,
    Midst::Subscription,
];

const MUCH: &str = "SELECT a.x, repeat('x', 100) FROM generate_series(1, 1000000000) a(x)";

impl Midst {
    /// A client in the midst of it.
    async fn client(self, server: &Server) -> Raw {
        let mut raw = Raw::open(server).await;
        match self {
            Midst::Transaction => {
                raw.ask("BEGIN; UPDATE counted SET n = 0").await;
                raw.until('Z').await;
            }
            Midst::Result => {
                raw.ask(MUCH).await;
                raw.until('D').await;
            }
            Midst::Calculation => {
                let pairs = "generate_series(1, 200000) a, generate_series(1, 200000) b";
                raw.ask(&format!("SELECT count(*) FROM {pairs} WHERE a + b = 0")).await;
            }
            Midst::Copy => {
                raw.ask("COPY counted FROM STDIN").await;
                raw.until('G').await;
                raw.send(b'd', b"7\n8\n9\n").await;
            }
            Midst::Portal => {
                raw.ask_portal(MUCH, 10).await;
                raw.until('s').await;
            }
            Midst::Subscription => {
                raw.ask("SUBSCRIBE counted WITH (progress = true)").await;
                raw.until('D').await;
            }
        }
        raw
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_held_that_has_vanished_is_given_back() {
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    let process = Process::of(&server);
    let other = server.connect().await;
    other
        .batch_execute("CREATE TABLE counted (n bigint); INSERT INTO counted VALUES (1)")
        .await
        .unwrap();
    process.rests().await;
    let files = process.files();
    for midst in ALL {
        for reset in [true, false] {
            let raw = midst.client(&server).await;
            if reset {
                raw.reset();
            } else {
                drop(raw);
            }
            // Not within the ten seconds that a statement waits for a lock: at once.
            other.batch_execute("SET lock_timeout = '5s'").await.unwrap();
            other.batch_execute("UPDATE counted SET n = n + 1").await.unwrap_or_else(|error| {
                panic!("{midst:?}, reset {reset}: {error}");
            });
        }
    }
    wait::until("all connections are closed", wait::PATIENCE, || async {
        (process.files() <= files).then_some(())
    })
    .await;
    process.rests().await;
    let row = other.query_one("SELECT n, (SELECT count(*) FROM counted) FROM counted", &[]).await;
    let row = row.unwrap();
    let rounds = i64::try_from(2 * ALL.len()).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (rounds + 1, 1));
    drop(other);
    server.stop().await;
}
