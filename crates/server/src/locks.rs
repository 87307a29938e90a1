//! Locks of tables: who changes one keeps others from changing it until the transaction ends.
//!
//! Invariants: 1. `pg_locks` shows a lock as held from the moment in which it is until it is given back,
//! wherever it is meanwhile, because the entry goes with the guard ([`TableLock`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_types::ObjectId;
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
    pub async fn lock(self: &Arc<Locks>, table: ObjectId, process: i32, now: i64) -> TableLock {
        let lock = Arc::clone(self.tables.lock().entry(table).or_default());
        let entry =
            Entry { locks: Arc::clone(self), id: self.next.fetch_add(1, Ordering::Relaxed) };
        let guard = match Arc::clone(&lock).try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => {
                entry.show(Shown { process, table, waits_since: Some(now) });
                lock.lock_owned().await
            }
        };
        entry.show(Shown { process, table, waits_since: None });
        TableLock { _entry: entry, _guard: guard }
    }

    /// What is held and waited for.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().values().copied().collect()
    }
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
        let held = locks.lock(table, 1, 10).await;
        let mut waits = Box::pin(locks.lock(table, 2, 20));
        assert!(futures::poll!(&mut waits).is_pending());
        let holds = |process| Shown { process, table, waits_since: None };
        assert_eq!(locks.shown(), [holds(1), Shown { waits_since: Some(20), ..holds(2) }]);
        drop(held);
        let held = waits.await;
        assert_eq!(locks.shown(), [holds(2)]);
        let waits = locks.lock(table, 3, 30);
        // Who is cancelled waits no more.
        let mut waits = Box::pin(waits);
        assert!(futures::poll!(&mut waits).is_pending());
        drop(waits);
        drop(held);
        assert!(locks.shown().is_empty());
    }
}
