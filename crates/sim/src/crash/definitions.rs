//! Statements that make tables of queries, rename objects and replace views, over kills: what was
//! acknowledged is there, what was not is there wholly or not at all.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::model::numbers;
use super::run;
use crate::server::{Server, rows};
use crate::wait;

const ROUNDS: usize = 8;
const ROWS: i64 = 500;

/// How many statements were acknowledged so far.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    copies: i64,
    name: i64,
    view: i64,
}

/// Makes, renames and replaces until the connection ends.
async fn work(client: Client, mut done: Done) -> Done {
    loop {
        let (copy, name, view) = (done.copies, done.name, done.view + 1);
        let copy = format!("CREATE TABLE copy_{copy} AS SELECT n, n * 2 AS twice FROM base");
        if client.batch_execute(&copy).await.is_err() {
            return done;
        }
        done.copies += 1;
        let rename = format!("ALTER TABLE moved_{name} RENAME TO moved_{}", name + 1);
        if client.batch_execute(&rename).await.is_err() {
            return done;
        }
        done.name += 1;
        let replace = format!("CREATE OR REPLACE VIEW shown AS SELECT {view} AS version");
        if client.batch_execute(&replace).await.is_err() {
            return done;
        }
        done.view = view;
    }
}

/// Looks at what is there after a kill; what happened without an answer counts from now on.
async fn check(client: &Client, mut done: Done) -> Done {
    for copy in 0..done.copies {
        let sql = format!("SELECT count(*), sum(twice - n)::bigint FROM copy_{copy}");
        assert_eq!(numbers(client, &sql).await, [[ROWS, ROWS * (ROWS + 1) / 2]], "copy {copy}");
    }
    let doubtful = format!("SELECT count(*) FROM copy_{}", done.copies);
    if let Ok(found) = rows(client, &doubtful).await {
        assert_eq!(found[0][0].as_deref(), Some(ROWS.to_string().as_str()), "all or nothing");
        done.copies += 1;
    }
    let view = numbers(client, "SELECT version FROM shown").await[0][0];
    assert!((done.view..=done.view + 1).contains(&view), "{view}, {done:?}");
    done.view = view;
    let named = |name: i64| format!("SELECT count(*), count(*) FROM moved_{name}");
    if rows(client, &named(done.name)).await.is_err() {
        done.name += 1;
    }
    let moved = numbers(client, &named(done.name)).await[0][0];
    // Whatever it is called, what stands above it goes on.
    run(client, &format!("INSERT INTO moved_{} VALUES (1)", done.name)).await;
    let above = numbers(client, "SELECT (SELECT n FROM counted), (SELECT n FROM macro)").await;
    assert_eq!(above, [[moved + 1, moved + 1]]);
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_queries_and_new_names_are_there_wholly_or_not_at_all() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::new(&["--checkpoint-interval", "100ms"]);
    server.start().await;
    let client = server.connect().await;
    for statement in [
        "CREATE TABLE base AS SELECT n FROM generate_series(1, 500) AS g(n)",
        "CREATE TABLE moved_0 (n INT)",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM moved_0",
        "CREATE VIEW macro AS SELECT count(*) AS n FROM moved_0",
        "CREATE VIEW shown AS SELECT 0 AS version",
    ] {
        run(&client, statement).await;
    }
    drop(client);
    let mut done = Done::default();
    for _ in 0..ROUNDS {
        let working = tokio::spawn(work(server.connect().await, done));
        sleep(Duration::from_millis(random.random_range(5..400))).await;
        server.kill().await;
        done = working.await.expect("the work ends with its connection");
        server.start().await;
        done = check(&server.connect().await, done).await;
    }
    assert!(done.copies > 0, "nothing was made");
    server.stop().await;
}
