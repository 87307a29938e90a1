//! The state table of rows that stay: hand-over and the way back.
//!
//! Columns of the table: the time at which a row is let go (its end; its beginning where it has no
//! end), the row's others, then whether it is shown and its weight. All of the row is the key.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millrace_types::TableId;

use super::{Kept, Stay};
use crate::operator::{Error, StateChange, StateSpec};

impl Stay {
    /// The row's columns in the order of the table.
    fn order(&self) -> Vec<usize> {
        let first = self.spec.until.or(self.spec.from);
        let others = (0..self.spec.input.schema.fields().len()).filter(|c| Some(*c) != first);
        first.into_iter().chain(others).collect()
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
        fields.push(Field::new("shown", DataType::Boolean, true));
        fields.push(Field::new("weight", DataType::Int64, true));
        let place = |column: &usize| order.iter().position(|known| known == column);
        let routing = self.spec.input.key.iter().filter_map(place).collect();
        StateSpec { schema: Arc::new(Schema::new(fields)), key: order.len(), routing }
    }

    /// The changed rows since the last hand-over; those without weight go.
    pub(super) fn changes(&mut self) -> Result<Option<StateChange>, Error> {
        let trim = self.trim.take();
        let slots = self.marks.drain();
        if slots.is_empty() && trim.is_none() {
            return Ok(None);
        }
        let rows = self.rows.decode(&slots)?;
        let mut columns: Vec<ArrayRef> =
            self.order().into_iter().map(|column| Arc::clone(&rows[column])).collect();
        let kept: Vec<Kept> = slots.iter().map(|slot| self.kept[*slot as usize]).collect();
        let gone: Vec<bool> = kept.iter().map(|kept| kept.weight == 0).collect();
        let shown: Vec<bool> = kept.iter().map(|kept| kept.shown).collect();
        columns.push(Arc::new(BooleanArray::from(shown)));
        columns.push(Arc::new(Int64Array::from_iter_values(kept.iter().map(|kept| kept.weight))));
        for (slot, _) in slots.iter().zip(&gone).filter(|(_, gone)| **gone) {
            self.rows.remove(*slot);
        }
        let rows = RecordBatch::try_new(self.table().schema, columns)?;
        Ok(Some(StateChange { rows, gone: BooleanArray::from(gone), trim }))
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
        let state = columns.split_off(spec.key);
        let mut own = columns.clone();
        for (place, column) in order.into_iter().enumerate() {
            own[column] = Arc::clone(&columns[place]);
        }
        let (shown, weights) = (state[0].as_boolean(), state[1].as_primitive::<Int64Type>());
        let times = self.times(&own);
        let mut turns = Vec::with_capacity(weights.len());
        for row in 0..weights.len() {
            let Some((from, until)) = times.of(row).filter(|_| weights.value(row) > 0) else {
                return Err(damaged("a row that stays has no time or no weight".to_owned()));
            };
            let shown = shown.value(row);
            turns.push((if shown { until } else { from }, shown));
        }
        self.keep(&own, &turns, weights.values())?;
        // What has come back need not be written.
        self.marks.drain();
        Ok(())
    }
}
