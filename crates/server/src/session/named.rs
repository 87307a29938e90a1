//! What a session has by names of its own: cursors and prepared statements.
//!
//! The catalog's tables list them while a statement of the session runs, so they are behind locks, which
//! nobody holds for longer than it takes to look.

use std::collections::BTreeMap;
use std::fmt;

use millrace_pg::catalog::{CursorRow, PreparedRow, SessionLists};
use parking_lot::Mutex;

use super::cursors::OpenCursor;
use super::prepared::PreparedStatement;

/// Cursors and prepared statements of a session.
#[derive(Default)]
pub(super) struct Named {
    /// Cursors by name, and portals that have one.
    pub(super) cursors: Mutex<BTreeMap<String, OpenCursor>>,
    /// Prepared statements by name, those of the protocol too.
    pub(super) prepared: Mutex<BTreeMap<String, PreparedStatement>>,
    /// The last number that it has got of each sequence, and of which it came last.
    numbers: Mutex<(BTreeMap<u32, i64>, Option<u32>)>,
}

impl Named {
    /// `DISCARD SEQUENCES`: it has got no numbers.
    pub(super) fn forget_numbers(&self) {
        *self.numbers.lock() = Default::default();
    }

    /// The prepared statement of a name is planned for values.
    pub(super) fn planned(&self, name: &str) {
        if let Some(statement) = self.prepared.lock().get_mut(name) {
            statement.plans += 1;
        }
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").finish_non_exhaustive()
    }
}

impl SessionLists for Named {
    fn prepared(&self) -> Vec<PreparedRow> {
        self.prepared.lock().iter().map(|(name, statement)| statement.row(name)).collect()
    }

    fn cursors(&self) -> Vec<CursorRow> {
        self.cursors.lock().iter().map(|(name, cursor)| cursor.row(name)).collect()
    }

    fn took(&self, sequence: u32, number: i64) {
        let (numbers, last) = &mut *self.numbers.lock();
        numbers.insert(sequence, number);
        *last = Some(sequence);
    }

    fn taken(&self, sequence: Option<u32>) -> Option<(u32, i64)> {
        let (numbers, last) = &*self.numbers.lock();
        let sequence = sequence.or(*last)?;
        numbers.get(&sequence).map(|number| (sequence, *number))
    }
}
