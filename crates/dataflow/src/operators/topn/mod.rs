//! The Top-N operator: the first rows of each group, in an order without ties.
//!
//! Each group has a list of its rows in order (`sorted`). The rows of one time are added up first,
//! then each touched group is looked at once: what its first rows were, the changes, what they are
//! now. The difference leaves. A change costs a search in the group's list and a look at its first
//! rows, however many there are behind them.
//!
//! Under retraction all rows of a group are kept, as any may move up. Over rows that only come no
//! more are kept than are looked at: what falls behind can never return.
//!
//! With ties the first rows end where a row begins that is not equal to the last one in the order's own
//! columns ([`Peers`]).
//!
//! Many rows of one time are finished in pieces, a group in one of them (`pieces`).
//!
//! State: a table keyed by the group and the input's key. A row goes with its weight, a group with its
//! last row, or when the time that its key names has passed.
//!
//! Invariants: 1. no row has a weight below 0 ([`TopN::change`]). 2. the rows of a list ascend strictly
//! (`sorted`). 3. a slot in a list has a weight above 0.

mod behind;
mod peers;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{DataType, Field, UInt32Type};
use arrow::row::Rows as Encoded;
use millrace_types::Delta;

use self::behind::Behind;
use self::peers::Peers;
use super::away::{Away, can_be_found};
use super::pieces::Pieces;
use super::slots::Marks;
use super::slots::{self, Index};
use super::sorted::{Closing, Layout, List, Rows, by_group, group_of, row_of};
use crate::graph::TopNSpec;
use crate::operator::{Context, Error, Operator, Output, StateChange, StateSpec, Stored};

/// Changed rows that leave together.
const CHANGES: usize = 1 << 14;

/// A row among the first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    slot: u32,
    /// From 1; 0 if nobody asks.
    position: i64,
    /// How often it is shown.
    weight: i64,
}

/// See the head of the file.
pub(crate) struct TopN {
    spec: Arc<TopNSpec>,
    /// Rows passed over, then rows shown.
    offset: i64,
    limit: i64,
    /// Rows that only come: so many are kept of each group.
    kept: Option<i64>,
    behind: Option<Behind>,
    /// Which rows tie, if that is asked for.
    peers: Option<Peers>,
    /// The rows are told by their group: one replaces the other.
    replaces: bool,
    pieces: Pieces,
    groups: Box<dyn Index>,
    /// Groups that the store alone has.
    away: Away,
    /// Groups without rows, that the store still has rows of until the next hand-over.
    emptied: Vec<u32>,
    /// By slot of the group.
    lists: Vec<List>,
    rows: Rows,
    layout: Layout,
    closing: Closing,
    marks: Marks,
    /// Slots that are in no list any more, until their rows have left.
    removed: Vec<u32>,
    /// Stored rows that are gone since the last hand-over.
    gone: Vec<Box<[u8]>>,
}

impl TopN {
    /// The operator, without rows.
    ///
    /// # Errors
    /// A column type that it does not take.
    pub(crate) fn new(spec: Arc<TopNSpec>) -> Result<TopN, Error> {
        let schema = &spec.input.schema;
        let first = spec.settled.as_ref().map(|settled| settled.column);
        let group: Vec<&Field> = spec.group.iter().map(|column| schema.field(*column)).collect();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (offset, limit) = (count(spec.offset), count(spec.limit));
        let weight = Field::new("weight", DataType::Int64, true);
        let counts = spec.input.append_only && spec.ties.is_none();
        let kept = counts.then(|| offset.saturating_add(limit));
        let behind = kept.map(|kept| Behind::new(schema, &spec.order, kept)).transpose()?;
        let peers = spec.ties.map(|ties| Peers::new(schema, &spec.order[..ties])).transpose()?;
        // Both zeros are one group and two keys: rows that came with one do not replace those of the other.
        let has_floats = group
            .iter()
            .any(|field| field.data_type().is_floating() || field.data_type().is_nested());
        Ok(TopN {
            offset,
            limit,
            kept,
            behind: behind.flatten(),
            peers,
            replaces: limit == 1
                && spec.ties.is_none()
                && spec.output.key == spec.group
                && !has_floats,
            pieces: Pieces::new(&spec.group),
            groups: slots::index(&group)?,
            away: Away::default(),
            emptied: Vec::new(),
            lists: Vec::new(),
            rows: Rows::new(schema, &spec.order)?,
            closing: Closing::new(spec.settled.as_ref(), &spec.group, &spec.input)?,
            layout: Layout::new(&spec.input, &spec.group, first, vec![weight]),
            marks: Marks::default(),
            removed: Vec::new(),
            gone: Vec::new(),
            spec,
        })
    }

    /// What is stored of the groups of some rows comes back.
    fn bring_back(&mut self, columns: &[ArrayRef], rows: usize) -> Result<(), Error> {
        let known = (&self.away, self.groups.as_ref());
        let stored = self.layout.fetch(known, &self.spec.group, (columns, rows))?;
        stored.iter().try_for_each(|rows| self.take_back(rows))
    }

    /// The slots of the groups of rows; all rows are one group if there are no columns.
    fn groups(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        let keys: Vec<ArrayRef> =
            self.spec.group.iter().map(|column| Arc::clone(&columns[*column])).collect();
        let mut slots = Vec::new();
        if keys.is_empty() {
            self.groups.assign(&keys, rows.min(1), &mut slots)?;
            slots.resize(rows, 0);
        } else {
            self.groups.assign(&keys, rows, &mut slots)?;
        }
        self.lists.resize_with(self.groups.capacity(), List::default);
        Ok(slots)
    }

    /// Which rows may be among the first ones; None if all may.
    fn others(&self, delta: &Delta, groups: &[u32]) -> Result<Option<BooleanArray>, Error> {
        let Some(behind) = &self.behind else { return Ok(None) };
        behind.others(delta.rows.columns(), &delta.weights, groups, (&self.lists, &self.rows))
    }

    /// The first rows of a group, in order; gives how many different ones were looked at.
    fn look(&mut self, group: u32, shown: &mut Vec<Shown>) -> usize {
        shown.clear();
        let end = self.offset.saturating_add(self.limit);
        let (mut before, mut visited) = (0i64, 0);
        let (mut rank, mut last) = (0, None);
        for slot in self.lists[group as usize].iter() {
            if let Some(peers) = &self.peers {
                if last.is_none_or(|last| !peers.tie(&self.rows, last, slot)) {
                    rank = before;
                }
                last = Some(slot);
                if rank >= end {
                    break;
                }
                visited += 1;
                let weight = self.rows.weight(slot);
                let position = if self.spec.position { rank + 1 } else { 0 };
                shown.push(Shown { slot, position, weight });
                before += weight;
                continue;
            }
            if before >= end {
                break;
            }
            visited += 1;
            let after = before + self.rows.weight(slot);
            let (from, to) = (before.max(self.offset), after.min(end));
            if self.spec.position {
                let places = from..to;
                shown.extend(places.map(|at| Shown { slot, position: at + 1, weight: 1 }));
            } else if from < to {
                shown.push(Shown { slot, position: 0, weight: to - from });
            }
            before = after;
        }
        self.marks.count(visited);
        visited
    }

    /// Changes the weight of a row of a group.
    fn change(&mut self, group: u32, row: &[u8], weight: i64, peer: usize) {
        let TopN { lists, rows, marks, removed, kept, peers, .. } = self;
        let list = &mut lists[group as usize];
        let found = list.find(row, rows);
        marks.count(list.steps());
        match found {
            Ok(place) => {
                let slot = list.at(place);
                let now = rows.weight(slot) + weight;
                assert!(now >= 0, "{}: a row has the weight {now}", self.spec.name);
                rows.set_weight(slot, now);
                if now == 0 {
                    list.remove(place);
                    removed.push(slot);
                } else {
                    marks.set(slot);
                }
            }
            Err(place) => {
                assert!(weight >= 0, "{}: a row has the weight {weight}", self.spec.name);
                // All rows that only come have the weight 1.
                let is_full = kept.is_some_and(|kept| list.len() as u64 >= kept.unsigned_abs());
                if is_full && list.is_end(place) {
                    return;
                }
                let slot = rows.add(row, weight);
                if let Some(peers) = peers {
                    peers.note(slot, peer);
                }
                list.insert(place, slot);
                marks.set(slot);
                if is_full {
                    removed.extend(list.pop());
                }
            }
        }
    }

    /// The changes of one group.
    fn touch(
        &mut self,
        group: u32,
        delta: (&[u64], &Encoded, &Int64Array, &[usize]),
        two: &mut [Vec<Shown>; 2],
    ) {
        let (order, encoded, weights, peers) = delta;
        self.look(group, &mut two[0]);
        for packed in order {
            let row = row_of(*packed);
            let peer = peers.get(row).copied().unwrap_or_default();
            self.change(group, encoded.row(row).as_ref(), weights.value(row), peer);
        }
        let visited = self.look(group, &mut two[1]);
        if self.peers.is_some() && self.spec.input.append_only {
            // What falls behind can never return.
            let list = &mut self.lists[group as usize];
            while list.len() > visited {
                self.removed.extend(list.pop());
            }
        }
        if self.lists[group as usize].is_empty() {
            match self.away.is_some() {
                true => self.emptied.push(group),
                false => drop(self.groups.remove(group)),
            }
        }
    }

    /// What left and what came among the first rows.
    fn compare(&self, two: &mut [Vec<Shown>; 2], changelog: bool, changes: &mut Vec<Shown>) {
        let [before, after] = two;
        if before == after {
            return;
        }
        if self.replaces && !changelog && !after.is_empty() {
            return changes.append(after);
        }
        before.iter_mut().for_each(|shown| shown.weight = -shown.weight);
        let from = changes.len();
        changes.append(before);
        changes.append(after);
        changes[from..].sort_unstable_by_key(|shown| (shown.slot, shown.position));
        let mut kept = from;
        for at in from..changes.len() {
            let shown = changes[at];
            match changes[from..kept].last_mut() {
                Some(last) if (last.slot, last.position) == (shown.slot, shown.position) => {
                    last.weight += shown.weight;
                }
                _ => {
                    changes[kept] = shown;
                    kept += 1;
                }
            }
            if changes[kept - 1].weight == 0 {
                kept -= 1;
            }
        }
        changes.truncate(kept);
        if !changelog {
            replacing(changes, from);
        }
    }

    fn emit(&self, changes: &mut Vec<Shown>, out: &mut Output) -> Result<(), Error> {
        for changes in changes.chunks(CHANGES) {
            let slots: Vec<u32> = changes.iter().map(|shown| shown.slot).collect();
            let mut columns = self.rows.decode(&slots)?;
            if self.spec.position {
                let positions = changes.iter().map(|shown| shown.position);
                columns.push(Arc::new(Int64Array::from_iter_values(positions)));
            }
            let weights = Int64Array::from_iter_values(changes.iter().map(|shown| shown.weight));
            let rows = RecordBatch::try_new(Arc::clone(&self.spec.output.schema), columns)?;
            out.deltas.push(Delta::new(rows, weights));
        }
        changes.clear();
        Ok(())
    }

    /// Lets go of the rows that are in no list.
    fn forget(&mut self) {
        for slot in std::mem::take(&mut self.removed) {
            self.marks.unset(slot);
            self.gone.extend(self.rows.remove(slot));
        }
    }
}

/// Of the changes from a place on, a row that only moves replaces itself by its key.
fn replacing(changes: &mut Vec<Shown>, from: usize) {
    let mut kept = from;
    for at in from..changes.len() {
        let shown = changes[at];
        match changes[from..kept].last_mut() {
            Some(last) if last.slot == shown.slot && last.weight < 0 => *last = shown,
            Some(last) if last.slot == shown.slot && shown.weight < 0 => {}
            _ => {
                changes[kept] = shown;
                kept += 1;
            }
        }
    }
    changes.truncate(kept);
}

impl Operator for TopN {
    fn absorb(&mut self, _port: usize, delta: Delta, context: &Context) -> Result<(), Error> {
        self.pieces.absorb(context.ts, delta);
        Ok(())
    }

    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error> {
        let Some(mut delta) = self.pieces.next(context.ts)? else {
            return self.settle(context);
        };
        if self.kept.is_none() {
            delta = delta.consolidate()?;
        }
        self.bring_back(delta.rows.columns(), delta.len())?;
        let mut groups = self.groups(delta.rows.columns(), delta.len())?;
        if let Some(others) = self.others(&delta, &groups)? {
            let rows = filter_record_batch(&delta.rows, &others)?;
            delta = Delta::new(rows, filter(&delta.weights, &others)?.as_primitive().clone());
            groups = filter(&UInt32Array::from(groups), &others)?
                .as_primitive::<UInt32Type>()
                .values()
                .to_vec();
        }
        let columns = delta.rows.columns();
        let encoded = self.rows.encode(columns)?;
        let peers = self.peers.as_ref().map(|peers| peers.lengths(columns)).transpose()?;
        let peers = peers.unwrap_or_default();
        self.closing.add(&groups, columns, &self.lists);
        let order = by_group(&groups);
        let mut two = [Vec::new(), Vec::new()];
        let mut changes = Vec::new();
        for own in order.chunk_by(|one, other| group_of(*one) == group_of(*other)) {
            self.touch(group_of(own[0]), (own, &encoded, &delta.weights, &peers), &mut two);
            self.compare(&mut two, context.changelog, &mut changes);
            if changes.len() >= CHANGES {
                self.emit(&mut changes, out)?;
            }
        }
        self.emit(&mut changes, out)?;
        self.forget();
        if self.has_more() { Ok(()) } else { self.settle(context) }
    }

    fn has_more(&self) -> bool {
        self.pieces.has_more()
    }

    fn set_fuel(&mut self, rows: usize) {
        self.pieces.set_rows(rows);
    }

    fn tables(&self) -> Vec<StateSpec> {
        vec![self.layout.spec()]
    }

    fn settle(&mut self, context: &Context) -> Result<(), Error> {
        for group in self.closing.passed(context, self.groups.as_ref())? {
            let list = std::mem::take(&mut self.lists[group as usize]);
            if list.is_empty() {
                continue;
            }
            for slot in list.iter() {
                self.marks.unset(slot);
                self.marks.count(1);
                // What is stored of it is trimmed.
                drop(self.rows.remove(slot));
            }
            self.groups.remove(group);
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<Vec<Option<StateChange>>, Error> {
        let changes = self.changes()?;
        for group in std::mem::take(&mut self.emptied) {
            if self.lists[group as usize].is_empty() {
                self.groups.remove(group);
            }
        }
        Ok(vec![changes])
    }

    fn restore(&mut self, table: usize, rows: RecordBatch) -> Result<(), Error> {
        assert_eq!(table, 0, "{}: a Top-N has one table", self.spec.name);
        self.take_back(&rows)
    }

    fn let_go(&mut self, stored: &Arc<dyn Stored>) -> Result<bool, Error> {
        let schema = &self.spec.input.schema;
        if !can_be_found(self.spec.group.iter().map(|column| schema.field(*column))) {
            return Ok(false);
        }
        let TopN { groups, rows, peers, .. } = TopN::new(Arc::clone(&self.spec))?;
        (self.groups, self.rows, self.peers, self.lists) = (groups, rows, peers, Vec::new());
        self.closing.let_go();
        self.marks.shrink();
        self.away.begin(stored);
        Ok(true)
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> usize {
        let gone = self.gone.iter().map(|row| row.len()).sum::<usize>();
        let lists = self.lists.capacity() * size_of::<List>();
        self.pieces.bytes()
            + gone
            + lists
            + self.groups.bytes()
            + self.rows.bytes()
            + self.marks.bytes()
            + self.closing.bytes()
            + self.peers.as_ref().map_or(0, Peers::bytes)
    }

    fn touched(&self) -> u64 {
        self.marks.touched()
    }
}
