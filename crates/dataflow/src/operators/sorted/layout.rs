//! The state table of rows in groups.
//!
//! Columns of the table: the group's, those of the rows' key, the others, then what the operator adds.
//! Group and key are the table's key.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use millrace_plan::Meta;
use millrace_types::TableId;

use crate::operator::{Error, StateChange, StateSpec};
use crate::operators::away::Away;
use crate::operators::slots::Index;

/// See the head of the file.
pub(in crate::operators) struct Layout {
    /// The rows' columns in the order of the table.
    columns: Vec<usize>,
    spec: StateSpec,
}

impl Layout {
    /// For rows of which `input` is known, in groups by some columns, of which one may come `first`;
    /// `added` columns follow.
    pub(in crate::operators) fn new(
        input: &Meta,
        group: &[usize],
        first: Option<usize>,
        added: Vec<Field>,
    ) -> Layout {
        let mut columns: Vec<usize> = Vec::new();
        let mut add = |all: &mut dyn Iterator<Item = usize>| {
            for column in all {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
            columns.len()
        };
        let key = add(&mut first.iter().chain(group).chain(&input.key).copied());
        add(&mut (0..input.schema.fields().len()));
        let own = columns.iter().map(|column| {
            let field = input.schema.field(*column);
            Field::new(format!("column_{column}"), field.data_type().clone(), field.is_nullable())
        });
        let schema: SchemaRef = Arc::new(Schema::new(own.chain(added).collect::<Vec<_>>()));
        let place = |column: &usize| columns.iter().position(|known| known == column);
        let routing = group.iter().filter_map(place).collect();
        Layout { columns, spec: StateSpec { schema, key, routing } }
    }

    /// The table.
    pub(in crate::operators) fn spec(&self) -> StateSpec {
        self.spec.clone()
    }

    /// What is stored of the groups of some rows that are not known.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::operators) fn fetch(
        &self,
        (away, known): (&Away, &dyn Index),
        group: &[usize],
        (columns, rows): (&[ArrayRef], usize),
    ) -> Result<Vec<RecordBatch>, Error> {
        let keys: Vec<ArrayRef> = group.iter().map(|at| Arc::clone(&columns[*at])).collect();
        let Some(missing) = away.missing(known, &keys, rows)? else { return Ok(Vec::new()) };
        // The table begins with the group's columns, in an order of its own.
        let place = |column: &usize| group.iter().position(|grouped| grouped == column);
        let leading = self.columns.iter().map_while(place).map(|at| Arc::clone(&missing[at]));
        away.fetch(0, &leading.collect::<Vec<_>>())
    }

    /// A change of the table: rows that are there, with what is added, and rows that are gone; what is
    /// below `trim` is gone too. The columns of the rows are in the order of their schema.
    ///
    /// # Errors
    /// Arrow's.
    pub(in crate::operators) fn change(
        &self,
        there: &[ArrayRef],
        added: &[ArrayRef],
        gone: &[ArrayRef],
        trim: Option<i64>,
    ) -> Result<StateChange, Error> {
        let count = |columns: &[ArrayRef]| columns.first().map_or(0, |column| column.len());
        let (kept, lost) = (count(there), count(gone));
        let mut columns = Vec::with_capacity(self.spec.schema.fields().len());
        for column in &self.columns {
            columns.push(concat(&[there[*column].as_ref(), gone[*column].as_ref()])?);
        }
        for column in added {
            let nothing = arrow::array::new_null_array(column.data_type(), lost);
            columns.push(concat(&[column.as_ref(), nothing.as_ref()])?);
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?;
        let is_gone: BooleanArray = (0..kept + lost).map(|row| Some(row >= kept)).collect();
        if lost == 0 {
            return Ok(StateChange { rows, gone: is_gone, trim });
        }
        // A key may be gone and there again, with another row.
        let keep = once(&rows.columns()[..self.spec.key], kept + lost)?;
        let rows = arrow::compute::filter_record_batch(&rows, &keep)?;
        let gone = arrow::compute::filter(&is_gone, &keep)?;
        Ok(StateChange { rows, gone: gone.as_boolean().clone(), trim })
    }

    /// The columns of stored rows in the order of their schema, and what was added.
    ///
    /// # Errors
    /// Rows that are not of this table.
    pub(in crate::operators) fn read(
        &self,
        rows: &RecordBatch,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        let fields = self.spec.schema.fields();
        if rows.num_columns() != fields.len() {
            return Err(damaged(format!("{} columns", rows.num_columns())));
        }
        let mut stored = Vec::with_capacity(rows.num_columns());
        for (field, column) in fields.iter().zip(rows.columns()) {
            stored.push(match field.data_type() == column.data_type() {
                true => Arc::clone(column),
                false => cast(column, field.data_type()).map_err(|e| damaged(e.to_string()))?,
            });
        }
        let added = stored.split_off(self.columns.len());
        let mut columns = stored.clone();
        for (column, values) in self.columns.iter().zip(stored) {
            columns[*column] = values;
        }
        Ok((columns, added))
    }
}

/// Stored rows do not fit.
pub(in crate::operators) fn damaged(reason: String) -> Error {
    Error::State { table: TableId(0), reason }
}

/// True for the first row of each key.
fn once(key: &[ArrayRef], rows: usize) -> Result<BooleanArray, Error> {
    if key.is_empty() {
        return Ok((0..rows).map(|row| Some(row == 0)).collect());
    }
    let fields = key.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(key)?;
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_unstable_by(|a, b| keys.row(*a).cmp(&keys.row(*b)).then(a.cmp(b)));
    order.dedup_by(|other, first| keys.row(*other) == keys.row(*first));
    let mut keep = vec![false; rows];
    order.into_iter().for_each(|row| keep[row] = true);
    Ok(BooleanArray::from(keep))
}
