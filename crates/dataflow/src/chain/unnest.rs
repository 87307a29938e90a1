//! Copying rows once for each place of their lists.
//!
//! Where one list is longer than another, the shorter one gives NULLs. A row whose lists are all
//! empty or NULL leaves nothing.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use millrace_types::Delta;

use super::batch;
use crate::operator::Error;

/// The copies; a column per list and the place, from 1, are appended.
///
/// # Errors
/// A schema that does not fit: a program error.
pub(super) fn copy(delta: &Delta, lists: &[usize], schema: &SchemaRef) -> Result<Delta, Error> {
    let columns: Vec<&ArrayRef> = lists.iter().map(|list| delta.rows.column(*list)).collect();
    let bounds = |list: usize, row: usize| {
        let list = columns[list].as_list::<i32>();
        let offsets = list.value_offsets();
        if list.is_null(row) { (0, 0) } else { (offsets[row], offsets[row + 1]) }
    };
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    let mut elements: Vec<Vec<Option<u32>>> = vec![Vec::new(); lists.len()];
    for (row, number) in (0..delta.len()).zip(0u32..) {
        let all: Vec<(i32, i32)> = (0..lists.len()).map(|list| bounds(list, row)).collect();
        let longest = all.iter().map(|(from, to)| to - from).max().unwrap_or_default();
        for place in 0..longest {
            rows.push(number);
            places.push(i64::from(place) + 1);
            for (elements, (from, to)) in elements.iter_mut().zip(&all) {
                let at = u32::try_from(from + place).ok();
                elements.push(at.filter(|_| from + place < *to));
            }
        }
    }
    let copies = delta.take(&UInt32Array::from(rows))?;
    let mut appended = copies.rows.columns().to_vec();
    for (list, elements) in columns.iter().zip(elements) {
        let values = list.as_list::<i32>().values();
        appended.push(take(values, &UInt32Array::from(elements), None)?);
    }
    appended.push(std::sync::Arc::new(Int64Array::from(places)));
    let rows = batch(schema, appended, copies.len())?;
    Ok(Delta { rows, weights: copies.weights, dest: copies.dest })
}
