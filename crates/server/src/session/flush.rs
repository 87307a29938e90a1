//! FLUSH: waits until everything that stood in the sources, or was inserted, when it was called is
//! visible and durable.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_sql::Source;
use millrace_types::{Epoch, ObjectId, PartitionId, Report, SqlState};
use tokio::sync::oneshot;

use super::Conn;
use super::ddl::blocking;
use crate::coordinator::{Message, built_source};
use crate::shared::Board;
use crate::sources::CONNECT_TIMEOUT;

/// How often what a source has read is looked at; it is posted four times a second.
const LOOK_EVERY: Duration = Duration::from_millis(50);

type Ends = BTreeMap<(ObjectId, PartitionId), i64>;

impl Conn {
    pub(super) async fn flush(&mut self) -> Result<(), Report> {
        let ends = self.ends().await?;
        while !self.read_to(&ends)? {
            let disk = self.shared.board.lock().disk;
            if disk.full {
                return Err(disk.report(&self.shared.config.data_dir));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let gone = || Report::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down");
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.send(Message::Flush(reply)).map_err(|_| gone())?;
        let epoch: Epoch = answer.await.map_err(|_| gone())??;
        let mut changes = self.shared.changes.subscribe();
        let mut wanted = epoch;
        loop {
            {
                let board = self.shared.board.lock();
                // Rows that were late are listed in an epoch after their own.
                wanted = wanted.max(board.late_listed);
                if complete(&board, wanted) && !board.late_waits {
                    break;
                }
            }
            changes.changed().await.map_err(|_| gone())?;
        }
        self.seen = self.seen.max(wanted);
        Ok(())
    }

    /// Where the sources that somebody reads end now.
    async fn ends(&self) -> Result<Ends, Report> {
        let catalog = self.shared.catalog();
        let mut sources: Vec<(ObjectId, Source)> = Vec::new();
        for (id, status) in &self.shared.board.lock().sources {
            if let Some(source) = catalog.get(*id).and_then(|object| object.source())
                && status.running
            {
                sources.push((*id, source.clone()));
            }
        }
        let shared = self.shared.clone();
        blocking(move || {
            let mut ends = Ends::new();
            for (id, source) in sources {
                let built = built_source(&shared.store, &shared.clock, id, &source)?;
                for extent in built.connector.extents(CONNECT_TIMEOUT)? {
                    ends.insert((id, extent.partition), extent.end);
                }
            }
            Ok(ends)
        })
        .await
    }

    /// True once all sources have been read that far.
    fn read_to(&self, ends: &Ends) -> Result<bool, Report> {
        let board = self.shared.board.lock();
        for ((id, partition), end) in ends {
            // A source that nobody reads any more is not waited for.
            let Some(status) = board.sources.get(id).filter(|status| status.running) else {
                continue;
            };
            if let Some(reason) = status.failed.as_ref().or(status.stopped.as_ref()) {
                return Err(Report::new(SqlState::FOREIGN_DATA_ERROR, reason.clone()));
            }
            // A partition that it does not read holds nothing up.
            let at = status.partitions.get(partition).map(|at| at.cut.end);
            if at.is_some_and(|at| at < *end) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// True if all views that run have completed an epoch.
fn complete(board: &Board, epoch: Epoch) -> bool {
    let mut running = board.views.values().filter(|status| status.failed.is_none());
    running.all(|status| status.upper.epoch() > epoch)
}
