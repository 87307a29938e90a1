//! Jobs that outlive the server: a view is stored when its statement is taken, and its place with
//! checkpoints. After a restart it goes on from its place, in the background; without one it begins
//! anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_dataflow::graph::Graph;
use millrace_dataflow::ingest::PartitionCut;
use millrace_dataflow::runtime::{Command, Install};
use millrace_plan::LeafKind;
use millrace_sql::{Catalog, Kind, Object, Source};
use millrace_storage::{Commit, Op, PlaceRecord, SourceRecord};
use millrace_types::{ObjectId, PartitionId, TableId, Ts};

use super::{Hydration, Start};
use crate::coordinator::ddl::{object_key, tables_of};
use crate::coordinator::jobs::Queued;
use crate::coordinator::{Coordinator, Message, NewView};
use crate::error::ServerError;
use crate::sources::{Connected, connect_all};
use crate::stops;

const JOB_PREFIX: &[u8] = b"job/";
const PLACE_PREFIX: &[u8] = b"place/";
/// How long a source that does not answer is left alone.
const RETRY_EVERY: Duration = Duration::from_secs(1);

fn key(prefix: &[u8], view: ObjectId) -> Vec<u8> {
    [prefix, &view.0.to_be_bytes()].concat()
}

/// The key of a view that is being filled, or waits for it.
pub(in crate::coordinator) fn job_key(view: ObjectId) -> Vec<u8> {
    key(JOB_PREFIX, view)
}

pub(super) fn place_key(view: ObjectId) -> Vec<u8> {
    key(PLACE_PREFIX, view)
}

pub(in crate::coordinator) fn forget_place(view: ObjectId) -> Op {
    Op::Delete(place_key(view))
}

/// The changes of the catalog that forget a job.
pub(in crate::coordinator) fn forget(view: ObjectId) -> [Op; 2] {
    [Op::Delete(job_key(view)), forget_place(view)]
}

/// A job of an earlier life of the server.
pub(in crate::coordinator) struct Stored {
    object: Object,
    place: Option<PlaceRecord>,
}

impl Stored {
    /// The tables that hold what it has so far.
    pub(in crate::coordinator) fn tables(&self) -> Vec<TableId> {
        self.place.as_ref().map(|_| tables_of(&self.object)).unwrap_or_default()
    }
}

impl Coordinator {
    /// The jobs that are stored, but for those that have stopped the engine more than once.
    pub(in crate::coordinator) fn stored_jobs(&self) -> Result<Vec<Stored>, ServerError> {
        let store = &self.shared.store;
        let mut end = JOB_PREFIX.to_vec();
        end.push(0xff);
        let state = millrace_sql::session_state(&millrace_sql::Settings::default());
        let functions = state.task_ctx();
        let repeated = stops::repeated(&self.shared.config.data_dir);
        let mut jobs = Vec::new();
        for (_, bytes) in store.scan(JOB_PREFIX, &end)? {
            let object = Object::decode(&bytes, &functions)
                .map_err(|error| ServerError::Catalog(error.to_string()))?;
            if repeated.contains(&object.id) {
                let view = &object.name;
                tracing::error!(view, "the server stopped more than once while it filled a view");
                let ops = forget(object.id).to_vec();
                store.commit(Commit { ops, ..Commit::default() })?;
                continue;
            }
            if matches!(&object.kind, Kind::Index(index) if index.unique.is_some()) {
                // The lock under which its rows were looked at has gone.
                let index = &object.name;
                tracing::warn!(index, "a unique index was not finished, and is given up");
                let ops = forget(object.id).to_vec();
                store.commit(Commit { ops, ..Commit::default() })?;
                continue;
            }
            let damaged = |reason| ServerError::Catalog(format!("the place of a job: {reason}"));
            let place = store.get(&place_key(object.id))?;
            let place = place.map(|bytes| PlaceRecord::decode(&bytes)).transpose();
            jobs.push(Stored { object, place: place.map_err(damaged)? });
        }
        Ok(jobs)
    }

    /// Installs what has a place, and asks the sources of all.
    pub(in crate::coordinator) fn recover_jobs(
        &mut self,
        catalog: &Catalog,
        jobs: Vec<Stored>,
    ) -> Result<(), ServerError> {
        for job in jobs {
            let sources = sources_of(catalog, &job.object);
            let (view, name) = (job.object.id, job.object.name.clone());
            let mut anew = job.place.is_none();
            if let Some(place) = job.place {
                match self.install_again(job.object.clone(), place) {
                    Err(ServerError::Storage(error)) if error.is_damage() => {
                        tracing::error!(view = name, %error, "a view begins to be filled anew");
                        anew = true;
                    }
                    installed => installed?,
                }
            }
            if anew {
                self.jobs.connecting.push(job.object);
            }
            tracing::info!(view = name, "a view goes on being filled");
            let shared = Arc::clone(&self.shared);
            let connect = move || {
                loop {
                    let connected = connect_all(&shared, sources.clone());
                    if connected.is_ok() || shared.board.lock().stopping {
                        let message = Message::Connected(view, Box::new(connected));
                        // The inbox is closed only when the process ends.
                        return shared.inbox.send(message).unwrap_or_default();
                    }
                    std::thread::park_timeout(RETRY_EVERY);
                }
            };
            let named = std::thread::Builder::new().name(format!("connect-{view}"));
            drop(named.spawn(connect).map_err(ServerError::Thread)?);
        }
        Ok(())
    }

    /// The dataflow with the state of the last place, which lets changes of the views below wait.
    fn install_again(&mut self, object: Object, place: PlaceRecord) -> Result<(), ServerError> {
        let Some(stored) = object.stored() else { return Ok(()) };
        let (view, graph) = (object.id, Graph::new(&stored.plan));
        let tables = self.view_tables(&object, &graph)?;
        let leaves: Vec<LeafKind> = graph.leaves.iter().map(|leaf| leaf.leaf.kind).collect();
        let checkpoint = self.shared.store.checkpoint();
        let start = checkpoint.ts().next();
        let install = Install {
            now: self.last_now,
            view,
            name: object.name.clone(),
            tables,
            keys_below: self.keys_below(&graph),
            figures: self.figures(&graph),
            graph: Arc::new(graph),
            start,
            restore: Some(checkpoint),
            live: false,
            watermarks: Arc::default(),
        };
        self.install(install, Vec::new());
        let now = self.shared.clock.now();
        let (reply, sources, first_reads) = (None, BTreeMap::new(), BTreeSet::new());
        let start = Start { view, object, reply, leaves, sources, ts: start, first_reads };
        let mut hydration = Hydration::new(start, now);
        hydration.admitted = false;
        let from: Ts = checkpoint.next().ts();
        for leaf in place.leaves {
            let at = usize::try_from(leaf.leaf).expect("leaves are few");
            let Some(below) = hydration.below.get_mut(&at) else { continue };
            self.runtime.broadcast(&Command::Follow { view, leaf: at, from });
            let reach = leaf.reach.clone();
            self.runtime.broadcast(&Command::Reach { view, leaf: at, reach });
            (below.rows, below.reach) = (leaf.rows, leaf.reach);
            hydration.resumed += leaf.rows.cast_signed();
        }
        hydration.read = place.sources.iter().map(|s| (s.source, cuts(s))).collect();
        hydration.first_reads = place.first_reads.into_iter().collect();
        self.hydrations.insert(view, hydration);
        Ok(())
    }

    /// The sources of a stored job have answered: it may go on when its turn comes.
    pub(in crate::coordinator) fn connected(
        &mut self,
        view: ObjectId,
        connected: Result<Connected, ServerError>,
    ) {
        let connected = match connected {
            Ok(connected) => connected,
            // The server ends.
            Err(_) => return,
        };
        let Connected { sources, ends, .. } = connected;
        let object = match self.hydrations.get(&view) {
            Some(hydration) => hydration.object.clone(),
            None => match self.jobs.connecting.iter().position(|object| object.id == view) {
                Some(at) => self.jobs.connecting.remove(at),
                // It was cancelled meanwhile.
                None => return,
            },
        };
        let redefinitions = self.catalog().redefinitions();
        let new = NewView { object, sources, ends, redefinitions, background: true };
        self.jobs.queue.push_back(Queued { new, reply: None });
    }

    /// Goes on with what was installed at the start of the server.
    pub(in crate::coordinator) fn resume(&mut self, mut hydration: Hydration, new: NewView) {
        let view = hydration.object.id;
        let opened = match self.open_unread(&new) {
            Ok(opened) => opened,
            Err(report) => return self.abandon(view, hydration, report),
        };
        let sources: Vec<ObjectId> = new.sources.keys().copied().collect();
        if let Some(found) = self.views.get_mut(&view) {
            found.sources = sources;
        }
        for source in hydration.first_reads.clone() {
            let counted = hydration.read.entry(source).or_default();
            if let Some(live) = self.sources.get(&source) {
                live.feed.gate.adopt(counted);
            }
            for cut in counted.values_mut() {
                *cut = PartitionCut { end: cut.end, ..PartitionCut::default() };
            }
        }
        hydration.first_reads.extend(opened);
        hydration.sources = new.sources;
        hydration.admitted = true;
        for (source, built) in &hydration.sources {
            let start = |id: &PartitionId| built.starts.get(id).copied().unwrap_or_default();
            let read = hydration.read.get(source).into_iter().flatten();
            let read: i64 = read.map(|(id, cut)| (cut.end - start(id)).max(0)).sum();
            hydration.done += read;
            hydration.resumed += read;
        }
        hydration.kept = hydration.resumed;
        tracing::info!(view = hydration.name, rows = hydration.kept, "read before the restart");
        hydration.step_bytes_max = self.step_bytes_max(view);
        match self.open_history(view, &mut hydration) {
            Ok(()) => drop(self.hydrations.insert(view, hydration)),
            Err(error) => self.abandon(view, hydration, super::source_report(&error)),
        }
    }

    /// The changes of the catalog that make a filled view one of it.
    pub(in crate::coordinator) fn created_ops(
        &self,
        object: &Object,
    ) -> Result<Vec<Op>, ServerError> {
        let bytes = object.encode().map_err(|error| ServerError::Catalog(error.to_string()))?;
        let mut ops = vec![Op::Put(object_key(object.id), bytes), self.ids_op()];
        ops.extend(forget(object.id));
        ops.extend(self.history_op(object.id));
        Ok(ops)
    }
}

fn cuts(source: &SourceRecord) -> BTreeMap<PartitionId, PartitionCut> {
    let cut = |p: &millrace_storage::PartitionRecord| PartitionCut {
        end: p.end,
        max_event_time: p.max_event_time,
        rows: p.rows,
        malformed: p.malformed,
        future: p.future,
        ..PartitionCut::default()
    };
    source.partitions.iter().map(|partition| (partition.partition, cut(partition))).collect()
}

/// The sources that a stored object reads: a table that is filled by itself is its own.
fn sources_of(catalog: &Catalog, object: &Object) -> BTreeMap<ObjectId, Source> {
    let leaves = object.stored().map(|view| view.plan.root.leaves()).unwrap_or_default();
    let mut sources = BTreeMap::new();
    for leaf in leaves {
        let LeafKind::Source(id) = leaf.kind else { continue };
        let own = (id == object.id).then(|| object.source()).flatten();
        let source = own.or_else(|| catalog.get(id).and_then(|object| object.source()));
        sources.extend(source.map(|source| (id, source.clone())));
    }
    sources
}
