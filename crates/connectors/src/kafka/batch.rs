//! Messages in batches, without an object or a copy for each.
//!
//! librdkafka's plain consumer, without a group: all partitions of a reader deliver into one queue,
//! and one call takes a whole batch from it. Payloads are read where librdkafka has put them. The
//! consumer of the rdkafka crate takes an event, a lock and an allocation per message instead.
//!
//! This module, `identity` and `waits` are the only ones that call C. Its surface is safe; invariants:
//! 1. `topic` and `queue` live as long as [`Queue`] and die before its consumer ([`Drop`]).
//! 2. pointers in `batch[..filled]` are messages that we own; [`Messages`] destroys each once.
//! 3. nothing borrowed from a message outlives its [`Messages`].

#![allow(unsafe_code, reason = "the batch interface is only there in C")]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::c_void;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::witness::Witness;

/// The longest batch that one call takes.
const BATCH_MAX: usize = 4096;

/// A queue into which started partitions of one topic deliver.
pub struct Queue {
    topic: *mut c::rd_kafka_topic_t,
    queue: *mut c::rd_kafka_queue_t,
    batch: Vec<*mut c::rd_kafka_message_t>,
    started: BTreeSet<i32>,
    consumer: BaseConsumer<Witness>,
}

// SAFETY: librdkafka's handles may be used from any thread; `&mut self` keeps the batch to one.
unsafe impl Send for Queue {}

impl Queue {
    /// A queue without partitions; None if librdkafka refuses the topic's name.
    pub(super) fn new(consumer: BaseConsumer<Witness>, topic: &str) -> Option<Queue> {
        let name = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive, the name ends with NUL; NULL takes the client's defaults.
        let topic = unsafe { c::rd_kafka_topic_new(client, name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            return None;
        }
        // SAFETY: the client is alive; the call cannot fail.
        let queue = unsafe { c::rd_kafka_queue_new(client) };
        let batch = vec![std::ptr::null_mut(); BATCH_MAX];
        Some(Queue { topic, queue, batch, started: BTreeSet::new(), consumer })
    }

    /// The client behind the queue.
    pub(super) fn consumer(&self) -> &BaseConsumer<Witness> {
        &self.consumer
    }

    /// Lets a partition deliver from `offset` on.
    ///
    /// # Errors
    /// librdkafka's reason.
    pub(super) fn start(&mut self, partition: i32, offset: i64) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: topic and queue are alive (invariant 1).
        let code =
            unsafe { c::rd_kafka_consume_start_queue(self.topic, partition, offset, self.queue) };
        if code == 0 {
            self.started.insert(partition);
            return Ok(());
        }
        // SAFETY: reads a variable of this thread that the failed call has set.
        Err(unsafe { c::rd_kafka_last_error() }.into())
    }

    /// Lets a partition deliver no more; what it has delivered stays in the queue.
    pub(super) fn stop(&mut self, partition: i32) {
        if self.started.remove(&partition) {
            // SAFETY: the topic is alive (invariant 1). The only failure is a partition that was
            // not started.
            unsafe { c::rd_kafka_consume_stop(self.topic, partition) };
        }
    }

    /// Takes up to `max` messages: waits at most `wait` for the first and not at all for the others.
    pub fn take(&mut self, max: usize, wait: Duration) -> Messages<'_> {
        let max = max.clamp(1, BATCH_MAX);
        let mut filled = self.fill(0, max, 0);
        if filled == 0 && !wait.is_zero() {
            let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1);
            // A batch with a timeout waits until it is full, so only one message is waited for.
            filled = self.fill(0, 1, millis);
            if filled == 1 && max > 1 {
                filled += self.fill(1, max - 1, 0);
            }
        }
        Messages { batch: &mut self.batch[..filled] }
    }

    fn fill(&mut self, from: usize, max: usize, wait_ms: i32) -> usize {
        let room = &mut self.batch[from..from + max];
        // SAFETY: the queue is alive (invariant 1); the call writes at most `room.len()` pointers.
        let count = unsafe {
            c::rd_kafka_consume_batch_queue(self.queue, wait_ms, room.as_mut_ptr(), room.len())
        };
        // Negative is an error, which has no messages.
        usize::try_from(count).unwrap_or(0)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        for partition in std::mem::take(&mut self.started) {
            // SAFETY: topic and queue are alive until the calls below, which use each once; the
            // consumer is a field and dies after them.
            unsafe { c::rd_kafka_consume_stop(self.topic, partition) };
        }
        // SAFETY: as above. No message is held: `Messages` borrows the queue.
        unsafe {
            c::rd_kafka_queue_destroy(self.queue);
            c::rd_kafka_topic_destroy(self.topic);
        }
    }
}

/// Messages of one batch, in the order of the queue; destroyed together.
pub struct Messages<'q> {
    batch: &'q mut [*mut c::rd_kafka_message_t],
}

impl Messages<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The messages.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.batch.iter().map(|raw| Message { raw: *raw, batch: PhantomData })
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for raw in self.batch.iter() {
            // SAFETY: ours, and destroyed here only (invariant 2).
            unsafe { c::rd_kafka_message_destroy(*raw) };
        }
    }
}

/// A message, or an event of a partition: then [`Message::error`] says which.
pub struct Message<'m> {
    raw: *mut c::rd_kafka_message_t,
    batch: PhantomData<&'m ()>,
}

impl<'m> Message<'m> {
    fn raw(&self) -> &'m c::rd_kafka_message_t {
        // SAFETY: alive while the batch is borrowed (invariants 2 and 3).
        unsafe { &*self.raw }
    }

    /// None for a message, the code of an event.
    #[inline]
    pub fn error(&self) -> Option<RDKafkaErrorCode> {
        let code = self.raw().err;
        (code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
    }

    /// What the event says.
    pub fn error_text(&self) -> String {
        // SAFETY: the message is alive; the text lives in it or is static.
        let text = unsafe { c::rd_kafka_message_errstr(self.raw) };
        if text.is_null() {
            return String::new();
        }
        // SAFETY: not NULL, ends with NUL, alive as said above.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// Its partition.
    #[inline]
    pub fn partition(&self) -> i32 {
        self.raw().partition
    }

    /// Its offset; of an end-of-partition event the offset of the next message.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// Its value.
    #[inline]
    pub fn payload(&self) -> Option<&'m [u8]> {
        self.slice(self.raw().payload, self.raw().len)
    }

    /// Its key.
    pub fn key(&self) -> Option<&'m [u8]> {
        self.slice(self.raw().key, self.raw().key_len)
    }

    #[inline]
    fn slice(&self, start: *mut c_void, length: usize) -> Option<&'m [u8]> {
        if start.is_null() {
            return None;
        }
        // SAFETY: librdkafka gives start and length of bytes that live in the message.
        Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>().cast_const(), length) })
    }

    /// Its time in milliseconds since 1970.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive; the kind is written before the call returns.
        let millis = unsafe { c::rd_kafka_message_timestamp(self.raw, &raw mut kind) };
        (millis >= 0).then_some(millis)
    }

    /// Names and values of its headers.
    pub fn headers(&self) -> Vec<(String, Option<&'m [u8]>)> {
        let mut list = std::ptr::null_mut();
        // SAFETY: the message is alive and keeps owning the list.
        let code = unsafe { c::rd_kafka_message_headers(self.raw, &raw mut list) };
        let mut headers = Vec::new();
        if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return headers;
        }
        loop {
            let (mut name, mut value, mut length) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the list is alive; beyond its end the call says so and writes nothing.
            let code = unsafe {
                c::rd_kafka_header_get_all(
                    list,
                    headers.len(),
                    &raw mut name,
                    &raw mut value,
                    &raw mut length,
                )
            };
            if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return headers;
            }
            // SAFETY: the name ends with NUL and lives in the message.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
            headers.push((name, self.slice(value.cast_mut(), length)));
        }
    }
}
