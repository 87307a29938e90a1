//! Tables that a topic fills, over kills: at the end they hold the newest row of each key and nothing of
//! those that were deleted, and the views over them agree with them at every moment.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::lives::Lives;
use super::workload::PARTITIONS;
use super::{new_topic, run};
use crate::kafka::{Kafka, Message};
use crate::server::{self, Server};
use crate::wait;

const KEYS: i32 = 40;
const ROUNDS: usize = 4;

/// How the messages of a topic say what changes.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Upsert,
    Debezium,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_table_of_upserts_holds_the_newest_rows_after_kills() {
    crash(Format::Upsert, "UPSERT", &["--workers", "2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_table_of_changes_holds_the_newest_rows_after_kills() {
    crash(Format::Debezium, "DEBEZIUM", &["--workers", "3"]).await;
}

async fn crash(format: Format, word: &str, workers: &[&str]) {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Kafka::of_tests();
    let topic = new_topic(&kafka, "upserts", seed).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = BTreeMap::new();
    let mut arguments = vec!["--checkpoint-interval", "200ms"];
    arguments.extend(workers);
    let mut server = Server::new(&arguments);
    server.start().await;
    send(&kafka, &topic, &batch(format, &mut random, &mut model, 500)).await;
    let client = server.connect().await;
    let create = format!(
        "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL, note TEXT) \
         WITH (connector = 'kafka', topic = '{topic}', properties.bootstrap.server = '{}') \
         FORMAT {word} ENCODE JSON",
        kafka.bootstrap
    );
    run(&client, &create).await;
    run(
        &client,
        "CREATE MATERIALIZED VIEW totals AS \
         SELECT count(*) AS n, coalesce(sum(balance), 0) AS total FROM accounts",
    )
    .await;
    let lives = Lives::of(&server);
    let reader = tokio::spawn(watch_totals(lives.clone()));
    for _ in 0..ROUNDS {
        for _ in 0..random.random_range(5..30) {
            let messages = batch(format, &mut random, &mut model, 50);
            send(&kafka, &topic, &messages).await;
            sleep(Duration::from_millis(random.random_range(0..40))).await;
        }
        server.kill().await;
        server.start().await;
    }
    lives.end();
    reader.await.expect("view and table always agreed");
    let client = server.connect().await;
    run(&client, "FLUSH").await;
    let found = server::rows(&client, "SELECT id, balance FROM accounts ORDER BY id").await;
    let wanted: Vec<Vec<Option<String>>> =
        model.iter().map(|(id, n)| vec![Some(id.to_string()), Some(n.to_string())]).collect();
    assert_eq!(found.expect("the table answers"), wanted);
    let sum: i64 = model.values().sum();
    let wanted = [[Some(model.len().to_string()), Some(sum.to_string())]];
    assert_eq!(server::rows(&client, "SELECT * FROM totals").await.expect("an answer"), wanted);
    server.stop().await;
}

async fn send(kafka: &Kafka, topic: &str, messages: &[Message]) {
    kafka.send_all(topic, messages).await.expect("the broker takes them");
}

/// Random changes, which the model follows. A key has one partition.
pub(super) fn batch(
    format: Format,
    random: &mut StdRng,
    model: &mut BTreeMap<i32, i64>,
    count: usize,
) -> Vec<Message> {
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        let id = random.random_range(0..KEYS);
        let partition = id % PARTITIONS;
        let message = |payload| Message {
            partition,
            key: Some(id.to_string()),
            payload,
            ..Message::default()
        };
        let row = |balance: i64| format!(r#"{{"id":{id},"balance":{balance},"note":"{balance}"}}"#);
        let balance = (random.random_range(0..3) > 0).then(|| random.random_range(0..1000));
        let before = match balance {
            Some(balance) => model.insert(id, balance),
            None => model.remove(&id),
        };
        let before = before.map_or_else(|| "null".to_owned(), row);
        match (format, balance) {
            (Format::Upsert, balance) => messages.push(message(balance.map(row))),
            (Format::Debezium, Some(balance)) => {
                let (op, after) = (if before == "null" { "c" } else { "u" }, row(balance));
                messages.push(message(Some(format!(
                    r#"{{"before":{before},"after":{after},"op":"{op}"}}"#
                ))));
            }
            (Format::Debezium, None) => {
                let before = if before == "null" { row(0) } else { before };
                messages
                    .push(message(Some(format!(r#"{{"before":{before},"after":null,"op":"d"}}"#))));
                messages.push(message(None));
            }
        }
    }
    messages
}

/// Reads over and over; table and view are of one moment.
async fn watch_totals(mut lives: Lives) {
    let sql = "SELECT (SELECT count(*) FROM accounts) = (SELECT n FROM totals), \
               (SELECT coalesce(sum(balance), 0) FROM accounts) = (SELECT total FROM totals)";
    let mut seen = 0;
    while let Some(client) = lives.connect().await {
        while let Ok(rows) = server::rows(&client, sql).await {
            assert_eq!(rows, [[Some("t".to_owned()), Some("t".to_owned())]]);
            seen += 1;
            if !lives.go_on() {
                break;
            }
        }
    }
    assert!(seen > 0, "the reader saw table and view");
}
