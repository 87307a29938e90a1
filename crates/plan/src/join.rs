//! Joins: two inputs, pairs of columns that must be equal, and a condition on what is left.
//!
//! Invariants: 1. the two columns of a pair have the same type, so that equal values have the same
//! vnode. 2. no two columns of both inputs together have the same name: a condition's columns are
//! those of the left input, then those of the right one ([`Join::pair_schema`]).

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};

use crate::{Meta, Node, Scalar, Watermark};

/// A join.
#[derive(Clone, Debug)]
pub struct Join {
    /// The left input.
    pub left: Node,
    /// The right input.
    pub right: Node,
    /// Which rows leave.
    pub kind: JoinKind,
    /// Columns that must be equal. Empty: all rows are candidates.
    pub on: Vec<JoinPair>,
    /// What else must be true of a pair of rows, over the columns of the left input and then those
    /// of the right one.
    pub filter: Option<Scalar>,
    /// When a row of the left input, and of the right one, can have no new pair and does not change any
    /// more: its state goes. The column is one of that input; a row where it is NULL has no pairs.
    pub clean: [Option<Watermark>; 2],
    /// A left row meets the right rows that are there at the end of its time, and is not kept: what the
    /// right input does later changes nothing. The left input only appends; the join is inner or left.
    pub lookup: bool,
    /// The rows that leave: the left input's columns, then the right input's, each nullable where
    /// rows are padded; of a semi or anti join the left input's alone.
    pub meta: Meta,
}

/// Which rows leave a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinKind {
    /// Each matching pair.
    Inner,
    /// The pairs, and left rows without a match, padded with NULLs.
    Left,
    /// The pairs, and right rows without a match, padded with NULLs.
    Right,
    /// The pairs, and the rows of both sides without a match.
    Full,
    /// Left rows with a match, each once.
    Semi,
    /// Left rows without a match.
    Anti,
}

/// Two columns that must be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinPair {
    /// The column of the left input.
    pub left: usize,
    /// The column of the right input.
    pub right: usize,
    /// Two NULLs are equal; else a NULL equals nothing.
    pub null_equal: bool,
}

impl JoinKind {
    /// All kinds.
    pub const ALL: [JoinKind; 6] = [
        JoinKind::Inner,
        JoinKind::Left,
        JoinKind::Right,
        JoinKind::Full,
        JoinKind::Semi,
        JoinKind::Anti,
    ];

    /// Its name in SQL, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "inner",
            JoinKind::Left => "left",
            JoinKind::Right => "right",
            JoinKind::Full => "full",
            JoinKind::Semi => "semi",
            JoinKind::Anti => "anti",
        }
    }

    /// True if matching pairs leave.
    pub fn gives_pairs(self) -> bool {
        !matches!(self, JoinKind::Semi | JoinKind::Anti)
    }

    /// True if it can be a lookup.
    pub fn looks_up(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left)
    }

    /// True if left rows without a match leave.
    pub fn keeps_left(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full | JoinKind::Anti)
    }

    /// True if right rows without a match leave.
    pub fn keeps_right(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }
}

impl Join {
    /// The columns of a pair of rows, which the filter counts.
    pub fn pair_schema(&self) -> SchemaRef {
        let (left, right) = (&self.left.meta().schema, &self.right.meta().schema);
        let fields = left.fields().iter().chain(right.fields());
        Arc::new(Schema::new(fields.cloned().collect::<Vec<FieldRef>>()))
    }

    /// The columns of the rows that leave a join of these inputs.
    pub fn output_schema(kind: JoinKind, left: &Schema, right: &Schema) -> SchemaRef {
        let padded = |field: &FieldRef, padded: bool| -> Field {
            field.as_ref().clone().with_nullable(field.is_nullable() || padded)
        };
        let pads_left = kind.keeps_right();
        let pads_right = kind.keeps_left();
        let mut fields: Vec<Field> =
            left.fields().iter().map(|field| padded(field, pads_left)).collect();
        if kind.gives_pairs() {
            fields.extend(right.fields().iter().map(|field| padded(field, pads_right)));
        }
        Arc::new(Schema::new(fields))
    }
}
