//! A [`Table`]: the content of a view or the state of one operator. Layers, newest first: overlays,
//! one per time, that the dataflow published and no checkpoint holds yet; runs on disk.
//!
//! Publishing costs a lock and a push. Sorting happens when somebody reads or flushes, and merged
//! overlays are remembered, so that a hundred of them cost the first reader only.
//!
//! Invariants: 1. a time is published wholly before it is read or flushed: `snapshot` and `flush`
//! are only called for times that every worker has passed; 2. the merged overlays cover the oldest
//! ones without a gap, and a publication below them discards them ([`State::publish`]); 3. nothing
//! is merged across the bound of a flush under way, and no flush ends inside a merged overlay
//! (asserted in [`Table::flush`]); 4. runs are in the order of their sequence ([`Table::install`]).

mod overlay;
mod points;
mod scan;
mod sort;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use millrace_types::{Delta, Epoch, TableId, Ts};
use parking_lot::Mutex;

pub use points::Points;
pub use scan::{ColumnRange, Scan, ScanRows, Snapshot};
pub(crate) use sort::Sorted;

use crate::block::Piece;
use crate::cache::BlockCache;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::run::Run;
use overlay::Overlay;

/// Changed rows of one table, to be written: pieces from old to new, of each key the last row counts.
#[derive(Clone, Debug)]
pub struct Change {
    pub(crate) pieces: Vec<Piece>,
}

impl Change {
    /// Rows in the schema of the table, in any order. `gone` is true where the key is gone; the
    /// row's columns outside the key then mean nothing.
    pub fn new(rows: RecordBatch, gone: &BooleanArray) -> Change {
        Change { pieces: vec![Piece::new(rows, Some(gone.values().clone()))] }
    }

    /// Rows of all pieces.
    pub(crate) fn rows(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }
}

/// One table of the store. Readers, writers and checkpoints use it at the same time.
pub struct Table {
    pub(crate) layout: Arc<Layout>,
    pub(crate) cache: Arc<BlockCache>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was published and not yet read, in the order of its times.
    raw: Vec<(Ts, Vec<Delta>)>,
    /// Overlays in the order of their times, all below `raw`.
    overlays: Vec<Arc<Overlay>>,
    /// The oldest overlays again, merged.
    tiers: Vec<Arc<Overlay>>,
    /// From old to new.
    runs: Vec<Arc<Run>>,
    trim: Option<i64>,
    /// From which times on rows below a mark are gone, both ascending, until a commit trims them.
    expired: Vec<(Ts, i64)>,
    flushing: Option<Ts>,
    /// Times below this can no longer be told apart.
    readable_from: Ts,
}

/// A change of a table's runs that a commit made durable.
#[derive(Default)]
pub(crate) struct RunChange {
    /// Segment and place in it of the runs to forget.
    pub(crate) remove: Vec<(u64, usize)>,
    pub(crate) add: Vec<Arc<Run>>,
    /// The runs hold what was published up to here.
    pub(crate) flushed: Option<Ts>,
    pub(crate) trim: Option<i64>,
    pub(crate) epoch: Option<Epoch>,
}

impl Table {
    pub(crate) fn new(layout: Layout, cache: &Arc<BlockCache>, trim: Option<i64>) -> Table {
        let state = State { trim, ..State::default() };
        Table { layout: Arc::new(layout), cache: Arc::clone(cache), state: Mutex::new(state) }
    }

    /// Its id.
    pub fn id(&self) -> TableId {
        self.layout.table
    }

    /// Its key columns in sort order.
    pub fn sort(&self) -> &[usize] {
        &self.layout.sort
    }

    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.declared)
    }

    /// Takes the changes of one worker at one time. Rows with weight +1 set their key; a row with
    /// weight -1 whose key gets no +1 at the same time, from any worker, removes it. Rows are
    /// consolidated: a key has at most one +1.
    pub fn publish(&self, _worker: usize, ts: Ts, mut deltas: Vec<Delta>) {
        deltas.retain(|delta| !delta.is_empty());
        drop_replaced(&self.layout.sort, &mut deltas);
        if !deltas.is_empty() {
            self.state.lock().publish(ts, deltas);
        }
    }

    /// From `ts` on the rows whose first key column is below `mark` are gone; those where it is NULL
    /// stay. A mark never falls as times go on.
    pub fn expire(&self, ts: Ts, mark: i64) {
        self.state.lock().expire(ts, mark);
    }

    /// Below which mark rows are gone at a time, for the commit that makes it durable; None if one has.
    pub fn expired(&self, at: Ts) -> Option<i64> {
        let state = self.state.lock();
        state.mark(at).filter(|mark| Some(*mark) > state.trim)
    }

    /// What was published up to and with a time and is not in runs yet. It stays readable until
    /// [`crate::Store::commit`] names the segment it was written to; None without changes.
    ///
    /// # Errors
    /// [`Error::Arrow`] for rows that do not fit the table.
    pub fn flush(&self, upto: Ts) -> Result<Option<Change>> {
        let nodes = {
            let state = &mut *self.state.lock();
            state.freeze(upto);
            state.flushing = Some(upto);
            let crossing = |overlay: &Arc<Overlay>| overlay.low <= upto && upto < overlay.high;
            assert!(!state.overlays.iter().any(crossing), "settled beyond a checkpoint to come");
            state.nodes(upto)
        };
        let mut pieces = Vec::new();
        nodes.iter().try_for_each(|overlay| overlay.pieces(&self.layout, &mut pieces))?;
        Ok((!pieces.is_empty()).then_some(Change { pieces }))
    }

    /// Bytes of overlays in memory.
    pub fn bytes(&self) -> usize {
        let state = self.state.lock();
        let raw = state.raw.iter().flat_map(|(_, deltas)| deltas).map(Delta::bytes).sum::<usize>();
        let listed = |tier: &&Arc<Overlay>| state.overlays.iter().any(|o| Arc::ptr_eq(o, tier));
        let tiers = state.tiers.iter().filter(|tier| !listed(tier));
        raw + state.overlays.iter().chain(tiers).map(|overlay| overlay.bytes()).sum::<usize>()
    }

    /// Merges the overlays up to and with a time for good, which frees memory: no snapshot will be
    /// asked for below it. It may not lie above a checkpoint whose `flush` is still to come.
    ///
    /// # Errors
    /// [`Error::Arrow`] for rows that do not fit the table.
    pub fn settle(&self, since: Ts) -> Result<()> {
        let (old, new) = {
            let state = &mut *self.state.lock();
            state.freeze(since);
            state.readable_from = state.readable_from.max(since);
            let new = state.tiered(since);
            (state.upto(since).to_vec(), new)
        };
        for overlay in &new {
            overlay.sorted(&self.layout)?;
        }
        let state = &mut *self.state.lock();
        let same = |(a, b): (&Arc<Overlay>, &Arc<Overlay>)| Arc::ptr_eq(a, b);
        if state.overlays.len() >= old.len() && state.overlays.iter().zip(&old).all(same) {
            state.overlays.splice(..old.len(), new.iter().cloned());
            if state.tiers.last().is_none_or(|tier| tier.high <= since) {
                state.tiers = new;
            }
        }
        Ok(())
    }

    /// The table as it is after an epoch that every worker has completed.
    ///
    /// # Errors
    /// [`Error::TooOld`] when a checkpoint of a later epoch has been committed meanwhile: choose the
    /// epoch again.
    pub fn snapshot(&self, at: Epoch) -> Result<Snapshot> {
        let upto = at.ts();
        let state = &mut *self.state.lock();
        if upto < state.readable_from {
            return Err(Error::TooOld { table: self.id(), at, from: state.readable_from });
        }
        Ok(self.snapshot_of(state, upto))
    }

    /// The table with everything that has been published: of the state of an operator, where each
    /// worker looks for what it has published itself.
    pub fn latest(&self) -> Snapshot {
        self.snapshot_of(&mut self.state.lock(), Ts(u64::MAX))
    }

    fn snapshot_of(&self, state: &mut State, upto: Ts) -> Snapshot {
        state.freeze(upto);
        let overlays = state.tiered(upto);
        if state.tiers.last().is_none_or(|tier| tier.high <= upto) {
            state.tiers.clone_from(&overlays);
        }
        let (layout, cache) = (Arc::clone(&self.layout), Arc::clone(&self.cache));
        Snapshot::new(layout, cache, overlays, state.runs.clone(), state.mark(upto))
    }

    pub(crate) fn runs(&self) -> Vec<Arc<Run>> {
        self.state.lock().runs.clone()
    }

    /// The time up to which the last [`Table::flush`] went, until that is committed.
    pub(crate) fn flushing(&self) -> Option<Ts> {
        self.state.lock().flushing
    }

    /// Below which mark rows are gone for good: that of the last commit, from before a restart too.
    pub fn trim(&self) -> Option<i64> {
        self.state.lock().trim
    }

    /// Makes a durable change visible to new snapshots. Gives what is no longer needed, to be
    /// dropped outside of locks.
    pub(crate) fn install(&self, change: RunChange) -> Vec<Arc<Run>> {
        let state = &mut *self.state.lock();
        let (kept, removed) = std::mem::take(&mut state.runs)
            .into_iter()
            .partition(|run| !change.remove.contains(&run.id()));
        state.runs = kept;
        state.runs.extend(change.add);
        state.runs.sort_by_key(|run| run.sequence);
        if let Some(upto) = change.flushed {
            state.flushing = state.flushing.filter(|later| *later > upto);
            state.overlays.retain(|overlay| overlay.high > upto);
            state.tiers.clear();
            state.readable_from = state.readable_from.max(upto);
        }
        if change.trim.is_some() {
            state.trim = state.trim.max(change.trim);
            let durable = state.trim;
            state.expired.retain(|(_, mark)| Some(*mark) > durable);
            state.readable_from = state.readable_from.max(change.epoch.unwrap_or_default().ts());
        }
        removed
    }
}

impl Table {
    /// Lets go of everything: the table was dropped. Snapshots keep what they hold.
    pub(crate) fn clear(&self) -> Vec<Arc<Run>> {
        std::mem::take(&mut *self.state.lock()).runs
    }
}

impl State {
    fn expire(&mut self, ts: Ts, mark: i64) {
        let place = self.expired.partition_point(|(known, _)| *known <= ts);
        if Some(mark) > self.trim && self.expired[..place].last().is_none_or(|last| last.1 < mark) {
            self.expired.insert(place, (ts, mark));
        }
    }

    /// Below which first key rows are gone at a time.
    fn mark(&self, at: Ts) -> Option<i64> {
        let place = self.expired.partition_point(|(known, _)| *known <= at);
        self.trim.max(self.expired[..place].last().map(|(_, mark)| *mark))
    }
    fn publish(&mut self, ts: Ts, deltas: Vec<Delta>) {
        match self.raw.binary_search_by_key(&ts, |(ts, _)| *ts) {
            Ok(found) => self.raw[found].1.extend(deltas),
            Err(place) => self.raw.insert(place, (ts, deltas)),
        }
        let stale = self.tiers.iter().position(|tier| ts <= tier.high);
        self.tiers.truncate(stale.unwrap_or(self.tiers.len()));
    }

    /// Turns what was published up to and with a time into overlays.
    fn freeze(&mut self, upto: Ts) {
        let count = self.raw.partition_point(|(ts, _)| *ts <= upto);
        for (ts, deltas) in self.raw.drain(..count) {
            let place = self.overlays.partition_point(|overlay| overlay.high <= ts);
            self.overlays.insert(place, Arc::new(Overlay::published(ts, deltas)));
        }
    }

    fn upto(&self, upto: Ts) -> &[Arc<Overlay>] {
        &self.overlays[..self.overlays.partition_point(|overlay| overlay.high <= upto)]
    }

    /// The overlays up to a time, the oldest ones merged as far as that has been done.
    fn nodes(&self, upto: Ts) -> Vec<Arc<Overlay>> {
        let merged = self.tiers.partition_point(|tier| tier.high <= upto);
        let mut nodes = self.tiers[..merged].to_vec();
        let rest = self.upto(upto);
        let covered = match nodes.last() {
            Some(last) => rest.partition_point(|overlay| overlay.high <= last.high),
            None => 0,
        };
        nodes.extend_from_slice(&rest[covered..]);
        nodes
    }

    /// The same, merged so that each is at least twice as long as the next newer one: a row is
    /// merged a logarithmic number of times.
    fn tiered(&self, upto: Ts) -> Vec<Arc<Overlay>> {
        let mut groups: Vec<(usize, Vec<Arc<Overlay>>)> = Vec::new();
        for node in self.nodes(upto) {
            let mut group = (node.rows(), vec![node]);
            while let Some((rows, below)) = groups.pop() {
                if rows >= 2 * group.0 || self.is_bound_between(&below, &group.1) {
                    groups.push((rows, below));
                    break;
                }
                group = (rows + group.0, [below, group.1].concat());
            }
            groups.push(group);
        }
        groups.into_iter().map(|(_, group)| overlay::join(group)).collect()
    }

    fn is_bound_between(&self, below: &[Arc<Overlay>], above: &[Arc<Overlay>]) -> bool {
        let low = below.first().map(|overlay| overlay.low);
        let high = above.last().map(|overlay| overlay.high);
        self.flushing.is_some_and(|bound| low <= Some(bound) && Some(bound) < high)
    }
}

/// Drops retractions whose keys the next delta sets again: operators that update a row send the old
/// and the new one with the very same key arrays.
fn drop_replaced(sort: &[usize], deltas: &mut Vec<Delta>) {
    let all = |delta: &Delta, sign: i64| delta.weights.values().iter().all(|w| w.signum() == sign);
    let same = |a: &ArrayRef, b: &ArrayRef| Arc::ptr_eq(a, b) || a.to_data().ptr_eq(&b.to_data());
    let mut n = 0;
    while n + 1 < deltas.len() {
        let (old, new) = (&deltas[n], &deltas[n + 1]);
        let mut keys = sort.iter().map(|c| (old.rows.column(*c), new.rows.column(*c)));
        if old.len() == new.len() && keys.all(|(a, b)| same(a, b)) && all(old, -1) && all(new, 1) {
            deltas.remove(n);
        }
        n += 1;
    }
}
