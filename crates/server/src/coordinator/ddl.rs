//! CREATE and DROP: the order in which dataflows, tables and the catalog change.
//!
//! Sources and views only change the catalog. A materialized view is installed and filled first and
//! enters the catalog with the checkpoint that makes its content durable; so a crash before leaves
//! nothing of it. A drop is unpublished on all workers, committed, and then taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_connectors::datagen::Anchor;
use millrace_dataflow::graph::Graph;
use millrace_dataflow::ingest::PartitionCut;
use millrace_dataflow::runtime::{Command, Figures, Install, ViewTables, error_schema};
use millrace_plan::LeafKind;
use millrace_sql::{Catalog, Constraints, Kind, Object};
use millrace_storage::{Op, TableSpec};
use millrace_types::{Delta, Epoch, ObjectId, Report, SqlState, TableId, Ts};

use super::access::Alteration;
use super::checkpoint::Then;
use super::failed::forget_failure;
use super::history::{Keeps, forget_history};
use super::hydrate::{Start, job_key, source_report};
use super::jobs::Queued;
use super::kept::forget_count;
use super::sources::Opening;
use super::{BuiltSource, Coordinator, Reply, View};
use crate::error::ServerError;
use crate::shared::{Readable, ViewStatus};

/// Keys of catalog objects begin with this.
pub(super) const OBJECT_PREFIX: &[u8] = b"object/";
/// The key of the next free object and table ids.
pub(super) const IDS_KEY: &[u8] = b"ids";

/// A materialized view to create, or a table that a connector fills.
pub struct NewView {
    /// The object; its id and its tables' ids are given here.
    pub object: Object,
    /// Its sources, connected; a table's own under any identifier.
    pub sources: BTreeMap<ObjectId, Arc<BuiltSource>>,
    /// The offsets where the sources end now, for sources that nobody reads yet.
    pub ends: BTreeMap<ObjectId, BTreeMap<millrace_types::PartitionId, i64>>,
    /// The number of the catalog that it was bound to.
    pub redefinitions: u64,
    /// The session does not wait until it is filled.
    pub background: bool,
}

/// What a session asks for.
pub enum Request {
    /// Adds a source, table or sink to the catalog.
    Create(Box<Object>, Reply),
    /// Adds a view that was bound to the catalog of a number.
    CreateView(Box<Object>, u64, Reply),
    /// Adds a table that begins with some rows.
    CreateTableAs(Box<Object>, Delta, Reply),
    /// Adds a table whose rows have been logged in an epoch.
    Filled(Box<Object>, Epoch, Reply),
    /// Creates and fills a materialized view, or a table that a connector fills.
    CreateMaterializedView(Box<NewView>, Reply),
    /// Asks whether objects may be dropped, once these jobs have been given up.
    MayDrop(Vec<ObjectId>, Vec<ObjectId>, Reply),
    /// Drops objects, dependants included where the session says so.
    Drop(Vec<ObjectId>, bool, Reply),
    /// Gives options of a source, or of what fills a table, other values.
    Alter(ObjectId, Vec<(String, String)>, Reply),
    /// Gives a table other constraints, by a statement of this text.
    Constrain(ObjectId, Box<Constraints>, String, Reply),
    /// Gives up a view that is being filled.
    CancelJob(ObjectId, Reply),
    /// Changes roles, grants, owners or secrets.
    Access(Alteration, Reply),
    /// Keeps the changes of a view from now on, while somebody follows it.
    Follow(ObjectId, Reply),
}

impl Request {
    /// Answers with an error.
    pub(super) fn refuse(self, report: Report) {
        let (Request::Create(_, reply)
        | Request::CreateView(_, _, reply)
        | Request::CreateTableAs(_, _, reply)
        | Request::Filled(_, _, reply)
        | Request::CreateMaterializedView(_, reply)
        | Request::CancelJob(_, reply)
        | Request::Alter(_, _, reply)
        | Request::Constrain(_, _, _, reply)
        | Request::Access(_, reply)
        | Request::Follow(_, reply)
        | Request::MayDrop(_, _, reply)
        | Request::Drop(_, _, reply)) = self;
        // A client that has gone needs no answer.
        drop(reply.send(Err(report)));
    }
}

/// Drops under way: what is committed when all workers have unpublished the views.
struct Dropping {
    objects: Vec<ObjectId>,
    waiting: BTreeSet<(ObjectId, usize)>,
    reply: Reply,
}

/// Ids are given once, and drops are remembered, here.
#[derive(Default)]
pub(super) struct Ddl {
    pub(super) next_object: u32,
    pub(super) next_table: u64,
    dropping: Vec<Dropping>,
    /// The epoch that holds the first rows of a table that is being added.
    pub(super) filled: BTreeMap<ObjectId, Epoch>,
    /// Views that go away once all these workers have unpublished them.
    pub(super) retiring: BTreeMap<ObjectId, BTreeSet<usize>>,
}

impl Coordinator {
    /// Begins what a session asked for. No commit is under way.
    pub(super) fn request(&mut self, request: Request) -> Result<(), ServerError> {
        if self.stopping {
            request.refuse(super::shutting_down());
            return Ok(());
        }
        if let Some(report) = self.refuses_request(&request) {
            request.refuse(report);
            return Ok(());
        }
        match request {
            Request::Create(object, reply) if matches!(object.kind, Kind::Table(_)) => {
                // One that a connector fills comes as a view does.
                self.create_table(*object, reply)
            }
            Request::Create(object, reply) if matches!(object.kind, Kind::Sink(_)) => {
                self.create_sink(*object, reply)
            }
            Request::Create(object, reply) => self.create(*object, reply),
            Request::CreateView(object, seen, reply) => match self.redefined_since(seen) {
                Some(report) => {
                    drop(reply.send(Err(report)));
                    Ok(())
                }
                None => self.create(*object, reply),
            },
            Request::CreateTableAs(object, rows, reply) => {
                self.create_table_as(*object, rows, reply);
                Ok(())
            }
            Request::Filled(object, epoch, reply) => self.filled(*object, epoch, reply),
            Request::CreateMaterializedView(new, reply) => {
                self.create_materialized_view(*new, reply)
            }
            Request::MayDrop(ids, jobs, reply) => {
                drop(reply.send(self.free(&ids, &jobs)));
                Ok(())
            }
            Request::Drop(ids, cascade, reply) => self.drop_objects(ids, cascade, reply),
            Request::Alter(id, options, reply) => self.alter(id, options, reply),
            Request::Constrain(id, constraints, text, reply) => {
                self.constrain(id, *constraints, &text, reply)
            }
            Request::Access(alteration, reply) => self.change_access(alteration, reply),
            Request::CancelJob(job, reply) => {
                self.cancel_job(job, reply);
                Ok(())
            }
            Request::Follow(view, reply) => self.follow(view, reply),
        }
    }

    fn create(&mut self, mut object: Object, reply: Reply) -> Result<(), ServerError> {
        let refused = self.name_taken(&object.name).or_else(|| self.admit_owner(&mut object));
        if let Some(report) = refused {
            drop(reply.send(Err(report)));
            return Ok(());
        }
        object.id = self.next_object();
        let ops = match object.encode() {
            Ok(bytes) => {
                let anchor = Anchor { first: 0, at: self.shared.clock.now() };
                let anchors = crate::sources::anchors_op(object.id, &[anchor]);
                vec![Op::Put(object_key(object.id), bytes), self.ids_op(), anchors]
            }
            Err(error) => {
                drop(reply.send(Err(Report::new(SqlState::INTERNAL_ERROR, error.to_string()))));
                return Ok(());
            }
        };
        let catalog = self.catalog().with(object);
        let then = Then { catalog: Some(catalog), replies: vec![reply], ..Then::default() };
        self.commit_catalog(ops, Vec::new(), then)
    }

    /// An error if objects have got another name or definition since a statement was bound.
    fn redefined_since(&self, seen: u64) -> Option<Report> {
        let message = "objects have been renamed or replaced meanwhile";
        let report = || Report::new(SqlState::SERIALIZATION_FAILURE, message).hint("Try again.");
        (self.catalog().redefinitions() != seen).then(report)
    }

    pub(super) fn name_taken(&self, name: &str) -> Option<Report> {
        let promised = || self.is_job(name) || self.filled_names().any(|filled| filled == name);
        let catalog = self.catalog();
        let sequence = || catalog.sequences().any(|(.., identity)| identity.name == name);
        let taken = catalog.find(name).is_some() || promised() || sequence();
        let message = || format!("relation \"{name}\" already exists");
        taken.then(|| Report::new(SqlState::DUPLICATE_TABLE, message()))
    }

    /// Stores the job; it begins when its turn comes.
    fn create_materialized_view(
        &mut self,
        mut new: NewView,
        reply: Reply,
    ) -> Result<(), ServerError> {
        let refused = self.name_taken(&new.object.name).or_else(|| self.stopped_below(&new.object));
        let refused = refused.or_else(|| self.redefined_since(new.redefinitions));
        let refused = refused.or_else(|| self.admit_owner(&mut new.object));
        if let Some(report) = refused {
            drop(reply.send(Err(report)));
            return Ok(());
        }
        new.object.id = self.next_object();
        if let Kind::Table(table) = &mut new.object.kind {
            // It is its own source, which had no identifier yet.
            let own = |(_, built): (ObjectId, _)| (new.object.id, built);
            new.sources = std::mem::take(&mut new.sources).into_iter().map(own).collect();
            let own = |(_, ends): (ObjectId, _)| (new.object.id, ends);
            new.ends = std::mem::take(&mut new.ends).into_iter().map(own).collect();
            table.own(new.object.id);
        }
        let bytes = match new.object.encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                drop(reply.send(Err(Report::new(SqlState::INTERNAL_ERROR, error.to_string()))));
                return Ok(());
            }
        };
        let ops = vec![Op::Put(job_key(new.object.id), bytes), self.ids_op()];
        let (replies, waits) = match new.background {
            true => (vec![reply], None),
            false => (Vec::new(), Some(reply)),
        };
        self.jobs.queue.push_back(Queued { new, reply: waits });
        // Who is told that it is a job sees it among them.
        self.last_post_at = 0;
        self.commit_catalog(ops, Vec::new(), Then { replies, ..Then::default() })
    }

    /// Installs a view whose turn has come, and begins to fill it.
    pub(super) fn begin_job(&mut self, new: NewView, reply: Option<Reply>) {
        let (id, asked) = (new.object.id, new.object.clone());
        if let Some(report) = self.stopped_below(&new.object) {
            self.end_job(&asked, reply, report);
            return;
        }
        let opened = self.open_unread(&new);
        let mut object = new.object;
        let installed = opened.and_then(|first_reads| {
            let sources = new.sources.keys().copied().collect();
            Ok((self.install_new(&mut object, sources)?, first_reads))
        });
        match installed {
            Ok(((leaves, ts), first_reads)) => self.begin_hydration(Start {
                view: id,
                object,
                reply,
                leaves,
                sources: new.sources,
                ts,
                first_reads,
            }),
            Err(report) => {
                self.close_unread_sources();
                self.end_job(&asked, reply, report);
            }
        }
    }

    /// Opens the shared feeds of sources that nobody reads yet, at their end; gives which.
    pub(super) fn open_unread(&mut self, new: &NewView) -> Result<BTreeSet<ObjectId>, Report> {
        let mut opened = BTreeSet::new();
        for (id, built) in &new.sources {
            if self.sources.contains_key(id) {
                continue;
            }
            let ends = new.ends.get(id).cloned().unwrap_or_default();
            let partitions = ends
                .into_iter()
                .map(|(id, end)| (id, PartitionCut { end, ..PartitionCut::default() }))
                .collect();
            let ts = self.open.ts();
            let opening = Opening {
                partitions,
                watermark: None,
                ts,
                replay: Vec::new(),
                ends: BTreeMap::new(),
            };
            self.open_source(*id, built, opening).map_err(|error| source_report(&error))?;
            opened.insert(*id);
        }
        Ok(opened)
    }

    /// Gives ids and installs the dataflow; its leaves, and the first step of its hydration.
    fn install_new(
        &mut self,
        object: &mut Object,
        sources: Vec<ObjectId>,
    ) -> Result<(Vec<LeafKind>, Ts), Report> {
        let internal = |reason: String| Report::new(SqlState::INTERNAL_ERROR, reason);
        let Some(view) = object.stored_mut() else {
            return Err(internal("it keeps no rows".into()));
        };
        let graph = Graph::new(&view.plan);
        let state = graph.tables().map_err(|error| internal(error.to_string()))?;
        view.content = self.next_table();
        view.late = self.next_table();
        view.errors = self.next_table();
        view.state = state.iter().map(|_| self.next_table()).collect();
        let leaves = graph.leaves.iter().map(|leaf| leaf.leaf.kind).collect();
        let tables =
            self.view_tables(object, &graph).map_err(|error| internal(error.to_string()))?;
        let start = self.open.previous().ts().next();
        let install = Install {
            now: self.last_now,
            view: object.id,
            name: object.name.clone(),
            keys_below: self.keys_below(&graph),
            figures: self.figures(&graph),
            graph: Arc::new(graph),
            tables,
            start,
            restore: None,
            live: false,
            watermarks: Arc::default(),
        };
        self.install(install, sources);
        Ok((leaves, start))
    }

    /// By leaf, the key of the view that is read there.
    pub(super) fn keys_below(&self, graph: &Graph) -> BTreeMap<usize, Vec<usize>> {
        let leaves = graph.leaves.iter().enumerate();
        let key = |(at, stage): (usize, &millrace_dataflow::graph::LeafStage)| match stage.leaf.kind
        {
            LeafKind::Source(_) => None,
            LeafKind::View(below) => {
                let view = self.views.get(&below)?;
                Some((at, view.tables.content.sort().to_vec()))
            }
        };
        leaves.filter_map(key).collect()
    }

    /// The tables of a view, made or found.
    pub(super) fn view_tables(
        &self,
        object: &Object,
        graph: &Graph,
    ) -> Result<ViewTables, ServerError> {
        let Some(view) = object.stored() else {
            return Err(ServerError::Catalog(format!("\"{}\" keeps no rows", object.name)));
        };
        let store = &self.shared.store;
        let content = store.create_table(TableSpec {
            id: view.content,
            schema: view.plan.root.meta().schema.clone(),
            sort: view.plan.sort.clone(),
        })?;
        let errors = TableSpec { id: view.errors, schema: error_schema(), sort: vec![0] };
        let mut state = Vec::new();
        for (id, spec) in view.state.iter().zip(graph.tables()?) {
            let sort = (0..spec.key).collect();
            state.push(store.create_table(TableSpec { id: *id, schema: spec.schema, sort })?);
        }
        let errors = store.create_table(errors)?;
        Ok(ViewTables { content, errors, state })
    }

    /// Where the operators of a new dataflow count what they do.
    pub(super) fn figures(&self, graph: &Graph) -> Arc<Figures> {
        Arc::new(Figures::new(graph, self.runtime.workers(), self.shared.clock.now()))
    }

    /// Builds a view's dataflow on all workers.
    pub(super) fn install(&mut self, install: Install, sources: Vec<ObjectId>) {
        let view = View {
            uppers: vec![install.start; self.runtime.workers()],
            graph: install.graph.clone(),
            tables: install.tables.clone(),
            figures: install.figures.clone(),
            sources,
            live_from: install.live.then(|| install.start.epoch()),
            turns: vec![None; self.runtime.workers()],
            history: None,
            keeps: Keeps::default(),
        };
        self.views.insert(install.view, view);
        self.runtime.broadcast(&Command::Install(Arc::new(install)));
    }

    /// Shows a view to sessions.
    pub(super) fn show_view(&self, id: ObjectId, readable_from: Epoch) {
        let Some(view) = self.views.get(&id) else { return };
        let tables =
            Readable { content: view.tables.content.clone(), errors: view.tables.errors.clone() };
        let upper = view.upper();
        let figures = Some(view.figures.clone());
        let (failed, state_bytes) = (None, 0);
        let history = view.history.clone();
        let status =
            ViewStatus { tables, upper, readable_from, failed, state_bytes, figures, history };
        self.shared.board.lock().views.insert(id, status);
    }

    /// A view's creation is durable: sessions see it from now on.
    pub(super) fn created(&mut self, view: ObjectId) {
        let mut from = self.views.get(&view).and_then(|found| found.live_from).unwrap_or_default();
        if self.table_feeds.contains_key(&view) {
            // A new table is complete, and empty, before its first epoch.
            from = from.previous();
        }
        from = self.ddl.filled.remove(&view).unwrap_or(from);
        self.show_view(view, from);
        // Who is told of the view sees its sources as they are now.
        self.last_post_at = 0;
        self.post_status(self.shared.clock.now());
    }

    /// An error if something depends on objects that is neither one of them nor one of some jobs.
    fn free(&self, ids: &[ObjectId], given_up: &[ObjectId]) -> Result<(), Report> {
        let catalog = self.catalog();
        let mut all: BTreeSet<ObjectId> = ids.iter().copied().collect();
        for id in ids {
            let above = catalog.dependants(*id);
            // An index goes with what it is on.
            let is_index = |id: &ObjectId| {
                catalog.get(*id).is_some_and(|object| matches!(object.kind, Kind::Index(_)))
            };
            let outside = above.iter().filter(|a| !all.contains(a) && !is_index(a));
            let outside: Vec<_> = outside.copied().collect();
            let mut jobs = self.jobs_over(*id);
            jobs.retain(|job| !given_up.contains(job));
            if !outside.is_empty() || !jobs.is_empty() {
                return Err(depended_on(&catalog, *id, &outside, &jobs));
            }
            all.extend(above);
        }
        Ok(())
    }

    fn drop_objects(
        &mut self,
        ids: Vec<ObjectId>,
        cascade: bool,
        reply: Reply,
    ) -> Result<(), ServerError> {
        if !cascade && let Err(report) = self.free(&ids, &[]) {
            drop(reply.send(Err(report)));
            return Ok(());
        }
        let catalog = self.catalog();
        let above = ids.iter().flat_map(|id| catalog.dependants(*id));
        let all: BTreeSet<ObjectId> = ids.iter().copied().chain(above).collect();
        for job in all.iter().flat_map(|id| self.jobs_over(*id)).collect::<Vec<_>>() {
            self.give_up(job);
        }
        let workers = self.runtime.workers();
        let mut waiting = BTreeSet::new();
        for id in all.iter().filter(|id| self.views.contains_key(id)) {
            waiting.extend((0..workers).map(|worker| (*id, worker)));
            self.shared.board.lock().views.remove(id);
            self.runtime.broadcast(&Command::Unpublish(*id));
        }
        let objects = all.into_iter().collect();
        let dropping = Dropping { objects, waiting, reply };
        match dropping.waiting.is_empty() {
            true => self.commit_drop(dropping),
            false => {
                self.ddl.dropping.push(dropping);
                Ok(())
            }
        }
    }

    /// True of what a DROP takes away as soon as no worker shows it any more.
    pub(super) fn is_dropping(&self, id: ObjectId) -> bool {
        self.ddl.dropping.iter().any(|dropping| dropping.objects.contains(&id))
    }

    /// A worker shows nothing of a view any more.
    pub(super) fn unpublished(&mut self, view: ObjectId, worker: usize) {
        for dropping in &mut self.ddl.dropping {
            dropping.waiting.remove(&(view, worker));
        }
        if let Some(waiting) = self.ddl.retiring.get_mut(&view) {
            waiting.remove(&worker);
            if waiting.is_empty() {
                self.ddl.retiring.remove(&view);
                self.runtime.broadcast(&Command::Drop(view));
            }
        }
    }

    /// Commits drops whose views all workers have unpublished. No commit is under way.
    pub(super) fn commit_drops(&mut self) -> Result<(), ServerError> {
        let ready = self.ddl.dropping.iter().position(|d| d.waiting.is_empty());
        match ready {
            Some(at) => {
                let dropping = self.ddl.dropping.remove(at);
                self.commit_drop(dropping)
            }
            None => Ok(()),
        }
    }

    fn commit_drop(&mut self, dropping: Dropping) -> Result<(), ServerError> {
        let mut catalog = (*self.catalog()).clone();
        let mut ops = Vec::new();
        let mut tables = Vec::new();
        for id in &dropping.objects {
            if let Some(object) = catalog.get(*id) {
                tables.extend(tables_of(object));
            }
            let sequences = catalog.sequences().filter(|(table, ..)| table.id == *id);
            ops.extend(sequences.map(|(.., identity)| crate::sequences::forget(identity.sequence)));
            catalog = catalog.without(*id);
            ops.push(Op::Delete(object_key(*id)));
            ops.push(forget_failure(*id));
            ops.push(forget_count(*id));
            ops.push(forget_history(*id));
            tables.extend(self.history_table(*id));
            ops.push(crate::sources::forget_anchors(*id));
            ops.push(crate::sinks::forget_position(*id));
        }
        ops.extend(self.release_histories(&catalog));
        let then = Then {
            catalog: Some(catalog),
            replies: vec![dropping.reply],
            dropped: dropping.objects,
            ..Then::default()
        };
        self.commit_catalog(ops, tables, then)
    }

    /// Takes a view that was never shown away again.
    pub(super) fn unpublish(&mut self, view: ObjectId) {
        let Some(found) = self.views.get(&view) else { return };
        let tables = &found.tables;
        let mut ids = vec![tables.content.id(), tables.errors.id()];
        ids.extend(tables.state.iter().map(|table| table.id()));
        ids.extend(found.history.iter().map(|history| history.table.id()));
        self.checkpoints.orphans.extend(ids);
        self.retire(view);
        self.shared.board.lock().views.remove(&view);
        self.close_unread_sources();
    }

    /// Ends a view's dataflow: unpublished on all workers first, so that none takes what its peers
    /// no longer send for complete.
    pub(super) fn retire(&mut self, view: ObjectId) {
        self.forget_hand_over(view);
        if self.views.remove(&view).is_some() {
            self.ddl.retiring.insert(view, (0..self.runtime.workers()).collect());
            self.runtime.broadcast(&Command::Unpublish(view));
        }
    }

    /// The drop of a view is durable, or it never was.
    pub(super) fn remove_view(&mut self, view: ObjectId) {
        self.forget_hand_over(view);
        self.table_feeds.remove(&view);
        self.kept.forget(view);
        if self.views.remove(&view).is_some() {
            self.runtime.broadcast(&Command::Drop(view));
        }
        self.shared.board.lock().views.remove(&view);
        self.close_unread_sources();
    }

    pub(super) fn next_object(&mut self) -> ObjectId {
        self.ddl.next_object += 1;
        ObjectId(self.ddl.next_object)
    }

    pub(super) fn next_table(&mut self) -> TableId {
        self.ddl.next_table += 1;
        TableId(self.ddl.next_table)
    }

    /// Stores which ids are free.
    pub(super) fn ids_op(&self) -> Op {
        let mut bytes = self.ddl.next_object.to_le_bytes().to_vec();
        bytes.extend(self.ddl.next_table.to_le_bytes());
        Op::Put(IDS_KEY.to_vec(), bytes)
    }
}

/// The key of a catalog object.
pub(super) fn object_key(id: ObjectId) -> Vec<u8> {
    let mut key = OBJECT_PREFIX.to_vec();
    key.extend(id.0.to_be_bytes());
    key
}

/// The stored tables of an object.
pub(super) fn tables_of(object: &Object) -> Vec<TableId> {
    match object.stored() {
        Some(view) => {
            let mut tables = vec![view.content, view.late, view.errors];
            tables.extend(&view.state);
            tables
        }
        None => Vec::new(),
    }
}

fn depended_on(catalog: &Catalog, id: ObjectId, above: &[ObjectId], jobs: &[ObjectId]) -> Report {
    let Some(object) = catalog.get(id) else {
        return Report::new(SqlState::UNDEFINED_TABLE, "relation does not exist");
    };
    let described = |object: &Object| format!("{} {}", object.object_kind().word(), object.name);
    let dropped = described(object);
    let lines: Vec<String> = above
        .iter()
        .filter_map(|id| catalog.get(*id))
        .map(|above| format!("{} depends on {dropped}", described(above)))
        .chain(jobs.iter().map(|job| format!("job {job} depends on {dropped}")))
        .collect();
    let message = format!("cannot drop {dropped} because other objects depend on it");
    Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .detail(lines.join("\n"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too.")
}
