//! What was not taken: `millrace.source_errors` and `millrace.late_rows`, two tables that the server
//! itself writes to.
//!
//! They are tables like others, so a view may stand on them, and their rows are logged as statements'
//! changes are. A message that is no row belongs to the epoch in which it was read, and goes with its
//! record. A late row is found by the workers; it goes with the record of an epoch soon after.
//!
//! The tables are bounded by rows and by age: the oldest rows go, and are counted.
//!
//! Invariants: 1. each message and each late row is listed once: what recovery reads again, and what a
//! hydration reads that another one has read before, is known by its key ([`List::add`]). 2. no
//! checkpoint is committed before the late rows up to it are logged, nor while messages that a
//! hydration has read are not (`is_behind`): the log below a checkpoint goes, and so does what would
//! find them again. 3. counters are those of a checkpoint and of the epochs above it, each counted when
//! it is read again (`count_late`).

mod rows;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use millrace_dataflow::ingest::BadMessage;
use millrace_sql::{Object, Source};
use millrace_storage::{ChangeRecord, Op};
use millrace_types::{Delta, Epoch, ObjectId, Ts, encode_delta};

use super::Coordinator;
use crate::error::ServerError;
use crate::shared::KeptStatus;
pub(super) use rows::late_rows;
use rows::{error_rows, named, oldest, only};
pub(super) use start::forget_count;

/// Rows that the record of one epoch takes of those that wait.
const LOGGED_ROWS_MAX: usize = 16_384;
/// Rows that go at once when there are too many, at most.
const GONE_ROWS_MAX: usize = 16_384;
/// Rows that a table holds for a while above twice its bound, while more come than can go. What comes
/// then is only counted.
const OVER_ROWS_MAX: usize = 65_536;

/// Changed rows by table.
type Changes = Vec<(ObjectId, Delta)>;

/// The option of a source that says what a message that is no row does.
pub(crate) const ON_ERROR: &str = "on_error";
/// The option of a source that says whether late rows of it are listed.
pub(crate) const LATE_ROWS: &str = "late_rows";

/// What tells a listed row from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The view that turned it away; none for a message.
    pub(super) view: ObjectId,
    /// The source.
    pub(super) source: ObjectId,
    /// Where it stands there.
    pub(super) place: (i32, i64),
    /// The end of the window that it missed, microseconds.
    pub(super) window_end: i64,
}

/// Rows that a view has turned away.
pub struct Late {
    /// The view.
    pub(super) view: ObjectId,
    /// Their time.
    pub(super) ts: Ts,
    /// What tells them apart, each once.
    pub(super) keys: Vec<Key>,
    /// The rows of the table, in the same order.
    pub(super) rows: RecordBatch,
}

/// One of the tables.
pub(super) struct List {
    pub(super) id: ObjectId,
    name: &'static str,
    /// Every row by its hidden key, which grows with the time at which it was listed.
    rows: BTreeMap<i64, Key>,
    keys: BTreeSet<Key>,
    /// Rows that have gone so far: up to the last checkpoint, and in epochs above it.
    gone: u64,
    gone_since: BTreeMap<Epoch, u64>,
    /// The last epoch in which rows have gone.
    thinned: Option<Epoch>,
}

impl List {
    fn new(id: ObjectId, name: &'static str) -> List {
        let (rows, keys, gone, gone_since, thinned) = Default::default();
        List { id, name, rows, keys, gone, gone_since, thinned }
    }

    /// True for a row that is not listed yet; it is from now on.
    fn add(&mut self, row: i64, key: Key) -> bool {
        let is_new = self.keys.insert(key);
        if is_new {
            self.rows.insert(row, key);
        }
        is_new
    }

    /// A row goes in an epoch.
    fn remove(&mut self, row: i64, epoch: Epoch) {
        if let Some(key) = self.logged_gone(row, epoch) {
            self.keys.remove(&key);
        }
    }

    /// A row has gone in an epoch of the log. It may be found once more, and is still known.
    fn logged_gone(&mut self, row: i64, epoch: Epoch) -> Option<Key> {
        let key = self.rows.remove(&row)?;
        *self.gone_since.entry(epoch).or_default() += 1;
        Some(key)
    }

    /// How many of the oldest rows have to go, and the hidden key of the last of them.
    fn due(&self, rows_max: usize, since: i64) -> Option<(usize, i64)> {
        let mut over = self.rows.len().saturating_sub(rows_max);
        if over > 0 {
            // Not one by one.
            over += rows_max / 16;
        }
        let mut due = self.rows.keys().enumerate().take(GONE_ROWS_MAX);
        let mut last = None;
        while let Some((at, row)) = due.next().filter(|(at, row)| *at < over || **row < since) {
            last = Some((at + 1, *row));
        }
        last
    }

    /// How many more rows it takes.
    fn room(&self, rows_max: usize) -> usize {
        match rows_max {
            0 => 0,
            most => (2 * most).saturating_add(OVER_ROWS_MAX).saturating_sub(self.rows.len()),
        }
    }

    /// So many rows were not listed in an epoch.
    fn pass_over(&mut self, count: u64, epoch: Epoch) {
        if count > 0 {
            *self.gone_since.entry(epoch).or_default() += count;
        }
    }

    fn status(&self) -> KeptStatus {
        let gone = self.gone + self.gone_since.values().sum::<u64>();
        KeptStatus { table: self.name, rows: self.rows.len(), gone }
    }
}

/// See the module's documentation.
pub(super) struct Kept {
    pub(super) errors: List,
    pub(super) late: List,
    /// Late rows that no record holds yet.
    waiting: VecDeque<(Epoch, RecordBatch)>,
    /// Messages that hydrations have read and that no record holds yet.
    read: Vec<(ObjectId, BadMessage)>,
    /// Late rows by view: up to the last checkpoint, and in epochs above it.
    counted: BTreeMap<ObjectId, u64>,
    counted_since: BTreeMap<Epoch, BTreeMap<ObjectId, u64>>,
}

impl Kept {
    /// True for the tables of this module.
    pub(super) fn is(&self, id: ObjectId) -> bool {
        id == self.errors.id || id == self.late.id
    }

    /// Takes messages in that a hydration was the first to read.
    pub(super) fn take_read(&mut self, source: ObjectId, bad: Vec<BadMessage>) {
        self.read.extend(bad.into_iter().map(|message| (source, message)));
    }

    /// True if rows wait for the next record.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.read.is_empty()
    }

    /// True if a checkpoint at an epoch has to wait for a record that holds what was found up to it.
    pub(super) fn is_behind(&self, epoch: Epoch) -> bool {
        !self.read.is_empty() || self.waiting.iter().any(|(found, _)| *found <= epoch)
    }

    /// Late rows by view so far.
    fn counts(&self) -> BTreeMap<ObjectId, u64> {
        let mut all = self.counted.clone();
        for (view, count) in self.counted_since.values().flatten() {
            *all.entry(*view).or_default() += count;
        }
        all
    }

    /// What a checkpoint keeps of the counters.
    pub(super) fn ops(&mut self, checkpoint: Epoch) -> Vec<Op> {
        let mut ops = Vec::new();
        let later = self.counted_since.split_off(&checkpoint.next());
        for counts in std::mem::replace(&mut self.counted_since, later).into_values() {
            for (view, count) in counts {
                let all = self.counted.entry(view).or_default();
                *all += count;
                ops.push(start::count_op(view, *all));
            }
        }
        for list in [&mut self.errors, &mut self.late] {
            let later = list.gone_since.split_off(&checkpoint.next());
            let gone = std::mem::replace(&mut list.gone_since, later);
            if !gone.is_empty() {
                list.gone += gone.into_values().sum::<u64>();
                ops.push(start::count_op(list.id, list.gone));
            }
        }
        ops
    }

    /// A view has gone.
    pub(super) fn forget(&mut self, view: ObjectId) {
        self.counted.remove(&view);
        self.counted_since.values_mut().for_each(|counts| counts.retain(|of, _| *of != view));
    }
}

/// True if a source stops at a message that is no row.
pub(super) fn stops(source: &Source) -> bool {
    source.options.get(ON_ERROR).is_some_and(|value| value == "fail")
}

/// True if a source lists what it does not take.
fn records(source: Option<&Source>, option: &str) -> bool {
    let value = source.and_then(|source| source.options.get(option));
    value.is_none_or(|value| value != "skip")
}

impl Coordinator {
    /// A view has turned rows away.
    pub(super) fn count_late(&mut self, late: Late) {
        let epoch = late.ts.epoch();
        let count = u64::try_from(late.keys.len()).expect("a count fits");
        let counts = self.kept.counted_since.entry(epoch).or_default();
        *counts.entry(late.view).or_default() += count;
        let catalog = self.catalog();
        let room = self.kept.late.room(self.shared.config.kept_rows);
        let (mut wanted, mut taken, mut over) = (Vec::with_capacity(late.keys.len()), 0, 0);
        for (at, key) in late.keys.iter().enumerate() {
            let source = catalog.get(key.source).and_then(|object| object.source());
            let row = rows::row_id(&late.rows, at);
            let is_listed = records(source, LATE_ROWS) && !self.kept.late.keys.contains(key);
            let fits = taken < room;
            over += u64::from(is_listed && !fits);
            wanted.push(is_listed && fits && self.kept.late.add(row, *key));
            taken += usize::from(is_listed && fits);
        }
        self.kept.late.pass_over(over, epoch);
        if taken > 0 {
            let view = self.object_or_job(late.view).map(|object| object.name.clone());
            let rows = named(&only(&late.rows, wanted), view.as_deref());
            self.kept.waiting.push_back((epoch, rows));
            self.shared.board.lock().late_waits = true;
        }
    }

    /// An object of the catalog, or one that is on its way there.
    fn object_or_job(&self, id: ObjectId) -> Option<Arc<Object>> {
        let job = || {
            let attached = self.checkpoints.attached.iter().map(|attached| &attached.object);
            let mut jobs = attached.chain(&self.checkpoints.creating).chain(self.hydrated());
            jobs.find(|object| object.id == id).cloned().map(Arc::new)
        };
        self.catalog().get(id).cloned().or_else(job)
    }

    /// True if rows of the tables are a reason to seal.
    pub(super) fn kept_due(&self, now: i64) -> bool {
        let lists = [&self.kept.errors, &self.kept.late];
        self.kept.is_waiting() || lists.into_iter().any(|list| self.thins(list, now).is_some())
    }

    /// How many rows of a table have to go now.
    fn thins(&self, list: &List, now: i64) -> Option<(usize, i64)> {
        let upper = self.views.get(&list.id)?.upper().epoch();
        if list.thinned.is_some_and(|thinned| upper <= thinned) {
            return None;
        }
        let since = now.saturating_sub(self.shared.config.kept_age_us()).saturating_mul(1_000);
        list.due(self.shared.config.kept_rows, since)
    }

    /// What the record of an epoch holds of the tables: messages that were read in it, what has waited,
    /// and rows that go.
    pub(super) fn kept_changes(
        &mut self,
        epoch: Epoch,
        now: i64,
        cut: Vec<(ObjectId, BadMessage)>,
    ) -> Result<(Vec<ChangeRecord>, Changes), ServerError> {
        let mut changes = self.thinned(epoch, now)?;
        let mut bad = std::mem::take(&mut self.kept.read);
        bad.extend(cut);
        changes.extend(self.listed(epoch, &bad));
        changes.extend(self.waited(epoch));
        let encoded = |(table, rows): &(ObjectId, Delta)| {
            let rows = encode_delta(rows).map_err(|e| ServerError::Catalog(e.to_string()))?;
            Ok(ChangeRecord { table: *table, rows })
        };
        let records = changes.iter().map(encoded).collect::<Result<_, ServerError>>()?;
        Ok((records, changes))
    }

    /// Messages that are not listed yet.
    fn listed(
        &mut self,
        epoch: Epoch,
        bad: &[(ObjectId, BadMessage)],
    ) -> Option<(ObjectId, Delta)> {
        if bad.is_empty() {
            return None;
        }
        let (room, mut over) = (self.kept.errors.room(self.shared.config.kept_rows), 0);
        let mut ids = self.shared.row_ids(bad.len());
        let mut new = Vec::new();
        let sources: BTreeSet<ObjectId> = bad.iter().map(|(source, _)| *source).collect();
        let found = |source| Some((source, self.object_or_job(source)?));
        let objects: BTreeMap<_, _> = sources.into_iter().filter_map(found).collect();
        for (source, message) in bad {
            let place = (message.partition.0, message.row.offset);
            let key = Key { view: ObjectId::default(), source: *source, place, window_end: 0 };
            let row = ids.next().expect("there is one for each");
            let described = objects.get(source).and_then(|object| object.source());
            if !records(described, ON_ERROR) || self.kept.errors.keys.contains(&key) {
                continue;
            }
            match new.len() < room {
                true => {
                    self.kept.errors.add(row, key);
                    new.push((row, *source, message));
                }
                false => over += 1,
            }
        }
        self.kept.errors.pass_over(over, epoch);
        let rows = error_rows(&objects, &new);
        (!new.is_empty()).then(|| (self.kept.errors.id, Delta::constant(rows, 1)))
    }

    /// Late rows that have waited, as many as a record takes.
    fn waited(&mut self, epoch: Epoch) -> Changes {
        let (mut changes, mut count) = (Vec::new(), 0);
        while count < LOGGED_ROWS_MAX
            && let Some((_, rows)) = self.kept.waiting.pop_front()
        {
            count += rows.num_rows();
            changes.push((self.kept.late.id, Delta::constant(rows, 1)));
        }
        if !changes.is_empty() {
            let mut board = self.shared.board.lock();
            board.late_waits = !self.kept.waiting.is_empty();
            board.late_listed = epoch;
        }
        changes
    }

    /// The oldest rows, where there are too many or they are too old.
    fn thinned(&mut self, epoch: Epoch, now: i64) -> Result<Changes, ServerError> {
        let mut changes = Vec::new();
        let due = [&self.kept.errors, &self.kept.late].map(|list| (list.id, self.thins(list, now)));
        for (id, due) in due {
            let (Some((count, last)), Some(view)) = (due, self.views.get(&id)) else { continue };
            let complete = view.upper().epoch().previous();
            let rows = oldest(&view.tables.content, complete, last, count)?;
            let Some(rows) = rows else { continue };
            let list = match id == self.kept.errors.id {
                true => &mut self.kept.errors,
                false => &mut self.kept.late,
            };
            for at in 0..rows.num_rows() {
                list.remove(rows::row_id(&rows, at), epoch);
            }
            list.thinned = Some(epoch);
            changes.push((id, Delta::constant(rows, -1)));
        }
        Ok(changes)
    }

    /// Shows what the tables hold, and how many rows were late.
    pub(super) fn post_kept(&self) {
        let mut board = self.shared.board.lock();
        board.late_counts = self.kept.counts();
        board.kept = vec![self.kept.errors.status(), self.kept.late.status()];
    }
}
