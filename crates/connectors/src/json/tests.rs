//! Messages and the rows they become, and what is refused of them.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millrace_types::SqlType;

use super::*;

fn fields(columns: &[(&str, SqlType)]) -> Vec<FieldRef> {
    columns.iter().map(|(name, t)| Arc::new(Field::new(*name, t.arrow(), true))).collect()
}

/// Decodes the value of one column, shown; an error is its reason.
fn decode(sql_type: SqlType, value: &str) -> Result<String, String> {
    let mut decoder = JsonDecoder::new(&fields(&[("v", sql_type)])).unwrap();
    decoder.push(format!("{{\"v\":{value}}}").as_bytes())?;
    let array = decoder.finish().unwrap().remove(0);
    let options = FormatOptions::default().with_null("NULL");
    Ok(ArrayFormatter::try_new(&array, &options).unwrap().value(0).to_string())
}

fn bigint_rows(messages: &[&[u8]]) -> (Vec<Option<i64>>, Vec<(usize, String)>) {
    let mut decoder = JsonDecoder::new(&fields(&[("id", SqlType::BigInt)])).unwrap();
    let mut bad = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        if let Err(reason) = decoder.push(message) {
            bad.push((number, reason));
        }
    }
    let array = decoder.finish().unwrap().remove(0);
    (array.as_primitive::<Int64Type>().iter().collect(), bad)
}

#[test]
fn a_malformed_message_costs_only_itself() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    for broken in [
        &b""[..],
        b" ",
        b"\0",
        b"{\"id\": 2",
        b"{\"id\": ",
        b"{\"id\"",
        b"{\"x\": \"unterminated",
        b"{\"x\": \"unterminated\\",
        b"{\"id\": 2}{\"id\": 3}",
        b"{\"id\": 2}\n{\"id\": 3}",
        b"{\"id\": 2},",
        b"{\"id\": 2} x",
        b"{\"id\": 2]",
        b"[{\"id\": 2}]",
        b"2",
        b"null",
        b"\"id\"",
        b"{\"id\": 2,}",
        b"{,\"id\": 2}",
        b"{\"id\": 2 \"x\": 3}",
        b"{\"id\" 2}",
        b"{id: 2}",
        b"{'id': 2}",
        b"{\"id\": 02}",
        b"{\"id\": +2}",
        b"{\"id\": 2.}",
        b"{\"id\": .2}",
        b"{\"id\": 2e}",
        b"{\"id\": -}",
        b"{\"id\": NaN}",
        b"{\"x\": nul}",
        b"{\"x\": tru}",
        b"{\"x\": [1,]}",
        b"{\"x\": [1 2]}",
        b"{\"x\": \"\\q\"}",
        b"{\"x\": \"\\u12g4\"}",
        b"{\"x\": \"\\ud800\"}",
        b"{\"x\": \"\\udc00\"}",
        b"{\"x\": \"a\nb\"}",
        b"{\"x\": \"\xff\"}",
        b"{\"\xc3\": 1}",
        b"\xef\xbb\xbf{\"id\": 2}",
        deep.as_bytes(),
    ] {
        let (rows, bad) = bigint_rows(&[b"{\"id\": 1}", broken, b"{\"id\": 4}"]);
        let shown = String::from_utf8_lossy(broken);
        assert_eq!(rows, [Some(1), Some(4)], "{shown}");
        assert_eq!(bad.len(), 1, "{shown}");
        assert_eq!(bad[0].0, 1, "{shown}");
        assert!(serde_json::from_slice::<serde_json::Map<_, _>>(broken).is_err(), "{shown}");
    }
}

#[test]
fn a_value_of_the_wrong_type_costs_only_its_message() {
    for value in [
        "\"abc\"",
        "\"\"",
        "true",
        "{}",
        "[1]",
        "1.5",
        "\"1.0\"",
        "\"0x10\"",
        "9223372036854775808",
        "-9223372036854775809",
        "1e19",
        "1e400",
        "\"9223372036854775808\"",
        "\"1\\u0000\"",
    ] {
        let message = format!("{{\"other\": [1], \"id\": {value}}}");
        let (rows, bad) = bigint_rows(&[b"{\"id\":1}", message.as_bytes(), b"{\"id\":4}"]);
        assert_eq!(rows, [Some(1), Some(4)], "{value}");
        assert_eq!(bad.len(), 1, "{value}");
        assert!(bad[0].1.starts_with("column \"id\": "), "{value}: {}", bad[0].1);
    }
}

#[test]
fn values_before_a_bad_one_are_taken_back() {
    let columns = fields(&[
        ("a", SqlType::Text),
        ("l", SqlType::Array(Box::new(SqlType::Text))),
        ("b", SqlType::BigInt),
    ]);
    let mut decoder = JsonDecoder::new(&columns).unwrap();
    decoder.push(br#"{"a": "one", "l": ["x"], "b": 1}"#).unwrap();
    assert!(decoder.push(br#"{"a": "two", "l": ["y", "z"], "b": "two"}"#).is_err());
    assert!(decoder.push(br#"{"a": "two", "l": ["y", {"#).is_err());
    decoder.push(br#"{"b": 3, "l": [null]}"#).unwrap();
    let rows = decoder.finish().unwrap();
    let schema = Arc::new(Schema::new(columns));
    let batch = RecordBatch::try_new(schema, rows).unwrap();
    let shown = arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
    assert_eq!(shown.lines().nth(3), Some("| one | [x] | 1 |"));
    assert_eq!(shown.lines().nth(4), Some("|     | []  | 3 |"));
}

#[test]
fn values_convert_as_postgresql_converts_them() {
    use SqlType::*;
    let array = || Array(Box::new(Integer));
    let cases: Vec<(SqlType, &str, &str)> = vec![
        (BigInt, "42", "42"),
        (BigInt, "-0", "0"),
        (BigInt, "42.0", "42"),
        (BigInt, "1.2e3", "1200"),
        (BigInt, "-9223372036854775808", "-9223372036854775808"),
        (BigInt, "\" 42 \"", "42"),
        (BigInt, "\"+42\"", "42"),
        (BigInt, "null", "NULL"),
        (Integer, "2147483647", "2147483647"),
        (SmallInt, "\"-32768\"", "-32768"),
        (Double, "1700000000.123456", "1700000000.123456"),
        (Double, "0.1", "0.1"),
        (Double, "-1e-7", "-1e-7"),
        (Double, "123456789012345678901234567890", "1.2345678901234568e29"),
        (Double, "\"NaN\"", "NaN"),
        (Double, "\"-Infinity\"", "-inf"),
        (Real, "0.1", "0.1"),
        (Numeric(None), "0.10000000000000000001", "0.10000000000000000001"),
        (Numeric(None), "\"-12.5\"", "-12.50000000000000000000"),
        (
            Numeric(None),
            "123456789012345678901234567890",
            "123456789012345678901234567890.00000000000000000000",
        ),
        (Numeric(Some((6, 2))), "1.005", "1.01"),
        (Numeric(Some((6, 2))), "-1.005", "-1.01"),
        (Numeric(Some((6, 2))), "1e-3", "0.00"),
        (Numeric(Some((6, 2))), "5e-3", "0.01"),
        (Numeric(Some((6, 2))), "9999.99", "9999.99"),
        (Text, "\"a\\tb\\u00e9\\ud83d\\ude00\\/\"", "a\tb\u{e9}\u{1f600}/"),
        (Text, "1.50", "1.50"),
        (Text, "true", "true"),
        (Text, "{\"a\": [1, 2]}", "{\"a\": [1, 2]}"),
        (Boolean, "true", "true"),
        (Boolean, "\"off\"", "false"),
        (Boolean, "1", "true"),
        (Bytea, "\"\\\\x0aFF\"", "0aff"),
        (Bytea, "\"a\\\\134\"", "615c"),
        (Date, "\"2024-05-01\"", "2024-05-01"),
        (Time, "\"12:30:00.5\"", "12:30:00.500"),
        (Timestamp, "\"2024-05-01T12:30:00+02:00\"", "2024-05-01T12:30:00"),
        (TimestampTz, "\"2024-05-01T12:30:00+02:00\"", "2024-05-01T10:30:00Z"),
        (Interval, "\"1 day 2 hours\"", "1 days 2 hours"),
        (array(), "[1, null, \"3\"]", "[1, NULL, 3]"),
        (array(), "[]", "[]"),
        (Array(Box::new(array())), "[[1], [], [2, 3]]", "[[1], [], [2, 3]]"),
    ];
    for (sql_type, value, wanted) in cases {
        let name = sql_type.name();
        assert_eq!(decode(sql_type, value).as_deref(), Ok(wanted), "{value} as {name}");
    }
}

#[test]
fn refusals_are_worded_as_postgresql_words_them() {
    use SqlType::*;
    for (sql_type, value, wanted) in [
        (BigInt, "\"abc\"", "invalid input syntax for type bigint: \"abc\""),
        (SmallInt, "40000", "\"40000\" is out of range for type smallint"),
        (Double, "1e400", "\"1e400\" is out of range for type double precision"),
        (Double, "1e-400", "\"1e-400\" is out of range for type double precision"),
        (Numeric(Some((4, 2))), "100", "numeric field overflow: \"100\" as numeric(4,2)"),
        (Numeric(None), "\"NaN\"", "invalid input syntax for type numeric: \"NaN\""),
        (Boolean, "2", "invalid input syntax for type boolean: \"2\""),
        (
            TimestampTz,
            "1714564800",
            "invalid input syntax for type timestamp with time zone: \"1714564800\"",
        ),
        (Array(Box::new(Integer)), "[1, \"x\"]", "invalid input syntax for type integer: \"x\""),
        (Array(Box::new(Integer)), "1", "invalid input syntax for type integer[]: \"1\""),
        (Text, "\"\\u0000\"", "invalid input syntax for type text: \"\u{fffd}\""),
        (Bytea, "\"\\\\x0\"", "invalid input syntax for type bytea: \"\\x0\""),
    ] {
        assert_eq!(decode(sql_type, value), Err(format!("column \"v\": {wanted}")), "{value}");
    }
}

#[test]
fn fields_match_by_exact_name_in_any_order() {
    let mut decoder =
        JsonDecoder::new(&fields(&[("id", SqlType::BigInt), ("Id", SqlType::Double)])).unwrap();
    for message in [
        &br#"{"id": 1, "Id": 0.5}"#[..],
        br#"{"Id": 0.5, "id": 1}"#,
        br#"{"x": {"id": 9}, "Id": 0.5, "ID": 9, "i\u0064": 1}"#,
        br#"{"id": 9, "Id": 9, "id": 1, "Id": 0.5}"#,
        b" { \"id\" : 1 , \"Id\" : 0.5 } \n",
    ] {
        decoder.push(message).unwrap();
    }
    decoder.push(b"{}").unwrap();
    assert_eq!(decoder.len(), 6);
    let columns = decoder.finish().unwrap();
    let ids: Vec<_> = columns[0].as_primitive::<Int64Type>().iter().collect();
    let halves: Vec<_> = columns[1].as_primitive::<Float64Type>().iter().collect();
    assert_eq!(ids, [Some(1), Some(1), Some(1), Some(1), Some(1), None]);
    assert_eq!(halves, [Some(0.5), Some(0.5), Some(0.5), Some(0.5), Some(0.5), None]);
}

#[test]
fn doubles_round_as_the_standard_library_rounds() {
    let mut text = String::new();
    for seed in 0_u64..20_000 {
        let random = crate::random::mix(seed);
        let (mantissa, places) = (random % 100_000_000_000_000_000, (random >> 60) % 16);
        text.clear();
        text.push_str(&format!("{}e-{places}", mantissa >> (random % 40)));
        let plain: f64 = text.parse().unwrap();
        assert_eq!(decode(SqlType::Double, &text), Ok(decode_plain(plain)), "{text}");
    }
}

fn decode_plain(value: f64) -> String {
    let array: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![value]));
    ArrayFormatter::try_new(&array, &FormatOptions::default()).unwrap().value(0).to_string()
}

#[test]
fn an_unknown_type_is_refused() {
    let field =
        Arc::new(Field::new("m", DataType::Duration(arrow::datatypes::TimeUnit::Second), true));
    assert!(JsonDecoder::new(&[field]).is_err());
}

#[test]
fn a_column_that_takes_no_null_refuses_messages_without_it() {
    let id = Arc::new(Field::new("id", DataType::Int64, false));
    let mut decoder = JsonDecoder::new(&[id]).unwrap();
    for message in [&b"{}"[..], b"{\"id\": null}", b"{\"id\": 1, \"id\": null}"] {
        let wanted = "null value in column \"id\" violates not-null constraint";
        assert_eq!(decoder.push(message).unwrap_err(), wanted);
    }
    decoder.push(b"{\"id\": 2}").unwrap();
    assert_eq!(decoder.finish().unwrap()[0].as_primitive::<Int64Type>().values(), &[2]);
}
