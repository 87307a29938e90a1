//! A view at which the server stops again and again: the second time it is not started any more, with those above
//! it, and everything else runs.
//!
//! What stops the server is what a user may meet: a damaged block of a segment that an operator needs.

use std::fs;
use std::path::Path;

use tokio_postgres::Client;

use crate::server::{Server, rows};

const DEFINITIONS: [&str; 6] = [
    "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)",
    "CREATE MATERIALIZED VIEW sums AS SELECT v, count(*) AS n FROM t GROUP BY v",
    // Only its state holds these values: nothing else is stored in the same block.
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

/// Changes a bit of the first occurrence of a text in each file.
fn damage(directory: &Path, text: &str) -> usize {
    let mut damaged = 0;
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let mut bytes = fs::read(&path).expect("a file");
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            fs::write(path, bytes).expect("a file");
            damaged += 1;
        }
    }
    damaged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_stops_the_server_twice_starts_as_failed_and_its_neighbours_run() {
    let mut server = Server::new(&["--checkpoint-interval", "200ms", "--workers", "2"])
        .expecting("panicked")
        .expecting("a thread of the engine panicked")
        .expecting("a materialized view is not started");
    server.start().await;
    let client = server.connect().await;
    for statement in DEFINITIONS {
        run(&client, statement).await;
    }
    let digest = shown(&client, "SELECT md5('digest of 3')").await[0][0].clone();
    drop(client);
    // All of its state is in segments.
    server.stop().await;
    // Of a compressed block the first digits are there as they are.
    let segments = server.data_dir().join("segments");
    assert!(damage(&segments, &digest[..10]) > 0, "{digest} is in no segment");

    for stops in 1..=2 {
        if server.try_start().await.is_ok() {
            server.ended().await;
        }
        assert!(server.logged("is damaged at byte"), "{}", server.log_tail(20));
        // Whichever workers have met it: one stop is one line.
        let noted = fs::read_to_string(server.data_dir().join("STOPS")).expect("stops are noted");
        assert_eq!(noted.lines().count(), stops, "{noted:?}");
    }
    // In the third life the others run, and go on after a kill.
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
