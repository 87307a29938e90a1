//! One column of rows that are being decoded.
//!
//! Values are kept in plain vectors and not in Arrow's builders, because a bad message takes back
//! what it has already written: every column can be cut to a length. The vectors become the
//! buffers of the Arrow array without a copy.
//!
//! Invariant: the lane and the validity always have the same length.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray,
    LargeBinaryArray, ListArray, NullBufferBuilder, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, FieldRef, Fields, Float32Type,
    Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, i256,
};
use arrow::error::ArrowError;
use millrace_types::json::{self, Cursor, Token, unescape};
use millrace_types::{SqlType, input};

use super::Failure;
use super::number::{self, Misfit};
use super::time;

/// How much of a value an error shows.
const SHOWN_MAX: usize = 64;

/// The values of a column.
enum Lane {
    Boolean(Vec<bool>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128(Vec<i128>, u8, i8),
    Decimal256(Vec<i256>, u8, i8),
    Text(Bytes),
    Binary(Bytes),
    Jsonb(Bytes),
    Uuid(Vec<[u8; 16]>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    TimestampTz(Vec<i64>),
    Interval(Vec<IntervalMonthDayNano>),
    List(Vec<i32>, FieldRef, Box<Column>),
    Struct(usize, Fields, Vec<Column>),
}

/// Strings of bytes one after the other; `ends[i]` is where string `i` ends.
#[derive(Default)]
struct Bytes {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Bytes {
    fn push(&mut self, value: &[u8]) -> Result<(), Misfit> {
        let end = i32::try_from(self.bytes.len() + value.len()).map_err(|_| Misfit::Range)?;
        self.bytes.extend_from_slice(value);
        self.ends.push(end);
        Ok(())
    }

    fn push_empty(&mut self) {
        self.ends.push(self.ends.last().copied().unwrap_or(0));
    }

    fn truncate(&mut self, length: usize) {
        self.ends.truncate(length);
        let end = self.ends.last().copied().unwrap_or(0);
        self.bytes.truncate(usize::try_from(end).unwrap_or(0));
    }

    /// Offsets and bytes as Arrow keeps them.
    fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes.reserve(bytes.len());
        (offsets(&mut self.ends), Buffer::from_vec(bytes))
    }
}

/// The ends of all values with the leading zero that Arrow wants; ready for the next rows.
fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    OffsetBuffer::new(offsets.into())
}

/// A column that grows row by row.
pub(super) struct Column {
    data_type: DataType,
    nullable: bool,
    lane: Lane,
    nulls: NullBufferBuilder,
}

impl Column {
    /// An empty column; None if no JSON value fits the type.
    pub(super) fn new(field: &Field) -> Option<Column> {
        let lane = match field.data_type() {
            DataType::Boolean => Lane::Boolean(Vec::new()),
            DataType::Int16 => Lane::Int16(Vec::new()),
            DataType::Int32 => Lane::Int32(Vec::new()),
            DataType::Int64 => Lane::Int64(Vec::new()),
            DataType::Float32 => Lane::Float32(Vec::new()),
            DataType::Float64 => Lane::Float64(Vec::new()),
            DataType::Decimal128(p, s) => Lane::Decimal128(Vec::new(), *p, *s),
            DataType::Decimal256(p, s) => Lane::Decimal256(Vec::new(), *p, *s),
            DataType::Utf8 => Lane::Text(Bytes::default()),
            DataType::Binary => Lane::Binary(Bytes::default()),
            DataType::LargeBinary => Lane::Jsonb(Bytes::default()),
            DataType::FixedSizeBinary(16) => Lane::Uuid(Vec::new()),
            DataType::Date32 => Lane::Date(Vec::new()),
            DataType::Time64(TimeUnit::Microsecond) => Lane::Time(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Lane::Timestamp(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Lane::TimestampTz(Vec::new()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Lane::Interval(Vec::new()),
            DataType::List(element) => {
                let child = Column::new(element)?;
                Lane::List(Vec::new(), element.clone(), Box::new(child))
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|field| Column::new(field));
                Lane::Struct(0, fields.clone(), columns.collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Column {
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            lane,
            nulls: NullBufferBuilder::new(0),
        })
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// True if the value at a place is NULL.
    pub(super) fn is_null(&self, at: usize) -> bool {
        !self.nulls.is_valid(at)
    }

    /// Takes back all values from `length` on.
    pub(super) fn truncate(&mut self, length: usize) {
        if self.nulls.len() > length {
            self.nulls.truncate(length);
        }
        match &mut self.lane {
            Lane::Boolean(values) => values.truncate(length),
            Lane::Int16(values) => values.truncate(length),
            Lane::Int32(values) | Lane::Date(values) => values.truncate(length),
            Lane::Int64(values)
            | Lane::Time(values)
            | Lane::Timestamp(values)
            | Lane::TimestampTz(values) => values.truncate(length),
            Lane::Float32(values) => values.truncate(length),
            Lane::Float64(values) => values.truncate(length),
            Lane::Decimal128(values, _, _) => values.truncate(length),
            Lane::Decimal256(values, _, _) => values.truncate(length),
            Lane::Text(values) | Lane::Binary(values) | Lane::Jsonb(values) => {
                values.truncate(length);
            }
            Lane::Uuid(values) => values.truncate(length),
            Lane::Interval(values) => values.truncate(length),
            Lane::List(ends, _, child) => {
                ends.truncate(length);
                child.truncate(usize::try_from(ends.last().copied().unwrap_or(0)).unwrap_or(0));
            }
            Lane::Struct(rows, _, columns) => {
                *rows = length.min(*rows);
                columns.iter_mut().for_each(|column| column.truncate(length));
            }
        }
    }

    pub(super) fn push_null(&mut self) -> Result<(), Failure> {
        if !self.nullable {
            return Err(Failure::Null);
        }
        self.nulls.append_null();
        match &mut self.lane {
            Lane::Boolean(values) => values.push(false),
            Lane::Int16(values) => values.push(0),
            Lane::Int32(values) | Lane::Date(values) => values.push(0),
            Lane::Int64(values)
            | Lane::Time(values)
            | Lane::Timestamp(values)
            | Lane::TimestampTz(values) => values.push(0),
            Lane::Float32(values) => values.push(0.0),
            Lane::Float64(values) => values.push(0.0),
            Lane::Decimal128(values, _, _) => values.push(0),
            Lane::Decimal256(values, _, _) => values.push(i256::ZERO),
            Lane::Text(values) | Lane::Binary(values) | Lane::Jsonb(values) => values.push_empty(),
            Lane::Uuid(values) => values.push([0; 16]),
            Lane::Interval(values) => values.push(IntervalMonthDayNano::ZERO),
            Lane::List(ends, _, _) => ends.push(ends.last().copied().unwrap_or(0)),
            Lane::Struct(rows, _, columns) => {
                *rows += 1;
                columns.iter_mut().try_for_each(Column::push_null)?;
            }
        }
        Ok(())
    }

    /// Reads the value that begins at the cursor.
    #[inline]
    pub(super) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        scratch: &mut String,
    ) -> Result<(), Failure> {
        if cursor.take_null()? {
            return self.push_null();
        }
        if let Lane::List(ends, _, child) = &mut self.lane
            && cursor.peek() == Some(b'[')
        {
            read_list(ends, child, cursor, scratch)?;
            self.nulls.append_non_null();
            return Ok(());
        }
        if let Lane::Struct(rows, fields, columns) = &mut self.lane
            && cursor.peek() == Some(b'{')
        {
            read_members(*rows, fields, columns, cursor, scratch)?;
            *rows += 1;
            self.nulls.append_non_null();
            return Ok(());
        }
        let token = cursor.token(scratch)?;
        self.push(token).map_err(|misfit| self.refuse(token, misfit))
    }

    #[inline]
    fn push(&mut self, token: Token<'_>) -> Result<(), Misfit> {
        match &mut self.lane {
            Lane::Int64(values) => values.push(number::integer(token)?),
            Lane::Float64(values) => values.push(number::double(token)?),
            Lane::Int16(values) => {
                values.push(number::integer(token)?.try_into().map_err(|_| Misfit::Range)?);
            }
            Lane::Int32(values) => {
                values.push(number::integer(token)?.try_into().map_err(|_| Misfit::Range)?);
            }
            Lane::Float32(values) => values.push(number::real(token)?),
            Lane::Boolean(values) => values.push(number::boolean(token)?),
            Lane::Decimal128(values, p, s) => {
                values.push(number::numeric(token, *p, *s)?.to_i128().ok_or(Misfit::Overflow)?);
            }
            Lane::Decimal256(values, p, s) => values.push(number::numeric(token, *p, *s)?),
            Lane::Text(values) => {
                // PostgreSQL's text cannot hold it, and clients would be cut short by it.
                if token.text().contains('\0') {
                    return Err(Misfit::Syntax);
                }
                values.push(token.text().as_bytes())?;
            }
            Lane::Binary(values) => values.push(&bytea(token.text()).ok_or(Misfit::Syntax)?)?,
            Lane::Jsonb(values) => {
                let mut bytes = Vec::new();
                json::encode_token(token, &mut bytes).map_err(|_| Misfit::Syntax)?;
                values.push(&bytes)?;
            }
            Lane::Uuid(values) => {
                values.push(input::uuid(token.text()).map_err(|_| Misfit::Syntax)?)
            }
            Lane::Date(values) => values.push(moment(token, time::date)?),
            Lane::Time(values) => values.push(moment(token, time::time)?),
            Lane::Timestamp(values) => values.push(moment(token, time::timestamp)?),
            Lane::TimestampTz(values) => values.push(moment(token, time::timestamptz)?),
            Lane::Interval(values) => {
                values.push(input::interval(token.text()).map_err(|_| Misfit::Syntax)?);
            }
            Lane::List(..) | Lane::Struct(..) => return Err(Misfit::Syntax),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// PostgreSQL's words for a value that does not fit.
    fn refuse(&self, token: Token<'_>, misfit: Misfit) -> Failure {
        let name = SqlType::of_arrow(&self.data_type).map(|t| t.name()).unwrap_or_default();
        // A NUL would cut the reason short in clients.
        let text = token.text().chars().take(SHOWN_MAX);
        let text: String = text.map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
        Failure::Value(match misfit {
            Misfit::Syntax => format!("invalid input syntax for type {name}: \"{text}\""),
            Misfit::Range => format!("\"{text}\" is out of range for type {name}"),
            Misfit::Overflow => format!("numeric field overflow: \"{text}\" as {name}"),
        })
    }

    /// The rows so far as an Arrow array; the column is empty after it.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.lane {
            Lane::Boolean(values) => {
                let bits: BooleanBuffer = values.drain(..).collect();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Lane::Int16(values) => primitive::<Int16Type>(values, nulls, &self.data_type),
            Lane::Int32(values) => primitive::<Int32Type>(values, nulls, &self.data_type),
            Lane::Int64(values) => primitive::<Int64Type>(values, nulls, &self.data_type),
            Lane::Float32(values) => primitive::<Float32Type>(values, nulls, &self.data_type),
            Lane::Float64(values) => primitive::<Float64Type>(values, nulls, &self.data_type),
            Lane::Decimal128(values, _, _) => {
                primitive::<Decimal128Type>(values, nulls, &self.data_type)
            }
            Lane::Decimal256(values, _, _) => {
                primitive::<Decimal256Type>(values, nulls, &self.data_type)
            }
            Lane::Date(values) => primitive::<Date32Type>(values, nulls, &self.data_type),
            Lane::Time(values) => {
                primitive::<Time64MicrosecondType>(values, nulls, &self.data_type)
            }
            Lane::Timestamp(values) | Lane::TimestampTz(values) => {
                primitive::<TimestampMicrosecondType>(values, nulls, &self.data_type)
            }
            Lane::Interval(values) => {
                primitive::<IntervalMonthDayNanoType>(values, nulls, &self.data_type)
            }
            Lane::Text(values) => {
                let (offsets, bytes) = values.finish();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Lane::Binary(values) => {
                let (offsets, bytes) = values.finish();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Lane::Jsonb(values) => {
                let (offsets, bytes) = values.finish();
                let offsets: Vec<i64> = offsets.iter().copied().map(i64::from).collect();
                let offsets = OffsetBuffer::new(offsets.into());
                Arc::new(LargeBinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Lane::Uuid(values) => {
                let bytes: Vec<u8> = values.drain(..).flatten().collect();
                Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), nulls)?)
            }
            Lane::List(ends, element, child) => {
                let offsets = offsets(ends);
                Arc::new(ListArray::try_new(element.clone(), offsets, child.finish()?, nulls)?)
            }
            Lane::Struct(rows, fields, columns) => {
                let arrays = columns.iter_mut().map(Column::finish).collect::<Result<_, _>>()?;
                let rows = std::mem::take(rows);
                let array = StructArray::try_new_with_length(fields.clone(), arrays, nulls, rows)?;
                Arc::new(array)
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let full = std::mem::take(values);
    values.reserve(full.len());
    let array = PrimitiveArray::<T>::new(ScalarBuffer::from(full), nulls);
    Arc::new(array.with_data_type(data_type.clone()))
}

/// A date or time is written as a string; a number is not one, as in PostgreSQL.
fn moment<T>(token: Token<'_>, parse: fn(&str) -> Option<T>) -> Result<T, Misfit> {
    match token {
        Token::Text(text) => parse(text).ok_or(Misfit::Syntax),
        Token::Number(_) | Token::Boolean(_) | Token::Nested(_) => Err(Misfit::Syntax),
    }
}

fn read_list(
    ends: &mut Vec<i32>,
    child: &mut Column,
    cursor: &mut Cursor<'_>,
    scratch: &mut String,
) -> Result<(), Failure> {
    cursor.take(b'[');
    cursor.skip_space();
    if !cursor.take(b']') {
        loop {
            child.read(cursor, scratch)?;
            if !cursor.goes_on(b']')? {
                break;
            }
        }
    }
    let end = i32::try_from(child.len());
    ends.push(end.map_err(|_| Failure::Value("too many array elements".to_owned()))?);
    Ok(())
}

/// The members of an object by the names of fields; what is not there is NULL, of repeated ones the
/// last counts.
fn read_members(
    rows: usize,
    fields: &Fields,
    columns: &mut [Column],
    cursor: &mut Cursor<'_>,
    scratch: &mut String,
) -> Result<(), Failure> {
    cursor.take(b'{');
    cursor.skip_space();
    if !cursor.take(b'}') {
        loop {
            let (raw, escaped) = cursor.string()?;
            let field = match escaped {
                true => {
                    unescape(raw, scratch);
                    fields.iter().position(|field| field.name() == scratch)
                }
                false => fields.iter().position(|field| field.name() == raw),
            };
            cursor.colon()?;
            match field {
                Some(field) => {
                    columns[field].truncate(rows);
                    columns[field].read(cursor, scratch)?;
                }
                None => cursor.skip_value(0)?,
            }
            if !cursor.goes_on(b'}')? {
                break;
            }
        }
    }
    for column in columns.iter_mut().filter(|column| column.len() == rows) {
        column.push_null()?;
    }
    Ok(())
}

/// `\x` and hexadecimal digits, or text with `\\` and `\ooo`.
fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let pairs = digits.as_bytes().chunks(2);
        return pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .map(|byte| byte.filter(|_| digits.len() % 2 == 0))
            .collect();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                rest = after;
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            (b'\\', _) => return None,
            (byte, _) => out.push(*byte),
        }
    }
    Some(out)
}
