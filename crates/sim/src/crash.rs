//! Crashes of the real server over a real broker: nothing is lost, nothing counts twice, and no
//! reader sees time go back.
//!
//! Rounds of kill -9 at random moments run while readings are produced; at the end the views equal
//! the batch answer over what was produced, without the rows that `millrace.late_rows` lists.
//! `MILLRACE_CRASH_ROUNDS` sets the rounds, `MILLRACE_SEED` repeats a run.

mod agreement;
mod definitions;
mod hydration;
mod kept;
mod lag;
mod large;
mod leaving;
mod lives;
mod mixed;
mod model;
mod offline;
mod outage;
mod partitions;
mod read_times;
mod retention;
mod rounds;
pub(crate) mod sinks;
mod steps;
mod subscribe;
mod tables;
mod transactions;
mod twins;
mod upserts;
mod workload;

use tokio_postgres::Client;

use crate::kafka::Kafka;
use crate::wait;

use model::Windows;
use rounds::rounds;
use workload::PARTITIONS;

/// The windows of the view `readings_10s`.
const TUMBLING: Windows = Windows { slide: 10_000_000, size: 10_000_000 };
/// The windows of the view `readings_hop`.
const HOPPING: Windows = Windows { slide: 5_000_000, size: 15_000_000 };

const TUMBLING_VIEW: &str = "CREATE MATERIALIZED VIEW readings_10s AS \
    SELECT window_start, window_end, id, sum(value) AS total, count(*) AS n, \
           min(value) AS least, max(value) AS greatest \
    FROM TUMBLE(readings, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end, id";

const HOPPING_VIEW: &str = "CREATE MATERIALIZED VIEW readings_hop AS \
    SELECT window_start, window_end, id, sum(value) AS total, count(*) AS n, \
           min(value) AS least, max(value) AS greatest \
    FROM HOP(readings, ts, INTERVAL '5 seconds', INTERVAL '15 seconds') \
    GROUP BY window_start, window_end, id";

/// A topic of its own for a test.
pub(crate) async fn new_topic(kafka: &Kafka, test: &str, seed: u64) -> String {
    let topic = format!("{test}-{seed}-{}", wait::now_micros());
    kafka.create_topic(&topic, PARTITIONS).await.expect("a new topic");
    topic
}

fn create_source(kafka: &Kafka, topic: &str) -> String {
    format!(
        "CREATE SOURCE readings (id BIGINT, time DOUBLE PRECISION, value BIGINT, \
             ts TIMESTAMPTZ AS to_timestamp(time), WATERMARK FOR ts AS ts - INTERVAL '2 seconds') \
         WITH (connector = 'kafka', topic = '{topic}', \
             properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON",
        kafka.bootstrap
    )
}

/// Never turns a row away: when it counts all rows, everything has been read, and later queries of
/// the same session see at least as much.
const TOTALS_VIEW: &str = "CREATE MATERIALIZED VIEW totals AS \
    SELECT count(*) AS n, sum(value) AS total FROM readings";

/// Waits until `totals` counts this many rows; more fails at once.
async fn until_read(client: &Client, wanted: i64) {
    let sql = "SELECT n FROM totals";
    wait::until(&format!("{sql} = {wanted}"), wait::PATIENCE, || async {
        let found = crate::server::rows(client, sql).await;
        let found = found.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let number = found.first()?.first()?.as_deref()?.parse::<i64>().ok()?;
        assert!(number <= wanted, "{number} rows are counted, {wanted} were produced");
        (number == wanted).then_some(())
    })
    .await;
}

/// Runs statements that give no rows.
pub(crate) async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}
