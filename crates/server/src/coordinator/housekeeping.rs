//! What can be done beside everything else: merging overlays in memory, and runs on disk.
//!
//! Both only save memory, disk and the work of readers; they run on one thread of their own, so that
//! neither the coordinator nor a checkpoint waits for them.
//!
//! Invariants: 1. nothing is merged above an epoch that a checkpoint under way still has to flush:
//! no job is sent while there is one, and later checkpoints lie above what is complete now.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError};
use millrace_storage::{Store, Table};
use millrace_types::{TableId, Ts};

use super::{Coordinator, Message, View};
use crate::error::ServerError;
use crate::shared::Shared;

/// How often overlays are merged, microseconds.
const EVERY_US: i64 = 500_000;
/// Fewer bytes of overlays are not worth the work.
const WORTH_BYTES: usize = 1 << 20;

/// Rounds for which a table is left alone after a merge that freed less than a third.
const ROUNDS_LEFT_ALONE: u32 = 16;

/// Tables and the time below which nobody will read them.
type Job = Vec<(Arc<Table>, Ts)>;

/// The thread and when it was last given work.
pub(super) struct Housekeeping {
    jobs: Sender<Job>,
    last_at: i64,
}

impl Housekeeping {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Housekeeping, ServerError> {
        let (jobs, inbox) = crossbeam_channel::bounded::<Job>(1);
        let (store, out) = (shared.store.clone(), shared.inbox.clone());
        let run = move || {
            let mut resting = BTreeMap::new();
            for job in inbox {
                if let Err(error) = keep_house(&store, job, &mut resting) {
                    // The coordinator ends the server; if it is gone, so is the server.
                    drop(out.send(Message::Failed(Box::new(error.into()))));
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("housekeeping".into())
            .spawn(run)
            .map_err(ServerError::Thread)?;
        Ok(Housekeeping { jobs, last_at: 0 })
    }
}

/// `resting` holds the tables whose rows are mostly keys of their own: merging them frees little, and
/// the next checkpoint sorts them anyway.
fn keep_house(
    store: &Store,
    job: Job,
    resting: &mut BTreeMap<TableId, u32>,
) -> Result<(), millrace_storage::Error> {
    resting.retain(|_, rounds| {
        *rounds -= 1;
        *rounds > 0
    });
    for (table, since) in job {
        if resting.contains_key(&table.id()) {
            continue;
        }
        let before = table.bytes();
        table.settle(since)?;
        if table.bytes() > before / 3 * 2 {
            resting.insert(table.id(), ROUNDS_LEFT_ALONE);
        }
    }
    loop {
        match store.compact_within(spare(store)) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // It is as it was, and done when there is room.
            Err(error) if error.is_disk_full() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Bytes of disk that a compaction may take.
fn spare(store: &Store) -> u64 {
    store.room().and_then(|room| room.spare().ok()).unwrap_or(u64::MAX)
}

impl Coordinator {
    /// Gives the thread work if it is time and no checkpoint is under way.
    pub(super) fn keep_house(&mut self, now: i64) {
        if now.saturating_sub(self.housekeeping.last_at) < EVERY_US || !self.checkpoints.is_idle() {
            return;
        }
        self.housekeeping.last_at = now;
        let job: Job = self
            .views
            .values()
            .filter(|view| view.tables.content.bytes() > WORTH_BYTES)
            .map(|view| (view.tables.content.clone(), settled(view)))
            .collect();
        match self.housekeeping.jobs.try_send(job) {
            // It is still busy with the last one.
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => tracing::error!("housekeeping has ended"),
        }
    }
}

/// The time below which nobody reads a view: of a live one a query may just have chosen the last
/// complete epoch; one that is being filled is not read at all.
fn settled(view: &View) -> Ts {
    let upper = view.upper();
    match view.live_from {
        Some(_) => upper.epoch().previous().previous().ts(),
        None => Ts(upper.0.saturating_sub(1)),
    }
}
