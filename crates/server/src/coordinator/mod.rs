//! The coordinator: one thread that opens, seals and completes epochs, and orders checkpoints,
//! hydrations and DDL.
//!
//! Everything reaches it as a [`Message`]; it never waits for a worker, a reader or a client, only
//! for the next message or timer and for the fsync of a seal.
//!
//! Invariants: 1. an epoch is sealed (durable) before any worker may pass it. 2. one commit is under
//! way at a time; DDL waits for it, but not for operators that are to hand their state over.

mod access;
mod alter;
mod checkpoint;
mod ddl;
mod disk;
mod epochs;
mod failed;
mod history;
mod housekeeping;
mod hydrate;
mod jobs;
mod kept;
mod memory;
mod recover;
mod sinks;
mod sources;
mod tables;
mod watermark;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use millrace_dataflow::runtime::{Event, Events, FeedId, Runtime};
use millrace_dataflow::source::{Extent, SourceError};
use millrace_sql::Catalog;
use millrace_types::{Epoch, ObjectId, Report, SqlState, Ts};
use tokio::sync::oneshot;

use crate::error::ServerError;
use crate::shared::Shared;
use crate::sources::Connected;

pub use access::{Alteration, Draft, login_nonce};
pub(crate) use access::{revealed, secret_values};
pub use ddl::{NewView, Request};
pub(crate) use hydrate::source_report;
pub(crate) use kept::{LATE_ROWS, ON_ERROR};
pub(crate) use recover::built_source;
pub use recover::{BuiltSource, catalog_of, load_catalog, logged_now};
pub(crate) use tables::CHANGE_BYTES_MAX;
pub use tables::{TableChange, Told};

/// How many sealed epochs may wait for completion.
const IN_FLIGHT_MAX: usize = 4;
/// How many may wait while they are small: a view that has much to do in one of them, as when one row
/// joins with millions, does not keep the others from theirs. Workers know the watermarks of more.
const SMALL_IN_FLIGHT_MAX: usize = 2_000;
/// How long, at most, microseconds: who cannot keep up slows those down who write.
const SMALL_AGE_MAX_US: i64 = 10_000_000;
/// How many may wait then.
const OLD_IN_FLIGHT_MAX: usize = 100;
/// Bytes of rows that came in all of them together, for that.
const SMALL_BYTES_MAX: usize = 4 << 20;
/// How often status is posted and timers are looked at while nothing happens.
const IDLE_WAIT: Duration = Duration::from_millis(500);
/// The same while the disk is full.
const FULL_WAIT: Duration = Duration::from_millis(50);

/// What the coordinator is told.
pub enum Message {
    /// A gate has received rows, or a feed's status changed.
    Wake,
    /// A worker says something.
    Event(Event),
    /// A session asks for something; the answer goes into its channel.
    Request(Box<Request>),
    /// A statement has changed a table.
    Change(Box<TableChange>),
    /// Told the epoch that holds everything that has come so far, when it is sealed.
    Flush(oneshot::Sender<Result<Epoch, Report>>),
    /// The committer is done with a job.
    Committed(Box<checkpoint::Done>),
    /// A thread that the server cannot do without has failed.
    Failed(Box<ServerError>),
    /// A view has turned rows away.
    Late(Box<kept::Late>),
    /// Ends of a source, as asked just now.
    Ends(ObjectId, Result<Vec<Extent>, SourceError>),
    /// The sources of a job of an earlier life of the server have answered.
    Connected(ObjectId, Box<Result<Connected, ServerError>>),
    /// Checkpoint and end.
    Stop(std::sync::mpsc::Sender<()>),
}

/// The answer to a request.
pub type Reply = oneshot::Sender<Result<(), Report>>;

/// A running view.
struct View {
    uppers: Vec<Ts>,
    graph: Arc<millrace_dataflow::graph::Graph>,
    tables: millrace_dataflow::runtime::ViewTables,
    figures: Arc<millrace_dataflow::runtime::Figures>,
    sources: Vec<ObjectId>,
    /// Follows the seals from this epoch on; None while hydrating.
    live_from: Option<Epoch>,
    /// By worker, the time at which it has changes without rows.
    turns: Vec<Option<i64>>,
    /// Its changes, if they are kept.
    history: Option<Arc<crate::shared::History>>,
    keeps: history::Keeps,
}

/// A sealed epoch that not all views have completed.
struct InFlight {
    epoch: Epoch,
    sealed_at: i64,
    /// Of the rows that came in it.
    bytes: usize,
}

impl View {
    fn upper(&self) -> Ts {
        self.uppers.iter().copied().min().unwrap_or_default()
    }

    /// The time at which it has changes, if no rows come.
    fn turn(&self) -> Option<i64> {
        self.turns.iter().flatten().min().copied()
    }
}

/// See the module's documentation.
pub struct Coordinator {
    shared: Arc<Shared>,
    runtime: Runtime,
    inbox: Receiver<Message>,
    /// The epoch that rows arriving now belong to.
    open: Epoch,
    /// The last sealed epoch's clock.
    last_now: i64,
    /// Sources that live views read.
    sources: BTreeMap<ObjectId, sources::LiveSource>,
    views: BTreeMap<ObjectId, View>,
    /// Where the rows of tables go in.
    table_feeds: BTreeMap<ObjectId, FeedId>,
    /// What statements have changed in the open epoch.
    changes: Vec<TableChange>,
    /// Who waits for the next seal.
    flushes: Vec<oneshot::Sender<Result<Epoch, Report>>>,
    hydrations: BTreeMap<ObjectId, hydrate::Hydration>,
    /// Sealed epochs that a live view has not completed, with their seal time.
    in_flight: VecDeque<InFlight>,
    checkpoints: checkpoint::Checkpoints,
    housekeeping: housekeeping::Housekeeping,
    histories: history::Histories,
    sinks: sinks::Sinks,
    /// Requests that wait for the commit under way.
    waiting: VecDeque<Request>,
    ddl: ddl::Ddl,
    jobs: jobs::Jobs,
    kept: kept::Kept,
    /// By source, whether it stops at a message that is no row.
    stops: BTreeMap<ObjectId, Arc<AtomicBool>>,
    /// Logged epochs that recovery has not yet read again.
    replay: VecDeque<recover::Logged>,
    next_feed: u64,
    last_seal_at: i64,
    /// The last seal has moved a watermark.
    moved: bool,
    /// The clock at the last seal that has.
    moved_at: i64,
    last_post_at: i64,
    /// Bytes of resident memory at the last look.
    resident: usize,
    /// Bytes of published rows that no checkpoint holds yet, at the last look.
    staged: usize,
    shortage: memory::Shortage,
    disk: disk::Disk,
    stop: Option<std::sync::mpsc::Sender<()>>,
    stopping: bool,
}

impl Coordinator {
    /// Starts the workers, recovers, and runs until told to stop. Calls `ready` once recovery has
    /// rebuilt the dataflows.
    ///
    /// # Errors
    /// What keeps the server from starting.
    pub fn start(
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
    ) -> Result<Coordinator, ServerError> {
        let runtime = Runtime::start(shared.config.workers, events(&shared), shared.clock.shared())
            .map_err(ServerError::Thread)?;
        let checkpoints = checkpoint::Checkpoints::start(&shared)?;
        let housekeeping = housekeeping::Housekeeping::start(&shared)?;
        let mut coordinator = Coordinator {
            open: shared.store.checkpoint().next(),
            last_now: 0,
            runtime,
            inbox,
            sources: BTreeMap::new(),
            views: BTreeMap::new(),
            table_feeds: BTreeMap::new(),
            changes: Vec::new(),
            flushes: Vec::new(),
            hydrations: BTreeMap::new(),
            in_flight: VecDeque::new(),
            checkpoints,
            housekeeping,
            histories: history::Histories::default(),
            sinks: sinks::Sinks::default(),
            waiting: VecDeque::new(),
            ddl: ddl::Ddl::default(),
            jobs: jobs::Jobs::default(),
            kept: kept::Kept::nothing(),
            stops: BTreeMap::new(),
            replay: VecDeque::new(),
            next_feed: 1,
            last_seal_at: 0,
            moved: false,
            moved_at: 0,
            last_post_at: 0,
            resident: 0,
            staged: 0,
            shortage: memory::Shortage::default(),
            disk: disk::Disk::start(&shared),
            stop: None,
            stopping: false,
            shared,
        };
        coordinator.recover()?;
        Ok(coordinator)
    }

    /// Works until stopped.
    ///
    /// # Errors
    /// What ends the server: a failed write to the log or the data directory.
    pub fn run(mut self) -> Result<(), ServerError> {
        loop {
            match self.inbox.recv_timeout(self.wait()) {
                Ok(message) => {
                    self.message(message)?;
                    // What has gathered is looked at together, before the next seal.
                    while let Ok(message) = self.inbox.try_recv() {
                        self.message(message)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.turn()?;
            if self.stopping && !self.stop_unfinished() {
                if let Some(done) = self.stop.take() {
                    // Whoever waited may have given up.
                    done.send(()).unwrap_or_default();
                }
                return Ok(());
            }
        }
    }

    fn message(&mut self, message: Message) -> Result<(), ServerError> {
        match message {
            Message::Wake => {}
            Message::Event(event) => self.event(event),
            Message::Request(request) => self.waiting.push_back(*request),
            Message::Flush(reply) if self.stopping => drop(reply.send(Err(shutting_down()))),
            Message::Flush(reply) => match self.refuses_flush() {
                Some(report) => drop(reply.send(Err(report))),
                None => self.flushes.push(reply),
            },
            Message::Change(change) => self.stage(*change),
            Message::Late(late) => self.count_late(*late),
            Message::Committed(done) => self.committed(*done)?,
            Message::Failed(error) => return Err(*error),
            Message::Ends(source, ends) => self.ends(source, ends),
            Message::Connected(job, connected) => self.connected(job, *connected),
            Message::Stop(done) => {
                self.stop = Some(done);
                self.begin_stop();
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Upper { view, worker, upper } => {
                if let Some(found) = self.views.get_mut(&view) {
                    found.uppers[worker] = found.uppers[worker].max(upper);
                }
            }
            Event::Turn { view, worker, at } => {
                if let Some(found) = self.views.get_mut(&view) {
                    found.turns[worker] = at;
                }
            }
            Event::HandedOver { view, worker, mark, bytes, took_us } => {
                self.handed_over(view, worker, mark, (bytes, took_us));
            }
            Event::Damaged { view, reason } => self.fail_damaged(view, &reason),
            Event::Unpublished { view, worker } => self.unpublished(view, worker),
            // They have come as rows of a table.
            Event::Late { .. } => {}
        }
    }

    /// One round after messages: hydrations, the seal that is due, completion, requests, status.
    fn turn(&mut self) -> Result<(), ServerError> {
        let now = self.shared.clock.now();
        self.watch_disk(now);
        self.post_uppers();
        self.fail_unreadable();
        self.complete(now);
        self.replay_sealed(now);
        self.admit(now);
        self.drive_hydrations(now);
        self.leave_slow(now);
        self.drop_left();
        if self.seal_due(now) && self.may_seal(now) {
            self.seal(now)?;
        }
        self.start_commits()?;
        self.keep_house(now);
        self.keep_histories(now);
        self.run_sinks()?;
        self.post_status(now);
        self.gate_readers(now);
        Ok(())
    }

    fn wait(&self) -> Duration {
        if !self.waiting.is_empty() && !self.checkpoints.is_busy() {
            return Duration::ZERO;
        }
        // Rows that have come wait, and would be a reason to look again at once.
        if self.disk.is_full() {
            return FULL_WAIT;
        }
        let now = self.shared.clock.now();
        let busy = !self.hydrations.is_empty()
            || !self.jobs.queue.is_empty()
            || !self.changes.is_empty()
            || self.kept.is_waiting()
            || self.sources.values().any(|source| source.feed.gate.peek_changed());
        match busy {
            true if self.in_flight_full() => Duration::from_millis(20),
            true => {
                let due = self.last_seal_at.saturating_add(self.interval()).saturating_sub(now);
                let due = u64::try_from(due).unwrap_or(0).clamp(200, 20_000);
                Duration::from_micros(due)
            }
            false => match self.next_turn(now) {
                Some(at) => {
                    let due = at.max(self.last_seal_at.saturating_add(self.interval()));
                    let due = u64::try_from(due.saturating_sub(now)).unwrap_or(0);
                    Duration::from_micros(due.max(1_000)).min(IDLE_WAIT)
                }
                None => IDLE_WAIT,
            },
        }
    }

    fn next_feed(&mut self) -> FeedId {
        self.next_feed += 1;
        FeedId(self.next_feed)
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog()
    }
}

/// Passes on what workers say. Late rows are written down on the worker's own thread.
fn events(shared: &Arc<Shared>) -> Events {
    let (inbox, shared) = (shared.inbox.clone(), Arc::downgrade(shared));
    Arc::new(move |event| {
        let message = match event {
            Event::Late { view, ts, rows } => {
                let Some(shared) = shared.upgrade() else { return };
                Message::Late(Box::new(kept::late_rows(&shared, view, ts, rows)))
            }
            other => Message::Event(other),
        };
        // The inbox is closed only when the process ends.
        drop(inbox.send(message));
    })
}

/// The answer while the server ends.
fn shutting_down() -> Report {
    Report::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down")
}
