//! The moment of a read-only transaction: one epoch for all of its statements.
//!
//! The first statement that reads a view or table takes snapshots of all that are there; the others read
//! these. They hold files, until the transaction ends.

use std::collections::BTreeMap;

use millrace_storage::Snapshot;
use millrace_types::{Epoch, ObjectId, Report, SqlState};

use super::tables::QueryTables;
use super::{Conn, Transaction};
use crate::shared::ViewStatus;

/// See the head of the file.
#[derive(Default)]
pub(super) struct Moment {
    taken: Option<(Epoch, BTreeMap<ObjectId, Snapshot>)>,
}

impl Moment {
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.taken.as_ref().map(|(epoch, _)| *epoch)
    }

    pub(super) fn take(&mut self, epoch: Epoch, snapshots: BTreeMap<ObjectId, Snapshot>) {
        self.taken = Some((epoch, snapshots));
    }

    /// What a view held then.
    pub(super) fn of(&self, view: ObjectId) -> Option<Snapshot> {
        self.taken.as_ref().and_then(|(_, snapshots)| snapshots.get(&view).cloned())
    }

    /// The transaction has ended.
    pub(super) fn pass(&mut self) {
        self.taken = None;
    }
}

impl Conn {
    /// Pins a query to an epoch: that of the transaction, if it only reads.
    pub(super) async fn pin(&mut self, tables: &QueryTables) -> Result<Option<Epoch>, Report> {
        let one_moment =
            self.transaction == Transaction::Open && self.settings.lock().is_read_only();
        let epoch = tables.pin(self.seen, one_moment.then_some(&mut self.moment)).await?;
        self.seen = self.seen.max(epoch.unwrap_or_default());
        Ok(epoch)
    }
}

/// Snapshots of all views and tables that had completed an epoch; None if a checkpoint has passed it by.
pub(super) fn snapshots<'a>(
    epoch: Epoch,
    views: impl Iterator<Item = (&'a ObjectId, &'a ViewStatus)>,
) -> Result<Option<BTreeMap<ObjectId, Snapshot>>, Report> {
    let mut snapshots = BTreeMap::new();
    let read = |status: &ViewStatus| status.failed.is_none() && status.complete() >= Some(epoch);
    for (id, status) in views.filter(|(_, status)| read(status)) {
        match status.tables.content.snapshot(epoch) {
            Ok(snapshot) => drop(snapshots.insert(*id, snapshot)),
            Err(millrace_storage::Error::TooOld { .. }) => return Ok(None),
            Err(error) => return Err(error.report()),
        }
    }
    Ok(Some(snapshots))
}

/// A view has no rows of the moment.
pub(super) fn not_there_then(name: &str) -> Report {
    let message = format!("\"{name}\" could not be read yet when the transaction began to read");
    Report::new(SqlState::SERIALIZATION_FAILURE, message)
        .hint("A read-only transaction shows one moment: begin another one.")
}
