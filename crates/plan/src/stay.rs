//! Rows that are shown for a time: temporal filters, and rows that wait until they are final.
//!
//! A row is shown while a clock stands at or above its `from` and below its `until`. The clock never
//! falls, so a row comes once and goes once, by itself.
//!
//! Invariants: 1. both columns are timestamps in microseconds; a row where one is NULL is never
//! shown.

use millrace_types::ObjectId;

use crate::{Meta, Node};

/// Shows each row of its input only for a time.
#[derive(Clone, Debug)]
pub struct Stay {
    /// Where rows come from.
    pub input: Node,
    /// What moves.
    pub clock: Clock,
    /// The column from whose value on a row is shown; None: from the start.
    pub from: Option<usize>,
    /// The column at whose value a row goes; None: it stays.
    pub until: Option<usize>,
    /// The rows that leave: the columns are the input's.
    pub meta: Meta,
}

/// Something that never falls, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clock {
    /// `now()`: the time that is logged with each epoch.
    Now,
    /// The least watermark of some sources, less a shift.
    Watermark {
        /// Microseconds.
        shift: i64,
        /// Ascending.
        sources: Vec<ObjectId>,
    },
}
