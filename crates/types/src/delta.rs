//! A [`Delta`]: rows with signed multiplicities, the unit that flows between operators.
//!
//! The weights are a separate array, so that column indexes of physical expressions stay as
//! planned. Weight +1 inserts, -1 retracts, n is multiplicity.
//!
//! Invariants: 1. rows and weights have the same length (asserted in [`Delta::new`]).

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches, filter_record_batch, take_record_batch};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// What can fail here: Arrow refusing a type or a size.
pub type DeltaError = ArrowError;

/// Rows with weights for one time.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The rows, in the schema of the stream.
    pub rows: RecordBatch,
    /// One weight a row, never NULL.
    pub weights: Int64Array,
    /// The worker that the rows are routed to.
    pub dest: u32,
}

impl Delta {
    /// A delta of rows and their weights.
    pub fn new(rows: RecordBatch, weights: Int64Array) -> Delta {
        assert_eq!(rows.num_rows(), weights.len(), "one weight a row");
        Delta { rows, weights, dest: 0 }
    }

    /// All rows with the same weight.
    pub fn constant(rows: RecordBatch, weight: i64) -> Delta {
        let weights = Int64Array::from_value(weight, rows.num_rows());
        Delta { rows, weights, dest: 0 }
    }

    /// How many rows, whatever their weights.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the arrays in memory.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.len() * size_of::<i64>()
    }

    /// The rows where `keep` is true.
    ///
    /// # Errors
    /// Arrow's, for a mask of another length.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Delta, DeltaError> {
        let rows = filter_record_batch(&self.rows, keep)?;
        let weights = arrow::compute::filter(&self.weights, keep)?;
        Ok(Delta { rows, weights: int64(&weights), dest: self.dest })
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Errors
    /// Arrow's, for an index out of bounds.
    pub fn take(&self, indices: &UInt32Array) -> Result<Delta, DeltaError> {
        let rows = take_record_batch(&self.rows, indices)?;
        let weights = arrow::compute::take(&self.weights, indices, None)?;
        Ok(Delta { rows, weights: int64(&weights), dest: self.dest })
    }

    /// Equal rows become one, their weights added, zeros dropped; sorted by the rows' key bytes.
    ///
    /// # Errors
    /// A column type that Arrow's row format cannot encode.
    pub fn consolidate(&self) -> Result<Delta, DeltaError> {
        let columns = self.rows.columns().iter();
        let fields = columns.map(|c| SortField::new(c.data_type().clone())).collect();
        let keys = RowConverter::new(fields)?.convert_columns(self.rows.columns())?;
        let rows = u32::try_from(self.len()).map_err(|_| too_long(self.len()))?;
        let mut order: Vec<u32> = (0..rows).collect();
        let compare = |a: &u32, b: &u32| keys.row(*a as usize).cmp(&keys.row(*b as usize));
        order.sort_unstable_by(compare);
        let mut kept: Vec<u32> = Vec::with_capacity(order.len());
        let mut sums: Vec<i64> = Vec::with_capacity(order.len());
        for row in order {
            let weight = self.weights.value(row as usize);
            match kept.last().map(|last| compare(last, &row)) {
                Some(Ordering::Equal) => *sums.last_mut().expect("as long as kept") += weight,
                _ => {
                    if sums.last() == Some(&0) {
                        kept.pop();
                        sums.pop();
                    }
                    kept.push(row);
                    sums.push(weight);
                }
            }
        }
        if sums.last() == Some(&0) {
            kept.pop();
            sums.pop();
        }
        let rows = take_record_batch(&self.rows, &UInt32Array::from(kept))?;
        Ok(Delta { rows, weights: Int64Array::from(sums), dest: self.dest })
    }
}

fn too_long(rows: usize) -> DeltaError {
    ArrowError::InvalidArgumentError(format!("a delta of {rows} rows is too long"))
}

fn int64(array: &ArrayRef) -> Int64Array {
    array.as_any().downcast_ref::<Int64Array>().expect("weights are Int64").clone()
}

/// One delta of all, in order; None for an empty slice.
///
/// # Errors
/// Arrow's, for differing schemas.
pub fn concat_deltas(deltas: &[Delta]) -> Result<Option<Delta>, DeltaError> {
    let Some(first) = deltas.first() else { return Ok(None) };
    if deltas.len() == 1 {
        return Ok(Some(first.clone()));
    }
    let rows = concat_batches(first.rows.schema_ref(), deltas.iter().map(|d| &d.rows))?;
    let weights: Vec<&dyn Array> = deltas.iter().map(|d| &d.weights as &dyn Array).collect();
    let weights = int64(&concat(&weights)?);
    Ok(Some(Delta { rows, weights, dest: first.dest }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn delta(values: &[i64], weights: &[i64]) -> Delta {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        let rows = RecordBatch::try_from_iter([("v", column)]).unwrap();
        Delta::new(rows, Int64Array::from(weights.to_vec()))
    }

    #[test]
    fn consolidate_adds_weights_and_drops_zeros() {
        let all = delta(&[3, 1, 3, 2, 1, 1], &[1, 1, -1, 2, 1, -3]).consolidate().unwrap();
        assert_eq!(all.weights.values(), &[-1, 2]);
        let values = all.rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        assert_eq!(values.values(), &[1, 2]);
        assert!(delta(&[5, 5], &[1, -1]).consolidate().unwrap().is_empty());
    }

    #[test]
    fn concat_keeps_order_and_weights() {
        let all = concat_deltas(&[delta(&[1], &[1]), delta(&[2], &[-1])]).unwrap().unwrap();
        assert_eq!(all.weights.values(), &[1, -1]);
        assert!(concat_deltas(&[]).unwrap().is_none());
    }
}
