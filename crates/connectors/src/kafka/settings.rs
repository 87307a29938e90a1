//! The options of a Kafka source and the client configuration that they make.
//!
//! `properties.*` goes to librdkafka, except for what decides about positions: Millrace keeps
//! offsets itself, a client that moved them would lose or repeat rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_dataflow::source::SourceError;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

use crate::options::{Options, refused};

/// The options of a Kafka source.
pub const OPTIONS: &[&str] = &[
    "topic",
    "properties.bootstrap.server",
    "properties.*",
    "scan.startup.mode",
    "scan.startup.timestamp.millis",
    "max.message.bytes",
];

const MESSAGE_MAX: usize = 10 << 20;

/// What librdkafka is told first; `properties.*` may change these.
///
/// A reader of small messages that cannot keep up holds about 30 MB: the queue, with some hundred
/// bytes of librdkafka's own for each message, and the responses that are being taken apart. With
/// fetches of a megabyte and 50,000 messages in the queue it was 118 MB, and no faster. A queue that
/// is full is looked at again after a few milliseconds, not after librdkafka's second.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "millrace"),
    ("isolation.level", "read_committed"),
    ("fetch.wait.max.ms", "10"),
    ("fetch.min.bytes", "1"),
    ("fetch.message.max.bytes", "262144"),
    ("fetch.max.bytes", "8388608"),
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.error.backoff.ms", "100"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
    ("receive.message.max.bytes", "104857600"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.nagle.disable", "true"),
    ("socket.keepalive.enable", "true"),
    ("log.connection.close", "false"),
];

/// What Millrace relies on; nobody may change these.
const FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "true"),
    ("allow.auto.create.topics", "false"),
    ("statistics.interval.ms", "1000"),
];

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    /// Milliseconds since 1970.
    Timestamp(i64),
}

/// A Kafka source's options, checked.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) topic: Arc<str>,
    /// As given, for messages.
    pub(super) brokers: String,
    pub(super) start: Start,
    pub(super) message_max: usize,
    pub(super) client: ClientConfig,
}

impl Settings {
    pub(super) fn new(all: &BTreeMap<String, String>) -> Result<Settings, SourceError> {
        let mut options = Options::new("kafka", all);
        let topic = options.required("topic")?;
        let start = start(&mut options)?;
        let message_max: Option<usize> =
            options.parsed("max.message.bytes", "a number of bytes")?;
        let mut client = ClientConfig::new();
        for (name, value) in DEFAULTS {
            client.set(*name, *value);
        }
        let mut brokers = None;
        for (name, value) in options.with_prefix("properties.") {
            match name {
                "bootstrap.server" | "bootstrap.servers" => brokers = Some(value),
                // Every consumer elsewhere has one, so statements come with it; nothing here
                // joins a group.
                "group.id" | "group.instance.id" => {}
                // It would load code into the server.
                "plugin.library.paths" => return Err(not_yours(name)),
                _ if FIXED.iter().any(|(fixed, _)| *fixed == name) => return Err(not_yours(name)),
                _ => {
                    client.set(name, value);
                }
            }
        }
        let Some(brokers) = brokers.filter(|brokers| !brokers.trim().is_empty()) else {
            options.required("properties.bootstrap.server")?;
            return Err(refused("properties.bootstrap.server", "", "host:port"));
        };
        client.set("bootstrap.servers", brokers);
        for (name, value) in FIXED {
            client.set(*name, *value);
        }
        options.finish(OPTIONS)?;
        client.create_native_config().map_err(property)?;
        Ok(Settings {
            topic: topic.into(),
            brokers: brokers.to_owned(),
            start,
            message_max: message_max.unwrap_or(MESSAGE_MAX),
            client,
        })
    }
}

fn start(options: &mut Options<'_>) -> Result<Start, SourceError> {
    let millis: Option<i64> =
        options.parsed("scan.startup.timestamp.millis", "milliseconds since 1970")?;
    let mode = options.text("scan.startup.mode").map(str::to_ascii_lowercase);
    match (mode.as_deref(), millis) {
        (None | Some("earliest"), None) => Ok(Start::Earliest),
        (Some("latest"), None) => Ok(Start::Latest),
        (Some("timestamp"), Some(millis)) => Ok(Start::Timestamp(millis)),
        (Some("timestamp"), None) => Err(SourceError::Invalid(
            "option \"scan.startup.mode\" = \"timestamp\" needs the option \
             \"scan.startup.timestamp.millis\""
                .to_owned(),
        )),
        (None | Some("earliest" | "latest"), Some(_)) => Err(SourceError::Invalid(
            "option \"scan.startup.timestamp.millis\" needs the option \"scan.startup.mode\" = \
             \"timestamp\""
                .to_owned(),
        )),
        (Some(other), _) => {
            Err(refused("scan.startup.mode", other, "earliest, latest or timestamp"))
        }
    }
}

fn not_yours(name: &str) -> SourceError {
    SourceError::Invalid(format!("option \"properties.{name}\" cannot be set: Millrace decides it"))
}

/// librdkafka's complaint about a property. Its own text is not passed on: it repeats the value,
/// which may be a password.
pub(super) fn property(error: KafkaError) -> SourceError {
    use rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN;
    match error {
        KafkaError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, _, name, _) => SourceError::Invalid(
            format!("option \"properties.{name}\" is not one that librdkafka knows"),
        ),
        KafkaError::ClientConfig(_, _, name, value) if !is_secret(&name) => SourceError::Invalid(
            format!("option \"properties.{name}\" does not take the value \"{value}\""),
        ),
        KafkaError::ClientConfig(_, _, name, _) => {
            SourceError::Invalid(format!("option \"properties.{name}\" does not take its value"))
        }
        other => SourceError::Invalid(format!("the Kafka client cannot be made: {other}")),
    }
}

/// True for a property whose value is nobody's business.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "jaas", "token", "pem", "key"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &[(&str, &str)]) -> Result<Settings, String> {
        let mut all = BTreeMap::from([
            ("connector".to_owned(), "kafka".to_owned()),
            ("topic".to_owned(), "iot".to_owned()),
            ("properties.bootstrap.server".to_owned(), "127.0.0.1:9092".to_owned()),
        ]);
        for (name, value) in options {
            match value.is_empty() {
                true => all.remove(*name),
                false => all.insert((*name).to_owned(), (*value).to_owned()),
            };
        }
        Settings::new(&all).map_err(|error| error.to_string())
    }

    #[test]
    fn properties_reach_the_client_and_offsets_stay_ours() {
        let found = settings(&[
            ("properties.security.protocol", "plaintext"),
            ("properties.group.id", "mine"),
            ("scan.startup.mode", "latest"),
        ])
        .unwrap();
        assert_eq!(found.client.get("bootstrap.servers"), Some("127.0.0.1:9092"));
        assert_eq!(found.client.get("security.protocol"), Some("plaintext"));
        assert_eq!(found.client.get("group.id"), None);
        assert_eq!(found.client.get("auto.offset.reset"), Some("error"));
        assert_eq!(found.start, Start::Latest);
    }

    #[test]
    fn wrong_options_are_told_by_name() {
        for (options, wanted) in [
            (&[("topic", "")][..], "connector \"kafka\" needs the option \"topic\""),
            (
                &[("properties.bootstrap.server", "")],
                "connector \"kafka\" needs the option \"properties.bootstrap.server\"",
            ),
            (
                &[("scan.startup.mode", "newest")],
                "option \"scan.startup.mode\" takes earliest, latest or timestamp, not \"newest\"",
            ),
            (
                &[("scan.startup.mode", "timestamp")],
                "option \"scan.startup.mode\" = \"timestamp\" needs the option \
                 \"scan.startup.timestamp.millis\"",
            ),
            (
                &[("properties.auto.offset.reset", "earliest")],
                "option \"properties.auto.offset.reset\" cannot be set: Millrace decides it",
            ),
            (
                &[("properties.no.such", "1")],
                "option \"properties.no.such\" is not one that librdkafka knows",
            ),
            (
                &[("properties.security.protocol", "tsl")],
                "option \"properties.security.protocol\" does not take the value \"tsl\"",
            ),
            (
                &[("max.message.bytes", "1MB")],
                "option \"max.message.bytes\" takes a number of bytes, not \"1MB\"",
            ),
        ] {
            assert_eq!(settings(options).unwrap_err(), wanted);
        }
        let unknown = settings(&[("offset", "3")]).unwrap_err();
        assert!(unknown.starts_with("connector \"kafka\" has no option \"offset\"; it has: topic"));
    }

    #[test]
    fn secrets_are_not_repeated() {
        assert!(is_secret("sasl.password") && is_secret("ssl.key.password"));
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "bad hunter2".to_owned(),
            "sasl.password".to_owned(),
            "hunter2".to_owned(),
        );
        assert!(!property(error).to_string().contains("hunter2"));
    }
}
