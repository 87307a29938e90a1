//! Messages of 10 MB: rows like others; larger ones than the source takes are listed, and memory stays
//! within its limit.

use tokio_postgres::Client;

use super::{model, new_topic, run};
use crate::kafka::{Kafka, Message};
use crate::server::Server;
use crate::wait;

/// Bytes of a text, just below what a source takes in a message.
const LARGE: usize = 10_000_000;
/// Beyond that.
const TOO_LARGE: usize = 21_000_000;
/// What the server may use; and what it may use for a moment.
const LIMIT: (&str, u64) = ("384MB", 384 << 20);

/// One message in so many is large, one in so many too large.
const LARGE_EVERY: i64 = 4;
const TOO_LARGE_EVERY: i64 = 16;

fn length(id: i64) -> usize {
    match id {
        _ if id % TOO_LARGE_EVERY == 3 => TOO_LARGE,
        _ if id % LARGE_EVERY == 1 => LARGE,
        _ => 10,
    }
}

fn message(id: i64) -> Message {
    let partition = i32::try_from(id % 4).expect("one of four");
    // Each partition has some of each.
    let body = "x".repeat(length(id / 4));
    let payload = Some(format!("{{\"id\":{id},\"body\":\"{body}\"}}"));
    Message { partition, payload, ..Message::default() }
}

async fn send(kafka: &Kafka, topic: &str, ids: std::ops::Range<i64>) {
    for id in ids {
        kafka.send_all(topic, &[message(id)]).await.expect("the broker takes it");
    }
}

/// Waits until all below an id have been read, and looks at all of it.
async fn check(client: &Client, below: i64) {
    let is_row = |id: &i64| length(id / 4) != TOO_LARGE;
    let bytes = |id: i64| i64::try_from(length(id / 4)).expect("small");
    let count = i64::try_from((0..below).filter(is_row).count()).expect("few");
    let total: i64 = (0..below).filter(is_row).map(bytes).sum();
    let wanted = vec![vec![count, total, (0..below).filter(is_row).sum()]];
    let sql = "SELECT n, bytes, ids FROM bodies";
    wait::until("all have been read", wait::PATIENCE, || async {
        let found = model::numbers(client, sql).await;
        assert!(found[0][0] <= count, "{found:?}, {wanted:?} were sent");
        (found == wanted).then_some(())
    })
    .await;
    let listed = model::numbers(
        client,
        "SELECT count(*), count(DISTINCT (partition, \"offset\")), max(length(raw)) \
         FROM millrace.source_errors WHERE reason LIKE '%max.message.bytes%'",
    )
    .await;
    assert_eq!(
        listed,
        [[below - count, below - count, 16 << 10]],
        "each is listed once, its begin"
    );
    let kept = model::numbers(client, "SELECT id, length(body) FROM first ORDER BY id").await;
    let first = (0..8).filter(is_row).map(|id| vec![id, bytes(id)]);
    assert_eq!(kept, first.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn messages_of_ten_megabytes_are_rows_and_larger_ones_are_listed_within_memory() {
    let seed = wait::seed();
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "large", seed).await;
    let mut server = Server::new(&["--memory-limit", LIMIT.0, "--checkpoint-interval", "1s"]);
    server.start().await;
    let client = server.connect().await;
    run(
        &client,
        &format!(
            "CREATE SOURCE sent (id BIGINT, body TEXT) WITH (connector = 'kafka', \
                 topic = '{topic}', properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON",
            kafka.bootstrap
        ),
    )
    .await;
    let views = "CREATE MATERIALIZED VIEW bodies AS SELECT count(*) AS n, \
            sum(length(body))::bigint AS bytes, coalesce(sum(id), 0)::bigint AS ids FROM sent; \
        CREATE MATERIALIZED VIEW first AS SELECT id, body FROM sent WHERE id < 8";
    run(&client, views).await;
    send(&kafka, &topic, 0..48).await;
    check(&client, 48).await;
    // As a backlog of some hundred megabytes, over a kill in the midst of it.
    server.kill().await;
    send(&kafka, &topic, 48..160).await;
    server.start().await;
    wait::until("some have been read", wait::PATIENCE, || async {
        let client = server.connect().await;
        let found = crate::server::rows(&client, "SELECT n FROM bodies").await.ok()?;
        (found[0][0].as_deref()?.parse::<i64>().ok()? > 50).then_some(())
    })
    .await;
    let mut peak = server.peak_bytes();
    server.kill().await;
    server.start().await;
    check(&server.connect().await, 160).await;
    peak = peak.max(server.peak_bytes());
    println!("{} MB at most", peak >> 20);
    assert!(peak < LIMIT.1 + LIMIT.1 / 5, "{} MB of memory", peak >> 20);
    server.stop().await;
}
