//! The time of reading (`PROCTIME()`), over kills: rows that come back from the log have the time that readers
//! have seen, and windows that have closed stay as they were.

use tokio_postgres::Client;

use super::run;
use crate::server::{self, Server};
use crate::wait;

const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn rows_keep_the_time_at_which_they_were_read_first() {
    let mut server = Server::new(&["--checkpoint-interval", "2s"]);
    server.start().await;
    let client = server.connect().await;
    run(
        &client,
        "CREATE SOURCE clicks (id BIGINT, p TIMESTAMPTZ AS PROCTIME(), WATERMARK FOR p AS p) \
         WITH (connector = 'datagen', rows.per.second = '300', fields.id.kind = 'sequence')",
    )
    .await;
    run(&client, "CREATE MATERIALIZED VIEW seen AS SELECT id, p FROM clicks").await;
    run(
        &client,
        "CREATE MATERIALIZED VIEW closed AS SELECT window_end, count(*) AS n, max(id) AS last \
         FROM TUMBLE(clicks, p, INTERVAL '500 milliseconds') GROUP BY window_end \
         EMIT ON WINDOW CLOSE",
    )
    .await;
    let mut client = client;
    for _ in 0..ROUNDS {
        let before = shown(&client, "closed", "window_end").await.len();
        wait::until("more windows close", wait::PATIENCE, || async {
            (shown(&client, "closed", "window_end").await.len() > before + 2).then_some(())
        })
        .await;
        let seen = shown(&client, "seen", "id").await;
        let closed = shown(&client, "closed", "window_end").await;
        server.kill().await;
        server.start().await;
        client = server.connect().await;
        let again = shown(&client, "seen", "id").await;
        assert!(again.starts_with(&seen), "rows have another time after a kill");
        let again = shown(&client, "closed", "window_end").await;
        assert!(again.starts_with(&closed), "windows have other rows after a kill");
    }
    let late = shown(&client, "millrace.late_rows", "1").await;
    assert_eq!(late.len(), 0, "no row is late: {late:?}");
    server.stop().await;
}

async fn shown(client: &Client, table: &str, order: &str) -> Vec<Vec<Option<String>>> {
    let text = format!("SELECT * FROM {table} ORDER BY {order}");
    server::rows(client, &text).await.expect("it can be read")
}
