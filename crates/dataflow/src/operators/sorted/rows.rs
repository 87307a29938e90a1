//! Rows as bytes that sort in an order, by slot: the columns of the order, then all others.
//!
//! Invariants: 1. a slot is freed once ([`Rows::remove`]); its bytes are nobody's then.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, Rows as Encoded, SortField};
use millrace_plan::Order;

use crate::natives;
use crate::operator::Error;

/// How a column of an order sorts.
pub(in crate::operators) fn sort_field(schema: &Schema, order: &Order) -> SortField {
    let options = SortOptions { descending: order.descending, nulls_first: order.nulls_first };
    SortField::new_with_options(schema.field(order.column).data_type().clone(), options)
}

/// See the head of the file.
pub(in crate::operators) struct Rows {
    converter: RowConverter,
    /// The schema's columns in the order in which they are compared.
    columns: Vec<usize>,
    bytes: Vec<Box<[u8]>>,
    weights: Vec<i64>,
    /// The store has the row.
    stored: Vec<bool>,
    free: Vec<u32>,
    heap: usize,
}

impl Rows {
    /// Without rows.
    ///
    /// # Errors
    /// A column type that Arrow's row format does not take.
    pub(in crate::operators) fn new(schema: &Schema, order: &[Order]) -> Result<Rows, Error> {
        let mut columns: Vec<usize> = Vec::new();
        let mut fields = Vec::new();
        for order in order {
            if !columns.contains(&order.column) {
                columns.push(order.column);
                fields.push(sort_field(schema, order));
            }
        }
        let last = SortOptions { descending: false, nulls_first: false };
        for (column, field) in schema.fields().iter().enumerate() {
            if !columns.contains(&column) {
                columns.push(column);
                fields.push(SortField::new_with_options(field.data_type().clone(), last));
            }
        }
        Ok(Rows {
            converter: RowConverter::new(fields)?,
            columns,
            bytes: Vec::new(),
            weights: Vec::new(),
            stored: Vec::new(),
            free: Vec::new(),
            heap: 0,
        })
    }

    /// Rows in the order of the schema as bytes.
    ///
    /// # Errors
    /// Arrow's.
    pub(in crate::operators) fn encode(&self, columns: &[ArrayRef]) -> Result<Encoded, Error> {
        let columns: Vec<ArrayRef> =
            self.columns.iter().map(|column| Arc::clone(&columns[*column])).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// The columns of some slots, in the order of the schema.
    ///
    /// # Errors
    /// Arrow's.
    pub(in crate::operators) fn decode(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        self.decode_bytes(slots.iter().map(|slot| self.bytes_of(*slot)))
    }

    /// The same of rows that have no slot.
    ///
    /// # Errors
    /// Arrow's.
    pub(in crate::operators) fn decode_bytes<'a>(
        &self,
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, Error> {
        let parser = self.converter.parser();
        let decoded = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        let mut columns = decoded.clone();
        for (column, values) in self.columns.iter().zip(decoded) {
            columns[*column] = natives::zeroed(values);
        }
        Ok(columns)
    }

    /// Keeps a row; gives its slot.
    pub(in crate::operators) fn add(&mut self, row: &[u8], weight: i64) -> u32 {
        self.heap += row.len();
        if let Some(slot) = self.free.pop() {
            self.bytes[slot as usize] = row.into();
            self.weights[slot as usize] = weight;
            return slot;
        }
        let slot = u32::try_from(self.bytes.len()).expect("less than four billion rows");
        self.bytes.push(row.into());
        self.weights.push(weight);
        self.stored.push(false);
        slot
    }

    /// Frees a slot; gives its row if the store has it.
    pub(in crate::operators) fn remove(&mut self, slot: u32) -> Option<Box<[u8]>> {
        let row = std::mem::take(&mut self.bytes[slot as usize]);
        self.heap -= row.len();
        self.weights[slot as usize] = 0;
        self.free.push(slot);
        std::mem::take(&mut self.stored[slot as usize]).then_some(row)
    }

    pub(in crate::operators) fn bytes_of(&self, slot: u32) -> &[u8] {
        &self.bytes[slot as usize]
    }

    pub(in crate::operators) fn weight(&self, slot: u32) -> i64 {
        self.weights[slot as usize]
    }

    pub(in crate::operators) fn set_weight(&mut self, slot: u32, weight: i64) {
        self.weights[slot as usize] = weight;
    }

    /// The store has these rows.
    pub(in crate::operators) fn mark_stored(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.stored[*slot as usize] = true);
    }

    /// How many rows there are.
    pub(in crate::operators) fn len(&self) -> usize {
        self.bytes.len() - self.free.len()
    }

    /// Bytes in memory; the list that a slot is in counts too.
    pub(in crate::operators) fn bytes(&self) -> usize {
        let slots = self.bytes.capacity();
        let slot = size_of::<Box<[u8]>>() + size_of::<i64>() + 1 + size_of::<u32>();
        slots * slot + self.free.capacity() * size_of::<u32>() + self.heap
    }
}
