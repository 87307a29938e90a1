//! Rounds of kill -9 at random moments, while readings are produced and a reader watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::lives::{Lives, is_end};
use super::model;
use super::workload::{Mix, Workload};
use super::{HOPPING, HOPPING_VIEW, TOTALS_VIEW, TUMBLING, TUMBLING_VIEW};
use super::{create_source, new_topic, run, until_read};
use crate::kafka::Kafka;
use crate::server::{self, Server};
use crate::wait;

/// Views over what was not taken.
pub(super) const ERRORS_VIEW: &str = "CREATE MATERIALIZED VIEW wrong AS \
    SELECT partition, count(*) AS n, sum(\"offset\")::bigint AS offsets FROM millrace.source_errors \
    GROUP BY partition";
pub(super) const LATE_VIEW: &str = "CREATE MATERIALIZED VIEW missed AS \
    SELECT view, count(*) AS n, sum((row->>'value')::bigint)::bigint AS total \
    FROM millrace.late_rows GROUP BY view";

/// The rounds that are asked for.
pub(super) fn rounds(default: usize) -> usize {
    let text = std::env::var("MILLRACE_CRASH_ROUNDS");
    text.map_or(default, |text| text.parse().expect("MILLRACE_CRASH_ROUNDS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn crashes_lose_nothing_and_count_nothing_twice_with_fjall() {
    crash("fjall", rounds(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn crashes_lose_nothing_and_count_nothing_twice_with_sled() {
    crash("sled", rounds(2)).await;
}

async fn crash(store: &str, rounds: usize) {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Arc::new(Kafka::of_tests());
    let topic = new_topic(&kafka, &format!("crash-{store}"), seed).await;
    let mut server = Server::new(&["--store", store, "--checkpoint-interval", "500ms"]);
    server.start().await;
    let client = server.connect().await;
    run(&client, &create_source(&kafka, &topic)).await;
    for view in [TUMBLING_VIEW, HOPPING_VIEW, TOTALS_VIEW, ERRORS_VIEW, LATE_VIEW] {
        run(&client, view).await;
    }
    drop(client);

    let lives = Lives::of(&server);
    let producer = produce(Arc::clone(&kafka), topic.clone(), seed, lives.clone());
    let producer = tokio::spawn(producer);
    let seen = Arc::new(AtomicU64::new(0));
    let reader = tokio::spawn(watch_sums(lives.clone(), Arc::clone(&seen)));
    let mut moments = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
    for _ in 0..rounds {
        kill_at_a_random_moment(&mut server, &mut moments, 2500).await;
        // Each life must get as far as answering, or the test would only test the start.
        let before = seen.load(Ordering::SeqCst);
        wait::until("the reader gets an answer after a restart", wait::PATIENCE, || async {
            assert!(!reader.is_finished(), "the reader goes on");
            (seen.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
    }
    lives.end();
    let mut workload = producer.await.expect("the producer ends");
    reader.await.expect("no reader saw a sum go down");
    send_late_rows(&server, &kafka, &topic, &mut workload).await;
    check(&server, &workload).await;
    // Once more: what was right before a crash is right after it, counters and lists too; the lists
    // at once, whatever of the log has been read again by then.
    let late = late_rows(&server).await;
    server.kill().await;
    server.start().await;
    assert_eq!(late_rows(&server).await, late);
    check(&server, &workload).await;
    server.stop().await;
}

/// Kills the server while it works or, now and then, while it starts; starts it again.
pub(super) async fn kill_at_a_random_moment(
    server: &mut Server,
    moments: &mut StdRng,
    within_ms: u64,
) {
    sleep(Duration::from_millis(moments.random_range(50..within_ms))).await;
    server.kill().await;
    while moments.random_bool(0.3) {
        server.spawn().expect("the program is there");
        sleep(Duration::from_millis(moments.random_range(0..1000))).await;
        server.kill().await;
    }
    server.start().await;
}

/// Sends bursts until told to stop.
async fn produce(kafka: Arc<Kafka>, topic: String, seed: u64, lives: Lives) -> Workload {
    let mut workload = Workload::new(seed, Mix::ROUGH);
    let mut bursts = StdRng::seed_from_u64(seed ^ 0x6275_7273);
    while lives.go_on() {
        workload.send(&kafka, &topic, bursts.random_range(1..200)).await;
        sleep(Duration::from_millis(bursts.random_range(0..50))).await;
    }
    workload
}

/// A burst behind a watermark that is logged: on a slow machine all before may have been read within
/// few epochs, in which nothing is late.
pub(super) async fn send_late_rows(
    server: &Server,
    kafka: &Kafka,
    topic: &str,
    workload: &mut Workload,
) {
    until_read(&server.connect().await, workload.rows()).await;
    workload.send(kafka, topic, 600).await;
}

/// Reads sums over and over, over crashes, and fails when one goes down. Counts answers in `seen`.
async fn watch_sums(mut lives: Lives, seen: Arc<AtomicU64>) {
    let sql = "SELECT (SELECT coalesce(sum(total), 0)::bigint FROM readings_10s), \
                      (SELECT coalesce(sum(n), 0)::bigint FROM readings_hop), \
                      (SELECT n FROM totals)";
    let mut last = vec![0; 3];
    while let Some(client) = lives.connect().await {
        while let Some(sums) = sums(&client, sql).await {
            let fell = sums.iter().zip(&last).any(|(now, before)| now < before);
            assert!(!fell, "sums went from {last:?} to {sums:?}");
            last = sums;
            seen.fetch_add(1, Ordering::SeqCst);
            if !lives.go_on() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(last[2] > 0, "the reader saw rows");
}

/// One line of sums; None when the server goes away or is not ready.
async fn sums(client: &tokio_postgres::Client, sql: &str) -> Option<Vec<i64>> {
    match server::rows(client, sql).await {
        Ok(rows) => {
            let numbers = rows.first().expect("one row").iter();
            Some(numbers.map(|n| n.as_deref().expect("a sum").parse().expect("whole")).collect())
        }
        Err(error) => {
            assert!(is_end(&error), "{sql}: {error:?}");
            None
        }
    }
}

async fn late_rows(server: &Server) -> Vec<Vec<model::Late>> {
    let client = server.connect().await;
    let mut lists = Vec::new();
    for view in ["readings_10s", "readings_hop"] {
        let mut late = model::late(&client, view).await;
        late.sort_unstable();
        lists.push(late);
    }
    lists
}

/// The views, the lists and the counters are exactly what the workload asks for.
pub(super) async fn check(server: &Server, workload: &Workload) {
    let client = server.connect().await;
    until_read(&client, workload.rows()).await;
    for (view, windows) in [("readings_10s", TUMBLING), ("readings_hop", HOPPING)] {
        let late = model::late(&client, view).await;
        model::check_late(workload, windows, &late);
        assert!(!late.is_empty(), "a test without late rows shows nothing of them");
        let expected = model::expected(workload, windows, &late);
        model::assert_same(view, &model::actual(&client, view).await, &expected);
    }
    model::check_counters(&client, "readings", workload).await;
    model::check_errors(&client, workload).await;
    let sql = "SELECT count(*) FROM \
                   ((SELECT view, count(*) AS n, sum((row->>'value')::bigint)::bigint AS total \
                     FROM millrace.late_rows GROUP BY view) EXCEPT SELECT view, n, total FROM missed)";
    wait::until("a view over late rows holds them", wait::PATIENCE, || async {
        (model::numbers(&client, sql).await == [[0]]).then_some(())
    })
    .await;
}
