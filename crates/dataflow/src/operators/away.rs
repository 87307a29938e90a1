//! State that an operator has let go of: the store has it, and it comes back by key.
//!
//! An operator lets go of all that it holds when memory is short, right after it has handed over what had
//! changed, or begins without anything when a large state is recovered. A key that it knows is then whole
//! in memory; any other key may be in the store. So before a key is touched that is not known, what is
//! stored of it is brought back.
//!
//! Invariants: 1. what the store says of a key is all there is: nothing changes while it is away
//! (`Operator::let_go` follows `hand_over`).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Field;

use super::slots::{Index, NONE};
use crate::operator::{Error, Stored};

/// See the head of the file.
#[derive(Default)]
pub(super) struct Away {
    stored: Option<Arc<dyn Stored>>,
}

/// True if rows can be found again by these key columns: some values that are one key for SQL are several
/// for the store, which goes by their bytes.
pub(super) fn can_be_found<'a>(mut key: impl Iterator<Item = &'a Field>) -> bool {
    let mut some = false;
    let exact = key.all(|field| {
        some = true;
        !field.data_type().is_floating() && !field.data_type().is_nested()
    });
    exact && some
}

impl Away {
    /// All state has been let go of.
    pub(super) fn begin(&mut self, stored: &Arc<dyn Stored>) {
        self.stored = Some(Arc::clone(stored));
    }

    /// True if some of the state may be in the store alone.
    pub(super) fn is_some(&self) -> bool {
        self.stored.is_some()
    }

    /// The keys that are not known and may be in the store; may name one several times.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn missing(
        &self,
        known: &dyn Index,
        keys: &[ArrayRef],
        rows: usize,
    ) -> Result<Option<Vec<ArrayRef>>, Error> {
        if self.stored.is_none() || rows == 0 {
            return Ok(None);
        }
        let found = known.find(keys, rows)?;
        let missing = (0u32..).zip(found).filter(|(_, slot)| *slot == NONE).map(|(row, _)| row);
        let missing: Vec<u32> = missing.collect();
        if missing.is_empty() {
            return Ok(None);
        }
        let missing = UInt32Array::from(missing);
        let keys = keys.iter().map(|key| take(key, &missing, None));
        Ok(Some(keys.collect::<Result<_, _>>()?))
    }

    /// What is stored of some keys.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn fetch(&self, table: usize, keys: &[ArrayRef]) -> Result<Vec<RecordBatch>, Error> {
        match &self.stored {
            Some(stored) => stored.fetch(table, keys),
            None => Ok(Vec::new()),
        }
    }
}
