//! `pg_sleep` and its like: sessions that sleep hold nobody up, and what ends other statements wakes them.

use tokio_postgres::Client;

use crate::server::{Server, rows};
use crate::wait::{PATIENCE, until};

/// More than there are threads.
const SLEEPERS: usize = 24;

async fn first(client: &Client, sql: &str) -> Option<String> {
    let found = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    found.first().and_then(|row| row[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_sleep_hold_nobody_up_and_are_woken() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let root = server.connect().await;
    let mut sleeping = tokio::task::JoinSet::new();
    for _ in 0..SLEEPERS {
        let sleeper = server.connect().await;
        sleeping.spawn(async move { sleeper.batch_execute("SELECT pg_sleep(86400)").await });
    }
    let of_sleepers = "FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()";
    let count = format!("SELECT count(*) {of_sleepers}");
    until("all of them sleep", PATIENCE, || async {
        (first(&root, &count).await == Some(SLEEPERS.to_string())).then_some(())
    })
    .await;
    assert_eq!(
        first(&root, "SELECT sum(x) FROM generate_series(1, 3) AS s (x)").await,
        Some("6".into())
    );
    let cancel = format!("SELECT count(pg_cancel_backend(pid)) {of_sleepers}");
    assert_eq!(first(&root, &cancel).await, Some(SLEEPERS.to_string()));
    while let Some(ended) = sleeping.join_next().await {
        let error = ended.expect("the task ends").expect_err("a day has not passed");
        assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    }

    root.batch_execute("SET statement_timeout = '20ms'").await.unwrap();
    for sql in ["SELECT pg_sleep(86400)", "SELECT pg_sleep_for('1 day')"] {
        let error = rows(&root, sql).await.expect_err("a day has not passed");
        assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{sql}");
    }
    root.batch_execute("SET statement_timeout = 0").await.unwrap();
    for sql in ["SELECT pg_sleep(0)", "SELECT pg_sleep_until(now())", "SELECT pg_sleep(-1)"] {
        assert_eq!(first(&root, sql).await, Some(String::new()), "{sql}");
    }
    server.stop().await;
}
