//! Hopping windows: each pane goes into every window that contains it.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use millrace_plan::Hop;

use crate::natives;
use crate::operator::Error;

/// The keys of the windows of some panes that start in a range, and for each the pane's row. A NULL
/// pane is in the NULL window.
pub(super) fn expand(
    hop: &Hop,
    mut keys: Vec<ArrayRef>,
    range: Range<i64>,
) -> Result<(Vec<ArrayRef>, Vec<u32>), Error> {
    let column = &keys[hop.column];
    let panes = natives::values::<i64>(column);
    let (mut from, mut starts) = (Vec::new(), Vec::new());
    for (row, pane) in (0u32..).zip(panes.iter()) {
        if column.is_null(row as usize) {
            from.push(row);
            starts.push(None);
            continue;
        }
        for start in hop.windows_within(*pane, range.clone()) {
            from.push(row);
            starts.push(Some(start));
        }
    }
    let starts = natives::optional(column.data_type(), starts)?;
    let rows = UInt32Array::from(from.clone());
    for key in &mut keys {
        *key = take(key, &rows, None)?;
    }
    keys[hop.column] = starts;
    Ok((keys, from))
}

/// The ends of windows.
pub(super) fn ends(hop: &Hop, starts: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, Error> {
    let values = natives::values::<i64>(starts);
    let end = |row: usize| starts.is_valid(row).then(|| values[row].saturating_add(hop.size));
    Ok(natives::optional(data_type, (0..starts.len()).map(end).collect())?)
}
