//! Reads spans of a topic into chunks.
//!
//! One queue delivers the messages of all partitions; each message is decoded where librdkafka put
//! it, straight into the columns of its partition. librdkafka repairs connections by itself, so
//! the reader never starts anew: while the broker is away it says so and goes on where it stood.
//!
//! Invariants: 1. `next` of a partition never falls, and everything below it is in a chunk that was
//! or will be given out, or is a hole. A hole (control records, aborted transactions, compaction) is
//! known by the next message or by the end of the partition. 2. no message at or beyond `to` is
//! decoded. 3. nothing is given out before the topic was seen to be the one that the source was made for
//! (`confirm`): since the start, and since the broker or the topic was away.

use std::sync::Arc;
use std::time::Duration;

use millrace_dataflow::source::{Chunk, Limits, Reader, SourceError, Span};
use millrace_types::PartitionId;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;

use super::batch::{Message, Queue};
use super::identity;
use super::listen;
use super::settings::Settings;
use crate::decode::Decoding;
use crate::rows::{self, Layout, Rows};

/// Messages taken at once; between two batches the limit of bytes is looked at.
const BATCH: usize = 1024;
/// How long to ask what a partition still holds, only for an error's text.
const ASK: Duration = Duration::from_secs(3);

/// One partition's span.
struct Part {
    id: PartitionId,
    /// The offset to read next.
    next: i64,
    to: Option<i64>,
    /// The offset up to which chunks have been given out.
    given: i64,
    /// The end of the partition was seen and nothing after it since the last chunk.
    at_end: bool,
    /// Delivers no more because `to` is reached.
    done: bool,
    /// Why the broker refuses this partition, until it delivers again.
    refused: Option<String>,
    rows: Rows,
}

pub(super) struct KafkaReader {
    settings: Arc<Settings>,
    queue: Queue,
    parts: Vec<Part>,
    /// Where in `parts` the last message belonged.
    current: usize,
    /// An error that waits until the chunks before it are given out.
    gone: Option<SourceError>,
    /// The topic's id, if it is known.
    identity: Option<Arc<str>>,
    /// It is still that topic.
    confirmed: bool,
    passing: Option<String>,
}

impl KafkaReader {
    pub(super) fn new(
        settings: Arc<Settings>,
        (layout, decoding): (&Arc<Layout>, &Decoding),
        queue: Queue,
        spans: &[Span],
    ) -> Result<KafkaReader, SourceError> {
        let part = |span: &Span| {
            let (topic, most) = (&settings.topic, settings.message_max);
            let rows = Rows::new(layout, topic, span.partition, most, decoding)?;
            Ok(Part {
                id: span.partition,
                next: span.from,
                to: span.to,
                given: span.from,
                at_end: false,
                done: span.to.is_some_and(|to| span.from >= to),
                refused: None,
                rows,
            })
        };
        let parts = spans.iter().map(part).collect::<Result<_, SourceError>>()?;
        Ok(KafkaReader {
            settings,
            queue,
            parts,
            current: 0,
            gone: None,
            identity: None,
            confirmed: true,
            passing: None,
        })
    }

    /// The same, which reads the topic of this id alone.
    pub(super) fn of(self, identity: Option<Arc<str>>) -> KafkaReader {
        KafkaReader { confirmed: identity.is_none(), identity, ..self }
    }

    /// Asks whether it is still the topic that the source was made for.
    fn confirm(&mut self) -> Result<(), SourceError> {
        let (consumer, wanted) = (self.queue.consumer(), self.identity.as_deref());
        identity::check(&self.settings, consumer, wanted, ASK)?;
        self.confirmed = true;
        Ok(())
    }

    /// Takes messages until a limit is reached or nothing is there.
    fn read(&mut self, limits: Limits) {
        let mut wait = limits.wait;
        let mut left = limits.rows.max(1);
        let mut finished = false;
        let mut events = Vec::new();
        loop {
            let messages = self.queue.take(left.min(BATCH), wait);
            if messages.is_empty() {
                break;
            }
            let mut alive = false;
            for message in messages.iter() {
                let Some(at) = position(&self.parts, self.current, message.partition()) else {
                    continue;
                };
                self.current = at;
                match message.error() {
                    None => finished |= self.parts[at].accept(&message),
                    Some(RDKafkaErrorCode::PartitionEOF) => {
                        finished |= self.parts[at].end(message.offset());
                    }
                    Some(code) => {
                        events.push((at, code, message.error_text()));
                        continue;
                    }
                }
                alive = true;
            }
            left = left.saturating_sub(messages.len());
            drop(messages);
            if alive {
                self.queue.consumer().context().alive();
            }
            for (at, code, text) in events.drain(..) {
                self.note(at, code, text);
            }
            let bytes: usize = self.parts.iter().map(|part| part.rows.bytes()).sum();
            if left == 0 || bytes >= limits.bytes || self.gone.is_some() {
                break;
            }
            wait = Duration::ZERO;
        }
        if finished {
            self.stop_done();
        }
    }

    /// Partitions whose span is read to its end need not be fetched any more.
    fn stop_done(&mut self) {
        for part in self.parts.iter().filter(|part| part.done) {
            self.queue.stop(part.id.0);
        }
        let open = self.parts.iter().filter(|part| !part.done).map(|part| part.id.0);
        self.queue.consumer().context().watch(open);
    }

    /// Remembers an event that is an error.
    fn note(&mut self, at: usize, code: RDKafkaErrorCode, text: String) {
        let part = &mut self.parts[at];
        let place = format!("topic \"{}\" partition {}", self.settings.topic, part.id);
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let wanted = part.next;
                let partition = part.id.0;
                self.gone = Some(SourceError::Gone(self.describe_gone(&place, partition, wanted)));
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => {
                part.refused = Some(format!("{place} does not exist any more"));
                self.confirmed = self.identity.is_none();
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                part.refused = Some(format!("{place} may not be read: {text}"));
            }
            _ => self.passing = Some(format!("{place}: {text}")),
        }
    }

    fn describe_gone(&self, place: &str, partition: i32, wanted: i64) -> String {
        let topic = &self.settings.topic;
        let held = match self.queue.consumer().fetch_watermarks(topic, partition, ASK) {
            Ok((first, end)) => format!("it holds offsets {first} to {end}"),
            Err(error) => format!("what it holds is not known: {error}"),
        };
        format!(
            "{place} no longer holds offset {wanted}, from which to go on: {held}. The messages \
             between were deleted before they were read, or the topic was made anew; drop the \
             source and create it again to go on with what is there"
        )
    }

    fn chunks(&mut self) -> Result<Vec<Chunk>, SourceError> {
        self.parts.iter_mut().filter(|part| part.has_news()).map(Part::chunk).collect()
    }

    /// Why nothing came, if that is not just because nothing is there.
    fn trouble(&mut self) -> Option<SourceError> {
        if let Some(gone) = &self.gone {
            return Some(gone.clone());
        }
        if let Some(reason) = self.passing.take() {
            return Some(SourceError::Unreachable(reason));
        }
        if let Some(reason) = self.parts.iter().find_map(|part| part.refused.clone()) {
            return Some(SourceError::Unreachable(reason));
        }
        let reason = self.queue.consumer().context().trouble()?;
        let open = self.parts.iter().any(|part| !part.done);
        open.then(|| self.settings.unreachable(&reason))
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, limits: Limits) -> Result<Vec<Chunk>, SourceError> {
        listen(self.queue.consumer());
        let has_news = |reader: &KafkaReader| reader.parts.iter().any(Part::has_news);
        // What waits for an answer does not grow meanwhile.
        if self.gone.is_none() && (self.confirmed || !has_news(self)) {
            self.read(limits);
        }
        if !self.confirmed && has_news(self) {
            self.confirm()?;
        }
        let chunks = self.chunks()?;
        match chunks.is_empty().then(|| self.trouble()).flatten() {
            Some(error) => {
                self.confirmed = self.identity.is_none();
                Err(error)
            }
            None => Ok(chunks),
        }
    }
}

/// Where the part of a partition is; messages of one partition come in long runs.
#[inline]
fn position(parts: &[Part], current: usize, partition: i32) -> Option<usize> {
    match parts.get(current) {
        Some(part) if part.id.0 == partition => Some(current),
        _ => parts.iter().position(|part| part.id.0 == partition),
    }
}

impl Part {
    /// Takes a message; true if the span is done with it.
    #[inline]
    fn accept(&mut self, message: &Message<'_>) -> bool {
        let offset = message.offset();
        if self.done || offset < self.next {
            return false;
        }
        self.refused = None;
        self.at_end = false;
        if self.to.is_some_and(|to| offset >= to) {
            return self.advance(offset);
        }
        self.rows.push(message);
        self.advance(offset + 1)
    }

    /// Takes the news that `offset` is the end of the partition; true if the span is done with it.
    fn end(&mut self, offset: i64) -> bool {
        if self.done {
            return false;
        }
        self.refused = None;
        self.at_end = true;
        self.advance(offset)
    }

    /// True if something was read, or the end was seen, since the last chunk.
    fn has_news(&self) -> bool {
        self.next > self.given || self.at_end
    }

    fn advance(&mut self, offset: i64) -> bool {
        self.next = self.next.max(offset);
        if let Some(to) = self.to
            && self.next >= to
        {
            self.next = to;
            self.done = true;
        }
        self.done
    }

    fn chunk(&mut self) -> Result<Chunk, SourceError> {
        let chunk = self.rows.finish(self.given, self.next, self.at_end);
        self.given = self.next;
        self.at_end = false;
        chunk.map_err(|error| SourceError::Invalid(format!("a chunk cannot be built: {error}")))
    }
}

impl rows::Message for Message<'_> {
    fn offset(&self) -> i64 {
        Message::offset(self)
    }

    fn payload(&self) -> Option<&[u8]> {
        Message::payload(self)
    }

    fn key(&self) -> Option<&[u8]> {
        Message::key(self)
    }

    fn timestamp(&self) -> Option<i64> {
        Message::timestamp(self)
    }

    fn headers(&self) -> Option<String> {
        let headers = Message::headers(self);
        if headers.is_empty() {
            return None;
        }
        let member = |(name, value): (String, Option<&[u8]>)| {
            let value = match value.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
                None => serde_json::Value::Null,
                Some((Ok(text), _)) => text.into(),
                Some((Err(_), bytes)) => hexadecimal(bytes).into(),
            };
            format!("{}: {value}", serde_json::Value::from(name))
        };
        Some(format!("{{{}}}", headers.into_iter().map(member).collect::<Vec<_>>().join(", ")))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}
