//! Evaluating expressions over a batch so that a failing row costs only itself.
//!
//! A library function fails for the whole batch. The batch is then cut in halves until the failing
//! rows are alone; the halves that succeed are kept as they are and joined, never evaluated again
//! together: `x <> 0 AND 1 / x > 2` may fail over rows each of which is fine alone. A panic inside
//! a library counts as a failure of the row too.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_empty_array};
use arrow::compute::concat;
use datafusion::error::DataFusionError;
use millrace_plan::Scalar;
use millrace_types::Delta;

use crate::failure::{Failure, print_key};
use crate::operator::{Error, ErrorRow, Output};

/// The values of expressions for the rows that did not fail, and the rows that did, ascending.
pub(super) struct Evaluated {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) failures: Vec<(usize, Failure)>,
}

/// Evaluates expressions over the rows of a batch.
///
/// # Errors
/// An expression without a type: a program error.
pub(super) fn evaluate(expressions: &[Scalar], rows: &RecordBatch) -> Result<Evaluated, Error> {
    if let Ok(columns) = attempt(expressions, rows) {
        return Ok(Evaluated { columns, failures: Vec::new() });
    }
    let mut halves = Halves { expressions, rows, pieces: Vec::new(), failures: Vec::new() };
    halves.search(0, rows.num_rows());
    let Halves { pieces, failures, .. } = halves;
    let mut columns = Vec::with_capacity(expressions.len());
    for (index, expression) in expressions.iter().enumerate() {
        let parts: Vec<&dyn Array> = pieces.iter().map(|piece| piece[index].as_ref()).collect();
        columns.push(match parts.is_empty() {
            true => new_empty_array(&expression.0.data_type(rows.schema_ref())?),
            false => concat(&parts)?,
        });
    }
    Ok(Evaluated { columns, failures })
}

struct Halves<'a> {
    expressions: &'a [Scalar],
    rows: &'a RecordBatch,
    pieces: Vec<Vec<ArrayRef>>,
    failures: Vec<(usize, Failure)>,
}

impl Halves<'_> {
    /// Rows `[from, to)`; the recursion is as deep as their number has bits.
    fn search(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        match attempt(self.expressions, &self.rows.slice(from, to - from)) {
            Ok(columns) => self.pieces.push(columns),
            Err(failure) if to - from == 1 => self.failures.push((from, failure)),
            Err(_) => {
                let middle = from + (to - from) / 2;
                self.search(from, middle);
                self.search(middle, to);
            }
        }
    }
}

thread_local! {
    static EVALUATING: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread is inside a library's expression, where a panic is only a failed row: for
/// the panic hook, which ends the process for every other panic of the engine.
pub fn is_evaluating() -> bool {
    EVALUATING.get()
}

/// Evaluates over whole batches: all rows, or the failure of one of them. A library's panic is a
/// failure too.
pub(crate) fn attempt(
    expressions: &[Scalar],
    rows: &RecordBatch,
) -> Result<Vec<ArrayRef>, Failure> {
    let one = |expression: &Scalar| {
        let found = guarded(|| {
            expression.0.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()))
        })?;
        found.map_err(|error| {
            let data_type = expression.0.data_type(rows.schema_ref()).ok();
            Failure::of(&error, data_type.as_ref())
        })
    };
    expressions.iter().map(one).collect()
}

/// Runs a function of a library that touches no state.
///
/// # Errors
/// Its panic; its own error is inside.
pub(crate) fn guarded<T>(
    run: impl FnOnce() -> Result<T, DataFusionError>,
) -> Result<Result<T, DataFusionError>, Failure> {
    EVALUATING.set(true);
    let found = catch_unwind(AssertUnwindSafe(run));
    EVALUATING.set(false);
    found.map_err(|payload| Failure::of_panic(payload.as_ref()))
}

/// Makes failed rows error rows and takes them out of the delta.
///
/// # Errors
/// Arrow's.
pub(super) fn report(
    delta: Delta,
    failures: Vec<(usize, Failure)>,
    key: &[usize],
    out: &mut Output,
) -> Result<Delta, Error> {
    if failures.is_empty() {
        return Ok(delta);
    }
    let schema = Arc::clone(delta.rows.schema_ref());
    let mut keep = vec![true; delta.len()];
    for (row, failure) in failures {
        let named = key.iter().map(|c| (schema.field(*c).name().as_str(), delta.rows.column(*c)));
        let key = print_key(named, row);
        let weight = delta.weights.value(row);
        out.errors.push(ErrorRow::new(key, failure.code, failure.message, weight));
        keep[row] = false;
    }
    Ok(delta.filter(&BooleanArray::from(keep))?)
}
