//! The gate of a feed: tags chunks with the open time and counts what each epoch holds.
//!
//! A reader delivers a chunk under the gate's lock; the coordinator cuts under the same lock. So a
//! chunk is wholly in one epoch, the counts of the cut are exact, and everything that was sent to a
//! worker before the cut was sent before the seal. During recovery the gate cuts chunks at the
//! logged end offsets instead, so that each row comes back under its own epoch.
//!
//! Rows have one time of reading per epoch, that of the epoch's first row: the record of the epoch holds
//! it, and a recovery gives them the same one.
//!
//! Invariants: 1. chunks of one partition arrive in order (asserted in `deliver`). 2. the open
//! time only grows (asserted in `cut`). 3. no row is delivered under an epoch whose logged end it
//! is not below. 4. a time of reading is not below the clock at the cut before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use millrace_types::{Delta, Epoch, PartitionId, Ts};
use parking_lot::{Condvar, Mutex};

use crate::ingest::Decorated;
use crate::ingest::decorate::{rows_below, stamped};
use crate::source::BadRow;

/// The end of one partition in one logged epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedEnd {
    /// The epoch.
    pub epoch: Epoch,
    /// The first offset that does not belong to it.
    pub end: i64,
}

/// What the log says of a source in one epoch.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The epoch.
    pub epoch: Epoch,
    /// The watermark before it.
    pub watermark: Option<i64>,
    /// The time of reading of its rows.
    pub read_at: Option<i64>,
    /// Where it ended in each partition.
    pub ends: BTreeMap<PartitionId, i64>,
}

/// What a gate starts from.
#[derive(Clone, Debug)]
pub struct GateSpec {
    /// The open time.
    pub ts: Ts,
    /// The watermark before it.
    pub watermark: Option<i64>,
    /// The event time column of the decorated rows.
    pub event_time: Option<usize>,
    /// The columns that hold the time of reading, of which the gate makes one per epoch.
    pub read_times: Vec<usize>,
    /// How far ahead of the clock an event time may be and still move the watermark, microseconds.
    pub max_future: i64,
    /// Where each partition stands, with its counters so far.
    pub partitions: BTreeMap<PartitionId, PartitionCut>,
    /// Recovery: the logged epochs above the checkpoint, ascending.
    pub replay: Vec<Logged>,
    /// Bytes that one cut may hold before readers pause.
    pub bytes_max: usize,
}

/// One partition at a cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionCut {
    /// The offset after the last delivered row.
    pub end: i64,
    /// Greatest event time so far that was not from the future, microseconds.
    pub max_event_time: Option<i64>,
    /// Clock at the arrival of the last row, microseconds; 0 before any.
    pub last_row_at: i64,
    /// Clock when the source last confirmed that the partition was read to its end; 0 before.
    pub at_end_at: i64,
    /// Rows delivered, ever.
    pub rows: u64,
    /// Messages that were no rows, ever.
    pub malformed: u64,
    /// Rows from the future, ever.
    pub future: u64,
}

/// A message that is no row, with where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMessage {
    /// The partition.
    pub partition: PartitionId,
    /// The message.
    pub row: BadRow,
    /// The clock when it was read, microseconds.
    pub at: i64,
}

/// What a cut gives.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Every partition.
    pub partitions: BTreeMap<PartitionId, PartitionCut>,
    /// The time of reading of its rows, if there are any and it matters.
    pub read_at: Option<i64>,
    /// Bytes delivered since the cut before.
    pub bytes: usize,
    /// True if rows or positions changed since the cut before.
    pub changed: bool,
    /// Messages that were no rows, since the cut before; none when one only looks.
    pub bad: Vec<BadMessage>,
}

struct Partition {
    cut: PartitionCut,
    replay: VecDeque<LoggedEnd>,
}

struct State {
    ts: Ts,
    watermark: Option<i64>,
    partitions: BTreeMap<PartitionId, Partition>,
    /// Of each logged epoch the watermark before it and the time of reading.
    replayed: BTreeMap<Epoch, (Option<i64>, Option<i64>)>,
    /// The time of reading of the open epoch, once it has rows.
    read_at: Option<i64>,
    /// The clock at the last cut.
    cut_at: i64,
    bytes: usize,
    bytes_max: usize,
    changed: bool,
    bad: Vec<BadMessage>,
    stopped: bool,
    paused: bool,
}

impl State {
    /// True when the open time is full. While a partition has not passed the log nothing is cut, so that its
    /// rows must come, whatever the others have brought.
    fn has_no_room(&self) -> bool {
        self.bytes >= self.bytes_max && self.partitions.values().all(|p| p.replay.is_empty())
    }

    fn counted(&self) -> Cut {
        let partitions = self.partitions.iter().map(|(id, p)| (*id, p.cut)).collect();
        let (read_at, bytes, changed) = (self.read_at, self.bytes, self.changed);
        Cut { partitions, read_at, bytes, changed, bad: Vec::new() }
    }
}

/// Receives what a gate lets through: `(time, watermark before it, rows)` for one worker.
pub type Sink = Arc<dyn Fn(usize, Ts, Option<i64>, Delta) + Send + Sync>;

/// See the module's documentation.
pub struct Gate {
    state: Mutex<State>,
    moved: Condvar,
    sink: Sink,
    event_time: Option<usize>,
    read_times: Vec<usize>,
    max_future: i64,
}

impl Gate {
    /// A gate that passes rows to `sink`.
    pub fn new(spec: GateSpec, sink: Sink) -> Gate {
        let mut partitions: BTreeMap<PartitionId, Partition> = spec
            .partitions
            .into_iter()
            .map(|(id, cut)| (id, Partition { cut, replay: VecDeque::new() }))
            .collect();
        let mut replayed = BTreeMap::new();
        for Logged { epoch, watermark, read_at, ends } in spec.replay {
            replayed.insert(epoch, (watermark, read_at));
            for (id, end) in ends {
                if let Some(partition) = partitions.get_mut(&id) {
                    partition.replay.push_back(LoggedEnd { epoch, end });
                }
            }
        }
        for partition in partitions.values_mut() {
            drop_reached(partition);
        }
        let state = State {
            ts: spec.ts,
            watermark: spec.watermark,
            partitions,
            replayed,
            read_at: None,
            cut_at: i64::MIN,
            bytes: 0,
            bytes_max: spec.bytes_max,
            changed: false,
            bad: Vec::new(),
            stopped: false,
            paused: false,
        };
        Gate {
            state: Mutex::new(state),
            moved: Condvar::new(),
            sink,
            event_time: spec.event_time,
            read_times: spec.read_times,
            max_future: spec.max_future,
        }
    }

    /// Passes a chunk on to a worker, cut at logged epochs where recovery has not passed them.
    /// `now` is the clock at arrival, microseconds.
    pub fn deliver(&self, worker: usize, chunk: &Decorated, now: i64) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(partition) = state.partitions.get_mut(&chunk.partition) else { return };
        let end = partition.cut.end;
        assert!(chunk.to >= end, "partition {} went back from {end}", chunk.partition);
        let mut rest = chunk.rows.clone();
        while let Some(logged) = partition.replay.front().copied() {
            let count = rows_below(&rest, logged.end);
            let piece = rest.slice(0, count);
            rest = rest.slice(count, rest.num_rows() - count);
            let known = state.replayed.get(&logged.epoch).copied();
            let (watermark, read_at) = known.unwrap_or_default();
            if count > 0 {
                let piece = match read_at {
                    Some(time) => stamped(piece, &self.read_times, time),
                    None => piece,
                };
                (self.sink)(worker, logged.epoch.ts(), watermark, Delta::constant(piece, 1));
            }
            partition.cut.end = chunk.to.min(logged.end);
            if chunk.to < logged.end {
                break;
            }
            drop_reached(partition);
        }
        if partition.replay.is_empty() {
            let bytes = chunk.bytes;
            if rest.num_rows() > 0 && !self.read_times.is_empty() {
                let time = *state.read_at.get_or_insert(now.max(state.cut_at));
                rest = stamped(rest, &self.read_times, time);
            }
            let new = |row: &&BadRow| row.offset >= partition.cut.end;
            let message =
                |row: &BadRow| BadMessage { partition: chunk.partition, row: row.clone(), at: now };
            state.bad.extend(chunk.bad.iter().filter(new).map(message));
            self.count(&mut partition.cut, chunk, &rest, now);
            let live =
                partition.cut.end != chunk.to || rest.num_rows() > 0 || !chunk.bad.is_empty();
            partition.cut.end = chunk.to;
            state.bytes += bytes;
            state.changed |= live;
            if rest.num_rows() > 0 {
                (self.sink)(worker, state.ts, state.watermark, Delta::constant(rest, 1));
            }
        }
        drop(guard);
        self.moved.notify_all();
    }

    fn count(
        &self,
        cut: &mut PartitionCut,
        chunk: &Decorated,
        rows: &arrow::array::RecordBatch,
        now: i64,
    ) {
        let bad = chunk.bad.iter().filter(|bad| bad.offset >= cut.end).count();
        cut.malformed += u64::try_from(bad).expect("a count fits");
        cut.rows += u64::try_from(rows.num_rows()).expect("a count fits");
        if rows.num_rows() > 0 {
            cut.last_row_at = now;
        }
        if chunk.at_end {
            cut.at_end_at = now;
        }
        let Some(column) = self.event_time else { return };
        let limit = now.saturating_add(self.max_future);
        let times = rows.column(column).as_primitive::<TimestampMicrosecondType>();
        let (mut greatest, mut future) = (cut.max_event_time, 0u64);
        for row in 0..times.len() {
            if times.is_valid(row) {
                match times.value(row) {
                    time if time > limit => future += 1,
                    time => greatest = greatest.max(Some(time)),
                }
            }
        }
        cut.max_event_time = greatest;
        cut.future += future;
    }

    /// Ends the open time at `now`: `next` sees the counts and gives the time and watermark to open.
    /// While it runs nothing is delivered.
    pub fn cut(&self, now: i64, next: impl FnOnce(&Cut) -> (Ts, Option<i64>)) -> Cut {
        let mut state = self.state.lock();
        let mut cut = state.counted();
        let (ts, watermark) = next(&cut);
        cut.bad = std::mem::take(&mut state.bad);
        assert!(ts >= state.ts, "the open time went back from {} to {ts}", state.ts);
        state.ts = ts;
        state.watermark = watermark;
        state.read_at = None;
        state.cut_at = state.cut_at.max(now);
        state.bytes = 0;
        state.changed = false;
        drop(state);
        self.moved.notify_all();
        cut
    }

    /// Looks without cutting.
    pub fn peek(&self) -> Cut {
        self.state.lock().counted()
    }

    /// True if rows or positions have changed since the last cut.
    pub fn peek_changed(&self) -> bool {
        self.state.lock().changed
    }

    /// Takes in a partition that the source has gained, from the open time on; nothing of it has been
    /// delivered before. False if it is there already.
    pub fn add(&self, partition: PartitionId, cut: PartitionCut) -> bool {
        let mut state = self.state.lock();
        if state.partitions.contains_key(&partition) {
            return false;
        }
        state.partitions.insert(partition, Partition { cut, replay: VecDeque::new() });
        state.changed = true;
        true
    }

    /// Takes over what another gate of the same source has counted, for rows before this one's.
    pub fn adopt(&self, counted: &BTreeMap<PartitionId, PartitionCut>) {
        let mut state = self.state.lock();
        for (id, other) in counted {
            if let Some(found) = state.partitions.get_mut(id) {
                found.cut.rows += other.rows;
                found.cut.malformed += other.malformed;
                found.cut.future += other.future;
                found.cut.max_event_time = found.cut.max_event_time.max(other.max_event_time);
            }
        }
        state.changed |= !counted.is_empty();
    }

    /// The source has just confirmed the end of a partition.
    pub fn confirm_end(&self, partition: PartitionId, end: i64, now: i64) {
        let mut state = self.state.lock();
        if let Some(found) = state.partitions.get_mut(&partition)
            && found.cut.end >= end
        {
            found.cut.at_end_at = now;
        }
    }

    /// Where each partition stands, or how far the log has it.
    pub fn reached(&self) -> BTreeMap<PartitionId, i64> {
        let state = self.state.lock();
        let logged = |part: &Partition| part.replay.back().map_or(i64::MIN, |logged| logged.end);
        let reached = |part: &Partition| part.cut.end.max(logged(part));
        state.partitions.iter().map(|(id, partition)| (*id, reached(partition))).collect()
    }

    /// The first offset of a partition that no logged epoch holds.
    pub fn live_from(&self, partition: PartitionId) -> i64 {
        let state = self.state.lock();
        let found = state.partitions.get(&partition);
        let logged = found.and_then(|found| found.replay.back().map(|logged| logged.end));
        logged.unwrap_or(i64::MIN)
    }

    /// True when every row of a logged epoch, and of those before it, has been delivered.
    pub fn replayed(&self, epoch: Epoch) -> bool {
        let state = self.state.lock();
        state.partitions.values().all(|p| p.replay.front().is_none_or(|l| l.epoch > epoch))
    }

    /// True when the open time holds as many bytes as it may.
    pub fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.bytes >= state.bytes_max
    }

    /// Changes how many bytes one cut may hold.
    pub fn set_bytes_max(&self, bytes: usize) {
        self.state.lock().bytes_max = bytes;
        self.moved.notify_all();
    }

    /// Keeps readers from polling while `paused`.
    pub fn pause(&self, paused: bool) {
        self.state.lock().paused = paused;
        self.moved.notify_all();
    }

    /// Makes readers end.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.moved.notify_all();
    }

    /// Waits until there is room; false when the feed has been stopped.
    pub(crate) fn wait_for_room(&self) -> bool {
        let mut state = self.state.lock();
        while !state.stopped && (state.paused || state.has_no_room()) {
            self.moved.wait(&mut state);
        }
        !state.stopped
    }

    /// Waits, at most so long; false when the feed has been stopped.
    pub(crate) fn rest(&self, time: std::time::Duration) -> bool {
        let mut state = self.state.lock();
        if !state.stopped {
            self.moved.wait_for(&mut state, time);
        }
        !state.stopped
    }
}

fn drop_reached(partition: &mut Partition) {
    while partition.replay.front().is_some_and(|logged| logged.end <= partition.cut.end) {
        partition.replay.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;
    use millrace_types::OFFSET_COLUMN;

    use super::*;

    type Sent = Arc<Mutex<Vec<(u64, Vec<i64>)>>>;
    type Batches = Arc<Mutex<Vec<RecordBatch>>>;

    fn chunk(from: i64, to: i64) -> Decorated {
        let offsets: Vec<i64> = (from..to).collect();
        let times =
            TimestampMicrosecondArray::from(offsets.iter().map(|o| o * 10).collect::<Vec<_>>());
        let rows = RecordBatch::try_from_iter([
            ("ts", Arc::new(times) as arrow::array::ArrayRef),
            (OFFSET_COLUMN, Arc::new(Int64Array::from(offsets))),
        ]);
        Decorated {
            partition: PartitionId(0),
            from,
            to,
            rows: rows.unwrap(),
            bad: Vec::new(),
            bytes: 100,
            at_end: false,
        }
    }

    fn gate(replay: Vec<Logged>) -> (Gate, Sent) {
        let sent: Sent = Arc::default();
        let into = sent.clone();
        let sink: Sink = Arc::new(move |_, ts, _, delta: Delta| {
            let offsets = delta.rows.column(1).as_primitive::<Int64Type>().values().to_vec();
            into.lock().push((ts.epoch().0, offsets));
        });
        (Gate::new(spec(replay), sink), sent)
    }

    fn spec(replay: Vec<Logged>) -> GateSpec {
        GateSpec {
            ts: Epoch(9).ts(),
            watermark: None,
            event_time: Some(0),
            read_times: Vec::new(),
            max_future: 1_000,
            partitions: BTreeMap::from([(PartitionId(0), PartitionCut::default())]),
            replay,
            bytes_max: 1_000,
        }
    }

    fn logged(epoch: u64, end: i64, read_at: Option<i64>) -> Logged {
        let ends = BTreeMap::from([(PartitionId(0), end)]);
        Logged { epoch: Epoch(epoch), watermark: None, read_at, ends }
    }

    #[test]
    fn a_replayed_chunk_is_cut_at_the_logged_ends() {
        let end = |epoch, end| logged(epoch, end, None);
        let (gate, sent) = gate(vec![end(5, 2), end(6, 2), end(7, 5)]);
        gate.deliver(0, &chunk(0, 3), 0);
        assert!(gate.replayed(Epoch(6)) && !gate.replayed(Epoch(7)));
        gate.deliver(0, &chunk(3, 8), 0);
        assert!(gate.replayed(Epoch(7)));
        let wanted = [(5, vec![0, 1]), (7, vec![2]), (7, vec![3, 4]), (9, vec![5, 6, 7])];
        assert_eq!(*sent.lock(), wanted);
        let cut = gate.peek().partitions[&PartitionId(0)];
        assert_eq!((cut.end, cut.rows), (8, 3), "replayed rows are counted in the log already");
    }

    #[test]
    fn a_full_time_keeps_no_row_back_that_the_log_has() {
        let (gate, _) = gate(vec![logged(5, 4, None)]);
        assert!(gate.add(PartitionId(1), PartitionCut::default()));
        let large = Decorated { partition: PartitionId(1), bytes: 1_000, ..chunk(0, 3) };
        gate.deliver(0, &large, 0);
        assert!(gate.is_full() && gate.wait_for_room(), "another partition reads the log");
        gate.deliver(0, &chunk(0, 4), 0);
        assert!(gate.state.lock().has_no_room(), "all have passed it");
    }

    #[test]
    fn rows_from_the_future_count_but_do_not_move_the_watermark() {
        let (gate, _) = gate(Vec::new());
        gate.deliver(0, &chunk(0, 200), 500);
        let cut = gate.cut(0, |_| (Epoch(10).ts(), None)).partitions[&PartitionId(0)];
        assert_eq!(cut.max_event_time, Some(1_500));
        assert_eq!(cut.future, 49);
    }

    #[test]
    fn a_partition_that_is_gained_counts_from_the_open_time_on() {
        let (gate, sent) = gate(Vec::new());
        let begin = PartitionCut { end: 7, ..PartitionCut::default() };
        let of_one = |from, to| Decorated { partition: PartitionId(1), ..chunk(from, to) };
        gate.deliver(0, &of_one(7, 9), 0);
        assert!(sent.lock().is_empty(), "nobody knows the partition");
        assert!(gate.add(PartitionId(1), begin) && !gate.add(PartitionId(1), begin));
        assert!(gate.peek_changed(), "the log is to name it before it is read");
        let cut = gate.cut(0, |_| (Epoch(10).ts(), None));
        assert_eq!(cut.partitions[&PartitionId(1)], begin);
        gate.deliver(0, &of_one(7, 9), 0);
        assert_eq!(*sent.lock(), [(10, vec![7, 8])]);
    }

    #[test]
    fn a_cut_ends_the_open_time() {
        let (gate, sent) = gate(Vec::new());
        gate.deliver(0, &chunk(0, 1), 0);
        assert!(gate.cut(0, |_| (Epoch(10).ts(), None)).changed);
        gate.deliver(0, &chunk(1, 2), 0);
        assert_eq!(sent.lock().iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [9, 10]);
        gate.cut(0, |_| (Epoch(11).ts(), None));
        assert!(!gate.peek().changed);
    }

    #[test]
    fn rows_have_one_time_of_reading_per_epoch_and_that_of_the_log_when_they_come_again() {
        let sent: Batches = Arc::default();
        let into = sent.clone();
        let sink: Sink = Arc::new(move |_, _, _, delta: Delta| into.lock().push(delta.rows));
        let replay = vec![logged(5, 2, Some(70)), logged(6, 2, None)];
        let gate = Gate::new(GateSpec { read_times: vec![0], ..spec(replay) }, sink);
        gate.deliver(0, &chunk(0, 3), 500);
        gate.deliver(0, &chunk(3, 4), 510);
        assert_eq!(gate.cut(600, |_| (Epoch(10).ts(), None)).read_at, Some(500));
        // The clock was asked before the cut.
        gate.deliver(0, &chunk(4, 5), 590);
        assert_eq!(gate.peek().read_at, Some(600));
        let times = |rows: &RecordBatch| {
            rows.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()
        };
        let times: Vec<Vec<i64>> = sent.lock().iter().map(times).collect();
        assert_eq!(times, [vec![70, 70], vec![500], vec![500], vec![600]]);
        assert_eq!(gate.cut(700, |_| (Epoch(11).ts(), None)).read_at, Some(600));
        assert_eq!(gate.peek().read_at, None, "an epoch without rows has none");
    }
}
