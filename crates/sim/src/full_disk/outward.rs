//! A full disk while a sink follows: what was acknowledged goes out, over a kill too, and nothing twice.

use super::{FULL, MADE, MEGABYTE, Mount, insert_until_full, insert_when_room, number, state};
use crate::crash::sinks::{fold, to, until_sent};
use crate::crash::{new_topic, run};
use crate::kafka::Kafka;
use crate::server::{Server, rows};
use crate::wait::{PATIENCE, seed, until};

const FOLLOWED: &str = "CREATE MATERIALIZED VIEW followed AS \
    SELECT (id % 7)::text AS owner, sum(id)::bigint AS total FROM t GROUP BY 1";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_sink_sends_what_was_taken_while_the_disk_is_full_and_each_change_once() {
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "sink-full-disk", seed()).await;
    let arguments = ["--checkpoint-interval", "300ms", "--disk-reserve", "16MB"];
    let mut server = Server::new(&arguments).expecting(FULL).expecting("a sink cannot go on");
    let Some(disk) = Mount::over(server.data_dir(), "96m") else { return };
    server.start().await;
    let client = server.connect().await;
    run(&client, MADE).await;
    run(&client, FOLLOWED).await;
    let sink = to(&kafka.bootstrap, &topic, "DEBEZIUM");
    run(&client, &format!("CREATE SINK k FROM followed {sink}")).await;
    insert_when_room(&client, 1).await;
    disk.fill(12 * MEGABYTE);
    let mut taken = insert_until_full(&client, 2).await;
    let another =
        format!("CREATE SINK more FROM followed {}", to(&kafka.bootstrap, &topic, "DEBEZIUM"));
    assert_eq!(state(&client, &another).await, "53100");
    until_sent(&client, 1).await;
    until_all_is(&kafka, &topic, taken).await;
    // Nothing says on disk how far the sink is since the last checkpoint; the topic does.
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    until("the view answers", PATIENCE, || async {
        rows(&client, "SELECT total FROM followed").await.ok()
    })
    .await;
    assert_eq!(state(&client, "INSERT INTO t VALUES (0, 'no')").await, "53100");
    until_sent(&client, 1).await;
    until_all_is(&kafka, &topic, taken).await;
    disk.empty();
    taken += 1;
    insert_when_room(&client, taken).await;
    until_sent(&client, 1).await;
    until_all_is(&kafka, &topic, taken).await;
    assert_eq!(number(&client, "SELECT sum(total) FROM followed").await, taken * (taken + 1) / 2);
    server.stop().await;
}

/// Waits until the topic has all rows: a view may be behind what was acknowledged, and the sink with it.
async fn until_all_is(kafka: &Kafka, topic: &str, taken: i64) {
    until("all is sent", PATIENCE, || async {
        (sent(kafka, topic).await == taken * (taken + 1) / 2).then_some(())
    })
    .await;
}

/// The sum of what the topic says that the view holds. Each change fits the one before it.
async fn sent(kafka: &Kafka, topic: &str) -> i64 {
    let latest = fold(&kafka.committed(topic).await);
    let totals = latest.values().filter_map(|total| total.as_deref());
    totals.map(|total| total.parse::<i64>().expect("a number")).sum()
}
