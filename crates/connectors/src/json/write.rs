//! Rows as JSON objects, as [`super::JsonDecoder`] reads them back.
//!
//! Numbers are numbers with all their digits, times and intervals are texts in ISO 8601 or as PostgreSQL
//! writes them, a bytea is `\x` and hexadecimal digits, jsonb stands as it is. NaN and infinity, which
//! JSON has no numbers for, are texts.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, SchemaRef,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use millrace_types::json::{Json, quoted, show};

/// Writes some columns of rows as an object.
pub(crate) struct ObjectWriter {
    /// The quoted name with its colon, and the place of each column.
    columns: Vec<(String, usize)>,
}

impl ObjectWriter {
    /// These columns of rows with a schema.
    pub(crate) fn new(
        schema: &SchemaRef,
        columns: impl IntoIterator<Item = usize>,
    ) -> ObjectWriter {
        let column = |at: usize| {
            let mut name = String::new();
            quoted(schema.field(at).name(), &mut name);
            name.push(':');
            (name, at)
        };
        ObjectWriter { columns: columns.into_iter().map(column).collect() }
    }

    /// Appends one row.
    pub(crate) fn write(&self, rows: &RecordBatch, row: usize, out: &mut String) {
        out.push('{');
        for (at, (name, column)) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(name);
            value(rows.column(*column).as_ref(), row, out);
        }
        out.push('}');
    }
}

/// Appends one value.
fn value(array: &dyn Array, row: usize, out: &mut String) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Boolean => plain(out, array.as_boolean().value(row)),
        DataType::Int16 => plain(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => plain(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => plain(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => {
            let number = array.as_primitive::<Float32Type>().value(row);
            float(f64::from(number), &format!("{number:?}"), out);
        }
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            float(number, &format!("{number:?}"), out);
        }
        DataType::Decimal128(..) => {
            decimal(&array.as_primitive::<Decimal128Type>().value_as_string(row), out);
        }
        DataType::Decimal256(..) => {
            decimal(&array.as_primitive::<Decimal256Type>().value_as_string(row), out);
        }
        DataType::Utf8 => quoted(array.as_string::<i32>().value(row), out),
        DataType::Binary => {
            out.push_str("\"\\\\x");
            hexadecimal(array.as_binary::<i32>().value(row), out);
            out.push('"');
        }
        DataType::LargeBinary => show(Json::new(array.as_binary::<i64>().value(row)), out),
        DataType::FixedSizeBinary(16) => uuid(array.as_fixed_size_binary().value(row), out),
        DataType::List(_) => list(array.as_list::<i32>().value(row).as_ref(), out),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            for (at, (field, column)) in fields.iter().zip(columns).enumerate() {
                out.push(if at == 0 { '{' } else { ',' });
                quoted(field.name(), out);
                out.push(':');
                value(column.as_ref(), row, out);
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        _ => moment(array, row, out),
    }
}

fn plain(out: &mut String, value: impl std::fmt::Display) {
    out.push_str(&value.to_string());
}

/// `text` is the shortest that reads back as the same number.
fn float(number: f64, text: &str, out: &mut String) {
    match (number.is_finite(), number.is_nan()) {
        (true, _) => out.push_str(text),
        (false, true) => out.push_str("\"NaN\""),
        (false, false) if number > 0.0 => out.push_str("\"Infinity\""),
        (false, false) => out.push_str("\"-Infinity\""),
    }
}

/// Without zeros at its end.
fn decimal(text: &str, out: &mut String) {
    out.push_str(match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    });
}

fn hexadecimal(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

fn uuid(bytes: &[u8], out: &mut String) {
    let mut rest = bytes;
    for (at, length) in [4, 2, 2, 2, 6].into_iter().enumerate() {
        out.push(if at == 0 { '"' } else { '-' });
        let (part, after) = rest.split_at(length.min(rest.len()));
        hexadecimal(part, out);
        rest = after;
    }
    out.push('"');
}

fn list(elements: &dyn Array, out: &mut String) {
    out.push('[');
    for at in 0..elements.len() {
        if at > 0 {
            out.push(',');
        }
        value(elements, at, out);
    }
    out.push(']');
}

/// Dates, times and intervals.
fn moment(array: &dyn Array, row: usize, out: &mut String) {
    out.push('"');
    match array.data_type() {
        DataType::Date32 => {
            if let Some(day) = date32_to_datetime(array.as_primitive::<Date32Type>().value(row)) {
                out.push_str(&day.format("%Y-%m-%d").to_string());
            }
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            clock(array.as_primitive::<Time64MicrosecondType>().value(row), out);
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            if let Some(moment) = timestamp_us_to_datetime(micros) {
                out.push_str(&moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string());
            }
            out.push_str(if zone.is_some() { "Z" } else { "" });
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            interval(array.as_primitive::<IntervalMonthDayNanoType>().value(row), out);
        }
        // The binder stores no other types.
        _ => {}
    }
    out.push('"');
}

/// Microseconds as hours, minutes and seconds.
fn clock(micros: i64, out: &mut String) {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    out.push_str(&format!("{hours:02}:{minutes:02}:{:02}.{rest:06}", seconds % 60));
}

fn interval(value: IntervalMonthDayNano, out: &mut String) {
    out.push_str(&format!("{} mons {} days ", value.months, value.days));
    let micros = value.nanoseconds / 1_000;
    if micros < 0 {
        out.push('-');
    }
    clock(micros.saturating_abs(), out);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Decimal256Array, Float64Array, Int64Array,
        IntervalMonthDayNanoArray, StringArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, FieldRef, Schema, i256};

    use super::*;
    use crate::JsonDecoder;

    fn columns() -> Vec<(&'static str, ArrayRef)> {
        let big = i256::from_string("123456789012345678901234567890123456789").unwrap();
        let decimals = Decimal256Array::from(vec![Some(big), Some(i256::from(-50)), None]);
        let decimals = decimals.with_precision_and_scale(76, 20).unwrap();
        let times = TimestampMicrosecondArray::from(vec![Some(1), Some(-1), None]);
        let spans = [
            IntervalMonthDayNano::new(-13, 2, 3_000),
            IntervalMonthDayNano::new(1, -2, -86_400_000_001_000),
        ];
        vec![
            ("a \"b\"", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(7)]))),
            ("x", Arc::new(Float64Array::from(vec![f64::NAN, 1e300, -0.5]))),
            ("n", Arc::new(decimals)),
            ("t", Arc::new(StringArray::from(vec![Some("ä\n\u{1}\\\""), Some(""), None]))),
            ("b", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b"", b"a"]))),
            ("at", Arc::new(times.with_timezone("UTC"))),
            (
                "i",
                Arc::new(IntervalMonthDayNanoArray::from(vec![
                    Some(spans[0]),
                    Some(spans[1]),
                    None,
                ])),
            ),
        ]
    }

    #[test]
    fn rows_read_back_as_they_were_written() {
        let columns = columns();
        let field = |(name, array): &(&str, ArrayRef)| {
            Arc::new(Field::new(*name, array.data_type().clone(), true))
        };
        let fields: Vec<FieldRef> = columns.iter().map(field).collect();
        let schema = Arc::new(Schema::new(fields.clone()));
        let arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, array)| array).collect();
        let rows = RecordBatch::try_new(schema.clone(), arrays.clone()).unwrap();
        let writer = ObjectWriter::new(&schema, 0..fields.len());
        let mut decoder = JsonDecoder::new(&fields).unwrap();
        for row in 0..rows.num_rows() {
            let mut text = String::new();
            writer.write(&rows, row, &mut text);
            decoder.push(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let read = decoder.finish().unwrap();
        for (wanted, found) in arrays.iter().zip(&read) {
            assert_eq!(wanted.to_data(), found.to_data());
        }
    }
}
