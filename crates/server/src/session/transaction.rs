//! Transactions: what a session has changed and not committed yet.
//!
//! Changes wait in the session until COMMIT, which makes all of them durable in one epoch. Until
//! then the session alone sees them, in the tables themselves (views follow the commit); a table
//! that was changed is locked until the transaction ends, so nothing changes below it. So is one whose rows a
//! query has locked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use millrace_sql::Table;
use millrace_types::{Delta, DeltaError, ObjectId, Report, SqlState, concat_deltas};

use super::change::{internal, stored_key};
use super::settings::KeptSettings;
use crate::locks::TableLock;
use crate::serving::PendingRows;

/// How long a statement waits for a table that another session changes, unless `lock_timeout` says so.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// What one table becomes.
#[derive(Clone)]
pub(super) struct Pending {
    deltas: Vec<Delta>,
    /// How many statements they are of.
    statements: usize,
    /// The changes, as the transaction sees them over the table.
    rows: Arc<PendingRows>,
}

/// What a transaction can go back to.
struct Savepoint {
    name: String,
    tables: BTreeMap<ObjectId, Pending>,
    settings: KeptSettings,
}

/// The changes of an open transaction.
#[derive(Default)]
pub(super) struct Uncommitted {
    tables: BTreeMap<ObjectId, Pending>,
    savepoints: Vec<Savepoint>,
    locks: BTreeMap<ObjectId, TableLock>,
    /// The tables whose rows were locked by a query, and the savepoints that there were.
    selected: BTreeMap<ObjectId, usize>,
}

impl Uncommitted {
    /// Locks a table until the transaction ends; `timeout` is how long it waits for others.
    ///
    /// # Errors
    /// Another session holds it too long, or waits for this one.
    pub(super) async fn lock(
        &mut self,
        table: ObjectId,
        lock: impl Future<Output = Result<TableLock, Report>>,
        timeout: Option<Duration>,
    ) -> Result<(), Report> {
        if self.locks.contains_key(&table) {
            return Ok(());
        }
        let timeout = timeout.unwrap_or(LOCK_TIMEOUT);
        let held = tokio::time::timeout(timeout, lock).await;
        let timed_out = |_| {
            let message = "canceling statement due to lock timeout";
            Report::new(SqlState::LOCK_NOT_AVAILABLE, message)
                .hint("Another transaction has changed or locked the table and is still open.")
        };
        self.locks.insert(table, held.map_err(timed_out)??);
        Ok(())
    }

    /// True if the table is locked already.
    pub(super) fn holds(&self, table: ObjectId) -> bool {
        self.locks.contains_key(&table)
    }

    /// Keeps a lock that was had without waiting.
    pub(super) fn hold(&mut self, table: ObjectId, lock: TableLock) {
        self.locks.insert(table, lock);
    }

    /// A query has locked rows of a table: it stays locked, whether it is changed or not.
    pub(super) fn selected(&mut self, table: ObjectId) {
        self.selected.entry(table).or_insert(self.savepoints.len());
    }

    /// The transaction has failed: what no savepoint could bring back is given up, and others may have
    /// its tables.
    pub(super) fn abandon(&mut self) {
        match self.savepoints.last() {
            None => *self = Uncommitted::default(),
            Some(last) => {
                self.tables = last.tables.clone();
                let there_were = self.savepoints.len();
                self.selected.retain(|_, before| *before < there_were);
                self.unlock_unchanged();
            }
        }
    }

    /// Lets a table go that was not changed after all.
    pub(super) fn unlock_unchanged(&mut self) {
        let in_savepoint =
            |id: &ObjectId| self.savepoints.iter().any(|one| one.tables.contains_key(id));
        let (tables, selected) = (&self.tables, &self.selected);
        self.locks.retain(|id, _| {
            tables.contains_key(id) || selected.contains_key(id) || in_savepoint(id)
        });
    }

    /// The changed tables, with what the transaction sees of its changes.
    pub(super) fn changed(&self) -> impl Iterator<Item = (ObjectId, Arc<PendingRows>)> {
        self.tables.iter().map(|(id, pending)| (*id, Arc::clone(&pending.rows)))
    }

    /// What the transaction sees of its changes of a table.
    pub(super) fn rows_of(&self, table: ObjectId) -> Option<&PendingRows> {
        self.tables.get(&table).map(|pending| pending.rows.as_ref())
    }

    /// True if it neither changes nor locks a table.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.locks.is_empty()
    }

    /// True if a statement has changed a table.
    pub(super) fn has_changes(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Adds what a statement changed.
    pub(super) fn add(&mut self, id: ObjectId, table: &Table, delta: Delta) -> Result<(), Report> {
        let pending = self.tables.entry(id).or_insert_with(|| Pending {
            deltas: Vec::new(),
            statements: 0,
            rows: Arc::new(PendingRows::new(stored_key(table))),
        });
        let signs = |wanted: fn(i64) -> bool| -> Result<RecordBatch, Report> {
            let mask: BooleanArray =
                delta.weights.values().iter().map(|w| Some(wanted(*w))).collect();
            filter_record_batch(&delta.rows, &mask).map_err(|error| internal(&error))
        };
        let (gone, come) = (signs(|weight| weight < 0)?, signs(|weight| weight > 0)?);
        let rows = Arc::make_mut(&mut pending.rows);
        rows.change(&gone, come).map_err(|error| internal(&error))?;
        pending.deltas.push(delta);
        pending.statements += 1;
        // Many statements with a row each leave a few deltas, whose arrays cost little beside their rows.
        while let [.., before, last] = pending.deltas.as_slice()
            && before.len() < 2 * last.len()
        {
            let at = pending.deltas.len() - 2;
            let joined = concat_deltas(&pending.deltas[at..]).map_err(failed)?;
            pending.deltas.truncate(at);
            pending.deltas.extend(joined);
        }
        Ok(())
    }

    /// Bytes of all changes.
    pub(super) fn bytes(&self) -> usize {
        self.tables.values().flat_map(|pending| &pending.deltas).map(Delta::bytes).sum()
    }

    /// The locks, for who makes the changes durable.
    pub(super) fn into_locks(self) -> Vec<TableLock> {
        self.locks.into_values().collect()
    }

    /// What is to be committed: per table, each row at most once.
    pub(super) fn changes(&self) -> Result<Vec<(ObjectId, Delta)>, Report> {
        let mut changes = Vec::new();
        for (id, pending) in &self.tables {
            let Some(delta) = concat_deltas(&pending.deltas).map_err(failed)? else { continue };
            let delta = match pending.deltas.len() {
                1 if pending.statements == 1 => delta,
                _ => delta.consolidate().map_err(failed)?,
            };
            if !delta.is_empty() {
                changes.push((*id, delta));
            }
        }
        Ok(changes)
    }

    pub(super) fn savepoint(&mut self, name: String, settings: KeptSettings) {
        self.savepoints.push(Savepoint { name, tables: self.tables.clone(), settings });
    }

    /// How many savepoints there are.
    pub(super) fn savepoints(&self) -> usize {
        self.savepoints.len()
    }

    /// Back to a savepoint, which stays; how many there are before it, and the settings that it kept.
    ///
    /// # Errors
    /// There is none of this name.
    pub(super) fn rollback_to(&mut self, name: &str) -> Result<(usize, KeptSettings), Report> {
        let at = self.place(name)?;
        self.savepoints.truncate(at + 1);
        self.tables = self.savepoints[at].tables.clone();
        self.selected.retain(|_, before| *before <= at);
        self.unlock_unchanged();
        Ok((at, self.savepoints[at].settings.clone()))
    }

    /// Forgets a savepoint and those after it; how many there are still.
    ///
    /// # Errors
    /// There is none of this name.
    pub(super) fn release(&mut self, name: &str) -> Result<usize, Report> {
        let at = self.place(name)?;
        self.savepoints.truncate(at);
        self.selected.values_mut().for_each(|before| *before = at.min(*before));
        Ok(at)
    }

    fn place(&self, name: &str) -> Result<usize, Report> {
        self.savepoints.iter().rposition(|one| one.name == name).ok_or_else(|| {
            let message = format!("savepoint \"{name}\" does not exist");
            Report::new(SqlState::INVALID_SAVEPOINT, message)
        })
    }
}

fn failed(error: DeltaError) -> Report {
    Report::new(SqlState::INTERNAL_ERROR, error.to_string())
}
