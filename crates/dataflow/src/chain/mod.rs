//! Linear steps, fused: filter, project, copy into hopping windows, turn late rows away.
//!
//! A chain keeps no state and never changes a weight, so a retraction passes through it exactly as
//! the row did that it takes back. Columns that a projection only passes on keep their arrays.
//!
//! Evaluation errors are data: a row whose expression fails leaves the batch and becomes an error
//! row with its weight, the others go on. Only batches with such rows pay for finding them.
//!
//! Invariants: 1. what happens to a row does not depend on the other rows of its batch
//! (`evaluate`).

mod evaluate;
mod hop;
mod late;
#[cfg(test)]
mod tests;
mod unnest;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use millrace_plan::{Hop, LateCheck, Meta, Scalar, Step};
use millrace_types::Delta;

pub use self::evaluate::is_evaluating;
pub(crate) use self::evaluate::{attempt, guarded};

use self::evaluate::Evaluated;
use crate::operator::{Context, Error, Output};

/// Steps that are ready to run. Cheap to clone; used by any number of workers.
#[derive(Clone, Debug, Default)]
pub struct Runner {
    steps: Arc<[Ready]>,
}

#[derive(Debug)]
enum Ready {
    Filter(Scalar, Naming),
    Project(Vec<Scalar>, SchemaRef, Naming),
    Hop(Hop, SchemaRef),
    Unnest(Vec<usize>, SchemaRef),
    Late(LateCheck),
}

/// The columns that name a row in an error.
#[derive(Clone, Debug)]
struct Naming(Vec<usize>);

impl Naming {
    /// The same columns after a projection; all columns if one of them is lost.
    fn after(&self, expressions: &[Scalar]) -> Naming {
        let is_column = |expression: &Scalar, index: usize| {
            expression.0.downcast_ref::<Column>().is_some_and(|column| column.index() == index)
        };
        let place = |index: &usize| expressions.iter().position(|e| is_column(e, *index));
        let places: Option<Vec<usize>> = self.0.iter().map(place).collect();
        Naming(places.unwrap_or_else(|| (0..expressions.len()).collect()))
    }
}

impl Runner {
    /// Steps over rows of which `input` is known.
    pub fn new(steps: &[Step], input: &Meta) -> Runner {
        let mut naming = Naming(input.key.clone());
        let steps = steps.iter().map(|step| match step {
            Step::Filter(predicate) => Ready::Filter(predicate.clone(), naming.clone()),
            Step::Project { expressions, schema } => {
                let before = naming.clone();
                naming = naming.after(expressions);
                Ready::Project(expressions.clone(), Arc::clone(schema), before)
            }
            Step::Hop { hop, schema } => Ready::Hop(hop.clone(), Arc::clone(schema)),
            Step::Unnest { lists, schema } => Ready::Unnest(lists.clone(), Arc::clone(schema)),
            Step::Late(check) => Ready::Late(check.clone()),
        });
        Runner { steps: steps.collect() }
    }

    /// The rows after the last step; late rows and errors go to `out`.
    ///
    /// # Errors
    /// A step that does not fit its input: a program error, never a row's.
    pub fn run(&self, delta: Delta, context: &Context, out: &mut Output) -> Result<Delta, Error> {
        let mut delta = delta;
        for step in self.steps.iter() {
            delta = match step {
                Ready::Filter(predicate, naming) => filter(delta, predicate, naming, out)?,
                Ready::Project(expressions, schema, naming) => {
                    project(&delta, (expressions, schema), naming, out)?
                }
                Ready::Hop(hop, schema) => hop::copy(&delta, hop, schema)?,
                Ready::Unnest(lists, schema) => unnest::copy(&delta, lists, schema)?,
                Ready::Late(check) => late::turn_away(delta, check, context, out)?,
            };
        }
        Ok(delta)
    }

    /// True if every row leaves: none can be dropped or fail.
    pub fn keeps_rows(&self) -> bool {
        self.steps.iter().all(|step| match step {
            Ready::Project(expressions, ..) => expressions.iter().all(|e| never_fails(&e.0)),
            Ready::Filter(..) | Ready::Hop(..) | Ready::Unnest(..) | Ready::Late(_) => false,
        })
    }

    /// True if one row may become several.
    pub fn copies_rows(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Ready::Hop(..) | Ready::Unnest(..)))
    }

    /// How many rows one row may become, as far as hopping windows tell.
    pub fn copies(&self) -> usize {
        let copies = self.steps.iter().map(|step| match step {
            Ready::Hop(hop, _) => {
                usize::try_from(hop.size / hop.slide.max(1)).unwrap_or(usize::MAX)
            }
            Ready::Filter(..) | Ready::Project(..) | Ready::Unnest(..) | Ready::Late(_) => 1,
        });
        copies.fold(1, |all: usize, one| all.saturating_mul(one.max(1)))
    }

    /// True if rows leave as they came.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// A column, a constant, or the end of a window, whose start is only made where there is an end.
fn never_fails(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let is_column = |e: &Arc<dyn PhysicalExpr>| e.downcast_ref::<Column>().is_some();
    if let Some(sum) = expression.downcast_ref::<BinaryExpr>() {
        let size = sum.right().downcast_ref::<Literal>().map(Literal::value);
        return is_column(sum.left()) && matches!(size, Some(ScalarValue::DurationMicrosecond(_)));
    }
    is_column(expression) || expression.downcast_ref::<Literal>().is_some()
}

fn filter(
    delta: Delta,
    predicate: &Scalar,
    naming: &Naming,
    out: &mut Output,
) -> Result<Delta, Error> {
    let Evaluated { mut columns, failures } =
        evaluate::evaluate(std::slice::from_ref(predicate), &delta.rows)?;
    let delta = evaluate::report(delta, failures, &naming.0, out)?;
    let column = columns.pop().expect("one expression gives one column");
    match column.as_any().downcast_ref::<BooleanArray>() {
        Some(keep) if keep.true_count() == keep.len() => Ok(delta),
        Some(keep) => Ok(delta.filter(keep)?),
        // A bare NULL keeps nothing.
        None => Ok(delta.filter(&BooleanArray::from(vec![false; delta.len()]))?),
    }
}

fn project(
    delta: &Delta,
    (expressions, schema): (&[Scalar], &SchemaRef),
    naming: &Naming,
    out: &mut Output,
) -> Result<Delta, Error> {
    let Evaluated { columns, failures } = evaluate::evaluate(expressions, &delta.rows)?;
    let delta = evaluate::report(delta.clone(), failures, &naming.0, out)?;
    let rows = batch(schema, columns, delta.len())?;
    Ok(Delta { rows, weights: delta.weights, dest: delta.dest })
}

/// A batch that may have no columns.
fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
