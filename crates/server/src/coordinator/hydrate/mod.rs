//! Hydration: the first fill of a view.
//!
//! Sources are read by private feeds in steps of an older epoch, never late. Views below are read in
//! the order of their keys, from a snapshot of an epoch e; their changes since are held back by the
//! workers. To move on to a later epoch the reading stops at some key: of the changes held back those
//! up to the key are let in, and a newer snapshot is read behind it. So at each time the view holds
//! what it would over the part of the views below that it has read ([`place`] keeps that part in
//! checkpoints), and nothing below waits for it.
//!
//! Tables in which rows are looked up are read before the sources: history meets what they hold by then.
//!
//! When all has been read, the next seal J is where a view over sources joins: from J+1 on its leaves
//! take the shared rows, which wait in its inputs while the tail up to J is read. Then it goes live;
//! the next checkpoint makes it durable as a view and answers the statement. It does neither while it
//! works at what it has read: once live, checkpoints wait for it and epochs count as in flight.
//!
//! Invariants: 1. the live rows are subscribed to before the gate opens J+1 (`joins_before_cut` runs
//! before the cut), so none is missed, and the tail ends where J ends, so none comes twice. 2. the
//! open time moves to an epoch only when the views below have completed it (`completed_below`), so
//! all their changes up to it are there to be let in. 3. the part of a view below that has been read
//! is told to the workers before the time moves (`close_snapshot`).

mod feeds;
mod place;
mod resume;
mod steps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use millrace_dataflow::ingest::{Gate, PartitionCut};
use millrace_dataflow::runtime::Command;
use millrace_dataflow::source::SourceError;
use millrace_plan::LeafKind;
use millrace_sql::RoleId;
use millrace_sql::ast::ObjectKind;
use millrace_storage::{EpochRecord, Reach};
use millrace_types::{Epoch, ObjectId, PartitionId, Report, SqlState, Ts};

use super::checkpoint::Attached;
use super::{BuiltSource, Coordinator, Reply};
use feeds::Private;
pub(super) use resume::{Stored, forget, forget_place, job_key};
use steps::{STEP_BYTES, STEP_BYTES_FIRST, STEP_US_ALONE, Step};

/// A tail of more offsets is read as history once more, so that few live rows wait for it.
const TAIL_MAX: i64 = 50_000;
/// How often that is done at most: a source may grow as fast as it is read.
const ROUNDS_MAX: u32 = 6;

enum Phase {
    /// Reads up to where the sources stood, and all of the views below.
    History { round: u32 },
    /// Waits for the next seal.
    Join,
    /// Reads what is left up to the end of the epoch.
    Tail { epoch: Epoch },
}

/// A leaf over a view, and how much of that has been read.
struct Below {
    view: ObjectId,
    reach: Reach,
    rows: u64,
    /// Rows that are left, at most; None before anybody has looked.
    left: Option<u64>,
}

/// A view that is being filled.
pub(super) struct Hydration {
    pub(super) name: String,
    object: millrace_sql::Object,
    /// Who waits for it; none in the background.
    reply: Option<Reply>,
    /// It may read: its turn has come, and its sources have answered.
    admitted: bool,
    sources: BTreeMap<ObjectId, Arc<BuiltSource>>,
    /// Source leaves and view leaves by position.
    leaves: Vec<LeafKind>,
    below: BTreeMap<usize, Below>,
    feeds: Vec<Private>,
    /// The sources wait until the tables have been read in which their rows are looked up.
    waits: bool,
    /// Where its own reading of each source stands, as far as feeds have ended.
    read: BTreeMap<ObjectId, BTreeMap<PartitionId, PartitionCut>>,
    /// The sources that nobody read before.
    first_reads: BTreeSet<ObjectId>,
    /// The open step.
    ts: Ts,
    /// Steps that have ended and that the view has not completed.
    under_way: VecDeque<Step>,
    /// What had been read at the end of the last step that it has completed.
    completed: i64,
    /// The clock then.
    completed_at: i64,
    /// How long the last step took, microseconds.
    took: i64,
    last_step_at: i64,
    /// How many bytes of rows a step may have.
    step_bytes: usize,
    /// How many it may have at most.
    step_bytes_max: usize,
    phase: Phase,
    place: place::Taking,
    /// What feeds that have ended had to read.
    done: i64,
    /// What the last checkpoint that it took part in has kept of that.
    kept: i64,
    /// What was read before the server was started.
    resumed: i64,
}

/// What a hydration starts from.
pub(super) struct Start {
    pub(super) view: ObjectId,
    pub(super) object: millrace_sql::Object,
    pub(super) reply: Option<Reply>,
    pub(super) leaves: Vec<LeafKind>,
    pub(super) sources: BTreeMap<ObjectId, Arc<BuiltSource>>,
    pub(super) ts: Ts,
    pub(super) first_reads: BTreeSet<ObjectId>,
}

impl Hydration {
    fn new(start: Start, now: i64) -> Hydration {
        let mut below = BTreeMap::new();
        for (leaf, kind) in start.leaves.iter().enumerate() {
            if let LeafKind::View(view) = kind {
                below.insert(
                    leaf,
                    Below { view: *view, reach: Reach::Nothing, rows: 0, left: None },
                );
            }
        }
        Hydration {
            name: start.object.name.clone(),
            object: start.object,
            reply: start.reply,
            admitted: true,
            sources: start.sources,
            leaves: start.leaves,
            below,
            feeds: Vec::new(),
            waits: false,
            read: BTreeMap::new(),
            first_reads: start.first_reads,
            ts: start.ts,
            under_way: VecDeque::new(),
            completed: 0,
            completed_at: now,
            took: 0,
            last_step_at: now,
            step_bytes: STEP_BYTES_FIRST,
            step_bytes_max: STEP_BYTES,
            phase: Phase::History { round: 0 },
            place: place::Taking::new(now),
            done: 0,
            kept: 0,
            resumed: 0,
        }
    }

    /// What it fills.
    pub(super) fn kind(&self) -> ObjectKind {
        self.object.object_kind()
    }

    /// Whose it is.
    pub(super) fn owner(&self) -> RoleId {
        self.object.access.owner
    }

    /// True while it reads.
    pub(super) fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// True while sources of it cannot be reached, and it has nothing else to do.
    pub(super) fn is_cut_off(&self) -> bool {
        let mut open = self.feeds.iter().filter(|private| !private.is_done()).peekable();
        self.under_way.is_empty()
            && open.peek().is_some()
            && open.all(|private| private.feed.is_unreachable())
    }

    /// Lets go of whoever waits for it.
    pub(super) fn take_reply(&mut self) -> Option<Reply> {
        self.reply.take()
    }

    /// Asks for a checkpoint of it, to free memory.
    pub(super) fn want_place(&mut self) {
        self.place.want_now();
    }

    /// The gates of its own feeds.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.feeds.iter().map(|private| &private.feed.gate)
    }

    /// What it needs: what the view reads, and the views that its query names.
    pub(super) fn needs(&self) -> impl Iterator<Item = ObjectId> {
        needs(&self.object)
    }

    /// How much the view has taken in, how much there is for it to take in as far as that is known, and
    /// how much of it the last checkpoint has kept.
    pub(super) fn progress(&self) -> (i64, Option<i64>, i64) {
        let (read, left) = self.counted();
        let is_known = self.admitted && !self.waits;
        let is_known = is_known && self.below.values().all(|below| below.left.is_some());
        (self.completed.max(self.kept), is_known.then_some(read + left), self.kept)
    }

    /// How much has been read, and how much is left: offsets of sources, rows of views.
    fn counted(&self) -> (i64, i64) {
        self.counted_by(Private::read)
    }

    /// How much had been read when the last step ended; a feed may have gone on since.
    fn ended(&self) -> i64 {
        self.counted_by(Private::ended).0
    }

    fn counted_by(&self, read: fn(&Private) -> i64) -> (i64, i64) {
        let below = self.below.iter().map(|(leaf, below)| {
            let open = self.feeds.iter().find(|private| private.leaf() == Some(*leaf));
            let read = open.map_or(0, read).max(0).cast_unsigned();
            let left = below.left.unwrap_or_default().saturating_sub(read);
            ((below.rows + read).cast_signed(), left.cast_signed())
        });
        let (rows, left) = below.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let of_sources = || self.feeds.iter().filter(|private| private.leaf().is_none());
        let read = of_sources().map(read).sum::<i64>();
        let open = of_sources().map(|private| private.total).sum::<i64>();
        (self.done + rows + read, left + open - read)
    }

    /// True when all that is open has been read, and nothing is left to be opened.
    fn is_drained(&self) -> bool {
        let all_of = |below: &Below| matches!(below.reach, Reach::All);
        !self.waits && self.feeds.iter().all(Private::is_done) && self.below.values().all(all_of)
    }
}

/// What an object that is not in the catalog yet needs from there.
pub(super) fn needs(object: &millrace_sql::Object) -> impl Iterator<Item = ObjectId> + use<> {
    let leaves = object.stored().map(|view| view.plan.root.leaves()).unwrap_or_default();
    let mut needs: BTreeSet<ObjectId> = leaves
        .iter()
        .map(|leaf| match leaf.kind {
            LeafKind::Source(id) | LeafKind::View(id) => id,
        })
        .collect();
    needs.extend(object.depends_on());
    needs.extend(object.secrets());
    needs.into_iter()
}

impl Coordinator {
    /// What is being filled.
    pub(super) fn hydrated(&self) -> impl Iterator<Item = &millrace_sql::Object> {
        self.hydrations.values().map(|hydration| &hydration.object)
    }

    /// Begins to fill a view that is installed; its sources' shared feeds run.
    pub(super) fn begin_hydration(&mut self, start: Start) {
        let view = start.view;
        let mut hydration = Hydration::new(start, self.shared.clock.now());
        hydration.step_bytes_max = self.step_bytes_max(view);
        // The open epoch is not sealed yet: nothing of it is missed.
        let from = self.open.ts();
        for leaf in hydration.below.keys() {
            self.runtime.broadcast(&Command::Follow { view, leaf: *leaf, from });
        }
        let opened = self.open_history(view, &mut hydration);
        self.hydrations.insert(view, hydration);
        if let Err(error) = opened {
            self.abort_hydration(view, source_report(&error));
        }
    }

    /// Moves every hydration on.
    pub(super) fn drive_hydrations(&mut self, now: i64) {
        let views: Vec<ObjectId> = self.hydrations.keys().copied().collect();
        for view in views {
            let Some(mut hydration) = self.hydrations.remove(&view) else { continue };
            let failed = hydration.feeds.iter().find_map(|f| f.feed.failed());
            let left =
                hydration.reply.as_ref().is_some_and(tokio::sync::oneshot::Sender::is_closed);
            match failed {
                _ if left => self.abandon(view, hydration, super::jobs::cancelled()),
                Some(reason) => {
                    let report = Report::new(SqlState::FOREIGN_DATA_ERROR, reason);
                    self.abandon(view, hydration, report);
                }
                None => match self.drive(view, &mut hydration, now) {
                    Ok(Some(live_from)) => self.attach(view, hydration, live_from),
                    Ok(None) => drop(self.hydrations.insert(view, hydration)),
                    Err(error) => self.abandon(view, hydration, source_report(&error)),
                },
            }
        }
    }

    /// One move; the first live epoch when the view has gone live.
    fn drive(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
        now: i64,
    ) -> Result<Option<Epoch>, SourceError> {
        let upper = self.views.get(&view).map(super::View::upper).unwrap_or_default();
        hydration.complete(upper, now);
        self.take_due_place(view, hydration);
        if !hydration.admitted || self.stopping || self.recovering() {
            return Ok(None);
        }
        self.step(view, hydration, now);
        if hydration.place.is_due() {
            return Ok(None);
        }
        self.want_place(hydration, now);
        match hydration.phase {
            Phase::History { round } => {
                self.read_below(view, hydration)?;
                if hydration.waits {
                    self.open_history(view, hydration)?;
                }
                if hydration.is_drained() {
                    self.close_feeds(view, hydration);
                    return self.after_history(view, hydration, round);
                }
            }
            Phase::Tail { epoch }
                if hydration.is_drained()
                    && !hydration.place.is_pending()
                    && self.completed_below(hydration, epoch) =>
            {
                self.close_feeds(view, hydration);
                if epoch > hydration.ts.epoch() {
                    self.move_to(view, hydration, epoch.ts().next());
                }
                if hydration.under_way.is_empty() {
                    return Ok(Some(self.go_live(view, hydration, epoch.next())?));
                }
            }
            Phase::Join | Phase::Tail { .. } => {}
        }
        Ok(None)
    }

    /// All that stood in the sources at the beginning of a round has been read.
    fn after_history(
        &mut self,
        view: ObjectId,
        hydration: &mut Hydration,
        round: u32,
    ) -> Result<Option<Epoch>, SourceError> {
        let reads_views_only = hydration.sources.is_empty() && !hydration.below.is_empty();
        if !reads_views_only && round < ROUNDS_MAX && self.behind_sources(hydration) > TAIL_MAX {
            hydration.phase = Phase::History { round: round + 1 };
            self.open_history(view, hydration)?;
            return Ok(None);
        }
        if !hydration.under_way.is_empty() || (reads_views_only && hydration.place.is_pending()) {
            return Ok(None);
        }
        // Much may have changed below while it was at work: that is let in as a step, too.
        let complete = self.complete_below(hydration);
        let changed = !hydration.below.is_empty() && complete > hydration.ts.epoch();
        if changed && hydration.took > STEP_US_ALONE && round < ROUNDS_MAX {
            hydration.phase = Phase::History { round: round + 1 };
            self.move_to(view, hydration, complete.ts().next());
            return Ok(None);
        }
        if reads_views_only {
            return Ok(Some(self.go_live(view, hydration, hydration.ts.epoch().next())?));
        }
        hydration.phase = Phase::Join;
        self.checkpoints.want();
        Ok(None)
    }

    /// From this epoch on the view follows the seals.
    fn go_live(
        &mut self,
        view: ObjectId,
        hydration: &Hydration,
        from: Epoch,
    ) -> Result<Epoch, SourceError> {
        let begun = self.begin_retention(&hydration.object, view, from);
        begun.map_err(|error| SourceError::Gone(error.to_string()))?;
        self.runtime.broadcast(&Command::GoLive { view, from });
        if let Some(found) = self.views.get_mut(&view) {
            found.live_from = Some(from);
        }
        Ok(from)
    }

    /// True when the views below have completed an epoch.
    fn completed_below(&self, hydration: &Hydration, epoch: Epoch) -> bool {
        hydration.below.values().all(|below| {
            self.views.get(&below.view).is_none_or(|view| view.upper() >= epoch.next().ts())
        })
    }

    /// Before the gates are cut at the end of `epoch`: views that wait subscribe to what follows.
    pub(super) fn joins_before_cut(&mut self, epoch: Epoch) {
        let from = epoch.next().ts();
        for (view, hydration) in &mut self.hydrations {
            if !matches!(hydration.phase, Phase::Join) {
                continue;
            }
            for (leaf, kind) in hydration.leaves.iter().enumerate() {
                let LeafKind::Source(source) = kind else { continue };
                if let Some(live) = self.sources.get(source) {
                    let (view, feed) = (*view, live.id);
                    self.runtime.broadcast(&Command::Subscribe { view, leaf, feed, from });
                }
            }
            hydration.phase = Phase::Tail { epoch };
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
                let ends = source.partitions.iter().map(|p| (p.partition, p.end)).collect();
                opened = opened.and_then(|()| {
                    self.open_source_feed(view, &mut hydration, source.source, ends)
                });
            }
            match opened {
                Ok(()) => drop(self.hydrations.insert(view, hydration)),
                Err(error) => self.abandon(view, hydration, source_report(&error)),
            }
        }
    }

    fn attach(&mut self, view: ObjectId, hydration: Hydration, live_from: Epoch) {
        let ((read, _), resumed) = (hydration.counted(), hydration.resumed);
        tracing::info!(view = hydration.name, read, resumed, "a view is filled");
        let Hydration { object, reply, .. } = hydration;
        self.checkpoints.attached.push(Attached { view, live_from, object, reply });
        self.checkpoints.want();
    }

    fn abandon(&mut self, view: ObjectId, mut hydration: Hydration, report: Report) {
        drop(std::mem::take(&mut hydration.feeds));
        self.unpublish(view);
        self.end_job(&hydration.object, hydration.reply, report);
    }

    pub(super) fn abort_hydration(&mut self, view: ObjectId, report: Report) {
        if let Some(hydration) = self.hydrations.remove(&view) {
            self.abandon(view, hydration, report);
        }
    }
}

/// What a session is told of a source that does not answer.
pub(crate) fn source_report(error: &SourceError) -> Report {
    Report::new(SqlState::FOREIGN_DATA_ERROR, error.to_string())
}
