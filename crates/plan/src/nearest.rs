//! ASOF joins: each left row with the right row of its key whose time is nearest on one side of its own.
//!
//! Invariants: 1. the two columns of a pair have the same type, those of the times too. 2. the input rows
//! have keys; a left row leaves at most once.

use arrow::datatypes::{Schema, SchemaRef};

use crate::{Join, JoinKind, JoinPair, Meta, Node, Watermark};

/// An ASOF join.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// The left input.
    pub left: Node,
    /// The right input.
    pub right: Node,
    /// Left rows without a right one leave too, padded with NULLs.
    pub keeps_left: bool,
    /// Columns that must be equal; a NULL equals nothing.
    pub on: Vec<JoinPair>,
    /// The columns of the times; a row where it is NULL has no match.
    pub times: JoinPair,
    /// Which right row is taken; of those with the same time the first in the order of their columns, from
    /// left to right, ascending, NULLs last.
    pub side: NearestSide,
    /// Rows of both inputs whose time has passed change no more. Where earlier right rows are taken it is on
    /// the left column of times: left rows go when they have passed, and of the right rows the last one
    /// before that is enough. Where later ones are taken it is on the right column: right rows go when they
    /// have passed, with the left rows that have taken them.
    pub settled: Option<Watermark>,
    /// The rows that leave: the left input's columns, then the right input's.
    pub meta: Meta,
}

/// Which right row a left row takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearestSide {
    /// The first one from its own time on; else the last one up to it.
    pub later: bool,
    /// One with the very same time is none.
    pub strict: bool,
}

impl NearestSide {
    /// The operator between the left time and the right one.
    pub fn operator(self) -> &'static str {
        match (self.later, self.strict) {
            (false, false) => ">=",
            (false, true) => ">",
            (true, false) => "<=",
            (true, true) => "<",
        }
    }
}

impl Nearest {
    /// The columns of the rows that leave an ASOF join of these inputs.
    pub fn output_schema(keeps_left: bool, left: &Schema, right: &Schema) -> SchemaRef {
        let kind = if keeps_left { JoinKind::Left } else { JoinKind::Inner };
        Join::output_schema(kind, left, right)
    }
}
