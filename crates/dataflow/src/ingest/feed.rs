//! A feed: the reader threads of one source and the gate that they deliver to.
//!
//! Partitions are spread over workers by number; each worker's partitions have one thread. A broker
//! that is away is retried with growing pauses; data that is gone ends the feed with an error that
//! the coordinator shows.
//!
//! A source may be told to stop at a message that is no row. What comes before it in its partition is
//! delivered; then all readers of the feed wait, until the source is told otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use millrace_types::PartitionId;
use parking_lot::Mutex;

use crate::ingest::{Decorated, Decorator, Gate};
use crate::source::{Columns, Connector, Limits, Reader, SourceError, Span};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// How often a feed that has stopped looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a message that is no row does to a feed.
#[derive(Clone, Debug)]
pub struct OnError {
    /// It stops the feed; may change while it runs.
    pub stops: Arc<AtomicBool>,
    /// A feed that stops has failed for good: nobody waits for it to go on.
    pub for_good: bool,
    /// What partitions are of, for messages: `topic "iot"`.
    pub place: String,
}

/// What a feed is made of.
pub struct FeedSpec {
    /// The source's name, for the log.
    pub name: String,
    /// The source.
    pub connector: Arc<dyn Connector>,
    /// What to read.
    pub spans: Vec<Span>,
    /// The columns of the connector that the feed's views read.
    pub columns: Columns,
    /// Computes computed columns.
    pub decorator: Arc<Decorator>,
    /// Where rows go.
    pub gate: Arc<Gate>,
    /// How many workers there are.
    pub workers: usize,
    /// The clock, microseconds.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// How long a poll may wait for rows.
    pub wait: Duration,
    /// What a message that is no row does.
    pub on_error: OnError,
    /// Called after each delivery and each change of status.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// How a feed is doing.
#[derive(Clone, Debug, Default)]
pub struct FeedStatus {
    /// Since when the source cannot be reached (clock, microseconds) and why.
    pub unreachable: Option<(i64, String)>,
    /// Why the feed has ended for good.
    pub failed: Option<String>,
    /// By partition, the message at which it has stopped.
    pub stopped: BTreeMap<PartitionId, String>,
}

/// A running feed; ends its threads when dropped.
pub struct Feed {
    /// Where its rows pass.
    pub gate: Arc<Gate>,
    spec: Arc<FeedSpec>,
    status: Arc<Mutex<FeedStatus>>,
    threads: Vec<JoinHandle<()>>,
}

impl Feed {
    /// Opens the readers and starts their threads.
    ///
    /// # Errors
    /// What the connector says when a reader cannot be opened; threads that cannot be started.
    pub fn start(spec: FeedSpec) -> Result<Feed, SourceError> {
        let (gate, spec) = (spec.gate.clone(), Arc::new(spec));
        let status = Arc::new(Mutex::new(FeedStatus::default()));
        let mut feed = Feed { gate, spec: spec.clone(), status, threads: Vec::new() };
        feed.read(&spec.spans)?;
        Ok(feed)
    }

    /// Reads spans of partitions that nobody reads yet, with readers of their own.
    ///
    /// # Errors
    /// As for [`Feed::start`]; if a reader cannot be opened, none of the spans is read.
    pub fn read(&mut self, spans: &[Span]) -> Result<(), SourceError> {
        let mut groups: BTreeMap<usize, Vec<Span>> = BTreeMap::new();
        for span in spans {
            let number = usize::try_from(span.partition.0).unwrap_or(0);
            groups.entry(number % self.spec.workers).or_default().push(*span);
        }
        let mut readers = Vec::new();
        for (worker, spans) in groups {
            readers.push((worker, self.spec.connector.reader_of(&spans, &self.spec.columns)?));
        }
        for (worker, reader) in readers {
            let run = Run { spec: self.spec.clone(), status: self.status.clone(), worker };
            let thread = std::thread::Builder::new()
                .name(format!("reader-{worker}"))
                .spawn(move || run.run(reader))
                .map_err(|error| SourceError::Unreachable(format!("no thread: {error}")))?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// It cannot go on.
    pub fn fail(&self, reason: String) {
        tracing::error!(source = self.spec.name, reason, "a source has stopped");
        self.status.lock().failed.get_or_insert(reason);
    }

    /// Why it has ended for good, if it has.
    pub fn failed(&self) -> Option<String> {
        self.status.lock().failed.clone()
    }

    /// True while its source cannot be reached.
    pub fn is_unreachable(&self) -> bool {
        self.status.lock().unreachable.is_some()
    }

    /// How it is doing.
    pub fn status(&self) -> FeedStatus {
        self.status.lock().clone()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.gate.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reader thread panicked");
            }
        }
    }
}

struct Run {
    spec: Arc<FeedSpec>,
    status: Arc<Mutex<FeedStatus>>,
    worker: usize,
}

impl Run {
    fn run(&self, mut reader: Box<dyn Reader>) {
        let limits = Limits { rows: 16_384, bytes: 4 << 20, wait: self.spec.wait };
        let mut pause = PAUSE_FIRST;
        while self.spec.gate.wait_for_room() && self.wait_while_stopped() {
            match reader.poll(limits) {
                Ok(chunks) => {
                    pause = PAUSE_FIRST;
                    self.reachable();
                    for chunk in chunks {
                        let now = (self.spec.clock)();
                        let chunk = self.spec.decorator.decorate(chunk, now);
                        if !self.deliver(chunk, now) {
                            return;
                        }
                    }
                }
                Err(SourceError::Unreachable(reason)) => {
                    self.unreachable(reason);
                    if !self.spec.gate.rest(pause) {
                        return;
                    }
                    pause = (pause * 2).min(PAUSE_LONGEST);
                }
                Err(SourceError::Gone(reason) | SourceError::Invalid(reason)) => {
                    tracing::error!(source = self.spec.name, reason, "a source has stopped");
                    self.status.lock().failed = Some(reason);
                    (self.spec.wake)();
                    return;
                }
            }
        }
    }

    fn reachable(&self) {
        let mut status = self.status.lock();
        if let Some((_, reason)) = status.unreachable.take() {
            drop(status);
            tracing::info!(source = self.spec.name, reason, "a source is reachable again");
        }
    }

    fn unreachable(&self, reason: String) {
        let mut status = self.status.lock();
        let since = match &status.unreachable {
            Some((since, _)) => *since,
            None => {
                let name = &self.spec.name;
                tracing::warn!(source = name, reason, "a source cannot be reached, trying again");
                (self.spec.clock)()
            }
        };
        status.unreachable = Some((since, reason));
        drop(status);
        (self.spec.wake)();
    }

    /// Passes a chunk on, up to a message that stops the feed and, once it may go on, from there. False
    /// when the feed has ended.
    fn deliver(&self, chunk: Decorated, now: i64) -> bool {
        let mut rest = chunk;
        while let Some((offset, reason)) = self.stops_at(&rest) {
            let (before, after) = rest.split(offset);
            self.spec.gate.deliver(self.worker, &before, now);
            self.stop(rest.partition, offset, &reason);
            if self.spec.on_error.for_good || !self.wait_while_stopped() {
                return false;
            }
            rest = after;
        }
        self.spec.gate.deliver(self.worker, &rest, now);
        (self.spec.wake)();
        true
    }

    /// The first message of a chunk at which the feed has to stop. What the log holds was let pass.
    fn stops_at(&self, chunk: &Decorated) -> Option<(i64, String)> {
        if chunk.bad.is_empty() || !self.spec.on_error.stops.load(Ordering::SeqCst) {
            return None;
        }
        let live = self.spec.gate.live_from(chunk.partition);
        let bad = chunk.bad.iter().find(|bad| bad.offset >= live)?;
        Some((bad.offset, bad.reason.clone()))
    }

    fn stop(&self, partition: PartitionId, offset: i64, reason: &str) {
        let place = &self.spec.on_error.place;
        let reason = format!("{place}, partition {partition}, offset {offset}: {reason}");
        let source = &self.spec.name;
        tracing::error!(source, reason, "a source has stopped at a message that is no row");
        let mut status = self.status.lock();
        if self.spec.on_error.for_good {
            status.failed = Some(reason.clone());
        }
        status.stopped.insert(partition, reason);
        drop(status);
        (self.spec.wake)();
    }

    /// Waits while the feed has stopped at a message; false when it has ended.
    fn wait_while_stopped(&self) -> bool {
        while !self.status.lock().stopped.is_empty() {
            if !self.spec.on_error.stops.load(Ordering::SeqCst) {
                let mut status = self.status.lock();
                if !status.stopped.is_empty() {
                    status.stopped.clear();
                    tracing::info!(source = self.spec.name, "a source goes on");
                }
                drop(status);
                (self.spec.wake)();
                return true;
            }
            if self.spec.on_error.for_good || !self.spec.gate.rest(LOOK_EVERY) {
                return false;
            }
        }
        true
    }
}
