//! Readings in a topic: the load of all measures.
//!
//! A reading is about fifty bytes: `{"id":123,"time":1700000000.123450,"value":42}`. Reading `n`
//! goes to partition `n mod partitions` and is the same for every run with the same seed.

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Failure;
use crate::report::{Report, say};
use millrace_sim::wait;

/// Event time of the first reading, seconds since 1970.
pub(crate) const FIRST_SECOND: u64 = 1_700_000_000;

/// How batches are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    None,
    Lz4,
    Zstd,
}

/// What a topic is filled with.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    /// Readings
    #[arg(long, default_value_t = 5_000_000)]
    pub(crate) messages: u64,
    /// Sensors, drawn uniformly
    #[arg(long, default_value_t = 10_000)]
    pub(crate) sensors: u64,
    /// Partitions
    #[arg(long, default_value_t = 4)]
    pub(crate) partitions: i32,
    /// How batches are packed
    #[arg(long, value_enum, default_value = "lz4")]
    pub(crate) compression: Compression,
    /// Readings per second of event time
    #[arg(long, default_value_t = 100_000)]
    pub(crate) per_second: u64,
    /// Draws the sensors and values
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
}

/// Makes a topic anew.
pub(crate) async fn create(broker: &str, topic: &str, partitions: i32) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker).create()?;
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    admin.delete_topics(&[topic], &options).await?;
    // The old one's name is free only when it has gone from everywhere.
    wait::until("the old topic goes", wait::PATIENCE, async || {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        match admin.create_topics([&new], &options).await.ok()?.pop()? {
            Ok(_) => Some(()),
            Err(_) => None,
        }
    })
    .await;
    Ok(())
}

/// A producer that favours throughput, or the time until a message is there.
pub(crate) fn producer(
    broker: &str,
    compression: Compression,
    linger_ms: u32,
) -> Result<BaseProducer, KafkaError> {
    let codec = match compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("compression.codec", codec)
        .set("linger.ms", linger_ms.to_string())
        .set("acks", "1")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "20000")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "262144")
        .create()
}

/// Hands a message over; waits while the producer's queue is full.
pub(crate) fn send(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    payload: &str,
) -> Result<(), Failure> {
    let mut record: BaseRecord<'_, (), str> =
        BaseRecord::to(topic).partition(partition).payload(payload);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                producer.poll(Duration::from_millis(5));
                record = again;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// The partition of reading `n`.
pub(crate) fn partition(n: u64, partitions: i32) -> i32 {
    i32::try_from(n % u64::from(partitions.unsigned_abs().max(1))).unwrap_or(0)
}

/// Makes a topic and fills it.
pub(crate) async fn fill(broker: &str, topic: &str, load: &Load) -> Result<Report, Failure> {
    create(broker, topic, load.partitions).await?;
    say(&format!("producing {} readings into {topic}", load.messages));
    let begin = wait::now_micros();
    append(broker, topic, load)?;
    let seconds = seconds_since(begin);
    let mut report = Report::default();
    report.add("produced", load.messages as f64 / seconds, "readings/s");
    Ok(report)
}

/// Adds the readings of a load to a topic.
pub(crate) fn append(broker: &str, topic: &str, load: &Load) -> Result<(), Failure> {
    let producer = producer(broker, load.compression, 50)?;
    let mut random = StdRng::seed_from_u64(load.seed);
    let mut payload = String::new();
    for n in 0..load.messages {
        let id = random.random_range(0..load.sensors);
        let value = random.random_range(0..1000);
        reading(&mut payload, id, event_time(n, load.per_second), value)?;
        send(&producer, topic, partition(n, load.partitions), &payload)?;
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(())
}

/// Microseconds since 1970 of reading `n`.
pub(crate) fn event_time(n: u64, per_second: u64) -> u64 {
    FIRST_SECOND * 1_000_000 + n * 1_000_000 / per_second.max(1)
}

/// Writes a reading.
pub(crate) fn reading(
    text: &mut String,
    id: u64,
    micros: u64,
    value: u64,
) -> Result<(), std::fmt::Error> {
    text.clear();
    let (second, rest) = (micros / 1_000_000, micros % 1_000_000);
    write!(text, "{{\"id\":{id},\"time\":{second}.{rest:06},\"value\":{value}}}")
}

/// Seconds since a moment of [`wait::now_micros`].
pub(crate) fn seconds_since(begin: i64) -> f64 {
    (wait::now_micros() - begin) as f64 / 1e6
}
