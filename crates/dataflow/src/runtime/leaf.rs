//! One input of a dataflow: rows pass the leaf's chain here, before timely, and are split by vnode.
//!
//! A chain may copy each row into thousands of windows. Then rows wait here, as they came, and pass a
//! few at a time, with turns of the other dataflows in between.
//!
//! Invariants: 1. the capability passes no rows that wait ([`LeafInput::advance`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use millrace_plan::LeafKind;
use millrace_storage::Reach;
use millrace_types::{Delta, OFFSET_COLUMN, PARTITION_COLUMN, Ts};
use timely::dataflow::operators::ActivateCapability;
use timely::dataflow::operators::core::unordered_input::UnorderedHandle;

use super::build::{Packets, routed};
use super::figures::{Behind, Counters};
use super::packet::Packet;
use super::publish::Side;
use super::worker::Shared;
use super::{Clock, FeedId};
use crate::chain::Runner;
use crate::operator::{Context, Error, LateRow, LateRows, Output};

/// Rows that pass a chain in one go, counted as they leave it.
const COPIED_ROWS: usize = 1 << 16;

/// One input of a dataflow.
pub(super) struct LeafInput {
    pub(super) kind: LeafKind,
    /// Feeds whose rows come in here, from a time on.
    pub(super) feeds: Vec<(FeedId, Ts)>,
    /// The changes of the view below come in here from this time on.
    pub(super) follows: Option<Ts>,
    /// Hydration: changes of the view below that are not let in yet.
    pub(super) held: Vec<(Ts, Vec<Delta>)>,
    /// Hydration: the part of the view below that has been read.
    pub(super) reach: Reach,
    /// The key of the view below.
    pub(super) key: Vec<usize>,
    pub(super) columns: Vec<usize>,
    pub(super) chain: Runner,
    /// Rows that wait for their turn, with their bytes in memory.
    pub(super) waiting: VecDeque<(Context, Delta, usize)>,
    /// How many they are, and the bytes of all of them.
    pub(super) waiting_rows: usize,
    pub(super) waiting_bytes: usize,
    /// No rows below it will come.
    pub(super) upto: Ts,
    pub(super) route: Option<Vec<usize>>,
    pub(super) workers: usize,
    pub(super) handle: UnorderedHandle<u64, Packets>,
    pub(super) capability: ActivateCapability<u64>,
    pub(super) counters: Arc<Counters>,
    /// How long rows have waited.
    pub(super) behind: Behind,
    pub(super) clock: Clock,
}

impl LeafInput {
    /// Rows of `context.ts`: they pass at once, or wait if they are many.
    pub(super) fn push(
        &mut self,
        rows: &Delta,
        context: &Context,
        side: &mut Side,
    ) -> Result<(), Error> {
        let most = (COPIED_ROWS / self.chain.copies()).max(1);
        if self.chain.copies() == 1 || rows.len() <= most {
            return self.pass(rows, context, side);
        }
        let bytes = rows.bytes() / rows.len().div_ceil(most);
        for from in (0..rows.len()).step_by(most) {
            let length = most.min(rows.len() - from);
            let (part, weights) = (rows.rows.slice(from, length), rows.weights.slice(from, length));
            let part = Delta { rows: part, weights, dest: 0 };
            self.waiting_rows += length;
            self.waiting.push_back((context.clone(), part, bytes));
            self.waiting_bytes += bytes;
        }
        self.counters.holds(self.waiting_bytes);
        Ok(())
    }

    /// Lets some of the rows pass that wait. True if there are others.
    pub(super) fn let_pass(&mut self, side: &mut Side) -> Result<bool, Error> {
        let Some((context, rows, bytes)) = self.waiting.pop_front() else { return Ok(false) };
        self.waiting_rows -= rows.len();
        self.waiting_bytes -= bytes;
        self.counters.holds(self.waiting_bytes);
        self.pass(&rows, &context, side)?;
        self.advance(self.upto);
        Ok(!self.waiting.is_empty())
    }

    /// Runs the leaf's chain over rows of `context.ts` and sends what is left.
    fn pass(&mut self, rows: &Delta, context: &Context, side: &mut Side) -> Result<(), Error> {
        let begin = (self.clock)();
        let mut out = Output::default();
        let left = self.run(rows, context, &mut out)?;
        if !out.late.is_empty() {
            let late = std::mem::take(&mut out.late);
            let found = as_they_came(&late, &rows.rows)?;
            side.turn_away(context.ts, LateRows { late, rows: found });
        }
        side.add(context.ts, out);
        let end = (self.clock)();
        self.counters.passed(rows.len(), left, end - begin);
        let behind_us = self.behind.turn(begin, end, self.waiting_rows > 0);
        self.counters.left(behind_us, self.waiting_rows);
        Ok(())
    }

    /// How many rows were left.
    fn run(&mut self, rows: &Delta, context: &Context, out: &mut Output) -> Result<usize, Error> {
        let picked = Delta { rows: rows.rows.project(&self.columns)?, ..rows.clone() };
        let delta = self.chain.run(picked, context, out)?;
        let left = delta.len();
        if let LeafKind::Source(source) = self.kind {
            out.late.iter_mut().for_each(|row| row.source = source);
        }
        if delta.is_empty() {
            return Ok(0);
        }
        let capability = self.capability.delayed(&context.ts.0);
        let mut output = self.handle.activate();
        let mut session = output.session(&capability);
        for part in routed(delta, self.route.as_deref(), self.workers)? {
            session.give(Packet(part));
        }
        Ok(left)
    }

    /// Lets in what is held back of times before one, as far as the view below has been read.
    pub(super) fn let_in(
        &mut self,
        before: Ts,
        shared: &Shared,
        live_from: Option<Ts>,
        side: &mut Side,
    ) -> Result<(), Error> {
        let later = self.held.iter().position(|(ts, _)| *ts >= before).unwrap_or(self.held.len());
        let held = self.held.drain(..later).collect::<Vec<_>>();
        for (ts, deltas) in held {
            let context = shared.context(ts, live_from);
            for delta in deltas {
                let delta = match &self.reach {
                    Reach::Nothing => continue,
                    Reach::All => delta,
                    Reach::UpTo(bound) => {
                        let keys = self.key.iter().map(|at| delta.rows.column(*at).clone());
                        let keys = keys.collect::<Vec<_>>();
                        let read = bound.covers(&keys, delta.len());
                        delta.filter(&read.map_err(|error| Error::Below(error.to_string()))?)?
                    }
                };
                self.push(&delta, &context, side)?;
            }
        }
        Ok(())
    }

    /// No rows below `upto` will come.
    pub(super) fn advance(&mut self, upto: Ts) {
        self.upto = self.upto.max(upto);
        let waiting = self.waiting.iter().map(|(context, ..)| context.ts).min();
        let upto = waiting.map_or(self.upto, |ts| ts.min(self.upto));
        if upto.0 > *self.capability.time() {
            self.capability.downgrade(&upto.0);
        }
    }
}

/// The rows that were turned away, as they reached the leaf: found by partition and offset. None where
/// the rows do not tell these.
fn as_they_came(late: &[LateRow], rows: &RecordBatch) -> Result<Option<RecordBatch>, Error> {
    let columns = (rows.column_by_name(PARTITION_COLUMN), rows.column_by_name(OFFSET_COLUMN));
    let (Some(partitions), Some(offsets)) = columns else { return Ok(None) };
    let partitions = partitions.as_primitive::<Int32Type>().values();
    let offsets = offsets.as_primitive::<Int64Type>().values();
    // Those of a source are of one partition, in the order of their offsets.
    let found = late.iter().map(|row| {
        let at = offsets.binary_search(&row.offset).ok()?;
        (partitions[at] == row.partition).then(|| u32::try_from(at).expect("batches are small"))
    });
    let found = match found.collect::<Option<Vec<u32>>>() {
        Some(found) => Some(found),
        None => {
            let places = (0u32..).zip(partitions.iter().copied().zip(offsets.iter().copied()));
            let places: BTreeMap<_, _> = places.map(|(row, place)| (place, row)).collect();
            let found = late.iter().map(|row| places.get(&(row.partition, row.offset)).copied());
            found.collect()
        }
    };
    let found = found.map(|found| take_record_batch(rows, &UInt32Array::from(found)));
    Ok(found.transpose()?)
}
