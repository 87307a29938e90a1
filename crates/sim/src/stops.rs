//! A view at which the server stops again and again: the second time it is not started any more, with those above
//! it, and everything else runs.
//!
//! No panic is known that stops the server at a view: what its operators cannot do without stops the view alone. So
//! the note is written here that a process leaves which ends by one, beside the data of one that was killed. What
//! an operator makes in one call is not bounded, and stops it for memory.

use std::fs;

use tokio_postgres::Client;

use crate::server::{Server, rows};
use crate::wait;

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
        assert_eq!(shown(&client, FAILED).await, [["above"], ["digests"]]);
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

/// Each of its rows holds the texts of all rows before: of 4,000 rows with a kilobyte it makes 8 GB in one call.
const UNBOUNDED: &str = "CREATE MATERIALIZED VIEW lists AS SELECT id, length(string_agg(v, ',') OVER (ORDER BY id)) AS n FROM t";
const ROWS: &str =
    "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 4000) AS g(i)";
const FAILED: &str = "SELECT view FROM millrace.views WHERE status = 'failed' ORDER BY 1";

/// A table with a view that has too much to do since the last INSERT, and one beside it.
async fn with_too_much(server: &mut Server) {
    server.start().await;
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT NOT NULL)").await;
    run(&client, "CREATE MATERIALIZED VIEW beside AS SELECT count(*) AS n FROM t").await;
    run(&client, UNBOUNDED).await;
    // The answer may be lost with the server, or come before.
    drop(client.batch_execute(ROWS).await);
}

/// Nothing is lost, the view has stopped, and the server stays.
async fn stays_without_it(server: &mut Server) {
    server.start().await;
    let client = server.connect().await;
    assert_eq!(shown(&client, FAILED).await, [["lists"]]);
    let error = rows(&client, "SELECT * FROM lists").await.expect_err("it has stopped");
    let said = error.as_db_error().expect("an answer").message().to_owned();
    assert!(said.contains("stopped more than once while it worked on"), "{said}");
    run(&client, "INSERT INTO t VALUES (0, 'one more')").await;
    let counted = shown(&client, "SELECT n FROM beside").await;
    assert_eq!(counted, shown(&client, "SELECT count(*) FROM t").await);
    run(&client, "DROP MATERIALIZED VIEW lists").await;
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocation_that_the_system_refuses_is_put_down_to_the_view_that_asked_for_it() {
    let mut server = Server::new(&["--workers", "2", "--memory-limit", "256MB"])
        .address_space(5 << 30)
        .expecting("memory is above its limit")
        .expecting("a materialized view is not started");
    with_too_much(&mut server).await;
    server.ended().await;
    // It ends before it listens, or soon after.
    if server.try_start().await.is_ok() {
        server.ended().await;
    }
    stays_without_it(&mut server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_for_the_memory_of_a_view_starts_without_it() {
    let mut server = Server::new(&["--workers", "2", "--memory-limit", "64MB"])
        .expecting("a materialized view is not started")
        .expecting("had too much memory")
        .expecting("memory is above its limit");
    with_too_much(&mut server).await;
    let [stops, suspects] = ["STOPS", "SUSPECTS"].map(|file| server.data_dir().join(file));
    for noted in 0..2 {
        wait::until("its view stands there", wait::PATIENCE, || async {
            let stops = fs::read_to_string(&stops).unwrap_or_default();
            (stops.lines().count() == noted && suspects.exists()).then_some(())
        })
        .await;
        server.kill().await;
        if noted == 0 {
            server.spawn().expect("it is started");
        }
    }
    stays_without_it(&mut server).await;
}
