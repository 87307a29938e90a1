//! The state table of an aggregation: marks of changed slots, hand-over and the way back.
//!
//! Columns of the table: the key, the column that settles first, then the columns of each part. The
//! table of a part that counts values: the same key and the columns of the value, then its count.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millrace_types::TableId;

use super::accumulator::Entries;
use super::{Aggregate, Touched};
use crate::graph::AggregateSpec;
use crate::operator::{Error, StateChange, StateSpec};

/// Positions in the group columns, in the order of the state table's key.
fn key_order(spec: &AggregateSpec, first: Option<usize>) -> Vec<usize> {
    let others = (0..spec.group.len()).filter(|position| Some(*position) != first);
    first.into_iter().chain(others).collect()
}

impl Aggregate {
    pub(super) fn key_order(&self) -> Vec<usize> {
        key_order(&self.spec, self.windows.key())
    }

    fn key_fields(&self) -> Vec<Field> {
        let fields = self.key_order().into_iter().map(|position| {
            let field = self.spec.input.schema.field(self.spec.group[position]);
            Field::new(format!("key_{position}"), field.data_type().clone(), field.is_nullable())
        });
        fields.collect()
    }

    /// The state table of a part that counts values.
    pub(super) fn entry_table(&self, part: usize) -> StateSpec {
        let mut fields = self.key_fields();
        let (types, counts) = self.state.cells[part].entry_types().unwrap_or_default();
        for (column, data_type) in types.into_iter().enumerate() {
            fields.push(Field::new(format!("part_{part}_value_{column}"), data_type, true));
        }
        let key = fields.len();
        let count = |n| Field::new(format!("part_{part}_count_{n}"), DataType::Int64, false);
        fields.extend((0..counts).map(count));
        StateSpec { schema: Arc::new(Schema::new(fields)), key, routing: self.table().routing }
    }

    /// The parts that count values, which have tables of their own.
    pub(super) fn counted(&self) -> Vec<usize> {
        let cells = self.state.cells.iter().enumerate();
        cells.filter(|(_, cell)| cell.entry_types().is_some()).map(|(number, _)| number).collect()
    }

    /// The changed entries of each of them since the last hand-over.
    pub(super) fn entry_changes(
        &mut self,
        trim: Option<i64>,
    ) -> Result<Vec<Option<StateChange>>, Error> {
        let mut changes = Vec::new();
        for part in self.counted() {
            let Entries { slots, columns: values, counts } = self.state.cells[part].entries()?;
            if slots.is_empty() && trim.is_none() {
                changes.push(None);
                continue;
            }
            let gone = |at: usize| counts.iter().all(|counts| counts[at] == 0);
            let gone = (0..slots.len()).map(gone).collect::<Vec<_>>();
            let keys = self.state.index.decode(&slots)?;
            let order = self.key_order().into_iter();
            let mut columns: Vec<ArrayRef> = order.map(|at| Arc::clone(&keys[at])).collect();
            columns.extend(values);
            let counts = counts.into_iter().map(|counts| Arc::new(Int64Array::from(counts)));
            columns.extend(counts.map(|counts| counts as ArrayRef));
            let rows = RecordBatch::try_new(self.entry_table(part).schema, columns)?;
            changes.push(Some(StateChange { rows, gone: BooleanArray::from(gone), trim }));
        }
        Ok(changes)
    }

    /// Stored entries of one of them come back.
    pub(super) fn take_entries_back(
        &mut self,
        table: usize,
        rows: &RecordBatch,
    ) -> Result<(), Error> {
        let part = self.counted().get(table).copied();
        let part = part.ok_or_else(|| damaged("there is no such table".into()))?;
        let spec = self.entry_table(part);
        let mut columns = stored(&spec, rows)?;
        let counts = counts(&columns.split_off(spec.key))?;
        let values = columns.split_off(self.spec.group.len());
        let keys = self.in_group_order(&columns);
        let slots = self.state.slots(&keys, rows.num_rows())?;
        self.state.cells[part].restore_entries(&slots, &values, &counts).map_err(damaged)
    }

    /// The columns of a stored key in the order of the group.
    fn in_group_order(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        let mut keys = columns.to_vec();
        for (place, position) in self.key_order().into_iter().enumerate() {
            keys[position] = Arc::clone(&columns[place]);
        }
        keys
    }

    /// The state table.
    pub(super) fn table(&self) -> StateSpec {
        let order = self.key_order();
        let mut fields = self.key_fields();
        for (number, cell) in self.state.cells.iter().enumerate() {
            for (column, (word, data_type)) in cell.fields().into_iter().enumerate() {
                fields.push(Field::new(format!("part_{number}_{column}_{word}"), data_type, true));
            }
        }
        let pane = self.spec.hop.as_ref().map(|hop| hop.column);
        let place = |position: usize| {
            order.iter().position(|p| *p == position).expect("the order is a permutation")
        };
        let routing = (0..self.spec.group.len()).filter(|p| Some(*p) != pane).map(place).collect();
        StateSpec { schema: Arc::new(Schema::new(fields)), key: order.len(), routing }
    }

    fn columns(&self, slots: &[u32], schema: &SchemaRef) -> Result<RecordBatch, Error> {
        let keys = self.state.index.decode(slots)?;
        let mut columns: Vec<ArrayRef> =
            self.key_order().into_iter().map(|position| Arc::clone(&keys[position])).collect();
        for cell in &self.state.cells {
            columns.extend(cell.save(slots)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }

    /// The changed rows since the last hand-over; groups without rows leave the index.
    pub(super) fn changes(&mut self, trim: Option<i64>) -> Result<Option<StateChange>, Error> {
        let slots = self.marks.drain();
        if slots.is_empty() && trim.is_none() {
            return Ok(None);
        }
        let rows = self.columns(&slots, &self.table().schema)?;
        let is_gone = |slot: &u32| !self.is_global() && self.state.rows(*slot) == 0;
        let gone: Vec<bool> = slots.iter().map(is_gone).collect();
        for (slot, _) in slots.iter().zip(&gone).filter(|(_, gone)| **gone) {
            self.state.index.remove(*slot);
        }
        Ok(Some(StateChange { rows, gone: BooleanArray::from(gone), trim }))
    }

    /// Stored rows come back into the index.
    pub(super) fn take_back(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let spec = self.table();
        let mut columns = stored(&spec, rows)?;
        let states = columns.split_off(spec.key);
        let keys = self.in_group_order(&columns);
        let slots = self.state.slots(&keys, rows.num_rows())?;
        let mut states = states.as_slice();
        for cell in &mut self.state.cells {
            let (own, others) = states.split_at(cell.fields().len());
            cell.restore(&slots, own).map_err(damaged)?;
            states = others;
        }
        self.started = true;
        // The rows of a function that is run again come back after this.
        let rebuilt = self.spec.calls.iter().any(|call| call.rebuild.is_some());
        self.failed |= rebuilt || !self.results(&self.state.cells, &slots)?.failures.is_empty();
        let new = vec![false; slots.len()];
        self.windows.add(&Touched { slots, keys }, &new);
        Ok(())
    }
}

fn damaged(reason: String) -> Error {
    Error::State { table: TableId(0), reason }
}

/// Stored counts, of which none is below 0 and of each row one above.
fn counts(columns: &[ArrayRef]) -> Result<Vec<Int64Array>, Error> {
    let counts = columns.iter().map(|column| column.as_primitive_opt::<Int64Type>().cloned());
    let counts: Vec<Int64Array> =
        counts.collect::<Option<_>>().ok_or_else(|| damaged("no counts".into()))?;
    let rows = counts.first().map_or(0, Array::len);
    let wrong = |at: &usize| {
        counts.iter().any(|counts| counts.is_null(*at) || counts.value(*at) < 0)
            || counts.iter().all(|counts| counts.value(*at) == 0)
    };
    match (0..rows).find(wrong) {
        Some(at) => Err(damaged(format!("row {at} counts nothing, or less"))),
        None => Ok(counts),
    }
}

/// The columns of stored rows, in the types of their table.
fn stored(spec: &StateSpec, rows: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    if rows.num_columns() != spec.schema.fields().len() {
        return Err(damaged(format!("{} columns", rows.num_columns())));
    }
    let columns =
        spec.schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
            match field.data_type() == column.data_type() {
                true => Ok(Arc::clone(column)),
                false => cast(column, field.data_type()).map_err(|e| damaged(e.to_string())),
            }
        });
    columns.collect()
}
