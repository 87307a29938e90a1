//! Recovery: from the catalog, the last checkpoint and the epoch log back to a running server.
//!
//! Dataflows are built at the checkpoint's epoch C with their state; each source is read again from
//! where C ended; the gates give every row back under its logged epoch; each logged epoch is sealed
//! again when all its rows are there. Then the server is live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_dataflow::graph::Graph;
use millrace_dataflow::ingest::{self, Decorator, PartitionCut};
use millrace_dataflow::runtime::{Command, Install};
use millrace_dataflow::source::Connector;
use millrace_plan::LeafKind;
use millrace_sql::{Catalog, Kind, Object, Source, SourceWatermark};
use millrace_storage::{ChangeRecord, Commit, EpochRecord, Pair, Store};
use millrace_types::{ObjectId, PartitionId};

use super::checkpoint::RECORD_KEY;
use super::ddl::{IDS_KEY, OBJECT_PREFIX, tables_of};
use super::history::stored_histories;
use super::hydrate::Stored;
use super::kept::stops;
use super::sources::Opening;
use super::watermark::Rule;
use super::{Coordinator, InFlight};
use crate::clock::Clock;
use crate::error::ServerError;
use crate::shared::SourceStatus;

/// How long a partition may be silent before it no longer holds the watermark back, by default.
const IDLE_US: i64 = 5_000_000;
/// How far ahead of the clock an event time may move the watermark, by default.
const MAX_FUTURE_US: i64 = 3_600_000_000;

/// An epoch of the log that recovery has not yet read again.
pub(super) struct Logged {
    epoch: millrace_types::Epoch,
    watermarks: Arc<BTreeMap<ObjectId, i64>>,
    now: i64,
    changes: Vec<ChangeRecord>,
}

/// A source that is connected and ready to be read.
pub struct BuiltSource {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) decorator: Arc<Decorator>,
    pub(super) rule: Option<Rule>,
    pub(super) event_time: Option<usize>,
    pub(super) max_future: i64,
    /// It stops at a message that is no row.
    pub(super) stops: bool,
    /// What its partitions are of, for messages.
    pub(super) place: String,
    /// The clock, microseconds.
    pub(crate) clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// The offset where each partition starts.
    pub(crate) starts: BTreeMap<PartitionId, i64>,
}

/// Connects a source of the catalog.
///
/// # Errors
/// Options that the connector does not take, or expressions that no longer bind.
pub(crate) fn built_source(
    store: &Store,
    clock: &Clock,
    id: ObjectId,
    source: &Source,
) -> Result<BuiltSource, ServerError> {
    let anchors = crate::sources::anchors(store, id)?;
    let connector = crate::sources::connect(anchors, clock, &super::revealed(store, source)?)?;
    let computed = source.computed().map_err(ServerError::Report)?;
    let decorator = Decorator::new(source.full_schema(), computed);
    let micros = |name: &str, default: i64| match source.options.get(name) {
        Some(text) => crate::config::duration(text)
            .map(crate::clock::micros)
            .map_err(|reason| ServerError::Catalog(format!("option {name}: {reason}"))),
        None => Ok(default),
    };
    let idle = micros("source_idle_timeout", IDLE_US)?;
    let max_future = micros("max_future", MAX_FUTURE_US)?;
    let watermark = source.watermark.as_ref();
    let read_times = decorator.read_times();
    let rule = |w: &SourceWatermark| Rule {
        delay: w.delay_us,
        idle,
        by_clock: read_times.contains(&w.column),
    };
    Ok(BuiltSource {
        connector,
        decorator: Arc::new(decorator),
        rule: watermark.map(rule),
        event_time: watermark.map(|w| w.column),
        max_future,
        stops: stops(source),
        place: source.options.get("topic").map_or_else(
            || format!("connector '{}'", source.connector),
            |topic| format!("topic \"{topic}\""),
        ),
        clock: clock.shared(),
        starts: source.start.iter().copied().collect(),
    })
}

/// Reads the catalog.
///
/// # Errors
/// Objects that cannot be decoded.
pub fn load_catalog(store: &Store) -> Result<Catalog, ServerError> {
    catalog_of(&store.scan(&[], &[])?)
}

/// The catalog in all pairs of the catalog's keys; those of other things are passed over.
///
/// # Errors
/// Objects that cannot be decoded.
pub fn catalog_of(pairs: &[Pair]) -> Result<Catalog, ServerError> {
    let state = millrace_sql::session_state(&millrace_sql::Settings::default());
    let functions = state.task_ctx();
    let mut catalog = Catalog::default();
    for (_, bytes) in pairs.iter().filter(|(key, _)| key.starts_with(OBJECT_PREFIX)) {
        let object = Object::decode(bytes, &functions)
            .map_err(|error| ServerError::Catalog(error.to_string()))?;
        catalog = catalog.with(object);
    }
    super::access::load(pairs, &mut catalog)?;
    Ok(catalog)
}

/// The greatest `now` that was ever logged, microseconds; 0 before any.
///
/// # Errors
/// A log that cannot be read.
pub fn logged_now(store: &Store) -> Result<i64, ServerError> {
    let last = store.epochs_above(store.checkpoint())?.pop();
    let record = match last {
        Some(record) => Some(record),
        None => checkpoint_record(store)?,
    };
    Ok(record.map_or(0, |record| record.now))
}

fn checkpoint_record(store: &Store) -> Result<Option<EpochRecord>, ServerError> {
    let bytes = store.get(RECORD_KEY)?;
    let damaged = |reason| ServerError::Catalog(format!("the last checkpoint's record: {reason}"));
    bytes.map(|bytes| EpochRecord::decode(&bytes)).transpose().map_err(damaged)
}

impl Coordinator {
    /// True until every logged epoch has been read again.
    pub(super) fn recovering(&self) -> bool {
        !self.replay.is_empty()
    }

    pub(super) fn recover(&mut self) -> Result<(), ServerError> {
        let store = self.shared.store.clone();
        let log = store.epochs_above(store.checkpoint())?;
        self.load_ids(&self.catalog(), &log)?;
        self.make_kept()?;
        let catalog = self.catalog();
        let jobs = self.stored_jobs()?;
        let mut tables: Vec<_> = catalog.objects().flat_map(|o| tables_of(o)).collect();
        tables.extend(jobs.iter().flat_map(Stored::tables));
        tables.extend(stored_histories(&store, &catalog)?);
        store.retain_tables(&tables)?;
        let checkpoint = store.checkpoint();
        let record = checkpoint_record(&store)?;
        let last = log.last().or(record.as_ref());
        let readable_from = last.map_or(checkpoint, |record| record.epoch);
        self.open = readable_from.next();
        self.last_now = last.map_or(0, |record| record.now);
        let watermarks = Arc::new(record.as_ref().map(watermarks_of).unwrap_or_default());
        self.fail_repeated(&catalog)?;
        let mut read = BTreeSet::new();
        for object in catalog.objects() {
            let Some(view) = object.stored() else { continue };
            let is_table = object.source().is_none() && matches!(object.kind, Kind::Table(_));
            let graph = Graph::new(&view.plan);
            let (tables, failed) = self.recovered_tables(&catalog, object, &graph)?;
            if let Some(reason) = failed {
                self.show_failed(object.id, &tables, reason);
                continue;
            }
            let leaves = graph.leaves.iter().map(|leaf| leaf.leaf.kind);
            let sources: Vec<ObjectId> =
                leaves.filter_map(source_of).filter(|_| !is_table).collect();
            read.extend(sources.iter().copied());
            let install = Install {
                now: record.as_ref().map_or(0, |record| record.now),
                view: object.id,
                name: object.name.clone(),
                tables,
                figures: self.figures(&graph),
                graph: Arc::new(graph),
                start: checkpoint.next().ts(),
                restore: Some(checkpoint),
                live: true,
                keys_below: BTreeMap::new(),
                watermarks: watermarks.clone(),
            };
            self.install(install, sources);
            self.recover_history(object)?;
            if is_table {
                self.feed_table(object.id);
            }
            self.show_view(object.id, readable_from);
        }
        self.load_kept(&log)?;
        self.recover_jobs(&catalog, jobs)?;
        for id in read {
            self.reopen(&catalog, id, record.as_ref(), &log)?;
        }
        if let Some(record) = &record {
            self.histories.note(record.now, record.epoch, i64::MAX);
        }
        let epochs = log.len();
        self.replay = log.into_iter().map(logged).collect();
        tracing::info!(%checkpoint, epochs, "recovered the catalog, reading the log again");
        self.shared.board.lock().checkpoint = checkpoint;
        // Before a client can ask: counters do not begin at nothing again.
        self.post_status(self.shared.clock.now());
        Ok(())
    }

    fn load_ids(&mut self, catalog: &Catalog, log: &[EpochRecord]) -> Result<(), ServerError> {
        if let Some(bytes) = self.shared.store.get(IDS_KEY)? {
            let damaged = || ServerError::Catalog("the record of free ids is damaged".into());
            let (object, table) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
            self.ddl.next_object = u32::from_le_bytes(*object);
            let table: [u8; 8] = table.try_into().map_err(|_| damaged())?;
            self.ddl.next_table = u64::from_le_bytes(table);
        }
        let greatest = catalog.objects().map(|object| object.id.0).max().unwrap_or_default();
        self.ddl.next_object = self.ddl.next_object.max(greatest);
        let roles = catalog.roles().map(|role| role.id.0);
        let others = roles.chain(catalog.secrets().map(|secret| secret.id.0)).max();
        self.ddl.next_object = self.ddl.next_object.max(others.unwrap_or_default());
        // The first rows of a table are logged before the table is there: whatever has become of it, no other
        // one takes them for its own.
        let logged = log.iter().flat_map(|record| &record.changes).map(|change| change.table.0);
        self.ddl.next_object = self.ddl.next_object.max(logged.max().unwrap_or_default());
        Ok(())
    }

    /// Opens a source where the checkpoint left it, with the logged epochs to give back.
    fn reopen(
        &mut self,
        catalog: &Catalog,
        id: ObjectId,
        record: Option<&EpochRecord>,
        log: &[EpochRecord],
    ) -> Result<(), ServerError> {
        let Some(source) = catalog.get(id).and_then(|object| object.source()) else {
            return Err(ServerError::Catalog(format!("a view reads source {id}, which is gone")));
        };
        let opening = self.opening(id, source, record, log);
        self.anchor_again(id, source, log, &opening)?;
        let built = built_source(&self.shared.store, &self.shared.clock, id, source)?;
        if let Err(error) = self.open_source(id, &built, opening) {
            tracing::error!(%error, source = self.name_of(id), "a source cannot be opened");
            let failed = Some(error.to_string());
            let status = SourceStatus { failed, ..SourceStatus::default() };
            self.shared.board.lock().sources.insert(id, status);
        }
        Ok(())
    }

    /// A source whose rows are made here goes on from the first row that is not logged, now.
    fn anchor_again(
        &self,
        id: ObjectId,
        source: &Source,
        log: &[EpochRecord],
        opening: &Opening,
    ) -> Result<(), ServerError> {
        let mut anchors = crate::sources::anchors(&self.shared.store, id)?;
        if source.connector != "datagen" {
            return Ok(());
        }
        let Some(rate) = millrace_connectors::datagen::rate(&source.options) else { return Ok(()) };
        let logged = log.iter().flat_map(|record| &record.sources).filter(|s| s.source == id);
        let logged = logged.flat_map(|s| &s.partitions).map(|p| p.end).max();
        let read = opening.partitions.values().map(|cut| cut.end).max();
        let next = logged.max(read).unwrap_or_default();
        let now = self.shared.clock.now();
        anchors.push(millrace_connectors::datagen::restart_anchor(&anchors, rate, next, now));
        let ops = vec![crate::sources::anchors_op(id, &anchors)];
        self.shared.store.commit(Commit { ops, ..Commit::default() })?;
        Ok(())
    }

    fn opening(
        &self,
        id: ObjectId,
        source: &Source,
        record: Option<&EpochRecord>,
        log: &[EpochRecord],
    ) -> Opening {
        let of = |record: &EpochRecord| record.sources.iter().find(|s| s.source == id).cloned();
        let mut partitions: BTreeMap<PartitionId, PartitionCut> = source
            .start
            .iter()
            .map(|(partition, end)| (*partition, PartitionCut { end: *end, ..Default::default() }))
            .collect();
        let mut watermark = record.and_then(of).and_then(|s| s.watermark);
        for at in record.and_then(of).into_iter().flat_map(|s| s.partitions) {
            let cut = partitions.entry(at.partition).or_default();
            cut.end = at.end;
            count(cut, &at);
        }
        let (mut replay, mut last_ends) = (Vec::new(), BTreeMap::new());
        for logged in log {
            let Some(found) = of(logged) else { continue };
            let ends: BTreeMap<_, _> =
                found.partitions.iter().map(|p| (p.partition, p.end)).collect();
            last_ends.clone_from(&ends);
            let (epoch, read_at) = (logged.epoch, found.read_at);
            replay.push(ingest::Logged { epoch, watermark, read_at, ends });
            watermark = found.watermark;
            for at in &found.partitions {
                // One that the source gained in this epoch begins where the epoch ends.
                let gained = PartitionCut { end: at.end, ..PartitionCut::default() };
                count(partitions.entry(at.partition).or_insert(gained), at);
            }
        }
        Opening { partitions, watermark, ts: self.open.ts(), replay, ends: last_ends }
    }

    /// Seals logged epochs again, as far as all their rows are there.
    pub(super) fn replay_sealed(&mut self, now: i64) {
        while let Some(epoch) = self.replay.front().map(|logged| logged.epoch) {
            // What cannot be read again any more has been taken out with its views.
            if !self.sources.values().all(|source| source.feed.gate.replayed(epoch)) {
                return;
            }
            let Some(logged) = self.replay.pop_front() else { return };
            let Logged { watermarks, changes, .. } = logged;
            changes.iter().for_each(|change| self.send_logged(epoch, change));
            let seal = Command::Seal { epoch, watermarks, now: logged.now, hand_over: false };
            self.runtime.broadcast(&seal);
            self.in_flight.push_back(InFlight { epoch, sealed_at: now, bytes: 0 });
            if self.replay.is_empty() {
                tracing::info!(%epoch, "the log has been read again, live from here");
            }
        }
    }
}

fn source_of(kind: LeafKind) -> Option<ObjectId> {
    match kind {
        LeafKind::Source(id) => Some(id),
        LeafKind::View(_) => None,
    }
}

fn watermarks_of(record: &EpochRecord) -> BTreeMap<ObjectId, i64> {
    record.sources.iter().filter_map(|s| Some((s.source, s.watermark?))).collect()
}

/// Takes the counters of a logged partition over; its end stays where reading begins.
fn count(cut: &mut PartitionCut, at: &millrace_storage::PartitionRecord) {
    cut.max_event_time = at.max_event_time;
    cut.rows = at.rows;
    cut.malformed = at.malformed;
    cut.future = at.future;
}

/// What is to be done once more of a logged epoch.
fn logged(record: EpochRecord) -> Logged {
    Logged {
        epoch: record.epoch,
        watermarks: Arc::new(watermarks_of(&record)),
        now: record.now,
        changes: record.changes,
    }
}
