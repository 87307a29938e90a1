//! Whether a topic is still the one from which was read.
//!
//! Kafka gives each topic an id when it is made (KIP-516). One that was deleted and made anew has the
//! same name and another id; its offsets begin at 0 again, and once it has grown beyond what was read
//! nothing else tells the two apart. The id is kept with the source and asked for again whenever its
//! ends are, and before a reader gives out what it read first, since its start and since the broker
//! or the topic was away.
//!
//! A broker without ids (before Kafka 2.8, or not Kafka) gives none; then nothing is concluded.

#![allow(unsafe_code, reason = "DescribeTopics is only there in C")]

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use millrace_dataflow::source::SourceError;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::settings::Settings;
use super::witness::Witness;

/// One question; a broker that has not heard of the topic yet is asked again.
const SLICE: Duration = Duration::from_secs(1);

/// Fails with `Gone` if the topic is another one than `wanted`. Waits at most `timeout`.
///
/// # Errors
/// See [`SourceError`]; `Unreachable` if nobody tells.
pub(super) fn check(
    settings: &Settings,
    consumer: &BaseConsumer<Witness>,
    wanted: Option<&str>,
    timeout: Duration,
) -> Result<(), SourceError> {
    let Some(wanted) = wanted else { return Ok(()) };
    match find(settings, consumer, timeout)? {
        Some(found) if found != wanted => Err(SourceError::Gone(format!(
            "topic \"{}\" was deleted and made anew: its id was {wanted}, now it is {found}, and its offsets are \
             those of other messages; drop the source and create it again to read the new topic",
            settings.topic
        ))),
        _ => Ok(()),
    }
}

/// The id of the topic, in the text that Kafka's tools show; None where the broker has no ids.
///
/// # Errors
/// `Unreachable` if nobody tells.
pub(super) fn find(
    settings: &Settings,
    consumer: &BaseConsumer<Witness>,
    timeout: Duration,
) -> Result<Option<String>, SourceError> {
    let mut left = timeout;
    loop {
        let slice = left.min(SLICE);
        let reason = match ask(consumer, &settings.topic, slice) {
            Ok(found) => return Ok(found),
            Err(reason) => reason,
        };
        left = left.saturating_sub(slice);
        if left.is_zero() {
            let reason = consumer.context().trouble().unwrap_or(reason);
            return Err(settings.unreachable(&reason));
        }
        super::listen(consumer);
    }
}

/// What librdkafka made for one question; each part is destroyed once.
struct Question {
    topics: *mut c::rd_kafka_TopicCollection_t,
    options: *mut c::rd_kafka_AdminOptions_t,
    queue: *mut c::rd_kafka_queue_t,
    event: *mut c::rd_kafka_event_t,
}

impl Drop for Question {
    fn drop(&mut self) {
        // SAFETY: each is NULL or was made for this question, and nothing uses it afterwards. An answer
        // that comes later finds its queue closed.
        unsafe {
            if !self.event.is_null() {
                c::rd_kafka_event_destroy(self.event);
            }
            c::rd_kafka_queue_destroy(self.queue);
            c::rd_kafka_AdminOptions_destroy(self.options);
            c::rd_kafka_TopicCollection_destroy(self.topics);
        }
    }
}

fn ask(
    consumer: &BaseConsumer<Witness>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, String> {
    let name = CString::new(topic).map_err(|error| error.to_string())?;
    let mut names = [name.as_ptr()];
    let client = consumer.client().native_ptr();
    let kind = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: the client is alive; the names are copied before the call returns.
    let mut question = unsafe {
        Question {
            topics: c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            options: c::rd_kafka_AdminOptions_new(client, kind),
            queue: c::rd_kafka_queue_new(client),
            event: std::ptr::null_mut(),
        }
    };
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
    let mut text = [0; 256];
    // SAFETY: all of the question is alive; the text has the length that is said. A timeout out of
    // range is refused, and the client's own counts. The event is ours.
    unsafe {
        let (options, room) = (question.options, text.as_mut_ptr());
        c::rd_kafka_AdminOptions_set_request_timeout(options, millis, room, text.len());
        c::rd_kafka_DescribeTopics(client, question.topics, options, question.queue);
        question.event = c::rd_kafka_queue_poll(question.queue, millis);
    }
    if question.event.is_null() {
        return Err("no broker says which topic it has".to_owned());
    }
    answer(question.event)
}

fn answer(event: *mut c::rd_kafka_event_t) -> Result<Option<String>, String> {
    // SAFETY: the event is alive while its question is; all that is read belongs to it.
    unsafe {
        if c::rd_kafka_event_error(event) != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(owned(c::rd_kafka_event_error_string(event)));
        }
        let result = c::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err("another answer than was asked for".to_owned());
        }
        let mut count = 0;
        let all = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if all.is_null() || count == 0 {
            return Err("an answer without the topic".to_owned());
        }
        let error = c::rd_kafka_TopicDescription_error(*all);
        let code = c::rd_kafka_error_code(error);
        if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(RDKafkaErrorCode::from(code).to_string());
        }
        let id = c::rd_kafka_TopicDescription_topic_id(*all);
        let high = c::rd_kafka_Uuid_most_significant_bits(id);
        let none = high == 0 && c::rd_kafka_Uuid_least_significant_bits(id) == 0;
        Ok((!none).then(|| owned(c::rd_kafka_Uuid_base64str(id))))
    }
}

/// A copy of librdkafka's text.
///
/// # Safety
/// NULL, or alive and ending with NUL.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
