//! The state tables of one operator: where it hands over, what it gets back after a crash, and where it
//! looks for what it has let go of.
//!
//! A change that is handed over is published in its table at the time of its mark; the checkpoint of that
//! mark flushes the table. Until then it is read from there as well.
//!
//! Invariants: 1. the rows of a key are published by the worker that owns its vnode alone, and fetched by
//! no other.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use millrace_storage::{Points, Scan, Table};
use millrace_types::{Delta, Epoch, Ts, vnodes, worker_of};

use super::worker::Shared;
use crate::operator::{Error, Operator, StateChange, Stored};

/// A state of more rows is not read back when a dataflow is recovered, but by key when it is touched.
const RESTORED_ROWS_MAX: u64 = 1 << 19;
/// Less state than this is not worth to be let go of.
const LET_GO_BYTES_MIN: usize = 1 << 20;

/// See the head of the file.
#[derive(Clone)]
pub(super) struct State {
    tables: Arc<Tables>,
}

struct Tables(Vec<Arc<Table>>);

impl State {
    pub(super) fn new(tables: Vec<Arc<Table>>) -> State {
        State { tables: Arc::new(Tables(tables)) }
    }

    /// Publishes what an operator hands over at a mark; then it lets go of its state if memory is `short`.
    pub(super) fn take_over(
        &self,
        operator: &mut dyn Operator,
        (worker, mark): (usize, Ts),
        short: bool,
    ) -> Result<(), Error> {
        for (table, change) in self.tables.0.iter().zip(operator.hand_over()?) {
            let Some(StateChange { rows, gone, trim }) = change else { continue };
            let weights = gone.values().iter().map(|gone| if gone { -1 } else { 1 });
            let weights = Int64Array::from_iter_values(weights);
            table.publish(worker, mark, vec![Delta { rows, weights, dest: 0 }]);
            if let Some(trim) = trim {
                table.expire(mark, trim);
            }
        }
        if short && operator.bytes() >= LET_GO_BYTES_MIN {
            operator.let_go(&self.stored())?;
        }
        Ok(())
    }

    fn stored(&self) -> Arc<dyn Stored> {
        Arc::clone(&self.tables) as Arc<dyn Stored>
    }

    /// Gives an operator its state of a checkpoint back, or shows it where that is.
    pub(super) fn restore(
        &self,
        operator: &mut dyn Operator,
        checkpoint: Epoch,
        shared: &Shared,
    ) -> Result<(), Error> {
        let specs = operator.tables();
        let snapshots = self.tables.0.iter().map(|table| {
            let snapshot = table.snapshot(checkpoint);
            snapshot.map_err(|error| unread(table, &error))
        });
        let snapshots = snapshots.collect::<Result<Vec<_>, _>>()?;
        let rows: u64 = snapshots.iter().map(|snapshot| snapshot.rows_upper_bound()).sum();
        if rows > RESTORED_ROWS_MAX && operator.let_go(&self.stored())? {
            return Ok(());
        }
        for (at, (snapshot, spec)) in snapshots.iter().zip(specs).enumerate() {
            for rows in snapshot.scan(Scan::default()) {
                let rows = rows.map_err(|error| unread(&self.tables.0[at], &error))?;
                let keys: Vec<_> = spec.routing.iter().map(|at| rows.column(*at).clone()).collect();
                let own = vnodes(&keys, rows.num_rows())?
                    .into_iter()
                    .map(|vnode| Some(worker_of(vnode, shared.workers) == shared.worker));
                let own = own.collect::<BooleanArray>();
                operator.restore(at, filter_record_batch(&rows, &own)?)?;
            }
        }
        Ok(())
    }
}

fn unread(table: &Table, error: &millrace_storage::Error) -> Error {
    let (table, reason) = (table.id(), error.to_string());
    match error.is_damage() {
        true => Error::State { table, reason },
        false => Error::Store { table, reason },
    }
}

impl Stored for Tables {
    fn fetch(&self, table: usize, keys: &[ArrayRef]) -> Result<Vec<RecordBatch>, Error> {
        let table = &self.0[table];
        let snapshot = table.latest();
        let schema = snapshot.schema();
        let keys = keys.iter().zip(table.sort()).map(|(key, column)| {
            // Points of another type would be no points.
            match schema.field(*column).data_type() {
                same if same == key.data_type() => Ok(Arc::clone(key)),
                other => cast(key, other),
            }
        });
        let keys: Vec<ArrayRef> = keys.collect::<Result<_, _>>()?;
        let points = Points::with_nulls(&keys).map_err(|error| unread(table, &error))?;
        let scan = Scan { points: Some(Arc::new(points)), ..Scan::default() };
        let rows = snapshot.scan(scan).map(|rows| rows.map_err(|error| unread(table, &error)));
        let mut found = rows.collect::<Result<Vec<_>, _>>()?;
        found.retain(|rows| rows.num_rows() > 0);
        Ok(found)
    }
}
