//! Hydration: the first fill of a view.
//!
//! History is read by private feeds at steps of the epoch before the statement, never late. When it
//! is through, the next seal J is where the view joins: from J+1 on its leaves take the shared rows,
//! which wait in its inputs while the tail up to J is read (of views below: their content at J).
//! Tables in which rows are looked up come before all history, as they are after the first seal, and
//! are followed from there.
//! Then it goes live; the next checkpoint makes it durable and answers the statement.
//!
//! Invariants: 1. the live rows are subscribed to before the gate opens J+1 (`joins_before_cut` runs
//! before the cut), so none is missed, and the tail ends where J ends, so none comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_dataflow::ingest::{Decorator, Feed, FeedSpec, Gate, GateSpec, PartitionCut};
use millrace_dataflow::runtime::Command;
use millrace_dataflow::source::{Columns, SourceError, Span};
use millrace_plan::LeafKind;
use millrace_storage::{EpochRecord, Op};
use millrace_types::{Epoch, ObjectId, PartitionId, Report, SqlState, Ts};

use super::checkpoint::Attached;
use super::{BuiltSource, Coordinator, Reply};
use crate::clock::micros;
use crate::error::ServerError;
use crate::serving::SnapshotConnector;

const STEPS_IN_FLIGHT: u64 = 3;
/// Rows of a step while other views run: their epochs wait for the end of a step.
const STEP_BYTES: usize = 8 << 20;
/// Rows of a step while no other view runs: each group is then touched seldom.
const STEP_BYTES_ALONE: usize = 64 << 20;
/// Content of a view that is being filled above which it is written; no step ends above twice that.
const CONTENT_BYTES_MAX: usize = 128 << 20;

/// A feed of one hydration.
struct Private {
    feed: Feed,
    /// The source that it reads; None for a snapshot.
    source: Option<ObjectId>,
    goals: BTreeMap<PartitionId, i64>,
}

impl Private {
    fn is_done(&self) -> bool {
        let at = self.feed.gate.peek().partitions;
        self.goals.iter().all(|(id, goal)| at.get(id).is_some_and(|cut| cut.end >= *goal))
    }
}

enum Phase {
    /// Waits for a seal, to look rows up in tables as they are then.
    Lookups,
    /// Reads those tables once they have completed the epoch.
    Tables { epoch: Epoch, snapshots: Vec<(usize, ObjectId)> },
    /// Reads from the start of the sources to where they stood.
    History,
    /// Waits for the next seal.
    Join,
    /// Reads what is left up to the end of the epoch; snapshots once the views below completed it.
    Tail { epoch: Epoch, snapshots: Vec<(usize, ObjectId)> },
    /// Follows the seals; waits until it has completed its first epoch.
    CatchUp { live_from: Epoch },
}

/// Content on its way to disk, so that it need not all be in memory. State is not handed over for
/// it: until the view is live it would be written in vain.
struct Flush {
    upto: Ts,
    committing: bool,
}

/// A view that is being filled.
pub(super) struct Hydration {
    pub(super) name: String,
    object: millrace_sql::Object,
    ops: Vec<Op>,
    reply: Option<Reply>,
    sources: BTreeMap<ObjectId, Arc<BuiltSource>>,
    /// Source leaves and view leaves by position.
    leaves: Vec<LeafKind>,
    feeds: Vec<Private>,
    /// Where each source's history ends for this view.
    positions: BTreeMap<ObjectId, BTreeMap<PartitionId, i64>>,
    ts: Ts,
    last_step_at: i64,
    /// How many bytes of rows a step may have.
    step_bytes: usize,
    phase: Phase,
    flush: Option<Flush>,
    rows_before: u64,
    /// The sources that nobody read before.
    first_reads: BTreeSet<ObjectId>,
}

/// What a hydration starts from.
pub(super) struct Start {
    pub(super) view: ObjectId,
    pub(super) object: millrace_sql::Object,
    pub(super) ops: Vec<Op>,
    pub(super) reply: Reply,
    pub(super) leaves: Vec<LeafKind>,
    pub(super) sources: BTreeMap<ObjectId, Arc<BuiltSource>>,
    pub(super) ts: Ts,
    pub(super) first_reads: BTreeSet<ObjectId>,
}

impl Hydration {
    /// True while content of it waits for its commit.
    pub(super) fn is_flushing(&self) -> bool {
        self.flush.is_some()
    }

    /// The gates of its own feeds.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.feeds.iter().map(|private| &private.feed.gate)
    }

    /// What the view reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = ObjectId> {
        self.leaves.iter().map(|kind| match kind {
            LeafKind::Source(id) | LeafKind::View(id) => *id,
        })
    }
}

impl Coordinator {
    /// Begins to fill a view that is installed; its sources' shared feeds run.
    pub(super) fn begin_hydration(&mut self, start: Start) {
        let view = start.view;
        let mut hydration = Hydration {
            name: start.object.name.clone(),
            object: start.object,
            ops: start.ops,
            reply: Some(start.reply),
            sources: start.sources,
            leaves: start.leaves,
            feeds: Vec::new(),
            positions: BTreeMap::new(),
            ts: start.ts,
            last_step_at: self.shared.clock.now(),
            step_bytes: self.step_bytes(view),
            phase: Phase::Lookups,
            flush: None,
            rows_before: 0,
            first_reads: start.first_reads,
        };
        let mut opened = Ok(());
        if self.lookups(view, &hydration).is_empty() {
            hydration.phase = Phase::History;
            opened = self.open_history(view, &mut hydration);
        } else {
            self.checkpoints.want();
        }
        self.hydrations.insert(view, hydration);
        if let Err(error) = opened {
            self.abort_hydration(view, source_report(&error));
        }
    }

    /// The leaves whose rows are looked up, and what they read.
    fn lookups(&self, view: ObjectId, hydration: &Hydration) -> Vec<(usize, ObjectId)> {
        let Some(found) = self.views.get(&view) else { return Vec::new() };
        let leaves = hydration.leaves.iter().zip(&found.graph.leaves).enumerate();
        let below = leaves.filter_map(|(at, (kind, stage))| match kind {
            LeafKind::View(below) if stage.lookup => Some((at, *below)),
            LeafKind::View(_) | LeafKind::Source(_) => None,
        });
        below.collect()
    }

    /// Large steps delay other views, and rows that are copied into many windows need small ones.
    fn step_bytes(&self, view: ObjectId) -> usize {
        let alone = self.views.keys().all(|other| *other == view);
        let copies = self.views.get(&view).is_some_and(|found| found.graph.copies_rows());
        if !alone || copies {
            return STEP_BYTES;
        }
        (self.shared.config.memory_limit / 32).clamp(STEP_BYTES, STEP_BYTES_ALONE)
    }

    fn open_history(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
    ) -> Result<(), SourceError> {
        for (source, built) in hydration.sources.clone() {
            let Some(live) = self.sources.get(&source) else { continue };
            let cut = live.feed.gate.peek();
            let goals: BTreeMap<_, _> = cut.partitions.iter().map(|(id, p)| (*id, p.end)).collect();
            hydration.positions.insert(source, goals.clone());
            let from = |id: &PartitionId| built.starts.get(id).copied().unwrap_or_default();
            let spans = goals.iter().map(|(id, goal)| (*id, from(id), *goal)).collect::<Vec<_>>();
            self.open_private(view, hydration, source, &spans)?;
        }
        Ok(())
    }

    /// Reads spans of a source into the view's leaves.
    fn open_private(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
        source: ObjectId,
        spans: &[(PartitionId, i64, i64)],
    ) -> Result<(), SourceError> {
        let spans: Vec<_> = spans.iter().filter(|(_, from, to)| from < to).copied().collect();
        if spans.is_empty() {
            return Ok(());
        }
        let Some(built) = hydration.sources.get(&source).cloned() else { return Ok(()) };
        let id = self.next_feed();
        for (leaf, kind) in hydration.leaves.iter().enumerate() {
            if *kind == LeafKind::Source(source) {
                let from = Ts::default();
                self.runtime.broadcast(&Command::Subscribe { view, leaf, feed: id, from });
            }
        }
        let start = |(id, from, _): &(PartitionId, i64, i64)| {
            (*id, PartitionCut { end: *from, ..PartitionCut::default() })
        };
        let mut spec = gate_spec(hydration.ts, spans.iter().map(start).collect());
        spec.bytes_max = hydration.step_bytes;
        (spec.event_time, spec.max_future) = (built.event_time, built.max_future);
        let goals = spans.iter().map(|(id, _, to)| (*id, *to)).collect();
        let spans = spans
            .into_iter()
            .map(|(partition, from, to)| Span { partition, from, to: Some(to) })
            .collect();
        let gate = self.gate(id, spec);
        let mut spec = self.feed_spec(source, &built, spans, gate);
        spec.columns = self.columns_read(view, source, &built);
        let feed = Feed::start(spec)?;
        hydration.feeds.push(Private { feed, source: Some(source), goals });
        Ok(())
    }

    /// The columns of a source that a view reads.
    fn columns_read(&self, view: ObjectId, source: ObjectId, built: &BuiltSource) -> Columns {
        let leaves = self.views.get(&view).into_iter().flat_map(|found| &found.graph.leaves);
        let leaves = leaves.filter(|stage| stage.leaf.kind == LeafKind::Source(source));
        let columns = leaves.flat_map(|stage| stage.leaf.columns.iter().copied());
        built.decorator.reads(columns.chain(built.event_time))
    }

    /// Reads the content of a view below, as of a complete epoch, into one leaf.
    fn open_snapshot(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
        leaf: usize,
        below: ObjectId,
        epoch: Epoch,
    ) -> Result<(), SourceError> {
        let id = self.next_feed();
        let Some(found) = self.views.get(&below) else { return Ok(()) };
        let from = Ts::default();
        self.runtime.broadcast(&Command::Subscribe { view, leaf, feed: id, from });
        let connector = SnapshotConnector::new(&found.tables.content, epoch)?;
        let partition = PartitionId(0);
        let spec = gate_spec(hydration.ts, BTreeMap::from([(partition, PartitionCut::default())]));
        let inbox = self.shared.inbox.clone();
        let feed = Feed::start(FeedSpec {
            name: self.name_of(below),
            decorator: Arc::new(Decorator::new(connector.full_schema(), Vec::new())),
            connector: Arc::new(connector),
            columns: Columns::all(),
            spans: vec![Span { partition, from: 0, to: None }],
            gate: self.gate(id, spec),
            workers: self.shared.config.workers,
            clock: self.shared.clock.shared(),
            wait: self.shared.config.epoch_interval,
            wake: Arc::new(move || drop(inbox.send(super::Message::Wake))),
        })?;
        let goals = BTreeMap::from([(partition, SnapshotConnector::END)]);
        hydration.feeds.push(Private { feed, source: None, goals });
        Ok(())
    }

    /// Moves every hydration on.
    pub(super) fn drive_hydrations(&mut self, now: i64) -> Result<(), ServerError> {
        let views: Vec<ObjectId> = self.hydrations.keys().copied().collect();
        for view in views {
            let Some(mut hydration) = self.hydrations.remove(&view) else { continue };
            let failed = hydration.feeds.iter().find_map(|f| f.feed.failed());
            let left = hydration.reply.as_ref().is_none_or(tokio::sync::oneshot::Sender::is_closed);
            match failed {
                _ if left => self.abandon(view, hydration, cancelled()),
                Some(reason) => {
                    let report = Report::new(SqlState::FOREIGN_DATA_ERROR, reason);
                    self.abandon(view, hydration, report);
                }
                None => match self.drive(view, &mut hydration, now) {
                    Ok(true) => self.attach(view, hydration),
                    Ok(false) => drop(self.hydrations.insert(view, hydration)),
                    Err(error) => self.abandon(view, hydration, source_report(&error)),
                },
            }
        }
        self.commit_flushes()
    }

    /// One move; true when the view is live and has completed its first epoch.
    fn drive(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
        now: i64,
    ) -> Result<bool, SourceError> {
        self.step(view, hydration, now);
        let drained = hydration.feeds.iter().all(Private::is_done);
        match &mut hydration.phase {
            Phase::History if drained => {
                self.close_feeds(view, hydration);
                hydration.phase = Phase::Join;
                self.checkpoints.want();
            }
            Phase::Tables { epoch, snapshots } | Phase::Tail { epoch, snapshots }
                if !snapshots.is_empty() =>
            {
                let epoch = *epoch;
                let complete = |(_, below): &(usize, ObjectId)| {
                    self.views.get(below).is_none_or(|v| v.upper() >= epoch.next().ts())
                };
                if snapshots.iter().all(complete) {
                    for (leaf, below) in std::mem::take(snapshots) {
                        self.open_snapshot(view, hydration, leaf, below, epoch)?;
                    }
                }
            }
            Phase::Tables { .. } if drained => {
                self.close_feeds(view, hydration);
                hydration.phase = Phase::History;
                self.open_history(view, hydration)?;
            }
            Phase::Tail { epoch, .. } if drained && hydration.flush.is_none() => {
                let live_from = epoch.next();
                self.close_feeds(view, hydration);
                self.runtime.broadcast(&Command::GoLive { view, from: live_from });
                if let Some(found) = self.views.get_mut(&view) {
                    found.live_from = Some(live_from);
                }
                hydration.phase = Phase::CatchUp { live_from };
            }
            Phase::CatchUp { live_from } => {
                let upper = self.views.get(&view).map(super::View::upper);
                return Ok(upper.is_some_and(|upper| upper >= live_from.ts()));
            }
            Phase::Lookups
            | Phase::Tables { .. }
            | Phase::History
            | Phase::Join
            | Phase::Tail { .. } => {}
        }
        Ok(false)
    }

    /// Ends the open step if it holds something and the view keeps up.
    fn step(&mut self, view: ObjectId, hydration: &mut Hydration, now: i64) {
        if matches!(hydration.phase, Phase::CatchUp { .. }) {
            return;
        }
        let changed = hydration.feeds.iter().any(|f| f.feed.gate.peek_changed());
        let full = hydration.feeds.iter().any(|f| f.feed.gate.is_full());
        let rested = hydration.step_bytes == STEP_BYTES
            && now - hydration.last_step_at >= micros(self.shared.config.epoch_interval);
        let upper = self.views.get(&view).map(super::View::upper).unwrap_or_default();
        let behind = hydration.ts.0.saturating_sub(upper.0);
        let room = self.content_bytes(view) <= 2 * self.content_max();
        if changed && (full || rested) && behind < STEPS_IN_FLIGHT && room {
            self.end_step(view, hydration, now);
        }
    }

    /// What is in memory of the view's content.
    fn content_bytes(&self, view: ObjectId) -> usize {
        self.views.get(&view).map_or(0, |view| view.tables.content.bytes())
    }

    fn content_max(&self) -> usize {
        self.staged_max().min(CONTENT_BYTES_MAX)
    }

    fn end_step(&mut self, view: ObjectId, hydration: &mut Hydration, now: i64) {
        let ended = hydration.ts;
        hydration.ts = ended.next();
        hydration.last_step_at = now;
        for private in &hydration.feeds {
            private.feed.gate.cut(|_| (hydration.ts, None));
        }
        if self.content_bytes(view) > self.content_max() && hydration.flush.is_none() {
            hydration.flush = Some(Flush { upto: ended, committing: false });
        }
        self.runtime.broadcast(&Command::Advance { view, upto: hydration.ts });
    }

    /// Ends the step that holds the last rows of feeds that are done, and the feeds.
    fn close_feeds(&mut self, view: ObjectId, hydration: &mut Hydration) {
        let now = self.shared.clock.now();
        if hydration.feeds.iter().any(|f| f.feed.gate.peek_changed()) {
            self.end_step(view, hydration, now);
        }
        for private in hydration.feeds.drain(..) {
            let partitions = private.feed.gate.peek().partitions;
            hydration.rows_before += partitions.values().map(|cut| cut.rows).sum::<u64>();
            // The first reader of a source has seen what its shared feed begins behind.
            let first = private.source.filter(|source| hydration.first_reads.contains(source));
            if let Some(live) = first.and_then(|source| self.sources.get(&source)) {
                live.feed.adopt(&private.feed);
            }
        }
    }

    /// Before the gates are cut at the end of `epoch`: views that wait subscribe to what follows.
    pub(super) fn joins_before_cut(&mut self, epoch: Epoch) {
        let from = epoch.next().ts();
        let waiting = self.hydrations.iter();
        let lookups = waiting.map(|(view, hydration)| (*view, self.lookups(*view, hydration)));
        let lookups: BTreeMap<ObjectId, Vec<(usize, ObjectId)>> = lookups.collect();
        for (view, hydration) in &mut self.hydrations {
            let looked_up = &lookups[view];
            if matches!(hydration.phase, Phase::Lookups) {
                for (leaf, _) in looked_up {
                    let (view, leaf) = (*view, *leaf);
                    self.runtime.broadcast(&Command::Follow { view, leaf, from });
                }
                hydration.phase = Phase::Tables { epoch, snapshots: looked_up.clone() };
                continue;
            }
            if !matches!(hydration.phase, Phase::Join) {
                continue;
            }
            let mut snapshots = Vec::new();
            for (leaf, kind) in hydration.leaves.iter().enumerate() {
                let view = *view;
                if looked_up.iter().any(|(known, _)| *known == leaf) {
                    continue;
                }
                match kind {
                    LeafKind::Source(source) => {
                        if let Some(live) = self.sources.get(source) {
                            let feed = live.id;
                            self.runtime.broadcast(&Command::Subscribe { view, leaf, feed, from });
                        }
                    }
                    LeafKind::View(below) => {
                        self.runtime.broadcast(&Command::Follow { view, leaf, from });
                        snapshots.push((leaf, *below));
                    }
                }
            }
            hydration.phase = Phase::Tail { epoch, snapshots };
        }
    }

    /// After the cut: the tails of the views that joined end where the sealed epoch ends.
    pub(super) fn tails_after_cut(&mut self, record: &EpochRecord) {
        let joined: Vec<ObjectId> = self
            .hydrations
            .iter()
            .filter(|(_, h)| matches!(h.phase, Phase::Tail { epoch, .. } if epoch == record.epoch))
            .map(|(view, _)| *view)
            .collect();
        for view in joined {
            let Some(mut hydration) = self.hydrations.remove(&view) else { continue };
            let mut opened = Ok(());
            for source in &record.sources {
                let Some(from) = hydration.positions.get(&source.source).cloned() else { continue };
                let span = |p: &millrace_storage::PartitionRecord| {
                    (p.partition, from.get(&p.partition).copied().unwrap_or_default(), p.end)
                };
                let spans: Vec<_> = source.partitions.iter().map(span).collect();
                opened = opened
                    .and_then(|()| self.open_private(view, &mut hydration, source.source, &spans));
            }
            match opened {
                Ok(()) => drop(self.hydrations.insert(view, hydration)),
                Err(error) => self.abandon(view, hydration, source_report(&error)),
            }
        }
    }

    fn attach(&mut self, view: ObjectId, hydration: Hydration) {
        let Phase::CatchUp { live_from } = hydration.phase else { return };
        let Some(reply) = hydration.reply else { return };
        let (object, ops) = (hydration.object, hydration.ops);
        self.checkpoints.attached.push(Attached { view, live_from, object, ops, reply });
        self.checkpoints.want();
    }

    fn commit_flushes(&mut self) -> Result<(), ServerError> {
        if !self.checkpoints.is_idle() {
            return Ok(());
        }
        let ready = self.hydrations.iter_mut().find_map(|(view, hydration)| {
            let flush = hydration.flush.as_mut().filter(|flush| !flush.committing)?;
            let passed = self.views.get(view).is_some_and(|found| found.upper() > flush.upto);
            flush.committing = passed;
            passed.then_some((*view, flush.upto))
        });
        match ready {
            Some((view, upto)) => self.commit_hydration(view, upto),
            None => Ok(()),
        }
    }

    pub(super) fn hydration_flushed(&mut self, view: ObjectId) {
        if let Some(hydration) = self.hydrations.get_mut(&view) {
            hydration.flush = None;
        }
    }

    fn abandon(&mut self, view: ObjectId, mut hydration: Hydration, report: Report) {
        drop(std::mem::take(&mut hydration.feeds));
        self.unpublish(view);
        if let Some(reply) = hydration.reply {
            // A client that has gone needs no answer.
            drop(reply.send(Err(report)));
        }
    }

    fn abort_hydration(&mut self, view: ObjectId, report: Report) {
        if let Some(hydration) = self.hydrations.remove(&view) {
            self.abandon(view, hydration, report);
        }
    }

    pub(super) fn abort_hydrations(&mut self) {
        let views: Vec<ObjectId> = self.hydrations.keys().copied().collect();
        for view in views {
            self.abort_hydration(view, super::shutting_down());
        }
        for attached in std::mem::take(&mut self.checkpoints.attached) {
            drop(attached.reply.send(Err(super::shutting_down())));
        }
    }

    /// Hydrations under way: view, name, rows read, rows to read.
    pub(super) fn jobs(&self) -> Vec<(ObjectId, String, i64, i64)> {
        let job = |(view, hydration): (&ObjectId, &Hydration)| {
            let (mut read, mut all) = (hydration.rows_before.cast_signed(), 0);
            for (source, goals) in &hydration.positions {
                let starts = hydration.sources.get(source).map(|built| &built.starts);
                let from = |id| starts.and_then(|s| s.get(id)).copied().unwrap_or_default();
                all += goals.iter().map(|(id, goal)| goal - from(id)).sum::<i64>();
            }
            for private in &hydration.feeds {
                let partitions = private.feed.gate.peek().partitions;
                read += partitions.values().map(|cut| cut.rows.cast_signed()).sum::<i64>();
            }
            (*view, hydration.name.clone(), read, all.max(read))
        };
        self.hydrations.iter().map(job).collect()
    }
}

fn gate_spec(ts: Ts, partitions: BTreeMap<PartitionId, PartitionCut>) -> GateSpec {
    GateSpec {
        ts,
        watermark: None,
        event_time: None,
        max_future: 0,
        partitions,
        replay: Vec::new(),
        bytes_max: STEP_BYTES,
    }
}

fn cancelled() -> Report {
    Report::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

/// What a session is told of a source that does not answer.
pub(crate) fn source_report(error: &SourceError) -> Report {
    Report::new(SqlState::FOREIGN_DATA_ERROR, error.to_string())
}
