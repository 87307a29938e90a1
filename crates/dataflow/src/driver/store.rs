//! State tables as a checkpoint leaves them, in memory.
//!
//! Invariants: 1. a change names each key once, over all workers ([`Store::apply`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::row::{RowConverter, SortField};
use millrace_types::{vnodes, worker_of};

use crate::natives;
use crate::operator::{Error, StateChange, StateSpec};

/// The state tables of one view.
#[derive(Clone, Debug, Default)]
pub struct Store {
    tables: BTreeMap<usize, Table>,
    /// A checkpoint has been taken, whether or not it had rows.
    begun: bool,
}

#[derive(Clone, Debug)]
struct Table {
    spec: StateSpec,
    /// One row each, by the bytes of its key.
    rows: BTreeMap<Vec<u8>, RecordBatch>,
}

impl Store {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.tables.values().map(|table| table.rows.len()).sum()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True before the first checkpoint: a view begins anew.
    pub(super) fn is_new(&self) -> bool {
        !self.begun
    }

    /// A checkpoint is taken.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Takes the changes of one worker to a table in.
    pub(super) fn apply(
        &mut self,
        number: usize,
        spec: StateSpec,
        change: &StateChange,
    ) -> Result<(), Error> {
        let table = self
            .tables
            .entry(number)
            .or_insert_with(|| Table { spec: spec.clone(), rows: BTreeMap::new() });
        if let Some(trim) = change.trim {
            table.rows.retain(|_, row| !is_below(row, trim));
        }
        let keys = keys(&spec, &change.rows)?;
        let mut seen = BTreeSet::new();
        for (row, key) in keys.into_iter().enumerate() {
            assert!(seen.insert(key.clone()), "a change names a key twice");
            if change.gone.value(row) {
                table.rows.remove(&key);
            } else {
                table.rows.insert(key, change.rows.slice(row, 1));
            }
        }
        Ok(())
    }

    /// The rows of a table whose first key columns have one of some values, a row a key.
    pub(super) fn fetch(
        &self,
        number: usize,
        wanted: &[ArrayRef],
    ) -> Result<Option<RecordBatch>, Error> {
        let Some(table) = self.tables.get(&number) else { return Ok(None) };
        let rows = concat_batches(&table.spec.schema, table.rows.values())?;
        let fields = wanted.iter().map(|c| SortField::new(c.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        let wanted_keys = converter.convert_columns(wanted)?;
        let wanted_keys: BTreeSet<_> = wanted_keys.iter().collect();
        let keys = converter.convert_columns(&rows.columns()[..wanted.len()])?;
        let picked = keys.iter().map(|key| Some(wanted_keys.contains(&key)));
        let rows = filter_record_batch(&rows, &picked.collect::<BooleanArray>())?;
        Ok((rows.num_rows() > 0).then_some(rows))
    }

    /// The rows of a table that a worker holds; None if there are none.
    pub(super) fn rows(
        &self,
        number: usize,
        worker: usize,
        workers: usize,
    ) -> Result<Option<RecordBatch>, Error> {
        let Some(table) = self.tables.get(&number) else { return Ok(None) };
        let rows = concat_batches(&table.spec.schema, table.rows.values())?;
        let column = |c: &usize| Arc::clone(rows.column(*c));
        let routing: Vec<ArrayRef> = table.spec.routing.iter().map(column).collect();
        let own = vnodes(&routing, rows.num_rows())?;
        let own = own.into_iter().map(|vnode| worker_of(vnode, workers) == worker);
        let rows = filter_record_batch(&rows, &BooleanArray::from(own.collect::<Vec<_>>()))?;
        Ok((rows.num_rows() > 0).then_some(rows))
    }
}

fn is_below(row: &RecordBatch, trim: i64) -> bool {
    let first = row.column(0);
    first.is_valid(0) && natives::values::<i64>(first)[0] < trim
}

fn keys(spec: &StateSpec, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, Error> {
    if spec.key == 0 {
        return Ok(vec![Vec::new(); rows.num_rows()]);
    }
    let columns = &rows.columns()[..spec.key];
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(columns)?;
    Ok(encoded.iter().map(|row| row.as_ref().to_vec()).collect())
}
