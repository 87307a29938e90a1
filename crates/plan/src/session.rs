//! Session windows: stretches of rows without a pause.

use crate::{Meta, Node, Watermark};

/// Gives each row the bounds of its session: rows of one key whose times follow each other by less than
/// the gap are in one session, which ends a gap after its last row.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where rows come from.
    pub input: Node,
    /// The columns whose values have sessions of their own.
    pub key: Vec<usize>,
    /// The column of the time, microseconds; a row where it is NULL is in no session.
    pub time: usize,
    /// Microseconds, above 0.
    pub gap: i64,
    /// The state of a session whose end (a column of the output) satisfies this goes.
    pub settled: Option<Watermark>,
    /// The rows that leave: the input's columns, then `window_start` and `window_end`.
    pub meta: Meta,
}
