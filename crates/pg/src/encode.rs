//! Arrow columns to PostgreSQL's text and binary formats.
//!
//! A [`Column`] is made once per batch: it brings the array to one of a few forms, so that writing a
//! cell is one `match` and no cast. The long tail of Arrow types goes through Arrow's casts first.

mod nested;
mod number;
mod text;
mod time;

use arrow::array::PrimitiveArray;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Decimal128Array,
    Decimal256Array, FixedSizeBinaryArray, LargeBinaryArray, StringArray, StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt32Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::{BufMut, BytesMut};
use millrace_types::input::Zone;
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE, Report, SqlState};

pub(crate) use number::Scale;
pub(crate) use time::{DAY, EPOCH_DAYS, EPOCH_MICROSECONDS};

/// The two ways to write a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

impl Format {
    /// The protocol's number.
    pub(crate) fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// One column of a batch, ready to be written cell by cell.
pub(crate) struct Column {
    nulls: Option<NullBuffer>,
    values: Values,
}

/// The forms that columns are brought to.
enum Values {
    Null,
    Boolean(BooleanArray),
    Int16(PrimitiveArray<Int16Type>),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    Oid(PrimitiveArray<UInt32Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal128(Decimal128Array, Scale),
    Decimal256(Decimal256Array, Scale),
    Text(StringArray),
    TextView(StringViewArray),
    Bytes(BinaryArray),
    BytesView(BinaryViewArray),
    Jsonb(LargeBinaryArray),
    Uuid(FixedSizeBinaryArray),
    Date(PrimitiveArray<Date32Type>),
    Time(PrimitiveArray<Time64MicrosecondType>),
    Timestamp(PrimitiveArray<TimestampMicrosecondType>),
    TimestampTz(PrimitiveArray<TimestampMicrosecondType>, Zone),
    Interval(PrimitiveArray<IntervalMonthDayNanoType>),
    List(nested::List),
    Record(nested::Record),
}

impl Column {
    /// Brings an array to its form.
    ///
    /// # Errors
    /// A value that PostgreSQL's type cannot hold.
    pub(crate) fn new(array: &ArrayRef, zone: Zone) -> Result<Column, Report> {
        let array = match plain(array.data_type()) {
            Some(wanted) => cast(array, &wanted)?,
            None => array.clone(),
        };
        let values = values(&array, zone)?;
        Ok(Column { nulls: array.logical_nulls(), values })
    }

    /// True if the cell is NULL.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null)
            || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends a cell with its length before it, as messages and binary arrays want it.
    ///
    /// # Errors
    /// A value that PostgreSQL's type cannot hold, or that is longer than 2 GiB.
    pub(crate) fn put(&self, row: usize, format: Format, out: &mut BytesMut) -> Result<(), Report> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        match format {
            Format::Text => self.text(row, out)?,
            Format::Binary => self.binary(row, out)?,
        }
        let length = i32::try_from(out.len() - start - 4).map_err(|_| {
            Report::new(SqlState::STATEMENT_TOO_COMPLEX, "value is too large for a message")
        })?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Appends the text of a cell that is not NULL.
    ///
    /// # Errors
    /// As [`Column::put`].
    pub(crate) fn text(&self, row: usize, out: &mut BytesMut) -> Result<(), Report> {
        match &self.values {
            Values::Null => {}
            Values::Boolean(array) => out.put_u8(if array.value(row) { b't' } else { b'f' }),
            Values::Int16(array) => number::integer(array.value(row), out),
            Values::Int32(array) => number::integer(array.value(row), out),
            Values::Int64(array) => number::integer(array.value(row), out),
            Values::Oid(array) => number::integer(array.value(row), out),
            Values::Float32(array) => number::real(array.value(row), out),
            Values::Float64(array) => number::double(array.value(row), out),
            Values::Decimal128(array, scale) => number::decimal(array.value(row), *scale, out),
            Values::Decimal256(array, scale) => number::wide_decimal(array.value(row), *scale, out),
            Values::Text(array) => out.put_slice(array.value(row).as_bytes()),
            Values::TextView(array) => out.put_slice(array.value(row).as_bytes()),
            Values::Bytes(array) => text::hex(array.value(row), out),
            Values::BytesView(array) => text::hex(array.value(row), out),
            Values::Jsonb(array) => text::jsonb(array.value(row), out),
            Values::Uuid(array) => text::uuid(array.value(row), out),
            Values::Date(array) => time::date(array.value(row), out),
            Values::Time(array) => time::time(array.value(row), out),
            Values::Timestamp(array) => time::timestamp(array.value(row), out),
            Values::TimestampTz(array, zone) => time::timestamptz(array.value(row), *zone, out),
            Values::Interval(array) => time::interval(array.value(row), out),
            Values::List(list) => list.text(row, out)?,
            Values::Record(record) => record.text(row, out)?,
        }
        Ok(())
    }

    /// Appends the binary form of a cell that is not NULL.
    fn binary(&self, row: usize, out: &mut BytesMut) -> Result<(), Report> {
        match &self.values {
            Values::Null => {}
            Values::Boolean(array) => out.put_u8(u8::from(array.value(row))),
            Values::Int16(array) => out.put_i16(array.value(row)),
            Values::Int32(array) => out.put_i32(array.value(row)),
            Values::Int64(array) => out.put_i64(array.value(row)),
            Values::Oid(array) => out.put_u32(array.value(row)),
            Values::Float32(array) => out.put_f32(array.value(row)),
            Values::Float64(array) => out.put_f64(array.value(row)),
            Values::Decimal128(array, scale) => {
                number::decimal_binary(array.value(row), *scale, out);
            }
            Values::Decimal256(array, scale) => {
                number::wide_decimal_binary(array.value(row), *scale, out);
            }
            Values::Text(array) => out.put_slice(array.value(row).as_bytes()),
            Values::TextView(array) => out.put_slice(array.value(row).as_bytes()),
            Values::Bytes(array) => out.put_slice(array.value(row)),
            Values::BytesView(array) => out.put_slice(array.value(row)),
            Values::Jsonb(array) => {
                // The version of the form.
                out.put_u8(1);
                text::jsonb(array.value(row), out);
            }
            Values::Uuid(array) => out.put_slice(array.value(row)),
            Values::Date(array) => time::date_binary(array.value(row), out)?,
            Values::Time(array) => out.put_i64(array.value(row)),
            Values::Timestamp(array) | Values::TimestampTz(array, _) => {
                time::timestamp_binary(array.value(row), out)?;
            }
            Values::Interval(array) => time::interval_binary(array.value(row), out),
            Values::List(list) => list.binary(row, out)?,
            Values::Record(record) => record.binary(row, out)?,
        }
        Ok(())
    }
}

/// The form to cast to first; None if the array has one already.
fn plain(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::LargeUtf8 => DataType::Utf8View,
        DataType::FixedSizeBinary(16) => return None,
        DataType::FixedSizeBinary(_) => DataType::BinaryView,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => return None,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Interval(IntervalUnit::MonthDayNano) => return None,
        DataType::Interval(_) | DataType::Duration(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            DataType::List(field.clone())
        }
        DataType::Dictionary(_, value) => plain(value).unwrap_or_else(|| value.as_ref().clone()),
        _ => return None,
    })
}

fn cast(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Report> {
    // A value that does not fit must not become NULL.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, wanted, &options).map_err(|error| {
        Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range")
            .detail(error.to_string())
    })
}

fn values(array: &ArrayRef, zone: Zone) -> Result<Values, Report> {
    Ok(match array.data_type() {
        DataType::Null => Values::Null,
        DataType::Boolean => Values::Boolean(array.as_boolean().clone()),
        DataType::Int16 => Values::Int16(array.as_primitive().clone()),
        DataType::Int32 => Values::Int32(array.as_primitive().clone()),
        DataType::Int64 => Values::Int64(array.as_primitive().clone()),
        DataType::UInt32 => Values::Oid(array.as_primitive().clone()),
        DataType::Float32 => Values::Float32(array.as_primitive().clone()),
        DataType::Float64 => Values::Float64(array.as_primitive().clone()),
        DataType::Decimal128(_, scale) => Values::Decimal128(
            array.as_primitive::<Decimal128Type>().clone(),
            Scale { digits: *scale, trim: false },
        ),
        DataType::Decimal256(precision, scale) => Values::Decimal256(
            array.as_primitive::<Decimal256Type>().clone(),
            Scale {
                digits: *scale,
                trim: (*precision, *scale) == (NUMERIC_PRECISION, NUMERIC_SCALE),
            },
        ),
        DataType::Utf8 => Values::Text(array.as_string().clone()),
        DataType::Utf8View => Values::TextView(array.as_string_view().clone()),
        DataType::Binary => Values::Bytes(array.as_binary().clone()),
        DataType::BinaryView => Values::BytesView(array.as_binary_view().clone()),
        DataType::LargeBinary => Values::Jsonb(array.as_binary().clone()),
        DataType::FixedSizeBinary(_) => Values::Uuid(array.as_fixed_size_binary().clone()),
        DataType::Date32 => Values::Date(array.as_primitive().clone()),
        DataType::Time64(TimeUnit::Microsecond) => Values::Time(array.as_primitive().clone()),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            Values::Timestamp(array.as_primitive().clone())
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            Values::TimestampTz(array.as_primitive().clone(), zone)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            Values::Interval(array.as_primitive().clone())
        }
        DataType::List(_) => Values::List(nested::List::new(array.as_list(), zone)?),
        DataType::Struct(_) => Values::Record(nested::Record::new(array.as_struct(), zone)?),
        _ => Values::Text(displayed(array)?),
    })
}

/// Arrow's own text, for types that SQL does not have.
fn displayed(array: &ArrayRef) -> Result<StringArray, Report> {
    let failed =
        |error: arrow::error::ArrowError| Report::new(SqlState::INTERNAL_ERROR, error.to_string());
    let formatter =
        ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default()).map_err(failed)?;
    (0..array.len())
        .map(|row| formatter.value(row).try_to_string().map(Some))
        .collect::<Result<_, _>>()
        .map_err(failed)
}

#[cfg(test)]
mod tests;
