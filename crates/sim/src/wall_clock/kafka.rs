//! The same with a broker: while a source is silent, its client waits for a time of the wall clock.

use super::{HOUR, SECOND, Times, WallClock, number, reaches, run};
use crate::kafka::{Kafka, Message};
use crate::server::Server;
use crate::wait::{self, PATIENCE, until};

const CLOSED: &str = "CREATE MATERIALIZED VIEW closed WITH (retention = '1 hour') AS \
    SELECT window_end, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 second') \
    GROUP BY window_start, window_end EMIT ON WINDOW CLOSE";

async fn send(kafka: &Kafka, topic: &str, id: i64, partition: i32) {
    let payload = Some(format!("{{\"id\": {id}, \"at\": {}}}", wait::now_micros()));
    let message = Message { partition, payload, ..Message::default() };
    kafka.send_all(topic, &[message]).await.expect("the broker takes it");
}

/// Waits for what a client must see although nothing else happens.
async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

async fn schema(server: &Server, kafka: &Kafka, topic: &str) -> tokio_postgres::Client {
    let client = server.connect().await;
    let source = |name: &str| {
        format!(
            "CREATE SOURCE {name} (id BIGINT, at BIGINT, p TIMESTAMPTZ AS PROCTIME(), \
                 ts TIMESTAMPTZ AS to_timestamp(at / 1000000.0), WATERMARK FOR ts AS ts - INTERVAL '2 seconds') \
             WITH (connector = 'kafka', topic = '{topic}', source_idle_timeout = '2s', \
                   properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON",
            kafka.bootstrap
        )
    };
    run(&client, &source("readings")).await;
    run(&client, &source("others")).await;
    run(&client, "CREATE MATERIALIZED VIEW seen AS SELECT id, p FROM readings").await;
    run(&client, CLOSED).await;
    run(&client, "CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM others").await;
    client
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn a_source_goes_on_when_the_wall_clock_is_set_by_hours() {
    let kafka = Kafka::of_tests();
    let topic = format!("jump-{}", wait::now_micros());
    kafka.create_topic(&topic, 1).await.expect("a topic");
    let clock = WallClock::new().await;
    let mut server = clock.server(&[]);
    server.start().await;
    let mut client = schema(&server, &kafka, &topic).await;
    let times = Times::watch(&server);
    let (mut sent, mut partitions) = (0, 1);
    for ahead in [0, -5, 4, -1] {
        clock.set(ahead * HOUR);
        // First a silence: the clock closes the last window, as the broker confirms.
        let windows = number(&client, "SELECT count(*) FROM closed").await;
        send(&kafka, &topic, sent, 0).await;
        sent += 1;
        reaches(&client, "SELECT count(*) FROM seen", sent).await;
        reaches(&client, "SELECT count(*) FROM closed", windows + 1).await;
        reaches(&client, "SELECT n FROM other", sent).await;

        // A partition is found and read.
        partitions += 1;
        kafka.grow_topic(&topic, partitions).await.expect("a partition");
        send(&kafka, &topic, sent, partitions - 1).await;
        sent += 1;
        reaches(&client, "SELECT count(*) FROM seen", sent).await;

        // A reader that waits for messages can be ended.
        bounded("a view ends", run(&client, "DROP MATERIALIZED VIEW other")).await;
        let again = "CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM others";
        bounded("and is made anew", run(&client, again)).await;
        assert_eq!(number(&client, "SELECT count(*) FROM seen").await, sent);
    }
    times.end(HOUR / 2).await;

    // A stop in good order while its clients wait, and a start with a wall clock that went back.
    clock.set(-5 * HOUR);
    drop(client);
    server.stop().await;
    server.start().await;
    client = server.connect().await;
    send(&kafka, &topic, sent, 0).await;
    until("it reads on", PATIENCE, || async {
        (number(&client, "SELECT count(*) FROM seen").await == sent + 1).then_some(())
    })
    .await;
    drop(client);
    server.stop().await;

    // A start with one that went ahead: before a row has come, nothing says that the producers' did, too.
    clock.set(3 * HOUR);
    server.start().await;
    client = server.connect().await;
    let idle = "SELECT count(*) FROM millrace.sources WHERE source = 'readings' AND idle";
    reaches(&client, idle, partitions.into()).await;
    let begun = wait::now_micros();
    until("the clock has had time to move it", PATIENCE, || async {
        (wait::now_micros() > begun + 4 * SECOND).then_some(())
    })
    .await;
    let watermark =
        "SELECT (extract(epoch FROM max(watermark)) * 1000000)::bigint FROM millrace.sources";
    let watermark = number(&client, watermark).await;
    assert!(watermark <= wait::now_micros(), "{watermark} is ahead of who sends");
    send(&kafka, &topic, sent + 1, 0).await;
    reaches(&client, "SELECT count(*) FROM seen", sent + 2).await;
    assert_eq!(number(&client, "SELECT count(*) FROM millrace.late_rows").await, 0);
    drop(client);
    server.stop().await;
}
