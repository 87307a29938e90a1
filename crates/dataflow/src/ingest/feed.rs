//! A feed: the reader threads of one source and the gate that they deliver to.
//!
//! Partitions are spread over workers by number; each worker's partitions have one thread. A broker
//! that is away is retried with growing pauses; data that is gone ends the feed with an error that
//! the coordinator shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use millrace_types::PartitionId;
use parking_lot::Mutex;

use crate::ingest::{Decorator, Gate};
use crate::source::{BadRow, Columns, Connector, Limits, Reader, SourceError, Span};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
const KEPT_BAD_ROWS: usize = 1_000;

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
    /// The newest bad messages, with their partition.
    pub bad: Vec<(PartitionId, BadRow)>,
}

/// A running feed; ends its threads when dropped.
pub struct Feed {
    /// Where its rows pass.
    pub gate: Arc<Gate>,
    status: Arc<Mutex<FeedStatus>>,
    threads: Vec<JoinHandle<()>>,
}

impl Feed {
    /// Opens the readers and starts their threads.
    ///
    /// # Errors
    /// What the connector says when a reader cannot be opened; threads that cannot be started.
    pub fn start(spec: FeedSpec) -> Result<Feed, SourceError> {
        let spec = Arc::new(spec);
        let status = Arc::new(Mutex::new(FeedStatus::default()));
        let mut groups: BTreeMap<usize, Vec<Span>> = BTreeMap::new();
        for span in &spec.spans {
            let number = usize::try_from(span.partition.0).unwrap_or(0);
            groups.entry(number % spec.workers).or_default().push(*span);
        }
        let mut threads = Vec::new();
        for (worker, spans) in groups {
            let reader = spec.connector.reader_of(&spans, &spec.columns)?;
            let run = Run { spec: spec.clone(), status: status.clone(), worker };
            let thread = std::thread::Builder::new()
                .name(format!("reader-{worker}"))
                .spawn(move || run.run(reader))
                .map_err(|error| SourceError::Unreachable(format!("no thread: {error}")))?;
            threads.push(thread);
        }
        Ok(Feed { gate: spec.gate.clone(), status, threads })
    }

    /// Why it has ended for good, if it has.
    pub fn failed(&self) -> Option<String> {
        self.status.lock().failed.clone()
    }

    /// Takes over what another feed of the same source has counted and kept of rows before.
    pub fn adopt(&self, other: &Feed) {
        self.gate.adopt(&other.gate.peek().partitions);
        let bad = other.status.lock().bad.clone();
        self.status.lock().bad.splice(..0, bad);
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
        while self.spec.gate.wait_for_room() {
            match reader.poll(limits) {
                Ok(chunks) => {
                    pause = PAUSE_FIRST;
                    self.reachable();
                    for chunk in chunks {
                        let now = (self.spec.clock)();
                        let chunk = self.spec.decorator.decorate(chunk, now);
                        self.keep_bad(chunk.partition, &chunk.bad);
                        self.spec.gate.deliver(self.worker, &chunk, now);
                        (self.spec.wake)();
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

    fn keep_bad(&self, partition: PartitionId, bad: &[BadRow]) {
        if bad.is_empty() {
            return;
        }
        let mut status = self.status.lock();
        status.bad.extend(bad.iter().map(|row| (partition, row.clone())));
        let over = status.bad.len().saturating_sub(KEPT_BAD_ROWS);
        status.bad.drain(..over);
    }
}
