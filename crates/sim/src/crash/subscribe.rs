//! SUBSCRIBE over kills: a client that comes back with `AS OF` the last epoch that it was told to be
//! complete sees every change once, in order; one that comes too late is told from which epoch on all is there;
//! and one that reads nothing holds nobody up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::lives::Lives;
use super::{rounds, run};
use crate::health::{get, samples};
use crate::server::{self, Server};
use crate::wait;

const KEYS: i32 = 50;
const ROUNDS: usize = 5;

/// A change: epoch, weight, and the row.
pub(super) type Change = (u64, i64, Vec<Option<String>>);

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let mut server = Server::new(&["--checkpoint-interval", "200ms", "--workers", "2"]);
    server.start().await;
    let client = server.connect().await;
    create(&client).await;
    drop(client);
    let lives = Lives::of(&server);
    let writer = tokio::spawn(write(lives.clone(), seed));
    let seen = Arc::new(AtomicU64::new(0));
    let follower = tokio::spawn(follow(lives.clone(), "sums", Arc::clone(&seen)));
    let mut moments = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
    for _ in 0..rounds(ROUNDS) {
        sleep(Duration::from_millis(moments.random_range(100..1500))).await;
        server.kill().await;
        let before = seen.load(Ordering::SeqCst);
        server.start().await;
        wait::until("the subscriber goes on after a restart", wait::PATIENCE, || async {
            assert!(!follower.is_finished(), "the subscriber goes on");
            (seen.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
    }
    lives.end();
    writer.await.expect("the writer ends");
    let (mut position, mut changes) = follower.await.expect("the subscriber ends");
    let client = server.connect().await;
    catch_up(&client, "sums", &mut position, &mut changes).await;
    let folded = fold(&changes);
    let rows = server::rows(&client, "SELECT name, total, n FROM sums").await.expect("an answer");
    let content: BTreeMap<_, _> = rows.into_iter().map(|row| (row[0].clone(), row)).collect();
    assert_eq!(folded, content);
    // All of it once more, from the first epoch, as one that was never interrupted would have seen it.
    let first = changes.iter().find(|change| change.0 > changes[0].0).expect("several epochs").0;
    let again = replay(&client, first - 1, position).await;
    let wanted: Vec<&Change> = changes.iter().filter(|change| change.0 >= first).collect();
    assert_eq!(again.iter().collect::<Vec<_>>(), wanted);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_reads_nothing_holds_nobody_up() {
    let mut server = Server::new(&["--checkpoint-interval", "200ms"]);
    server.start().await;
    let (slow, other) = (server.connect().await, server.connect().await);
    create(&other).await;
    run(&slow, "DECLARE c CURSOR FOR SUBSCRIBE TO sums WITH (snapshot = false)").await;
    for round in 0..20 {
        let insert = format!(
            "INSERT INTO t SELECT {round} * 10000 + i, (i % 5000)::text, 1 \
             FROM generate_series(1, 10000) AS g(i)"
        );
        run(&other, &insert).await;
    }
    let sql = "SELECT count(*)::text FROM sums";
    assert_eq!(server::rows(&other, sql).await.expect("an answer"), [[Some("5000".to_owned())]]);
    // It finds all of them when it reads at last: 5,000 new rows, 19 times 5,000 of each kind.
    let mut found = 0;
    while found < 5_000 + 19 * 10_000 {
        let rows = server::rows(&slow, "FETCH 20000 c WITH (timeout = '10s')").await;
        let rows = rows.expect("the changes are kept").len();
        assert!(rows > 0, "{found} changes came");
        found += rows;
    }
    server.stop().await;
}

/// Changes are kept for a minute, which is the least.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_too_late_is_told_from_which_epoch_on_all_is_there_over_a_kill() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let arguments = ["--checkpoint-interval", "200ms", "--workers", "2", "--http", "127.0.0.1:0"];
    let mut server = Server::new(&arguments);
    server.start().await;
    let client = server.connect().await;
    create_keeping(&client, "1 second").await;
    let begin = first_readable(&client).await;
    let lives = Lives::of(&server);
    let writer = tokio::spawn(write(lives.clone(), seed));
    let follower = tokio::spawn(follow(lives.clone(), "sums", Arc::default()));
    let forgotten = wait::until("changes are forgotten", 2 * wait::PATIENCE, || async {
        // The first changes have come by the tenth epoch.
        Some(first_readable(&client).await).filter(|first| *first > begin + 10)
    })
    .await;
    // What has gone from memory goes from disk with a checkpoint.
    let begun = checkpoints(&server).await;
    wait::until("it is forgotten on disk, too", wait::PATIENCE, || async {
        (checkpoints(&server).await >= begun + 2.0).then_some(())
    })
    .await;
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    wait::until("the view is read again", wait::PATIENCE, || async {
        server::rows(&client, "SELECT name FROM sums").await.ok()
    })
    .await;
    let now = first_readable(&client).await;
    assert!(now >= forgotten, "after the kill {now} is readable, before it was {forgotten}");
    lives.end();
    writer.await.expect("the writer ends");
    let (mut position, mut changes) = follower.await.expect("the subscriber ends");
    catch_up(&client, "sums", &mut position, &mut changes).await;
    // What is readable may go between the question and the subscription: then the next one is named.
    let first = wait::until("what the error names is there", wait::PATIENCE, || async {
        let first = first_readable(&client).await;
        client.batch_execute(&declare("sums", first)).await.ok().map(|()| first)
    })
    .await;
    let wanted: Vec<&Change> = changes.iter().filter(|change| change.0 > first).collect();
    assert!(wanted.len() < changes.len() && !wanted.is_empty(), "{first} is among the changes");
    assert_eq!(told(&client, first, position).await.iter().collect::<Vec<_>>(), wanted);
    run(&client, "CLOSE c").await;
    let below = client.batch_execute(&declare("sums", first - 1)).await.expect_err("it is gone");
    assert_eq!(below.code().map(|code| code.code()), Some("55000"));
    server.stop().await;
}

/// How many checkpoints there have been.
async fn checkpoints(server: &Server) -> f64 {
    samples(&get(server, "/metrics").await.1)["millrace_checkpoint_duration_seconds_count"]
}

/// The epoch that the error names when all changes are asked for; 0 if they are there.
async fn first_readable(client: &Client) -> u64 {
    let asked = client.batch_execute("DECLARE a CURSOR FOR SUBSCRIBE TO sums AS OF 0").await;
    let Err(error) = asked else {
        run(client, "CLOSE a").await;
        return 0;
    };
    let error = error.as_db_error().expect("an answer");
    assert_eq!(error.code().code(), "55000", "{error}");
    let detail = error.detail().expect("a detail");
    let epoch = detail.strip_prefix("The first readable epoch is ");
    let epoch = epoch.and_then(|rest| rest.strip_suffix('.')).unwrap_or_else(|| panic!("{detail}"));
    epoch.parse().expect("a number")
}

async fn create(client: &Client) {
    create_keeping(client, "1 hour").await;
}

async fn create_keeping(client: &Client, kept: &str) {
    run(client, "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, n BIGINT)").await;
    let create = format!(
        "CREATE MATERIALIZED VIEW sums WITH (retain_history = '{kept}') AS \
         SELECT name, sum(n)::bigint AS total, count(*) AS n FROM t GROUP BY name"
    );
    run(client, &create).await;
}

/// Changes the table until told to stop, over lost connections.
async fn write(mut lives: Lives, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while let Some(client) = lives.connect().await {
        while lives.go_on() {
            let (id, n) = (random.random_range(0..KEYS), random.random_range(0..100));
            let statement = match random.random_range(0..4) {
                0 => format!("DELETE FROM t WHERE id = {id}"),
                _ => format!(
                    "INSERT INTO t VALUES ({id}, '{}', {n}) \
                     ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = excluded.n",
                    n % 7
                ),
            };
            if client.batch_execute(&statement).await.is_err() {
                break;
            }
        }
    }
}

/// Follows the view over lost connections until told to stop: the last complete epoch, and all changes
/// up to it.
pub(super) async fn follow(
    mut lives: Lives,
    view: &'static str,
    seen: Arc<AtomicU64>,
) -> (u64, Vec<Change>) {
    let (mut position, mut changes) = (0, Vec::new());
    while let Some(client) = lives.connect().await {
        if client.batch_execute(&declare(view, position)).await.is_err() {
            continue;
        }
        // What came of an epoch that was not complete comes again.
        let mut open = Vec::new();
        while lives.go_on() {
            let sql = "FETCH ALL c WITH (timeout = '100ms')";
            let Ok(rows) = server::rows(&client, sql).await else { break };
            take(rows, &mut open, &mut position, &mut changes);
            seen.fetch_add(1, Ordering::SeqCst);
        }
    }
    (position, changes)
}

fn declare(view: &str, position: u64) -> String {
    let after = match position {
        0 => String::new(),
        position => format!("AS OF {position} "),
    };
    format!("DECLARE c CURSOR FOR SUBSCRIBE TO {view} {after}WITH (progress = true)")
}

/// Sorts rows by what they say: a change, or that an epoch is complete.
fn take(
    rows: Vec<Vec<Option<String>>>,
    open: &mut Vec<Change>,
    position: &mut u64,
    changes: &mut Vec<Change>,
) {
    let number = |text: &Option<String>| text.as_deref().expect("a number").parse::<i64>();
    for mut row in rows {
        let rest = row.split_off(2);
        let (epoch, weight) = (number(&row[0]).expect("whole"), number(&row[1]).expect("whole"));
        let epoch = u64::try_from(epoch).expect("epochs count from 0");
        assert!(epoch >= *position, "epoch {epoch} comes after {position}");
        match weight {
            0 => {
                *position = epoch;
                changes.append(open);
            }
            weight => open.push((epoch, weight, rest)),
        }
    }
}

/// Reads on until nothing comes any more.
pub(super) async fn catch_up(
    client: &Client,
    view: &str,
    position: &mut u64,
    changes: &mut Vec<Change>,
) {
    run(client, "FLUSH").await;
    run(client, &declare(view, *position)).await;
    let mut open = Vec::new();
    loop {
        let sql = "FETCH ALL c WITH (timeout = '1s')";
        let rows = server::rows(client, sql).await.expect("rows or none");
        if rows.is_empty() {
            break;
        }
        take(rows, &mut open, position, changes);
    }
    assert!(open.is_empty(), "all epochs are complete: {open:?}");
    run(client, "CLOSE c").await;
}

/// The changes after one epoch up to another.
async fn replay(client: &Client, after: u64, upto: u64) -> Vec<Change> {
    run(client, &declare("sums", after)).await;
    told(client, after, upto).await
}

/// What the cursor tells after one epoch up to another.
async fn told(client: &Client, after: u64, upto: u64) -> Vec<Change> {
    let (mut open, mut position, mut changes) = (Vec::new(), after, Vec::new());
    while position < upto {
        let sql = "FETCH ALL c WITH (timeout = '10s')";
        let rows = server::rows(client, sql).await.expect("rows");
        assert!(!rows.is_empty(), "it is told up to {upto}, not only {position}");
        take(rows, &mut open, &mut position, &mut changes);
    }
    changes
}

/// The rows that are left; each that goes was there as it goes, each that comes was not.
pub(super) fn fold(changes: &[Change]) -> BTreeMap<Option<String>, Vec<Option<String>>> {
    let mut rows = BTreeMap::new();
    for (epoch, weight, row) in changes {
        let before = match weight {
            1 => rows.insert(row[0].clone(), row.clone()),
            -1 => {
                let gone = rows.remove(&row[0]);
                assert_eq!(gone.as_ref(), Some(row), "what goes in epoch {epoch} was there");
                None
            }
            weight => panic!("weight {weight} in epoch {epoch}"),
        };
        assert_eq!(before, None, "what comes in epoch {epoch} was not there");
    }
    rows
}
