//! Parameters: that they read back what was written, and what is refused.

use arrow::datatypes::IntervalMonthDayNano;
use bytes::BytesMut;
use millrace_types::input::Zone;
use millrace_types::{TIME_ZONE, timestamptz};

use super::*;
use crate::encode::Column;

fn read(text: &str, wanted: &DataType) -> Result<ScalarValue, Report> {
    parameter(Some(text.as_bytes()), Format::Text, (types::oid(wanted), wanted), Zone::Utc)
}

fn numeric(text: &str) -> ScalarValue {
    read(text, &SqlType::Numeric(None).arrow()).unwrap()
}

#[test]
fn what_is_written_reads_back_in_both_formats() {
    let list = |values: &[ScalarValue], element: &DataType| {
        ScalarValue::List(ScalarValue::new_list_nullable(values, element))
    };
    let interval = IntervalMonthDayNano::new(14, -3, 14_706_789_000_000);
    let scalars = [
        ScalarValue::Boolean(Some(true)),
        ScalarValue::Int16(Some(i16::MIN)),
        ScalarValue::Int32(Some(-7)),
        ScalarValue::Int64(Some(i64::MAX)),
        ScalarValue::Float32(Some(1.1)),
        ScalarValue::Float64(Some(-1e-300)),
        ScalarValue::Float64(Some(f64::INFINITY)),
        ScalarValue::Decimal128(Some(-12_345), 10, 2),
        ScalarValue::Decimal128(Some(0), 10, 2),
        numeric("123456789012345678901234567890.00000000000000000001"),
        numeric("-0.5"),
        numeric("10000"),
        numeric("0.00001"),
        ScalarValue::Utf8(Some("a \"b\" \\ {c},".into())),
        ScalarValue::Binary(Some(vec![0, 1, 92, 255])),
        ScalarValue::Date32(Some(20_454)),
        ScalarValue::Date32(Some(i32::MIN)),
        ScalarValue::Time64Microsecond(Some(3_661_500_001)),
        ScalarValue::TimestampMicrosecond(Some(1_767_225_600_123_456), None),
        ScalarValue::TimestampMicrosecond(Some(-1), Some(TIME_ZONE.into())),
        ScalarValue::TimestampMicrosecond(Some(i64::MAX), Some(TIME_ZONE.into())),
        ScalarValue::IntervalMonthDayNano(Some(interval)),
        list(&[ScalarValue::Int64(Some(1)), ScalarValue::Int64(None)], &DataType::Int64),
        list(&["x".into(), "null".into(), "a,\"b\\".into(), "".into()], &DataType::Utf8),
        list(&[], &DataType::Utf8),
    ];
    for scalar in scalars {
        let array = scalar.to_array().unwrap();
        let column = Column::new(&array, Zone::Utc).unwrap();
        let wanted = scalar.data_type();
        for format in [Format::Text, Format::Binary] {
            let mut out = BytesMut::new();
            column.put(0, format, &mut out).unwrap();
            let back =
                parameter(Some(&out[4..]), format, (types::oid(&wanted), &wanted), Zone::Utc);
            assert_eq!(back.unwrap(), scalar, "{format:?} {:?}", &out[4..]);
        }
    }
}

#[test]
fn a_missing_value_is_a_null_of_the_type() {
    let null = parameter(None, Format::Binary, (20, &DataType::Int64), Zone::Utc).unwrap();
    assert_eq!(null, ScalarValue::Int64(None));
}

#[test]
fn a_text_with_a_zero_byte_is_none() {
    for format in [Format::Text, Format::Binary] {
        let report = parameter(Some(b"a\0b"), format, (25, &DataType::Utf8), Zone::Utc);
        assert_eq!(report.unwrap_err().code, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
    }
}

#[test]
fn times_without_a_zone_are_read_by_the_session_s_clock() {
    let zone = Zone::of("Europe/Berlin").unwrap();
    let wanted = timestamptz();
    // As its type, as text that a driver did not type, and in an array.
    for oid in [1184, 25, 0] {
        let found = parameter(Some(b"2026-07-01 12:00"), Format::Text, (oid, &wanted), zone);
        let ten = 1_782_900_000_000_000;
        assert_eq!(
            found.unwrap(),
            ScalarValue::TimestampMicrosecond(Some(ten), Some(TIME_ZONE.into())),
            "{oid}"
        );
    }
}

#[test]
fn a_declared_type_is_cast_to_the_wanted_one() {
    let small =
        parameter(Some(&[0, 7]), Format::Binary, (21, &DataType::Int64), Zone::Utc).unwrap();
    assert_eq!(small, ScalarValue::Int64(Some(7)));
    let text = parameter(Some(b"7"), Format::Text, (1043, &DataType::Int64), Zone::Utc).unwrap();
    assert_eq!(text, ScalarValue::Int64(Some(7)));
    let big = i64::MAX.to_be_bytes();
    assert!(parameter(Some(&big), Format::Binary, (20, &DataType::Int16), Zone::Utc).is_err());
}

#[test]
fn times_are_read_as_drivers_write_them() {
    let wanted = timestamptz();
    for text in ["2026-01-01 00:00:00+00", "2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z"] {
        let value =
            ScalarValue::TimestampMicrosecond(Some(1_767_225_600_000_000), Some(TIME_ZONE.into()));
        assert_eq!(read(text, &wanted).unwrap(), value, "{text}");
    }
    let day = |text: &str| read(text, &SqlType::Interval.arrow()).unwrap();
    let ten = |sign: i64| {
        let value = IntervalMonthDayNano::new(0, 1, sign * 10_000_000_000);
        ScalarValue::IntervalMonthDayNano(Some(value))
    };
    assert_eq!(day("1 day 0:00:10"), ten(1));
    assert_eq!(day("1 day -00:00:10"), ten(-1));
    assert_eq!(day("1 day 10 seconds"), ten(1));
}

#[test]
fn uuid_and_jsonb_have_binary_forms() {
    let uuid: Vec<u8> = (0..16).collect();
    let read = |bytes: &[u8], oid, data_type| {
        parameter(Some(bytes), Format::Binary, (oid, &data_type), Zone::Utc)
    };
    let wanted = ScalarValue::FixedSizeBinary(16, Some(uuid.clone()));
    assert_eq!(read(&uuid, 2950, SqlType::Uuid.arrow()).unwrap(), wanted);
    let json = |bytes: &[u8], oid| read(bytes, oid, SqlType::Jsonb.arrow());
    let wanted = ScalarValue::LargeBinary(Some(millrace_types::json::encode("{}").unwrap()));
    assert_eq!(json(b"\x01{ }", 3802).unwrap(), wanted);
    assert_eq!(json(b"{ }", 114).unwrap(), wanted);
    assert!(json(b"{}", 3802).is_err());
}

#[test]
fn a_binary_time_outside_its_day_is_refused() {
    let read = |time: i64| {
        let wanted = SqlType::Time.arrow();
        parameter(Some(&time.to_be_bytes()), Format::Binary, (1083, &wanted), Zone::Utc)
    };
    let day = 86_400_000_000;
    assert_eq!(read(day).unwrap(), ScalarValue::Time64Microsecond(Some(day)));
    for time in [-1, day + 1, i64::MIN] {
        assert_eq!(read(time).unwrap_err().code.to_string(), "22008");
    }
}

#[test]
fn bad_values_have_postgresql_codes_and_words() {
    for (text, wanted, code, message) in [
        ("x", DataType::Int32, "22P02", "invalid input syntax for type integer: \"x\""),
        ("32768", DataType::Int16, "22003", "value \"32768\" is out of range for type smallint"),
        (
            "1e999",
            DataType::Float64,
            "22003",
            "\"1e999\" is out of range for type double precision",
        ),
        ("maybe", DataType::Boolean, "22P02", "invalid input syntax for type boolean: \"maybe\""),
        (
            "1.2.3",
            DataType::Decimal128(5, 2),
            "22P02",
            "invalid input syntax for type numeric: \"1.2.3\"",
        ),
        ("1000", DataType::Decimal128(5, 2), "22003", "numeric field overflow"),
        (
            "soon",
            timestamptz(),
            "22007",
            "invalid input syntax for type timestamp with time zone: \"soon\"",
        ),
        (
            "{1,",
            DataType::new_list(DataType::Int32, true),
            "22P02",
            "malformed array literal: \"{1,\"",
        ),
        (
            "1:2:3.äääääääää",
            SqlType::Interval.arrow(),
            "22007",
            "invalid input syntax for type interval: \"1:2:3.äääääääää\"",
        ),
    ] {
        let report = read(text, &wanted).unwrap_err();
        assert_eq!((report.code.code(), report.message.as_str()), (code, message));
    }
}

#[test]
fn numeric_rounds_half_away_from_zero_and_takes_exponents() {
    let money = |text: &str| read(text, &DataType::Decimal128(10, 2)).unwrap();
    let cents = |value| ScalarValue::Decimal128(Some(value), 10, 2);
    assert_eq!(money("1.005"), cents(101));
    assert_eq!(money("-1.005"), cents(-101));
    assert_eq!(money("1.5e2"), cents(15_000));
    assert_eq!(money("0.004"), cents(0));
    assert_eq!(money("5e-3"), cents(1));
    assert_eq!(money(".5"), cents(50));
}

#[test]
fn short_and_long_binary_values_are_refused() {
    let wanted = [
        (16, DataType::Boolean),
        (23, DataType::Int32),
        (1700, DataType::Decimal128(10, 2)),
        (1184, timestamptz()),
        (1186, SqlType::Interval.arrow()),
        (1007, DataType::new_list(DataType::Int32, true)),
    ];
    for (oid, wanted) in wanted {
        for length in [0, 3, 5, 11, 13, 17, 21] {
            let bytes = vec![1; length];
            let report =
                parameter(Some(&bytes), Format::Binary, (oid, &wanted), Zone::Utc).unwrap_err();
            assert!(["22P03", "0A000"].contains(&report.code.code()), "{oid} {length} {report}");
        }
    }
    let report = of_parameter(malformed(), 2);
    assert_eq!(report.message, "incorrect binary data format in bind parameter 2");
}
