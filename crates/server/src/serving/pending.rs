//! What a transaction has changed in a table and not committed: seen over the stored rows by the transaction alone.
//!
//! The stored rows are read as ever, so that a key is looked up and a range is pruned; what a statement costs depends on
//! what it reads and on what the transaction has changed, not on the table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};

/// Rows that a transaction has added to a table, and those of it that it no longer sees.
#[derive(Clone, Debug, Default)]
pub struct PendingRows {
    /// The columns of the table's key, never none.
    key: Vec<usize>,
    /// Rows in the table's schema. Each batch has at least twice the rows of the one after it.
    come: Vec<RecordBatch>,
    /// What holds of a key stands in the last map that has it. Each map has at least twice the keys of the one
    /// after it: a copy, which a savepoint keeps, shares all but those that are joined later.
    keys: Vec<Arc<BTreeMap<OwnedRow, Change>>>,
    /// A stored row is not seen.
    has_gone: bool,
}

/// What has become of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    /// Its stored row is not seen.
    gone: bool,
    /// It is that of a row that has come.
    come: bool,
}

impl PendingRows {
    /// Nothing yet, of a table with this key.
    pub fn new(key: &[usize]) -> PendingRows {
        PendingRows { key: key.to_vec(), ..PendingRows::default() }
    }

    /// Rows go, others come.
    ///
    /// # Errors
    /// Rows of another schema.
    pub fn change(&mut self, gone: &RecordBatch, come: RecordBatch) -> Result<(), ArrowError> {
        let mut changed = BTreeMap::new();
        if gone.num_rows() > 0 {
            let keys = rows_at(gone, &self.key)?;
            let keys: BTreeSet<OwnedRow> = keys.iter().map(|key| key.owned()).collect();
            if keys.iter().any(|key| self.last(key).come) {
                for batch in &mut self.come {
                    *batch = without(batch, &self.key, |key| keys.contains(key))?;
                }
                self.come.retain(|batch| batch.num_rows() > 0);
            }
            self.has_gone = true;
            changed.extend(keys.into_iter().map(|key| (key, Change { gone: true, come: false })));
        }
        if come.num_rows() > 0 {
            for key in &rows_at(&come, &self.key)? {
                let key = key.owned();
                let before = changed.get(&key).copied().unwrap_or_else(|| self.last(&key));
                changed.insert(key, Change { come: true, ..before });
            }
            self.come.push(come);
        }
        if !changed.is_empty() {
            self.keys.push(Arc::new(changed));
        }
        self.join()
    }

    /// Many statements with a row each leave a few batches, and a few maps.
    fn join(&mut self) -> Result<(), ArrowError> {
        while let [.., before, last] = self.come.as_slice()
            && before.num_rows() < 2 * last.num_rows()
        {
            let joined = concat_batches(&last.schema(), [before, last])?;
            self.come.truncate(self.come.len() - 2);
            self.come.push(joined);
        }
        while let [.., before, last] = self.keys.as_slice()
            && before.len() < 2 * last.len()
        {
            let mut joined = before.as_ref().clone();
            joined.extend(last.iter().map(|(key, change)| (key.clone(), *change)));
            self.keys.truncate(self.keys.len() - 2);
            self.keys.push(Arc::new(joined));
        }
        Ok(())
    }

    fn last(&self, key: &OwnedRow) -> Change {
        let found = self.keys.iter().rev().find_map(|keys| keys.get(key));
        found.copied().unwrap_or_default()
    }

    /// True for the key of a row that has come, false for one whose stored row has gone; None for others.
    pub fn has(&self, key: &OwnedRow) -> Option<bool> {
        match self.last(key) {
            Change { come: true, .. } => Some(true),
            Change { gone, .. } => gone.then_some(false),
        }
    }

    /// The columns that a scan has to read so that these can be shown: more where stored rows have gone.
    pub(super) fn read(&self, shown: Vec<usize>) -> Vec<usize> {
        let mut read = shown;
        if self.has_gone {
            let missing: Vec<usize> =
                self.key.iter().copied().filter(|column| !read.contains(column)).collect();
            read.extend(missing);
        }
        read
    }

    /// Stored rows without those that have gone: of the columns `read`, the first `shown` ones are left.
    pub(super) fn stored(
        &self,
        batch: RecordBatch,
        read: &[usize],
        shown: usize,
    ) -> Result<RecordBatch, ArrowError> {
        if !self.has_gone {
            return Ok(batch);
        }
        let place = |column: &usize| read.iter().position(|at| at == column);
        let key: Vec<usize> = self.key.iter().filter_map(place).collect();
        let left = without(&batch, &key, |key| self.last(key).gone)?;
        left.project(&(0..shown).collect::<Vec<_>>())
    }

    /// The rows that have come, of some columns.
    pub(super) fn come(
        &self,
        shown: &[usize],
    ) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        self.come.iter().map(|batch| batch.project(shown))
    }
}

/// The rows whose key is none of those that go.
fn without(
    batch: &RecordBatch,
    key: &[usize],
    goes: impl Fn(&OwnedRow) -> bool,
) -> Result<RecordBatch, ArrowError> {
    let rows = rows_at(batch, key)?;
    let keep: BooleanArray = rows.iter().map(|row| Some(!goes(&row.owned()))).collect();
    filter_record_batch(batch, &keep)
}

fn rows_at(batch: &RecordBatch, columns: &[usize]) -> Result<Rows, ArrowError> {
    let columns: Vec<ArrayRef> =
        columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    RowConverter::new(fields)?.convert_columns(&columns)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn rows(ids: &[i64]) -> RecordBatch {
        let fields = ["other", "id"].map(|name| Field::new(name, DataType::Int64, false));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let other: Int64Array = ids.iter().map(|id| id * 10).collect();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(other), Arc::new(Int64Array::from(ids.to_vec()))];
        RecordBatch::try_new(schema, columns).unwrap()
    }

    fn others(batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>) -> Vec<i64> {
        let mut all = Vec::new();
        for batch in batches {
            all.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn a_row_that_goes_is_seen_neither_where_it_is_stored_nor_where_it_has_come() {
        let mut pending = PendingRows::new(&[1]);
        pending.change(&rows(&[]), rows(&[7, 8])).unwrap();
        pending.change(&rows(&[2, 8]), rows(&[2, 9])).unwrap();
        assert_eq!(others(pending.come(&[0])), [20, 70, 90]);
        let read = pending.read(vec![0]);
        assert_eq!(read, [0, 1]);
        let keys = rows_at(&rows(&[1, 2, 7, 8, 9]), &[1]).unwrap();
        let has: Vec<_> = keys.iter().map(|key| pending.has(&key.owned())).collect();
        assert_eq!(has, [None, Some(true), Some(true), Some(false), Some(true)]);
        let stored = pending.stored(rows(&[1, 2, 3]), &read, 1).unwrap();
        assert_eq!((stored.num_columns(), others([Ok(stored)].into_iter())), (1, vec![10, 30]));
    }

    #[test]
    fn many_small_changes_leave_few_batches_and_share_their_keys_with_copies() {
        let mut pending = PendingRows::new(&[1]);
        // Each is kept by a savepoint.
        let mut kept = Vec::new();
        for id in 0..1000 {
            pending.change(&rows(&[]), rows(&[id])).unwrap();
            kept.push(pending.clone());
        }
        assert!(pending.come.len() <= 10 && pending.keys.len() <= 10, "{}", pending.come.len());
        let maps = kept.iter().flat_map(|pending| &pending.keys);
        let maps: BTreeMap<_, usize> = maps.map(|keys| (Arc::as_ptr(keys), keys.len())).collect();
        let held: usize = maps.values().sum();
        assert!(held < 20_000, "{held} keys are held, of 500,500 without sharing");
        assert_eq!(others(pending.come(&[0])).len(), 1000);
        assert_eq!(pending.read(vec![0]), [0], "no stored row has gone");
    }
}
