//! The sources that live views read: their shared feeds, and what is shown of them.
//!
//! A source may gain partitions while it is read. They are found when its ends are asked for, taken into
//! the gate at once and read when a logged epoch names them: that epoch has no row of theirs, so its end
//! is where they begin, for a recovery too. Until a source has said which partitions it has, since it was
//! opened and again now and then, its watermark stands still: what the known ones bring meanwhile would
//! close windows of which a new one holds rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use millrace_dataflow::ingest::{
    Cut, Feed, FeedSpec, Gate, GateSpec, Logged, OnError, PartitionCut,
};
use millrace_dataflow::runtime::{Command, FeedId};
use millrace_dataflow::source::{Columns, END_OF_TIME, Extent, SourceError, Span};
use millrace_plan::LeafKind;
use millrace_types::{ObjectId, PartitionId, Ts};

use super::watermark::{self, Rule};
use super::{BuiltSource, Coordinator, Message};
use crate::shared::{PartitionStatus, SourceStatus};

/// Bytes that an epoch may hold before readers wait for the cut.
const EPOCH_BYTES_MAX: usize = 8 << 20;
/// How often the ends of a source are asked for.
const ENDS_EVERY: Duration = Duration::from_secs(2);
/// How long a source may leave that question without an answer before its watermark stands still,
/// microseconds.
const ANSWER_MAX_US: i64 = 15_000_000;
/// So many answers in a row must say that what was read is gone: a leader may be new.
const LOST_ANSWERS: u32 = 3;
/// How often status is posted, microseconds.
const POST_EVERY_US: i64 = 250_000;

/// A source whose rows flow into live views.
pub(super) struct LiveSource {
    pub(super) feed: Feed,
    pub(super) id: FeedId,
    pub(super) watermark: Option<i64>,
    pub(super) rule: Option<Rule>,
    /// Clock when the feed was opened.
    pub(super) opened: i64,
    /// Where partitions end for good.
    lasts: BTreeMap<PartitionId, i64>,
    starts: BTreeMap<PartitionId, i64>,
    /// As the last sealed epoch has it. This is what is shown: what is not sealed may be taken back by a crash.
    pub(super) sealed: BTreeMap<PartitionId, PartitionCut>,
    /// Where the feed began: what is before that was, or is, counted by others.
    pub(super) begins: BTreeMap<PartitionId, i64>,
    ends: BTreeMap<PartitionId, i64>,
    /// The clock when the source last said which partitions it has, and where they end.
    answered_at: i64,
    /// Partitions that it has gained, to be read when they are in the log.
    gained: Vec<Span>,
    rates: BTreeMap<PartitionId, (i64, u64, f64)>,
    /// Ends the thread that asks for ends when dropped.
    _monitor: Sender<()>,
}

/// Where a shared feed starts.
pub(super) struct Opening {
    pub(super) partitions: BTreeMap<PartitionId, PartitionCut>,
    pub(super) watermark: Option<i64>,
    pub(super) ts: Ts,
    pub(super) replay: Vec<Logged>,
    /// Where the last logged epoch ends, if the log is to be read again.
    pub(super) ends: BTreeMap<PartitionId, i64>,
}

impl Coordinator {
    /// A gate whose rows go to the workers as those of `feed`.
    pub(super) fn gate(&self, feed: FeedId, spec: GateSpec) -> Arc<Gate> {
        let send = self.runtime.sender();
        Arc::new(Gate::new(
            spec,
            Arc::new(move |worker, ts, watermark, rows| {
                send(worker, Command::Rows { feed, ts, watermark, rows });
            }),
        ))
    }

    /// A name for the log.
    pub(super) fn name_of(&self, id: ObjectId) -> String {
        let catalog = self.catalog();
        catalog.get(id).map_or_else(|| id.to_string(), |object| object.name.clone())
    }

    pub(super) fn feed_spec(
        &self,
        id: ObjectId,
        built: &BuiltSource,
        spans: Vec<Span>,
        gate: Arc<Gate>,
    ) -> FeedSpec {
        let known = self.stops.get(&id).cloned();
        let stops = known.unwrap_or_else(|| Arc::new(AtomicBool::new(built.stops)));
        let on_error = OnError { stops, for_good: true, place: built.place.clone() };
        let inbox = self.shared.inbox.clone();
        FeedSpec {
            name: self.name_of(id),
            connector: built.connector.clone(),
            spans,
            columns: Columns::all(),
            decorator: built.decorator.clone(),
            gate,
            workers: self.shared.config.workers,
            clock: self.shared.clock.shared(),
            wait: (self.shared.config.epoch_interval / 10).max(Duration::from_millis(1)),
            // The inbox is closed only when the process ends.
            on_error,
            wake: Arc::new(move || drop(inbox.send(Message::Wake))),
        }
    }

    /// Opens the shared feed of a source.
    pub(super) fn open_source(
        &mut self,
        id: ObjectId,
        built: &BuiltSource,
        opening: Opening,
    ) -> Result<(), SourceError> {
        let feed = self.next_feed();
        let spans = opening
            .partitions
            .iter()
            .map(|(partition, cut)| Span { partition: *partition, from: cut.end, to: None })
            .collect();
        let begins = opening.partitions.iter().map(|(id, cut)| (*id, cut.end)).collect();
        let mut sealed = opening.partitions.clone();
        for (partition, end) in &opening.ends {
            sealed.entry(*partition).or_default().end = *end;
        }
        let watermark = opening.watermark;
        let ids = opening.partitions.keys();
        let lasts = ids.filter_map(|id| Some((*id, built.connector.last(*id)?))).collect();
        let gate = self.gate(
            feed,
            GateSpec {
                ts: opening.ts,
                watermark,
                event_time: built.event_time,
                read_times: built.decorator.read_times(),
                max_future: built.max_future,
                partitions: opening.partitions,
                replay: opening.replay,
                bytes_max: EPOCH_BYTES_MAX,
            },
        );
        self.subscribe_live(id, feed);
        self.stops.insert(id, Arc::new(AtomicBool::new(built.stops)));
        let mut spec = self.feed_spec(id, built, spans, gate);
        spec.on_error.for_good = false;
        let running = Feed::start(spec)?;
        let (stop, stopped) = crossbeam_channel::bounded(0);
        self.watch_ends(id, built, running.gate.clone(), stopped);
        let live = LiveSource {
            feed: running,
            id: feed,
            watermark,
            rule: built.rule,
            opened: self.shared.clock.now(),
            lasts,
            starts: built.starts.clone(),
            sealed,
            begins,
            ends: BTreeMap::new(),
            answered_at: i64::MIN,
            gained: Vec::new(),
            rates: BTreeMap::new(),
            _monitor: stop,
        };
        self.sources.insert(id, live);
        Ok(())
    }

    /// Recovery: views that are live already take the rows of the source's new feed.
    fn subscribe_live(&self, source: ObjectId, feed: FeedId) {
        for (id, view) in self.views.iter().filter(|(_, view)| view.live_from.is_some()) {
            for (leaf, stage) in view.graph.leaves.iter().enumerate() {
                if stage.leaf.kind == LeafKind::Source(source) {
                    let (view, from) = (*id, Ts::default());
                    self.runtime.broadcast(&Command::Subscribe { view, leaf, feed, from });
                }
            }
        }
    }

    /// Asks for the ends of a source now and then, for the lag, to confirm idleness, and to see whether it
    /// still has what was read.
    fn watch_ends(
        &self,
        source: ObjectId,
        built: &BuiltSource,
        gate: Arc<Gate>,
        stopped: crossbeam_channel::Receiver<()>,
    ) {
        let (connector, place) = (built.connector.clone(), built.place.clone());
        let inbox = self.shared.inbox.clone();
        let watch = move || {
            let mut lost = 0;
            loop {
                // Before the question: what is read meanwhile says nothing about the answer.
                let reached = gate.reached();
                let mut ends = connector.extents(Duration::from_secs(5));
                let told = ends.as_ref().ok().filter(|_| connector.is_stored());
                let reason = told.and_then(|ends| what_is_lost(ends, &reached));
                lost = if reason.is_some() { lost + 1 } else { 0 };
                if let Some(reason) = reason.filter(|_| lost >= LOST_ANSWERS) {
                    ends = Err(SourceError::Gone(format!("{place} {reason}")));
                }
                if inbox.send(Message::Ends(source, ends)).is_err() {
                    return;
                }
                match stopped.recv_timeout(ENDS_EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let name = format!("ends-{source}");
        if let Err(error) = std::thread::Builder::new().name(name).spawn(watch) {
            tracing::error!(%error, "cannot watch the ends of a source");
        }
    }

    pub(super) fn ends(&mut self, source: ObjectId, ends: Result<Vec<Extent>, SourceError>) {
        let now = self.shared.clock.now();
        let name = self.name_of(source);
        let Some(live) = self.sources.get_mut(&source) else { return };
        let extents = match ends {
            Ok(extents) => extents,
            Err(SourceError::Gone(reason)) => return live.feed.fail(reason),
            // The feed tells of a broker that is away; here it only means that nothing is confirmed.
            Err(SourceError::Unreachable(_) | SourceError::Invalid(_)) => return,
        };
        live.answered_at = now;
        for extent in extents {
            if live.gain(&extent, now) {
                let Extent { partition, first, .. } = extent;
                tracing::info!(source = name, %partition, first, "a source has gained a partition");
            }
            live.ends.insert(extent.partition, extent.end);
            live.feed.gate.confirm_end(extent.partition, extent.end, now);
        }
    }

    /// An epoch has been logged that names all partitions of the gates: those that are new are read.
    pub(super) fn read_gained(&mut self) {
        for (id, live) in self.sources.iter_mut().filter(|(_, live)| !live.gained.is_empty()) {
            match live.feed.read(&live.gained) {
                Ok(()) => live.gained.clear(),
                // With the next epoch it is tried again.
                Err(error) => {
                    tracing::warn!(%error, source = %id, "a new partition cannot be read yet");
                }
            }
        }
    }

    /// Ends the feeds of sources that no view reads any more.
    pub(super) fn close_unread_sources(&mut self) {
        let read: Vec<ObjectId> =
            self.views.values().flat_map(|view| view.sources.iter().copied()).collect();
        self.sources.retain(|id, _| read.contains(id));
        let mut board = self.shared.board.lock();
        for (id, status) in &mut board.sources {
            status.running &= self.sources.contains_key(id);
        }
    }

    /// Posts what is shown of the sources.
    pub(super) fn post_status(&mut self, now: i64) {
        if now.saturating_sub(self.last_post_at) < POST_EVERY_US {
            return;
        }
        self.last_post_at = now;
        self.look_at_memory(now);
        self.runtime.set_short(self.is_short());
        self.count_staged();
        let posted: Vec<_> =
            self.sources.iter_mut().map(|(id, live)| (*id, live.status(now))).collect();
        let jobs = self.jobs();
        let mut board = self.shared.board.lock();
        board.sources.extend(posted);
        board.jobs = jobs;
        drop(board);
        self.post_kept();
        self.shared.changed();
    }
}

/// What a source does not have any more of what was read of it, in words. Ends do not fall.
fn what_is_lost(extents: &[Extent], reached: &BTreeMap<PartitionId, i64>) -> Option<String> {
    let end = |id: &PartitionId| extents.iter().find(|e| e.partition == *id).map_or(0, |e| e.end);
    let lost = |(id, reached): &(&PartitionId, &i64)| end(id) < **reached;
    let (id, reached) = reached.iter().find(lost)?;
    let end = end(id);
    Some(format!(
        "partition {id} ends at offset {end}, but was read up to offset {reached}: it has lost messages, or the \
         topic was made anew; drop the source and create it again to go on with what is there"
    ))
}

impl LiveSource {
    /// Takes a partition in, if it is new. Its rows hold the watermark back from here on, which does not
    /// fall for them.
    fn gain(&mut self, extent: &Extent, now: i64) -> bool {
        let (partition, from) = (extent.partition, extent.first);
        // Whoever writes there has its idle timeout for the first row.
        let cut = PartitionCut { end: from, last_row_at: now, ..PartitionCut::default() };
        let is_new = self.feed.gate.add(partition, cut);
        if is_new {
            self.starts.insert(partition, from);
            self.begins.insert(partition, from);
            self.gained.push(Span { partition, from, to: None });
        }
        is_new
    }

    /// The watermark after a cut at `now`.
    pub(super) fn watermark_after(&self, cut: &Cut, now: i64) -> Option<i64> {
        let rule = self.rule?;
        if watermark::has_ended(&cut.partitions, &self.lasts) {
            return Some(END_OF_TIME);
        }
        if !rule.by_clock && now.saturating_sub(self.answered_at) > ANSWER_MAX_US {
            return self.watermark;
        }
        watermark::watermark(&cut.partitions, rule, self.opened, now, self.watermark)
    }

    pub(super) fn status(&mut self, now: i64) -> SourceStatus {
        let cut = self.feed.gate.peek();
        let feed = self.feed.status();
        let mut partitions = BTreeMap::new();
        for (id, gated) in cut.partitions {
            let idle = self.rule.is_some_and(|rule| watermark::is_idle(&gated, rule, self.opened));
            let partition = self.sealed.get(&id).copied().unwrap_or_default();
            let rate = self.rate(id, now, partition.rows);
            let start = self.starts.get(&id).copied().unwrap_or_default();
            let end = self.ends.get(&id).map(|end| (*end).max(partition.end));
            partitions.insert(id, PartitionStatus { start, cut: partition, end, idle, rate });
        }
        SourceStatus {
            partitions,
            watermark: self.watermark.filter(|watermark| *watermark != END_OF_TIME),
            unreachable: feed.unreachable,
            failed: feed.failed,
            stopped: feed.stopped.into_values().next(),
            running: true,
        }
    }

    /// Rows a second, over two seconds or more.
    fn rate(&mut self, partition: PartitionId, now: i64, rows: u64) -> f64 {
        let (since, before, rate) = self.rates.entry(partition).or_insert((now, rows, 0.0));
        let elapsed = now - *since;
        if elapsed >= 2_000_000 {
            let new = u32::try_from(rows - *before).map_or(f64::from(u32::MAX), f64::from);
            let micros = u32::try_from(elapsed).map_or(f64::from(u32::MAX), f64::from);
            *rate = new * 1e6 / micros;
            (*since, *before) = (now, rows);
        }
        *rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_ends_below_what_was_read_has_lost_something() {
        let extent = |partition, end| Extent { partition: PartitionId(partition), first: 0, end };
        let reached = BTreeMap::from([(PartitionId(0), 7), (PartitionId(1), 3)]);
        assert_eq!(what_is_lost(&[extent(0, 7), extent(1, 9)], &reached), None);
        let told = what_is_lost(&[extent(0, 7), extent(1, 2)], &reached).unwrap();
        assert!(told.contains("partition 1 ends at offset 2, but was read up to offset 3"));
        let gone = what_is_lost(&[extent(1, 3)], &reached).unwrap();
        assert!(gone.contains("partition 0 ends at offset 0"), "{gone}");
    }
}
