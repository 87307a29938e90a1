//! Keys of rows in a form that compares fast.
//!
//! Two forms with the same order (ascending, NULLs first): whole numbers of up to 16 bytes together
//! are packed into one `u128`; everything else is Arrow's row format. One merge uses one form for
//! all its inputs, decided by the column types and by whether any key is NULL. Neither form is ever
//! stored.
//!
//! Invariants: 1. the packed form is only used without NULLs (asserted in [`KeyCodec::encode`]).

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::row::{Row, RowConverter, Rows, SortField};

use millrace_types::last_of_each_key;

use crate::error::Result;
use crate::rank::ranked;

pub(crate) const PACKED_BITS: u32 = u128::BITS;

/// How the keys of one merge or sort are encoded.
pub(crate) enum KeyCodec {
    Packed,
    Rows(RowConverter),
}

/// Encoded keys, one a row.
pub(crate) enum Keys {
    Packed(Vec<u128>),
    Rows(Rows),
}

/// Indexed access to keys of one form.
pub(crate) trait KeyList {
    type Key<'a>: Ord + Copy
    where
        Self: 'a;
    fn key(&self, row: usize) -> Self::Key<'_>;
}

impl KeyList for Vec<u128> {
    type Key<'a> = u128;
    fn key(&self, row: usize) -> u128 {
        self[row]
    }
}

impl KeyList for Rows {
    type Key<'a> = Row<'a>;
    fn key(&self, row: usize) -> Row<'_> {
        self.row(row)
    }
}

/// The width of a type that packs.
pub(crate) fn packed_bits(data_type: &DataType) -> Option<u32> {
    match data_type {
        DataType::Int16 => Some(16),
        DataType::Int32 | DataType::Date32 => Some(32),
        DataType::Int64
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::Time64(TimeUnit::Microsecond) => Some(64),
        _ => None,
    }
}

impl KeyCodec {
    /// The codec for key columns of these types.
    pub(crate) fn new(types: &[&DataType], nulls: bool) -> Result<KeyCodec> {
        let bits: Option<u32> = types.iter().map(|data_type| packed_bits(data_type)).sum();
        if !nulls && bits.is_some_and(|bits| bits <= PACKED_BITS) {
            return Ok(KeyCodec::Packed);
        }
        let fields = types.iter().map(|data_type| SortField::new((*data_type).clone())).collect();
        Ok(KeyCodec::Rows(RowConverter::new(fields)?))
    }

    /// The codec for these key columns alone.
    pub(crate) fn for_columns(columns: &[ArrayRef]) -> Result<KeyCodec> {
        let types: Vec<&DataType> = columns.iter().map(|column| column.data_type()).collect();
        KeyCodec::new(&types, columns.iter().any(|column| column.null_count() > 0))
    }

    /// The keys of rows that are to be sorted alone: their keys compare among themselves only.
    pub(crate) fn encode_alone(columns: &[ArrayRef], rows: usize) -> Result<Keys> {
        let codec = KeyCodec::for_columns(columns)?;
        let ranked = match codec {
            KeyCodec::Packed => None,
            KeyCodec::Rows(_) => ranked(columns, rows)?,
        };
        ranked.map_or_else(|| codec.encode(columns, rows), |keys| Ok(Keys::Packed(keys)))
    }

    /// The keys of some rows.
    pub(crate) fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Keys> {
        match self {
            KeyCodec::Packed => {
                let mut keys = vec![0u128; rows];
                for column in columns {
                    assert_eq!(column.null_count(), 0, "packed keys have no NULL");
                    pack(&mut keys, column);
                }
                Ok(Keys::Packed(keys))
            }
            KeyCodec::Rows(converter) => Ok(Keys::Rows(converter.convert_columns(columns)?)),
        }
    }
}

/// Appends a column to the low end of the keys, with its sign bit turned so that it sorts.
pub(crate) fn pack(keys: &mut [u128], column: &ArrayRef) {
    let long = |value: i64| u128::from(value.cast_unsigned() ^ (1 << 63));
    let int = |value: i32| u128::from(value.cast_unsigned() ^ (1 << 31));
    macro_rules! append {
        ($type:ty, $bits:literal, $order:expr) => {
            for (key, value) in keys.iter_mut().zip(column.as_primitive::<$type>().values()) {
                *key = (*key << $bits) | $order(*value);
            }
        };
    }
    match column.data_type() {
        DataType::Int16 => {
            append!(Int16Type, 16, |value: i16| u128::from(value.cast_unsigned() ^ (1 << 15)))
        }
        DataType::Int32 => append!(Int32Type, 32, int),
        DataType::Date32 => append!(Date32Type, 32, int),
        DataType::Int64 => append!(Int64Type, 64, long),
        DataType::Timestamp(_, _) => append!(TimestampMicrosecondType, 64, long),
        DataType::Time64(_) => append!(Time64MicrosecondType, 64, long),
        other => unreachable!("{other} does not pack"),
    }
}

impl Keys {
    pub(crate) fn packed(&self) -> Option<&Vec<u128>> {
        match self {
            Keys::Packed(keys) => Some(keys),
            Keys::Rows(_) => None,
        }
    }

    pub(crate) fn rows(&self) -> Option<&Rows> {
        match self {
            Keys::Packed(_) => None,
            Keys::Rows(keys) => Some(keys),
        }
    }

    /// The first row in a range, sorted ascending, whose key is above another key.
    pub(crate) fn end_of<'a>(&'a self, rows: Range<usize>, other: &'a Keys, bound: usize) -> usize {
        match (self, other) {
            (Keys::Packed(keys), Keys::Packed(bounds)) => {
                upper_bound(keys, rows, bounds.key(bound))
            }
            (Keys::Rows(keys), Keys::Rows(bounds)) => upper_bound(keys, rows, bounds.row(bound)),
            _ => unreachable!("one merge has one form of keys"),
        }
    }

    /// Compares a key with one of another list of the same form.
    pub(crate) fn compare(&self, row: usize, other: &Keys, at: usize) -> std::cmp::Ordering {
        match (self, other) {
            (Keys::Packed(a), Keys::Packed(b)) => a[row].cmp(&b[at]),
            (Keys::Rows(a), Keys::Rows(b)) => a.row(row).cmp(&b.row(at)),
            _ => unreachable!("one merge has one form of keys"),
        }
    }

    /// The rows in the order of their keys, the last row of each key only; None when all rows are
    /// that already.
    pub(crate) fn order(&self) -> Option<Vec<u32>> {
        match self {
            Keys::Packed(keys) => {
                if keys.is_sorted_by(|a, b| a < b) {
                    return None;
                }
                Some(last_of_each_key(keys))
            }
            Keys::Rows(keys) => {
                let rows: Vec<Row<'_>> = keys.iter().collect();
                if rows.is_sorted_by(|a, b| a < b) {
                    return None;
                }
                let mut order: Vec<(Row<'_>, u32)> = rows.into_iter().zip(0..).collect();
                order.sort();
                Some(last_of_each(&order, |a, b| a.0 == b.0).map(|(_, row)| *row).collect())
            }
        }
    }
}

fn upper_bound<'a, L: KeyList>(keys: &'a L, rows: Range<usize>, bound: L::Key<'a>) -> usize {
    let (mut low, mut high) = (rows.start, rows.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if keys.key(middle) <= bound { low = middle + 1 } else { high = middle }
    }
    low
}

fn last_of_each<T>(sorted: &[T], same: impl Fn(&T, &T) -> bool) -> impl Iterator<Item = &T> {
    let next = sorted.iter().skip(1).map(Some).chain([None]);
    sorted
        .iter()
        .zip(next)
        .filter(move |(item, next)| !next.is_some_and(|n| same(item, n)))
        .map(|(item, _)| item)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int16Array, Int32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn packed_keys_order_as_arrow_rows_do() {
        let numbers = [0, 1, -1, i64::MIN, i64::MAX, 1 << 40, -(1 << 40)];
        let first: Vec<i64> = numbers.iter().flat_map(|n| [*n; 4]).collect();
        let second = (0..first.len()).map(|n| [i32::MIN, -1, 0, i32::MAX][n % 4]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(first.clone())),
            Arc::new(Int32Array::from_iter_values(second)),
            Arc::new(Int16Array::from_iter_values(
                (0..28).map(|n| if n % 3 == 0 { -n } else { n }),
            )),
        ];
        let packed = KeyCodec::for_columns(&columns).unwrap();
        assert!(matches!(packed, KeyCodec::Packed));
        let packed = packed.encode(&columns, 28).unwrap();
        let types: Vec<&DataType> = columns.iter().map(|c| c.data_type()).collect();
        let rows = KeyCodec::new(&types, true).unwrap().encode(&columns, 28).unwrap();
        assert!(matches!(rows, Keys::Rows(_)));
        assert_eq!(packed.order(), rows.order());
        for a in 0..28 {
            for b in 0..28 {
                assert_eq!(packed.compare(a, &packed, b), rows.compare(a, &rows, b));
            }
        }
    }

    #[test]
    fn the_last_row_of_a_key_is_kept_and_sorted_rows_need_no_order() {
        for text in [false, true] {
            let column = |values: &[i64]| -> ArrayRef {
                match text {
                    true => {
                        Arc::new(StringArray::from_iter_values(values.iter().map(i64::to_string)))
                    }
                    false => Arc::new(Int64Array::from(values.to_vec())),
                }
            };
            let keys = |values: &[i64]| {
                let columns = [column(values)];
                KeyCodec::for_columns(&columns).unwrap().encode(&columns, values.len()).unwrap()
            };
            assert_eq!(keys(&[3, 1, 3, 2, 1]).order(), Some(vec![4, 3, 2]));
            assert_eq!(keys(&[1, 2, 3]).order(), None);
            assert_eq!(keys(&[1, 1]).order(), Some(vec![1]));
            let sorted = keys(&[1, 3, 5, 7]);
            assert_eq!(sorted.end_of(0..4, &keys(&[5]), 0), 3);
            assert_eq!(sorted.end_of(1..4, &keys(&[0]), 0), 1);
        }
    }
}
