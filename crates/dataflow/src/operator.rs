//! The shape of an operator.
//!
//! Operators are plain structs: synchronous, without threads, clock, randomness or I/O of their
//! own. Time, watermarks and ownership of keys come in through [`Context`]; that is what lets one
//! test drive every operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use millrace_types::{Delta, ObjectId, SqlState, TableId, Ts};

/// What stops an operator: always a program error or damaged state, never a user's row.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arrow refused a type or a size.
    #[error("arrow: {0}")]
    Arrow(#[from] ArrowError),
    /// DataFusion refused an expression at start; evaluation errors are rows, not this.
    #[error("datafusion: {0}")]
    DataFusion(#[from] DataFusionError),
    /// The plan asks for something that no operator does: the planner should have refused it.
    #[error("{0} is not supported yet")]
    Unsupported(String),
    /// Rows of a view below do not have its key.
    #[error("the key of a view below: {0}")]
    Below(String),
    /// The store does not give what it has of an operator's state.
    #[error("state of table {table} cannot be read: {reason}")]
    Store {
        /// The table.
        table: TableId,
        /// The store's reason.
        reason: String,
    },
    /// Stored state is damaged, or does not fit the operator.
    #[error("state of table {table} is damaged: {reason}")]
    State {
        /// The table.
        table: TableId,
        /// What is wrong with it.
        reason: String,
    },
}

/// What an operator may know of the world at one time.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time that is processed.
    pub ts: Ts,
    /// This worker, and how many there are: only to know which keys are its own.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
    /// `watermark[E-1]` of every source that has one, microseconds. During a hydration empty:
    /// history is never late.
    pub watermarks: BTreeMap<ObjectId, i64>,
    /// `now[E]`, microseconds; None before the first time that is known.
    pub now: Option<i64>,
    /// Old rows have to be retracted, as somebody follows the changes or keeps rows by more than
    /// their key. If false, a row may replace the one of its key without that.
    pub changelog: bool,
}

impl Context {
    /// The least watermark over some sources; None if one of them has none yet.
    pub fn watermark(&self, sources: &[ObjectId]) -> Option<i64> {
        sources.iter().map(|s| self.watermarks.get(s).copied()).min().flatten()
    }
}

/// A row that was turned away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LateRow {
    /// The source that it came from; the leaf that read it fills this in.
    pub source: ObjectId,
    /// The partition it came from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// End of the window that had closed, microseconds.
    pub window_end: i64,
    /// The row's event time, microseconds.
    pub event_time: Option<i64>,
    /// The watermark that had passed, microseconds.
    pub watermark: i64,
}

/// Rows that one leaf turned away, with what had come in there.
#[derive(Clone, Debug)]
pub struct LateRows {
    /// Which rows, and why.
    pub late: Vec<LateRow>,
    /// The rows as they reached the leaf, in the same order; None where they are not at hand.
    pub rows: Option<RecordBatch>,
}

/// A row whose evaluation failed, with its multiplicity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrorRow {
    /// The row's key, printed; with it a later retraction finds the error.
    pub key: String,
    /// The kind of error.
    pub code: String,
    /// PostgreSQL's message.
    pub message: String,
    /// +1 when the row comes, -1 when it goes.
    pub weight: i64,
}

impl ErrorRow {
    /// The error of one row.
    pub fn new(key: String, code: SqlState, message: String, weight: i64) -> ErrorRow {
        ErrorRow { key, code: code.code().to_owned(), message, weight }
    }
}

/// Where an operator puts what it has to say at one time.
#[derive(Debug, Default)]
pub struct Output {
    /// Changed rows, in the operator's output schema.
    pub deltas: Vec<Delta>,
    /// Rows turned away.
    pub late: Vec<LateRow>,
    /// Rows whose evaluation failed.
    pub errors: Vec<ErrorRow>,
}

/// A table of operator state: rows sorted by their first `key` columns.
#[derive(Clone, Debug)]
pub struct StateSpec {
    /// Key columns first, then the state.
    pub schema: SchemaRef,
    /// How many columns are the key.
    pub key: usize,
    /// The columns whose vnode decides which worker holds a row, in the order in which they are
    /// hashed. Empty: one worker holds all, that of the vnode of no columns.
    pub routing: Vec<usize>,
}

/// The changed rows of one state table since the last hand-over.
#[derive(Clone, Debug)]
pub struct StateChange {
    /// Rows in the schema of the table's [`StateSpec`], each key once, in no order.
    pub rows: RecordBatch,
    /// True where the key is gone; the row's state columns then mean nothing.
    pub gone: BooleanArray,
    /// Older rows whose first key column (a timestamp, microseconds) is below this are gone too;
    /// rows where it is NULL stay.
    pub trim: Option<i64>,
}

/// The state that an operator has handed over, to look at again.
pub trait Stored: Send + Sync {
    /// The rows of a state table whose first key columns have one of these values, a row a key; NULL
    /// equals NULL. Everything that has been handed over is there.
    ///
    /// # Errors
    /// [`Error::State`]: it cannot be read.
    fn fetch(&self, table: usize, keys: &[ArrayRef]) -> Result<Vec<RecordBatch>, Error>;
}

/// A stateful operator with one output.
///
/// Calls come in this order: any number of `absorb` for times not yet finished, in any order of
/// times; `finish` once for each time that had data or a timer, ascending, and again while
/// [`Operator::has_more`]; `hand_over` between the `finish`es of two times.
pub trait Operator: Send {
    /// Takes rows of one time in; pre-aggregates, touches no state.
    ///
    /// # Errors
    /// See [`Error`].
    fn absorb(&mut self, port: usize, delta: Delta, context: &Context) -> Result<(), Error>;

    /// All rows of `context.ts` have been absorbed: changes the state, gives the changed output.
    ///
    /// # Errors
    /// See [`Error`].
    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error>;

    /// True while the time that was finished last has more to say: `finish` is called again for it,
    /// with nothing but `absorb` in between, until this is false. So an operator that would work for
    /// long lets others take their turns.
    fn has_more(&self) -> bool {
        false
    }

    /// How many rows are about what one `finish` does, where the operator can stop in between: tests
    /// make it small.
    fn set_fuel(&mut self, _rows: usize) {}

    /// The state tables, in a fixed order.
    fn tables(&self) -> Vec<StateSpec>;

    /// Lets go of state that no later row can reach, though there was no data at `context.ts`.
    ///
    /// # Errors
    /// See [`Error`].
    fn settle(&mut self, context: &Context) -> Result<(), Error>;

    /// What changed in each table since the last hand-over; clears the marks.
    ///
    /// # Errors
    /// See [`Error`].
    fn hand_over(&mut self) -> Result<Vec<Option<StateChange>>, Error>;

    /// Takes stored rows of one table back in, before any data.
    ///
    /// # Errors
    /// Rows that do not fit.
    fn restore(&mut self, table: usize, rows: RecordBatch) -> Result<(), Error>;

    /// Forgets the state that it holds, right after a `hand_over` or instead of `restore`. From then on it
    /// brings back by key what it touches. False if it must hold all of it, and has kept it.
    ///
    /// # Errors
    /// See [`Error`].
    fn let_go(&mut self, _stored: &Arc<dyn Stored>) -> Result<bool, Error> {
        Ok(false)
    }

    /// True if the operator owes output before any data, as a global aggregation does: `finish` is
    /// then called once at the first time of the dataflow, on every worker, whether or not there was
    /// data. Asked after `restore`.
    fn wants_start(&self) -> bool {
        false
    }

    /// True if output is owed at `context.ts` without any data: the clock or a watermark has passed
    /// what the operator waits for. `finish` is then called.
    fn is_due(&self, _context: &Context) -> bool {
        false
    }

    /// The least `now` at which it will owe output.
    fn next_turn(&self) -> Option<i64> {
        None
    }

    /// Rows of state in memory: cheap to ask. Those that went since the last hand-over may count.
    fn rows(&self) -> usize;

    /// Bytes of state and scratch in memory.
    fn bytes(&self) -> usize;

    /// State rows read and written since the operator was built: a count for tests of cost.
    fn touched(&self) -> u64 {
        0
    }
}
