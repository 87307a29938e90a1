//! Checkpoints and commits: one committer thread, one commit under way at a time.
//!
//! A checkpoint is marked when its epoch is sealed; operators hand their changes over; when all
//! have, the committer writes one segment and commits it together with the catalog changes that
//! waited for it. Segments are written off the workers' and the coordinator's path.
//!
//! DDL does not wait for operators to hand over, only for a write under way. A view that is being
//! filled and works at one step for long leaves the checkpoint that waits for it; what it hands over
//! all the same goes with the next one that it takes part in.
//!
//! Invariants: 1. a commit names a checkpoint only after every live view has handed over and
//! published everything up to it (`ready`). 2. a view that has been unpublished is gone from the
//! catalog before a checkpoint is committed that would hold less of it than it had
//! (`start_commits`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crossbeam_channel::Sender;
use millrace_sql::Object;
use millrace_storage::{Commit, EpochRecord, Op, Store, Table};
use millrace_types::{Epoch, ObjectId, Report, TableId, Ts};

use super::hydrate::forget_place;
use super::{Coordinator, Message, Reply};
use crate::clock::{Clock, micros};
use crate::error::ServerError;
use crate::memory;
use crate::shared::Shared;

/// The key of the record of the last checkpoint, beside the catalog.
pub(super) const RECORD_KEY: &[u8] = b"checkpoint-record";

/// See [`Coordinator::staged_max`].
const STAGED_BYTES_MAX: usize = 384 << 20;
/// Into how many parts the time between two checkpoints is cut when memory is short: what changes in one is in
/// memory several times while it is handed over and written.
const SHORT_PARTS: i64 = 4;

/// What the committer does.
struct Job {
    epoch: Option<Epoch>,
    flush: Vec<(TableId, Arc<Table>, Ts)>,
    drop_tables: Vec<TableId>,
    /// What rides along, and with another checkpoint if this one is given up.
    riding: Vec<Op>,
    ops: Vec<Op>,
    then: Then,
    /// Memory is short.
    short: bool,
}

/// What follows a commit.
#[derive(Default)]
pub(super) struct Then {
    /// A new catalog to show.
    pub(super) catalog: Option<millrace_sql::Catalog>,
    /// Sessions to answer.
    pub(super) replies: Vec<Reply>,
    /// Sessions that are told something else than that all is well.
    pub(super) answers: Vec<(Reply, Result<(), Report>)>,
    /// Views whose creation is now durable.
    pub(super) created: Vec<ObjectId>,
    /// Those of them that have waited for a checkpoint.
    pub(super) attached: Vec<Attached>,
    /// Views whose drop is now durable.
    pub(super) dropped: Vec<ObjectId>,
    /// Hydrations whose place is now durable, with what they have read.
    pub(super) kept: Vec<(ObjectId, i64)>,
}

/// What the committer says.
pub struct Done {
    epoch: Option<Epoch>,
    took_us: i64,
    bytes: u64,
    outcome: Outcome,
}

/// What has become of a commit.
enum Outcome {
    Committed(Box<Then>),
    /// The disk has no room for the segment; nothing has changed.
    NoRoom(Box<Job>),
    Failed(ServerError),
}

/// A view that waits for the checkpoint that makes it durable.
pub(super) struct Attached {
    pub(super) view: ObjectId,
    pub(super) live_from: Epoch,
    pub(super) object: millrace_sql::Object,
    /// Who waits for it; none in the background.
    pub(super) reply: Option<Reply>,
}

struct Pending {
    epoch: Epoch,
    record: EpochRecord,
    /// The views that take part.
    members: BTreeSet<ObjectId>,
    waiting: BTreeSet<(ObjectId, usize)>,
    bytes: BTreeMap<ObjectId, usize>,
    /// By worker, how long it has handed over and did nothing else, microseconds.
    took_us: BTreeMap<usize, i64>,
}

/// See the module's documentation.
pub(super) struct Checkpoints {
    jobs: Sender<Job>,
    busy: bool,
    pending: Option<Pending>,
    last_record: Option<EpochRecord>,
    pub(super) attached: Vec<Attached>,
    /// Views that the commit under way makes durable.
    pub(super) creating: Vec<Object>,
    /// Tables of views that never came to be; the next commit drops them.
    pub(super) orphans: Vec<TableId>,
    /// Catalog changes that ride with the next checkpoint.
    pub(super) riding: Vec<Op>,
    wanted: bool,
    last_at: i64,
    cost_us: i64,
}

impl Checkpoints {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Checkpoints, ServerError> {
        let (jobs, inbox) = crossbeam_channel::unbounded::<Job>();
        let (store, clock) = (shared.store.clone(), shared.clock.clone());
        let out = shared.inbox.clone();
        let run = move || {
            for job in inbox {
                let done = commit(&store, &clock, job);
                if out.send(Message::Committed(Box::new(done))).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("committer".into())
            .spawn(run)
            .map_err(ServerError::Thread)?;
        Ok(Checkpoints {
            jobs,
            busy: false,
            pending: None,
            last_record: None,
            attached: Vec::new(),
            creating: Vec::new(),
            orphans: Vec::new(),
            riding: Vec::new(),
            wanted: false,
            last_at: shared.clock.now(),
            cost_us: 0,
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.busy && self.pending.is_none()
    }

    /// True while a commit is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// True if a statement waits for the next checkpoint.
    pub(super) fn is_awaited(&self) -> bool {
        !self.attached.is_empty()
    }

    /// True while a checkpoint waits for a view.
    pub(super) fn waits_for(&self, view: ObjectId) -> bool {
        let waits = |pending: &Pending| pending.waiting.iter().any(|(id, _)| *id == view);
        self.pending.as_ref().is_some_and(waits)
    }

    /// The checkpoint under way goes on without a view; what this has handed over stays in its tables.
    pub(super) fn leave(&mut self, view: ObjectId) {
        let Some(pending) = &mut self.pending else { return };
        pending.waiting.retain(|(id, _)| *id != view);
        pending.members.remove(&view);
    }

    pub(super) fn seal_cost_us(&self) -> i64 {
        self.cost_us
    }

    /// Asks for a checkpoint at the next seal.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// The server ends without one.
    pub(super) fn want_no_more(&mut self) {
        self.wanted = false;
    }

    /// An epoch has been logged at a cost; it is a checkpoint if `hand_over`.
    pub(super) fn sealed(
        &mut self,
        epoch: Epoch,
        record: EpochRecord,
        cost: i64,
        hand_over: bool,
        now: i64,
    ) {
        self.cost_us = (self.cost_us * 7 + cost.max(0)) / 8;
        if hand_over {
            self.wanted = false;
            self.last_at = now;
            self.pending = Some(Pending {
                epoch,
                record,
                members: BTreeSet::new(),
                waiting: BTreeSet::new(),
                bytes: BTreeMap::new(),
                took_us: BTreeMap::new(),
            });
        }
    }

    fn submit(&mut self, job: Job) -> Result<(), ServerError> {
        self.busy = true;
        self.jobs.send(job).map_err(|_| ServerError::CommitterGone)
    }
}

/// Runs on the committer's thread.
fn commit(store: &Store, clock: &Clock, job: Job) -> Done {
    let begun = clock.now();
    let before = store.counters().checkpoint_bytes;
    let epoch = job.epoch;
    let short = job.short;
    let outcome = match write(store, &job) {
        Ok(commit) => finish(store, job, commit),
        Err(error) if error.is_disk_full() => Outcome::NoRoom(Box::new(job)),
        Err(error) => Outcome::Failed(error.into()),
    };
    if short {
        memory::give_back();
    }
    let took_us = clock.now() - begun;
    let bytes = store.counters().checkpoint_bytes.saturating_sub(before);
    Done { epoch, took_us, bytes, outcome }
}

/// Writes what a checkpoint flushes; nothing depends on it yet.
fn write(store: &Store, job: &Job) -> Result<Commit, millrace_storage::Error> {
    let (mut trims, mut parts) = (Vec::new(), Vec::new());
    for (id, table, upto) in &job.flush {
        let mark = table.expired(*upto).filter(|_| job.epoch.is_some());
        trims.extend(mark.map(|mark| (*id, mark)));
        if let Some(change) = table.flush(*upto)? {
            parts.push((*id, change));
        }
    }
    let mut segments = Vec::new();
    if !parts.is_empty() {
        segments.push(store.write_segment(parts)?);
    }
    Ok(Commit { epoch: job.epoch, segments, trims, ..Commit::default() })
}

fn finish(store: &Store, job: Job, commit: Commit) -> Outcome {
    let Job { drop_tables, mut riding, ops, then, .. } = job;
    riding.extend(ops);
    match store.commit(Commit { drop_tables, ops: riding, ..commit }) {
        Ok(()) => Outcome::Committed(Box::new(then)),
        Err(error) => Outcome::Failed(error.into()),
    }
}

impl Coordinator {
    /// True if a commit is waiting for the next seal, or the interval has passed.
    pub(super) fn checkpoint_due(&self, now: i64) -> bool {
        let mut every = micros(self.shared.config.checkpoint_interval);
        if self.is_short() {
            every /= SHORT_PARTS;
        }
        self.checkpoints.is_idle()
            && self.may_checkpoint()
            && (self.checkpoints.wanted
                || now.saturating_sub(self.checkpoints.last_at) >= every
                || self.staged > self.staged_max())
    }

    /// True if a seal is wanted even without data.
    pub(super) fn seal_wanted(&self) -> bool {
        self.checkpoints.wanted && self.checkpoints.is_idle() && self.may_checkpoint()
    }

    /// Bytes of published rows above which they are written: an eighth of the budget, and no more
    /// than keeps a sort of them short.
    pub(super) fn staged_max(&self) -> usize {
        (self.shared.config.memory_limit / 8).min(STAGED_BYTES_MAX)
    }

    /// Counts the bytes of published rows that no checkpoint holds yet.
    pub(super) fn count_staged(&mut self) {
        let history = |view: &super::View| view.history.as_ref().map_or(0, |h| h.table.bytes());
        let bytes = |view: &super::View| view.tables.content.bytes() + history(view);
        self.staged = self.views.values().map(bytes).sum();
    }

    /// The views that must hand over for a checkpoint at `epoch`: those that are live when it is
    /// sealed, and those whose hydration takes part.
    pub(super) fn expect_hand_over(&mut self, epoch: Epoch, now: i64) {
        let workers = self.runtime.workers();
        let live = |from: Option<Epoch>| from.is_some_and(|from| from <= epoch);
        let views = self.views.iter().filter(|(_, view)| live(view.live_from)).map(|(id, _)| *id);
        let mut members: BTreeSet<ObjectId> = views.collect();
        members.extend(self.places_due(epoch, now));
        let waiting = members.iter().flat_map(|id| (0..workers).map(move |worker| (*id, worker)));
        let waiting = waiting.collect();
        if let Some(pending) = &mut self.checkpoints.pending {
            (pending.members, pending.waiting) = (members, waiting);
        }
    }

    /// A worker has handed the state of a view over. What comes for a checkpoint that the view has left
    /// waits in its tables for the next one that it takes part in.
    pub(super) fn handed_over(
        &mut self,
        view: ObjectId,
        worker: usize,
        mark: Ts,
        (bytes, took_us): (usize, i64),
    ) {
        let pending = self.checkpoints.pending.as_mut().filter(|p| p.epoch.ts() == mark);
        if let Some(pending) = pending
            && pending.waiting.remove(&(view, worker))
        {
            *pending.bytes.entry(view).or_default() += bytes;
            *pending.took_us.entry(worker).or_default() += took_us;
        }
    }

    /// A dropped view hands nothing over any more.
    pub(super) fn forget_hand_over(&mut self, view: ObjectId) {
        if let Some(pending) = &mut self.checkpoints.pending {
            pending.waiting.retain(|(id, _)| *id != view);
            pending.members.remove(&view);
        }
    }

    /// Starts the next commit if none is under way: ends of jobs and drops, then a checkpoint that is
    /// ready, then requests. These do not wait for a checkpoint whose operators are still to hand over.
    pub(super) fn start_commits(&mut self) -> Result<(), ServerError> {
        if !self.checkpoints.busy && self.has_endings() {
            self.commit_endings()?;
        }
        if !self.checkpoints.busy {
            self.commit_drops()?;
        }
        let pending = self.checkpoints.pending.as_ref();
        let ready = pending.is_some_and(|pending| {
            pending.waiting.is_empty()
                && !self.kept.is_behind(pending.epoch)
                && !pending.members.iter().any(|id| self.is_dropping(*id))
        });
        if !self.checkpoints.busy && ready {
            self.commit_checkpoint()?;
        }
        while !self.checkpoints.busy
            && let Some(request) = self.waiting.pop_front()
        {
            self.request(request)?;
            // CANCEL JOB has told what is to be committed.
            if !self.checkpoints.busy && self.has_endings() {
                self.commit_endings()?;
            }
        }
        Ok(())
    }

    /// Gives up views that wait for a checkpoint and whose client has cancelled or gone.
    pub(super) fn drop_left(&mut self) {
        let left = |attached: &Attached| attached.reply.as_ref().is_some_and(Reply::is_closed);
        let attached = self.checkpoints.attached.iter();
        let left: Vec<ObjectId> = attached.filter(|a| left(a)).map(|a| a.view).collect();
        for view in left {
            self.give_up(view);
        }
    }

    fn commit_checkpoint(&mut self) -> Result<(), ServerError> {
        let Some(pending) = self.checkpoints.pending.take() else { return Ok(()) };
        let epoch = pending.epoch;
        let mut flush = Vec::new();
        for view in pending.members.iter().filter_map(|id| self.views.get(id)) {
            flush.extend(all_tables(view).map(|t| (t.id(), t, epoch.ts())));
        }
        let mut riding = std::mem::take(&mut self.checkpoints.riding);
        riding.extend(self.kept.ops(epoch));
        let mut ops = vec![Op::Put(RECORD_KEY.to_vec(), pending.record.encode())];
        ops.extend(self.sink_positions());
        let (places, kept) = self.place_ops(epoch)?;
        ops.extend(places);
        let mut then = Then { kept, ..Then::default() };
        let ready = |attached: &Attached| {
            attached.live_from <= epoch && pending.members.contains(&attached.view)
        };
        let (now, later) =
            std::mem::take(&mut self.checkpoints.attached).into_iter().partition(ready);
        self.checkpoints.attached = later;
        let now: Vec<Attached> = now;
        let mut catalog = (!now.is_empty()).then(|| (*self.catalog()).clone());
        for attached in now {
            ops.extend(self.created_ops(&attached.object)?);
            self.checkpoints.creating.push(attached.object.clone());
            catalog = catalog.map(|catalog| catalog.with(attached.object.clone()));
            then.created.push(attached.view);
            then.attached.push(attached);
        }
        // What has gone live without being part of this checkpoint has no place in it either.
        let later =
            self.checkpoints.attached.iter().filter(|attached| reads_views(&attached.object));
        ops.extend(later.map(|attached| forget_place(attached.view)));
        then.catalog = catalog;
        self.post_hand_over(&pending);
        self.checkpoints.last_record = Some(pending.record);
        let drop_tables = std::mem::take(&mut self.checkpoints.orphans);
        let short = self.is_short();
        let epoch = Some(epoch);
        self.checkpoints.submit(Job { epoch, flush, drop_tables, riding, ops, then, short })
    }

    fn post_hand_over(&self, pending: &Pending) {
        let longest_us = pending.took_us.values().max().copied().unwrap_or(0);
        tracing::debug!(epoch = %pending.epoch, longest_us, "operators have handed over");
        let mut board = self.shared.board.lock();
        board.figures.hand_overs.add(longest_us);
        for (view, bytes) in &pending.bytes {
            if let Some(status) = board.views.get_mut(view) {
                status.state_bytes = *bytes;
            }
        }
    }

    /// Commits catalog changes alone.
    pub(super) fn commit_catalog(
        &mut self,
        ops: Vec<Op>,
        drop_tables: Vec<TableId>,
        then: Then,
    ) -> Result<(), ServerError> {
        let (flush, riding, short) = (Vec::new(), Vec::new(), false);
        self.checkpoints.submit(Job { epoch: None, flush, drop_tables, riding, ops, then, short })
    }

    pub(super) fn committed(&mut self, done: Done) -> Result<(), ServerError> {
        self.checkpoints.busy = false;
        let then = match done.outcome {
            Outcome::Committed(then) => *then,
            Outcome::NoRoom(job) => {
                self.put_back(*job);
                return Ok(());
            }
            Outcome::Failed(error) => return Err(error),
        };
        if let Some(epoch) = done.epoch {
            self.owe_nothing();
            let mut board = self.shared.board.lock();
            board.checkpoint = epoch;
            board.checkpoint_at = self.shared.clock.now();
            board.figures.checkpoints.add(done.took_us);
            board.figures.checkpoint_bytes = done.bytes;
            drop(board);
            tracing::debug!(%epoch, took_us = done.took_us, "checkpoint committed");
        }
        if let Some(catalog) = then.catalog {
            self.shared.set_catalog(catalog);
        }
        for view in then.created {
            self.checkpoints.creating.retain(|object| object.id != view);
            self.created(view);
        }
        for view in then.dropped {
            self.remove_view(view);
        }
        self.places_kept(then.kept);
        // Who gets an answer finds no job any more that has ended.
        self.shared.board.lock().jobs = self.jobs();
        self.shared.changed();
        let waited = then.attached.into_iter().filter_map(|attached| attached.reply);
        for reply in then.replies.into_iter().chain(waited) {
            // A client that has gone needs no answer.
            drop(reply.send(Ok(())));
        }
        for (reply, answer) in then.answers {
            drop(reply.send(answer));
        }
        Ok(())
    }

    /// A checkpoint has found no room. Its rows are in the tables still, and what was to become durable
    /// with it goes with the next one.
    fn put_back(&mut self, job: Job) {
        let Then { attached, kept, .. } = job.then;
        for attached in attached {
            self.checkpoints.creating.retain(|object| object.id != attached.view);
            self.checkpoints.attached.push(attached);
        }
        self.checkpoints.orphans.extend(job.drop_tables);
        let later = std::mem::replace(&mut self.checkpoints.riding, job.riding);
        self.checkpoints.riding.extend(later);
        self.forget_stored_positions();
        self.places_missed(kept);
        if !self.stopping {
            self.checkpoints.want();
        }
        self.owe_checkpoint();
    }

    /// Everything is written once more and then the server ends.
    pub(super) fn begin_stop(&mut self) {
        self.stopping = true;
        for source in self.sources.values() {
            source.feed.gate.pause(true);
        }
        let running = self.hydrations.values().flat_map(super::hydrate::Hydration::gates);
        running.for_each(|gate| gate.pause(true));
        self.leave_jobs();
        for request in std::mem::take(&mut self.waiting) {
            request.refuse(super::shutting_down());
        }
        self.shared.board.lock().stopping = true;
        self.shared.changed();
        if !self.views.is_empty() && !self.recovering() {
            self.checkpoints.want();
        }
    }

    /// True while the last checkpoint of a stop is still to come.
    pub(super) fn stop_unfinished(&self) -> bool {
        self.checkpoints.wanted || !self.checkpoints.is_idle()
    }
}

fn reads_views(object: &millrace_sql::Object) -> bool {
    let leaves = object.stored().map(|view| view.plan.root.leaves()).unwrap_or_default();
    leaves.iter().any(|leaf| matches!(leaf.kind, millrace_plan::LeafKind::View(_)))
}

fn all_tables(view: &super::View) -> impl Iterator<Item = Arc<Table>> + use<> {
    let tables = &view.tables;
    let history = view.history.as_ref().map(|history| history.table.clone());
    let output = [tables.content.clone(), tables.errors.clone()].into_iter().chain(history);
    tables.state.clone().into_iter().chain(output)
}
