//! Some keys to look up: the values of the leading key columns of the rows of interest.
//!
//! A range tells where rows may lie; points tell which they are. So a look-up of a hundred keys of a
//! large table reads a hundred blocks at most, and gives back no row but those.
//!
//! Invariants: 1. the keys ascend strictly ([`Points::of`]).

use std::cmp::Ordering;
use std::fmt;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::index::BlockIndex;
use crate::keys::{KeyCodec, Keys};
use crate::layout::Layout;

/// See the head of the file.
pub struct Points {
    columns: Vec<ArrayRef>,
    codec: KeyCodec,
    keys: Keys,
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Points").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Points {
    /// Values of the leading key columns, a row a key, at least one column. A key with a NULL matches
    /// nothing.
    ///
    /// # Errors
    /// [`crate::Error::Arrow`] for types that cannot be a key.
    pub fn new(columns: &[ArrayRef]) -> Result<Points> {
        Points::of(columns, |row| columns.iter().all(|column| column.is_valid(row)))
    }

    /// The same where NULL is a value as others are.
    ///
    /// # Errors
    /// [`crate::Error::Arrow`] for types that cannot be a key.
    pub fn with_nulls(columns: &[ArrayRef]) -> Result<Points> {
        Points::of(columns, |_| true)
    }

    fn of(columns: &[ArrayRef], counts: impl Fn(usize) -> bool) -> Result<Points> {
        let types: Vec<&DataType> = columns.iter().map(|column| column.data_type()).collect();
        let codec = KeyCodec::new(&types, true)?;
        let rows = columns.first().map_or(0, |column| column.len());
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let counts = |row: &u32| counts(*row as usize);
        let picked = |columns: &[ArrayRef], rows: Vec<u32>| -> Result<Vec<ArrayRef>> {
            let rows = UInt32Array::from(rows);
            Ok(columns
                .iter()
                .map(|column| take(column, &rows, None))
                .collect::<std::result::Result<_, _>>()?)
        };
        let mut columns = picked(columns, (0..rows).filter(counts).collect())?;
        let count = columns.first().map_or(0, |column| column.len());
        if let Some(order) = codec.encode(&columns, count)?.order() {
            columns = picked(&columns, order)?;
        }
        let count = columns.first().map_or(0, |column| column.len());
        let keys = codec.encode(&columns, count)?;
        Ok(Points { columns, codec, keys })
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.len())
    }

    /// True if there is none: no row is of interest.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if the keys of a table begin with columns of these types.
    pub(super) fn fit(&self, layout: &Layout) -> bool {
        let own = layout.sort.iter().map(|column| layout.stored.field(*column).data_type());
        self.columns.len() <= layout.sort.len()
            && self.columns.iter().zip(own).all(|(column, own)| column.data_type() == own)
    }

    /// How many key columns they bind.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// For each block of a run, whether a key lies between its first and its last one.
    pub(super) fn reach(&self, index: &BlockIndex) -> Result<Vec<bool>> {
        let blocks = index.blocks.len();
        let ends = |columns: &[ArrayRef]| self.codec.encode(&columns[..self.width()], blocks);
        let (first, last) = (ends(&index.first)?, ends(&index.last)?);
        let within = |block: usize| {
            let upto = self.keys.end_of(0..self.len(), &last, block);
            upto > 0 && self.keys.compare(upto - 1, &first, block).is_ge()
        };
        Ok((0..blocks).map(within).collect())
    }

    /// Which rows, given by their leading key columns and sorted by them, are of interest.
    pub(super) fn pick(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        let keys = self.codec.encode(columns, rows)?;
        let mut from = 0;
        let is_point = |row: usize| {
            let upto = self.keys.end_of(from..self.len(), &keys, row);
            // The key of the next row is no lesser one.
            from = upto.saturating_sub(1);
            Some(upto > 0 && self.keys.compare(upto - 1, &keys, row) == Ordering::Equal)
        };
        Ok((0..rows).map(is_point).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_are_picked_by_their_leading_key_columns() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(2), Some(7)]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["b", "x", "a", "b"]));
        let points = Points::new(&[numbers, names]).unwrap();
        assert_eq!(points.len(), 2);
        let numbers: ArrayRef =
            Arc::new(Int64Array::from(vec![None, Some(2), Some(2), Some(7), Some(7)]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "a", "b", "a", "b"]));
        let picked = points.pick(&[Arc::clone(&numbers), names], 5).unwrap();
        assert_eq!(picked, BooleanArray::from(vec![false, true, false, false, true]));
        let some: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(7)]));
        let points = Points::with_nulls(&[some]).unwrap();
        let picked = points.pick(&[numbers], 5).unwrap();
        assert_eq!(picked, BooleanArray::from(vec![true, false, false, true, true]));
        let none: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
        let none = Points::new(&[none]).unwrap();
        let some: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(none.is_empty() && none.pick(&[some], 1).unwrap().true_count() == 0);
    }
}
