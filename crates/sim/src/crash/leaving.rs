//! Rows that leave a view by its retention, over kills: what a reader has seen leave never comes back, and
//! what stays is there.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Client;

use super::run;
use crate::server::Server;
use crate::wait;

const ROUNDS: usize = 4;
/// Reads between two kills.
const READS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_left_do_not_come_back() {
    let mut server = Server::new(&["--checkpoint-interval", "500ms"]);
    server.start().await;
    let client = server.connect().await;
    run(
        &client,
        "CREATE SOURCE ticks (id BIGINT, at TIMESTAMPTZ, WATERMARK FOR at AS at - INTERVAL '10 ms') \
         WITH (connector = 'datagen', rows.per.second = 500, fields.id.kind = 'sequence', \
               fields.at.kind = 'now')",
    )
    .await;
    run(
        &client,
        "CREATE MATERIALIZED VIEW latest WITH (retention = '700 ms') AS SELECT id, at FROM ticks",
    )
    .await;
    run(&client, "CREATE MATERIALIZED VIEW ever AS SELECT count(*) AS n FROM latest").await;
    let mut seen = 0;
    for _ in 0..ROUNDS {
        let client = server.connect().await;
        for _ in 0..READS {
            seen = read(&client, seen).await;
            sleep(Duration::from_millis(60)).await;
        }
        server.kill().await;
        server.start().await;
    }
    let client = server.connect().await;
    let begin = seen;
    wait::until("rows leave", wait::PATIENCE, || async {
        (read(&client, begin).await > begin + 500).then_some(())
    })
    .await;
    server.stop().await;
}

/// The least id that is there, which is none below `seen`.
async fn read(client: &Client, seen: i64) -> i64 {
    let query = "SELECT min(id), max(id), count(*) FROM latest";
    let row = client.query_one(query, &[]).await.expect("an answer");
    let (least, greatest, count) =
        (row.get::<_, Option<i64>>(0), row.get::<_, Option<i64>>(1), row.get::<_, i64>(2));
    let (Some(least), Some(greatest)) = (least, greatest) else { return seen };
    assert!(least >= seen, "row {least} has come back, {seen} was the first before");
    assert_eq!(count, greatest - least + 1, "rows {least} to {greatest}");
    least
}
