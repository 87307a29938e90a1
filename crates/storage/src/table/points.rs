//! Some keys to look up: the values of the leading key columns of the rows of interest.
//!
//! A range tells where rows may lie; points tell which they are. So a look-up of a hundred keys of a
//! large table reads a hundred blocks at most, and gives back no row but those.
//!
//! Invariants: 1. the keys ascend strictly ([`Points::of`]).

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::index::BlockIndex;
use crate::keys::{KeyCodec, KeyList, Keys};
use crate::layout::Layout;

/// See the head of the file.
pub struct Points {
    columns: Vec<ArrayRef>,
    /// Without NULLs among them: the form that compares with keys that have none either.
    plain: Option<Form>,
    /// The form that compares with all keys.
    general: OnceLock<Form>,
}

/// The keys in one form.
struct Form {
    codec: KeyCodec,
    keys: Keys,
}

impl Form {
    fn new(columns: &[ArrayRef], nulls: bool) -> Result<Form> {
        let types: Vec<&DataType> = columns.iter().map(|column| column.data_type()).collect();
        let codec = KeyCodec::new(&types, nulls)?;
        let keys = codec.encode(columns, columns.first().map_or(0, |column| column.len()))?;
        Ok(Form { codec, keys })
    }
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
        let rows = columns.first().map_or(0, |column| column.len());
        let counts = |row: &u32| columns.iter().all(|column| column.is_valid(*row as usize));
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        Points::with_nulls(&picked(columns, (0..rows).filter(counts).collect())?)
    }

    /// The same where NULL is a value as others are.
    ///
    /// # Errors
    /// [`crate::Error::Arrow`] for types that cannot be a key.
    pub fn with_nulls(columns: &[ArrayRef]) -> Result<Points> {
        let nulls = has_nulls(columns);
        let mut form = Form::new(columns, nulls)?;
        let mut columns = columns.to_vec();
        if let Some(order) = form.keys.order() {
            columns = picked(&columns, order)?;
            form = Form::new(&columns, nulls)?;
        }
        let (plain, general) = match nulls {
            true => (None, OnceLock::from(form)),
            false => (Some(form), OnceLock::new()),
        };
        Ok(Points { columns, plain, general })
    }

    /// The form that compares with keys that have NULLs, or have none.
    fn form(&self, nulls: bool) -> Result<&Form> {
        match (&self.plain, self.general.get()) {
            (Some(plain), _) if !nulls => Ok(plain),
            (_, Some(general)) => Ok(general),
            _ => {
                let form = Form::new(&self.columns, true)?;
                Ok(self.general.get_or_init(|| form))
            }
        }
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
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// For each block of a run, whether a key lies between its first and its last one.
    pub(super) fn reach(&self, index: &BlockIndex) -> Result<Vec<bool>> {
        let blocks = index.blocks.len();
        let Form { codec, keys } = self.form(index.null_keys)?;
        let ends = |columns: &[ArrayRef]| codec.encode(&columns[..self.width()], blocks);
        let (first, last) = (ends(&index.first)?, ends(&index.last)?);
        let within = |block: usize| {
            let upto = keys.end_of(0..self.len(), &last, block);
            upto > 0 && keys.compare(upto - 1, &first, block).is_ge()
        };
        Ok((0..blocks).map(within).collect())
    }

    /// Which rows, given by their leading key columns and sorted by them, are of interest.
    pub(crate) fn pick(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanBuffer> {
        let nulls = has_nulls(columns);
        let Form { codec, keys } = self.form(nulls)?;
        let other = codec.encode(columns, rows)?;
        Ok(match (keys.packed().zip(other.packed()), keys.rows().zip(other.rows())) {
            (Some((points, keys)), _) => in_both((points, self.len()), (keys, rows)),
            (_, Some((points, keys))) => in_both((points, self.len()), (keys, rows)),
            _ => unreachable!("one codec has one form"),
        })
    }
}

fn has_nulls(columns: &[ArrayRef]) -> bool {
    columns.iter().any(|column| column.null_count() > 0)
}

fn picked(columns: &[ArrayRef], rows: Vec<u32>) -> Result<Vec<ArrayRef>> {
    let rows = UInt32Array::from(rows);
    let columns = columns.iter().map(|column| take(column, &rows, None));
    Ok(columns.collect::<std::result::Result<_, _>>()?)
}

/// Which of some sorted keys are among some sorted points. Where one of the two is much longer it is
/// leapt through.
fn in_both<'a, L: KeyList>(points: (&'a L, usize), keys: (&'a L, usize)) -> BooleanBuffer {
    let mut found = BooleanBufferBuilder::new(keys.1);
    found.append_n(keys.1, false);
    let (mut point, mut row) = (0, 0);
    while point < points.1 && row < keys.1 {
        let (wanted, key) = (points.0.key(point), keys.0.key(row));
        match wanted.cmp(&key) {
            Ordering::Equal => {
                found.set_bit(row, true);
                row += 1;
            }
            Ordering::Less => point = leap(points.0, point + 1..points.1, key),
            Ordering::Greater => row = leap(keys.0, row + 1..keys.1, wanted),
        }
    }
    found.finish()
}

/// The first of some sorted keys that is not below a bound: in steps that double, then by halves.
fn leap<'a, L: KeyList>(keys: &'a L, range: Range<usize>, bound: L::Key<'a>) -> usize {
    let (mut low, mut step) = (range.start, 1);
    while low + step <= range.end && keys.key(low + step - 1) < bound {
        low += step;
        step *= 2;
    }
    let mut high = range.end.min(low + step);
    while low < high {
        let middle = low + (high - low) / 2;
        if keys.key(middle) < bound { low = middle + 1 } else { high = middle }
    }
    low
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
        assert_eq!(picked, BooleanBuffer::from(vec![false, true, false, false, true]));
        let some: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(7)]));
        let points = Points::with_nulls(&[some]).unwrap();
        let picked = points.pick(&[numbers], 5).unwrap();
        assert_eq!(picked, BooleanBuffer::from(vec![true, false, false, true, true]));
        let none: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
        let none = Points::new(&[none]).unwrap();
        let some: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(none.is_empty() && none.pick(&[some], 1).unwrap().count_set_bits() == 0);
    }

    #[test]
    fn few_points_among_many_keys_and_many_among_few() {
        let column = |step: usize| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values((0..5000).step_by(step)))
        };
        for (points, keys) in [(1, 700), (700, 1), (6, 4), (4999, 5000)] {
            let wanted = Points::new(&[column(points)]).unwrap();
            let keys = column(keys);
            let picked = wanted.pick(&[Arc::clone(&keys)], keys.len()).unwrap();
            let values = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&keys);
            for (row, key) in values.values().iter().enumerate() {
                let point = usize::try_from(*key).unwrap().is_multiple_of(points);
                assert_eq!(picked.value(row), point, "{key} of {points}");
            }
        }
    }
}
