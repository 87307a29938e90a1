//! The index of a run: for each block where it is, how many rows it has, its first and last key and
//! the least and greatest value of every column. It is small, is read when a table is attached, and
//! stays in memory. Rows in memory that take part in merges have the same index.
//!
//! Invariants: 1. a bound that is there is at or beyond every value of the block: floats count both
//! zeros as equal, long texts and types without an order have no bound. 2. a missing bound (NULL)
//! says nothing. Both tested below.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNumericType, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray,
    RecordBatch, StringArray, UInt64Array, downcast_primitive_array, new_empty_array,
    new_null_array,
};
use arrow::compute::kernels::aggregate::{
    max, max_boolean, max_string, min, min_boolean, min_string,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Decimal256Type, Float32Type, Float64Type, i256};

use crate::block::{BLOCK_ROWS, Encoder, Piece, decode_batch};
use crate::codec::{Decoded, Reader, Writer};
use crate::error::Result;
use crate::layout::{Layout, row_count};

const VERSION: u8 = 1;
const TEXT_BYTES_MAX: usize = 64;

/// Where a block is and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) crc: u32,
    pub(crate) rows: u32,
    pub(crate) tombstones: u32,
}

/// The index of a run or of sorted rows in memory. Each array has one element a block.
#[derive(Debug)]
pub(crate) struct BlockIndex {
    pub(crate) blocks: Vec<BlockEntry>,
    /// First keys, by key column.
    pub(crate) first: Vec<ArrayRef>,
    /// Last keys, by key column.
    pub(crate) last: Vec<ArrayRef>,
    /// Least values, by column.
    pub(crate) min: Vec<ArrayRef>,
    /// Greatest values, by column.
    pub(crate) max: Vec<ArrayRef>,
    /// Some key has a NULL.
    pub(crate) null_keys: bool,
}

impl BlockIndex {
    pub(crate) fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.rows)).sum()
    }

    /// The index of rows that stay in memory, cut into blocks.
    pub(crate) fn of_memory(layout: &Layout, piece: &Piece) -> Result<BlockIndex> {
        let mut builder = IndexBuilder::default();
        for start in (0..piece.len()).step_by(BLOCK_ROWS) {
            let block = piece.slice(start, BLOCK_ROWS.min(piece.len() - start));
            let rows = u32::try_from(block.len()).expect("a block is small");
            let tombstones = u32::try_from(block.tombstones()).expect("at most its rows");
            let entry = BlockEntry { rows, tombstones, ..Default::default() };
            builder.add(Bounds::of(layout, &block)?, entry);
        }
        builder.finish(layout)
    }

    pub(crate) fn encode(&self, layout: &Layout, encoder: &Encoder) -> Result<Vec<u8>> {
        let mut writer = Writer::new(VERSION);
        writer.u64(u64::from(layout.fingerprint));
        writer.bool(self.null_keys);
        writer.u64(self.blocks.len() as u64);
        for block in &self.blocks {
            writer.u64(block.offset);
            for number in [block.length, block.crc, block.rows, block.tombstones] {
                writer.u64(u64::from(number));
            }
        }
        let columns = [&self.first, &self.last, &self.min, &self.max];
        let columns = columns.into_iter().flatten().cloned().collect();
        let options = row_count(self.blocks.len());
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&layout.index), columns, &options)?;
        let mut bytes = Vec::new();
        encoder.batch(&batch, &mut bytes)?;
        writer.bytes(&bytes);
        Ok(writer.finish())
    }

    /// The blocks of a stored index, whatever the table's columns.
    pub(crate) fn blocks_of(bytes: &[u8]) -> Decoded<Vec<BlockEntry>> {
        let mut reader = Reader::open(bytes, VERSION)?;
        reader.u32()?;
        reader.bool()?;
        (0..reader.count()?).map(|_| entry(&mut reader)).collect()
    }

    pub(crate) fn decode(bytes: &[u8], layout: &Layout) -> std::result::Result<BlockIndex, String> {
        let mut reader = Reader::open(bytes, VERSION)?;
        if reader.u32()? != layout.fingerprint {
            return Err("the run's columns are not those of the table".into());
        }
        let null_keys = reader.bool()?;
        let blocks: Vec<BlockEntry> =
            (0..reader.count()?).map(|_| entry(&mut reader)).collect::<Decoded<_>>()?;
        let batch = decode_batch(reader.bytes()?.to_vec(), &layout.index, None)?;
        reader.finish()?;
        if batch.num_rows() != blocks.len() {
            return Err("the run's index has another number of blocks".into());
        }
        let mut columns = batch.columns().iter().cloned();
        let mut next = |count: usize| columns.by_ref().take(count).collect::<Vec<_>>();
        let (keys, all) = (layout.sort.len(), layout.stored.fields().len());
        let (first, last, min, max) = (next(keys), next(keys), next(all), next(all));
        Ok(BlockIndex { blocks, first, last, min, max, null_keys })
    }
}

fn entry(reader: &mut Reader<'_>) -> Decoded<BlockEntry> {
    Ok(BlockEntry {
        offset: reader.u64()?,
        length: reader.u32()?,
        crc: reader.u32()?,
        rows: reader.u32()?,
        tombstones: reader.u32()?,
    })
}

/// What the index says of one block's rows.
pub(crate) struct Bounds {
    /// Arrays of one row in the order of the index: first, last, min, max.
    columns: Vec<ArrayRef>,
    null_keys: bool,
}

impl Bounds {
    pub(crate) fn of(layout: &Layout, piece: &Piece) -> Result<Bounds> {
        let rows = &piece.rows;
        let keys = || layout.sort.iter().map(|column| rows.column(*column));
        let null_keys = keys().any(|column| column.null_count() > 0);
        let end = rows.num_rows() - 1;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(layout.index.fields().len());
        for row in [0, end] {
            for column in keys() {
                // A slice would keep the whole block in memory.
                let row = UInt64Array::from(vec![row as u64]);
                columns.push(take(column, &row, None)?);
            }
        }
        let bounds: Vec<_> = rows.columns().iter().map(bounds_of).collect();
        columns.extend(bounds.iter().map(|(least, _)| Arc::clone(least)));
        columns.extend(bounds.into_iter().map(|(_, greatest)| greatest));
        Ok(Bounds { columns, null_keys })
    }
}

/// Collects the index of blocks as they are written.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    blocks: Vec<BlockEntry>,
    bounds: Vec<Vec<ArrayRef>>,
    null_keys: bool,
}

impl IndexBuilder {
    pub(crate) fn add(&mut self, bounds: Bounds, entry: BlockEntry) {
        self.null_keys |= bounds.null_keys;
        self.bounds.push(bounds.columns);
        self.blocks.push(entry);
    }

    pub(crate) fn finish(self, layout: &Layout) -> Result<BlockIndex> {
        let (keys, all) = (layout.sort.len(), layout.stored.fields().len());
        let mut columns = Vec::with_capacity(layout.index.fields().len());
        for (n, field) in layout.index.fields().iter().enumerate() {
            let parts: Vec<&dyn Array> = self.bounds.iter().map(|b| b[n].as_ref()).collect();
            columns.push(match parts.is_empty() {
                true => new_empty_array(field.data_type()),
                false => concat(&parts)?,
            });
        }
        let mut columns = columns.into_iter();
        let mut next = |count: usize| columns.by_ref().take(count).collect::<Vec<_>>();
        let (first, last, min, max) = (next(keys), next(keys), next(all), next(all));
        Ok(BlockIndex { blocks: self.blocks, first, last, min, max, null_keys: self.null_keys })
    }
}

/// The least and greatest value of a column as arrays of one row, NULL where unknown.
fn bounds_of(column: &ArrayRef) -> (ArrayRef, ArrayRef) {
    match column.data_type() {
        DataType::Float32 => float_bounds::<Float32Type>(column, 0.0),
        DataType::Float64 => float_bounds::<Float64Type>(column, 0.0),
        DataType::Interval(_) => unknown(column),
        DataType::Decimal256(..) if column.null_count() == 0 => wide_bounds(column.as_primitive()),
        DataType::Boolean => {
            let column = column.as_boolean();
            let one = |value| Arc::new(BooleanArray::from(vec![value])) as ArrayRef;
            (one(min_boolean(column)), one(max_boolean(column)))
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            let one = |value| Arc::new(StringArray::from(vec![value])) as ArrayRef;
            let short = |value: &&str| value.len() <= TEXT_BYTES_MAX;
            (one(min_string(column).filter(short)), one(max_string(column).filter(short)))
        }
        _ => {
            let array: &dyn Array = column.as_ref();
            downcast_primitive_array!(
                array => (one(array, min(array)), one(array, max(array))),
                _ => unknown(column)
            )
        }
    }
}

fn unknown(column: &ArrayRef) -> (ArrayRef, ArrayRef) {
    let null = new_null_array(column.data_type(), 1);
    (Arc::clone(&null), null)
}

fn one<T: ArrowPrimitiveType>(like: &PrimitiveArray<T>, value: Option<T::Native>) -> ArrayRef {
    let array = PrimitiveArray::<T>::from_iter([value]);
    Arc::new(array.with_data_type(like.data_type().clone()))
}

/// Mostly the values fit 128 bits, which compare much faster.
fn wide_bounds(column: &PrimitiveArray<Decimal256Type>) -> (ArrayRef, ArrayRef) {
    let (mut least, mut greatest) = (i128::MAX, i128::MIN);
    let mut fits = !column.is_empty();
    for value in column.values() {
        let (low, high) = value.to_parts();
        let low = low.cast_signed();
        fits &= high == low >> 127;
        (least, greatest) = (least.min(low), greatest.max(low));
    }
    match fits {
        true => (
            one(column, Some(i256::from_i128(least))),
            one(column, Some(i256::from_i128(greatest))),
        ),
        false => (one(column, min(column)), one(column, max(column))),
    }
}

/// SQL takes both zeros as equal, the order of the bits does not: a zero bound becomes the outer
/// one of the two.
fn float_bounds<T>(column: &ArrayRef, zero: T::Native) -> (ArrayRef, ArrayRef)
where
    T: ArrowNumericType,
    T::Native: std::ops::Neg<Output = T::Native>,
{
    let column = column.as_primitive::<T>();
    let outer = |value: Option<T::Native>, outer| {
        value.map(|value| if value == zero || value == -zero { outer } else { value })
    };
    (one(column, outer(min(column), -zero)), one(column, outer(max(column), zero)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal256Array, Float64Array, Int32Array};

    use super::*;

    #[test]
    fn bounds_enclose_both_zeros_and_skip_long_texts() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let (least, greatest) = bounds_of(&column);
        let bits = |array: &ArrayRef| array.as_primitive::<Float64Type>().value(0).to_bits();
        assert_eq!((bits(&least), bits(&greatest)), ((-0.0f64).to_bits(), 0.0f64.to_bits()));
        let long = "z".repeat(TEXT_BYTES_MAX + 1);
        let column: ArrayRef = Arc::new(StringArray::from(vec!["a", &long]));
        let (least, greatest) = bounds_of(&column);
        assert_eq!(least.as_string::<i32>().value(0), "a");
        assert!(greatest.is_null(0));
        for values in [vec![-3, i128::MIN, 7], vec![i128::MAX, 0, -1]] {
            for factor in [1, 5] {
                let values = values.iter().map(|v| i256::from_i128(*v) * i256::from_i128(factor));
                let values: Vec<i256> = values.collect();
                let column: ArrayRef = Arc::new(Decimal256Array::from(values.clone()));
                let (least, greatest) = bounds_of(&column);
                let value = |array: &ArrayRef| array.as_primitive::<Decimal256Type>().value(0);
                assert_eq!(Some(&value(&least)), values.iter().min());
                assert_eq!(Some(&value(&greatest)), values.iter().max());
            }
        }
        let column: ArrayRef = Arc::new(Int32Array::from(vec![None::<i32>, None]));
        assert!(bounds_of(&column).0.is_null(0));
    }
}
