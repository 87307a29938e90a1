//! Top-N: the first rows of each group in an order.
//!
//! Invariants: 1. no two rows of the input tie in the whole of their columns: an order that leaves
//! ties is followed by all other columns, ascending, NULLs last, the key's among them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::{Meta, Node, Order, Watermark};

/// Some of the first rows of each group.
#[derive(Clone, Debug)]
pub struct TopN {
    /// The input.
    pub input: Node,
    /// Input columns; rows that agree in them are a group. Empty: all rows are one.
    pub group: Vec<usize>,
    /// Which row comes first.
    pub order: Vec<Order>,
    /// How many rows are passed over.
    pub offset: u64,
    /// How many rows leave at most.
    pub limit: u64,
    /// The position of each row, from 1, leaves as the last column, a bigint of this name.
    pub position: Option<String>,
    /// So many columns of the order decide which rows tie with the last one and leave with it; the
    /// position of a row is then its rank. Nothing is passed over.
    pub ties: Option<usize>,
    /// On a column of the group, by the input's columns: no row of the group will change any more, and its
    /// state goes.
    pub settled: Option<Watermark>,
    /// The rows that leave.
    pub meta: Meta,
}

impl TopN {
    /// The columns of the rows that leave.
    pub fn output_schema(input: &Schema, position: Option<&str>) -> SchemaRef {
        let position = position.map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
        let fields = input.fields().iter().cloned().chain(position);
        Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
    }
}
