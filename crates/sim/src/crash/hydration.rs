//! Views that are filled over kills: a hydration goes on from its last checkpoint, whatever has
//! changed below it meanwhile, and ends with what its query gives.
//!
//! The views are slow to fill: each row of the table below, or each event of the source, meets many
//! others. Writers change the table all the time.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::lives::Lives;
use super::{rounds, run};
use crate::server::{self, Server};
use crate::wait;

/// Rows of the table below, of a kilobyte each: a step of a hydration holds some thousands.
const ROWS: i64 = 60_000;
/// How many rows each of them meets.
const FAN: i64 = 200;

const OVER_TABLE: &str = "CREATE MATERIALIZED VIEW over_table AS SELECT a.g, count(*) AS n, \
    sum(a.v + f.x)::bigint AS total, count(DISTINCT a.v) AS d FROM base a JOIN fan f ON f.g = a.g \
    GROUP BY a.g";
const OVER_VIEW: &str = "CREATE MATERIALIZED VIEW over_view AS SELECT a.name, count(*) AS n, \
    sum(a.w * f.x)::bigint AS total FROM doubled a JOIN fan f ON f.g = a.g GROUP BY a.name";
const OVER_SOURCE: &str = "CREATE MATERIALIZED VIEW over_source AS SELECT b.bidder, count(*) AS n, \
    sum(b.price + f.x)::bigint AS total FROM bids b JOIN fan f ON f.g = b.bidder % 10 AND f.x <= 200 GROUP BY b.bidder";
/// Events of the source.
const EVENTS: i64 = 600_000;

/// A view and the query that gives its rows at any time.
const CHECKS: [(&str, &str); 3] = [
    (
        "SELECT * FROM over_table ORDER BY g",
        "SELECT a.g, count(*) AS n, sum(a.v + f.x)::bigint AS total, count(DISTINCT a.v) AS d \
         FROM base a JOIN fan f ON f.g = a.g GROUP BY a.g ORDER BY g",
    ),
    (
        "SELECT * FROM over_view ORDER BY name",
        "SELECT a.name, count(*) AS n, sum(a.v * 2 * f.x)::bigint AS total \
         FROM base a JOIN fan f ON f.g = a.g GROUP BY a.name ORDER BY name",
    ),
    (
        "SELECT count(*), sum(n)::bigint, sum(total)::bigint FROM over_source",
        "SELECT count(DISTINCT b.bidder), count(*), sum(b.price + f.x)::bigint \
         FROM bids b JOIN fan f ON f.g = b.bidder % 10 AND f.x <= 200",
    ),
];

async fn create(client: &Client) {
    for sql in [
        "CREATE TABLE base (k INT PRIMARY KEY, name TEXT, g INT, v BIGINT, pad TEXT)".to_owned(),
        "CREATE TABLE fan (g INT, x BIGINT)".to_owned(),
        format!("INSERT INTO fan SELECT i % 10, i FROM generate_series(1, {}) AS s(i)", FAN * 10),
        load(1, ROWS / 2),
        load(ROWS / 2 + 1, ROWS),
        "CREATE MATERIALIZED VIEW doubled AS SELECT name, k, v * 2 AS w, g, pad FROM base"
            .to_owned(),
        format!(
            "CREATE SOURCE bids WITH (connector = 'nexmark', nexmark.table.type = 'Bid', \
                 nexmark.event.num = '{EVENTS}')"
        ),
    ] {
        run(client, &sql).await;
    }
}

fn load(from: i64, to: i64) -> String {
    format!(
        "INSERT INTO base SELECT i, 'n' || i % 1000, i % 10, i % 777, repeat('x', 1000) \
         FROM generate_series({from}, {to}) AS s(i)"
    )
}

/// Changes rows of the table until told to stop, over lost connections: in the part that has been read
/// and in the part that has not.
async fn write(mut lives: Lives, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while let Some(client) = lives.connect().await {
        while lives.go_on() {
            let (k, new) = (random.random_range(1..=ROWS), random.random_range(1..1_000_000));
            let sql = match random.random_range(0..3) {
                0 => format!("DELETE FROM base WHERE k BETWEEN {k} AND {}", k + 3),
                1 => format!("UPDATE base SET v = v + {new}, g = {new} % 10 WHERE k = {k}"),
                _ => format!(
                    "INSERT INTO base VALUES ({}, 'new', {new} % 10, {new}, '') \
                     ON CONFLICT DO NOTHING",
                    k - ROWS / 2
                ),
            };
            if client.batch_execute(&sql).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Of each job: view, status, rows read, rows to read, rows read in earlier lives.
type Job = (String, String, i64, i64, i64);

/// None when the server goes away or is not ready.
async fn jobs(client: &Client) -> Option<Vec<Job>> {
    let sql =
        "SELECT view, status, rows_read, coalesce(rows_to_read, 0), rows_kept FROM millrace.jobs";
    let rows = client.query(sql, &[]).await.ok()?;
    Some(rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4))).collect())
}

/// Waits until a job stands in the middle, with a place in a checkpoint; rows kept.
async fn until_halfway(client: &Client, view: &str) -> i64 {
    wait::until(&format!("a checkpoint holds {view}"), wait::PATIENCE, || async {
        let jobs = jobs(client).await.expect("the server answers");
        let job = jobs.into_iter().find(|job| job.0 == view).expect("it is still a job");
        assert_ne!(job.1, "failed");
        (job.4 > 0).then_some(job.4)
    })
    .await
}

async fn until_filled(client: &Client) {
    wait::until("all views are filled", wait::PATIENCE * 2, || async {
        let jobs = jobs(client).await?;
        assert!(jobs.iter().all(|job| job.1 != "failed"), "{jobs:?}");
        jobs.is_empty().then_some(())
    })
    .await;
}

async fn check(client: &Client) {
    for (view, query) in CHECKS {
        let view_rows = server::rows(client, view).await;
        let wanted = server::rows(client, query).await;
        let rows = |found: Result<_, tokio_postgres::Error>| found.expect("it is answered");
        assert_eq!(rows(view_rows), rows(wanted), "{view}");
    }
    let sum = "SELECT count(*), sum(k)::bigint, sum(v)::bigint FROM base WHERE g";
    let plan = server::rows(client, &format!("EXPLAIN {sum} = 3")).await.expect("it is answered");
    let plan = plan.into_iter().flatten().flatten().collect::<String>();
    assert!(plan.contains("IndexScan: base_g on base"), "{plan}");
    for g in 0..10 {
        let found = server::rows(client, &format!("{sum} = {g}")).await.expect("it is answered");
        let wanted = server::rows(client, &format!("{sum} + 0 = {g}")).await;
        assert_eq!(found, wanted.expect("it is answered"), "group {g} by its index");
    }
}

/// What the log says of a filled view: rows read by this process and before, in all and before.
fn filled(server: &Server, view: &str) -> (i64, i64) {
    let log = server.log_tail(10_000);
    let lines = || log.lines().rev().filter(|line| line.contains("a view is filled"));
    let named = |line: &&str| line.contains(&format!("\"{view}\""));
    let line = lines().find(named).unwrap_or_else(|| panic!("no line for {view} in:\n{log}"));
    let number = |name: &str| -> i64 {
        let (_, rest) = line.split_once(&format!(" {name}=")).expect("the line has it");
        let digits = rest.split_whitespace().next().expect("a number follows");
        digits.parse().expect("a number follows")
    };
    (number("read"), number("resumed"))
}

async fn goes_on(view: &str, create_view: &str, rows: i64) {
    let mut server = Server::new(&["--workers", "2", "--checkpoint-interval", "200ms"]);
    server.start().await;
    let client = server.connect().await;
    create(&client).await;
    run(&client, "SET background_ddl = true").await;
    run(&client, create_view).await;
    let kept = until_halfway(&client, view).await;
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    let resumed = wait::until("the job goes on", wait::PATIENCE, || async {
        let jobs = jobs(&client).await?;
        let job = jobs.into_iter().find(|job| job.0 == view && job.1 == "running")?;
        Some(job.4)
    })
    .await;
    assert!(resumed >= kept, "{resumed} rows are kept, it was {kept}");
    until_filled(&client).await;
    let (all, before) = filled(&server, view);
    assert!((kept..rows).contains(&before), "it went on from {before}, {kept} of {rows} were kept");
    assert_eq!(all, rows, "of what was kept nothing was read again");
    let (found, wanted) = CHECKS.into_iter().find(|(sql, _)| sql.contains(view)).expect("a check");
    let found = server::rows(&client, found).await.expect("it is answered");
    assert_eq!(found, server::rows(&client, wanted).await.expect("it is answered"));
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_table_goes_on_being_filled_after_a_kill() {
    goes_on("over_table", OVER_TABLE, ROWS + FAN * 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_view_goes_on_being_filled_after_a_kill() {
    goes_on("over_view", OVER_VIEW, ROWS + FAN * 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_source_goes_on_being_filled_after_a_kill() {
    goes_on("over_source", OVER_SOURCE, EVENTS / 50 * 46 + FAN * 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_right_whenever_the_server_is_killed_while_they_are_filled() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut server = Server::new(&["--workers", "2", "--checkpoint-interval", "150ms"]);
    server.start().await;
    let client = server.connect().await;
    create(&client).await;
    run(&client, "SET background_ddl = true").await;
    for view in [OVER_TABLE, OVER_VIEW, OVER_SOURCE, "CREATE INDEX base_g ON base (g)"] {
        run(&client, view).await;
    }
    let lives = Lives::of(&server);
    let writer = tokio::spawn(write(lives.clone(), seed));
    let mut moments = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
    for _ in 0..rounds(5) {
        sleep(Duration::from_millis(moments.random_range(100..3000))).await;
        match moments.random_bool(0.8) {
            true => server.kill().await,
            // In good order now and then.
            false => drop(server.terminate().await),
        }
        server.start().await;
    }
    until_filled(&server.connect().await).await;
    lives.end();
    writer.await.expect("the writer ends");
    check(&server.connect().await).await;
    // And what follows is kept up to date from the state that was gathered over all lives.
    let client = server.connect().await;
    run(&client, "UPDATE base SET g = (g + 1) % 10 WHERE k % 5 = 0").await;
    run(&client, "DELETE FROM base WHERE k % 7 = 0").await;
    check(&client).await;
    server.kill().await;
    server.start().await;
    check(&server.connect().await).await;
    server.stop().await;
}
