//! `SELECT ... FOR UPDATE`: tables whose rows a statement locks are locked, whole, before it reads anything.
//!
//! The lock is that of a change, and is kept as such: until the transaction ends, outside of one until the
//! statements of its query string, or of its pipeline, have been answered.

use std::collections::BTreeSet;

use millrace_sql::sqlparser::ast::{Visit, VisitMut};
use millrace_sql::{
    Catalog, Kind, LockWait, Privilege, RowLock, has_row_locks, row_locks, without_rows,
};
use millrace_types::{ObjectId, Report, SqlState};

use super::Conn;
use super::rights::may;

impl Conn {
    /// Locks what the queries of a statement name with FOR UPDATE or FOR SHARE. True if one of them was left
    /// without rows, as others hold what it would skip.
    pub(super) async fn lock_rows(
        &mut self,
        statement: &mut (impl Visit + VisitMut + Send),
        text: &str,
    ) -> Result<bool, Report> {
        if !has_row_locks(statement) {
            return Ok(false);
        }
        let catalog = self.shared.catalog();
        let mut wanted = row_locks(&catalog, statement, text)?;
        if wanted.is_empty() {
            return Ok(false);
        }
        self.check_locks(&catalog, &wanted)?;
        wanted.sort_unstable();
        let is_table = |id: ObjectId| {
            catalog.get(id).is_some_and(|object| matches!(object.kind, Kind::Table(_)))
        };
        let mut passed = BTreeSet::new();
        for lock in wanted.iter().filter(|lock| is_table(lock.object)) {
            if !passed.contains(&lock.query) && !self.lock_table(lock, &catalog).await? {
                passed.insert(lock.query);
            }
        }
        // Once more: a table may have been dropped and made anew meanwhile.
        let mut again = row_locks(&self.shared.catalog(), statement, text)?;
        again.sort_unstable();
        if again != wanted {
            return Err(Report::new(SqlState::SERIALIZATION_FAILURE, "the table has changed"));
        }
        without_rows(statement, &passed);
        Ok(!passed.is_empty())
    }

    /// Looks whether a statement may lock rows where it does; it locks none.
    pub(super) fn check_row_locks(
        &self,
        statement: &mut (impl Visit + VisitMut),
        text: &str,
    ) -> Result<(), Report> {
        if has_row_locks(statement) {
            row_locks(&self.shared.catalog(), statement, text)?;
        }
        Ok(())
    }

    fn check_locks(&self, catalog: &Catalog, wanted: &[RowLock]) -> Result<(), Report> {
        if self.settings.lock().is_read_only() {
            let message = "cannot execute SELECT FOR UPDATE in a read-only transaction";
            return Err(Report::new(SqlState::READ_ONLY_SQL_TRANSACTION, message));
        }
        let own = self.role()?.id;
        for lock in wanted {
            if let Some(object) = catalog.get(lock.object) {
                may(catalog, lock.by.unwrap_or(own), object, Privilege::Update)?;
            }
        }
        Ok(())
    }

    /// Locks a table; false if others hold it and that is passed over.
    async fn lock_table(&mut self, lock: &RowLock, catalog: &Catalog) -> Result<bool, Report> {
        let table = lock.object;
        if !self.uncommitted.holds(table) {
            let locks = &self.shared.locks;
            match lock.wait {
                LockWait::Wait => {
                    let waits = locks.lock(table, self.process, self.shared.clock.now());
                    let timeout = self.settings.lock().duration("lock_timeout");
                    self.uncommitted.lock(table, waits, timeout).await?;
                }
                LockWait::Fail | LockWait::Skip => match locks.try_lock(table, self.process) {
                    Some(held) => self.uncommitted.hold(table, held),
                    None if lock.wait == LockWait::Skip => return Ok(false),
                    None => {
                        let name = catalog.get(table).map(|object| object.name.as_str());
                        let name = name.unwrap_or_default();
                        let message =
                            format!("could not obtain lock on row in relation \"{name}\"");
                        return Err(Report::new(SqlState::LOCK_NOT_AVAILABLE, message)
                            .hint("Another transaction has changed or locked the table and is still open."));
                    }
                },
            }
        }
        self.uncommitted.selected(table);
        Ok(true)
    }
}
