//! Locks of tables: who changes one keeps others from changing it until the transaction ends.
//!
//! Invariants: 1. `pg_locks` shows a lock as held from the moment in which it is until it is given back,
//! wherever it is meanwhile, because the entry goes with the guard ([`TableLock`]). 2. of sessions that wait
//! for each other in a circle the last one that begins to wait fails: all others are shown by then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_types::{ObjectId, Report, SqlState};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// All locks of tables.
#[derive(Default)]
pub struct Locks {
    tables: Mutex<BTreeMap<ObjectId, Arc<tokio::sync::Mutex<()>>>>,
    next: AtomicU64,
    shown: Mutex<BTreeMap<u64, Shown>>,
}

/// A lock that is held, or that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The session, by the number that its client was told.
    pub process: i32,
    /// The table.
    pub table: ObjectId,
    /// When it began to wait, microseconds since 1970; None: it holds the lock.
    pub waits_since: Option<i64>,
}

impl Locks {
    /// Waits for a table, as long as it takes, and locks it; `now` is in microseconds since 1970.
    ///
    /// # Errors
    /// Who holds it waits for this session, directly or not. Sessions without a number are not looked at.
    pub async fn lock(
        self: &Arc<Locks>,
        table: ObjectId,
        process: i32,
        now: i64,
    ) -> Result<TableLock, Report> {
        let (lock, entry) = self.entry(table);
        {
            let mut shown = self.shown.lock();
            if let Ok(guard) = Arc::clone(&lock).try_lock_owned() {
                shown.insert(entry.id, Shown { process, table, waits_since: None });
                drop(shown);
                return Ok(TableLock { _entry: entry, _guard: guard });
            }
            if is_circle(&shown, table, process) {
                drop(shown);
                return Err(deadlock());
            }
            shown.insert(entry.id, Shown { process, table, waits_since: Some(now) });
        }
        let guard = lock.lock_owned().await;
        entry.show(Shown { process, table, waits_since: None });
        Ok(TableLock { _entry: entry, _guard: guard })
    }

    /// Locks a table, if nobody holds it or waits for it.
    pub fn try_lock(self: &Arc<Locks>, table: ObjectId, process: i32) -> Option<TableLock> {
        let (lock, entry) = self.entry(table);
        let mut shown = self.shown.lock();
        let guard = lock.try_lock_owned().ok();
        if guard.is_some() {
            shown.insert(entry.id, Shown { process, table, waits_since: None });
        }
        drop(shown);
        guard.map(|guard| TableLock { _entry: entry, _guard: guard })
    }

    /// The lock of a table, and a place in the list.
    fn entry(self: &Arc<Locks>, table: ObjectId) -> (Arc<tokio::sync::Mutex<()>>, Entry) {
        let lock = Arc::clone(self.tables.lock().entry(table).or_default());
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        (lock, Entry { locks: Arc::clone(self), id })
    }

    /// What is held and waited for.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().values().copied().collect()
    }
}

/// True if a session that would wait for a table would wait for itself.
fn is_circle(shown: &BTreeMap<u64, Shown>, table: ObjectId, process: i32) -> bool {
    let holder = |table: ObjectId| {
        shown.values().find(|one| one.table == table && one.waits_since.is_none())
    };
    let waits = |process: i32| {
        shown.values().find(|one| one.process == process && one.waits_since.is_some())
    };
    let mut next = Some(table);
    // Each step is another session, so there are no more steps than entries.
    for _ in 0..=shown.len() {
        let Some(held) = next.and_then(holder).filter(|held| held.process != 0) else {
            return false;
        };
        if held.process == process {
            return true;
        }
        next = waits(held.process).map(|wait| wait.table);
    }
    false
}

fn deadlock() -> Report {
    Report::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
        .detail("Who holds the table waits for one that this session holds.")
        .hint("Let all transactions change, or select FOR UPDATE, their tables in the same order.")
}

/// A locked table; it is given back when this is dropped.
pub struct TableLock {
    // Before the guard: nobody sees two who hold it.
    _entry: Entry,
    _guard: OwnedMutexGuard<()>,
}

/// A place in the list.
struct Entry {
    locks: Arc<Locks>,
    id: u64,
}

impl Entry {
    fn show(&self, shown: Shown) {
        self.locks.shown.lock().insert(self.id, shown);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.locks.shown.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_is_shown_as_waited_for_and_held_until_it_is_dropped() {
        let (locks, table) = (Arc::new(Locks::default()), ObjectId(7));
        let held = locks.lock(table, 1, 10).await.unwrap();
        let mut waits = Box::pin(locks.lock(table, 2, 20));
        assert!(futures::poll!(&mut waits).is_pending());
        let holds = |process| Shown { process, table, waits_since: None };
        assert_eq!(locks.shown(), [holds(1), Shown { waits_since: Some(20), ..holds(2) }]);
        drop(held);
        let held = waits.await.unwrap();
        assert_eq!(locks.shown(), [holds(2)]);
        let waits = locks.lock(table, 3, 30);
        // Who is cancelled waits no more.
        let mut waits = Box::pin(waits);
        assert!(futures::poll!(&mut waits).is_pending());
        drop(waits);
        drop(held);
        assert!(locks.shown().is_empty());
    }
    #[tokio::test]
    async fn the_last_one_of_a_circle_fails_and_who_only_queues_does_not() {
        let locks = Arc::new(Locks::default());
        let table = ObjectId;
        let one = locks.lock(table(1), 1, 0).await.unwrap();
        let two = locks.lock(table(2), 2, 0).await.unwrap();
        let three = locks.lock(table(3), 3, 0).await.unwrap();
        let mut first = Box::pin(locks.lock(table(2), 1, 0));
        let mut second = Box::pin(locks.lock(table(3), 2, 0));
        let mut queued = Box::pin(locks.lock(table(3), 4, 0));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut queued).is_pending());
        let error = locks.lock(table(1), 3, 0).await.err().unwrap();
        assert_eq!(error.code, SqlState::DEADLOCK_DETECTED);
        assert!(locks.try_lock(table(1), 3).is_none());
        // Nothing of the attempt is left, and the others go on when it gives up what it has.
        assert_eq!(locks.shown().len(), 6);
        drop(three);
        drop(second.await.unwrap());
        drop(two);
        drop((first.await.unwrap(), queued.await.unwrap(), one));
        assert!(locks.shown().is_empty());
    }
}
