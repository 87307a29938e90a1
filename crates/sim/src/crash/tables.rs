//! Statements that change tables, over kills: every acknowledged one is there, none twice, and the
//! views over the tables agree with them at every moment.
//!
//! Two writers move money between accounts and count in a table of their own; money neither comes
//! nor goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::lives::Lives;
use super::run;
use crate::server::{self, Server};
use crate::wait;

const ACCOUNTS: i32 = 8;
const EACH: i64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_changes_survive_and_none_counts_twice_with_fjall() {
    crash("fjall", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_changes_survive_and_none_counts_twice_with_sled() {
    crash("sled", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_statement_leaves_nothing_behind_and_no_lock() {
    let mut server = Server::new(&[]);
    server.start().await;
    let (one, other) = (server.connect().await, server.connect().await);
    run(&one, "CREATE TABLE numbers (n BIGINT)").await;
    let cancel = one.cancel_token();
    let endless = "INSERT INTO numbers SELECT i FROM generate_series(1, 1000000000000) AS g(i)";
    let (stopped, _) = tokio::join!(one.batch_execute(endless), async {
        sleep(Duration::from_millis(300)).await;
        cancel.cancel_query(tokio_postgres::NoTls).await.expect("the server takes it");
    });
    let code = stopped.expect_err("it was cancelled").code().map(|code| code.code().to_owned());
    assert_eq!(code.as_deref(), Some("57014"));
    // The first session is still there; with the lock in its hands this would fail.
    run(&other, "INSERT INTO numbers VALUES (1)").await;
    run(&one, "INSERT INTO numbers VALUES (2)").await;
    assert_eq!(numbers(&other, "SELECT count(*), sum(n)::bigint FROM numbers").await, [2, 3]);
    server.stop().await;
}

/// What one writer knows of its counter.
#[derive(Default)]
struct Counted {
    acknowledged: AtomicI64,
    /// Sent, but the connection ended before the answer.
    doubtful: AtomicI64,
}

async fn crash(store: &str, rounds: usize) {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut server = Server::new(&["--store", store, "--checkpoint-interval", "200ms"]);
    server.start().await;
    create(&server.connect().await).await;
    let lives = Lives::of(&server);
    let mut writers = Vec::new();
    for writer in 0..2u64 {
        let counted = Arc::new(Counted::default());
        let work = write(lives.clone(), writer, seed, Arc::clone(&counted));
        writers.push((counted, tokio::spawn(work)));
    }
    let reader = tokio::spawn(watch_total(lives.clone()));
    let mut moments = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
    for _ in 0..rounds {
        sleep(Duration::from_millis(moments.random_range(100..1200))).await;
        server.kill().await;
        server.start().await;
    }
    sleep(Duration::from_millis(300)).await;
    lives.end();
    reader.await.expect("the total never changed");
    for (writer, (counted, work)) in (0..2).zip(writers) {
        work.await.expect("the writer ends");
        check(&server, writer, &counted).await;
    }
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    assert_eq!(numbers(&client, TOTALS).await, [i64::from(ACCOUNTS) * EACH; 2]);
    // Constant rows are given once, not once a life.
    assert_eq!(numbers(&client, "SELECT count(*), sum(id)::bigint FROM constants").await, [10, 43]);
    server.stop().await;
}

/// The money in the table and in the view over it, in one moment.
const TOTALS: &str = "SELECT (SELECT sum(balance) FROM accounts)::bigint, \
                             (SELECT balance FROM total)::bigint";

async fn create(client: &Client) {
    for statement in [
        "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL)",
        "CREATE TABLE done (writer INT, n BIGINT)",
        "CREATE MATERIALIZED VIEW total AS SELECT sum(balance) AS balance FROM accounts",
        "CREATE MATERIALIZED VIEW constants AS \
             SELECT id FROM accounts UNION ALL SELECT n FROM (VALUES (7), (8)) AS v(n)",
        "CREATE MATERIALIZED VIEW counts AS SELECT writer, count(*) AS n FROM done GROUP BY writer",
    ] {
        run(client, statement).await;
    }
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {EACH})")).collect();
    run(client, &format!("INSERT INTO accounts VALUES {}", rows.join(", "))).await;
}

/// Works until told to stop, over lost connections.
async fn write(mut lives: Lives, writer: u64, seed: u64, counted: Arc<Counted>) {
    let mut random = StdRng::seed_from_u64(seed ^ writer);
    while let Some(client) = lives.connect().await {
        while lives.go_on() {
            let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
            let amount = random.random_range(1..10);
            // One statement: both accounts change, or neither.
            let transfer = format!(
                "UPDATE accounts SET balance = balance + {amount} * \
                 (CASE WHEN id = {to} THEN 1 ELSE 0 END - CASE WHEN id = {from} THEN 1 ELSE 0 END) \
                 WHERE id IN ({from}, {to})"
            );
            let count = format!("INSERT INTO done VALUES ({writer}, {amount})");
            if client.batch_execute(&transfer).await.is_err() {
                break;
            }
            match client.batch_execute(&count).await {
                Ok(()) => counted.acknowledged.fetch_add(1, Ordering::SeqCst),
                Err(_) => counted.doubtful.fetch_add(1, Ordering::SeqCst),
            };
        }
    }
}

/// Reads the total over and over; it is the same in the table and in the view, always.
async fn watch_total(mut lives: Lives) {
    let mut seen = 0;
    while let Some(client) = lives.connect().await {
        while let Ok(rows) = server::rows(&client, TOTALS).await {
            let total = (i64::from(ACCOUNTS) * EACH).to_string();
            assert_eq!(rows, [[Some(total.clone()), Some(total)]]);
            seen += 1;
            if !lives.go_on() {
                break;
            }
        }
    }
    assert!(seen > 0, "the reader saw the total");
}

async fn check(server: &Server, writer: i64, counted: &Counted) {
    let client = server.connect().await;
    let sql = format!(
        "SELECT (SELECT n FROM counts WHERE writer = {writer}), \
                (SELECT count(*) FROM done WHERE writer = {writer})"
    );
    let found = numbers(&client, &sql).await;
    assert_eq!(found[0], found[1], "the view counts what the table holds");
    let least = counted.acknowledged.load(Ordering::SeqCst);
    let most = least + counted.doubtful.load(Ordering::SeqCst);
    assert!(least > 0, "writer {writer} got something done");
    assert!((least..=most).contains(&found[0]), "{} of {least} to {most}", found[0]);
}

async fn numbers(client: &Client, sql: &str) -> Vec<i64> {
    let rows = server::rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = rows.first().expect("one row");
    row.iter().map(|n| n.as_deref().expect("a number").parse().expect("whole")).collect()
}
