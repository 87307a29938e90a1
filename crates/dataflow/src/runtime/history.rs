//! The changes of a view as rows of a table: what subscribers and sinks read.
//!
//! Each change is a row with its epoch, its weight and a number that tells equal ones apart, stored by
//! epoch and then by the view's key. So an epoch is read as a whole and in an order, what goes before
//! what comes in its place; old epochs are cut off as other tables are trimmed. The rows are published
//! at the time at which they happen: a checkpoint holds whole epochs, recovery makes those above it
//! again.
//!
//! Invariants: 1. rows that cancel each other out within an epoch on a worker are not kept
//! ([`changes_of`]).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millrace_storage::Table;
use millrace_types::{Delta, Epoch, Ts, concat_deltas};

use crate::operator::Error;

/// How many columns stand before those of the view: epoch, weight, number.
pub const HISTORY_COLUMNS: usize = 3;
/// The column of the epoch.
pub const HISTORY_EPOCH: usize = 0;
/// The column of the weight.
pub const HISTORY_WEIGHT: usize = 1;

/// Numbers of one worker in one epoch.
const NUMBERS_PER_WORKER: i64 = 1 << 40;

/// The columns of the changes of a view with this stored schema.
pub fn history_schema(content: &Schema) -> SchemaRef {
    let own = ["_epoch", "_weight", "_number"].map(|name| Field::new(name, DataType::Int64, false));
    let columns = content.fields().iter().map(|field| field.as_ref().clone());
    Arc::new(Schema::new(own.into_iter().chain(columns).collect::<Vec<_>>()))
}

/// Their key: epoch, the view's own key, weight, number.
pub fn history_sort(content: &[usize]) -> Vec<usize> {
    let own = content.iter().map(|column| column + HISTORY_COLUMNS);
    [HISTORY_EPOCH].into_iter().chain(own).chain([HISTORY_WEIGHT, 2]).collect()
}

/// Where a view's changes are kept, and from which epoch on.
pub(super) struct History {
    pub(super) table: Arc<Table>,
    pub(super) from: Epoch,
}

impl History {
    /// Keeps the changes of one worker at one time.
    pub(super) fn publish(&self, worker: usize, ts: Ts, deltas: &[Delta]) -> Result<(), Error> {
        if ts < self.from.ts() {
            return Ok(());
        }
        if let Some(changes) = changes_of(&self.table.schema(), worker, ts, deltas)? {
            self.table.publish(worker, ts, vec![changes]);
        }
        Ok(())
    }
}

fn changes_of(
    schema: &SchemaRef,
    worker: usize,
    ts: Ts,
    deltas: &[Delta],
) -> Result<Option<Delta>, Error> {
    let Some(all) = concat_deltas(deltas)? else { return Ok(None) };
    let net = all.consolidate()?;
    if net.is_empty() {
        return Ok(None);
    }
    let rows = i64::try_from(net.len()).expect("the rows of a delta are in memory");
    let first = i64::try_from(worker).expect("workers are few") * NUMBERS_PER_WORKER;
    let epoch = i64::try_from(ts.epoch().0).expect("epochs have 44 bits");
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(epoch, net.len())),
        Arc::new(net.weights.clone()),
        Arc::new((first..first + rows).collect::<Int64Array>()),
    ];
    columns.extend(net.rows.columns().iter().cloned());
    Ok(Some(Delta::constant(RecordBatch::try_new(Arc::clone(schema), columns)?, 1)))
}
