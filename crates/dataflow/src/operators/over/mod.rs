//! The operator of window functions: `rank()`, `lag(x)`, `sum(x) OVER (...)` and all others.
//!
//! The rows of each partition are kept in order (`sorted`), each with what the functions last said of it.
//! The rows of one time are added up first; then the functions run again over each touched partition
//! ([`calls`]), and the rows for which they say something else leave. Partitions that no row touched are
//! not looked at.
//!
//! Under retraction: rows are exact, and what was said before is remembered, never computed again. A
//! partition for which a function fails (a sum out of range) has no rows but an error row, until it
//! succeeds again.
//!
//! After so many rows that were looked at the operator stops and lets others take their turns, in the midst
//! of a partition, too ([`partition`]); one function runs over one partition in one go.
//!
//! State: a table keyed by the partition and the input's key. A row stays until it is retracted,
//! or until the time that its partition names has passed.
//!
//! Invariants: 1. a row counts once: the input has a key ([`Over::change`]). 2. the rows of a list ascend
//! strictly (`sorted`). 3. either all rows of a partition show results, or it has a failure.

mod calls;
mod partition;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use arrow::row::Rows as Encoded;
use millrace_types::Delta;

use self::calls::{Calls, Said};
use self::partition::Partition;
use super::away::{Away, can_be_found};
use super::pieces::Pieces;
use super::slots::Marks;
use super::slots::{self, Index};
use super::sorted::{Closing, Layout, List, Rows, by_group, group_of};
use crate::failure::print_key;
use crate::graph::OverSpec;
use crate::operator::{Context, Error, Operator, Output, StateChange, StateSpec, Stored};

/// Changed rows that leave together.
const CHANGES: usize = 1 << 14;

/// Rows that are looked at in one go, more or less.
const FUEL: u64 = 1 << 17;

/// Why a partition has no results: code and message.
type Failed = (String, String);

/// Rows on their way out.
#[derive(Default)]
struct Leaving {
    /// Rows that go, with what they showed.
    gone: (Vec<u32>, Vec<Said>),
    /// Rows that come, or show something else.
    come: Vec<u32>,
}

/// Rows of a time that are being finished.
struct Finishing {
    encoded: Encoded,
    weights: Int64Array,
    /// Rows by their partition, packed.
    order: Vec<u64>,
    /// The partitions of so many are done or under way.
    at: usize,
    under_way: Option<Partition>,
}

impl Finishing {
    /// The partition that is under way, or the next one.
    fn next(&mut self) -> Option<Partition> {
        if let Some(partition) = self.under_way.take() {
            return Some(partition);
        }
        let rest = &self.order[self.at..];
        let group = group_of(*rest.first()?);
        let count = rest.partition_point(|packed| group_of(*packed) <= group);
        let changes = (self.at, self.at + count);
        self.at += count;
        Some(Partition::new(group, changes))
    }

    fn has_more(&self) -> bool {
        self.under_way.is_some() || self.at < self.order.len()
    }
}

/// See the head of the file.
pub(crate) struct Over {
    spec: Arc<OverSpec>,
    calls: Calls,
    pieces: Pieces,
    finishing: Option<Finishing>,
    /// See [`FUEL`].
    fuel: u64,
    groups: Box<dyn Index>,
    /// Groups that the store alone has.
    away: Away,
    /// Groups without rows, that the store still has rows of until the next hand-over.
    emptied: Vec<u32>,
    /// By slot of the group.
    lists: Vec<List>,
    rows: Rows,
    /// What was said of each row, by its slot; None if it is not shown.
    said: Vec<Option<Said>>,
    /// By slot of the group.
    failures: BTreeMap<u32, Failed>,
    layout: Layout,
    closing: Closing,
    marks: Marks,
    /// Slots that are in no list any more, until their rows have left.
    removed: Vec<u32>,
    /// Stored rows that are gone since the last hand-over.
    gone: Vec<Box<[u8]>>,
}

impl Over {
    /// The operator, without rows.
    ///
    /// # Errors
    /// A function or a column type that it does not take.
    pub(crate) fn new(spec: Arc<OverSpec>) -> Result<Over, Error> {
        let schema = &spec.input.schema;
        let first = spec.settled.as_ref().map(|settled| settled.column);
        let group: Vec<&Field> = spec.group.iter().map(|column| schema.field(*column)).collect();
        let results = spec.calls.iter().enumerate().map(|(number, call)| {
            Field::new(format!("result_{number}"), call.output.data_type().clone(), true)
        });
        let texts = ["error_code", "error"].map(|name| Field::new(name, DataType::Utf8, true));
        let added = results.chain(texts).collect();
        Ok(Over {
            calls: Calls::new(&spec)?,
            pieces: Pieces::new(&spec.group),
            finishing: None,
            fuel: FUEL,
            groups: slots::index(&group)?,
            away: Away::default(),
            emptied: Vec::new(),
            lists: Vec::new(),
            rows: Rows::new(schema, &spec.order)?,
            said: Vec::new(),
            failures: BTreeMap::new(),
            closing: Closing::new(spec.settled.as_ref(), &spec.group, &spec.input)?,
            layout: Layout::new(&spec.input, &spec.group, first, added),
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

    /// Keeps a row where its list does not have it yet; gives its slot.
    fn keep(&mut self, row: &[u8]) -> u32 {
        let slot = self.rows.add(row, 1);
        if self.said.len() <= slot as usize {
            self.said.resize_with(slot as usize + 1, || None);
        }
        slot
    }

    /// A row of a group comes or goes.
    fn change(&mut self, group: u32, row: &[u8], weight: i64, leaving: &mut Leaving) {
        let name = &self.spec.name;
        let found = self.lists[group as usize].find(row, &self.rows);
        self.marks.count(self.lists[group as usize].steps());
        match found {
            Ok(place) => {
                assert_eq!(weight, -1, "{name}: a row that is there changes by {weight}");
                let slot = self.lists[group as usize].at(place);
                self.lists[group as usize].remove(place);
                if let Some(said) = self.said[slot as usize].take() {
                    leaving.gone.0.push(slot);
                    leaving.gone.1.push(said);
                }
                self.removed.push(slot);
            }
            Err(place) => {
                assert_eq!(weight, 1, "{name}: a row that is not there changes by {weight}");
                let slot = self.keep(row);
                self.lists[group as usize].insert(place, slot);
                self.marks.set(slot);
            }
        }
    }

    /// Rows of a time, by partition.
    fn begin(&mut self, delta: Delta) -> Result<Finishing, Error> {
        let delta = delta.consolidate()?;
        let columns = delta.rows.columns();
        let encoded = self.rows.encode(columns)?;
        self.bring_back(columns, delta.len())?;
        let groups = self.groups(columns, delta.len())?;
        self.closing.add(&groups, columns, &self.lists);
        let (weights, order) = (delta.weights.clone(), by_group(&groups));
        Ok(Finishing { encoded, weights, order, at: 0, under_way: None })
    }

    /// The columns of a row's partition, printed.
    fn key(&self, row: &[u8]) -> Result<String, Error> {
        let columns = self.rows.decode_bytes(std::iter::once(row))?;
        let schema = &self.spec.input.schema;
        let named = self.spec.group.iter();
        let named = named.map(|at| (schema.field(*at).name().as_str(), &columns[*at]));
        Ok(print_key(named, 0))
    }

    fn emit(&self, leaving: &mut Leaving, out: &mut Output) -> Result<(), Error> {
        let Leaving { gone: (slots, said), come } = std::mem::take(leaving);
        for (slots, said) in slots.chunks(CHANGES).zip(said.chunks(CHANGES)) {
            let said = self.calls.columns(said.iter().map(AsRef::as_ref))?;
            self.send(slots, said, -1, out)?;
        }
        for slots in come.chunks(CHANGES) {
            let said = slots.iter().map(|slot| self.said[*slot as usize].as_deref());
            let said =
                self.calls.columns(said.map(|said| said.expect("a row that came is shown")))?;
            self.send(slots, said, 1, out)?;
        }
        Ok(())
    }

    fn send(
        &self,
        slots: &[u32],
        said: Vec<ArrayRef>,
        weight: i64,
        out: &mut Output,
    ) -> Result<(), Error> {
        let mut columns = self.rows.decode(slots)?;
        columns.extend(said);
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.output), columns)?;
        out.deltas.push(Delta::constant(rows, weight));
        Ok(())
    }
}

impl Operator for Over {
    fn absorb(&mut self, _port: usize, delta: Delta, context: &Context) -> Result<(), Error> {
        self.pieces.absorb(context.ts, delta);
        Ok(())
    }

    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error> {
        let mut finishing = match self.finishing.take() {
            Some(finishing) => finishing,
            None => match self.pieces.next(context.ts)? {
                Some(delta) => self.begin(delta)?,
                None => return self.settle(context),
            },
        };
        let (mut leaving, mut spent) = (Leaving::default(), 0);
        while spent < self.fuel {
            let Some(partition) = finishing.next() else { break };
            let ways = (&mut leaving, &mut *out);
            let (rest, cost) = self.look(partition, &finishing, context, ways)?;
            finishing.under_way = rest;
            spent += cost;
            if leaving.gone.0.len() + leaving.come.len() >= CHANGES {
                self.emit(&mut leaving, out)?;
            }
        }
        self.emit(&mut leaving, out)?;
        for slot in std::mem::take(&mut self.removed) {
            self.marks.unset(slot);
            self.gone.extend(self.rows.remove(slot));
        }
        self.finishing = finishing.has_more().then_some(finishing);
        if self.has_more() { Ok(()) } else { self.settle(context) }
    }

    fn has_more(&self) -> bool {
        self.finishing.is_some() || self.pieces.has_more()
    }

    fn set_fuel(&mut self, rows: usize) {
        self.pieces.set_rows(rows);
        self.fuel = rows.max(1) as u64;
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
                self.said[slot as usize] = None;
                // What is stored of it is trimmed.
                drop(self.rows.remove(slot));
            }
            self.failures.remove(&group);
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
        assert_eq!(table, 0, "{}: window functions have one table", self.spec.name);
        self.take_back(&rows)
    }

    fn let_go(&mut self, stored: &Arc<dyn Stored>) -> Result<bool, Error> {
        let schema = &self.spec.input.schema;
        if !can_be_found(self.spec.group.iter().map(|column| schema.field(*column))) {
            return Ok(false);
        }
        let Over { groups, rows, .. } = Over::new(Arc::clone(&self.spec))?;
        (self.groups, self.rows) = (groups, rows);
        (self.lists, self.said) = (Vec::new(), Vec::new());
        self.failures.clear();
        self.closing.let_go();
        self.marks.shrink();
        self.away.begin(stored);
        Ok(true)
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> usize {
        let finishing = self.finishing.as_ref().map_or(0, |finishing| {
            let under_way = finishing.under_way.as_ref().map_or(0, Partition::bytes);
            finishing.encoded.size() + finishing.order.len() * 2 * size_of::<u64>() + under_way
        });
        let gone = self.gone.iter().map(|row| row.len()).sum::<usize>();
        let lists = self.lists.capacity() * size_of::<List>();
        let said = self.said.iter().flatten().map(|said| said.len()).sum::<usize>()
            + self.said.capacity() * size_of::<Option<Said>>();
        let rows = self.rows.bytes() + self.marks.bytes() + self.closing.bytes() + said;
        self.pieces.bytes() + finishing + gone + lists + self.groups.bytes() + rows
    }

    fn touched(&self) -> u64 {
        self.marks.touched()
    }
}
