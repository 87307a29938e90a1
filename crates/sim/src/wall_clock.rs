//! The machine's clock is set while a server runs, by hours, forward and back.
//!
//! `wall_clock/jump.c`, loaded into the server's process, moves the wall clock for it alone, its waits
//! for a time of that clock too; the monotonic clock goes on, as it does for a machine. That the jump
//! arrived is seen in the log, which tells the wall clock's time.
//!
//! Whoever asks for the time meanwhile sees it go on by what really passes: no jump, no step back.

mod kafka;
mod seen;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::Client;

use crate::server::{Server, rows};
use crate::wait::{self, PATIENCE, until};

use seen::Times;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// A wall clock that is set by a file.
pub(crate) struct WallClock {
    library: PathBuf,
    offset: PathBuf,
    _scratch: TempDir,
}

impl WallClock {
    /// One that shows the machine's time. Needs a C compiler, as every build of the workspace does.
    pub(crate) async fn new() -> WallClock {
        let scratch = tempfile::tempdir().expect("a directory");
        let [source, library, offset] =
            ["jump.c", "jump.so", "offset"].map(|name| scratch.path().join(name));
        std::fs::write(&source, include_str!("wall_clock/jump.c")).expect("a file");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
        let built = compiler.status().await.expect("a C compiler: scripts/setup test installs it");
        assert!(built.success(), "jump.c compiles");
        let clock = WallClock { library, offset, _scratch: scratch };
        clock.set(0);
        clock
    }

    /// Sets it so many microseconds ahead of the machine's.
    pub(crate) fn set(&self, ahead: i64) {
        // Over the bytes that are there: the process has mapped them.
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(false).open(&self.offset);
        let file = file.as_mut().expect("a file");
        std::io::Write::write_all(file, &(ahead * 1_000).to_ne_bytes()).expect("it is written");
    }

    /// A server that has this wall clock.
    pub(crate) fn server(&self, arguments: &[&str]) -> Server {
        let text = |path: &Path| path.to_str().expect("temporary paths are text").to_owned();
        Server::new(arguments)
            .environment("LD_PRELOAD", &text(&self.library))
            .environment("WALL_CLOCK", &text(&self.offset))
    }
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn number(client: &Client, sql: &str) -> i64 {
    let found = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let first = found.first().and_then(|row| row.first()?.clone());
    first.map_or(0, |text| text.parse().expect("a number"))
}

/// Waits until a query gives at least so much.
async fn reaches(client: &Client, sql: &str, wanted: i64) {
    until(&format!("{sql} >= {wanted}"), PATIENCE, || async {
        (number(client, sql).await >= wanted).then_some(())
    })
    .await;
}

/// The wall clock of the process, microseconds since 1970, as the newest line of its log has it.
async fn told(server: &Server, client: &Client, nonce: i64) -> i64 {
    // A line that is new.
    let name = format!("told_{nonce}");
    run(client, &format!("CREATE MATERIALIZED VIEW {name} AS SELECT count(*) AS n FROM seen"))
        .await;
    run(client, &format!("DROP MATERIALIZED VIEW {name}")).await;
    let line = until("the log tells of it", PATIENCE, || async {
        server.log_tail(200).lines().rev().find(|line| line.contains(&name)).map(str::to_owned)
    })
    .await;
    let time = line.split_whitespace().next().expect("a time").to_owned();
    number(client, &format!("SELECT (extract(epoch FROM '{time}'::timestamptz) * 1000000)::bigint"))
        .await
}

const SCHEMA: &[&str] = &[
    "CREATE TABLE visits (id INT PRIMARY KEY, at TIMESTAMPTZ)",
    "CREATE MATERIALIZED VIEW recent AS SELECT id FROM visits WHERE at > now() - INTERVAL '1 hour'",
    "CREATE MATERIALIZED VIEW coming AS SELECT id FROM visits WHERE at > now() + INTERVAL '1 hour'",
    "CREATE SOURCE clicks (id BIGINT, p TIMESTAMPTZ AS PROCTIME(), WATERMARK FOR p AS p) \
     WITH (connector = 'datagen', rows.per.second = '100', fields.id.kind = 'sequence')",
    "CREATE MATERIALIZED VIEW seen AS SELECT id, p FROM clicks WITH (retention = '1 hour')",
    "CREATE MATERIALIZED VIEW closed WITH (retention = '1 hour') AS SELECT window_end, count(*) AS n \
     FROM TUMBLE(clicks, p, INTERVAL '500 milliseconds') GROUP BY window_end EMIT ON WINDOW CLOSE",
];

/// What must hold a while after the wall clock was set.
async fn goes_on(server: &Server, client: &Client, id: i64) {
    // Statements that change tables, and those that make and end things, are epochs.
    run(client, &format!("INSERT INTO visits VALUES ({id}, now())")).await;
    run(client, &format!("INSERT INTO visits VALUES (-{id}, now() + INTERVAL '2 hours')")).await;
    let present = number(client, "SELECT count(*) FROM visits WHERE id > 0").await;
    assert_eq!(present, id, "every row that was acknowledged is there");
    reaches(client, "SELECT count(*) FROM recent WHERE id > 0", id).await;
    reaches(client, "SELECT count(*) FROM coming", id).await;

    // Rows come and windows close, none of them late, and none has left.
    let (seen, windows) = ("SELECT count(*) FROM seen", "SELECT count(*) FROM closed");
    let (rows_before, windows_before) = (number(client, seen).await, number(client, windows).await);
    reaches(client, seen, rows_before + 50).await;
    reaches(client, windows, windows_before + 2).await;
    let gone = "SELECT coalesce(max(id), 0) - count(*) FROM seen";
    assert_eq!(number(client, gone).await, 0, "no row has left by a retention of an hour");
    assert_eq!(number(client, "SELECT count(*) FROM millrace.late_rows").await, 0);

    // A statement's time runs out, as ever.
    run(client, "SET statement_timeout = '200ms'").await;
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    let ended = tokio::time::timeout(PATIENCE, rows(client, endless)).await;
    let error = ended.expect("statement_timeout ends it").expect_err("it has no end");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    run(client, "RESET statement_timeout").await;
    psql(server).await;
}

async fn psql(server: &Server) {
    let address = (*server.address().borrow()).expect("it listens");
    let mut psql = Command::new("psql");
    psql.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    psql.args(["-U", "root", "-d", "dev", "-XAtc", "SELECT 6 * 7"]).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, psql.output()).await;
    let output = output.expect("psql connects").expect("psql: scripts/setup test installs it");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "42");
}

/// A server by this clock with all its tables and views, whose times are watched.
async fn begun(clock: &WallClock) -> (Server, Client, Times) {
    let mut server = clock.server(&["--checkpoint-interval", "2s"]);
    server.start().await;
    let client = server.connect().await;
    for sql in SCHEMA {
        run(&client, sql).await;
    }
    let times = Times::watch(&server);
    goes_on(&server, &client, 1).await;
    (server, client, times)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_is_set_by_hours_while_the_server_runs_moves_nothing() {
    let clock = WallClock::new().await;
    let (mut server, client, times) = begun(&clock).await;
    for (jump, ahead) in [3, -5, 4, 0].into_iter().enumerate() {
        clock.set(ahead * HOUR);
        let jump = i64::try_from(jump).expect("few");
        let off = told(&server, &client, jump).await - wait::now_micros();
        assert!((off - ahead * HOUR).abs() < HOUR / 2, "its wall clock is {off} us ahead");
        goes_on(&server, &client, jump + 2).await;
    }
    times.end(HOUR / 2).await;
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_was_set_while_the_server_was_down_never_takes_time_back() {
    let clock = WallClock::new().await;
    let (mut server, client, times) = begun(&clock).await;

    // Set back while it runs, and it is killed: its own clock goes on where the log ends.
    clock.set(-5 * HOUR);
    goes_on(&server, &client, 2).await;
    drop(client);
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    goes_on(&server, &client, 3).await;
    times.end(HOUR / 2).await;

    // Three hours ahead: as if it had been down for so long. What was of the last hour has left.
    let times = Times::watch(&server);
    drop(client);
    server.stop().await;
    clock.set(3 * HOUR);
    server.start().await;
    let client = server.connect().await;
    assert_eq!(number(&client, "SELECT count(*) FROM visits").await, 6, "a table loses nothing");
    until("rows of the last hour leave, those of an hour to come do, too", PATIENCE, || async {
        let left = number(&client, "SELECT count(*) FROM recent").await;
        let coming = number(&client, "SELECT count(*) FROM coming").await;
        (left == 0 && coming == 0).then_some(())
    })
    .await;
    run(&client, "INSERT INTO visits VALUES (4, now())").await;
    reaches(&client, "SELECT count(*) FROM recent", 1).await;

    // Right again, which is back: it goes on where it was.
    drop(client);
    server.stop().await;
    clock.set(0);
    server.start().await;
    let client = server.connect().await;
    run(&client, "INSERT INTO visits VALUES (5, now())").await;
    reaches(&client, "SELECT count(*) FROM recent", 2).await;
    let windows = number(&client, "SELECT count(*) FROM closed").await;
    reaches(&client, "SELECT count(*) FROM closed", windows + 2).await;
    assert_eq!(number(&client, "SELECT count(*) FROM millrace.late_rows").await, 0);
    times.end(4 * HOUR).await;
    drop(client);
    server.stop().await;
}
