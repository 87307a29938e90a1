//! The last window closes: a sensor that goes offline, all sensors, and a broker that is away.
//!
//! Readings carry the time at which they are sent, in windows of a second; each sensor has a partition
//! of its own.

use super::model::numbers;
use super::outage::Broker;
use super::run;
use crate::kafka::{Kafka, Message};
use crate::server::Server;
use crate::wait;

const SECOND: i64 = 1_000_000;

struct Sensors {
    kafka: Kafka,
    topic: String,
}

impl Sensors {
    /// A reading of now from each of some sensors; the greatest time of them, microseconds.
    async fn read(&self, sensors: &[i32]) -> i64 {
        let now = wait::now_micros();
        let message = |sensor: &i32| Message {
            partition: *sensor,
            payload: Some(format!("{{\"id\": {sensor}, \"at\": {now}}}")),
            ..Message::default()
        };
        let messages: Vec<Message> = sensors.iter().map(message).collect();
        self.kafka.send_all(&self.topic, &messages).await.expect("the broker takes them");
        now
    }
}

const CLOSED: &str = "CREATE MATERIALIZED VIEW closed AS \
    SELECT window_end, id, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 second') \
    GROUP BY window_start, window_end, id EMIT ON WINDOW CLOSE";

/// The greatest end of a closed window of a sensor, microseconds; 0 before any.
async fn closed(client: &tokio_postgres::Client, sensor: i32) -> i64 {
    let sql = format!(
        "SELECT coalesce(max((extract(epoch FROM window_end) * 1000000)::bigint), 0) \
         FROM closed WHERE id = {sensor}"
    );
    numbers(client, &sql).await[0][0]
}

/// The watermark, microseconds; 0 before any.
async fn watermark(client: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT coalesce(max((extract(epoch FROM watermark) * 1000000)::bigint), 0) \
               FROM millrace.sources";
    numbers(client, sql).await[0][0]
}

/// Waits until the broker is known to be away and the watermark stands still; where.
async fn rests(client: &tokio_postgres::Client) -> i64 {
    wait::until("it is told that the broker is away", wait::PATIENCE, || async {
        let sql = "SELECT count(*) FROM millrace.sources WHERE status = 'unreachable'";
        (numbers(client, sql).await[0][0] > 0).then_some(())
    })
    .await;
    wait::until("the watermark comes to rest", wait::PATIENCE, || async {
        let before = watermark(client).await;
        let begun = wait::now_micros();
        wait::until("some seconds pass", wait::PATIENCE, || async {
            (wait::now_micros() > begun + 4 * SECOND).then_some(())
        })
        .await;
        (watermark(client).await == before).then_some(before)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
async fn the_last_window_of_a_sensor_that_goes_offline_closes() {
    let broker = Broker::new();
    let kafka = Kafka::at(&broker.start().await).expect("an address");
    let topic = super::new_topic(&kafka, "offline", 1).await;
    let mut server = Server::new(&[]).expecting("a source cannot be reached");
    server.start().await;
    let client = server.connect().await;
    let source = format!(
        "CREATE SOURCE readings (id BIGINT, at BIGINT, \
             ts TIMESTAMPTZ AS to_timestamp(at / 1000000.0), WATERMARK FOR ts AS ts) \
         WITH (connector = 'kafka', topic = '{topic}', source_idle_timeout = '2s', \
               properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON",
        kafka.bootstrap
    );
    let sensors = Sensors { kafka, topic };
    run(&client, &source).await;
    run(&client, CLOSED).await;

    // Four sensors read; then one goes on and three are offline.
    let last = sensors.read(&[0, 1, 2, 3]).await;
    wait::until("its last window closes while another sensor reads on", wait::PATIENCE, || async {
        sensors.read(&[0]).await;
        (closed(&client, 3).await > last).then_some(())
    })
    .await;
    let all = numbers(&client, "SELECT id, n FROM closed WHERE id > 0 ORDER BY id").await;
    assert_eq!(all, [[1, 1], [2, 1], [3, 1]]);

    // Now the last one, too: the clock moves the watermark on.
    let last = sensors.read(&[0]).await;
    wait::until("the last window of all closes", wait::PATIENCE, || async {
        (closed(&client, 0).await > last).then_some(())
    })
    .await;
    assert!(watermark(&client).await <= wait::now_micros(), "it is not ahead of the clock");

    // With the broker away nobody knows what has been sent: it stands still.
    let last = sensors.read(&[0, 1, 2, 3]).await;
    broker.halt().await;
    let still = rests(&client).await;
    assert!(still < last + 4 * SECOND, "it followed the clock no longer than it was confirmed");
    assert_eq!(broker.start().await, sensors.kafka.bootstrap);
    wait::until("the windows close when the broker is back", wait::PATIENCE, || async {
        (closed(&client, 3).await > last).then_some(())
    })
    .await;

    // Away again, after a silence in which the clock moved it.
    broker.halt().await;
    let gone = wait::now_micros();
    let still = rests(&client).await;
    assert!(still < gone + 4 * SECOND, "it followed the clock no longer than it was confirmed");
    server.stop().await;
}
