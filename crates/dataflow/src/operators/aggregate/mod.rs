//! The aggregation operator: grouped, global, and over hopping windows.
//!
//! Rows of one time are first added up in a *scratch*, a small copy of the same structure (hash
//! index and columns of accumulators) that `absorb` fills a batch at a time. `finish` merges the
//! scratch into the hot state, so that each key is looked up once per epoch. What the group showed
//! before is computed from the state before the merge and what it shows now from the state after
//! it: all state is exact, so the old row is the one that was sent, bit for bit. While nobody
//! follows the changes (`Context::changelog`), the new row alone replaces the old one.
//!
//! Under retraction: linear accumulators take negative weights; a group whose row count falls to 0
//! leaves. Minimum, maximum, first and last are kept in place over append-only input, in a counted
//! multiset over any other. Distinct values are counted too; those that come and go feed linear
//! accumulators. What has no class of its own is run again over the multiset of a touched group.
//! A group whose result its type cannot hold has no row but an error row until the result fits again.
//!
//! State: one table, keyed by the group; slots changed since the last hand-over are marked in a
//! bitmap. Each multiset and each set of distinct values has a table of its own, keyed by the group
//! and the value. State goes when a group's window has closed (one `trim`, no output), or when its
//! last row is retracted (a tombstone at the next hand-over, until which its slot stays). When memory is
//! short all groups leave memory, and come back from the store when they are touched (`away`).
//!
//! Hopping windows: rows are added up by pane; `finish` adds each pane to every window that is
//! still open. State is per window.
//!
//! Many groups are merged in portions ([`portions`]), and the operator stops after each; where a group has
//! many values over which a function is run again, in its midst, too ([`merge`]).
//!
//! Invariants: 1. no row count is below 0 ([`Aggregate::check_counts`]). 2. a slot in the index has
//! a row count above 0, or is marked as changed, or is the row of a global aggregation.

mod accumulator;
mod average;
mod away;
mod count;
mod distinct;
mod emit;
mod extreme;
mod finish;
mod float;
mod logged;
mod merge;
mod multiset;
mod ordered;
mod panes;
mod parts;
mod portions;
mod rebuild;
mod results;
mod round;
mod state;
mod sum;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Field;
use millrace_plan::{Call, Function};
use millrace_types::{Delta, Ts, vnodes, worker_of};

use self::accumulator::{Accumulator, part};
use self::count::Count;
use self::finish::Finishing;
use self::parts::{Masks, Parts};
use self::portions::GROUPS;
use self::results::{Incoming, Outcome};
use self::windows::{Settle, Windows};
use super::away::Away;
use super::slots::{self, Index, Marks};
use crate::graph::AggregateSpec;
use crate::operator::{Context, Error, Operator, Output, StateChange, StateSpec, Stored};

/// The part that counts the rows of a group.
const ROWS: usize = 0;

/// Groups with their accumulators: the scratch of one time, or the hot state.
struct Groups {
    index: Box<dyn Index>,
    cells: Vec<Box<dyn Accumulator>>,
}

impl Groups {
    fn new(spec: &AggregateSpec, parts: &Parts) -> Result<Groups, Error> {
        let fields: Vec<&Field> = spec.group.iter().map(|c| spec.input.schema.field(*c)).collect();
        Ok(Groups { index: slots::index(&fields)?, cells: parts.accumulators()? })
    }

    /// The slot of each row's key; new keys get an empty slot.
    fn slots(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        let mut slots = Vec::new();
        if keys.is_empty() {
            self.index.assign(keys, rows.min(1), &mut slots)?;
            slots.resize(rows, 0);
        } else {
            self.index.assign(keys, rows, &mut slots)?;
        }
        let capacity = self.index.capacity();
        self.cells.iter_mut().for_each(|cell| cell.resize(capacity));
        Ok(slots)
    }

    fn rows(&self, slot: u32) -> i64 {
        part::<Count>(&self.cells, ROWS).get(slot)
    }

    fn reset(&mut self, slot: u32) {
        self.cells.iter_mut().for_each(|cell| cell.reset(slot));
    }

    fn clear(&mut self) {
        self.index.clear();
        self.cells.iter_mut().for_each(|cell| cell.clear());
    }

    fn bytes(&self) -> usize {
        self.index.bytes() + self.cells.iter().map(|cell| cell.bytes()).sum::<usize>()
    }
}

/// See the head of the file.
pub(crate) struct Aggregate {
    spec: Arc<AggregateSpec>,
    parts: Parts,
    outcomes: Vec<Outcome>,
    scratches: BTreeMap<Ts, Groups>,
    /// An empty scratch with its memory, to use again.
    spare: Option<Groups>,
    state: Groups,
    /// Groups that the store alone has.
    away: Away,
    marks: Marks,
    windows: Windows,
    /// The row of a global aggregation has been given out, or is another worker's.
    started: bool,
    /// A touched group's result nearly always changes, and no group goes while its window is open.
    replaces: bool,
    /// A group may show an error.
    failed: bool,
    finishing: Option<Finishing>,
    /// Groups of one portion.
    fuel: usize,
}

/// Slots of the state with their key columns (the window's end among them).
struct Touched {
    slots: Vec<u32>,
    keys: Vec<ArrayRef>,
}

impl Touched {
    fn take(&self, rows: &[u32]) -> Result<Touched, Error> {
        let slots = rows.iter().map(|row| self.slots[*row as usize]).collect();
        let rows = UInt32Array::from(rows.to_vec());
        let keys = self.keys.iter().map(|key| take(key, &rows, None)).collect::<Result<_, _>>()?;
        Ok(Touched { slots, keys })
    }
}

impl Touched {
    /// The groups that have a row already, and the others.
    fn split(&self, existed: &[bool]) -> Result<(Touched, Touched), Error> {
        let (mut existing, mut fresh) = (Vec::new(), Vec::new());
        for (row, existed) in (0u32..).zip(existed) {
            if *existed { existing.push(row) } else { fresh.push(row) }
        }
        if fresh.is_empty() || existing.is_empty() {
            let all = Touched { slots: self.slots.clone(), keys: self.keys.clone() };
            let none = self.take(&[])?;
            return Ok(if fresh.is_empty() { (all, none) } else { (none, all) });
        }
        Ok((self.take(&existing)?, self.take(&fresh)?))
    }
}

impl Aggregate {
    /// The operator, without groups.
    ///
    /// # Errors
    /// A function or column type that it does not take.
    pub(crate) fn new(spec: Arc<AggregateSpec>) -> Result<Aggregate, Error> {
        let schema = &spec.input.schema;
        let mut parts = Parts::new(Arc::clone(schema), &spec.name);
        let incoming =
            Incoming { schema, ties: &spec.input.key, append_only: spec.input.append_only };
        let outcomes = spec
            .calls
            .iter()
            .map(|call| Outcome::new(call, incoming, &mut parts))
            .collect::<Result<_, _>>()?;
        let state = Groups::new(&spec, &parts)?;
        let windows = Windows::new(Settle::new(&spec)?, spec.input.append_only);
        let counts = |call: &Call| {
            let counts = matches!(call.function, Function::Count | Function::Sum | Function::Avg);
            counts && call.filter.is_none()
        };
        let replaces = spec.input.append_only && spec.calls.iter().any(counts);
        Ok(Aggregate {
            spec,
            parts,
            outcomes,
            scratches: BTreeMap::new(),
            spare: None,
            state,
            away: Away::default(),
            marks: Marks::default(),
            windows,
            started: false,
            replaces,
            failed: false,
            finishing: None,
            fuel: GROUPS,
        })
    }

    fn is_global(&self) -> bool {
        self.spec.group.is_empty()
    }

    /// The row of a global aggregation is owed from the start by one worker.
    fn start(&mut self, context: &Context) -> Result<bool, Error> {
        if !self.is_global() || self.started {
            return Ok(false);
        }
        self.started = true;
        let owner = worker_of(vnodes(&[], 1)?[0], context.workers);
        if owner != context.worker {
            return Ok(false);
        }
        self.state.slots(&[], 1)?;
        Ok(true)
    }

    fn check_counts(&self, cells: &[Box<dyn Accumulator>], slots: &[u32]) {
        let counts: &Count = part(cells, ROWS);
        for slot in slots {
            let rows = counts.get(*slot);
            assert!(rows >= 0, "{}: a group has {rows} rows", self.spec.name);
        }
    }

    /// True if there is no state yet that a scratch would have to be merged into.
    fn is_first(&self, scratch: &Groups) -> bool {
        let entries = self.state.cells.iter().any(|cell| cell.entry_types().is_some());
        let plain = self.spec.input.append_only && self.spec.hop.is_none() && !self.is_global();
        let plain = plain && !entries && !self.away.is_some();
        plain && self.state.index.capacity() == 0 && scratch.index.capacity() > 0
    }
}

impl Operator for Aggregate {
    fn absorb(&mut self, _port: usize, delta: Delta, context: &Context) -> Result<(), Error> {
        if delta.is_empty() {
            return Ok(());
        }
        if !self.scratches.contains_key(&context.ts) {
            let scratch = match self.spare.take() {
                Some(spare) => spare,
                None => Groups::new(&self.spec, &self.parts)?,
            };
            self.scratches.insert(context.ts, scratch);
        }
        let scratch = self.scratches.get_mut(&context.ts).expect("inserted above");
        let column = |c: &usize| Arc::clone(delta.rows.column(*c));
        let keys: Vec<ArrayRef> = self.spec.group.iter().map(column).collect();
        let groups = scratch.slots(&keys, delta.len())?;
        let mut masks = Masks::new(&delta);
        for (part, cell) in self.parts.all.iter().zip(&mut scratch.cells) {
            if part.over.is_some() {
                continue;
            }
            let columns: Vec<ArrayRef> = part.inputs().map(|c| column(&c)).collect();
            cell.update(&groups, &columns, masks.weights(part))?;
        }
        Ok(())
    }

    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error> {
        let finishing = match self.finishing.take() {
            Some(finishing) => Some(finishing),
            None => self.begin(context)?,
        };
        if let Some(finishing) = finishing {
            self.finishing = self.go_on(finishing, context, out)?;
        }
        if self.has_more() { Ok(()) } else { self.settle(context) }
    }

    fn has_more(&self) -> bool {
        self.finishing.is_some()
    }

    fn set_fuel(&mut self, rows: usize) {
        self.fuel = rows.max(1);
    }

    fn wants_start(&self) -> bool {
        self.is_global() && !self.started
    }

    fn tables(&self) -> Vec<StateSpec> {
        let mut tables = vec![self.table()];
        tables.extend(self.counted().into_iter().map(|part| self.entry_table(part)));
        tables
    }

    fn settle(&mut self, context: &Context) -> Result<(), Error> {
        let settled = self.windows.settle(context, self.state.index.as_ref())?;
        self.marks.count(settled.len());
        let gone = self.state.index.remove_all(settled);
        self.state.cells.iter_mut().for_each(|cell| cell.drop_all(&gone));
        gone.iter().for_each(|slot| self.marks.unset(*slot));
        Ok(())
    }

    fn hand_over(&mut self) -> Result<Vec<Option<StateChange>>, Error> {
        let trim = self.windows.take_trim();
        // First, while the keys of groups that are gone can still be named.
        let entries = self.entry_changes(trim)?;
        let mut changes = vec![self.changes(trim)?];
        changes.extend(entries);
        Ok(changes)
    }

    fn restore(&mut self, table: usize, rows: arrow::array::RecordBatch) -> Result<(), Error> {
        match table.checked_sub(1) {
            None => self.take_back(&rows),
            Some(multiset) => self.take_entries_back(multiset, &rows),
        }
    }

    fn let_go(&mut self, stored: &Arc<dyn Stored>) -> Result<bool, Error> {
        self.let_all_go(stored)
    }

    fn rows(&self) -> usize {
        let entries: usize = self.state.cells.iter().map(|cell| cell.held()).sum();
        self.state.index.len() + entries
    }

    fn bytes(&self) -> usize {
        let finishing = self.finishing.as_ref().and_then(Finishing::scratch);
        let scratches = self.scratches.values().chain(&self.spare).chain(finishing);
        self.state.bytes()
            + scratches.map(Groups::bytes).sum::<usize>()
            + self.marks.bytes()
            + self.windows.bytes()
    }

    fn touched(&self) -> u64 {
        let entries: u64 = self.state.cells.iter().map(|cell| cell.touched()).sum();
        self.marks.touched() + entries
    }
}
