//! Recovery does not need what lies below the checkpoint, and does not hide what it has lost.

use super::model;
use super::workload::{Mix, PARTITIONS, Workload};
use super::{TOTALS_VIEW, TUMBLING, TUMBLING_VIEW};
use super::{create_source, new_topic, run, until_read};
use crate::kafka::Kafka;
use crate::server::{self, Server};
use crate::wait;

/// A statement whose commit is a checkpoint of everything that was visible before it.
async fn checkpoint(client: &tokio_postgres::Client, name: &str) {
    run(client, &format!("CREATE MATERIALIZED VIEW {name} AS SELECT sum(n) AS n FROM totals"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn records_deleted_below_the_checkpoint_are_not_missed() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "deleted", seed).await;
    let mut workload = Workload::new(seed, Mix::ROUGH);
    let mut server = Server::new(&[]);
    server.start().await;
    let client = server.connect().await;
    run(&client, &create_source(&kafka, &topic)).await;
    run(&client, TUMBLING_VIEW).await;
    run(&client, TOTALS_VIEW).await;
    workload.send(&kafka, &topic, 5_000).await;
    until_read(&client, workload.rows()).await;
    checkpoint(&client, "first").await;
    let covered: Vec<(i32, i64)> = (0..PARTITIONS).map(|p| (p, workload.end(p))).collect();

    // Visible, but maybe not in a checkpoint: these come back from the log and the topic.
    workload.send(&kafka, &topic, 500).await;
    until_read(&client, workload.rows()).await;
    server.kill().await;
    kafka.delete_records(&topic, &covered).await.expect("records are deleted");
    for (partition, offset) in &covered {
        let (first, _) = kafka.extent(&topic, *partition).expect("the broker answers");
        assert_eq!(first, *offset, "the records are gone");
    }
    server.start().await;
    let client = server.connect().await;
    workload.send(&kafka, &topic, 1_000).await;
    until_read(&client, workload.rows()).await;
    let late = model::late(&client, "readings_10s").await;
    model::check_late(&workload, TUMBLING, &late);
    let expected = model::expected(&workload, TUMBLING, &late);
    let actual = model::actual(&client, "readings_10s").await;
    model::assert_same("readings_10s after DeleteRecords", &actual, &expected);
    model::check_counters(&client, "readings", &workload).await;
    server.stop().await;
}

/// A server that has read a thousand messages, into `totals`.
async fn reading(kafka: &Kafka, topic: &str, seed: u64) -> (Server, Workload) {
    let mut workload = Workload::new(seed, Mix::CLEAN);
    let mut server = Server::new(&[]).expecting(topic);
    server.start().await;
    let client = server.connect().await;
    run(&client, &create_source(kafka, topic)).await;
    run(&client, TOTALS_VIEW).await;
    workload.send(kafka, topic, 1_000).await;
    until_read(&client, workload.rows()).await;
    (server, workload)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn lost_records_stop_the_view_with_their_topic_partition_and_offsets() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "lost", seed).await;
    let (mut server, mut workload) = reading(&kafka, &topic, seed).await;
    let read: Vec<i64> = (0..PARTITIONS).map(|p| workload.end(p)).collect();
    server.stop().await;

    workload.send(&kafka, &topic, 1_000).await;
    let gone: Vec<(i32, i64)> = (0..PARTITIONS).map(|p| (p, workload.end(p) - 10)).collect();
    kafka.delete_records(&topic, &gone).await.expect("records are deleted");
    server.start().await;
    let client = server.connect().await;
    let error = wait::until("SELECT fails", wait::PATIENCE, || async {
        server::rows(&client, "SELECT n FROM totals").await.err()
    })
    .await;
    let error = error.as_db_error().expect("the server's own error");
    let told = format!("{} {:?}", error.message(), error.detail());
    // Whichever partition the server met first.
    let names = |partition: i32, read: i64| {
        let (first, _) = kafka.extent(&topic, partition).expect("the broker answers");
        let parts = [topic.clone(), format!("partition {partition} ")];
        let offsets = [format!("offset {read}"), first.to_string()];
        parts.iter().chain(&offsets).all(|part| told.contains(part))
    };
    let named = (0..PARTITIONS).zip(read).any(|(partition, read)| names(partition, read));
    assert!(named, "topic, partition and offsets: {told}");
    assert!(error.hint().is_some(), "a hint says what to do");
    let status = server::rows(
        &client,
        "SELECT DISTINCT error FROM millrace.sources WHERE error IS NOT NULL",
    )
    .await;
    assert!(
        !status.expect("millrace.sources answers").is_empty(),
        "the error is in millrace.sources"
    );

    // What the hint says: a new view reads what is left.
    run(&client, "DROP MATERIALIZED VIEW totals").await;
    run(&client, TOTALS_VIEW).await;
    let left = server::rows(&client, "SELECT sum(n) FROM totals").await.expect("it answers");
    assert_eq!(left, [[Some((10 * PARTITIONS).to_string())]]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_topic_that_ends_below_the_logged_offsets_stops_the_view() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "truncated", seed).await;
    let (mut server, _) = reading(&kafka, &topic, seed).await;
    // Made anew with less than was read: the offsets that come next are those of other messages.
    server.kill().await;
    kafka.delete_topic(&topic).await.expect("the topic goes");
    kafka.create_topic(&topic, PARTITIONS).await.expect("a new topic");
    Workload::new(seed + 1, Mix::CLEAN).send(&kafka, &topic, 40).await;
    server.start().await;
    let client = server.connect().await;
    let told = refusal(&client, None).await;
    assert!(told.contains(&topic) && told.contains("made anew"), "{told}");
    server.stop().await;
}

/// The error of SELECT over a view that has stopped, as soon as it has. Before that it shows what it has
/// shown, if that is given.
async fn refusal(client: &tokio_postgres::Client, shown: Option<&Shown>) -> String {
    let error = wait::until("SELECT fails", wait::PATIENCE, || async {
        let failed = match server::rows(client, SHOWN).await {
            Err(error) => error,
            Ok(found) => {
                assert!(shown.is_none_or(|shown| *shown == found), "{found:?}, not {shown:?}");
                return None;
            }
        };
        // Until the source has stopped, recovery waits.
        failed.code().is_some_and(|code| code.code() != "57P03").then_some(failed)
    })
    .await;
    error.as_db_error().expect("the server's own error").message().to_owned()
}

/// What `totals` shows.
const SHOWN: &str = "SELECT n, total FROM totals";
type Shown = Vec<Vec<Option<String>>>;

/// Makes a topic anew, with more in each partition than the one before had: the offsets that come next
/// are there, and belong to other messages.
async fn make_anew(kafka: &Kafka, topic: &str, seed: u64) -> Workload {
    kafka.delete_topic(topic).await.expect("the topic goes");
    kafka.create_topic(topic, PARTITIONS).await.expect("a new topic");
    let mut workload = Workload::new(seed, Mix::CLEAN);
    workload.send(kafka, topic, 3_000).await;
    workload
}

/// What the error says to do.
async fn create_again(client: &tokio_postgres::Client, kafka: &Kafka, topic: &str, rows: i64) {
    run(client, "DROP SOURCE readings CASCADE").await;
    run(client, &create_source(kafka, topic)).await;
    run(client, TOTALS_VIEW).await;
    until_read(client, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_topic_made_anew_that_has_grown_past_the_logged_offsets_stops_the_view() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "anew", seed).await;
    let (mut server, before) = reading(&kafka, &topic, seed).await;
    let shown = server::rows(&server.connect().await, SHOWN).await.expect("it answers");
    server.kill().await;
    let after = make_anew(&kafka, &topic, seed + 1).await;
    for partition in 0..PARTITIONS {
        assert!(after.end(partition) > before.end(partition), "it has grown past what was read");
    }
    for _ in 0..2 {
        server.start().await;
        let client = server.connect().await;
        // A view that is made now would mix both topics.
        let told = refusal(&client, Some(&shown)).await;
        assert!(told.contains(&topic) && told.contains("was deleted and made anew"), "{told}");
        let view = "CREATE MATERIALIZED VIEW more AS SELECT count(*) AS n FROM readings";
        let error = client.batch_execute(view).await.expect_err("the topic is another one");
        let error = error.as_db_error().expect("the server's own error").message().to_owned();
        assert!(error.contains("was deleted and made anew"), "{error}");
        server.stop().await;
    }
    server.start().await;
    create_again(&server.connect().await, &kafka, &topic, after.rows()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_topic_made_anew_while_it_is_read_stops_the_view() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "renewed", seed).await;
    let (mut server, _) = reading(&kafka, &topic, seed).await;
    let client = server.connect().await;
    let after = make_anew(&kafka, &topic, seed + 1).await;
    let told = refusal(&client, None).await;
    assert!(told.contains(&topic) && told.contains("made anew"), "{told}");
    create_again(&client, &kafka, &topic, after.rows()).await;
    server.stop().await;
}
