//! Clients that read slowly, or no more.

use tokio_postgres::Client;

use super::process::Process;
use super::raw::Raw;
use crate::health::{get, samples};
use crate::server::{Server, rows};
use crate::wait;

/// Rows of a result that fills all buffers between a server and a client many times.
const ROWS: usize = 60_000;

async fn one(client: &Client, sql: &str) -> i64 {
    rows(client, sql).await.unwrap()[0][0].as_deref().unwrap().parse().unwrap()
}

/// Changes a table until so many checkpoints have been made since.
async fn checkpoints(client: &Client, more: i64) {
    let last = "SELECT coalesce(max(epoch), 0) FROM millrace.epochs WHERE checkpoint";
    for _ in 0..more {
        let before = one(client, last).await;
        wait::until("a checkpoint is made", wait::PATIENCE, || async {
            client.batch_execute("UPDATE much SET n = n + 1 WHERE k < 100").await.unwrap();
            (one(client, last).await > before).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_no_more_hold_up_nobody() {
    let mut server =
        Server::new(&["--workers", "2", "--checkpoint-interval", "200ms", "--http", "127.0.0.1:0"]);
    server.start().await;
    let process = Process::of(&server);
    let other = server.connect().await;
    let fill = format!(
        "CREATE TABLE much (k bigint PRIMARY KEY, n bigint, t text);
         CREATE MATERIALIZED VIEW total AS SELECT count(*) AS rows, sum(n) AS n FROM much;
         INSERT INTO much SELECT k, 0, repeat('x', 200) FROM generate_series(1, {ROWS}) s(k)"
    );
    other.batch_execute(&fill).await.unwrap();
    let mut reader = Raw::open(&server).await;
    reader.ask("SELECT * FROM much").await;
    reader.until('D').await;
    let mut follower = Raw::open(&server).await;
    follower.ask("SUBSCRIBE much WITH (progress = true)").await;
    follower.until('D').await;
    // Neither reads on. Epochs, checkpoints, other readers and views do, and the memory for them is bounded.
    checkpoints(&other, 5).await;
    let before = process.resident_mb();
    // 130 MB, of which no more is made than is taken.
    let mut idle = Raw::open(&server).await;
    idle.ask("SELECT much.* FROM much, generate_series(1, 10)").await;
    idle.until('D').await;
    other.batch_execute(&format!("DELETE FROM much WHERE k > {}", ROWS / 2)).await.unwrap();
    checkpoints(&other, 5).await;
    other.batch_execute("FLUSH").await.unwrap();
    assert_eq!(one(&other, "SELECT rows FROM total").await, i64::try_from(ROWS / 2).unwrap());
    let grown = process.resident_mb().saturating_sub(before);
    assert!(grown < 64, "{grown} MB for clients that read nothing");
    // The reader goes on and gets the rows of its own epoch.
    let got = reader.until('Z').await;
    assert_eq!(got.iter().filter(|(kind, _)| *kind == 'D').count(), ROWS - 1);
    follower.cancel(&server).await;
    assert_eq!(follower.refusal().await.as_deref(), Some("57014"));
    drop((reader, follower, idle));
    // A statement ends although nobody reads it, and gives back what it holds.
    let mut stuck = Raw::open(&server).await;
    // More than a socket takes in by itself: 28 MB.
    let much = "SELECT * FROM much, generate_series(1, 4) AS g(g) ORDER BY t, n, k";
    stuck.ask(&format!("SET statement_timeout = '1s'; {much}")).await;
    wait::until("the statement holds rows", wait::PATIENCE, || held(&server, true)).await;
    wait::until("it has given them back", wait::PATIENCE, || held(&server, false)).await;
    assert_eq!(stuck.refusal().await.as_deref(), Some("57014"));
    // One that is being sent, too.
    stuck.ask(&format!("RESET statement_timeout; {much}")).await;
    stuck.until('D').await;
    held(&server, true).await.expect("the statement holds rows");
    stuck.cancel(&server).await;
    wait::until("it has given them back", wait::PATIENCE, || held(&server, false)).await;
    assert_eq!(stuck.refusal().await.as_deref(), Some("57014"));
    drop((stuck, other));
    server.stop().await;
}

/// Answers if statements hold memory, or none.
async fn held(server: &Server, some: bool) -> Option<()> {
    let (_, page) = get(server, "/metrics").await;
    let bytes = samples(&page)["millrace_memory_bytes{kind=\"statements\"}"];
    ((bytes > 0.0) == some).then_some(())
}
