//! A sink that is a topic: one Kafka transaction carries one or more whole epochs.
//!
//! The transaction also commits the epoch that it leads to, as the offset of a consumer group which has
//! the sink's own name. So what the topic holds and how far the sink is change together; whoever opens
//! the sink next fences the one before by the transactional id, reads that offset and goes on there.
//!
//! Invariants: 1. the position is read after the fence: nobody moves it any more ([`KafkaSink::open`]).
//! 2. offsets are read with `isolation.level = read_committed`: a commit under way is waited for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_dataflow::sink::{Changes, Sink, SinkError, Writer};
use millrace_dataflow::source::SourceError;
use millrace_types::Epoch;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::settings::property;
use super::witness::Witness;
use crate::envelope::{Envelope, Sent, SinkShape};
use crate::options::{Options, refused};

/// The options of a Kafka sink.
pub const SINK_OPTIONS: &[&str] = &["topic", "properties.bootstrap.server", "properties.*"];

/// What librdkafka is told first; `properties.*` may change these. Keys go to the partitions to which
/// other clients send them.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "millrace"),
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.kbytes", "65536"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    ("log.connection.close", "false"),
    ("transaction.timeout.ms", "300000"),
];
/// What exactly once relies on; nobody may change these.
const FIXED: &[&str] = &[
    "transactional.id",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "enable.auto.commit",
    "isolation.level",
    "group.id",
    "plugin.library.paths",
];

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a commit may take, with all messages before it.
const COMMIT: Duration = Duration::from_secs(120);
/// How often the group's offset is asked for while its keeper changes, and the pause between.
const LOOKS_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// One wait for messages to arrive, and after how many without a broker it is given up.
const FLUSH: Duration = Duration::from_millis(500);
const SILENT_MAX: u32 = 4;
/// How long a full queue is waited for at once.
const DRAIN: Duration = Duration::from_millis(50);

/// A topic of one cluster, written.
pub struct KafkaSink {
    topic: String,
    brokers: String,
    client: ClientConfig,
    unique: String,
    shape: SinkShape,
}

impl KafkaSink {
    /// A sink with the options of a WITH clause; `unique` is its name among all sinks of all servers.
    ///
    /// # Errors
    /// `Invalid` with what is wrong.
    pub fn new(
        all: &BTreeMap<String, String>,
        unique: &str,
        shape: SinkShape,
    ) -> Result<KafkaSink, SourceError> {
        let mut options = Options::new("kafka", all);
        let topic = options.required("topic")?.to_owned();
        let mut client = ClientConfig::new();
        for (name, value) in DEFAULTS {
            client.set(*name, *value);
        }
        let mut brokers = None;
        for (name, value) in options.with_prefix("properties.") {
            match name {
                "bootstrap.server" | "bootstrap.servers" => brokers = Some(value),
                _ if FIXED.contains(&name) => {
                    return Err(SourceError::Invalid(format!(
                        "option \"properties.{name}\" cannot be set: Millrace decides it"
                    )));
                }
                _ => drop(client.set(name, value)),
            }
        }
        let Some(brokers) = brokers.filter(|brokers| !brokers.trim().is_empty()) else {
            options.required("properties.bootstrap.server")?;
            return Err(refused("properties.bootstrap.server", "", "host:port"));
        };
        client.set("bootstrap.servers", brokers);
        options.finish(SINK_OPTIONS)?;
        client.create_native_config().map_err(property)?;
        let (brokers, unique) = (brokers.to_owned(), unique.to_owned());
        Ok(KafkaSink { topic, brokers, client, unique, shape })
    }

    fn transactional_id(&self) -> String {
        format!("millrace-{}", self.unique)
    }

    fn producer(&self, transactional: bool) -> Result<Client, SinkError> {
        let mut config = self.client.clone();
        if transactional {
            config.set("transactional.id", self.transactional_id());
        }
        let invalid = |error| SinkError::Invalid(property(error).to_string());
        Client::from_config_and_context(&config, Listener::default()).map_err(invalid)
    }

    /// Reads the group's offset; nobody joins the group.
    fn consumer(&self) -> Result<BaseConsumer<Witness>, SinkError> {
        let mut config = ClientConfig::new();
        let producers =
            ["compression.", "linger.", "partitioner", "queue.", "transaction.", "batch."];
        for (name, value) in self.client.config_map() {
            if !producers.iter().any(|prefix| name.starts_with(prefix)) {
                config.set(name, value);
            }
        }
        config.set("group.id", self.transactional_id());
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false");
        let invalid = |error| SinkError::Invalid(property(error).to_string());
        BaseConsumer::from_config_and_context(&config, Witness::default()).map_err(invalid)
    }

    fn failed(&self, error: &KafkaError, listener: &Listener) -> SinkError {
        let code = match error {
            KafkaError::Transaction(inner) => Some(inner.code()),
            other => other.rdkafka_error_code(),
        };
        let (refused, reason) = listener.trouble();
        let said = match error {
            KafkaError::Transaction(inner) => inner.string(),
            other => other.to_string(),
        };
        let at = format!("topic \"{}\" in Kafka at {}", self.topic, self.brokers);
        match refused {
            Some(code) => SinkError::Refused(format!("{at} does not take a message: {code}")),
            None if code.is_some_and(needs_a_person) => {
                SinkError::Refused(format!("{at} cannot be written: {said}"))
            }
            None => {
                let reason = reason.unwrap_or(said);
                SinkError::Unreachable(format!("{at} cannot be written now: {reason}"))
            }
        }
    }

    /// The epoch that the last transaction has committed.
    fn committed(&self, consumer: &BaseConsumer<Witness>) -> Result<Option<Epoch>, KafkaError> {
        let mut left = LOOKS_MAX;
        let found = loop {
            let mut asked = TopicPartitionList::new();
            asked.add_partition(&self.topic, 0);
            left -= 1;
            match consumer.committed_offsets(asked, ANSWER) {
                Err(error) if left > 0 && is_moving(&error) => drop(consumer.poll(PAUSE)),
                found => break found?,
            }
        };
        let offset = found.find_partition(&self.topic, 0).map(|found| found.offset());
        Ok(match offset {
            Some(Offset::Offset(epoch)) => u64::try_from(epoch).ok().map(Epoch),
            _ => None,
        })
    }
}

/// True while the broker makes up its mind who keeps the offsets of the group, as a new one does.
fn is_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let codes =
        [Code::NotCoordinator, Code::CoordinatorLoadInProgress, Code::CoordinatorNotAvailable];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}

/// Errors that no retry mends by itself.
fn needs_a_person(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::InvalidTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::InvalidTransactionTimeout
            | Code::InvalidRecord
            | Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
    )
}

impl Sink for KafkaSink {
    fn check(&self, timeout: Duration) -> Result<(), SinkError> {
        let client = self.producer(false)?;
        let listener = client.context().clone();
        let metadata = client.client().fetch_metadata(Some(&self.topic), timeout);
        let metadata = metadata.map_err(|error| self.failed(&error, &listener))?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        match found.and_then(|topic| topic.error()) {
            None => Ok(()),
            // The broker makes topics by itself, and has just begun.
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => Ok(()),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {
                let (topic, brokers) = (&self.topic, &self.brokers);
                let message = format!("topic \"{topic}\" does not exist in Kafka at {brokers}");
                Err(SinkError::Refused(message))
            }
            Some(code) => {
                let code = RDKafkaErrorCode::from(code);
                Err(self.failed(&KafkaError::MetadataFetch(code), &listener))
            }
        }
    }

    fn open(&self) -> Result<Box<dyn Writer>, SinkError> {
        let client = self.producer(true)?;
        let listener = client.context().clone();
        let failed = |error: KafkaError| self.failed(&error, &listener);
        client.init_transactions(ANSWER).map_err(failed)?;
        let consumer = self.consumer()?;
        let position = self.committed(&consumer).map_err(failed)?;
        Ok(Box::new(KafkaWriter {
            sink: KafkaSink {
                topic: self.topic.clone(),
                brokers: self.brokers.clone(),
                client: self.client.clone(),
                unique: self.unique.clone(),
                shape: self.shape.clone(),
            },
            client,
            consumer,
            envelope: Envelope::new(&self.shape),
            position,
            open: false,
        }))
    }
}

type Client = ThreadedProducer<Listener>;

struct KafkaWriter {
    sink: KafkaSink,
    client: Client,
    consumer: BaseConsumer<Witness>,
    envelope: Envelope,
    position: Option<Epoch>,
    /// A transaction is open.
    open: bool,
}

impl KafkaWriter {
    fn failed(&self, error: &KafkaError) -> SinkError {
        self.sink.failed(error, self.client.context())
    }

    fn begin(&mut self) -> Result<(), SinkError> {
        if !self.open {
            self.client.begin_transaction().map_err(|error| self.failed(&error))?;
            self.open = true;
        }
        Ok(())
    }
}

/// Gives a message to the client, and waits while its queue is full.
fn send(client: &Client, topic: &str, (key, payload): Sent<'_>) -> Result<(), KafkaError> {
    let mut record = BaseRecord::<str, str>::to(topic);
    (record.key, record.payload) = (key, payload);
    loop {
        match client.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                // It times out while there are more messages, which is what is waited for.
                drop(client.flush(DRAIN));
                if client.context().trouble().0.is_some() || client.context().is_down() {
                    return Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                }
                record = back;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// Waits until the broker has all messages, unless none can be reached.
fn flush(client: &Client) -> Result<(), KafkaError> {
    let mut silent = 0;
    for _ in 0..COMMIT.as_millis() / FLUSH.as_millis() {
        match client.flush(FLUSH) {
            Ok(()) => return Ok(()),
            Err(_) if client.context().is_down() => silent += 1,
            Err(_) => silent = 0,
        }
        if silent > SILENT_MAX {
            return Err(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown));
        }
    }
    Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut))
}

impl Writer for KafkaWriter {
    fn position(&self) -> Option<Epoch> {
        self.position
    }

    fn write(&mut self, changes: &Changes<'_>) -> Result<u64, SinkError> {
        self.begin()?;
        let (client, topic) = (&self.client, &self.sink.topic);
        let mut count = 0;
        let mut out = |sent: Sent<'_>| {
            count += 1;
            send(client, topic, sent)
        };
        let at = (changes.epoch.0, changes.snapshot);
        let mut done = Ok(());
        for (row, weight) in changes.weights.iter().enumerate() {
            done = self.envelope.change((changes.rows, row), *weight, at, &mut out);
            if done.is_err() {
                break;
            }
        }
        done.map_err(|error| self.failed(&error))?;
        Ok(count)
    }

    fn commit(&mut self, epoch: Epoch) -> Result<u64, SinkError> {
        self.begin()?;
        let (client, topic) = (&self.client, &self.sink.topic);
        let mut count = 0;
        let mut out = |sent: Sent<'_>| {
            count += 1;
            send(client, topic, sent)
        };
        let committed = self
            .envelope
            .finish(&mut out)
            .and_then(|()| flush(&self.client))
            .and_then(|()| {
                let mut offsets = TopicPartitionList::new();
                let offset = Offset::Offset(i64::try_from(epoch.0).unwrap_or(i64::MAX));
                offsets.add_partition_offset(topic, 0, offset)?;
                let group = self.consumer.group_metadata();
                let group = group.ok_or(KafkaError::Canceled)?;
                self.client.send_offsets_to_transaction(&offsets, &group, ANSWER)
            })
            .and_then(|()| self.client.commit_transaction(COMMIT));
        committed.map_err(|error| self.failed(&error))?;
        (self.open, self.position) = (false, Some(epoch));
        Ok(count)
    }
}

impl Drop for KafkaWriter {
    fn drop(&mut self) {
        if self.open {
            // Else the broker does it when the time of the transaction is over, or at the next fence.
            drop(self.client.abort_transaction(Duration::from_secs(2)));
        }
    }
}

/// What librdkafka says of messages and connections.
#[derive(Default)]
struct Listener {
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    /// The first message that was not taken, and never will be.
    refused: Option<RDKafkaErrorCode>,
    /// The newest reason for a lost connection.
    reason: Option<String>,
    /// No broker could be reached, and no message has arrived since.
    down: bool,
}

impl Listener {
    fn trouble(&self) -> (Option<RDKafkaErrorCode>, Option<String>) {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        (said.refused, said.reason.clone())
    }

    fn is_down(&self) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).down
    }
}

impl ClientContext for Listener {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.reason = Some(reason.to_owned());
        said.down |= error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Err((error, _)) = result else {
            said.down = false;
            return;
        };
        let code = error.rdkafka_error_code().filter(|code| needs_a_person(*code));
        said.refused = said.refused.or(code);
    }
}
