//! The state table of sessions: hand-over and the way back.
//!
//! Columns of the table: those of the key, the row's others, its weight. All of the row is the table's
//! key.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millrace_types::TableId;

use super::Session;
use crate::operator::{Error, StateChange, StateSpec};

impl Session {
    /// The row's columns in the order of the table.
    fn order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        let all = 0..self.spec.input.schema.fields().len();
        for column in self.spec.key.iter().copied().chain(all) {
            if !order.contains(&column) {
                order.push(column);
            }
        }
        order
    }

    /// The state table.
    pub(super) fn table(&self) -> StateSpec {
        let order = self.order();
        let schema = &self.spec.input.schema;
        let column = |column: &usize| {
            let field = schema.field(*column);
            Field::new(format!("column_{column}"), field.data_type().clone(), field.is_nullable())
        };
        let mut fields: Vec<Field> = order.iter().map(column).collect();
        fields.push(Field::new("weight", DataType::Int64, true));
        let place = |column: &usize| order.iter().position(|known| known == column);
        let routing = self.spec.key.iter().filter_map(place).collect();
        StateSpec { schema: Arc::new(Schema::new(fields)), key: order.len(), routing }
    }

    /// The changed rows since the last hand-over; those without weight go.
    pub(super) fn changes(&mut self) -> Result<Option<StateChange>, Error> {
        let slots = self.marks.drain();
        if slots.is_empty() {
            return Ok(None);
        }
        let rows = self.rows.decode(&slots)?;
        let mut columns: Vec<ArrayRef> =
            self.order().into_iter().map(|column| Arc::clone(&rows[column])).collect();
        let weights: Vec<i64> = slots.iter().map(|slot| self.weights[*slot as usize]).collect();
        let gone: Vec<bool> = weights.iter().map(|weight| *weight == 0).collect();
        columns.push(Arc::new(Int64Array::from(weights)));
        for (slot, _) in slots.iter().zip(&gone).filter(|(_, gone)| **gone) {
            self.rows.remove(*slot);
        }
        let rows = RecordBatch::try_new(self.table().schema, columns)?;
        Ok(Some(StateChange { rows, gone: BooleanArray::from(gone), trim: None }))
    }

    /// Stored rows come back.
    pub(super) fn take_back(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let (spec, order) = (self.table(), self.order());
        let damaged = |reason: String| Error::State { table: TableId(0), reason };
        if rows.num_columns() != spec.schema.fields().len() {
            return Err(damaged(format!("{} columns", rows.num_columns())));
        }
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (field, column) in spec.schema.fields().iter().zip(rows.columns()) {
            columns.push(cast(column, field.data_type()).map_err(|e| damaged(e.to_string()))?);
        }
        let weights = columns.split_off(spec.key);
        let mut own = columns.clone();
        for (place, column) in order.into_iter().enumerate() {
            own[column] = Arc::clone(&columns[place]);
        }
        let places = self.places(&own, rows.num_rows())?;
        for (place, weight) in
            places.into_iter().zip(weights[0].as_primitive::<Int64Type>().values())
        {
            if *weight <= 0 {
                return Err(damaged(format!("a row has the weight {weight}")));
            }
            self.weights[place.2 as usize] = *weight;
            self.ordered.insert(place);
        }
        self.restored = true;
        Ok(())
    }
}
