//! The state tables of a join, one a side: hand-over and the way back.
//!
//! Columns of a table: the time by which rows are done, if they ever are, those of the join key, the
//! row's others, its weight and, where what leaves depends on it, the weight of its matches. The
//! table's key ends with what identifies the row: its key if rows are never retracted, so that texts
//! are not compared when the table is sorted; else all of the row, as an update is two rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millrace_types::TableId;

use super::Join;
use crate::operator::{Error, StateChange, StateSpec};

impl Join {
    /// The row's columns in the order of the table, and how many of them are its key.
    fn order(&self, side: usize) -> (Vec<usize>, usize) {
        let input = &self.spec.inputs[side];
        let all: Vec<usize> = (0..input.schema.fields().len()).collect();
        let own = if input.append_only && !input.key.is_empty() { &input.key } else { &all };
        let time = self.sides[side].clean_column();
        let first = time.into_iter().chain(self.on[side].iter().copied());
        let add = |mut order: Vec<usize>, column: usize| {
            if !order.contains(&column) {
                order.push(column);
            }
            order
        };
        let key = first.chain(own.iter().copied()).fold(Vec::new(), add);
        let columns = key.len();
        (all.iter().copied().fold(key, add), columns)
    }

    /// The state table of a side.
    pub(super) fn table(&self, side: usize) -> StateSpec {
        let (order, key) = self.order(side);
        let schema = &self.spec.inputs[side].schema;
        let column = |column: &usize| {
            let field = schema.field(*column);
            Field::new(format!("column_{column}"), field.data_type().clone(), field.is_nullable())
        };
        let mut fields: Vec<Field> = order.iter().map(column).collect();
        fields.push(Field::new("weight", DataType::Int64, true));
        if self.sides[side].counts {
            fields.push(Field::new("matches", DataType::Int64, true));
        }
        let place = |column: &usize| order.iter().position(|known| known == column);
        let routing = self.on[side].iter().filter_map(place).collect();
        StateSpec { schema: Arc::new(Schema::new(fields)), key, routing }
    }

    /// The changed rows of a side since the last hand-over; those without weight go.
    pub(super) fn changes(&mut self, side: usize) -> Result<Option<StateChange>, Error> {
        let trim = self.sides[side].take_trim();
        let slots = self.sides[side].marks.drain();
        if slots.is_empty() && trim.is_none() {
            return Ok(None);
        }
        let (spec, (order, _)) = (self.table(side), self.order(side));
        let rows = &mut self.sides[side];
        let own = rows.rows.decode(&slots)?;
        let mut columns: Vec<ArrayRef> =
            order.into_iter().map(|column| Arc::clone(&own[column])).collect();
        let weights = slots.iter().map(|slot| rows.weight(*slot));
        let gone: Vec<bool> = weights.clone().map(|weight| weight == 0).collect();
        columns.push(Arc::new(Int64Array::from_iter_values(weights)));
        if rows.counts {
            let matches = slots.iter().map(|slot| rows.matches[*slot as usize]);
            columns.push(Arc::new(Int64Array::from_iter_values(matches)));
        }
        for (slot, _) in slots.iter().zip(&gone).filter(|(_, gone)| **gone) {
            rows.rows.remove(*slot);
        }
        let rows = RecordBatch::try_new(spec.schema, columns)?;
        Ok(Some(StateChange { rows, gone: BooleanArray::from(gone), trim }))
    }

    /// Stored rows of a side come back.
    pub(super) fn take_back(&mut self, side: usize, rows: &RecordBatch) -> Result<(), Error> {
        let (spec, (order, _)) = (self.table(side), self.order(side));
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
        let counts = columns.split_off(order.len());
        let mut own = columns.clone();
        for (place, column) in order.into_iter().enumerate() {
            own[column] = Arc::clone(&columns[place]);
        }
        let keys = self.keys(side, &own, rows.num_rows())?;
        let rows = &mut self.sides[side];
        let slots = rows.slots(&own, keys.len())?;
        let numbers = |column: &ArrayRef| match column.as_any().downcast_ref::<Numbers>() {
            Some(numbers) if numbers.null_count() == 0 => Ok(numbers.values().to_vec()),
            _ => Err(damaged("a weight is no number".to_owned())),
        };
        for ((slot, key), weight) in slots.iter().zip(keys).zip(numbers(&counts[0])?) {
            if weight <= 0 || rows.weight(*slot) != 0 {
                return Err(damaged(format!("a row has the weight {weight}, or is there twice")));
            }
            rows.weights[*slot as usize] = weight;
            rows.link(key, *slot);
        }
        if let Some(matches) = counts.get(1) {
            for (slot, matches) in slots.iter().zip(numbers(matches)?) {
                rows.matches[*slot as usize] = matches;
            }
        }
        Ok(())
    }
}

type Numbers = arrow::array::PrimitiveArray<Int64Type>;
