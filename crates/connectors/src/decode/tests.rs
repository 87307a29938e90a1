//! Messages of each format, as rows or as the reason why they are none.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Field, FieldRef, Int64Type, Schema};
use arrow::util::display::array_value_to_string;

use super::*;
use crate::Include;

struct Sent<'a>(Option<&'a str>, Option<&'a str>);

impl Message for Sent<'_> {
    fn offset(&self) -> i64 {
        0
    }

    fn payload(&self) -> Option<&[u8]> {
        self.1.map(str::as_bytes)
    }

    fn key(&self) -> Option<&[u8]> {
        self.0.map(str::as_bytes)
    }

    fn timestamp(&self) -> Option<i64> {
        None
    }

    fn headers(&self) -> Option<String> {
        None
    }
}

fn columns() -> Vec<FieldRef> {
    let field = |name: &str, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
    vec![
        field("id", DataType::Int64, false),
        field("name", DataType::Utf8, true),
        field("size", DataType::Float64, true),
    ]
}

fn decoder(format: Format, encoding: Encoding, options: &[(&str, &str)]) -> Decoder {
    let layout = Layout::new(&columns(), &[]);
    let mut options: BTreeMap<String, String> =
        options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let key = ["id".to_owned()];
    let decoding = Decoding::new((format, encoding), &key, &mut options, &layout).unwrap();
    assert!(options.is_empty(), "{options:?}");
    decoding.decoder(&layout).unwrap()
}

/// Each row in a line; deletions begin with `-`. A refused message is its reason.
fn read(decoder: &mut Decoder, messages: &[Sent<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for message in messages {
        if let Err(reason) = decoder.push(message) {
            lines.push(reason);
        }
    }
    let (columns, deleted) = decoder.finish().unwrap();
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true))
        .collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    for row in 0..rows.num_rows() {
        let values = rows.columns().iter().map(|c| array_value_to_string(c, row).unwrap());
        let sign = match &deleted {
            Some(deleted) if deleted.as_boolean().value(row) => "-",
            Some(_) => "+",
            None => "",
        };
        lines.push(format!("{sign}{}", values.collect::<Vec<_>>().join("|")));
    }
    lines
}

#[test]
fn a_line_of_csv_is_a_row() {
    let mut csv = decoder(Format::Plain, Encoding::Csv, &[]);
    let rows = read(
        &mut csv,
        &[
            Sent(None, Some("1,ann,2.5")),
            Sent(None, Some("2,\"a \"\"b\"\", c\",\r\n")),
            Sent(None, Some("3,,1e3\n")),
            Sent(None, Some("4,\"\",0")),
        ],
    );
    assert_eq!(rows, ["1|ann|2.5", "2|a \"b\", c|", "3||1000.0", "4||0.0"]);
}

#[test]
fn csv_that_is_no_row_says_why() {
    let mut csv = decoder(Format::Plain, Encoding::Csv, &[("encode.delimiter", ";")]);
    let rows = read(
        &mut csv,
        &[
            Sent(None, Some("1;ann")),
            Sent(None, Some("1;\"ann;2")),
            Sent(None, Some("1;ann;2\n2;bob;3")),
            Sent(None, Some(";ann;2")),
            Sent(None, Some("x;ann;2")),
            Sent(None, Some("5;bob\\;2")),
        ],
    );
    assert_eq!(
        rows,
        [
            "malformed CSV: 2 values for 3 columns",
            "malformed CSV: a quote is not closed",
            "malformed CSV: a message is one row",
            "null value in column \"id\" violates not-null constraint",
            "column \"id\": invalid input syntax for type bigint: \"x\"",
            "5|bob\\|2.0",
        ]
    );
}

#[test]
fn a_header_names_the_values() {
    let options = [("encode.delimiter", "\\t"), ("encode.header", "true")];
    let mut csv = decoder(Format::Plain, Encoding::Csv, &options);
    let rows = read(&mut csv, &[Sent(None, Some("size\tother\tid\n2\tx\t7\n"))]);
    assert_eq!(rows, ["7||2.0"]);
}

#[test]
fn an_upsert_has_its_key_in_the_value_or_in_the_key() {
    let mut upsert = decoder(Format::Upsert, Encoding::Json, &[]);
    let rows = read(
        &mut upsert,
        &[
            Sent(Some("9"), Some(r#"{"id":1,"name":"ann"}"#)),
            Sent(Some("2"), Some(r#"{"name":"bob"}"#)),
            Sent(Some(r#"{"id":3}"#), Some("{}")),
            Sent(Some("1"), None),
            Sent(Some(r#"{"id":"3"}"#), None),
            Sent(None, None),
            Sent(Some("x"), None),
            Sent(None, Some(r#"{"name":"eve"}"#)),
            Sent(Some("5"), Some("[]")),
        ],
    );
    assert_eq!(
        rows,
        [
            "null value in column \"id\" violates not-null constraint",
            "column \"id\": invalid input syntax for type bigint: \"x\"",
            "null value in column \"id\" violates not-null constraint",
            "malformed JSON at byte 1: expected one object",
            "+1|ann|",
            "+2|bob|",
            "+3||",
            "-1||",
            "-3||",
        ]
    );
}

#[test]
fn what_is_not_null_is_asked_of_rows_and_not_of_deletions() {
    let mut columns = columns();
    columns[1] = Arc::new(Field::new("name", DataType::Utf8, false));
    let layout = Layout::new(&columns, &[]);
    let key = ["id".to_owned()];
    let way = (Format::Upsert, Encoding::Json);
    let decoding = Decoding::new(way, &key, &mut BTreeMap::new(), &layout).unwrap();
    let mut upsert = decoding.decoder(&layout).unwrap();
    let rows = read(
        &mut upsert,
        &[
            Sent(Some("1"), Some(r#"{"name":null}"#)),
            Sent(Some("2"), Some("{}")),
            Sent(Some("3"), Some(r#"{"name":"ann"}"#)),
            Sent(Some("4"), None),
        ],
    );
    let reason = "null value in column \"name\" violates not-null constraint";
    assert_eq!(rows, [reason, reason, "+3|ann|", "-4||"]);
}

#[test]
fn the_whole_key_can_be_a_column() {
    let include = [Include { kind: IncludeKind::Key, name: "k".to_owned() }];
    let layout = Layout::new(&columns()[1..], &include);
    let key = ["k".to_owned()];
    let way = (Format::Upsert, Encoding::Json);
    let decoding = Decoding::new(way, &key, &mut BTreeMap::new(), &layout).unwrap();
    let mut upsert = decoding.decoder(&layout).unwrap();
    let messages =
        [Sent(Some("a"), Some(r#"{"name":"x"}"#)), Sent(Some("a"), None), Sent(None, Some("{}"))];
    let rows = read(&mut upsert, &messages);
    assert_eq!(rows, ["column \"k\": the message has no key", "+x|", "-|"]);
}

#[test]
fn debezium_says_what_was_and_what_is() {
    let mut debezium = decoder(Format::Debezium, Encoding::Json, &[]);
    let rows = read(
        &mut debezium,
        &[
            Sent(None, Some(r#"{"before":null,"after":{"id":1,"name":"a"},"op":"c","ts_ms":5}"#)),
            Sent(None, Some(r#"{"schema":{"op":1},"payload":{"after":{"id":2},"op":"r"}}"#)),
            Sent(
                None,
                Some(r#"{"before":{"id":1,"name":"a"},"after":{"id":1,"name":"b"},"op":"u"}"#),
            ),
            Sent(None, Some(r#"{"before":{"name":"a"},"after":{"id":3},"op":"u"}"#)),
            Sent(None, Some(r#"{"before":{"id":1,"name":"b"},"after":null,"op":"d"}"#)),
            Sent(Some(r#"{"schema":{},"payload":{"id":2}}"#), Some(r#"{"op":"d"}"#)),
            Sent(Some(r#"{"payload":{"id":4}}"#), None),
            Sent(Some("{}"), None),
        ],
    );
    assert_eq!(
        rows,
        ["+1|a|", "+2||", "+1|b|", "-1||", "+3||", "-1||", "-2||", "-4||"],
        "the last tombstone's key is not known"
    );
}

#[test]
fn what_is_no_change_says_why() {
    let mut debezium = decoder(Format::Debezium, Encoding::Json, &[]);
    let rows = read(
        &mut debezium,
        &[
            Sent(None, Some(r#"{"id":1}"#)),
            Sent(None, Some(r#"{"op":"t"}"#)),
            Sent(None, Some(r#"{"op":"c","after":null}"#)),
            Sent(None, Some(r#"{"op":"d","before":null}"#)),
            Sent(None, Some("nothing")),
        ],
    );
    assert_eq!(
        rows,
        [
            "no change of Debezium: \"op\" is missing",
            "an operation of another kind: \"t\"",
            "the change has no row \"after\"",
            "null value in column \"id\" violates not-null constraint",
            "malformed JSON at byte 1: expected one object",
        ]
    );
}

#[test]
fn bytes_are_one_column() {
    let layout = Layout::new(&columns(), &[]);
    let way = (Format::Plain, Encoding::Bytes);
    let error = Decoding::new(way, &[], &mut BTreeMap::new(), &layout).unwrap_err();
    assert_eq!(error.to_string(), "ENCODE BYTES gives one column of type bytea");
    let layout = Layout::new(&[Arc::new(Field::new("raw", DataType::Binary, true))], &[]);
    let decoding = Decoding::new(way, &[], &mut BTreeMap::new(), &layout).unwrap();
    let mut bytes = decoding.decoder(&layout).unwrap();
    bytes.push(&Sent(None, Some("{"))).unwrap();
    let (columns, _) = bytes.finish().unwrap();
    assert_eq!(columns[0].as_binary::<i32>().value(0), b"{");
    assert!(columns[0].as_primitive_opt::<Int64Type>().is_none());
}
