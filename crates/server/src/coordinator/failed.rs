//! Views that cannot go on: their source's data is gone, or state of theirs is damaged. They stop, with
//! those above them, and the rest goes on.
//!
//! A view that has stopped keeps what it had on disk but answers with the reason; the reason is
//! stored, so that it stays stopped after a restart. DROP takes it away.

use std::sync::Arc;

use millrace_dataflow::graph::Graph;
use millrace_dataflow::runtime::ViewTables;
use millrace_sql::{Catalog, Kind, Object};
use millrace_storage::{Commit, Op};
use millrace_types::{Epoch, ObjectId, Report, SqlState, Ts};

use super::Coordinator;
use crate::error::ServerError;
use crate::shared::{Readable, ViewStatus};
use crate::stops;

const FAILED_PREFIX: &[u8] = b"failed/";

fn failed_key(view: ObjectId) -> Vec<u8> {
    let mut key = FAILED_PREFIX.to_vec();
    key.extend(view.0.to_be_bytes());
    key
}

/// The change of the catalog that forgets why a view has stopped.
pub(super) fn forget_failure(view: ObjectId) -> Op {
    Op::Delete(failed_key(view))
}

impl Coordinator {
    /// Stops the views whose sources have failed for good.
    pub(super) fn fail_unreadable(&mut self) {
        let failed: Vec<(ObjectId, String)> = self
            .sources
            .iter()
            .filter_map(|(id, source)| Some((*id, source.feed.failed()?)))
            .collect();
        for (source, reason) in failed {
            let now = self.shared.clock.now();
            if let Some(mut live) = self.sources.remove(&source) {
                let mut status = live.status(now);
                status.running = false;
                self.shared.board.lock().sources.insert(source, status);
            }
            self.fail_views(&self.catalog().dependants(source), &reason);
            for job in self.jobs_over(source) {
                let report = Report::new(SqlState::FOREIGN_DATA_ERROR, reason.clone());
                self.abort_hydration(job, report);
            }
        }
    }

    /// State that an operator of a view needs is damaged. Each worker that needs it says so.
    pub(super) fn fail_damaged(&mut self, view: ObjectId, reason: &str) {
        let report = || Report::new(SqlState::DATA_CORRUPTED, reason.to_owned());
        if self.hydrations.contains_key(&view) {
            return self.abort_hydration(view, report());
        }
        if !self.views.contains_key(&view) {
            return;
        }
        let mut failed = vec![view];
        failed.extend(self.catalog().dependants(view));
        self.fail_views(&failed, reason);
        for job in failed.into_iter().flat_map(|view| self.jobs_over(view)).collect::<Vec<_>>() {
            self.abort_hydration(job, report());
        }
        self.close_unread_sources();
    }

    fn fail_views(&mut self, views: &[ObjectId], reason: &str) {
        for view in views {
            if !self.views.contains_key(view) {
                continue;
            }
            self.retire(*view);
            self.checkpoints.riding.push(Op::Put(failed_key(*view), reason.as_bytes().to_vec()));
            if let Some(status) = self.shared.board.lock().views.get_mut(view) {
                status.failed = Some(reason.to_owned());
            }
            tracing::error!(view = self.name_of(*view), reason, "a materialized view has stopped");
        }
        self.checkpoints.want();
        self.shared.changed();
    }

    /// The tables of a stored view, and why it does not run if it does not. Where they cannot be opened
    /// for damage the view has stopped, and is shown with tables that are empty; what cannot be made
    /// anew keeps the server from starting.
    pub(super) fn recovered_tables(
        &mut self,
        catalog: &Catalog,
        object: &Object,
        graph: &Graph,
    ) -> Result<(ViewTables, Option<String>), ServerError> {
        let is_table = object.source().is_none() && matches!(object.kind, Kind::Table(_));
        let error = match self.view_tables(object, graph) {
            Err(ServerError::Storage(error)) if error.is_damage() && !is_table => error,
            tables => return Ok((tables?, self.failed_before(catalog, object.id)?)),
        };
        let reason = error.to_string();
        tracing::error!(view = object.name, reason, "a materialized view has stopped");
        let ops = vec![Op::Put(failed_key(object.id), reason.as_bytes().to_vec())];
        self.shared.store.commit(Commit { ops, ..Commit::default() })?;
        let mut empty = object.clone();
        if let Some(view) = empty.stored_mut() {
            (view.content, view.errors) = (self.next_table(), self.next_table());
            view.state.iter_mut().for_each(|table| *table = self.next_table());
        }
        Ok((self.view_tables(&empty, graph)?, Some(reason)))
    }

    /// Does not start again what has stopped the engine more than once.
    pub(super) fn fail_repeated(&self, catalog: &Catalog) -> Result<(), ServerError> {
        let dir = &self.shared.config.data_dir;
        let views = stops::repeated(dir);
        let found = views.into_iter().filter_map(|view| catalog.get(view));
        // Tables of the server itself have no operator that could be at fault, and cannot be dropped.
        for object in found.filter(|object| !object.is_of_server()) {
            let reason = format!(
                "the server stopped more than once while it worked on materialized view \"{}\"",
                object.name
            );
            tracing::error!(view = object.name, reason, "a materialized view is not started");
            let ops = vec![Op::Put(failed_key(object.id), reason.into_bytes())];
            self.shared.store.commit(Commit { ops, ..Commit::default() })?;
        }
        Ok(())
    }

    /// Why a view had stopped before the server was started.
    pub(super) fn failed_before(
        &self,
        catalog: &Catalog,
        view: ObjectId,
    ) -> Result<Option<String>, ServerError> {
        let below = |id: ObjectId| catalog.dependants(id).contains(&view);
        for object in catalog.objects().filter(|o| o.id == view || below(o.id)) {
            if let Some(reason) = self.shared.store.get(&failed_key(object.id))? {
                return Ok(Some(String::from_utf8_lossy(&reason).into_owned()));
            }
        }
        Ok(None)
    }

    /// Shows a view that has stopped.
    pub(super) fn show_failed(&self, view: ObjectId, tables: &ViewTables, reason: String) {
        let tables =
            Readable { content: Arc::clone(&tables.content), errors: Arc::clone(&tables.errors) };
        let status = ViewStatus {
            tables,
            upper: Ts::default(),
            readable_from: Epoch(u64::MAX),
            failed: Some(reason),
            state_bytes: 0,
            figures: None,
            history: None,
        };
        self.shared.board.lock().views.insert(view, status);
    }

    /// Refuses a view over one that does not run.
    pub(super) fn stopped_below(&self, object: &Object) -> Option<Report> {
        let view = object.stored()?;
        let catalog = self.catalog();
        // Dropped since the session planned it.
        let gone = |id: &ObjectId| self.is_dropping(*id) || catalog.get(*id).is_none();
        if object.depends_on().iter().any(gone) {
            let message = format!("what \"{}\" reads has been dropped", object.name);
            return Some(Report::new(SqlState::UNDEFINED_TABLE, message));
        }
        let stopped = view.plan.root.leaves().into_iter().find_map(|leaf| match leaf.kind {
            millrace_plan::LeafKind::View(id) if !self.views.contains_key(&id) => Some(id),
            _ => None,
        })?;
        let name = catalog.get(stopped).map(|object| object.name.clone()).unwrap_or_default();
        let message = format!("materialized view \"{name}\" has stopped");
        Some(Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
    }
}
