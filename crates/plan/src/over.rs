//! Window functions: values of each row that depend on the other rows of its partition.
//!
//! Invariants: 1. the order of the partition begins with the order of each call ([`OverCall::order`]).
//! 2. every argument is a column or a constant: what may fail has been computed before.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::{WindowFrame, WindowFunctionDefinition};

use crate::{Meta, Node, Order, Scalar, Watermark};

/// Calls of window functions over one partition and order.
#[derive(Clone, Debug)]
pub struct Over {
    /// The input.
    pub input: Node,
    /// PARTITION BY: input columns. Empty: all rows are one partition.
    pub group: Vec<usize>,
    /// In which order the rows of a partition stand; those that tie by their other columns.
    pub order: Vec<Order>,
    /// The calls, at least one.
    pub calls: Vec<OverCall>,
    /// On a column of the group, by the input's columns: no row of the group will change any more, and its
    /// state goes.
    pub settled: Option<Watermark>,
    /// The rows that leave: the input's columns, then one a call.
    pub meta: Meta,
}

/// One call.
#[derive(Clone, Debug)]
pub struct OverCall {
    /// An aggregate or a function of its own.
    pub function: WindowFunctionDefinition,
    /// Columns of the input, or constants.
    pub args: Vec<Scalar>,
    /// `FILTER (WHERE column)`: a boolean column.
    pub filter: Option<usize>,
    /// How many columns of the partition's order are the call's ORDER BY: rows that are equal in them
    /// are peers.
    pub order: usize,
    /// Which rows count.
    pub frame: WindowFrame,
    /// IGNORE NULLS.
    pub ignore_nulls: bool,
    /// Equal values count once.
    pub distinct: bool,
    /// The column that results.
    pub output: FieldRef,
}

impl Over {
    /// The columns of the rows that leave.
    pub fn output_schema(input: &Schema, calls: &[OverCall]) -> SchemaRef {
        let results = calls.iter().map(|call| Arc::clone(&call.output));
        let fields = input.fields().iter().cloned().chain(results);
        Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
    }

    /// A name for a result that no other column has.
    pub fn unused(name: &str, taken: &[&Field]) -> String {
        let mut unused = name.to_owned();
        while taken.iter().any(|field| *field.name() == unused) {
            unused.push('_');
        }
        unused
    }
}
