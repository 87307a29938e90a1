//! The newest row of each key, of rows that come one after the other.

use crate::{Meta, Node};

/// Keeps the newest row of each key; a row that says so takes its key away.
///
/// The input is what a topic holds: it only ever adds rows. Its first columns are those that leave;
/// behind them stand what orders the rows, and what tells those that delete.
#[derive(Clone, Debug)]
pub struct Upsert {
    /// Where rows come from; append-only.
    pub input: Node,
    /// The columns of the key, which stand at the same places in input and output.
    pub key: Vec<usize>,
    /// The input's column that is true for a row that deletes its key; its other columns, the key
    /// apart, mean nothing. None: every row is kept.
    pub deleted: Option<usize>,
    /// The input's columns of partition and offset: within an epoch, of rows of one key that with the
    /// greatest offset counts, of those the one with the greatest partition.
    pub origin: (usize, usize),
    /// Its rows: the first columns of the input's.
    pub meta: Meta,
}
