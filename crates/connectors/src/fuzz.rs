//! Messages that are nearly right, to the decoders of each format: a good one among bad ones keeps its row, each is a row
//! or a reason, and nothing panics.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, FieldRef, Int64Type};
use millrace_types::{OFFSET_COLUMN, PartitionId, SqlType};

use crate::decode::Decoding;
use crate::fuzz_run::{Random, fuzz};
use crate::json::Inferred;
use crate::rows::{Layout, Message, Rows};
use crate::{Encoding, Format, Include, IncludeKind};

/// A message as a fuzzer makes it.
struct Sent {
    offset: i64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    good: bool,
}

impl Message for Sent {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn timestamp(&self) -> Option<i64> {
        (self.offset % 3 != 0).then_some(i64::MAX - self.offset)
    }

    fn headers(&self) -> Option<String> {
        (self.offset % 2 == 0).then(|| "{\"a\":\"b\"}".to_owned())
    }
}

/// Each type, with values that are good ones.
fn types() -> Vec<(SqlType, &'static [&'static str])> {
    let list = SqlType::Array(Box::new(SqlType::Integer));
    let nested = SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Text))));
    let record = SqlType::Struct(vec![
        ("x".to_owned(), SqlType::Double),
        ("y".to_owned(), SqlType::Array(Box::new(SqlType::Text))),
    ]);
    vec![
        (SqlType::BigInt, &["1", "-9223372036854775808", "7"]),
        (SqlType::Boolean, &["true", "false", "null"]),
        (SqlType::SmallInt, &["-32768", "32767", "null"]),
        (SqlType::Integer, &["2147483647", "-1", "null"]),
        (SqlType::Real, &["1.5", "-3e38", "null"]),
        (SqlType::Double, &["1e308", "-0.0", "4.9e-324", "null"]),
        (SqlType::Numeric(None), &["123456789012345678901234567890.5", "0", "null"]),
        (SqlType::Numeric(Some((10, 2))), &["12345678.91", "-0.01", "null"]),
        (SqlType::Text, &["\"\"", "\"a\\u00e9\\ud83e\\udd80\\n\"", "\"\u{1F980}\"", "null"]),
        (SqlType::Bytea, &["\"\\\\x00ff\"", "null"]),
        (SqlType::Jsonb, &["{\"a\":[1,{\"b\":null}]}", "[]", "3.25", "null"]),
        (SqlType::Uuid, &["\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"", "null"]),
        (SqlType::Date, &["\"2024-02-29\"", "\"infinity\"", "null"]),
        (SqlType::Time, &["\"23:59:59.999999\"", "null"]),
        (SqlType::Timestamp, &["\"2024-05-01T10:00:00\"", "\"0001-01-01 00:00:00\"", "null"]),
        (SqlType::TimestampTz, &["\"2024-05-01T10:00:00.123456+02:00\"", "\"-infinity\"", "null"]),
        (SqlType::Interval, &["\"1 year 2 days 03:04:05\"", "null"]),
        (list, &["[1,2,null]", "[]", "null"]),
        (nested, &["[[\"a\"],[],null]", "null"]),
        (record, &["{\"x\":1.5,\"y\":[\"a\",null]}", "{}", "null"]),
    ]
}

fn columns() -> Vec<FieldRef> {
    let field = |(at, (sql, _)): (usize, (SqlType, _))| {
        Arc::new(Field::new(format!("c{at}"), sql.arrow(), at != 0))
    };
    types().into_iter().enumerate().map(field).collect()
}

/// How a fuzzer reads, and what its good messages look like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Json,
    Csv,
    CsvHeader,
    Upsert,
    Debezium,
}

const KINDS: [Kind; 5] = [Kind::Json, Kind::Csv, Kind::CsvHeader, Kind::Upsert, Kind::Debezium];

/// The columns that CSV can hold as text.
fn columns_of(kind: Kind) -> Vec<FieldRef> {
    match kind {
        Kind::Csv | Kind::CsvHeader => columns().into_iter().take(17).collect(),
        Kind::Json | Kind::Upsert | Kind::Debezium => columns(),
    }
}

fn rows(kind: Kind) -> Rows {
    let include = [IncludeKind::Key, IncludeKind::Timestamp, IncludeKind::Headers];
    let include = include.map(|kind| Include { kind, name: format!("{kind:?}") });
    let key = match kind {
        Kind::Upsert | Kind::Debezium => vec!["c0".to_owned()],
        Kind::Json | Kind::Csv | Kind::CsvHeader => Vec::new(),
    };
    let (format, encoding) = match kind {
        Kind::Json => (Format::Plain, Encoding::Json),
        Kind::Csv | Kind::CsvHeader => (Format::Plain, Encoding::Csv),
        Kind::Upsert => (Format::Upsert, Encoding::Json),
        Kind::Debezium => (Format::Debezium, Encoding::Json),
    };
    let columns = columns_of(kind);
    let layout = match key.is_empty() {
        true => Layout::new(&columns, &include),
        false => Layout::of_changes(&columns, &include, &key),
    };
    let mut options = BTreeMap::new();
    if matches!(kind, Kind::CsvHeader) {
        options.insert("encode.header".to_owned(), "true".to_owned());
    }
    let decoding = Decoding::new((format, encoding), &key, &mut options, &layout);
    let decoding = decoding.expect("columns of all types");
    Rows::new(&Arc::new(layout), &"t".into(), PartitionId(0), 1 << 20, &decoding).expect("rows")
}

/// A good row as JSON, some columns missing or unknown, in any order.
fn object(random: &mut Random) -> String {
    let mut members = Vec::new();
    for (at, (_, values)) in types().iter().enumerate() {
        if at == 0 || !random.one_in(4) {
            members.push(format!("\"c{at}\" : {}", random.pick(values)));
        }
    }
    if random.one_in(3) {
        members.push("\"other\":{\"deep\":[[[{}]]]}".to_owned());
    }
    let last = members.len();
    members.swap(random.below(last), random.below(last));
    format!("{{{}}}", members.join(","))
}

/// A good row as CSV.
fn line(random: &mut Random) -> String {
    let values = types().into_iter().take(17).map(|(_, values)| match random.pick(values) {
        "null" => String::new(),
        json if json.starts_with('"') && !json.contains('\\') => {
            format!("\"{}\"", &json[1..json.len() - 1])
        }
        json if json.starts_with('"') => String::new(),
        json => format!("\"{}\"", json.replace('"', "\"\"")),
    });
    values.collect::<Vec<_>>().join(",")
}

fn good(kind: Kind, random: &mut Random) -> String {
    match kind {
        Kind::Json | Kind::Upsert => object(random),
        Kind::Csv => format!("{}\n", line(random)),
        Kind::CsvHeader => {
            let names: Vec<String> = (0..17).map(|at| format!("c{at}")).collect();
            format!("{}\r\n{}", names.join(","), line(random))
        }
        Kind::Debezium => {
            let (before, after) = (object(random), object(random));
            let before = if random.one_in(2) { before } else { "null".to_owned() };
            let op = random.pick(&["c", "r", "u"]);
            let change = format!("{{\"op\":\"{op}\",\"before\":{before},\"after\":{after}}}");
            match random.one_in(2) {
                true => format!("{{\"schema\":{{}},\"payload\":{change}}}"),
                false => change,
            }
        }
    }
}

/// What no decoder should take, or not for what it looks like.
fn hostile(text: String, random: &mut Random) -> Vec<u8> {
    let depth = [10, 127, 128, 129, 1_000, 100_000][random.below(6)];
    let digits = [20, 77, 78, 400, 20_000][random.below(5)];
    let odd = match random.below(8) {
        0 => "[".repeat(depth),
        1 => format!("{}1{}", "[".repeat(depth), "]".repeat(depth)),
        2 => "{\"a\":".repeat(depth),
        3 => "9".repeat(digits),
        4 => format!("-0.{}1e-{}", "0".repeat(digits), "9".repeat(1 + digits % 12)),
        5 => format!("1e{}", "9".repeat(1 + digits % 20)),
        6 => format!("\"{}\"", "\\ud800".repeat(digits % 30)),
        _ => "\"".repeat(1 + random.below(5)),
    };
    let places: Vec<usize> = text.match_indices([':', ',', '[']).map(|(at, _)| at + 1).collect();
    let at = places.get(random.below(places.len())).copied().unwrap_or(0);
    let end = text[at..].find([',', '}', ']']).map_or(text.len(), |end| at + end);
    format!("{}{odd}{}", &text[..at], &text[end..]).into_bytes()
}

fn message(kind: Kind, offset: i64, random: &mut Random) -> Sent {
    let text = good(kind, random);
    let mut key =
        random.pick(&["7", "{\"c0\":1}", "x", "{\"payload\":{\"c0\":2}}"]).as_bytes().to_vec();
    if random.one_in(2) {
        return Sent { offset, key: Some(key), payload: Some(text.into_bytes()), good: true };
    }
    if random.one_in(3) {
        random.damage(&mut key);
    }
    let payload = match random.below(6) {
        0 => hostile(text, random),
        1 => {
            let count = random.below(64);
            random.bytes(count)
        }
        _ => {
            let mut payload = text.into_bytes();
            random.damage(&mut payload);
            payload
        }
    };
    let payload = (!random.one_in(12)).then_some(payload);
    Sent { offset, key: (!random.one_in(6)).then_some(key), payload, good: false }
}

/// The rows of some messages, and the offsets of those that are none.
fn read(rows: &mut Rows, messages: &[&Sent]) -> (RecordBatch, Vec<i64>) {
    for message in messages {
        rows.push(*message);
    }
    let chunk = rows.finish(0, i64::MAX, false).expect("columns of one length");
    for bad in &chunk.bad {
        assert!(!bad.reason.is_empty() && !bad.reason.contains('\n'), "{}", bad.reason);
        assert!(bad.reason.len() <= 2_000, "{} bytes of reason", bad.reason.len());
    }
    (chunk.rows, chunk.bad.iter().map(|bad| bad.offset).collect())
}

fn offsets(rows: &RecordBatch) -> Vec<i64> {
    let column = rows.column_by_name(OFFSET_COLUMN).expect("each row has one");
    column.as_primitive::<Int64Type>().values().to_vec()
}

/// The rows of some offsets.
fn of(rows: &RecordBatch, wanted: impl Fn(i64) -> bool) -> RecordBatch {
    let places = offsets(rows).into_iter().zip(0u64..).filter(|(offset, _)| wanted(*offset));
    let places: UInt64Array = places.map(|(_, at)| at).collect();
    take_record_batch(rows, &places).expect("rows")
}

#[test]
fn a_reason_is_one_short_line_whatever_the_message_says() {
    let payload = |text: String| Some(text.into_bytes());
    let sent = |payload| Sent { offset: 1, key: None, payload, good: false };
    let long = sent(payload(format!("{{\"op\":{{\n\"a\":\"{}\"}}}}", "x".repeat(100_000))));
    let lines = sent(payload("{\"c0\":\"1\\n2\\n3\"}".to_owned()));
    for (kind, sent) in [(Kind::Debezium, long), (Kind::Json, lines)] {
        let (_, bad) = read(&mut rows(kind), &[&sent]);
        assert_eq!(bad, [1], "{kind:?}");
    }
}

#[test]
fn good_messages_among_bad_ones_keep_their_rows() {
    let mut decoders: Vec<Rows> = KINDS.into_iter().map(rows).collect();
    let ran = fuzz("messages", |random| {
        let place = random.below(KINDS.len());
        let kind = KINDS[place];
        let count = 1 + random.below(12);
        let all: Vec<Sent> = (0i64..).take(count).map(|at| message(kind, at, random)).collect();
        if let Some(payload) = &all[0].payload {
            Inferred::default().look(payload);
        }
        // The decoder of earlier inputs, so that what it remembers of them counts.
        let (mixed, bad) = read(&mut decoders[place], &all.iter().collect::<Vec<_>>());
        let shown = offsets(&mixed);
        for sent in &all {
            let rows = shown.iter().filter(|offset| **offset == sent.offset).count();
            let refused = bad.contains(&sent.offset);
            let plain = !matches!(kind, Kind::Upsert | Kind::Debezium);
            assert!(!plain || rows + usize::from(refused) == 1, "{kind:?}: {rows} rows");
            assert!(!(refused && rows > 0), "{kind:?}: a row and a reason");
        }
        let good: Vec<&Sent> = all.iter().filter(|sent| sent.good).collect();
        let (alone, refused) = read(&mut rows(kind), &good);
        if let Some(sent) = good.iter().find(|sent| refused.contains(&sent.offset))
            && !matches!(kind, Kind::Upsert | Kind::Debezium)
        {
            let mut again = rows(kind);
            again.push(*sent);
            let chunk = again.finish(0, i64::MAX, false).expect("columns of one length");
            let text = String::from_utf8_lossy(sent.payload().unwrap_or_default());
            panic!("{kind:?}: a good message is refused: {:?}, {text}", chunk.bad);
        }
        let is_good = |offset: i64| good.iter().any(|sent| sent.offset == offset);
        assert_eq!(of(&mixed, is_good), alone, "{kind:?}");
        !shown.is_empty()
    });
    assert!(ran.accepted > ran.inputs / 4, "nearly all is refused");
}
