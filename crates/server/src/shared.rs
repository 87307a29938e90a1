//! What sessions and the coordinator share: the store, the catalog, and the board where the
//! coordinator posts how far everything is.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::Sender;
use millrace_dataflow::ingest::PartitionCut;
use millrace_dataflow::runtime::Figures;
use millrace_sql::ast::ObjectKind;
use millrace_sql::{Catalog, RoleId};
use millrace_storage::{Store, Table};
use millrace_types::{Epoch, ObjectId, PartitionId, Report, SqlState, Ts};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::access::Guard;
use crate::clock::Clock;
use crate::config::Config;
use crate::coordinator::Message;
use crate::locks::Locks;
use crate::metrics::Durations;
use crate::queries::Queries;
use crate::sequences::Sequences;
use crate::sessions::Sessions;

/// The tables that a running view is read from.
#[derive(Clone)]
pub struct Readable {
    /// Its rows.
    pub content: Arc<Table>,
    /// Rows whose evaluation failed.
    pub errors: Arc<Table>,
}

/// The changes of a view, kept for those who follow it.
pub struct History {
    /// The changes, see `millrace_dataflow::runtime::history_schema`.
    pub table: Arc<Table>,
    /// The first epoch whose changes have been kept.
    pub since: Epoch,
    /// The first epoch whose changes are still kept; only grows.
    trimmed: AtomicU64,
    /// Who follows holds one.
    follower: Arc<()>,
}

impl History {
    /// A history that begins with an epoch.
    pub fn new(table: Arc<Table>, since: Epoch) -> History {
        History { table, since, trimmed: AtomicU64::default(), follower: Arc::default() }
    }

    /// The first epoch whose changes are all there.
    pub fn first(&self) -> Epoch {
        self.since.max(Epoch(self.trimmed.load(Ordering::SeqCst)))
    }

    /// Changes of earlier epochs go with the next checkpoint.
    pub fn trim(&self, first: Epoch) {
        self.trimmed.fetch_max(first.0, Ordering::SeqCst);
    }

    /// Says that somebody follows while it is held.
    pub fn follow(&self) -> Arc<()> {
        Arc::clone(&self.follower)
    }

    /// True while somebody does.
    pub fn is_followed(&self) -> bool {
        Arc::strong_count(&self.follower) > 1
    }
}

/// How far a view is.
#[derive(Clone)]
pub struct ViewStatus {
    /// Where it is read from.
    pub tables: Readable,
    /// The first time not yet complete on all workers.
    pub upper: Ts,
    /// Recovery: it answers once its upper has passed this epoch.
    pub readable_from: Epoch,
    /// Why it has stopped; None while it runs.
    pub failed: Option<String>,
    /// Bytes of operator state at the last checkpoint.
    pub state_bytes: usize,
    /// What its operators have done; None if it has stopped.
    pub figures: Option<Arc<Figures>>,
    /// Its changes, if they are kept.
    pub history: Option<Arc<History>>,
}

impl ViewStatus {
    /// The last complete epoch, once the view may be read.
    pub fn complete(&self) -> Option<Epoch> {
        let complete = self.upper.epoch().previous();
        (complete >= self.readable_from).then_some(complete)
    }
}

/// One partition of a source, for `millrace.sources`.
#[derive(Clone, Debug, Default)]
pub struct PartitionStatus {
    /// The offset where the source starts.
    pub start: i64,
    /// Where reading stands, with its counters.
    pub cut: PartitionCut,
    /// The end as last confirmed.
    pub end: Option<i64>,
    /// True if it does not hold the watermark back.
    pub idle: bool,
    /// Rows a second over the last seconds.
    pub rate: f64,
}

/// How a source is doing.
#[derive(Clone, Debug, Default)]
pub struct SourceStatus {
    /// Its partitions; empty while no view reads it.
    pub partitions: BTreeMap<PartitionId, PartitionStatus>,
    /// The watermark, microseconds.
    pub watermark: Option<i64>,
    /// Since when (microseconds) and why it cannot be reached.
    pub unreachable: Option<(i64, String)>,
    /// Why it has stopped.
    pub failed: Option<String>,
    /// The message that is no row at which it has stopped, if it is to stop at one.
    pub stopped: Option<String>,
    /// True while a view reads it.
    pub running: bool,
}

/// One epoch, for `millrace.epochs`.
#[derive(Clone, Copy, Debug)]
pub struct EpochStatus {
    /// The epoch.
    pub epoch: Epoch,
    /// Clock at its seal, microseconds.
    pub sealed_at: i64,
    /// Microseconds that the seal took.
    pub seal_us: i64,
    /// Microseconds from the seal until all views had completed it.
    pub complete_us: Option<i64>,
    /// Bytes read in it.
    pub bytes: usize,
    /// It is a checkpoint.
    pub checkpoint: bool,
}

/// How a sink is doing.
#[derive(Clone, Debug, Default)]
pub struct SinkStatus {
    /// What it does.
    pub state: SinkState,
    /// Since when, microseconds.
    pub since: i64,
    /// The last epoch that it has sent and committed.
    pub position: Option<Epoch>,
    /// Messages written since the server began.
    pub messages: u64,
    /// Why it does not go on.
    pub error: Option<String>,
}

/// What a sink does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkState {
    /// It opens the other end.
    #[default]
    Starting,
    /// It sends the rows that were there.
    Snapshot,
    /// It follows.
    Running,
    /// It tries again and again.
    Retrying,
    /// The same, but a person must act.
    Refused,
    /// It has ended: only a new one helps.
    Failed,
}

impl SinkState {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            SinkState::Starting => "starting",
            SinkState::Snapshot => "snapshot",
            SinkState::Running => "running",
            SinkState::Retrying => "retrying",
            SinkState::Refused => "refused",
            SinkState::Failed => "failed",
        }
    }
}

/// A view that is being filled.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// The number of the job: that of the view.
    pub id: ObjectId,
    /// The view's name.
    pub view: String,
    /// Whose it is.
    pub owner: RoleId,
    /// What it will be: a view, a table that a topic fills, an index.
    pub kind: ObjectKind,
    /// Where it stands.
    pub state: JobState,
    /// How much has been read: offsets of sources, rows of tables and views.
    pub read: i64,
    /// How much is to be read; None while that is not known.
    pub total: Option<i64>,
    /// How much of what has been read the last checkpoint holds: a crash would not lose it.
    pub kept: i64,
    /// What it is filled from, and the views that its query names.
    pub needs: Vec<ObjectId>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for others, or for memory.
    Queued,
    /// It is under way.
    Running,
    /// It has ended with this reason.
    Failed(String),
}

impl JobStatus {
    /// How far it is, in per cent; 100 only when all has been read, None while nobody knows how much
    /// there is.
    pub fn percent(&self) -> Option<i64> {
        self.total.map(|total| match total {
            0 => 100,
            total => (self.read.saturating_mul(100) / total).clamp(0, 100),
        })
    }

    /// One word for where it stands.
    pub fn word(&self) -> &'static str {
        match self.state {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Failed(_) => "failed",
        }
    }

    /// Why it has ended, if it has.
    pub fn error(&self) -> Option<&str> {
        match &self.state {
            JobState::Failed(reason) => Some(reason),
            JobState::Queued | JobState::Running => None,
        }
    }
}

/// How long things took, since the start.
#[derive(Default)]
pub struct BoardFigures {
    /// From the seal of an epoch until all views had completed it.
    pub epochs: Durations,
    /// The records of epochs.
    pub seals: Durations,
    /// For a checkpoint, how long the worker that took longest handed over and did nothing else.
    pub hand_overs: Durations,
    /// Writing and committing checkpoints.
    pub checkpoints: Durations,
    /// Bytes of the last checkpoint.
    pub checkpoint_bytes: u64,
}

/// Counts sessions.
#[derive(Default)]
pub struct Connections {
    open: AtomicUsize,
    opened: AtomicU64,
}

impl Connections {
    /// A session has begun; it has ended when what comes is dropped.
    pub fn open(shared: &Arc<Shared>) -> OpenConnection {
        shared.connections.open.fetch_add(1, Ordering::Relaxed);
        shared.connections.opened.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(shared))
    }

    /// Sessions that are open, and all since the start.
    pub fn read(&self) -> (usize, u64) {
        (self.open.load(Ordering::Relaxed), self.opened.load(Ordering::Relaxed))
    }
}

/// A session, counted while it is there.
pub struct OpenConnection(Arc<Shared>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A table of what was not taken.
#[derive(Clone, Debug)]
pub struct KeptStatus {
    /// Its name in schema `millrace`.
    pub table: &'static str,
    /// Its rows.
    pub rows: usize,
    /// Rows that have gone, as there were too many or they were too old.
    pub gone: u64,
}

/// How it stands with the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskStatus {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes that are kept in reserve.
    pub reserve: u64,
    /// Nothing is taken that makes data grow.
    pub full: bool,
}

impl DiskStatus {
    /// What a statement is told for which there is no room.
    pub fn report(&self, dir: &Path) -> Report {
        let dir = dir.display();
        let message = format!("could not write to data directory \"{dir}\": its disk is full");
        let (free, reserve) = (self.free, self.reserve);
        let detail = format!("{free} bytes are free, {reserve} are kept in reserve.");
        let hint = format!(
            "Make room on the file system of \"{dir}\" ({free} bytes are free), or DROP what is not \
             needed. Reads go on; writes are taken again by themselves."
        );
        Report::new(SqlState::DISK_FULL, message).detail(detail).hint(hint)
    }
}

/// How far everything is.
#[derive(Default)]
pub struct Board {
    /// The views that run.
    pub views: BTreeMap<ObjectId, ViewStatus>,
    /// The sources.
    pub sources: BTreeMap<ObjectId, SourceStatus>,
    /// The sinks.
    pub sinks: BTreeMap<ObjectId, SinkStatus>,
    /// The last epochs, oldest first.
    pub epochs: VecDeque<EpochStatus>,
    /// The last committed checkpoint.
    pub checkpoint: Epoch,
    /// Clock at its commit, microseconds.
    pub checkpoint_at: i64,
    /// Views that are being filled.
    pub jobs: Vec<JobStatus>,
    /// The server is ending.
    pub stopping: bool,
    /// Late rows were found that are not in `millrace.late_rows` yet.
    pub late_waits: bool,
    /// The last epoch that brought rows to `millrace.late_rows`.
    pub late_listed: Epoch,
    /// How many rows each view has turned away.
    pub late_counts: BTreeMap<ObjectId, u64>,
    /// The tables of what was not taken.
    pub kept: Vec<KeptStatus>,
    /// How it stands with the disk.
    pub disk: DiskStatus,
    /// How long things took.
    pub figures: BoardFigures,
}

/// Shared by everything in the process.
pub struct Shared {
    /// The options.
    pub config: Config,
    /// Durable data.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Clock,
    /// How far everything is.
    pub board: Mutex<Board>,
    /// Counts changes of the board; sessions wait on it.
    pub changes: watch::Sender<u64>,
    /// To the coordinator.
    pub inbox: Sender<Message>,
    /// The sessions.
    pub connections: Connections,
    /// What they do.
    pub sessions: Sessions,
    /// What their statements calculate.
    pub queries: Arc<Queries>,
    /// The last epoch with an acknowledged change of a table.
    pub changed_at: AtomicU64,
    /// Who may come in.
    pub guard: Guard,
    catalog: RwLock<Arc<Catalog>>,
    /// Held by who changes a table.
    pub locks: Arc<Locks>,
    /// What sessions have agreed on.
    pub advisory_locks: Arc<millrace_pg::catalog::AdvisoryLocks>,
    /// The next hidden key of a row.
    next_row: Mutex<i64>,
    /// The numbers that columns take.
    pub(crate) sequences: Sequences,
}

/// What a data directory gives when it is opened.
pub struct Opened {
    /// Its data.
    pub store: Arc<Store>,
    /// The clock, which goes on where it was.
    pub clock: Clock,
    /// Its catalog.
    pub catalog: Catalog,
}

impl Shared {
    /// Puts the parts together.
    pub fn new(
        config: Config,
        opened: Opened,
        guard: Guard,
        queries: Arc<Queries>,
        inbox: Sender<Message>,
    ) -> Shared {
        let Opened { store, clock, catalog } = opened;
        let sessions = Sessions::new(clock.now());
        Shared {
            sessions,
            config,
            store,
            clock,
            board: Mutex::default(),
            changes: watch::Sender::new(0),
            inbox,
            connections: Connections::default(),
            queries,
            guard,
            changed_at: AtomicU64::default(),
            catalog: RwLock::new(Arc::new(catalog)),
            locks: Arc::default(),
            advisory_locks: Arc::default(),
            next_row: Mutex::default(),
            sequences: Sequences::default(),
        }
    }

    /// New hidden keys of rows. They grow with the clock, in nanoseconds: it never goes back over a
    /// restart, and no server inserts a row each nanosecond.
    pub fn row_ids(&self, count: usize) -> std::ops::Range<i64> {
        let mut next = self.next_row.lock();
        let first = self.clock.now().saturating_mul(1_000).max(*next);
        *next = first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        first..*next
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().clone()
    }

    /// Replaces the catalog; only the coordinator does, after the commit.
    pub fn set_catalog(&self, catalog: Catalog) {
        *self.catalog.write() = Arc::new(catalog);
    }

    /// Tells waiting sessions that the board has changed.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}
