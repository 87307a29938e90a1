//! Counts of rows: all rows of a group, those with a value, or those whose value is true.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::accumulator::{Accumulator, Moves, Weights, same};
use crate::operator::Error;

/// Sums of weights.
pub(super) struct Count {
    counts: Vec<i64>,
    /// Count only rows whose boolean column is true.
    trues: bool,
}

impl Count {
    /// Counts all rows with a weight, or with `trues` those whose column is true.
    pub(super) fn new(trues: bool) -> Count {
        Count { counts: Vec::new(), trues }
    }

    /// The count of a slot.
    pub(super) fn get(&self, slot: u32) -> i64 {
        self.counts[slot as usize]
    }
}

impl Accumulator for Count {
    fn resize(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn clear(&mut self) {
        self.counts.clear();
    }

    fn reset(&mut self, slot: u32) {
        self.counts[slot as usize] = 0;
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        let counts = &mut self.counts;
        if self.trues {
            let flags = columns[0].as_boolean();
            weights.each(groups.len(), |row, weight| {
                if flags.value(row) {
                    counts[groups[row] as usize] += weight;
                }
            });
        } else {
            weights.each(groups.len(), |row, weight| counts[groups[row] as usize] += weight);
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &Count = same(other);
        for (from, into) in moves.pairs() {
            self.counts[into] += other.counts[from];
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(&'static str, DataType)> {
        vec![("count", DataType::Int64)]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let counts = slots.iter().map(|slot| self.get(*slot));
        Ok(vec![Arc::new(Int64Array::from_iter_values(counts))])
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<(), String> {
        let counts = columns[0].as_primitive::<Int64Type>();
        if counts.null_count() > 0 {
            return Err("a count is NULL".into());
        }
        for (slot, count) in slots.iter().zip(counts.values()) {
            self.counts[*slot as usize] = *count;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
