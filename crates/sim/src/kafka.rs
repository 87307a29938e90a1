//! Topics and messages in the Kafka broker of the tests.
//!
//! The broker is a real one; `MILLRACE_TEST_KAFKA=host:port` says where (`scripts/kafka run` sets
//! it). Every test uses topics of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::Offset;

use crate::wait::{PATIENCE, until};

/// One message to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The partition.
    pub partition: i32,
    /// The key.
    pub key: Option<String>,
    /// Milliseconds since 1970; None leaves it to the client.
    pub timestamp: Option<i64>,
    /// Name and value of each header.
    pub headers: Vec<(String, String)>,
    /// The value; None is a tombstone.
    pub payload: Option<String>,
}

/// A broker.
pub struct Kafka {
    /// `host:port`.
    pub bootstrap: String,
    producer: FutureProducer,
    admin: AdminClient<DefaultClientContext>,
}

/// What the broker or its client refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// By the client library.
    #[error("kafka: {0}")]
    Client(#[from] KafkaError),
    /// By the broker, for one topic.
    #[error("kafka: {0}: {1}")]
    Topic(String, RDKafkaErrorCode),
    /// A message was not acknowledged.
    #[error("kafka: a message was given up")]
    Lost,
}

/// Bytes of a message that topics of the tests and their producers take at most.
const LARGEST: &str = "33554432";

const TIMEOUT: Duration = Duration::from_secs(30);

impl Kafka {
    /// The broker of the tests.
    ///
    /// # Panics
    /// If `MILLRACE_TEST_KAFKA` names none.
    pub fn of_tests() -> Kafka {
        let bootstrap = std::env::var("MILLRACE_TEST_KAFKA")
            .expect("MILLRACE_TEST_KAFKA=host:port, as `scripts/kafka run -- ...` sets it");
        Kafka::at(&bootstrap).expect("a broker's address")
    }

    /// A broker by its address.
    ///
    /// # Errors
    /// An address that is none.
    pub fn at(bootstrap: &str) -> Result<Kafka, Error> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        let admin = config.create()?;
        // In order and once: the tests count on the n-th message of a partition having offset n.
        config.set("enable.idempotence", "true").set("linger.ms", "5");
        config.set("queue.buffering.max.messages", "1000000");
        config.set("message.max.bytes", LARGEST);
        Ok(Kafka { bootstrap: bootstrap.to_owned(), producer: config.create()?, admin })
    }

    /// Makes a topic; one that exists already stays as it is.
    ///
    /// # Errors
    /// The broker's.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        // Messages may carry times of long ago; retention would take them.
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = topic.set("retention.ms", "-1").set("max.message.bytes", LARGEST);
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        for result in self.admin.create_topics([&topic], &options).await? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(Error::Topic(name, code)),
            }
        }
        Ok(())
    }

    /// Deletes a topic and waits until the broker does not know it any more.
    ///
    /// # Errors
    /// The broker's.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        for result in self.admin.delete_topics(&[name], &options).await? {
            result.map_err(|(name, code)| Error::Topic(name, code))?;
        }
        until("the topic is gone", PATIENCE, || async {
            let known = self.admin.inner().fetch_metadata(None, TIMEOUT).ok()?;
            known.topics().iter().all(|topic| topic.name() != name).then_some(())
        })
        .await;
        Ok(())
    }

    /// Gives a topic more partitions, so many in all, and waits until they can be written to.
    ///
    /// # Errors
    /// The broker's.
    pub async fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        let all = usize::try_from(partitions).unwrap_or_default();
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let grown = NewPartitions::new(name, all);
        let grown = self.admin.create_partitions([&grown], &options).await?;
        if let Some(Err((name, code))) = grown.into_iter().next() {
            return Err(Error::Topic(name, code));
        }
        // The client knows a partition when it has asked again.
        until("the new partition has a leader", PATIENCE, || async {
            let known = self.producer.client().fetch_metadata(Some(name), TIMEOUT).ok()?;
            let found = known.topics().iter().find(|topic| topic.name() == name)?;
            let led = found.partitions().iter().filter(|one| one.leader() >= 0).count();
            (led == all && self.extent(name, partitions - 1).is_ok()).then_some(())
        })
        .await;
        Ok(())
    }

    /// Queues a message; the future tells its partition and offset.
    ///
    /// # Errors
    /// The client's queue is full or the message too large.
    pub fn send(&self, topic: &str, message: &Message) -> Result<DeliveryFuture, Error> {
        let mut record: FutureRecord<'_, str, str> =
            FutureRecord::to(topic).partition(message.partition);
        record.key = message.key.as_deref();
        record.payload = message.payload.as_deref();
        record.timestamp = message.timestamp;
        if !message.headers.is_empty() {
            let headers = message.headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: Some(value) })
            });
            record.headers = Some(headers);
        }
        self.producer.send_result(record).map_err(|(error, _)| Error::Client(error))
    }

    /// Sends messages and waits until the broker has them; gives partition and offset of each.
    ///
    /// # Errors
    /// One was refused.
    pub async fn send_all(
        &self,
        topic: &str,
        messages: &[Message],
    ) -> Result<Vec<(i32, i64)>, Error> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            sent.push(self.send(topic, message)?);
        }
        let mut places = Vec::with_capacity(sent.len());
        for delivery in sent {
            places.push(place(delivery).await?);
        }
        Ok(places)
    }

    /// Deletes the records below an offset in each partition named.
    ///
    /// # Errors
    /// The broker's.
    pub async fn delete_records(&self, topic: &str, below: &[(i32, i64)]) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in below {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let result = self.admin.delete_records(&list, &options).await?;
        result.elements().iter().try_for_each(|e| e.error().map_err(Error::Client))
    }

    /// The first offset that is there and the one that the next message gets.
    ///
    /// # Errors
    /// The broker's.
    pub fn extent(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        Ok(self.producer.client().fetch_watermarks(topic, partition, TIMEOUT)?)
    }
}

impl Kafka {
    /// All messages of a topic, by partition and in order, that a consumer with `read_committed` sees up
    /// to the end that stands now.
    ///
    /// # Panics
    /// If the broker does not answer.
    pub async fn committed(&self, topic: &str) -> Vec<Message> {
        let (bootstrap, topic) = (self.bootstrap.clone(), topic.to_owned());
        let read = move || committed(&bootstrap, &topic).expect("the broker gives messages");
        tokio::task::spawn_blocking(read).await.expect("a consumer that ends")
    }
}

fn committed(bootstrap: &str, topic: &str) -> Result<Vec<Message>, Error> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "millrace-tests");
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    config.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let partitions = found.map(|found| found.partitions().len()).unwrap_or_default();
    let mut all = vec![Vec::new(); partitions];
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap_or_default() {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut ended = BTreeSet::new();
    while ended.len() < partitions {
        match consumer.poll(TIMEOUT) {
            Some(Ok(message)) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let partition = message.partition();
                let (key, payload) = (message.key().map(text), message.payload().map(text));
                let message = Message { partition, key, payload, ..Message::default() };
                all[usize::try_from(partition).unwrap_or_default()].push(message);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Error::Lost),
        }
    }
    Ok(all.into_iter().flatten().collect())
}

/// A producer whose messages belong to transactions.
pub struct Transactions {
    producer: FutureProducer,
}

impl Transactions {
    /// A producer of its own.
    ///
    /// # Errors
    /// The broker's.
    pub fn new(kafka: &Kafka, id: &str) -> Result<Transactions, Error> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &kafka.bootstrap).set("transactional.id", id);
        let producer: FutureProducer = config.create()?;
        producer.init_transactions(TIMEOUT)?;
        Ok(Transactions { producer })
    }

    /// Begins a transaction and sends messages in it, which the broker has when this returns.
    ///
    /// # Errors
    /// The broker's.
    pub async fn begin(&self, topic: &str, messages: &[Message]) -> Result<(), Error> {
        self.producer.begin_transaction()?;
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            let mut record: FutureRecord<'_, str, str> =
                FutureRecord::to(topic).partition(message.partition);
            record.payload = message.payload.as_deref();
            sent.push(self.producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivery in sent {
            place(delivery).await?;
        }
        Ok(())
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// The broker's.
    pub fn end(&self, commits: bool) -> Result<(), Error> {
        let ended = match commits {
            true => self.producer.commit_transaction(TIMEOUT),
            false => self.producer.abort_transaction(TIMEOUT),
        };
        Ok(ended?)
    }
}

/// Partition and offset of a message once the broker has it.
///
/// # Errors
/// It never will.
pub async fn place(delivery: DeliveryFuture) -> Result<(i32, i64), Error> {
    match delivery.await {
        Ok(Ok(delivered)) => Ok((delivered.partition, delivered.offset)),
        Ok(Err((error, _))) => Err(Error::Client(error)),
        Err(_) => Err(Error::Lost),
    }
}

/// Reads a message from a line: the partition, then any of `key=K`, `at=MILLISECONDS`,
/// `header=NAME:VALUE`, `null`, then the rest is the payload. None for a line that is not one.
pub fn parse_message(line: &str) -> Option<Message> {
    let (partition, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut message = Message { partition: partition.parse().ok()?, ..Message::default() };
    loop {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        match word.split_once('=') {
            Some(("key", key)) => message.key = Some(key.to_owned()),
            Some(("at", time)) => message.timestamp = Some(time.parse().ok()?),
            Some(("header", header)) => {
                let (name, value) = header.split_once(':')?;
                message.headers.push((name.to_owned(), value.to_owned()));
            }
            _ if word == "null" && after.is_empty() => return Some(message),
            _ => {
                message.payload = Some(rest.to_owned());
                return Some(message);
            }
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_partition_key_time_headers_and_payload() {
        let message = parse_message(r#"3 key=a at=17 header=x:y {"id": 1}"#);
        let wanted = Message {
            partition: 3,
            key: Some("a".into()),
            timestamp: Some(17),
            headers: vec![("x".into(), "y".into())],
            payload: Some(r#"{"id": 1}"#.into()),
        };
        assert_eq!(message, Some(wanted));
        assert_eq!(parse_message("0 null").map(|m| m.payload), Some(None));
        assert_eq!(parse_message("0").map(|m| m.payload), Some(Some(String::new())));
        assert_eq!(parse_message("zero {}"), None);
    }
}
