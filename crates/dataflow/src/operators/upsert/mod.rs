//! The newest row of each key: what a topic of changes says that is there now.
//!
//! The rows of one time are looked at together: of each key that occurs only the newest counts, by
//! offset and partition, whatever the order in which they came. It replaces the row that was there
//! before, or takes it away. A row that changes nothing sends nothing.
//!
//! Under retraction: the input only appends (asserted in [`Upsert::finish`]). The output retracts the
//! row that was there, as it was sent.
//!
//! State: one table, a row a key. A key that is deleted leaves nothing behind once the next hand-over has
//! written that.
//!
//! Invariants: 1. a key has at most one row ([`Upsert::current`]). 2. a row is in the index of rows while
//! it is the current one of its key, and not longer.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, UInt32Array,
    new_null_array,
};
use arrow::compute::{cast, concat_batches, take_arrays};
use arrow::datatypes::{Field, Int32Type, Int64Type, Schema, SchemaRef};
use millrace_types::{Delta, TableId, Ts, concat_deltas};

use super::away::{Away, can_be_found};
use super::slots::Marks;
use super::slots::NONE;
use super::slots::{self, Index};
use crate::graph::UpsertSpec;
use crate::operator::{Context, Error, Operator, Output, StateChange, StateSpec, Stored};

/// See the head of the file.
pub(crate) struct Upsert {
    spec: Arc<UpsertSpec>,
    /// The row's columns in the order of the state table: the key, then the others.
    order: Vec<usize>,
    absorbed: BTreeMap<Ts, Vec<Delta>>,
    keys: Box<dyn Index>,
    /// Rows that the store alone has.
    away: Away,
    /// Whole rows.
    rows: Box<dyn Index>,
    /// By slot of the key: the slot of its row, or [`NONE`].
    current: Vec<u32>,
    /// Of the keys.
    marks: Marks,
    /// By slot of the key, while a time is finished: the newest row, or [`NONE`].
    newest: Vec<u32>,
}

/// What decides between rows of one key; the greatest counts.
struct Newness<'a> {
    offsets: &'a PrimitiveArray<Int64Type>,
    partitions: &'a PrimitiveArray<Int32Type>,
    deleted: Option<&'a BooleanArray>,
}

impl Newness<'_> {
    /// One message may take a key away and give it a row: then it has the row.
    fn of(&self, row: u32) -> (i64, i32, bool) {
        let row = row as usize;
        (self.offsets.value(row), self.partitions.value(row), !self.is_deleted(row))
    }

    fn is_deleted(&self, row: usize) -> bool {
        self.deleted.is_some_and(|deleted| deleted.value(row))
    }
}

impl Upsert {
    /// The operator, without rows.
    ///
    /// # Errors
    /// A column type that it does not take.
    pub(crate) fn new(spec: Arc<UpsertSpec>) -> Result<Upsert, Error> {
        let fields: Vec<&Field> = spec.output.fields().iter().map(AsRef::as_ref).collect();
        let keys: Vec<&Field> = spec.key.iter().map(|column| fields[*column]).collect();
        let others = (0..fields.len()).filter(|column| !spec.key.contains(column));
        Ok(Upsert {
            order: spec.key.iter().copied().chain(others).collect(),
            absorbed: BTreeMap::new(),
            keys: slots::index(&keys)?,
            away: Away::default(),
            rows: slots::row_index(&fields)?,
            current: Vec::new(),
            marks: Marks::default(),
            newest: Vec::new(),
            spec,
        })
    }

    /// What is stored of the keys of some rows comes back.
    fn bring_back(&mut self, columns: &[ArrayRef], rows: usize) -> Result<(), Error> {
        let keys: Vec<ArrayRef> =
            self.spec.key.iter().map(|column| Arc::clone(&columns[*column])).collect();
        let missing = self.away.missing(self.keys.as_ref(), &keys, rows)?;
        let Some(missing) = missing else { return Ok(()) };
        for rows in self.away.fetch(0, &missing)? {
            self.restore(0, rows)?;
        }
        Ok(())
    }

    fn key_slots(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        let keys: Vec<ArrayRef> =
            self.spec.key.iter().map(|column| Arc::clone(&columns[*column])).collect();
        let mut slots = Vec::new();
        self.keys.assign(&keys, rows, &mut slots)?;
        self.current.resize(self.keys.capacity(), NONE);
        self.newest.resize(self.keys.capacity(), NONE);
        Ok(slots)
    }

    /// The keys that occur, each with its newest row.
    fn newest(&mut self, slots: &[u32], newness: &Newness<'_>) -> Vec<(u32, u32)> {
        let mut touched = Vec::new();
        for (row, slot) in (0u32..).zip(slots) {
            let newest = &mut self.newest[*slot as usize];
            if *newest == NONE {
                touched.push(*slot);
                *newest = row;
            } else if newness.of(row) >= newness.of(*newest) {
                *newest = row;
            }
        }
        let newest = |slot| (slot, std::mem::replace(&mut self.newest[slot as usize], NONE));
        touched.into_iter().map(newest).collect()
    }

    /// Gives a key its row, or none; the slot of the row that it had, if that goes.
    fn replace(&mut self, key: u32, row: u32) -> Option<u32> {
        self.marks.set(key);
        let old = std::mem::replace(&mut self.current[key as usize], row);
        (old != NONE && old != row).then_some(old)
    }

    /// Sends the rows that went and those that came.
    fn send(&mut self, gone: &[u32], come: Vec<ArrayRef>, out: &mut Output) -> Result<(), Error> {
        let schema = &self.spec.output;
        if !gone.is_empty() {
            let rows = RecordBatch::try_new(Arc::clone(schema), self.rows.decode(gone)?)?;
            out.deltas.push(Delta::constant(rows, -1));
        }
        if come.first().is_some_and(|column| !column.is_empty()) {
            let rows = RecordBatch::try_new(Arc::clone(schema), come)?;
            out.deltas.push(Delta::constant(rows, 1));
        }
        Ok(())
    }

    /// The table's columns: those that are no key are NULL where the key is gone.
    fn table_schema(&self) -> SchemaRef {
        let field = |(place, column): (usize, &usize)| {
            let field = self.spec.output.field(*column);
            let nullable = field.is_nullable() || place >= self.spec.key.len();
            Field::new(format!("column_{column}"), field.data_type().clone(), nullable)
        };
        Arc::new(Schema::new(self.order.iter().enumerate().map(field).collect::<Vec<_>>()))
    }
}

impl Operator for Upsert {
    fn absorb(&mut self, _: usize, delta: Delta, context: &Context) -> Result<(), Error> {
        if !delta.is_empty() {
            self.absorbed.entry(context.ts).or_default().push(delta);
        }
        Ok(())
    }

    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error> {
        let deltas = self.absorbed.remove(&context.ts).unwrap_or_default();
        let Some(delta) = concat_deltas(&deltas)? else { return Ok(()) };
        let adds = delta.weights.values().iter().all(|weight| *weight == 1);
        assert!(adds, "{}: a row of a topic has another weight than 1", self.spec.name);
        let columns = delta.rows.columns();
        self.bring_back(columns, delta.len())?;
        let slots = self.key_slots(columns, delta.len())?;
        let (partition, offset) = self.spec.origin;
        let newness = Newness {
            offsets: columns[offset].as_primitive(),
            partitions: columns[partition].as_primitive(),
            deleted: self.spec.deleted.map(|column| columns[column].as_boolean()),
        };
        let touched = self.newest(&slots, &newness);
        let (gone, kept): (Vec<_>, Vec<_>) =
            touched.into_iter().partition(|(_, row)| newness.is_deleted(*row as usize));

        let rows: UInt32Array = kept.iter().map(|(_, row)| *row).collect::<Vec<_>>().into();
        let width = self.spec.output.fields().len();
        let kept_columns = take_arrays(&columns[..width], &rows, None)?;
        let mut row_slots = Vec::new();
        self.rows.assign(&kept_columns, rows.len(), &mut row_slots)?;

        let (mut replaced, mut come) = (Vec::new(), Vec::new());
        for (at, ((key, _), row)) in (0u32..).zip(kept.iter().zip(row_slots)) {
            if self.current[*key as usize] != row {
                replaced.extend(self.replace(*key, row));
                come.push(at);
            }
        }
        let mut left: Vec<u32> =
            gone.iter().filter_map(|(key, _)| self.replace(*key, NONE)).collect();
        let come = take_arrays(&kept_columns, &UInt32Array::from(come), None)?;
        // A row that replaces one of its key need not wait for that to go, if nobody follows.
        let unsent = if context.changelog { Vec::new() } else { std::mem::take(&mut replaced) };
        left.extend(replaced);
        self.send(&left, come, out)?;
        for row in left.into_iter().chain(unsent) {
            self.rows.remove(row);
        }
        Ok(())
    }

    fn tables(&self) -> Vec<StateSpec> {
        let key = self.spec.key.len();
        vec![StateSpec { schema: self.table_schema(), key, routing: (0..key).collect() }]
    }

    fn settle(&mut self, _: &Context) -> Result<(), Error> {
        Ok(())
    }

    fn hand_over(&mut self) -> Result<Vec<Option<StateChange>>, Error> {
        let slots = self.marks.drain();
        if slots.is_empty() {
            return Ok(vec![None]);
        }
        let (gone, kept): (Vec<u32>, Vec<u32>) =
            slots.into_iter().partition(|slot| self.current[*slot as usize] == NONE);
        let schema = self.table_schema();
        let rows: Vec<u32> = kept.iter().map(|slot| self.current[*slot as usize]).collect();
        let whole = self.rows.decode(&rows)?;
        let there = self.order.iter().map(|column| Arc::clone(&whole[*column])).collect();
        let there = RecordBatch::try_new(Arc::clone(&schema), there)?;
        let mut keys = self.keys.decode(&gone)?;
        let others = schema.fields().iter().skip(keys.len());
        keys.extend(others.map(|field| new_null_array(field.data_type(), gone.len())));
        let not_there = RecordBatch::try_new(Arc::clone(&schema), keys)?;
        let rows = concat_batches(&schema, [&there, &not_there])?;
        let marks = kept.iter().map(|_| false).chain(gone.iter().map(|_| true));
        let change = StateChange { rows, gone: marks.collect::<Vec<_>>().into(), trim: None };
        for slot in gone {
            self.keys.remove(slot);
        }
        Ok(vec![Some(change)])
    }

    fn restore(&mut self, table: usize, rows: RecordBatch) -> Result<(), Error> {
        assert!(table == 0, "{}: it has one table", self.spec.name);
        let damaged = |reason: String| Error::State { table: TableId(0), reason };
        if rows.num_columns() != self.order.len() {
            return Err(damaged(format!("{} columns", rows.num_columns())));
        }
        let mut columns = rows.columns().to_vec();
        for (column, stored) in self.order.iter().zip(rows.columns()) {
            let wanted = self.spec.output.field(*column).data_type();
            columns[*column] = match wanted == stored.data_type() {
                true => Arc::clone(stored),
                false => cast(stored, wanted).map_err(|error| damaged(error.to_string()))?,
            };
        }
        let keys = self.key_slots(&columns, rows.num_rows())?;
        let mut slots = Vec::new();
        self.rows.assign(&columns, rows.num_rows(), &mut slots)?;
        for (key, row) in keys.into_iter().zip(slots) {
            if std::mem::replace(&mut self.current[key as usize], row) != NONE {
                return Err(damaged("a key is there twice".to_owned()));
            }
        }
        Ok(())
    }

    fn let_go(&mut self, stored: &Arc<dyn Stored>) -> Result<bool, Error> {
        if !can_be_found(self.spec.key.iter().map(|column| self.spec.output.field(*column))) {
            return Ok(false);
        }
        let Upsert { keys, rows, .. } = Upsert::new(Arc::clone(&self.spec))?;
        (self.keys, self.rows) = (keys, rows);
        (self.current, self.newest) = (Vec::new(), Vec::new());
        self.marks.shrink();
        self.away.begin(stored);
        Ok(true)
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> usize {
        let absorbed = self.absorbed.values().flatten();
        self.keys.bytes()
            + self.rows.bytes()
            + (self.current.capacity() + self.newest.capacity()) * size_of::<u32>()
            + self.marks.bytes()
            + absorbed.map(Delta::bytes).sum::<usize>()
    }

    fn touched(&self) -> u64 {
        self.marks.touched()
    }
}
