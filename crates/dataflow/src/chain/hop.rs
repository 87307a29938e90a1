//! Copying rows into every hopping window that their time falls in.
//!
//! Used only where panes cannot serve, because a row is copied `size / slide` times. A row without
//! a time stays once, with NULL bounds.

use arrow::array::{Array, UInt32Array};
use arrow::datatypes::SchemaRef;
use millrace_plan::Hop;
use millrace_types::Delta;

use super::batch;
use crate::natives;
use crate::operator::Error;

/// The copies, with the bounds of their window appended.
///
/// # Errors
/// A schema that does not fit: a program error.
pub(super) fn copy(delta: &Delta, hop: &Hop, schema: &SchemaRef) -> Result<Delta, Error> {
    let column = delta.rows.column(hop.column);
    let times = natives::values::<i64>(column);
    let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for (row, time) in (0u32..).zip(times.iter()) {
        if column.is_null(row as usize) {
            rows.push(row);
            starts.push(None);
            ends.push(None);
            continue;
        }
        for start in hop.windows(*time) {
            rows.push(row);
            starts.push(Some(start));
            ends.push(Some(start.saturating_add(hop.size)));
        }
    }
    let copies = delta.take(&UInt32Array::from(rows))?;
    let mut columns = copies.rows.columns().to_vec();
    for bounds in [starts, ends] {
        let data_type = schema.field(columns.len()).data_type();
        columns.push(natives::optional(data_type, bounds)?);
    }
    let rows = batch(schema, columns, copies.len())?;
    Ok(Delta { rows, weights: copies.weights, dest: copies.dest })
}
