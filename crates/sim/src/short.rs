//! A server whose memory is short: operators let go of their state at each checkpoint, and every view still
//! equals its query.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use crate::server::{Server, rows};
use crate::wait;

/// So little that the process itself is above five eighths of it; a quarter of it is enough to compare.
const LIMIT: &str = "112MB";
const KEYS: i64 = 40_000;
const ROUNDS: usize = 12;
/// Parts in which rows are compared.
const PARTS: i64 = 4;

/// Each view with its query; they keep state of every kind that leaves memory.
const VIEWS: [(&str, &str); 5] = [
    (
        "sums",
        "SELECT k, count(*) AS n, sum(v) AS total, max(v) AS high, min(name) AS first FROM t GROUP BY k",
    ),
    (
        "kinds",
        "SELECT k, count(DISTINCT v % 7) AS n, string_agg(name, ',' ORDER BY id) AS names FROM t GROUP BY k",
    ),
    ("pairs", "SELECT t.id, t.v, u.w FROM t LEFT JOIN u ON t.k = u.k"),
    (
        "tops",
        "SELECT id, k, v FROM (SELECT id, k, v, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS place FROM t) AS r WHERE place <= 2",
    ),
    (
        "ranks",
        "SELECT id, rank() OVER (PARTITION BY k ORDER BY v) AS place, lag(v) OVER (PARTITION BY k ORDER BY v, id) AS before FROM t",
    ),
];

async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {error:?}");
    }
}

/// Rows of `t` come, change and go, all over its keys.
async fn change(client: &Client, random: &mut StdRng) {
    let (step, from) = (random.random_range(20..60), random.random_range(0..20));
    let touched = format!("id % {step} = {}", from % step);
    match random.random_range(0..3) {
        0 => run(client, &format!("UPDATE t SET v = v + 1 WHERE {touched}")).await,
        1 => run(client, &format!("DELETE FROM t WHERE {touched}")).await,
        _ => {
            let rows = format!(
                "INSERT INTO t SELECT g, g % {}, g % 101, 'n' || g % 13 FROM generate_series(0, {}) AS g WHERE g % {step} = {} ON CONFLICT DO NOTHING",
                KEYS / 4,
                KEYS - 1,
                from % step
            );
            run(client, &rows).await;
        }
    }
}

async fn number(client: &Client, sql: &str) -> i64 {
    let found = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    found[0][0].as_deref().expect("a number").parse().expect("a number")
}

/// Each view equals its query. They are compared here and in parts: the server has little memory for it.
async fn compare(client: &Client, what: &str) {
    for (view, query) in VIEWS {
        let column = if query.starts_with("SELECT k") { "k" } else { "id" };
        for part in 0..PARTS {
            let mut both = Vec::new();
            for all in [format!("SELECT * FROM {view}"), query.to_owned()] {
                let sql = format!("SELECT * FROM ({all}) AS q WHERE {column} % {PARTS} = {part}");
                let found = rows(client, &sql).await;
                let mut found = found.unwrap_or_else(|error| panic!("{what}: {sql}: {error:?}"));
                found.sort_unstable();
                both.push(found);
            }
            assert!(both[0] == both[1], "{what}: {view} is not its query");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_equal_their_queries_while_their_state_leaves_memory() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut random = StdRng::seed_from_u64(seed);
    let arguments = ["--memory-limit", LIMIT, "--checkpoint-interval", "300ms"];
    let mut server = Server::new(&arguments).expecting("memory is above its limit");
    server.start().await;
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id BIGINT PRIMARY KEY, k BIGINT, v BIGINT, name TEXT); CREATE TABLE u (k BIGINT PRIMARY KEY, w BIGINT)").await;
    run(
        &client,
        &format!(
            "INSERT INTO u SELECT g, g * 2 FROM generate_series(0, {}) AS g WHERE g % 3 = 0",
            KEYS / 4
        ),
    )
    .await;
    run(&client, &format!("INSERT INTO t SELECT g, g % {}, g % 101, 'n' || g % 13 FROM generate_series(0, {}) AS g", KEYS / 4, KEYS - 1)).await;
    for (view, query) in VIEWS {
        run(&client, &format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await;
    }
    run(
        &client,
        "CREATE SOURCE ticks (id BIGINT) WITH (connector = 'datagen', rows.per.second = '50')",
    )
    .await;
    run(&client, "CREATE MATERIALIZED VIEW ticked AS SELECT count(*) AS n FROM ticks").await;
    let mut client = client;
    let mut least = i64::MAX;
    for round in 0..ROUNDS {
        change(&client, &mut random).await;
        compare(&client, &format!("seed {seed}, round {round}")).await;
        let ticked = "SELECT n FROM ticked";
        let before = number(&client, ticked).await;
        wait::until("readers that wait go on", wait::PATIENCE, || async {
            (number(&client, ticked).await > before).then_some(())
        })
        .await;
        let held = "SELECT sum(state_rows)::bigint FROM millrace.operators WHERE view = 'pairs'";
        least = least.min(number(&client, held).await);
        if round % 4 == 3 {
            drop(client);
            server.kill().await;
            server.start().await;
            client = server.connect().await;
        }
    }
    assert!(least < KEYS / 2, "seed {seed}: the join held {least} rows at least");
    drop(client);
    server.stop().await;
}
