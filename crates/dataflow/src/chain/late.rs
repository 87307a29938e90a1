//! Turning late rows away: a row is late for a window that had closed at the watermark of the epoch
//! before.
//!
//! The usual batch has no late row, which the least value of its column shows.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::{Int32Type, Int64Type};
use millrace_plan::LateCheck;
use millrace_types::{Delta, ObjectId};

use crate::natives;
use crate::operator::{Context, Error, LateRow, Output};

/// Takes the late rows out of a delta and lists them, once for each window that they miss.
///
/// # Errors
/// Columns that do not fit the check: a program error.
pub(super) fn turn_away(
    delta: Delta,
    check: &LateCheck,
    context: &Context,
    out: &mut Output,
) -> Result<Delta, Error> {
    // A leaf knows the watermark of its own source alone, which is no less than the least of several.
    let known = check.close.sources.iter().filter_map(|source| context.watermarks.get(source));
    let Some(watermark) = known.min().copied() else { return Ok(delta) };
    let Some(bound) = watermark.checked_sub(check.close.shift) else { return Ok(delta) };
    let column = delta.rows.column(check.close.column);
    let values = natives::values::<i64>(column);
    // A window ends after its panes start, so a pane start below the bound is needed, too.
    if values.iter().fold(i64::MAX, |least, value| least.min(*value)) > bound {
        return Ok(delta);
    }
    let mut keep = vec![true; delta.len()];
    for (row, value) in values.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
        let Some(hop) = &check.hop else {
            if *value <= bound {
                keep[row] = false;
                list(&delta, check, (row, value.saturating_add(check.to_end), watermark), out);
            }
            continue;
        };
        let (mut windows, mut missed) = (0, 0);
        for start in hop.windows(*value) {
            windows += 1;
            let end = start.saturating_add(hop.size);
            if end <= bound {
                missed += 1;
                list(&delta, check, (row, end, watermark), out);
            }
        }
        keep[row] = windows == 0 || missed < windows;
    }
    if keep.iter().all(|keep| *keep) {
        return Ok(delta);
    }
    Ok(delta.filter(&BooleanArray::from(keep))?)
}

fn list(
    delta: &Delta,
    check: &LateCheck,
    (row, window_end, watermark): (usize, i64, i64),
    out: &mut Output,
) {
    let (partition, offset) = check.origin;
    let time = check.event_time.map(|column| delta.rows.column(column));
    let time = time.filter(|column| column.is_valid(row));
    let late = LateRow {
        source: check.close.sources.first().copied().unwrap_or_else(ObjectId::default),
        partition: delta.rows.column(partition).as_primitive::<Int32Type>().value(row),
        offset: delta.rows.column(offset).as_primitive::<Int64Type>().value(row),
        window_end,
        event_time: time.map(|column| natives::values::<i64>(column)[row]),
        watermark,
    };
    // The copies of one row are listed once.
    if out.late.last() != Some(&late) {
        out.late.push(late);
    }
}
