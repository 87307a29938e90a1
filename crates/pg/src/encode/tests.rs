//! Every type, as text and binary. Most values were compared by hand with PostgreSQL 15's output and
//! `*_send` functions; extremes were computed from their documented formats.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, ListArray, NullArray, StringArray, StructArray,
    UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, Fields, Int32Type, IntervalMonthDayNano, Schema, SchemaRef, i256};
use datafusion::common::ScalarValue;
use millrace_types::input::Zone;
use millrace_types::{SqlType, TIME_ZONE};

use super::*;

fn written(array: &ArrayRef, row: usize, format: Format) -> Option<Vec<u8>> {
    let column = Column::new(array, Zone::Utc).unwrap();
    let mut out = BytesMut::new();
    column.put(row, format, &mut out).unwrap();
    let length = i32::from_be_bytes(out[..4].try_into().unwrap());
    if length < 0 {
        return None;
    }
    assert_eq!(usize::try_from(length).unwrap(), out.len() - 4);
    Some(out[4..].to_vec())
}

fn text_of(scalar: &ScalarValue) -> String {
    let array = scalar.to_array().unwrap();
    String::from_utf8(written(&array, 0, Format::Text).unwrap()).unwrap()
}

fn binary_of(scalar: &ScalarValue) -> String {
    let array = scalar.to_array().unwrap();
    let bytes = written(&array, 0, Format::Binary).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn zoned(microseconds: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(microseconds), Some(TIME_ZONE.into()))
}

fn span(months: i32, days: i32, microseconds: i64) -> ScalarValue {
    let nanoseconds = microseconds * 1_000;
    ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanoseconds)))
}

fn unconstrained(text: &str) -> ScalarValue {
    ScalarValue::Decimal256(i256::from_string(text), 76, 20)
}

#[test]
fn scalars_have_postgresql_text_and_binary() {
    let new_year = 1_767_225_600_000_000;
    for (scalar, text, binary) in [
        (ScalarValue::Boolean(Some(true)), "t", "01"),
        (ScalarValue::Boolean(Some(false)), "f", "00"),
        (ScalarValue::Int16(Some(-2)), "-2", "fffe"),
        (ScalarValue::Int32(Some(i32::MIN)), "-2147483648", "80000000"),
        (ScalarValue::Int64(Some(i64::MAX)), "9223372036854775807", "7fffffffffffffff"),
        (ScalarValue::Int8(Some(-3)), "-3", "fffd"),
        (ScalarValue::UInt32(Some(u32::MAX)), "4294967295", "ffffffff"),
        (ScalarValue::Utf8(Some("añb".into())), "añb", "61c3b162"),
        (ScalarValue::Utf8View(Some(String::new())), "", ""),
        (ScalarValue::Binary(Some(vec![0, 255, 16])), "\\x00ff10", "00ff10"),
        (ScalarValue::Date32(Some(20_454)), "2026-01-01", "00002519"),
        (ScalarValue::Date32(Some(0)), "1970-01-01", "ffffd533"),
        (ScalarValue::Date32(Some(-719_163)), "0001-12-31 BC", "fff4dbf8"),
        (ScalarValue::Date32(Some(i32::MAX)), "infinity", "7fffffff"),
        (ScalarValue::Date32(Some(11_016)), "2000-02-29", "0000003b"),
        (ScalarValue::Time64Microsecond(Some(3_661_500_000)), "01:01:01.5", "00000000da3e0e60"),
        (ScalarValue::Time64Microsecond(Some(86_400_000_000)), "24:00:00", "000000141dd76000"),
        (zoned(new_year), "2026-01-01 00:00:00+00", "0002ea470ae86000"),
        (zoned(-1), "1969-12-31 23:59:59.999999+00", "fffca2fec4c81fff"),
        (zoned(i64::MIN), "-infinity", "8000000000000000"),
        (ScalarValue::TimestampSecond(Some(0), None), "1970-01-01 00:00:00", "fffca2fec4c82000"),
        (
            span(14, -3, 14_706_789_000),
            "1 year 2 mons -3 days +04:05:06.789",
            "000000036c97ca88fffffffd0000000e",
        ),
        (span(-13, 0, -1), "-1 years -1 mons -00:00:00.000001", "ffffffffffffffff00000000fffffff3"),
        (span(0, 0, 360_000_000_000), "100:00:00", "00000053d1ac10000000000000000000"),
        (ScalarValue::Date32(Some(2_932_897)), "10000-01-01", "002c95d4"),
        (ScalarValue::Int64(Some(i64::MIN)), "-9223372036854775808", "8000000000000000"),
        (span(0, 0, 0), "00:00:00", "00000000000000000000000000000000"),
        (span(0, 1, 0), "1 day", "00000000000000000000000100000000"),
    ] {
        assert_eq!(text_of(&scalar), text, "{scalar:?}");
        assert_eq!(binary_of(&scalar), binary, "{scalar:?}");
    }
}

#[test]
fn floats_are_the_shortest_that_read_back() {
    for (value, text) in [
        (0.1, "0.1"),
        (-0.0, "-0"),
        (1.0, "1"),
        (100.0, "100"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (123_456_789_012_345.0, "123456789012345"),
        (1e15, "1e+15"),
        (1.5e300, "1.5e+300"),
        (1e-7, "1e-07"),
        (1234.5678, "1234.5678"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        assert_eq!(text_of(&ScalarValue::Float64(Some(value))), text);
    }
    for (value, text) in
        [(0.1, "0.1"), (123_456.0, "123456"), (1e6, "1e+06"), (1.25e-5, "1.25e-05")]
    {
        assert_eq!(text_of(&ScalarValue::Float32(Some(value))), text);
    }
    assert_eq!(binary_of(&ScalarValue::Float64(Some(1.5))), "3ff8000000000000");
    assert_eq!(binary_of(&ScalarValue::Float32(Some(-2.0))), "c0000000");
}

#[test]
fn numeric_keeps_its_scale_unless_unconstrained() {
    let fixed = |value, scale| ScalarValue::Decimal128(Some(value), 20, scale);
    for (scalar, text, binary) in [
        (fixed(12_345, 2), "123.45", "0002000000000002007b1194"),
        (fixed(-100, 2), "-1.00", "00010000400000020001"),
        (fixed(0, 2), "0.00", "0000000000000002"),
        (fixed(5, 4), "0.0005", "0001ffff000000040005"),
        (fixed(10_000, 0), "10000", "00010001000000000001"),
        (fixed(12, -3), "12000", "0002000100000000000107d0"),
        (unconstrained("150000000000000000000"), "1.5", "000200000000000100011388"),
        (unconstrained("-700000000000000000000"), "-7", "00010000400000000007"),
        (unconstrained("0"), "0", "0000000000000000"),
        (unconstrained("1"), "0.00000000000000000001", "0001fffb000000140001"),
    ] {
        assert_eq!(text_of(&scalar), text);
        assert_eq!(binary_of(&scalar), binary, "{text}");
    }
    let wide = "9".repeat(56) + &"0".repeat(20);
    assert_eq!(text_of(&unconstrained(&wide)), "9".repeat(56));
    let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![7, u64::MAX]));
    assert!(Column::new(&unsigned, Zone::Utc).is_err(), "a count is a bigint");
    assert_eq!(written(&unsigned.slice(0, 1), 0, Format::Text).unwrap(), b"7");
}

#[test]
fn nulls_are_nulls_in_every_type() {
    let types = [
        SqlType::Boolean,
        SqlType::SmallInt,
        SqlType::Numeric(None),
        SqlType::Numeric(Some((10, 2))),
        SqlType::Double,
        SqlType::Text,
        SqlType::Bytea,
        SqlType::Date,
        SqlType::TimestampTz,
        SqlType::Interval,
        SqlType::Array(Box::new(SqlType::Text)),
    ];
    for sql in types {
        let null = ScalarValue::try_from(&sql.arrow()).unwrap().to_array().unwrap();
        for format in [Format::Text, Format::Binary] {
            assert_eq!(written(&null, 0, format), None, "{sql:?}");
        }
    }
    let null: ArrayRef = Arc::new(NullArray::new(1));
    assert_eq!(written(&null, 0, Format::Text), None);
}

fn list(values: &[ScalarValue], element: &DataType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list_nullable(values, element))
}

#[test]
fn array_elements_are_quoted_where_they_must_be() {
    let words = ["a", "", "null", "b c", "x,y", "q\"q", "b\\s", "{}"];
    let mut values: Vec<ScalarValue> = words.iter().map(|word| ScalarValue::from(*word)).collect();
    values.push(ScalarValue::Utf8(None));
    assert_eq!(
        text_of(&list(&values, &DataType::Utf8)),
        r#"{a,"","null","b c","x,y","q\"q","b\\s","{}",NULL}"#
    );
    let times = list(&[zoned(0)], &zoned(0).data_type());
    assert_eq!(text_of(&times), "{\"1970-01-01 00:00:00+00\"}");
    assert_eq!(text_of(&list(&[], &DataType::Int32)), "{}");
}

#[test]
fn arrays_have_dimensions_in_binary() {
    let numbers = list(&[ScalarValue::Int32(Some(7)), ScalarValue::Int32(None)], &DataType::Int32);
    assert_eq!(
        binary_of(&numbers),
        "000000010000000100000017000000020000000100000004".to_owned() + "00000007ffffffff"
    );
    assert_eq!(binary_of(&list(&[], &DataType::Int32)), "000000000000000000000017");
}

fn nested(offsets: Vec<i32>) -> ArrayRef {
    let inner = ListArray::new(
        Arc::new(Field::new_list_field(DataType::Int32, true)),
        OffsetBuffer::new(offsets.into()),
        Arc::new(Int32Array::from(vec![1, 2, 3, 4])),
        None,
    );
    let rows = i32::try_from(inner.len()).unwrap();
    Arc::new(ListArray::new(
        Arc::new(Field::new_list_field(inner.data_type().clone(), true)),
        OffsetBuffer::new(vec![0, rows].into()),
        Arc::new(inner),
        None,
    ))
}

#[test]
fn an_array_of_arrays_is_one_of_two_dimensions() {
    let square = nested(vec![0, 2, 4]);
    assert_eq!(written(&square, 0, Format::Text).unwrap(), b"{{1,2},{3,4}}");
    let binary = written(&square, 0, Format::Binary).unwrap();
    assert_eq!(binary[..4], [0, 0, 0, 2]);
    assert_eq!(binary.len(), 12 + 2 * 8 + 4 * 8);

    let ragged = nested(vec![0, 1, 4]);
    assert_eq!(written(&ragged, 0, Format::Text).unwrap(), b"{{1},{2,3,4}}");
    let column = Column::new(&ragged, Zone::Utc).unwrap();
    assert!(column.put(0, Format::Binary, &mut BytesMut::new()).is_err());
}

#[test]
fn structs_are_records() {
    let fields = Fields::from(vec![
        Field::new("a", DataType::Int32, true),
        Field::new("b", DataType::Utf8, true),
        Field::new("c", DataType::Utf8, true),
    ]);
    let record: ArrayRef = Arc::new(StructArray::new(
        fields,
        vec![
            Arc::new(Int32Array::from(vec![1])),
            Arc::new(StringArray::from(vec!["x \"y\""])),
            Arc::new(StringArray::from(vec![None::<&str>])),
        ],
        None,
    ));
    assert_eq!(written(&record, 0, Format::Text).unwrap(), b"(1,\"x \"\"y\"\"\",)");
    let binary = written(&record, 0, Format::Binary).unwrap();
    assert_eq!(binary[..12], [0, 0, 0, 3, 0, 0, 0, 23, 0, 0, 0, 4]);
}

#[test]
fn a_dictionary_is_its_values() {
    let array: DictionaryArray<Int32Type> = vec![Some("b"), None, Some("a")].into_iter().collect();
    let array: ArrayRef = Arc::new(array);
    assert_eq!(written(&array, 0, Format::Text).unwrap(), b"b");
    assert_eq!(written(&array, 1, Format::Text), None);
}

#[test]
fn timestamptz_text_follows_the_zone() {
    let column = |microseconds| {
        let array = zoned(microseconds).to_array().unwrap();
        let mut out = BytesMut::new();
        let column = Column::new(&array, Zone::of("Europe/Helsinki").unwrap()).unwrap();
        column.put(0, Format::Text, &mut out).unwrap();
        String::from_utf8(out[4..].to_vec()).unwrap()
    };
    assert_eq!(column(1_767_225_600_000_000), "2026-01-01 02:00:00+02");
    assert_eq!(column(1_782_864_000_000_000), "2026-07-01 03:00:00+03");
    let kolkata = Zone::of("Asia/Kolkata").unwrap();
    let array = zoned(0).to_array().unwrap();
    let mut out = BytesMut::new();
    Column::new(&array, kolkata).unwrap().put(0, Format::Text, &mut out).unwrap();
    assert_eq!(&out[4..], b"1970-01-01 05:30:00+05:30");
}

#[test]
fn a_time_beyond_microseconds_is_an_error_and_no_null() {
    let array = ScalarValue::TimestampSecond(Some(i64::MAX / 1_000), None).to_array().unwrap();
    assert!(Column::new(&array, Zone::Utc).is_err());
}

#[test]
fn types_are_described_with_number_width_and_precision() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Decimal128(10, 2), true),
        Field::new("c", DataType::Null, true),
    ]));
    let description = crate::types::describe(&schema, &[Format::Binary]).unwrap();
    let shown: Vec<_> = description
        .fields
        .iter()
        .map(|field| (field.type_id, field.type_size, field.type_modifier, field.format_code))
        .collect();
    assert_eq!(shown, [(20, 8, -1, 1), (1700, -1, 655_366, 1), (25, -1, -1, 1)]);
}
