//! Sinks as the coordinator has them: created and dropped with the histories that they need, started and
//! stopped by the catalog, their positions stored with the checkpoints.
//!
//! Invariants: 1. what a sink has not sent is kept by what is stored of its position, not by what it
//! says: a crash finds all changes above ([`Coordinator::sink_floor`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_sql::{Catalog, Kind, Object};
use millrace_storage::Op;
use millrace_types::{Epoch, ObjectId, Report, SqlState};

use super::checkpoint::Then;
use super::ddl::object_key;
use super::history::forget_history;
use super::{Coordinator, Reply};
use crate::error::ServerError;
use crate::shared::{SinkState, SinkStatus};
use crate::sinks::{Running, position_op, stored_position};

/// The sinks that run.
#[derive(Default)]
pub(super) struct Sinks {
    running: BTreeMap<ObjectId, Running>,
    /// How far each is, as it is stored.
    stored: BTreeMap<ObjectId, Epoch>,
    /// The catalog by which they were started.
    known: Option<Arc<Catalog>>,
}

impl Coordinator {
    /// Commits a sink with the history of what it follows.
    pub(super) fn create_sink(
        &mut self,
        mut object: Object,
        reply: Reply,
    ) -> Result<(), ServerError> {
        let Kind::Sink(sink) = &object.kind else {
            return Err(ServerError::Catalog(format!("\"{}\" is no sink", object.name)));
        };
        let from = sink.from;
        let refused = self.name_taken(&object.name).or_else(|| {
            let gone = !self.views.contains_key(&from) || self.is_dropping(from);
            let message = "what the sink follows does not run any more";
            gone.then(|| Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
        });
        if let Some(report) = refused {
            drop(reply.send(Err(report)));
            return Ok(());
        }
        object.id = self.next_object();
        if self.views.get(&from).is_some_and(|view| view.history.is_none()) {
            self.begin_history(from, None, self.open)?;
        }
        if let Some(view) = self.views.get_mut(&from) {
            view.keeps.durable = true;
        }
        let bytes = object.encode().map_err(|error| ServerError::Catalog(error.to_string()))?;
        let mut ops = vec![Op::Put(object_key(object.id), bytes), self.ids_op()];
        ops.extend(self.history_op(from));
        let catalog = Some(self.catalog().with(object));
        let then = Then { catalog, replies: vec![reply], ..Then::default() };
        self.commit_catalog(ops, Vec::new(), then)
    }

    /// The histories that no sink of this catalog needs any more are no longer kept for good.
    pub(super) fn release_histories(&mut self, catalog: &Catalog) -> Vec<Op> {
        let mut ops = Vec::new();
        for (id, view) in &mut self.views {
            let needed = view.keeps.retain_us > 0 || catalog.sinks(*id).next().is_some();
            if view.keeps.durable && !needed {
                view.keeps.durable = false;
                ops.push(forget_history(*id));
            }
        }
        ops
    }

    /// Starts the sinks that are new in the catalog, and stops those that are gone from it.
    pub(super) fn run_sinks(&mut self) -> Result<(), ServerError> {
        let catalog = self.catalog();
        if self.sinks.known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &catalog)) {
            return Ok(());
        }
        let gone = |id: &ObjectId| catalog.get(*id).is_none();
        for (id, running) in self.sinks.running.extract_if(.., |id, _| gone(id)) {
            running.stop();
            self.sinks.stored.remove(&id);
            self.shared.board.lock().sinks.remove(&id);
        }
        for object in catalog.objects().filter(|object| matches!(object.kind, Kind::Sink(_))) {
            if self.sinks.running.contains_key(&object.id) {
                continue;
            }
            let position = stored_position(&self.shared.store, object.id)?;
            self.sinks.stored.extend(position.map(|position| (object.id, position)));
            let status = SinkStatus { position, ..SinkStatus::default() };
            self.shared.board.lock().sinks.insert(object.id, status);
            let running = Running::start(&self.shared, object).map_err(ServerError::Thread)?;
            self.sinks.running.insert(object.id, running);
        }
        self.sinks.known = Some(catalog);
        Ok(())
    }

    /// What a checkpoint stores of how far sinks are.
    pub(super) fn sink_positions(&mut self) -> Vec<Op> {
        let board = self.shared.board.lock();
        let mut ops = Vec::new();
        for id in self.sinks.running.keys() {
            let position = board.sinks.get(id).and_then(|status| status.position);
            let Some(position) = position else { continue };
            if self.sinks.stored.insert(*id, position) != Some(position) {
                ops.push(position_op(*id, position));
            }
        }
        ops
    }

    /// The checkpoint that was to store them has not been written.
    pub(super) fn forget_stored_positions(&mut self) {
        self.sinks.stored.clear();
    }

    /// The first epoch whose changes some sink on a view has not sent; None if none holds them.
    /// `first_kept` gives the first epoch after so many microseconds before now: a sink that is further
    /// behind than it may be holds nothing.
    pub(super) fn sink_floor(
        &self,
        view: ObjectId,
        since: Epoch,
        first_kept: impl Fn(i64) -> Epoch,
    ) -> Option<Epoch> {
        let catalog = self.catalog();
        let needs = catalog.sinks(view).filter_map(|(object, sink)| {
            let failed = self.shared.board.lock().sinks.get(&object.id).map(|status| status.state);
            if failed == Some(SinkState::Failed) {
                return None;
            }
            let stored = self.sinks.stored.get(&object.id);
            let needs = stored.map_or(since, |position| position.next());
            (needs >= first_kept(sink.max_lag_us)).then_some(needs)
        });
        needs.min()
    }

    /// The longest time for which sinks hold changes, microseconds.
    pub(super) fn longest_lag(&self) -> i64 {
        let catalog = self.catalog();
        let lags = catalog.objects().filter_map(|object| match &object.kind {
            Kind::Sink(sink) => Some(sink.max_lag_us),
            _ => None,
        });
        lags.max().unwrap_or_default()
    }

    /// Shows sinks whose threads have ended by themselves.
    pub(super) fn look_at_sinks(&self) {
        for (id, _) in self.sinks.running.iter().filter(|(_, running)| running.has_ended()) {
            let mut board = self.shared.board.lock();
            let status = board.sinks.entry(*id).or_default();
            if status.state != SinkState::Failed {
                status.state = SinkState::Failed;
                status.error = Some("an error of the program; the log has more".to_owned());
            }
        }
    }
}
