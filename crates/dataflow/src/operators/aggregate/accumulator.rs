//! A column of accumulators: one kind of running value for every slot.
//!
//! All loops run over columns: one dynamic call per batch and accumulator, none per row. The same
//! type serves as scratch (slots are the groups of one time) and as hot state, and the scratch is
//! merged into the state once per touched group. Every accumulator is exact: its value depends on
//! the set of rows it has taken, not on their order or on how they were cut into batches.

use std::any::Any;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;

use crate::operator::Error;

/// The weights of rows; a row that does not count has weight 0.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a> {
    /// Every row once.
    Ones,
    /// One weight a row.
    Each(&'a [i64]),
}

impl Weights<'_> {
    /// Calls `each(row, weight)` for the rows that count.
    pub(super) fn each(self, rows: usize, mut each: impl FnMut(usize, i64)) {
        match self {
            Weights::Ones => (0..rows).for_each(|row| each(row, 1)),
            Weights::Each(weights) => {
                for (row, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0) {
                    each(row, *weight);
                }
            }
        }
    }

    /// Calls `each(row)` for the rows that count, of an input that only appends.
    pub(super) fn each_inserted(self, rows: usize, mut each: impl FnMut(usize)) {
        self.each(rows, |row, weight| {
            assert!(weight > 0, "extremes are kept in place over append-only rows alone");
            each(row);
        });
    }
}

/// Which scratch slot goes into which state slot; both may occur several times.
pub(super) struct Moves<'a> {
    pub(super) from: &'a [u32],
    pub(super) into: &'a [u32],
}

impl Moves<'_> {
    /// The pairs as indexes.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.from.iter().zip(self.into).map(|(from, into)| (*from as usize, *into as usize))
    }
}

/// Values of a multiset that came (weight 1) or went (weight -1).
pub(super) struct Shifts {
    pub(super) slots: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
    pub(super) weights: Vec<i64>,
}

/// Entries of a multiset that changed since the last hand-over; those whose counts are 0 are gone.
pub(super) struct Entries {
    pub(super) slots: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
    /// For each filter.
    pub(super) counts: Vec<Vec<i64>>,
}

/// Running values of one kind, one a slot.
pub(super) trait Accumulator: Send {
    /// Grows to `slots` slots, new ones empty.
    fn resize(&mut self, slots: usize);

    /// Forgets all slots, keeps the memory.
    fn clear(&mut self);

    /// Empties one slot.
    fn reset(&mut self, slot: u32);

    /// Empties many slots whose stored state is dropped as a whole.
    fn drop_all(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.reset(*slot));
    }

    /// Adds row i with its weight to slot `groups[i]`.
    ///
    /// # Errors
    /// Arrow's, for a column of another type.
    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error>;

    /// Adds slots of another accumulator of the same kind.
    ///
    /// # Errors
    /// Arrow's, of values that are looked up.
    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error>;

    /// The types of the state columns, all nullable, with a word each for what it holds.
    fn fields(&self) -> Vec<(&'static str, DataType)>;

    /// The state columns of some slots.
    ///
    /// # Errors
    /// Arrow's.
    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error>;

    /// Puts saved columns back into empty slots. The columns have the types of `fields`.
    ///
    /// # Errors
    /// What is wrong with them.
    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<(), String>;

    /// What came and went since this was asked last, by filter, for accumulators over distinct
    /// values.
    ///
    /// # Errors
    /// Arrow's.
    fn shifts(&mut self) -> Result<Vec<Shifts>, Error> {
        Ok(Vec::new())
    }

    /// The types of the value's columns, and how many counts a value has, if the state is kept by
    /// slot and value, in a table of its own.
    fn entry_types(&self) -> Option<(Vec<DataType>, usize)> {
        None
    }

    /// The entries that changed since this was asked last.
    ///
    /// # Errors
    /// Arrow's.
    fn entries(&mut self) -> Result<Entries, Error> {
        Ok(Entries { slots: Vec::new(), columns: Vec::new(), counts: Vec::new() })
    }

    /// Puts entries back. No count is NULL or below 0, one of each entry is above.
    ///
    /// # Errors
    /// What is wrong with them.
    fn restore_entries(
        &mut self,
        _: &[u32],
        _: &[ArrayRef],
        _: &[Int64Array],
    ) -> Result<(), String> {
        Err("there are no entries".into())
    }

    /// Values of a slot, where each is kept.
    fn entries_of(&self, _slot: u32) -> usize {
        0
    }

    /// Reads about so many values of a slot ahead, for who will ask for all of them. True if there are more.
    ///
    /// # Errors
    /// Arrow's.
    fn read_ahead(&mut self, _slot: u32, _values: usize) -> Result<bool, Error> {
        Ok(false)
    }

    /// Forgets what was read ahead. True if there was something.
    fn forget_ahead(&mut self) -> bool {
        false
    }

    /// Of a scratch: its groups will be merged a few at a time.
    ///
    /// # Errors
    /// Arrow's.
    fn cut(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Of a scratch: rows or values that are merged one by one.
    fn gathered(&self) -> usize {
        0
    }

    /// Entries read and written so far.
    fn touched(&self) -> u64 {
        0
    }

    /// Entries in memory.
    fn held(&self) -> usize {
        0
    }

    /// Bytes in memory.
    fn bytes(&self) -> usize;

    /// To find the same kind in `merge` and for results.
    fn as_any(&self) -> &dyn Any;
}

/// The accumulator as the kind that it is known to be.
pub(super) fn same<T: 'static>(other: &dyn Accumulator) -> &T {
    other.as_any().downcast_ref().expect("accumulators of one part are of one kind")
}

/// As [`same`], for a part of a call.
pub(super) fn part<T: 'static>(cells: &[Box<dyn Accumulator>], part: usize) -> &T {
    same(cells[part].as_ref())
}
