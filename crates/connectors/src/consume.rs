//! `millrace-consume`: the parts of a source without the server, to measure what each costs.
//!
//! ```text
//! millrace-consume bare      BROKER TOPIC MESSAGES [PROPERTY=VALUE...]   counts messages
//! millrace-consume json      BROKER TOPIC MESSAGES [PROPERTY=VALUE...]   decodes them by arrow-json
//! millrace-consume reader    BROKER TOPIC MESSAGES [PROPERTY=VALUE...]   reads chunks as the server does
//! millrace-consume poll      BROKER TOPIC MESSAGES [PROPERTY=VALUE...]   counts by rdkafka's own consumer
//! millrace-consume decode    MESSAGES                                    both decoders, without a broker
//! ```
//!
//! It is a process of its own so that its CPU time and its memory are its own. Prints one JSON
//! object per line. `scripts/bench` runs it.

#![allow(clippy::disallowed_methods, reason = "a stopwatch, nothing decides by it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use millrace_connectors::JsonDecoder;
use millrace_connectors::kafka::Kafka;
use millrace_dataflow::source::{Connector, Limits};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

const ROWS: usize = 16_384;
const WAIT: Duration = Duration::from_millis(10);
/// Polls without a message after which the topic is taken to be too short.
const SILENT_MAX: u32 = 1000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "millrace-consume: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["decode", messages] => decode(messages.parse()?),
        [mode, broker, topic, messages, properties @ ..] => {
            let work = Work { broker, topic, messages: messages.parse()?, properties };
            let begin = Instant::now();
            match *mode {
                "bare" => work.raw(|_| Ok(()))?,
                "json" => work.json()?,
                "reader" => work.reader()?,
                "poll" => work.poll()?,
                _ => return Err(format!("no mode {mode}").into()),
            }
            report(mode, work.messages, begin.elapsed().as_secs_f64(), cpu_seconds()?)
        }
        _ => Err("usage: millrace-consume bare|json|reader|poll BROKER TOPIC MESSAGES".into()),
    }
}

fn report(what: &str, events: u64, seconds: f64, cpu_seconds: f64) -> Result<(), Failure> {
    let line = json!({
        "measure": what,
        "events": events,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": peak_bytes()?,
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// User and system time of this process with all its threads.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name in parentheses, which may hold spaces, the 12th and 13th field; in
    // hundredths of a second on every Linux.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Result<Vec<f64>, _> = fields.skip(11).take(2).map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / 100.0)
}

/// The most memory that this process ever had.
fn peak_bytes() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = line.and_then(|l| l.split_whitespace().next()).unwrap_or("0").parse()?;
    Ok(kilobytes * 1024)
}

/// The columns of the benchmark's readings.
fn columns() -> Vec<FieldRef> {
    let columns =
        [("id", DataType::Int64), ("time", DataType::Float64), ("value", DataType::Int64)];
    columns.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true))).to_vec()
}

fn arrow_decoder() -> Result<Decoder, Failure> {
    let schema = Arc::new(Schema::new(columns()));
    Ok(ReaderBuilder::new(schema).with_batch_size(ROWS).build_decoder()?)
}

/// One message by arrow-json, with the checks that keep messages apart.
fn decode_one(decoder: &mut Decoder, payload: &[u8]) -> Result<(), Failure> {
    let used = decoder.decode(payload)?;
    if used != payload.len() || decoder.has_partial_record() {
        return Err("not one object".into());
    }
    if decoder.len() == ROWS {
        decoder.flush()?;
    }
    Ok(())
}

struct Work<'a> {
    broker: &'a str,
    topic: &'a str,
    messages: u64,
    properties: &'a [&'a str],
}

impl Work<'_> {
    fn source(&self) -> Result<Kafka, Failure> {
        let mut options = BTreeMap::from([
            ("topic".to_owned(), self.topic.to_owned()),
            ("properties.bootstrap.server".to_owned(), self.broker.to_owned()),
        ]);
        for property in self.properties {
            let (name, value) = property.split_once('=').ok_or("PROPERTY=VALUE")?;
            options.insert(format!("properties.{name}"), value.to_owned());
        }
        Ok(Kafka::open(&options, &columns(), &[])?)
    }

    /// All messages, undecoded, on the path and with the settings of the server's reader.
    fn raw(&self, mut each: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let source = self.source()?;
        let mut queue = source.raw(&source.start(Duration::from_secs(10))?)?;
        let (mut count, mut silent) = (0, 0);
        while count < self.messages {
            let messages = queue.take(1024, WAIT);
            silent = if messages.is_empty() { silent + 1 } else { 0 };
            if silent > SILENT_MAX {
                return Err(format!("only {count} messages").into());
            }
            for message in messages.iter().filter(|message| message.error().is_none()) {
                count += 1;
                each(message.payload().unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Result<(), Failure> {
        let mut decoder = arrow_decoder()?;
        self.raw(|payload| decode_one(&mut decoder, payload))?;
        decoder.flush()?;
        Ok(())
    }

    fn reader(&self) -> Result<(), Failure> {
        let source = self.source()?;
        let mut reader = source.reader(&source.start(Duration::from_secs(10))?)?;
        let limits = Limits { rows: ROWS, bytes: 4 << 20, wait: WAIT };
        let (mut count, mut silent) = (0, 0);
        while count < self.messages {
            let chunks = reader.poll(limits)?;
            silent = if chunks.is_empty() { silent + 1 } else { 0 };
            if silent > SILENT_MAX {
                return Err(format!("only {count} messages").into());
            }
            count += chunks.iter().map(|chunk| chunk.rows.num_rows() as u64).sum::<u64>();
        }
        Ok(())
    }

    /// rdkafka's safe consumer with the same fetch settings: what `batch` is measured against.
    fn poll(&self) -> Result<(), Failure> {
        let source = self.source()?;
        let mut config: ClientConfig = source.client_config().clone();
        config.set("group.id", "millrace-consume").set("statistics.interval.ms", "0");
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        for span in source.start(Duration::from_secs(10))? {
            list.add_partition_offset(self.topic, span.partition.0, Offset::Offset(span.from))?;
        }
        consumer.assign(&list)?;
        let mut count = 0;
        let mut bytes = 0;
        while count < self.messages {
            if let Some(Ok(message)) = consumer.poll(WAIT) {
                count += 1;
                bytes += message.payload().map_or(0, <[u8]>::len);
            }
        }
        if bytes == 0 { Err("only empty messages".into()) } else { Ok(()) }
    }
}

/// Readings like those of the benchmark through both decoders, in memory.
fn decode(messages: usize) -> Result<(), Failure> {
    let mut text = String::new();
    let mut ends = Vec::with_capacity(messages);
    for n in 0..messages {
        let (id, second, micros) = (n * 7919 % 10_000, 1_700_000_000 + n / 100_000, n % 100_000);
        write!(text, "{{\"id\":{id},\"time\":{second}.{micros:05}0,\"value\":{}}}", n % 1000)?;
        ends.push(text.len());
    }
    let each = |work: &mut dyn FnMut(&[u8]) -> Result<(), Failure>| -> Result<(), Failure> {
        let mut from = 0;
        for end in &ends {
            work(&text.as_bytes()[from..*end])?;
            from = *end;
        }
        Ok(())
    };
    let events = u64::try_from(messages)?;

    let (begin, cpu) = (Instant::now(), cpu_seconds()?);
    let mut decoder = arrow_decoder()?;
    each(&mut |payload| decode_one(&mut decoder, payload))?;
    decoder.flush()?;
    report("decode by arrow-json", events, begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu)?;

    let (begin, cpu) = (Instant::now(), cpu_seconds()?);
    let mut decoder = JsonDecoder::new(&columns())?;
    each(&mut |payload| {
        decoder.push(payload)?;
        if decoder.len() == ROWS {
            decoder.finish()?;
        }
        Ok(())
    })?;
    decoder.finish()?;
    report("decode by millrace", events, begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu)
}
