//! Which rows of a group tie: those that are equal in the columns of the order that was asked for.
//!
//! Invariants: 1. the bytes of a row begin with those of the order's columns, so that a length says which
//! of them decide ([`Peers::note`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, SortField};
use millrace_plan::Order;

use super::super::sorted::Rows;
use crate::operator::Error;

/// See the head of the file.
pub(super) struct Peers {
    converter: Option<RowConverter>,
    columns: Vec<usize>,
    /// By slot of the row.
    lengths: Vec<u32>,
}

impl Peers {
    /// Of rows that tie in some columns.
    ///
    /// # Errors
    /// A column type that Arrow's row format does not take.
    pub(super) fn new(schema: &Schema, order: &[Order]) -> Result<Peers, Error> {
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        for order in order {
            if !columns.contains(&order.column) {
                columns.push(order.column);
                let options =
                    SortOptions { descending: order.descending, nulls_first: order.nulls_first };
                let data_type = schema.field(order.column).data_type().clone();
                fields.push(SortField::new_with_options(data_type, options));
            }
        }
        let converter = match columns.is_empty() {
            true => None,
            false => Some(RowConverter::new(fields)?),
        };
        Ok(Peers { converter, columns, lengths: Vec::new() })
    }

    /// How many bytes of each row decide.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn lengths(&self, columns: &[ArrayRef]) -> Result<Vec<usize>, Error> {
        let Some(converter) = &self.converter else {
            return Ok(vec![0; columns.first().map_or(0, |column| column.len())]);
        };
        let columns: Vec<ArrayRef> =
            self.columns.iter().map(|column| Arc::clone(&columns[*column])).collect();
        let rows = converter.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| row.as_ref().len()).collect())
    }

    /// A row has come.
    pub(super) fn note(&mut self, slot: u32, length: usize) {
        self.lengths.resize(self.lengths.len().max(slot as usize + 1), 0);
        self.lengths[slot as usize] = u32::try_from(length).expect("a row is short");
    }

    /// True if two rows of a group tie.
    pub(super) fn tie(&self, rows: &Rows, one: u32, other: u32) -> bool {
        let of = |slot: u32| &rows.bytes_of(slot)[..self.lengths[slot as usize] as usize];
        of(one) == of(other)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.lengths.capacity() * size_of::<u32>()
    }
}
