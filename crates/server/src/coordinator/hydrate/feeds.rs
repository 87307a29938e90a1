//! The feeds of one hydration: private readers of its sources, and of snapshots of the views below.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_dataflow::ingest::{Decorator, Feed, FeedSpec, GateSpec, OnError, PartitionCut};
use millrace_dataflow::runtime::Command;
use millrace_dataflow::source::{Columns, SourceError, Span};
use millrace_plan::LeafKind;
use millrace_storage::Reach;
use millrace_types::{Epoch, ObjectId, PartitionId, Ts};

use super::Hydration;
use crate::coordinator::{BuiltSource, Coordinator, Message};
use crate::serving::SnapshotConnector;

/// What a feed reads.
enum Reads {
    Source(ObjectId),
    Snapshot { leaf: usize, connector: Arc<SnapshotConnector> },
}

/// A feed of one hydration.
pub(super) struct Private {
    pub(super) feed: Feed,
    reads: Reads,
    goals: BTreeMap<PartitionId, i64>,
    /// Partitions whose rows nobody else counts: the first reader's, up to where the shared feed begins.
    counts: BTreeSet<PartitionId>,
    /// Offsets or rows to read, at most.
    pub(super) total: i64,
    /// Where it stood at the end of the last step.
    pub(super) at: BTreeMap<PartitionId, PartitionCut>,
}

impl Private {
    /// The leaf of a snapshot.
    pub(super) fn leaf(&self) -> Option<usize> {
        match &self.reads {
            Reads::Source(_) => None,
            Reads::Snapshot { leaf, .. } => Some(*leaf),
        }
    }

    /// The source, if it reads one.
    pub(super) fn source(&self) -> Option<ObjectId> {
        match &self.reads {
            Reads::Source(source) => Some(*source),
            Reads::Snapshot { .. } => None,
        }
    }

    /// Offsets passed, or rows of a snapshot, up to now.
    pub(super) fn read(&self) -> i64 {
        self.read_up_to(&self.feed.gate.peek().partitions)
    }

    /// What was read when the last step ended.
    pub(super) fn ended(&self) -> i64 {
        self.read_up_to(&self.at)
    }

    fn read_up_to(&self, cut: &BTreeMap<PartitionId, PartitionCut>) -> i64 {
        match &self.reads {
            Reads::Snapshot { .. } => cut.values().map(|cut| cut.rows.cast_signed()).sum(),
            Reads::Source(_) => {
                let left = |(id, goal): (&PartitionId, &i64)| {
                    cut.get(id).map_or(0, |cut| (goal - cut.end).max(0))
                };
                self.total - self.goals.iter().map(left).sum::<i64>()
            }
        }
    }

    pub(super) fn is_done(&self) -> bool {
        let at = self.feed.gate.peek().partitions;
        self.goals.iter().all(|(id, goal)| at.get(id).is_some_and(|cut| cut.end >= *goal))
    }
}

impl Coordinator {
    /// Reads the sources to where they stand now, or waits until the tables have been read in which
    /// rows are looked up.
    pub(super) fn open_history(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
    ) -> Result<(), SourceError> {
        let leaves = self.views.get(&view).into_iter().flat_map(|found| &found.graph.leaves);
        let lookups = leaves.enumerate().filter(|(_, stage)| stage.lookup).map(|(leaf, _)| leaf);
        let is_read = |leaf: usize| {
            hydration.below.get(&leaf).is_none_or(|below| matches!(below.reach, Reach::All))
        };
        hydration.waits = !lookups.into_iter().all(is_read);
        if hydration.waits {
            return Ok(());
        }
        let sources: Vec<ObjectId> = hydration.sources.keys().copied().collect();
        for source in sources {
            let Some(live) = self.sources.get(&source) else { continue };
            let cut = live.feed.gate.peek();
            let goals = cut.partitions.iter().map(|(id, p)| (*id, p.end)).collect();
            self.open_source_feed(view, hydration, source, goals)?;
        }
        Ok(())
    }

    /// Where a hydration goes on in a partition.
    fn from(&self, hydration: &Hydration, source: ObjectId, partition: PartitionId) -> i64 {
        let read = hydration.read.get(&source).and_then(|read| read.get(&partition));
        let starts = || hydration.sources.get(&source)?.starts.get(&partition).copied();
        // The source has gained it since the view was made.
        let begins = || self.sources.get(&source)?.begins.get(&partition).copied();
        read.map(|cut| cut.end).or_else(starts).or_else(begins).unwrap_or_default()
    }

    /// How many offsets its sources have gone on since it read them.
    pub(super) fn behind_sources(&self, hydration: &Hydration) -> i64 {
        let behind = |source: &ObjectId| -> i64 {
            let Some(live) = self.sources.get(source) else { return 0 };
            let cut = live.feed.gate.peek();
            let at = |(id, cut): (&PartitionId, &PartitionCut)| {
                cut.end - self.from(hydration, *source, *id)
            };
            cut.partitions.iter().map(at).sum()
        };
        hydration.sources.keys().map(behind).sum()
    }

    /// Reads a source from where the hydration stands up to some ends.
    pub(super) fn open_source_feed(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
        source: ObjectId,
        ends: BTreeMap<PartitionId, i64>,
    ) -> Result<(), SourceError> {
        let Some(built) = hydration.sources.get(&source).cloned() else { return Ok(()) };
        let position = |id| self.from(hydration, source, id);
        let live = self.sources.get(&source).filter(|_| hydration.first_reads.contains(&source));
        let begin = |id| live.and_then(|live| live.begins.get(&id)).copied().unwrap_or(i64::MIN);
        let span = |(id, to): (&PartitionId, &i64)| {
            let (from, begin) = (position(*id), begin(*id));
            (*id, from, if from < begin { begin.min(*to) } else { *to })
        };
        let spans: Vec<_> = ends.iter().map(span).filter(|(_, from, to)| from < to).collect();
        let counts = spans.iter().filter(|(id, from, _)| *from < begin(*id)).map(|(id, ..)| *id);
        let counts = counts.collect();
        if spans.is_empty() {
            return Ok(());
        }
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
        let mut spec = gate_spec(hydration, spans.iter().map(start).collect());
        let at = spec.partitions.clone();
        (spec.event_time, spec.max_future) = (built.event_time, built.max_future);
        let goals = spans.iter().map(|(id, _, to)| (*id, *to)).collect();
        let total = spans.iter().map(|(_, from, to)| to - from).sum();
        let spans = spans
            .into_iter()
            .map(|(partition, from, to)| Span { partition, from, to: Some(to) })
            .collect();
        let gate = self.gate(id, spec);
        let mut spec = self.feed_spec(source, &built, spans, gate);
        spec.columns = self.columns_read(view, source, &built);
        let feed = Feed::start(spec)?;
        let reads = Reads::Source(source);
        hydration.feeds.push(Private { feed, reads, goals, counts, total, at });
        Ok(())
    }

    /// The columns of a source that a view reads.
    fn columns_read(&self, view: ObjectId, source: ObjectId, built: &BuiltSource) -> Columns {
        let leaves = self.views.get(&view).into_iter().flat_map(|found| &found.graph.leaves);
        let leaves = leaves.filter(|stage| stage.leaf.kind == LeafKind::Source(source));
        let columns = leaves.flat_map(|stage| stage.leaf.columns.iter().copied());
        built.decorator.reads(columns.chain(built.event_time))
    }

    /// Reads on in the views below: from snapshots of the last epoch that all have completed.
    pub(super) fn read_below(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
    ) -> Result<(), SourceError> {
        let done = |private: &&Private| private.leaf().is_some() && private.is_done();
        let done: Vec<usize> =
            hydration.feeds.iter().filter(done).filter_map(Private::leaf).collect();
        for leaf in done {
            self.close_snapshot(view, hydration, leaf);
        }
        let open = |leaf: &usize| hydration.feeds.iter().any(|f| f.leaf() == Some(*leaf));
        let wanted = |(leaf, below): &(&usize, &super::Below)| {
            !matches!(below.reach, Reach::All) && !open(leaf)
        };
        let wanted: Vec<(usize, ObjectId)> =
            hydration.below.iter().filter(wanted).map(|(leaf, b)| (*leaf, b.view)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        // Another snapshot is open: this one is of the same epoch.
        let others = hydration.feeds.iter().any(|private| private.leaf().is_some());
        let complete = self.complete_below(hydration);
        if complete < hydration.ts.epoch() {
            return Ok(());
        }
        if complete > hydration.ts.epoch() && !others {
            self.move_to(view, hydration, complete.ts().next());
        }
        let epoch = hydration.ts.epoch();
        wanted
            .into_iter()
            .try_for_each(|(leaf, below)| self.open_snapshot(view, hydration, leaf, below, epoch))
    }

    /// The last epoch that all views below have completed.
    pub(super) fn complete_below(&self, hydration: &Hydration) -> Epoch {
        let views = hydration.below.values().filter_map(|below| self.views.get(&below.view));
        let complete = views.map(|view| view.upper().epoch().previous());
        complete.min().unwrap_or_default()
    }

    /// Reads what is left of a view below, as of a complete epoch, into one leaf; if a checkpoint has
    /// just passed the epoch by, a later epoch is tried at the next turn.
    fn open_snapshot(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
        leaf: usize,
        below: ObjectId,
        epoch: Epoch,
    ) -> Result<(), SourceError> {
        let Some(found) = self.views.get(&below) else { return Ok(()) };
        let Some(state) = hydration.below.get_mut(&leaf) else { return Ok(()) };
        let content = &found.tables.content;
        let snapshot = match content.snapshot(epoch) {
            Ok(snapshot) => snapshot,
            Err(millrace_storage::Error::TooOld { .. }) => return Ok(()),
            Err(error) => return Err(SourceError::Gone(error.to_string())),
        };
        let connector = SnapshotConnector::new(snapshot, content.sort(), &state.reach)
            .map_err(|error| SourceError::Gone(error.to_string()))?;
        state.left = Some(connector.rows_left());
        let total = connector.rows_left().cast_signed();
        let connector = Arc::new(connector);
        let id = self.next_feed();
        let from = Ts::default();
        self.runtime.broadcast(&Command::Subscribe { view, leaf, feed: id, from });
        let partition = PartitionId(0);
        let at = BTreeMap::from([(partition, PartitionCut::default())]);
        let spec = gate_spec(hydration, at.clone());
        let inbox = self.shared.inbox.clone();
        let feed = Feed::start(FeedSpec {
            name: self.name_of(below),
            decorator: Arc::new(Decorator::new(connector.full_schema(), Vec::new())),
            connector: connector.clone(),
            columns: Columns::all(),
            spans: vec![Span { partition, from: 0, to: None }],
            gate: self.gate(id, spec),
            workers: self.shared.config.workers,
            clock: self.shared.clock.shared(),
            wait: self.shared.config.epoch_interval,
            on_error: OnError { stops: Arc::default(), for_good: true, place: String::new() },
            wake: Arc::new(move || drop(inbox.send(Message::Wake))),
        })?;
        let goals = BTreeMap::from([(partition, SnapshotConnector::END)]);
        let reads = Reads::Snapshot { leaf, connector };
        let counts = BTreeSet::new();
        hydration.feeds.push(Private { feed, reads, goals, counts, total, at });
        Ok(())
    }

    /// Stops reading a snapshot where it stands; the workers are told how far that is.
    pub(super) fn close_snapshot(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
        leaf: usize,
    ) {
        let Some(at) = hydration.feeds.iter().position(|f| f.leaf() == Some(leaf)) else { return };
        let Private { feed, reads, .. } = hydration.feeds.remove(at);
        let Reads::Snapshot { connector, .. } = reads else { return };
        let gate = feed.gate.clone();
        // Its thread has ended after this: nothing more is delivered.
        drop(feed);
        let changed = gate.peek_changed();
        let cut = gate.peek().partitions.get(&PartitionId(0)).copied().unwrap_or_default();
        if let Some(below) = hydration.below.get_mut(&leaf) {
            if let Some(reach) = connector.reach(cut.end) {
                below.reach = reach.clone();
                self.runtime.broadcast(&Command::Reach { view, leaf, reach });
            }
            below.rows += cut.rows;
            below.left = match below.reach {
                Reach::All => Some(0),
                Reach::Nothing | Reach::UpTo(_) => {
                    below.left.map(|left| left.saturating_sub(cut.rows))
                }
            };
        }
        if changed {
            self.move_to(view, hydration, hydration.ts.next());
        }
    }

    /// Ends the step that holds the last rows of feeds, and the feeds.
    pub(super) fn close_feeds(&mut self, view: ObjectId, hydration: &mut Hydration) {
        let leaves: Vec<usize> = hydration.feeds.iter().filter_map(Private::leaf).collect();
        for leaf in leaves {
            self.close_snapshot(view, hydration, leaf);
        }
        if hydration.feeds.iter().any(|f| f.feed.gate.peek_changed()) {
            self.move_to(view, hydration, hydration.ts.next());
        }
        for private in std::mem::take(&mut hydration.feeds) {
            let Some(source) = private.source() else { continue };
            hydration.done += private.total;
            let mut counted = private.feed.gate.peek().partitions;
            let read = hydration.read.entry(source).or_default();
            for (id, cut) in &counted {
                add(read.entry(*id).or_default(), cut);
            }
            // The first reader of a source has seen what its shared feed begins behind.
            if let Some(live) = self.sources.get(&source) {
                counted.retain(|id, _| private.counts.contains(id));
                live.feed.gate.adopt(&counted);
            }
        }
    }
}

/// Adds what a feed has counted to what was counted before it.
pub(super) fn add(before: &mut PartitionCut, cut: &PartitionCut) {
    before.end = before.end.max(cut.end);
    before.rows += cut.rows;
    before.malformed += cut.malformed;
    before.future += cut.future;
    before.max_event_time = before.max_event_time.max(cut.max_event_time);
}

fn gate_spec(hydration: &Hydration, partitions: BTreeMap<PartitionId, PartitionCut>) -> GateSpec {
    GateSpec {
        ts: hydration.ts,
        watermark: None,
        event_time: None,
        read_times: Vec::new(),
        max_future: 0,
        partitions,
        replay: Vec::new(),
        bytes_max: hydration.step_bytes,
    }
}
