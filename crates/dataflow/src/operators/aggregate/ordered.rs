//! `first_value` and `last_value` over append-only rows.
//!
//! A slot keeps one row as bytes of Arrow's row format: the ORDER BY columns, then the columns of
//! the row's key, which break ties, then the value. The bytes compare as the order does, so the
//! first row is their minimum. State tables hold the columns themselves, not the bytes.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use super::accumulator::{Accumulator, Moves, Weights, same};
use super::extreme::Results;
use crate::natives;
use crate::operator::Error;

/// The first (or last) rows of an order.
pub(super) struct FirstRow {
    converter: RowConverter,
    types: Vec<DataType>,
    last: bool,
    rows: Vec<Option<Box<[u8]>>>,
    heap: usize,
}

impl FirstRow {
    /// Columns are: order, ties, value.
    ///
    /// # Errors
    /// A type that Arrow's row format does not take.
    pub(super) fn new(
        columns: Vec<SortField>,
        types: Vec<DataType>,
        last: bool,
    ) -> Result<FirstRow, Error> {
        let converter = RowConverter::new(columns)?;
        Ok(FirstRow { converter, types, last, rows: Vec::new(), heap: 0 })
    }

    fn keep(&mut self, slot: usize, row: &[u8]) {
        let place = &mut self.rows[slot];
        let better = match place {
            None => true,
            Some(old) if self.last => row > &**old,
            Some(old) => row < &**old,
        };
        if better {
            self.heap += row.len();
            self.heap -= place.as_ref().map_or(0, |old| old.len());
            *place = Some(row.into());
        }
    }

    /// All columns of the rows of some slots, NULL where there is none.
    fn columns(&self, slots: &[u32], valid: &[bool]) -> Result<Vec<ArrayRef>, Error> {
        let parser = self.converter.parser();
        let mut rows = Vec::new();
        let mut places: Vec<Option<u32>> = Vec::with_capacity(slots.len());
        for (slot, valid) in slots.iter().zip(valid) {
            let row = self.rows[*slot as usize].as_ref().filter(|_| *valid);
            places.push(row.map(|row| {
                rows.push(parser.parse(row));
                u32::try_from(rows.len() - 1).expect("less rows than slots")
            }));
        }
        if rows.is_empty() {
            return Ok(self.types.iter().map(|t| new_null_array(t, slots.len())).collect());
        }
        let places = arrow::array::UInt32Array::from(places);
        let columns = self.converter.convert_rows(rows)?;
        columns.iter().map(|column| Ok(take(column, &places, None)?)).collect()
    }
}

impl Results for FirstRow {
    fn results(&self, slots: &[u32], valid: &[bool]) -> Result<ArrayRef, Error> {
        let mut columns = self.columns(slots, valid)?;
        Ok(natives::zeroed(columns.pop().expect("the value is the last column")))
    }
}

impl Accumulator for FirstRow {
    fn resize(&mut self, slots: usize) {
        self.rows.resize(slots, None);
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.heap = 0;
    }

    fn reset(&mut self, slot: u32) {
        let old = self.rows[slot as usize].take();
        self.heap -= old.map_or(0, |old| old.len());
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        let rows = self.converter.convert_columns(columns)?;
        weights.each_inserted(groups.len(), |row| {
            self.keep(groups[row] as usize, rows.row(row).as_ref());
        });
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &FirstRow = same(other);
        for (from, into) in moves.pairs() {
            if let Some(row) = &other.rows[from] {
                self.keep(into, row);
            }
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(&'static str, DataType)> {
        let columns = self.types.iter().map(|data_type| ("row", data_type.clone()));
        columns.chain([("present", DataType::Boolean)]).collect()
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let mut columns = self.columns(slots, &vec![true; slots.len()])?;
        let present = slots.iter().map(|slot| self.rows[*slot as usize].is_some());
        columns.push(Arc::new(BooleanArray::from(present.collect::<Vec<_>>())));
        Ok(columns)
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<(), String> {
        let (present, columns) = columns.split_last().ok_or("columns are missing")?;
        let rows = self.converter.convert_columns(columns).map_err(|e| e.to_string())?;
        let present = present.as_boolean();
        for (row, slot) in slots.iter().enumerate().filter(|(row, _)| present.value(*row)) {
            self.keep(*slot as usize, rows.row(row).as_ref());
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Option<Box<[u8]>>>() + self.heap
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
