//! Against a real broker: `scripts/kafka run -- cargo test -p millrace-connectors -- --ignored`.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use millrace_dataflow::source::{BadRow, Chunk, Limits};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::*;
use crate::IncludeKind;

const SOON: Duration = Duration::from_secs(10);

struct Broker {
    address: String,
    topic: String,
    producer: BaseProducer,
}

/// Waits for an admin call; there is no other asynchronous code here.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

impl Broker {
    /// The broker of the tests with a topic of this name.
    fn with_topic(topic: &str, partitions: i32) -> Broker {
        let address = std::env::var("MILLRACE_TEST_KAFKA").expect("scripts/kafka run sets it");
        Broker::at(address, topic, partitions)
    }

    fn at(address: String, topic: &str, partitions: i32) -> Broker {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &address);
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let topic = format!("connectors_{topic}_{}", std::process::id());
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        let made = wait(admin.create_topics([&new], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|result| assert!(result.is_ok(), "{result:?}"));
        Broker { address, topic, producer: config.create().unwrap() }
    }

    fn send(&self, partition: i32, payload: Option<&str>) {
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(&self.topic).partition(partition);
        record.payload = payload;
        self.producer.send(record).unwrap();
    }

    fn flush(&self) {
        self.producer.flush(SOON).unwrap();
    }

    fn source(&self, options: &[(&str, &str)], include: &[Include]) -> Kafka {
        let mut all = BTreeMap::from([
            ("topic".to_owned(), self.topic.clone()),
            ("properties.bootstrap.server".to_owned(), self.address.clone()),
        ]);
        all.extend(options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let columns = [Arc::new(Field::new("id", DataType::Int64, true))];
        Kafka::open(&all, &columns, include).unwrap()
    }
}

/// All that a reader gives until `enough`: per partition the ids, where it stands, and bad rows.
#[derive(Default, Debug)]
struct Read {
    ids: BTreeMap<i32, Vec<i64>>,
    at: BTreeMap<i32, i64>,
    ended: BTreeMap<i32, bool>,
    bad: Vec<BadRow>,
    last: Vec<Chunk>,
}

fn read(reader: &mut dyn Reader, enough: impl Fn(&Read) -> bool) -> Read {
    let limits = Limits { rows: 1000, bytes: 1 << 20, wait: Duration::from_millis(100) };
    let mut all = Read::default();
    for _ in 0..100 {
        for chunk in reader.poll(limits).unwrap() {
            let partition = chunk.partition.0;
            if let Some(at) = all.at.insert(partition, chunk.to) {
                assert_eq!(at, chunk.from);
            }
            let ids = chunk.rows.column(0).as_primitive::<Int64Type>();
            all.ids.entry(partition).or_default().extend(ids.values());
            all.ended.insert(partition, chunk.at_end);
            all.bad.extend(chunk.bad.clone());
            all.last.push(chunk);
        }
        if enough(&all) {
            return all;
        }
    }
    panic!("not enough: {all:?}");
}

#[test]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
fn spans_are_read_to_their_ends_and_bad_messages_stay_apart() {
    let broker = Broker::with_topic("spans", 2);
    for id in 0..2000 {
        broker.send(0, Some(&format!("{{\"id\": {id}}}")));
    }
    for payload in [Some("{\"id\": 1}"), Some("{\"id\": "), None, Some(""), Some("{\"id\": 5}")] {
        broker.send(1, payload);
    }
    broker.flush();
    let source = broker.source(&[], &[]);
    let extents = source.extents(SOON).unwrap();
    assert_eq!(extents.iter().map(|e| (e.first, e.end)).collect::<Vec<_>>(), [(0, 2000), (0, 5)]);
    let mut reader = source.reader(&source.start(SOON).unwrap()).unwrap();
    let all = read(&mut *reader, |all| all.ended == BTreeMap::from([(0, true), (1, true)]));
    assert_eq!(all.ids[&0], (0..2000).collect::<Vec<_>>());
    assert_eq!(all.ids[&1], [1, 5]);
    assert_eq!(all.bad.iter().map(|bad| bad.offset).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all.bad[1].reason, "the message has no payload");

    let span = |partition, from, to| Span { partition: PartitionId(partition), from, to: Some(to) };
    let spans = [span(0, 500, 1500), span(1, 2, 5)];
    let mut reader = source.reader(&spans).unwrap();
    let all = read(&mut *reader, |all| all.at == BTreeMap::from([(0, 1500), (1, 5)]));
    assert_eq!(all.ids[&0], (500..1500).collect::<Vec<_>>());
    assert_eq!(all.ids[&1], [5]);
    let limits = Limits { rows: 1000, bytes: 1 << 20, wait: Duration::from_millis(50) };
    assert!(reader.poll(limits).unwrap().is_empty());
}

#[test]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
fn a_span_ends_behind_an_aborted_transaction() {
    let broker = Broker::with_topic("aborted", 1);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("transactional.id", &broker.topic)
        .create()
        .unwrap();
    producer.init_transactions(SOON).unwrap();
    for (payload, commit) in [("{\"id\": 1}", true), ("{\"id\": 2}", false)] {
        producer.begin_transaction().unwrap();
        let record: BaseRecord<'_, str, str> = BaseRecord::to(&broker.topic).payload(payload);
        producer.send(record).unwrap();
        producer.flush(SOON).unwrap();
        match commit {
            true => producer.commit_transaction(SOON).unwrap(),
            false => producer.abort_transaction(SOON).unwrap(),
        }
    }
    // Two messages and two markers: nothing can be read at the last three offsets.
    let source = broker.source(&[], &[]);
    let end = source.extents(SOON).unwrap()[0].end;
    assert_eq!(end, 4);
    let span = Span { partition: PartitionId(0), from: 0, to: Some(end) };
    let mut reader = source.reader(&[span]).unwrap();
    let all = read(&mut *reader, |all| all.at == BTreeMap::from([(0, end)]));
    assert_eq!(all.ids[&0], [1]);
}

#[test]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
fn include_adds_what_is_not_in_the_payload() {
    let broker = Broker::with_topic("include", 1);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "unit", value: Some("°C") })
        .insert(Header { key: "raw", value: Some(&[0xff_u8][..]) });
    let record = BaseRecord::to(&broker.topic).key("k").payload("{\"id\": 7}").timestamp(1234);
    broker.producer.send(record.headers(headers)).unwrap();
    broker.send(0, Some("{\"id\": 8}"));
    broker.flush();
    let words = ["partition", "offset", "timestamp", "key", "headers", "topic"];
    let include: Vec<_> = words
        .iter()
        .map(|word| Include { kind: IncludeKind::parse(word).unwrap(), name: (*word).to_owned() })
        .collect();
    let source = broker.source(&[], &include);
    let mut reader = source.reader(&source.start(SOON).unwrap()).unwrap();
    let all = read(&mut *reader, |all| all.at.get(&0) == Some(&2));
    let batches: Vec<_> = all.last.iter().map(|chunk| chunk.rows.clone()).collect();
    let rows = arrow::compute::concat_batches(&source.schema(), &batches).unwrap();
    assert_eq!(rows.column_by_name("key").unwrap().as_binary::<i32>().value(0), b"k");
    assert!(rows.column_by_name("key").unwrap().is_null(1));
    let headers = rows.column_by_name("headers").unwrap().as_string::<i32>();
    assert_eq!(headers.value(0), "{\"unit\": \"°C\", \"raw\": \"\\\\xff\"}");
    assert!(headers.is_null(1));
    let shown = format!("{:?}", rows.column_by_name("timestamp").unwrap());
    assert!(shown.contains("1970-01-01T00:00:01.234+00:00"), "{shown}");
    assert_eq!(
        rows.column_by_name("offset").unwrap().as_primitive::<Int64Type>().values(),
        &[0, 1]
    );
    let last = rows.num_columns();
    assert_eq!(rows.column(last - 2).as_primitive::<Int32Type>().values(), &[0, 0]);
    assert_eq!(rows.column(last - 1).as_primitive::<Int64Type>().values(), &[0, 1]);
}

#[test]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
fn reading_starts_where_the_options_say() {
    let broker = Broker::with_topic("start", 1);
    for time in [1000, 2000, 3000] {
        let record: BaseRecord<'_, str, str> =
            BaseRecord::to(&broker.topic).payload("{}").timestamp(time);
        broker.producer.send(record).unwrap();
    }
    broker.flush();
    let timestamp = |millis: &'static str| {
        vec![("scan.startup.mode", "timestamp"), ("scan.startup.timestamp.millis", millis)]
    };
    for (options, wanted) in [
        (vec![], 0),
        (vec![("scan.startup.mode", "earliest")], 0),
        (vec![("scan.startup.mode", "latest")], 3),
        (timestamp("1500"), 1),
        (timestamp("3000"), 2),
        (timestamp("9000"), 3),
    ] {
        let spans = broker.source(&options, &[]).start(SOON).unwrap();
        assert_eq!(spans, [Span { partition: PartitionId(0), from: wanted, to: None }]);
    }
}

#[test]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
fn deleted_messages_are_an_error_that_names_them() {
    let broker = Broker::with_topic("gone", 1);
    (0..10).for_each(|_| broker.send(0, Some("{}")));
    broker.flush();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.address);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let mut upto = TopicPartitionList::new();
    upto.add_partition_offset(&broker.topic, 0, Offset::Offset(7)).unwrap();
    wait(admin.delete_records(&upto, &AdminOptions::new())).unwrap();
    for from in [3, 11] {
        let source = broker.source(&[], &[]);
        let span = Span { partition: PartitionId(0), from, to: None };
        let mut reader = source.reader(&[span]).unwrap();
        let limits = Limits { rows: 10, bytes: 1 << 20, wait: Duration::from_millis(100) };
        let error = (0..100).find_map(|_| reader.poll(limits).err()).expect("an error");
        let wanted = format!(
            "topic \"{}\" partition 0 no longer holds offset {from}, from which to go on: it holds \
             offsets 7 to 10",
            broker.topic
        );
        assert!(matches!(&error, SourceError::Gone(text) if text.starts_with(&wanted)), "{error}");
        assert!(reader.poll(limits).is_err());
    }
}

#[test]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
fn a_topic_that_is_not_there_is_named() {
    let broker = Broker::with_topic("there", 1);
    let source = broker.source(&[("topic", "connectors_not_there")], &[]);
    let error = source.start(SOON).unwrap_err();
    let wanted =
        format!("topic \"connectors_not_there\" does not exist in Kafka at {}", broker.address);
    assert_eq!(error.to_string(), wanted);
}

#[test]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
fn a_topic_that_was_made_this_instant_is_read() {
    // A broker that has much to do hears of a topic after it has been answered for.
    for nth in 0..30 {
        let broker = Broker::with_topic(&format!("instant_{nth}"), 4);
        let spans = broker.source(&[], &[]).start(SOON).unwrap();
        assert_eq!(spans.len(), 4);
    }
}

#[test]
fn a_broker_that_is_not_there_is_named_within_ten_seconds() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let options = BTreeMap::from([
        ("topic".to_owned(), "iot".to_owned()),
        ("properties.bootstrap.server".to_owned(), address.clone()),
    ]);
    let source = Kafka::open(&options, &[], &[]).unwrap();
    let error = source.start(SOON).unwrap_err().to_string();
    assert!(error.starts_with(&format!("Kafka at {address} cannot be reached: ")), "{error}");
    assert!(error.contains("refused"), "{error}");
    let span = Span { partition: PartitionId(0), from: 0, to: None };
    let mut reader = source.reader(&[span]).unwrap();
    let limits = Limits { rows: 10, bytes: 1 << 20, wait: Duration::from_millis(100) };
    let error = (0..100).find_map(|_| reader.poll(limits).err()).expect("an error");
    assert!(matches!(&error, SourceError::Unreachable(text) if text.contains(&address)), "{error}");
}

/// `scripts/kafka` with a word and a directory; its output.
fn script(word: &str, directory: &std::path::Path) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/kafka");
    let output = std::process::Command::new(script).arg(word).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs a Kafka broker: scripts/test runs it"]
fn a_reader_goes_on_where_it_stood_after_the_broker_was_away() {
    let directory = std::env::temp_dir().join(format!("millrace-away-{}", std::process::id()));
    let broker = Broker::at(script("start", &directory), "away", 1);
    broker.send(0, Some("{\"id\": 1}"));
    broker.flush();
    let source = broker.source(&[], &[]);
    let mut reader = source.reader(&source.start(SOON).unwrap()).unwrap();
    let all = read(&mut *reader, |all| all.ended == BTreeMap::from([(0, true)]));
    assert_eq!(all.ids[&0], [1]);

    script("halt", &directory);
    let limits = Limits { rows: 10, bytes: 1 << 20, wait: Duration::from_millis(100) };
    let poll = |reader: &mut dyn Reader| (0..200).find_map(|_| reader.poll(limits).err());
    let error = poll(&mut *reader).expect("an error while the broker is away");
    assert!(
        matches!(&error, SourceError::Unreachable(t) if t.contains(&broker.address)),
        "{error}"
    );
    assert!(reader.poll(limits).is_err(), "still away");
    assert!(source.extents(SOON).is_err());

    script("start", &directory);
    broker.send(0, Some("{\"id\": 2}"));
    broker.flush();
    let back = (0..300).find_map(|_| reader.poll(limits).ok().filter(|chunks| !chunks.is_empty()));
    let back = back.expect("the message sent after the return");
    assert_eq!((back[0].from, back[0].to), (1, 2));
    assert_eq!(source.extents(SOON).unwrap()[0].end, 2);
    script("stop", &directory);
}
