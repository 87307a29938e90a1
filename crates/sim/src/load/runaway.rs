//! Statements that would run for hours, or take all memory.

use tokio_postgres::error::SqlState;

use super::process::Process;
use super::raw::Raw;
use crate::server::Server;

/// Each would take hours: what its operators hand on is nothing, or much, or one value.
const ENDLESS: &[&str] = &[
    "SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 200000) b WHERE a + b = 0",
    "SELECT a.x FROM generate_series(1, 200000) a(x) JOIN generate_series(1, 200000) b(y) ON a.x * 1.5 < b.y - 10000000",
    "SELECT count(*) FROM generate_series(1, 200000) a(x) LEFT JOIN generate_series(1, 200000) b(y) ON a.x > b.y + 10000000",
    "SELECT count(*) FROM generate_series(1, 1000000) a(x) JOIN generate_series(1, 1000000) b(y) ON a.x % 2 = b.y % 2 AND a.x + b.y < 0",
    "SELECT sum(a.x::bigint * b.y) FROM generate_series(1, 1000000) a(x) JOIN generate_series(1, 1000000) b(y) ON a.x % 2 = b.y % 2",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT 1 FROM t) SELECT count(*) FROM t",
    "SELECT x % 7, sum(x * 1.5) FROM generate_series(1, 1000000000000) a(x) GROUP BY 1",
    "SELECT max(s) FROM (SELECT sum(x) OVER (ORDER BY x) s FROM generate_series(1, 1000000000000) a(x)) q",
    "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b, unnest(ARRAY[1, 2]) u",
    "SELECT * FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b",
    "INSERT INTO kept SELECT a.x FROM generate_series(1, 200000) a(x) JOIN generate_series(1, 200000) b(y) ON a.x * 1.5 < b.y - 10000000",
    "UPDATE kept SET x = (SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 200000) b WHERE a + b = kept.x)",
    "EXPLAIN ANALYZE SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 200000) b WHERE a + b = 0",
];

/// Each wants more memory than there is.
const GREEDY: &[&str] = &[
    "SELECT x FROM generate_series(1, 1000000000) a(x) ORDER BY -x",
    "SELECT x, count(*) FROM generate_series(1, 1000000000) a(x) GROUP BY 1",
    "SELECT DISTINCT x::text FROM generate_series(1, 1000000000) a(x)",
    "SELECT array_length(array_agg(x ORDER BY -x), 1) FROM generate_series(1, 1000000000) a(x)",
    "SELECT length(string_agg(x::text, ',')) FROM generate_series(1, 1000000000) a(x)",
    "SELECT count(*) FROM generate_series(1, 1000000000) a(x) JOIN generate_series(1, 1000000000) b(y) ON a.x = b.y",
    "SELECT sum(x) OVER () FROM generate_series(1, 1000000000) a(x)",
    "SELECT sum(length(repeat('abcdefgh', x::int))) FROM generate_series(100000, 200000) a(x)",
    "SELECT sum(length(lpad('x', 100000000))) FROM generate_series(1, 1000)",
    "SELECT array_length(array_repeat(1, 2000000000), 1)",
    "SELECT length(repeat('abcdefgh', 100000000))",
    "INSERT INTO kept SELECT x FROM generate_series(1, 1000000000) a(x)",
];

async fn server(arguments: &[&str]) -> Server {
    let mut server = Server::new(arguments).expecting("memory is above its limit");
    server.start().await;
    let client = server.connect().await;
    client
        .batch_execute("CREATE TABLE kept (x bigint); INSERT INTO kept VALUES (1)")
        .await
        .unwrap();
    server
}

/// A statement that ends long after others that are ended at once, and by another clock than theirs: it waits for a
/// row that does not come.
async fn longer(server: &Server) -> Raw {
    let mut raw = Raw::open(server).await;
    raw.ask("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE kept WITH (snapshot = false)").await;
    assert_eq!(raw.refusal().await, None);
    raw.ask("FETCH 1 FROM c WITH (timeout = '4s')").await;
    raw
}

/// The answer of a statement, which comes before that of another one.
async fn before<T>(longer: &mut Raw, what: &str, answer: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        answer = answer => answer,
        _ = longer.refusal() => panic!("{what} still runs when a longer one has ended"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_statement_does_its_timeout_ends_it_and_its_work() {
    let mut server = server(&["--workers", "2"]).await;
    let (process, other) = (Process::of(&server), server.connect().await);
    for endless in ENDLESS {
        // A timeout closes nothing: the same client goes on.
        let client = server.connect().await;
        client.batch_execute("SET statement_timeout = 300").await.unwrap();
        let mut longer = longer(&server).await;
        let ended = before(&mut longer, endless, client.batch_execute(endless)).await;
        let error = ended.unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{endless}: {error}"));
        assert_eq!(error.code(), &SqlState::QUERY_CANCELED, "{endless}: {error}");
        assert_eq!(error.message(), "canceling statement due to statement timeout");
        client.batch_execute("SELECT 1").await.unwrap();
    }
    process.rests().await;
    let kept = other.query_one("SELECT sum(x)::bigint FROM kept", &[]).await.unwrap();
    assert_eq!(kept.get::<_, i64>(0), 1, "a statement that was ended has changed something");
    drop(other);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_statement_while_as_many_others_run_as_there_are_threads() {
    let mut server = server(&["--workers", "2"]).await;
    let process = Process::of(&server);
    let mut running = Vec::new();
    for endless in ENDLESS {
        let mut raw = Raw::open(&server).await;
        // Two change one table: the second waits until its turn to be cancelled comes.
        raw.ask("SET lock_timeout = '1h'").await;
        assert_eq!(raw.refusal().await, None);
        raw.ask(endless).await;
        running.push(raw);
    }
    // All of them at once, and somebody else is still answered.
    let other = server.connect().await;
    other.batch_execute("SELECT count(*) FROM kept").await.unwrap();
    for (mut raw, endless) in running.into_iter().zip(ENDLESS) {
        let mut longer = longer(&server).await;
        raw.cancel(&server).await;
        let ended = before(&mut longer, endless, raw.refusal()).await;
        assert_eq!(ended.as_deref(), Some("57014"), "{endless}");
        raw.ask("SELECT 1").await;
        assert_eq!(raw.refusal().await, None);
    }
    process.rests().await;
    drop(other);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_bounds_what_waits_too() {
    let mut server = server(&["--workers", "1"]).await;
    let (holder, client) = (server.connect().await, server.connect().await);
    holder.batch_execute("BEGIN; UPDATE kept SET x = 2").await.unwrap();
    client.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
    // For a lock, for a row.
    let follow = "BEGIN; DECLARE c CURSOR FOR SUBSCRIBE kept WITH (snapshot = false)";
    for (before, waiting) in
        [("SELECT 1", "UPDATE kept SET x = 3"), (follow, "FETCH 1 FROM c WITH (timeout = '1h')")]
    {
        client.batch_execute(before).await.unwrap();
        let error = client.batch_execute(waiting).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{waiting}: {error}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    // For the client's own lines.
    let mut copier = Raw::open(&server).await;
    copier.ask("SET statement_timeout = '200ms'").await;
    assert_eq!(copier.refusal().await, None);
    copier.ask("COPY kept FROM STDIN").await;
    assert_eq!(copier.refusal().await.as_deref(), Some("57014"));
    let lock = client.batch_execute("SET statement_timeout = 0; SET lock_timeout = '100ms'").await;
    lock.unwrap();
    let error = client.batch_execute("UPDATE kept SET x = 3").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
    holder.batch_execute("ROLLBACK").await.unwrap();
    // Whoever is silent in a transaction for too long is sent away, and its locks go.
    holder.batch_execute("SET idle_in_transaction_session_timeout = '100ms'").await.unwrap();
    holder.batch_execute("BEGIN; UPDATE kept SET x = 2").await.unwrap();
    client.batch_execute("SET lock_timeout = 0; UPDATE kept SET x = 4").await.unwrap();
    assert!(holder.batch_execute("COMMIT").await.is_err());
    let wrong = client.batch_execute("SET statement_timeout = 'soon'").await.unwrap_err();
    assert_eq!(wrong.code(), Some(&SqlState::INVALID_PARAMETER_VALUE));
    drop((holder, client));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_wants_too_much_memory_fails_alone() {
    const LIMIT_MB: usize = 256;
    let mut server = server(&["--workers", "1", "--memory-limit", "256MB"]).await;
    let process = Process::of(&server);
    let (client, other) = (server.connect().await, server.connect().await);
    for greedy in GREEDY {
        let error = client.batch_execute(greedy).await.unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{greedy}: {error}"));
        let code = error.code().code();
        assert!(matches!(code, "53200" | "54000"), "{greedy}: {error}");
        other
            .batch_execute("SELECT x FROM kept ORDER BY x; INSERT INTO kept VALUES (1)")
            .await
            .unwrap();
    }
    // A message that no statement can be is passed over, not kept.
    let long = format!("INSERT INTO kept VALUES (1){}", ", (1)".repeat(20 << 20));
    let error = client.batch_execute(&long).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::PROGRAM_LIMIT_EXCEEDED));
    client.batch_execute("SELECT 1").await.unwrap();
    let peak = process.peak_mb();
    assert!(peak <= LIMIT_MB * 12 / 10, "{peak} MB at a limit of {LIMIT_MB}");
    drop((client, other));
    server.stop().await;
}
