//! Integers and decimals in fewer bytes: a block stores such a column in the width that its values
//! need.
//!
//! Numeric is 256 bits wide everywhere else; most sums and averages fit 64 or 128, most counts a
//! byte, and what is not there need not be compressed, written and read.

#![allow(clippy::cast_possible_truncation, reason = "columns are cut only where all values fit")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal64Type, Decimal128Type, Decimal256Type, Field, Int8Type,
    Int16Type, Int32Type, Int64Type, Schema, SchemaRef, i256,
};
use arrow::error::ArrowError;

use crate::layout::row_count;

/// A column that is stored in another width than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Narrow {
    /// Its place in the batch.
    pub(crate) column: u16,
    /// Bytes of a stored value: 8 or 16 of a decimal, 1, 2 or 4 of an integer.
    pub(crate) width: u16,
}

/// The batch with its columns in the widths that they need, and which these are.
pub(crate) fn narrow(batch: &RecordBatch) -> Result<(RecordBatch, Vec<Narrow>), ArrowError> {
    let mut found = Vec::new();
    let mut columns = batch.columns().to_vec();
    for (place, column) in (0u16..).zip(&mut columns) {
        if let Some((narrowed, width)) = narrowed(column) {
            *column = narrowed;
            found.push(Narrow { column: place, width });
        }
    }
    if found.is_empty() {
        return Ok((batch.clone(), found));
    }
    let schema = narrow_schema(batch.schema_ref(), &found)?;
    let batch = RecordBatch::try_new_with_options(schema, columns, &row_count(batch.num_rows()))?;
    Ok((batch, found))
}

/// The schema of a batch whose columns were narrowed.
///
/// # Errors
/// A column that is not there or cannot be narrow, or a width that is none.
pub(crate) fn narrow_schema(
    schema: &SchemaRef,
    narrow: &[Narrow],
) -> Result<SchemaRef, ArrowError> {
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    for Narrow { column, width } in narrow {
        let wrong = || ArrowError::SchemaError(format!("column {column} is not of {width} bytes"));
        let field = fields.get_mut(usize::from(*column)).ok_or_else(wrong)?;
        let data_type = narrow_type(field.data_type(), *width).ok_or_else(wrong)?;
        *field = Arc::new(Field::new(field.name(), data_type, field.is_nullable()));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A decoded batch in the types of its table.
pub(crate) fn widen(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| widened(column, field.data_type())).collect();
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &row_count(batch.num_rows()))
}

/// The type in which a column of another type is stored with so many bytes a value.
fn narrow_type(data_type: &DataType, width: u16) -> Option<DataType> {
    match (data_type, width) {
        (DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale), 8) => {
            Some(DataType::Decimal64(18, *scale))
        }
        (DataType::Decimal256(_, scale), 16) => Some(DataType::Decimal128(38, *scale)),
        (DataType::Int64, 1) => Some(DataType::Int8),
        (DataType::Int64, 2) => Some(DataType::Int16),
        (DataType::Int64, 4) => Some(DataType::Int32),
        _ => None,
    }
}

/// Bytes that all of some values fit into.
fn width(bits: u32) -> u16 {
    match bits {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        33..=64 => 8,
        _ => 16,
    }
}

/// Bits that a value needs, and all those that were folded in before.
fn fold_bits(bits: u64, value: i64) -> u64 {
    // A negative number needs as many bits as the number that its complement is.
    bits | (value ^ (value >> 63)).cast_unsigned()
}

/// The column in fewer bytes, and how many; None if its values need all that they have.
fn narrowed(column: &ArrayRef) -> Option<(ArrayRef, u16)> {
    let to = |width: u16| narrow_type(column.data_type(), width).map(|narrow| (narrow, width));
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            let bits = values.values().iter().fold(0, |bits, value| fold_bits(bits, *value));
            // One bit is the sign.
            let (narrow, width) = to(width(u64::BITS - bits.leading_zeros() + 1))?;
            Some(match width {
                1 => (mapped::<_, Int8Type>(values, &narrow, |v| v as i8), width),
                2 => (mapped::<_, Int16Type>(values, &narrow, |v| v as i16), width),
                _ => (mapped::<_, Int32Type>(values, &narrow, |v| v as i32), width),
            })
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>();
            let fits = values.values().iter().all(|value| i64::try_from(*value).is_ok());
            let (narrow, width) = to(8).filter(|_| fits)?;
            Some((mapped::<_, Decimal64Type>(values, &narrow, |v| v as i64), width))
        }
        DataType::Decimal256(..) => {
            let values = column.as_primitive::<Decimal256Type>();
            let (mut small, mut middle) = (true, true);
            for value in values.values() {
                let (low, high) = value.to_parts();
                let low = low.cast_signed();
                middle &= high == low >> 127;
                small &= i128::from(low as i64) == low;
            }
            let (narrow, width) = to(if small { 8 } else { 16 }).filter(|_| middle)?;
            let low = |value: i256| value.to_parts().0.cast_signed();
            Some(match small {
                true => (mapped::<_, Decimal64Type>(values, &narrow, |v| low(v) as i64), width),
                false => (mapped::<_, Decimal128Type>(values, &narrow, low), width),
            })
        }
        _ => None,
    }
}

fn widened(column: &ArrayRef, to: &DataType) -> ArrayRef {
    match (column.data_type(), to) {
        (DataType::Int8, DataType::Int64) => {
            mapped::<_, Int64Type>(column.as_primitive::<Int8Type>(), to, i64::from)
        }
        (DataType::Int16, DataType::Int64) => {
            mapped::<_, Int64Type>(column.as_primitive::<Int16Type>(), to, i64::from)
        }
        (DataType::Int32, DataType::Int64) => {
            mapped::<_, Int64Type>(column.as_primitive::<Int32Type>(), to, i64::from)
        }
        (DataType::Decimal64(..), DataType::Decimal128(..)) => {
            mapped::<_, Decimal128Type>(column.as_primitive::<Decimal64Type>(), to, i128::from)
        }
        (DataType::Decimal64(..), DataType::Decimal256(..)) => {
            let wide = |value| i256::from_i128(i128::from(value));
            mapped::<_, Decimal256Type>(column.as_primitive::<Decimal64Type>(), to, wide)
        }
        (DataType::Decimal128(..), DataType::Decimal256(..)) => {
            let values = column.as_primitive::<Decimal128Type>();
            mapped::<_, Decimal256Type>(values, to, i256::from_i128)
        }
        _ => Arc::clone(column),
    }
}

fn mapped<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    values: &PrimitiveArray<A>,
    data_type: &DataType,
    map: impl Fn(A::Native) -> B::Native,
) -> ArrayRef {
    let mapped: ScalarBuffer<B::Native> = values.values().iter().map(|v| map(*v)).collect();
    let array = PrimitiveArray::<B>::new(mapped, values.nulls().cloned());
    Arc::new(array.with_data_type(data_type.clone()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Decimal256Array, Int64Array};

    use super::*;
    use crate::block::{Encoder, decode_batch};

    fn wide(values: Vec<Option<i256>>) -> ArrayRef {
        Arc::new(Decimal256Array::from(values).with_precision_and_scale(76, 20).unwrap())
    }

    #[test]
    fn decimals_come_back_from_the_width_that_they_need() {
        let of = |value: i128| Some(i256::from_i128(value));
        let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let middle = Decimal128Array::from(vec![Some(i128::MAX), Some(i128::MIN), None]);
        let narrow_middle = Decimal128Array::from(vec![Some(least), Some(most), None]);
        let columns: Vec<ArrayRef> = vec![
            wide(vec![of(least), of(most), None]),
            wide(vec![of(least - 1), of(1), of(-1)]),
            wide(vec![of(most + 1), None, of(0)]),
            wide(vec![of(i128::MIN), of(i128::MAX), of(-1)]),
            wide(vec![Some(i256::from_i128(i128::MAX) + i256::ONE), of(1), of(2)]),
            wide(vec![Some(i256::MIN), Some(i256::MAX), None]),
            Arc::new(Int64Array::from(vec![Some(-128), Some(127), None])),
            Arc::new(Int64Array::from(vec![128, 0, 0])),
            Arc::new(Int64Array::from(vec![-32768, 32767, 0])),
            Arc::new(Int64Array::from(vec![-32769, 0, 0])),
            Arc::new(Int64Array::from(vec![i64::from(i32::MIN), i64::from(i32::MAX), 0])),
            Arc::new(Int64Array::from(vec![1 << 31, 0, 0])),
            Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0])),
            Arc::new(middle.with_precision_and_scale(38, 2).unwrap()),
            Arc::new(narrow_middle.with_precision_and_scale(20, 0).unwrap()),
        ];
        let field =
            |(n, c): (usize, &ArrayRef)| Field::new(format!("c{n}"), c.data_type().clone(), true);
        let schema =
            Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let widths = |batch: &RecordBatch| -> Vec<(u16, u16)> {
            narrow(batch).unwrap().1.iter().map(|n| (n.column, n.width)).collect()
        };
        let decimals = [(0, 8), (1, 16), (2, 16), (3, 16)];
        let integers = [(6, 1), (7, 2), (8, 2), (9, 4), (10, 4)];
        assert_eq!(widths(&batch), [&decimals[..], &integers, &[(14, 8)]].concat());
        let mut bytes = Vec::new();
        Encoder::new().unwrap().batch(&batch, &mut bytes).unwrap();
        assert_eq!(decode_batch(bytes.clone(), &schema, None).unwrap(), batch);
        let some = [1, 4, 8];
        let found = decode_batch(bytes, &schema, Some(&some)).unwrap();
        assert_eq!(found, batch.project(&some).unwrap());
    }
}
