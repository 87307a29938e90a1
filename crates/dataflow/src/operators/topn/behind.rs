//! Rows that fall behind a group that is full, told by the first columns of the order alone.
//!
//! Over rows that only come most of them are behind the last row that is kept, and a row as bytes is
//! dear: all its texts are in it. The bytes of the order's first columns are how the bytes of the row
//! begin, so they are made first, and the rest only of rows that they do not decide.

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::Schema;
use arrow::row::RowConverter;
use millrace_plan::Order;

use super::super::sorted::{List, Rows, sort_field};
use crate::operator::Error;

/// So many columns of the order at most.
const COLUMNS: usize = 2;

/// See the head of the file.
pub(super) struct Behind {
    columns: Vec<usize>,
    converter: RowConverter,
    /// A group with so many rows is full.
    kept: usize,
}

impl Behind {
    /// None where the order begins with a column whose bytes are as dear as the row's.
    ///
    /// # Errors
    /// A column type that Arrow's row format does not take.
    pub(super) fn new(
        schema: &Schema,
        order: &[Order],
        kept: i64,
    ) -> Result<Option<Behind>, Error> {
        let is_short = |order: &&Order| schema.field(order.column).data_type().is_primitive();
        let mut first: Vec<&Order> = Vec::new();
        for order in order.iter().take_while(is_short) {
            if first.len() < COLUMNS && first.iter().all(|known| known.column != order.column) {
                first.push(order);
            }
        }
        let Some(kept) = usize::try_from(kept).ok().filter(|_| !first.is_empty()) else {
            return Ok(None);
        };
        let fields = first.iter().map(|order| sort_field(schema, order)).collect();
        let columns = first.iter().map(|order| order.column).collect();
        Ok(Some(Behind { columns, converter: RowConverter::new(fields)?, kept }))
    }

    /// Which rows are not behind their group for certain; None if no row is.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn others(
        &self,
        columns: &[ArrayRef],
        weights: &Int64Array,
        groups: &[u32],
        (lists, rows): (&[List], &Rows),
    ) -> Result<Option<BooleanArray>, Error> {
        if !groups.iter().any(|group| lists[*group as usize].len() >= self.kept) {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| columns[*at].clone()).collect();
        let begins = self.converter.convert_columns(&columns)?;
        let is_behind = |(row, group): (usize, &u32)| {
            let list = &lists[*group as usize];
            if list.len() < self.kept || weights.value(row) < 0 {
                return false;
            }
            let begin = begins.row(row);
            let begin = begin.as_ref();
            list.last().is_none_or(|last| rows.bytes_of(last)[..begin.len()] < *begin)
        };
        let others: BooleanArray =
            groups.iter().enumerate().map(|at| Some(!is_behind(at))).collect();
        Ok(Some(others).filter(BooleanArray::has_false))
    }
}
