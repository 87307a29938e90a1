//! Candidate pairs of rows on their way out: the condition, the counts of matches, the rows.
//!
//! Pairs are named by slots and gathered until there are enough for whole columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use millrace_plan::{Meta, Step};
use millrace_types::Delta;

use super::side::Side;
use crate::chain::Runner;
use crate::graph::JoinSpec;
use crate::operator::{Context, Error, Output};

/// Pairs that are looked at together.
pub(super) const PAIRS: usize = 1 << 14;

/// A left and a right row of one join key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) left: u32,
    pub(super) right: u32,
    /// The change of the pair's weight.
    pub(super) weight: i64,
    /// The change of the weight of the left row's matches.
    pub(super) to_left: i64,
    /// The same of the right row.
    pub(super) to_right: i64,
}

/// The condition on pairs beside equality.
pub(super) struct Condition {
    runner: Runner,
    /// The columns of a pair and its number.
    schema: SchemaRef,
}

impl Condition {
    /// None if there is none.
    pub(super) fn new(spec: &JoinSpec) -> Option<Condition> {
        let filter = spec.filter.clone()?;
        let mut fields: Vec<Arc<Field>> = spec.pairs.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("\u{0}pair", DataType::UInt32, false)));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let [left, right] = &spec.inputs;
        let width = left.schema.fields().len();
        let key = left.key.iter().copied().chain(right.key.iter().map(|column| width + column));
        let meta = Meta {
            schema: Arc::clone(&schema),
            key: key.collect(),
            append_only: false,
            watermarks: Vec::new(),
        };
        Some(Condition { runner: Runner::new(&[Step::Filter(filter)], &meta), schema })
    }

    /// The pairs for which it is true, with their columns; pairs that fail become error rows.
    fn keep(
        &self,
        pairs: &[Pair],
        mut columns: Vec<ArrayRef>,
        context: &Context,
        out: &mut Output,
    ) -> Result<(Vec<Pair>, Vec<ArrayRef>), Error> {
        let numbers = (0u32..).take(pairs.len());
        columns.push(Arc::new(UInt32Array::from_iter_values(numbers)));
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let weights = pairs.iter().map(|pair| pair.weight).collect::<Vec<_>>();
        let known = out.errors.len();
        let kept = self.runner.run(Delta::new(rows, Int64Array::from(weights)), context, out)?;
        let failed = out.errors.split_off(known);
        out.errors.extend(failed.into_iter().filter(|error| error.weight != 0));
        let mut columns = kept.rows.columns().to_vec();
        let numbers = columns.pop().expect("the last column was added above");
        let numbers = numbers.as_primitive::<UInt32Type>();
        let pairs = numbers.values().iter().map(|number| pairs[*number as usize]).collect();
        Ok((pairs, columns))
    }
}

/// The columns of pairs.
fn columns(sides: &[Side; 2], pairs: &[Pair]) -> Result<Vec<ArrayRef>, Error> {
    let slots: Vec<u32> = pairs.iter().map(|pair| pair.left).collect();
    let mut columns = sides[0].rows.decode(&slots)?;
    let slots: Vec<u32> = pairs.iter().map(|pair| pair.right).collect();
    columns.extend(sides[1].rows.decode(&slots)?);
    Ok(columns)
}

/// Lets pairs out and counts them as matches.
pub(super) fn let_out(
    spec: &JoinSpec,
    condition: Option<&Condition>,
    sides: &mut [Side; 2],
    mut pairs: Vec<Pair>,
    (context, out): (&Context, &mut Output),
) -> Result<(), Error> {
    if pairs.is_empty() {
        return Ok(());
    }
    let mut made = None;
    if let Some(condition) = condition {
        let all = columns(sides, &pairs)?;
        let (kept, columns) = condition.keep(&pairs, all, context, out)?;
        pairs = kept;
        made = Some(columns);
    }
    for pair in &pairs {
        sides[0].add_matches(pair.left, pair.to_left);
        sides[1].add_matches(pair.right, pair.to_right);
    }
    if !spec.kind.gives_pairs() {
        return Ok(());
    }
    let columns = match made {
        Some(columns) => columns,
        None => {
            pairs.retain(|pair| pair.weight != 0);
            columns(sides, &pairs)?
        }
    };
    let rows = RecordBatch::try_new(Arc::clone(&spec.output), columns)?;
    let weights = Int64Array::from_iter_values(pairs.iter().map(|pair| pair.weight));
    let mut delta = Delta::new(rows, weights);
    if pairs.iter().any(|pair| pair.weight == 0) {
        let changed = pairs.iter().map(|pair| Some(pair.weight != 0)).collect();
        delta = delta.filter(&changed)?;
    }
    if !delta.is_empty() {
        out.deltas.push(delta);
    }
    Ok(())
}
