//! Apache Kafka.
//!
//! Millrace assigns partitions and keeps offsets itself, in its own epoch log: no consumer group,
//! no commits. `settings` checks the options, this file asks the broker where things are, `reader`
//! reads, `batch` calls librdkafka, `witness` hears about lost connections, `identity` tells the topic from
//! another one of its name, `waits` keeps librdkafka off the wall clock.

mod batch;
mod identity;
mod reader;
mod settings;
mod sink;
mod waits;
mod witness;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{FieldRef, SchemaRef};
use millrace_dataflow::source::{Connector, Extent, Reader, SourceError, Span};
use millrace_types::{PartitionId, SqlType};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

pub use self::batch::{Message, Messages, Queue};
use self::reader::KafkaReader;
pub use self::settings::OPTIONS;
use self::settings::{Settings, Start, property};
pub use self::sink::{KafkaSink, SINK_OPTIONS};
use self::witness::Witness;
use crate::Include;
use crate::connect::Definition;
use crate::decode::Decoding;
use crate::json::Inferred;
use crate::rows::Layout;

/// One wait for metadata; between two of them it is seen whether a broker answers at all.
const SLICE: Duration = Duration::from_secs(1);
/// After so many slices with every broker refusing, waiting on is useless.
const REFUSED_MAX: u32 = 3;

/// After an answer that will be another one in a moment.
const PAUSE: Duration = Duration::from_millis(100);
/// Pauses until a topic that no broker knows is not there: of a new one they hear one after the other.
const UNKNOWN_MAX: u32 = 10;

/// Messages that are looked at to find columns, at most and at once, and waits without one.
const SAMPLE: i64 = 1_000;
const BATCH: usize = 256;
const SILENT_MAX: u32 = 30;

/// One topic of one cluster.
pub struct Kafka {
    settings: Arc<Settings>,
    /// The topic's id when the source was made.
    identity: Option<Arc<str>>,
    layout: Arc<Layout>,
    decoding: Decoding,
    consumer: BaseConsumer<Witness>,
}

impl Kafka {
    /// A source with the options of a WITH clause.
    ///
    /// # Errors
    /// `Invalid` with what is wrong.
    pub fn open(
        options: &BTreeMap<String, String>,
        columns: &[FieldRef],
        include: &[Include],
    ) -> Result<Kafka, SourceError> {
        Kafka::with(options, Layout::new(columns, include), Decoding::default())
    }

    pub(crate) fn new(definition: &Definition) -> Result<Kafka, SourceError> {
        let Definition { columns, include, key, format, encoding, .. } = definition;
        let layout = match format.deletes() {
            true => Layout::of_changes(columns, include, key),
            false => Layout::new(columns, include),
        };
        let mut options = definition.options.clone();
        let decoding = Decoding::new((*format, *encoding), key, &mut options, &layout)?;
        let identity = definition.identity.as_deref().map(Arc::from);
        Ok(Kafka { identity, ..Kafka::with(&options, layout, decoding)? })
    }

    fn with(
        options: &BTreeMap<String, String>,
        layout: Layout,
        decoding: Decoding,
    ) -> Result<Kafka, SourceError> {
        let settings = Settings::new(options)?;
        decoding.decoder(&layout)?;
        let consumer = settings.consumer()?;
        let (settings, layout) = (Arc::new(settings), Arc::new(layout));
        Ok(Kafka { settings, identity: None, layout, decoding, consumer })
    }

    /// The messages of some spans as they come, with the reader's own settings. For measuring what
    /// decoding and the rest cost.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn raw(&self, spans: &[Span]) -> Result<Queue, SourceError> {
        self.settings.queue(spans)
    }

    /// The columns that the objects of the topic seem to have, by its first messages.
    ///
    /// # Errors
    /// A topic without objects, or what [`Connector::start`] fails with.
    pub(crate) fn infer(&self, timeout: Duration) -> Result<Vec<(String, SqlType)>, SourceError> {
        let extents = self.extents(timeout)?;
        let held: i64 = extents.iter().map(|extent| extent.end - extent.first).sum();
        let span = |extent: &Extent| Span {
            partition: extent.partition,
            from: extent.first,
            to: Some(extent.end),
        };
        let mut queue = self.raw(&extents.iter().map(span).collect::<Vec<_>>())?;
        let mut inferred = Inferred::default();
        let (mut looked, mut objects, mut silent) = (0, 0, 0);
        while looked < held.min(SAMPLE) && silent < SILENT_MAX {
            let messages = queue.take(BATCH, SLICE / 10);
            silent = if messages.is_empty() { silent + 1 } else { 0 };
            for message in messages.iter().filter(|message| message.error().is_none()) {
                looked += 1;
                let payload = message.payload();
                objects += usize::from(payload.is_some_and(|payload| inferred.look(payload)));
            }
        }
        if objects == 0 {
            return Err(SourceError::Invalid(format!(
                "topic \"{}\" holds no JSON object that tells its columns",
                self.settings.topic
            )));
        }
        Ok(inferred.columns())
    }

    /// What librdkafka is told.
    pub fn client_config(&self) -> &ClientConfig {
        &self.settings.client
    }

    /// The partitions of the topic.
    fn partitions(&self, timeout: Duration) -> Result<Vec<i32>, SourceError> {
        let Settings { topic, brokers, .. } = &*self.settings;
        let mut left = timeout;
        let (mut refused, mut unknown) = (0, 0);
        loop {
            let slice = left.min(SLICE);
            let answer = self.consumer.fetch_metadata(Some(topic), slice);
            listen(&self.consumer);
            let found =
                answer.as_ref().ok().and_then(|m| m.topics().iter().find(|t| t.name() == &**topic));
            let found = found.map(|found| (found.error().map(RDKafkaErrorCode::from), found));
            left = left.saturating_sub(if found.is_some() { PAUSE } else { slice });
            match found {
                Some((None, found)) if !found.partitions().is_empty() => {
                    let mut ids: Vec<_> = found.partitions().iter().map(|p| p.id()).collect();
                    ids.sort_unstable();
                    return Ok(ids);
                }
                Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition), _))
                    if left.is_zero() || unknown == UNKNOWN_MAX =>
                {
                    return Err(SourceError::Unreachable(format!(
                        "topic \"{topic}\" does not exist in Kafka at {brokers}"
                    )));
                }
                // A topic that was made this instant has no leader yet, for instance.
                Some((Some(code), _)) if left.is_zero() => {
                    return Err(SourceError::Unreachable(format!(
                        "topic \"{topic}\" in Kafka at {brokers} cannot be read: {code}"
                    )));
                }
                Some(_) => {
                    unknown += 1;
                    self.pause();
                }
                None => refused += u32::from(self.consumer.context().trouble().is_some()),
            }
            if left.is_zero() || refused >= REFUSED_MAX {
                let error = answer.err().map(|error| error.to_string()).unwrap_or_default();
                return Err(self
                    .settings
                    .unreachable(&self.consumer.context().reason().unwrap_or(error)));
            }
        }
    }

    fn extent(&self, partition: i32, timeout: Duration) -> Result<Extent, SourceError> {
        use RDKafkaErrorCode as Code;
        let mut left = timeout;
        loop {
            let ends = self.consumer.fetch_watermarks(&self.settings.topic, partition, left);
            listen(&self.consumer);
            left = left.saturating_sub(PAUSE);
            let error = match ends {
                Ok((first, end)) => {
                    return Ok(Extent { partition: PartitionId(partition), first, end });
                }
                Err(error) => error,
            };
            // As the broker of a partition that was made, or has moved, this instant answers.
            let moves = matches!(
                error.rdkafka_error_code(),
                Some(
                    Code::NotLeaderForPartition
                        | Code::LeaderNotAvailable
                        | Code::UnknownTopicOrPartition
                )
            );
            if !moves || left.is_zero() {
                let reason = self.consumer.context().trouble().unwrap_or_else(|| error.to_string());
                return Err(self.settings.unreachable(&reason));
            }
            self.pause();
        }
    }

    /// Lets a moment pass, in which the client hears of new leaders.
    fn pause(&self) {
        // There are no messages in this queue.
        drop(self.consumer.poll(PAUSE));
    }

    /// The first offset of each partition whose message is not older than `millis`.
    fn since(
        &self,
        millis: i64,
        extents: &[Extent],
        timeout: Duration,
    ) -> Result<Vec<Span>, SourceError> {
        let topic = &self.settings.topic;
        let failed =
            |error: rdkafka::error::KafkaError| self.settings.unreachable(&error.to_string());
        let mut wanted = TopicPartitionList::new();
        for extent in extents {
            wanted
                .add_partition_offset(topic, extent.partition.0, Offset::Offset(millis))
                .map_err(failed)?;
        }
        let found = self.consumer.offsets_for_times(wanted, timeout).map_err(failed)?;
        let span = |extent: &Extent| {
            let from = match found.find_partition(topic, extent.partition.0).map(|f| f.offset()) {
                Some(Offset::Offset(offset)) => offset,
                // No message is that new.
                _ => extent.end,
            };
            Span { partition: extent.partition, from, to: None }
        };
        Ok(extents.iter().map(span).collect())
    }
}

impl Connector for Kafka {
    fn schema(&self) -> SchemaRef {
        self.layout.schema.clone()
    }

    fn is_stored(&self) -> bool {
        true
    }

    fn extents(&self, timeout: Duration) -> Result<Vec<Extent>, SourceError> {
        let half = timeout / 2;
        let partitions = self.partitions(half)?;
        identity::check(&self.settings, &self.consumer, self.identity.as_deref(), half)?;
        partitions.into_iter().map(|partition| self.extent(partition, half)).collect()
    }

    fn start(&self, timeout: Duration) -> Result<Vec<Span>, SourceError> {
        let extents = self.extents(timeout)?;
        let all = |from: fn(&Extent) -> i64| {
            extents
                .iter()
                .map(|extent| Span { partition: extent.partition, from: from(extent), to: None })
                .collect()
        };
        match self.settings.start {
            Start::Earliest => Ok(all(|extent| extent.first)),
            Start::Latest => Ok(all(|extent| extent.end)),
            Start::Timestamp(millis) => self.since(millis, &extents, timeout),
        }
    }

    fn identity(&self, timeout: Duration) -> Result<Option<String>, SourceError> {
        identity::find(&self.settings, &self.consumer, timeout)
    }

    fn reader(&self, spans: &[Span]) -> Result<Box<dyn Reader>, SourceError> {
        let queue = self.settings.queue(spans)?;
        let reader =
            KafkaReader::new(self.settings.clone(), (&self.layout, &self.decoding), queue, spans)?;
        Ok(Box::new(reader.of(self.identity.clone())))
    }
}

impl Settings {
    fn consumer(&self) -> Result<BaseConsumer<Witness>, SourceError> {
        BaseConsumer::from_config_and_context(&self.client, Witness::default()).map_err(property)
    }

    /// A queue into which the spans that hold anything deliver.
    fn queue(&self, spans: &[Span]) -> Result<Queue, SourceError> {
        let refuse = |reason: String| {
            SourceError::Invalid(format!("topic \"{}\" cannot be read: {reason}", self.topic))
        };
        let consumer = self.consumer()?;
        let open: Vec<&Span> =
            spans.iter().filter(|span| span.to.is_none_or(|to| span.from < to)).collect();
        consumer.context().watch(open.iter().map(|span| span.partition.0));
        let mut queue = Queue::new(consumer, &self.topic)
            .ok_or_else(|| refuse("that is no name of a topic".to_owned()))?;
        for span in open {
            queue.start(span.partition.0, span.from).map_err(|code| refuse(code.to_string()))?;
        }
        Ok(queue)
    }

    fn unreachable(&self, reason: &str) -> SourceError {
        SourceError::Unreachable(format!("Kafka at {} cannot be reached: {reason}", self.brokers))
    }
}

/// Lets the client call its witness. A call serves one event, an empty queue costs next to nothing.
fn listen(consumer: &BaseConsumer<Witness>) {
    const EVENTS: usize = 16;
    for _ in 0..EVENTS {
        // Errors have gone to the witness; there are no messages in this queue.
        drop(consumer.poll(Duration::ZERO));
    }
}
