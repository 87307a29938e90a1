//! Sinks over kills and over a broker that goes: a consumer with `read_committed` sees each change of the
//! view once, and what it has put together at the end is the view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::lives::Lives;
use super::outage::Broker;
use super::rounds::kill_at_a_random_moment;
use super::{new_topic, rounds, run};
use crate::health::{get, samples};
use crate::kafka::{Kafka, Message};
use crate::server::{self, Server};
use crate::wait;
use crate::wall_clock::WallClock;

const ACCOUNTS: i32 = 40;
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_consumer_sees_each_change_once_over_kills() {
    let seed = wait::seed();
    println!("MILLRACE_SEED={seed} repeats this run");
    let kafka = Arc::new(Kafka::of_tests());
    let readings = new_topic(&kafka, "sink-readings", seed).await;
    let mut topics = Vec::new();
    for name in ["sink-changes", "sink-copies", "sink-errors", "sink-late"] {
        topics.push(new_topic(&kafka, name, seed).await);
    }
    let mut server = Server::new(&["--checkpoint-interval", "300ms", "--workers", "2"])
        .expecting("a sink cannot go on");
    server.start().await;
    for statement in statements(&kafka.bootstrap, &readings, &topics) {
        run(&server.connect().await, &statement).await;
    }
    let lives = Lives::of(&server);
    let writer = tokio::spawn(write(lives.clone(), seed));
    let producer = tokio::spawn(produce(Arc::clone(&kafka), readings, lives.clone()));
    let mut moments = StdRng::seed_from_u64(seed ^ 0x6b69_6c6c);
    for _ in 0..rounds(ROUNDS) {
        kill_at_a_random_moment(&mut server, &mut moments, 1500).await;
    }
    lives.end();
    writer.await.expect("the writer ends");
    let (produced, malformed) = producer.await.expect("the producer ends");
    let client = server.connect().await;
    run(&client, "FLUSH").await;
    until_sent(&client, 4).await;
    let rows = server::rows(&client, "SELECT owner, total FROM sums").await.expect("an answer");
    let view: BTreeMap<_, _> =
        rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(fold(&kafka.committed(&topics[0]).await), view);
    for (topic, rows) in [(&topics[1], produced), (&topics[2], malformed)] {
        let sent = kafka.committed(topic).await;
        let distinct: BTreeSet<&Option<String>> = sent.iter().map(|m| &m.payload).collect();
        assert_eq!((sent.len(), distinct.len()), (rows, rows), "each row of {topic} is sent once");
    }
    let sql = "SELECT partition, \"offset\" FROM millrace.late_rows ORDER BY 1, 2";
    let listed = server::rows(&client, sql).await.expect("an answer");
    assert_eq!(places(&kafka.committed(&topics[3]).await), listed, "each late row is sent once");
    assert!(!listed.is_empty(), "some are late");
    server.stop().await;
}

/// Where the late rows in messages stood, as the table says it.
fn places(messages: &[Message]) -> Vec<Vec<Option<String>>> {
    let place = |message: &Message| {
        let payload = message.payload.as_deref().expect("no tombstones");
        let row: serde_json::Value = serde_json::from_str(payload).expect("JSON");
        ["partition", "offset"].map(|column| row[column].as_i64().expect("a number"))
    };
    let mut places: Vec<[i64; 2]> = messages.iter().map(place).collect();
    places.sort_unstable();
    let text = |place: [i64; 2]| place.map(|number| Some(number.to_string())).to_vec();
    places.into_iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn changes_wait_for_a_broker_that_is_away_over_restarts() {
    let broker = Broker::new();
    let kafka = Kafka::at(&broker.start().await).expect("an address");
    let topic = new_topic(&kafka, "sink-away", wait::seed()).await;
    let clock = WallClock::new().await;
    let mut server = clock
        .server(&["--checkpoint-interval", "200ms", "--http", "127.0.0.1:0"])
        .expecting("a sink cannot go on");
    server.start().await;
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
    run(&client, "INSERT INTO t VALUES (0)").await;
    let create = format!("CREATE SINK k FROM t {}", to(&kafka.bootstrap, &topic, "UPSERT"));
    run(&client, &create).await;
    until_sent(&client, 1).await;
    broker.halt().await;
    for id in 1..=3 {
        let client = server.connect().await;
        run(&client, &format!("INSERT INTO t VALUES ({id})")).await;
        let shown = "SELECT status, lag_epochs > 0, error IS NOT NULL FROM millrace.sinks";
        wait::until("the sink says that it waits", wait::PATIENCE, || async {
            let rows = server::rows(&client, shown).await.expect("an answer");
            let wanted = [Some("retrying"), Some("t"), Some("t")];
            (rows[0].iter().map(Option::as_deref).eq(wanted)).then_some(())
        })
        .await;
        let found = samples(&get(&server, "/metrics").await.1);
        assert_eq!(found.get("millrace_sink_up{sink=\"k\",status=\"retrying\"}"), Some(&0.0));
        assert!(found["millrace_sink_lag_epochs{sink=\"k\"}"] > 0.0);
        run(&client, "UPDATE t SET id = id").await;
        server.kill().await;
        // As if it had been down for ten minutes: what nobody waits for is kept for one.
        clock.set(id * 600_000_000);
        server.start().await;
    }
    broker.start().await;
    let client = server.connect().await;
    until_sent(&client, 1).await;
    let messages = kafka.committed(&topic).await;
    let mut keys: Vec<_> = messages.iter().map(|message| message.key.clone()).collect();
    keys.sort_unstable();
    let wanted: Vec<_> = (0..=3).map(|id| Some(format!("{{\"id\":{id}}}"))).collect();
    assert_eq!(keys, wanted);
    run(&client, "DROP SINK k").await;
    server.stop().await;
}

pub(crate) fn to(broker: &str, topic: &str, format: &str) -> String {
    format!(
        "WITH (connector = 'kafka', topic = '{topic}', properties.bootstrap.server = '{broker}') \
         FORMAT {format} ENCODE JSON"
    )
}

fn statements(broker: &str, readings: &str, topics: &[String]) -> Vec<String> {
    let listed = |topic: &str| {
        to(broker, topic, "PLAIN").replacen("WITH (", "WITH (force_append_only = 'true', ", 1)
    };
    vec![
        "CREATE TABLE accounts (id INT PRIMARY KEY, owner TEXT NOT NULL, balance BIGINT NOT NULL)"
            .to_owned(),
        "CREATE MATERIALIZED VIEW sums AS SELECT owner, sum(balance)::bigint AS total, \
         count(*) AS n FROM accounts GROUP BY owner"
            .to_owned(),
        format!(
            "CREATE SOURCE readings (n BIGINT, t BIGINT, ts TIMESTAMPTZ AS to_timestamp(t), \
             WATERMARK FOR ts AS ts - INTERVAL '1 second') \
             INCLUDE partition AS p, offset AS o {}",
            to(broker, readings, "PLAIN")
        ),
        "CREATE MATERIALIZED VIEW copied AS SELECT p, o, n FROM readings WHERE n >= 0".to_owned(),
        "CREATE MATERIALIZED VIEW windows AS SELECT window_start, count(*) AS n \
         FROM TUMBLE(readings, ts, INTERVAL '10 seconds') GROUP BY window_start"
            .to_owned(),
        format!("CREATE SINK changes FROM sums {}", to(broker, &topics[0], "DEBEZIUM")),
        format!("CREATE SINK copies FROM copied {}", to(broker, &topics[1], "PLAIN")),
        format!("CREATE SINK errors FROM millrace.source_errors {}", listed(&topics[2])),
        format!("CREATE SINK late FROM millrace.late_rows {}", listed(&topics[3])),
    ]
}

/// Waits until so many sinks have sent all that there is.
pub(crate) async fn until_sent(client: &tokio_postgres::Client, sinks: usize) {
    wait::until("the sinks have sent everything", wait::PATIENCE, || async {
        let sql = "SELECT sink FROM millrace.sinks WHERE status = 'running' AND lag_epochs = 0";
        (server::rows(client, sql).await.expect("an answer").len() == sinks).then_some(())
    })
    .await;
}

/// Changes the accounts until told to stop, over lost connections.
async fn write(mut lives: Lives, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while let Some(client) = lives.connect().await {
        while lives.go_on() {
            let (id, n) = (random.random_range(0..ACCOUNTS), random.random_range(0..1000));
            let statement = match random.random_range(0..4) {
                0 => format!("DELETE FROM accounts WHERE id = {id}"),
                _ => format!(
                    "INSERT INTO accounts VALUES ({id}, 'o{}', {n}) \
                     ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, balance = excluded.balance",
                    n % 9
                ),
            };
            if client.batch_execute(&statement).await.is_err() {
                break;
            }
        }
    }
}

/// Sends readings until told to stop: how many, and how many messages that are none. Some come late.
async fn produce(kafka: Arc<Kafka>, topic: String, lives: Lives) -> (usize, usize) {
    let (mut sent, mut malformed) = (0, 0);
    while lives.go_on() {
        let payload = |n: usize| match n % 100 {
            7 => format!("{{\"n\": {n}"),
            50 => format!("{{\"n\": {n}, \"t\": {}}}", n / 2),
            _ => format!("{{\"n\": {n}, \"t\": {n}}}"),
        };
        let message = |n: usize| Message {
            partition: i32::try_from(n % 4).expect("small"),
            payload: Some(payload(n)),
            ..Message::default()
        };
        let burst: Vec<Message> = (sent..sent + 37).map(message).collect();
        kafka.send_all(&topic, &burst).await.expect("the broker takes them");
        malformed += (sent..sent + 37).filter(|n| n % 100 == 7).count();
        sent += burst.len();
        sleep(Duration::from_millis(10)).await;
    }
    (sent - malformed, malformed)
}

/// Puts Debezium's changes together; each says what was there before it.
pub(crate) fn fold(messages: &[Message]) -> BTreeMap<Option<String>, Option<String>> {
    let mut rows: BTreeMap<Option<String>, serde_json::Value> = BTreeMap::new();
    for message in messages {
        let payload = message.payload.as_deref().expect("no tombstones");
        let change: serde_json::Value = serde_json::from_str(payload).expect("JSON");
        let key = message.key.clone();
        let before = rows.remove(&key).unwrap_or_default();
        assert_eq!(change["before"], before, "what was there before {payload}");
        let wanted = match (change["before"].is_null(), change["after"].is_null()) {
            (true, false) => &["c", "r"][..],
            (false, false) => &["u"],
            _ => &["d"],
        };
        let op = change["op"].as_str().expect("an operation");
        assert!(wanted.contains(&op), "{payload}");
        if !change["after"].is_null() {
            rows.insert(key, change["after"].clone());
        }
    }
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let row = |row: &serde_json::Value| (text(&row["owner"]), Some(row["total"].to_string()));
    rows.values().map(row).collect()
}
