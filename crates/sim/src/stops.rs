//! A view at which the server stops again and again: the second time it is not started any more, with those above
//! it, and everything else runs.
//!
//! Nothing that is known stops the server at a view: what its operators cannot do without stops the view alone. So
//! the note is written here that a process leaves which ends by a panic, beside the data of one that was killed.

use std::fs;

use tokio_postgres::Client;

use crate::server::{Server, rows};

const DEFINITIONS: [&str; 6] = [
    "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)",
    "CREATE MATERIALIZED VIEW sums AS SELECT v, count(*) AS n FROM t GROUP BY v",
    "CREATE MATERIALIZED VIEW digests AS SELECT v, count(DISTINCT md5('digest of ' || id)) AS n FROM t GROUP BY v",
    "CREATE MATERIALIZED VIEW above AS SELECT sum(n) AS n FROM digests",
    "CREATE MATERIALIZED VIEW beside AS SELECT sum(n) AS n FROM sums",
    "INSERT INTO t VALUES (1, 1), (2, 1), (3, 2)",
];
const DIGESTS: &str = "SELECT v, n FROM digests ORDER BY v";

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn shown(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let found = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
    found.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_stops_the_server_twice_starts_as_failed_and_its_neighbours_run() {
    let mut server = Server::new(&["--checkpoint-interval", "200ms", "--workers", "2"])
        .expecting("a materialized view is not started");
    server.start().await;
    let client = server.connect().await;
    for statement in DEFINITIONS {
        run(&client, statement).await;
    }
    let number = "SELECT oid::bigint - 16384 FROM pg_class WHERE relname = 'digests'";
    let stop = format!("{}\n", shown(&client, number).await[0][0]);
    drop(client);
    server.kill().await;
    let note = server.data_dir().join("STOPS");
    // Once is not enough.
    fs::write(&note, &stop).expect("a file");
    server.start().await;
    assert_eq!(shown(&server.connect().await, DIGESTS).await, [["1", "2"], ["2", "1"]]);
    server.kill().await;
    assert_eq!(fs::read_to_string(&note).expect("it is kept"), stop);
    fs::write(&note, stop.repeat(2)).expect("a file");
    // The others run, and go on after a kill.
    server.start().await;
    for n in [4, 5] {
        let client = server.connect().await;
        run(&client, &format!("INSERT INTO t VALUES ({n}, 1)")).await;
        assert_eq!(shown(&client, "SELECT n FROM beside").await, [[n.to_string()]]);
        let failed = "SELECT view FROM millrace.views WHERE status = 'failed' ORDER BY 1";
        assert_eq!(shown(&client, failed).await, [["above"], ["digests"]]);
        let error = rows(&client, DIGESTS).await.expect_err("it has stopped");
        let said = error.as_db_error().expect("an answer").message().to_owned();
        assert!(said.contains("stopped more than once while it worked on"), "{said}");
        server.kill().await;
        server.start().await;
    }
    let client = server.connect().await;
    run(&client, "DROP MATERIALIZED VIEW digests CASCADE").await;
    run(&client, DEFINITIONS[2]).await;
    assert_eq!(shown(&client, DIGESTS).await, [["1", "4"], ["2", "1"]]);
    drop(client);
    server.stop().await;
}
