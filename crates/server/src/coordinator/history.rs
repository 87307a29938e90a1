//! Histories: for whom the changes of a view are kept, and how long.
//!
//! A view keeps its changes for good if it says `retain_history` or a sink follows it; then the catalog
//! names the table that holds them and the epoch with which they begin. For a subscriber alone they are
//! kept from the moment on at which it asks, and forgotten a minute after the last one has gone, or
//! with the server.
//!
//! Invariants: 1. a history begins with an epoch that is not sealed yet, or in which the view takes its
//! first live changes: it holds whole epochs ([`Coordinator::begin_history`]). 2. who reads is told that
//! changes have gone before they go (`keep_histories`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use millrace_dataflow::runtime::{Command, history_schema, history_sort};
use millrace_sql::{Catalog, Object};
use millrace_storage::{Op, Store, TableSpec};
use millrace_types::{Epoch, ObjectId, Report, SqlState, TableId};

use super::{Coordinator, Reply};
use crate::error::ServerError;
use crate::shared::History;

/// How often histories are looked at, microseconds.
const LOOK_US: i64 = 1_000_000;
/// How long changes are kept at least while somebody follows, and a history that nobody needs.
const KEPT_US: i64 = 60_000_000;
/// How many moments are remembered over the longest time for which changes are kept.
const MOMENTS: i64 = 100_000;

/// Why the history of a view is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keeps {
    /// The catalog names it: the view says so, or a sink follows.
    pub(super) durable: bool,
    /// How long changes are kept, microseconds.
    pub(super) retain_us: i64,
    /// Since when nobody needs it.
    unused_since: Option<i64>,
}

/// When epochs were sealed.
#[derive(Default)]
pub(super) struct Histories {
    sealed: VecDeque<(i64, Epoch)>,
    looked_at: i64,
}

impl Histories {
    /// An epoch was sealed at a time, and none above it before the next one that is noted.
    pub(super) fn note(&mut self, at: i64, epoch: Epoch, longest_us: i64) {
        let apart = LOOK_US.max(longest_us / MOMENTS);
        if self.sealed.back().is_none_or(|(last, _)| at.saturating_sub(*last) >= apart) {
            self.sealed.push_back((at, epoch));
        }
        let old = at.saturating_sub(longest_us);
        while self.sealed.get(1).is_some_and(|(second, _)| *second <= old) {
            self.sealed.pop_front();
        }
    }

    /// The first epoch that may have been sealed after a time.
    fn first_after(&self, at: i64) -> Epoch {
        let before = self.sealed.iter().take_while(|(sealed, _)| *sealed <= at);
        before.last().map_or(Epoch::default(), |(_, epoch)| epoch.next())
    }
}

impl Coordinator {
    /// Keeps the changes of a view from an epoch on, in a new table or, after a recovery, in its own.
    pub(super) fn begin_history(
        &mut self,
        view: ObjectId,
        stored: Option<TableId>,
        since: Epoch,
    ) -> Result<Arc<History>, ServerError> {
        let id = stored.unwrap_or_else(|| self.next_table());
        let found = self.views.get_mut(&view).ok_or_else(|| {
            ServerError::Catalog(format!("view {view} has a history and does not run"))
        })?;
        let content = &found.tables.content;
        let (schema, sort) = (history_schema(&content.schema()), history_sort(content.sort()));
        let table = self.shared.store.create_table(TableSpec { id, schema, sort })?;
        let history = Arc::new(History::new(table.clone(), since));
        let trimmed = table.trim().and_then(|mark| u64::try_from(mark).ok());
        history.trim(Epoch(trimmed.unwrap_or_default()));
        found.history = Some(history.clone());
        self.runtime.broadcast(&Command::Retain { view, history: Some((table, since)) });
        if let Some(status) = self.shared.board.lock().views.get_mut(&view) {
            status.history = Some(history.clone());
        }
        Ok(history)
    }

    /// A view that goes live keeps its changes from there on if it says so.
    pub(super) fn begin_retention(
        &mut self,
        object: &Object,
        view: ObjectId,
        from: Epoch,
    ) -> Result<(), ServerError> {
        let retain_us = retain_us(object);
        if retain_us > 0 {
            self.begin_history(view, None, from)?;
            if let Some(found) = self.views.get_mut(&view) {
                found.keeps = Keeps { durable: true, retain_us, unused_since: None };
            }
        }
        Ok(())
    }

    /// After a recovery: the history that the catalog names.
    pub(super) fn recover_history(&mut self, object: &Object) -> Result<(), ServerError> {
        let Some((table, since)) = stored_history(&self.shared.store, object.id)? else {
            return Ok(());
        };
        self.begin_history(object.id, Some(table), since)?;
        if let Some(found) = self.views.get_mut(&object.id) {
            let retain_us = retain_us(object);
            found.keeps = Keeps { durable: true, retain_us, unused_since: None };
        }
        Ok(())
    }

    /// A session wants to follow a view.
    pub(super) fn follow(&mut self, view: ObjectId, reply: Reply) -> Result<(), ServerError> {
        let answer = match self.views.get(&view) {
            Some(found) if found.history.is_some() => Ok(()),
            Some(_) => self.begin_history(view, None, self.open).map(drop).map(Ok)?,
            None => Err(Report::new(SqlState::UNDEFINED_TABLE, "the view has been dropped")),
        };
        // A client that has gone needs no answer.
        drop(reply.send(answer));
        Ok(())
    }

    /// The catalog's record of a durable history.
    pub(super) fn history_op(&self, view: ObjectId) -> Option<Op> {
        let found = self.views.get(&view).filter(|found| found.keeps.durable)?;
        let history = found.history.as_ref()?;
        let mut bytes = history.table.id().0.to_le_bytes().to_vec();
        bytes.extend(history.since.0.to_le_bytes());
        Some(Op::Put(history_key(view), bytes))
    }

    /// The table that goes with a view.
    pub(super) fn history_table(&self, view: ObjectId) -> Option<TableId> {
        let running = self.views.get(&view).and_then(|found| found.history.as_ref());
        match running {
            Some(history) => Some(history.table.id()),
            None => stored_history(&self.shared.store, view).ok().flatten().map(|(table, _)| table),
        }
    }

    /// Lets changes go that nobody needs any more, and histories.
    pub(super) fn keep_histories(&mut self, now: i64) {
        if now.saturating_sub(self.histories.looked_at) < LOOK_US {
            return;
        }
        self.histories.looked_at = now;
        let longest = self.views.values().map(|view| view.keeps.retain_us).max();
        let longest = longest.unwrap_or_default().max(KEPT_US).max(self.longest_lag());
        self.histories.note(self.last_now, self.open.previous(), longest);
        self.look_at_sinks();
        let first_after = |kept: i64| self.histories.first_after(now.saturating_sub(kept));
        let followed = self.views.iter().filter(|(_, view)| view.history.is_some());
        let floor = |(id, view): (&ObjectId, &super::View)| {
            let since = view.history.as_ref().map(|history| history.since).unwrap_or_default();
            (*id, self.sink_floor(*id, since, first_after))
        };
        let floors: BTreeMap<ObjectId, Option<Epoch>> = followed.map(floor).collect();
        let mut unused = Vec::new();
        for (id, view) in &mut self.views {
            let Some(history) = &view.history else { continue };
            let kept = view.keeps.retain_us.max(KEPT_US);
            let first = self.histories.first_after(now.saturating_sub(kept));
            let floor = floors.get(id).copied().flatten();
            history.trim(floor.map_or(first, |floor| floor.min(first)));
            let mark = i64::try_from(history.first().0).unwrap_or(i64::MAX);
            history.table.expire(self.open.ts(), mark);
            let needed = view.keeps.durable || history.is_followed();
            let since = view.keeps.unused_since.get_or_insert(now);
            if needed {
                view.keeps.unused_since = None;
            } else if now.saturating_sub(*since) > KEPT_US {
                unused.push(*id);
            }
        }
        unused.into_iter().for_each(|view| self.end_history(view));
    }

    fn end_history(&mut self, view: ObjectId) {
        let Some(found) = self.views.get_mut(&view) else { return };
        let mut board = self.shared.board.lock();
        // Who takes it from the board follows before it lets go of the lock.
        let Some(history) = found.history.take_if(|history| !history.is_followed()) else { return };
        if let Some(status) = board.views.get_mut(&view) {
            status.history = None;
        }
        drop(board);
        found.keeps = Keeps::default();
        self.runtime.broadcast(&Command::Retain { view, history: None });
        self.checkpoints.orphans.push(history.table.id());
    }
}

/// How long a view says that its changes are kept, microseconds.
fn retain_us(object: &Object) -> i64 {
    object.stored().map(millrace_sql::MaterializedView::retain_history_us).unwrap_or_default()
}

fn history_key(view: ObjectId) -> Vec<u8> {
    let mut key = b"history/".to_vec();
    key.extend(view.0.to_be_bytes());
    key
}

/// The change of the catalog that forgets a history.
pub(super) fn forget_history(view: ObjectId) -> Op {
    Op::Delete(history_key(view))
}

/// The tables of all histories that the catalog names.
pub(super) fn stored_histories(
    store: &Store,
    catalog: &Catalog,
) -> Result<Vec<TableId>, ServerError> {
    let stored = catalog.objects().map(|object| stored_history(store, object.id));
    let tables = stored.map(|found| Ok(found?.map(|(table, _)| table)));
    Ok(tables.collect::<Result<Vec<_>, ServerError>>()?.into_iter().flatten().collect())
}

/// The table and the first epoch of a view's history, if the catalog has one.
fn stored_history(store: &Store, view: ObjectId) -> Result<Option<(TableId, Epoch)>, ServerError> {
    let Some(bytes) = store.get(&history_key(view))? else { return Ok(None) };
    let damaged =
        || ServerError::Catalog(format!("the record of the history of {view} is damaged"));
    let (table, since) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let since: [u8; 8] = since.try_into().map_err(|_| damaged())?;
    Ok(Some((TableId(u64::from_le_bytes(*table)), Epoch(u64::from_le_bytes(since)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_epochs_sealed_before_a_time_are_let_go() {
        let mut histories = Histories::default();
        for second in 0..20 {
            let epoch = Epoch(u64::try_from(second).unwrap() * 10);
            histories.note(second * LOOK_US, epoch, 5 * LOOK_US);
        }
        assert_eq!(histories.first_after(15 * LOOK_US), Epoch(151));
        assert_eq!(histories.first_after(15 * LOOK_US - 1), Epoch(141));
        assert_eq!(histories.first_after(0), Epoch(0), "what is not known is kept");
        assert_eq!(histories.sealed.len(), 6, "no more is remembered than is asked for");
    }
}
