//! Data directories of earlier commits: today's server opens them, every view in them equals its query, and goes on.
//!
//! `scripts/fixture` made them, in a directory of this crate, each by the server of its day: objects of each kind, rows of each type and
//! state of each kind of operator, a part of it in the log above the checkpoint.

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio_postgres::Client;

use crate::server::{Server, program, rows};

/// Views whose query cannot be asked without the broker, that fail, or that are compared by other means.
const NOT_COMPARED: [&str; 3] = ["closed", "read", "failing"];

fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let entries = std::fs::read_dir(directory).expect("a directory of fixtures");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "gz")).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn shown(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let found = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
    found.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

/// Every view has the rows that its definition gives, each as often.
async fn equal_their_queries(client: &Client) {
    let sql = "SELECT matviewname, rtrim(definition, ';') FROM pg_matviews ORDER BY 1";
    let views = shown(client, sql).await;
    assert_eq!(views.len(), 18);
    for view in views.iter().filter(|view| !NOT_COMPARED.contains(&view[0].as_str())) {
        let [name, query] = [&view[0], &view[1]];
        let all = shown(client, &format!("SELECT count(*) FROM {name}")).await;
        assert_ne!(all, [["0"]], "{name} has rows");
        for sql in [
            format!("SELECT * FROM {name} EXCEPT ALL ({query})"),
            format!("({query}) EXCEPT ALL SELECT * FROM {name}"),
        ] {
            assert_eq!(shown(client, &sql).await, [[""; 0]; 0], "{sql}");
        }
    }
}

/// What stands in them, as `objects.sql`, `streams.sql` and `after.sql` have put it there.
async fn is_all_there(client: &Client) {
    for (sql, expected) in [
        ("SELECT n, ids FROM read", "600 180300"),
        ("SELECT count(*) FROM copied", "600"),
        ("SELECT count(*) > 60 FROM closed", "t"),
        ("SELECT obj_description('readings'::regclass)", "what sensors say"),
        ("SELECT count(*) FROM pg_indexes WHERE indexname IN ('by_sensor', 'by_mean')", "2"),
        ("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'reader'", "3"),
        ("SELECT pg_has_role('reader', 'readers', 'MEMBER')", "t"),
        ("SELECT has_table_privilege('reader', 'readings', 'SELECT')", "t"),
        ("SELECT name FROM named WHERE id = 11", "sensor 1"),
        (
            "SELECT tags, place, j, u, ok, d, c, i, b, local, small, r, p FROM readings WHERE id = 8",
            "{a2,NULL} (4,x3) 0 12345678-9abc-def0-1234-56789abcdef0 t 2024-01-09 12:00:00 1 mon 2 days \\x00ff \
             2024-01-01 00:00:00 1 0.5 1.000",
        ),
    ] {
        assert_eq!(shown(client, sql).await[0].join(" "), expected, "{sql}");
    }
    let error = rows(client, "SELECT * FROM failing").await.expect_err("it divides by zero");
    assert_eq!(error.code().expect("a code").code(), "22012");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_directories_of_earlier_commits_open_and_go_on() {
    for fixture in fixtures() {
        let mut server = Server::new(&["--checkpoint-interval", "300ms"])
            .expecting("a source cannot be reached")
            .expecting("a sink cannot go on");
        let directory = server.data_dir().to_owned();
        let unpacked =
            Command::new("tar").arg("-xzf").arg(&fixture).arg("-C").arg(&directory).status();
        assert!(unpacked.expect("tar runs").success(), "{}", fixture.display());
        let checked = Command::new(program("millrace")).arg("check").arg(&directory).output();
        let checked = checked.expect("it runs");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        server.start().await;
        let client = server.connect().await;
        is_all_there(&client).await;
        equal_their_queries(&client).await;
        run(&client, "UPDATE readings SET value = value + 1, sensor = sensor + 1 WHERE id % 3 = 0")
            .await;
        run(&client, "DELETE FROM readings WHERE id % 5 = 1 AND id > 20").await;
        run(
            &client,
            "INSERT INTO sensors VALUES (77, 'new'); INSERT INTO plain VALUES (77, 'new')",
        )
        .await;
        equal_their_queries(&client).await;
        drop(client);
        server.kill().await;
        server.start().await;
        let client = server.connect().await;
        is_all_there(&client).await;
        equal_their_queries(&client).await;
        run(&client, "DROP SINK out; DROP TABLE readings CASCADE").await;
        drop(client);
        server.stop().await;
    }
}
