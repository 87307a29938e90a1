//! The state table of an aggregation: marks of changed slots, hand-over and the way back.
//!
//! Columns of the table: the key, the column that settles first, then the columns of each part.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use millrace_types::TableId;

use super::{Aggregate, Touched};
use crate::graph::AggregateSpec;
use crate::operator::{Error, StateChange, StateSpec};

/// One bit a slot: changed since the last hand-over.
#[derive(Debug, Default)]
pub(in crate::operators) struct Marks {
    words: Vec<u64>,
    /// How many slots were read or written, counted each time.
    touched: u64,
}

impl Marks {
    /// Marks a slot.
    pub(in crate::operators) fn set(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot % 64);
        self.count(1);
    }

    /// Counts slots that were read or written.
    pub(in crate::operators) fn count(&mut self, slots: usize) {
        self.touched += u64::try_from(slots).expect("a count of slots");
    }

    /// Takes the mark away.
    pub(super) fn unset(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut(slot as usize / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// The marked slots, ascending; no slot is marked afterwards.
    pub(in crate::operators) fn drain(&mut self) -> Vec<u32> {
        let mut slots = Vec::new();
        for (base, word) in (0u32..).step_by(64).zip(&mut self.words) {
            let mut rest = std::mem::take(word);
            while rest != 0 {
                slots.push(base + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        self.count(slots.len());
        slots
    }

    /// State slots read and written so far.
    pub(in crate::operators) fn touched(&self) -> u64 {
        self.touched
    }

    /// Bytes in memory.
    pub(in crate::operators) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

/// Positions in the group columns, in the order of the state table's key.
fn key_order(spec: &AggregateSpec, first: Option<usize>) -> Vec<usize> {
    let others = (0..spec.group.len()).filter(|position| Some(*position) != first);
    first.into_iter().chain(others).collect()
}

impl Aggregate {
    fn key_order(&self) -> Vec<usize> {
        key_order(&self.spec, self.windows.key())
    }

    /// The state table.
    pub(super) fn table(&self) -> StateSpec {
        let order = self.key_order();
        let key = order.iter().map(|position| {
            let field = self.spec.input.schema.field(self.spec.group[*position]);
            Field::new(format!("key_{position}"), field.data_type().clone(), field.is_nullable())
        });
        let mut fields: Vec<Field> = key.collect();
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
    pub(super) fn changes(&mut self) -> Result<Option<StateChange>, Error> {
        let slots = self.marks.drain();
        let trim = self.windows.take_trim();
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
        let damaged = |reason: String| Error::State { table: TableId(0), reason };
        if rows.num_columns() != spec.schema.fields().len() {
            return Err(damaged(format!("{} columns", rows.num_columns())));
        }
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (field, column) in spec.schema.fields().iter().zip(rows.columns()) {
            columns.push(match field.data_type() == column.data_type() {
                true => Arc::clone(column),
                false => cast(column, field.data_type()).map_err(|e| damaged(e.to_string()))?,
            });
        }
        let states = columns.split_off(spec.key);
        let mut keys = columns.clone();
        for (place, position) in self.key_order().into_iter().enumerate() {
            keys[position] = Arc::clone(&columns[place]);
        }
        let slots = self.state.slots(&keys, rows.num_rows())?;
        let mut states = states.as_slice();
        for cell in &mut self.state.cells {
            let (own, others) = states.split_at(cell.fields().len());
            cell.restore(&slots, own).map_err(damaged)?;
            states = others;
        }
        self.started = true;
        self.failed |= !self.results(&self.state.cells, &slots)?.failures.is_empty();
        let new = vec![false; slots.len()];
        self.windows.add(&Touched { slots, keys }, &new);
        Ok(())
    }
}
