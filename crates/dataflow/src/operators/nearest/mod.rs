//! The operator of ASOF joins: each left row with the right row of its key whose time is nearest on one
//! side of its own.
//!
//! Both inputs are kept by key, in the order of their times (`sorted`). Where the nearest row is a later
//! one, times sort the other way round: the row that is taken is always the last one up to the left row's
//! time. Of right rows with the same time the first in their columns is taken; they are kept the other way
//! round, too, so that it is the last one.
//!
//! The rows of one time are added up first, then each touched key is looked at once; after so many rows the
//! operator stops and lets others take their turns ([`finish`]). A right row that comes
//! or goes changes the matches of the left rows between it and the next right row of its key, and of no
//! other; those are matched again, and leave anew if they have another match than before.
//!
//! Under retraction: the match that a left row has left with is remembered by its slot, and both rows
//! stay where they are until the retraction has left.
//!
//! State: a table a side, keyed by key and row. What a left row has matched follows from both, so it is not
//! stored. Where watermarks bound both times and earlier rows are taken, a left row goes when they have
//! passed it, and a right row when they have passed another one after it: no later row can take it. Where
//! later rows are taken, a right row goes when they have passed it, and with it the left rows up to it:
//! nothing that comes can be taken instead, and what comes is behind it ([`Nearest::settle`]).
//!
//! Invariants: 1. a row counts once: the inputs have keys ([`Nearest::change`]). 2. after each time every
//! left row's match is the last right row up to it ([`Nearest::find`]). 3. a slot is freed only when its
//! row has left.

mod finish;
mod side;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::Field;
use arrow::row::{RowConverter, Rows as Encoded, SortField};
use millrace_types::{Delta, Ts, concat_deltas};

use self::finish::Finishing;
use self::side::Side;
use super::slots::NONE;
use super::slots::{self, Index};
use super::sorted::by_group;
use crate::graph::NearestSpec;
use crate::operator::{Context, Error, Operator, Output, StateChange, StateSpec};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// Changed rows that leave together.
const CHANGES: usize = 1 << 14;

/// Rows that are looked at in one go, more or less.
const FUEL: u64 = 1 << 17;

/// A left row with its match, or [`NONE`], that comes or goes.
#[derive(Clone, Copy, Debug)]
struct Pair {
    left: u32,
    right: u32,
    weight: i64,
}

/// The changes of one side in one time.
struct Incoming {
    rows: Encoded,
    /// The times, as each row's bytes begin.
    times: Encoded,
    micros: Vec<i64>,
    weights: Int64Array,
    /// By key.
    order: Vec<u64>,
}

/// See the head of the file.
pub(crate) struct Nearest {
    spec: Arc<NearestSpec>,
    /// The key's columns of each side.
    on: [Vec<usize>; 2],
    /// Of a time, alone.
    converter: RowConverter,
    absorbed: BTreeMap<Ts, [Vec<Delta>; 2]>,
    keys: Box<dyn Index>,
    sides: [Side; 2],
    /// By slot of the left side.
    matched: Vec<u32>,
    finishing: Option<Finishing>,
    /// See [`FUEL`].
    fuel: u64,
    /// Rows came back from the store: their matches are to be found.
    is_restored: bool,
}

impl Nearest {
    /// The operator, without rows.
    ///
    /// # Errors
    /// A column type that it does not take.
    pub(crate) fn new(spec: Arc<NearestSpec>) -> Result<Nearest, Error> {
        let [left, right] = &spec.inputs;
        let on = [
            spec.on.iter().map(|pair| pair.left).collect(),
            spec.on.iter().map(|pair| pair.right).collect(),
        ];
        let keys: Vec<Field> =
            spec.on.iter().map(|pair| left.schema.field(pair.left).clone()).collect();
        let time = left.schema.field(spec.times.left).data_type();
        if time != right.schema.field(spec.times.right).data_type() {
            return Err(Error::Unsupported("an ASOF join of times of two types".into()));
        }
        let options = SortOptions { descending: spec.side.later, nulls_first: false };
        let converter =
            RowConverter::new(vec![SortField::new_with_options(time.clone(), options)])?;
        Ok(Nearest {
            sides: [Side::new(&spec, LEFT)?, Side::new(&spec, RIGHT)?],
            on,
            converter,
            absorbed: BTreeMap::new(),
            keys: slots::index(&keys.iter().collect::<Vec<_>>())?,
            matched: Vec::new(),
            finishing: None,
            fuel: FUEL,
            is_restored: false,
            spec,
        })
    }

    /// The column of a side's times.
    fn time(&self, side: usize) -> usize {
        if side == LEFT { self.spec.times.left } else { self.spec.times.right }
    }

    /// The slots of the keys of a side's rows.
    fn keys(&mut self, side: usize, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        let keys: Vec<ArrayRef> =
            self.on[side].iter().map(|column| Arc::clone(&columns[*column])).collect();
        let mut slots = Vec::new();
        if keys.is_empty() {
            self.keys.assign(&keys, rows.min(1), &mut slots)?;
            slots.resize(rows, 0);
        } else {
            self.keys.assign(&keys, rows, &mut slots)?;
        }
        let capacity = self.keys.capacity();
        self.sides.iter_mut().for_each(|side| side.reserve_keys(capacity));
        Ok(slots)
    }

    /// The net changes of one side; rows that cannot match pass or end here.
    fn incoming(
        &mut self,
        side: usize,
        deltas: &[Delta],
        out: &mut Output,
    ) -> Result<Option<Incoming>, Error> {
        let Some(delta) = concat_deltas(deltas)? else { return Ok(None) };
        let once = self.spec.inputs[side].append_only;
        let mut delta = if once { delta } else { delta.consolidate()? };
        let strict: Vec<usize> = self.on[side].iter().copied().chain([self.time(side)]).collect();
        let valid = |row: usize| strict.iter().all(|c| delta.rows.column(*c).is_valid(row));
        let matchable: BooleanArray = (0..delta.len()).map(|row| Some(valid(row))).collect();
        if matchable.true_count() < delta.len() {
            if side == LEFT && self.spec.keeps_left {
                let others = delta.filter(&arrow::compute::not(&matchable)?)?;
                self.send(others.rows.columns().to_vec(), None, others.weights, out)?;
            }
            delta = delta.filter(&matchable)?;
        }
        if delta.is_empty() {
            return Ok(None);
        }
        let columns = delta.rows.columns();
        let keys = self.keys(side, columns, delta.len())?;
        Ok(Some(Incoming {
            rows: self.sides[side].rows.encode(columns)?,
            times: self.converter.convert_columns(&[Arc::clone(&columns[self.time(side)])])?,
            micros: self.sides[side].micros_of(columns),
            weights: delta.weights.clone(),
            order: by_group(&keys),
        }))
    }

    /// Left rows leave with right ones; without columns of those, padded.
    fn send(
        &self,
        mut columns: Vec<ArrayRef>,
        right: Option<Vec<ArrayRef>>,
        weights: Int64Array,
        out: &mut Output,
    ) -> Result<(), Error> {
        if weights.is_empty() {
            return Ok(());
        }
        let other = self.spec.inputs[RIGHT].schema.fields().iter();
        let nulls = || other.map(|field| new_null_array(field.data_type(), weights.len()));
        columns.extend(right.unwrap_or_else(|| nulls().collect()));
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.output), columns)?;
        out.deltas.push(Delta::new(rows, weights));
        Ok(())
    }

    fn emit(&self, pairs: &mut Vec<Pair>, out: &mut Output) -> Result<(), Error> {
        let (alone, together): (Vec<Pair>, Vec<Pair>) =
            pairs.drain(..).partition(|pair| pair.right == NONE);
        for (pairs, matched) in [(together, true), (alone, false)] {
            for pairs in pairs.chunks(CHANGES) {
                let slots = |of: fn(&Pair) -> u32| pairs.iter().map(of).collect::<Vec<u32>>();
                let columns = self.sides[LEFT].rows.decode(&slots(|pair| pair.left))?;
                let right = match matched {
                    true => Some(self.sides[RIGHT].rows.decode(&slots(|pair| pair.right))?),
                    false => None,
                };
                let weights = Int64Array::from_iter_values(pairs.iter().map(|pair| pair.weight));
                self.send(columns, right, weights, out)?;
            }
        }
        Ok(())
    }

    /// True if a left row can take a right one, by the bytes of their times.
    fn reaches(&self, left: &[u8], right: &[u8]) -> bool {
        if self.spec.side.strict { right < left } else { right <= left }
    }

    /// The match of a left row: the last right row up to its time, or [`NONE`].
    fn find(&mut self, key: u32, row: u32) -> u32 {
        let time = self.sides[LEFT].time(row);
        let right = &self.sides[RIGHT];
        let list = &right.lists[key as usize];
        let found = list.last_where(|slot| self.reaches(time, right.time(slot)));
        let steps = list.steps();
        self.sides[RIGHT].marks.count(steps);
        found.unwrap_or(NONE)
    }

    /// A left row leaves, or is taken back, with the match that it has.
    fn show(&self, left: u32, weight: i64, pairs: &mut Vec<Pair>) {
        let right = self.matched[left as usize];
        if right != NONE || self.spec.keeps_left {
            pairs.push(Pair { left, right, weight });
        }
    }

    /// The left rows of a key that a change of a right row at a time concerns: those up to the next right
    /// row.
    fn concerned(&mut self, key: u32, time: &[u8], found: &mut Vec<u32>) {
        let [left, right] = &self.sides;
        let next = right.lists[key as usize].from(|slot| right.time(slot) <= time).next();
        let from = |slot: u32| !self.reaches(left.time(slot), time);
        let before = found.len();
        for slot in left.lists[key as usize].from(from) {
            if next.is_some_and(|next| self.reaches(left.time(slot), right.time(next))) {
                break;
            }
            found.push(slot);
        }
        let visited = found.len() - before + 1;
        self.sides[LEFT].marks.count(visited);
    }

    /// A row of a key comes or goes; gives its slot.
    fn change(&mut self, side: usize, key: u32, incoming: &Incoming, row: usize) -> u32 {
        let (bytes, time) = (incoming.rows.row(row), incoming.times.row(row).as_ref().len());
        let weight = incoming.weights.value(row);
        let name = &self.spec.name;
        assert!(weight == 1 || weight == -1, "{name}: a row changes by {weight}");
        let micros = incoming.micros.get(row).copied();
        match weight {
            1 => self.sides[side].insert(name, key, bytes.as_ref(), (time, micros)),
            _ => self.sides[side].remove(name, key, bytes.as_ref()),
        }
    }

    /// Earlier rows are taken: lets go of the left rows up to a time, and of the right rows before the last
    /// one up to it. Gives the keys that may be empty.
    fn let_go_earlier(&mut self, bound: i64) -> Vec<u32> {
        let mut keys: Vec<u32> = Vec::new();
        for (slot, key) in self.sides[LEFT].due(bound) {
            self.sides[LEFT].let_go(key, slot);
            keys.push(key);
        }
        let mut passed: Vec<u32> = self.sides[RIGHT].due(bound).map(|(_, key)| key).collect();
        passed.sort_unstable();
        passed.dedup();
        for key in &passed {
            self.sides[RIGHT].let_go_before(*key, bound);
        }
        keys
    }

    /// Later rows are taken: lets go of the right rows up to a time, and of the left rows that have taken
    /// one of them. Gives the keys that may be empty.
    fn let_go_later(&mut self, bound: i64) -> Vec<u32> {
        let mut passed: Vec<(u32, u32)> = self.sides[RIGHT].due(bound).collect();
        // Those of a key stay in the order of their times.
        passed.sort_by_key(|(_, key)| *key);
        for of_key in passed.chunk_by(|one, other| one.1 == other.1) {
            let Some((last, key)) = of_key.last().copied() else { continue };
            let [left, right] = &self.sides;
            let time = right.time(last);
            let before = |slot: u32| !self.reaches(left.time(slot), time);
            let done: Vec<u32> = left.lists[key as usize].from(before).collect();
            self.sides[LEFT].marks.count(done.len() + 1);
            done.into_iter().for_each(|slot| self.sides[LEFT].let_go(key, slot));
            of_key.iter().for_each(|(slot, _)| self.sides[RIGHT].let_go(key, *slot));
        }
        passed.into_iter().map(|(_, key)| key).collect()
    }

    /// Forgets a key that no row has any more.
    fn forget(&mut self, key: u32) {
        if self.sides.iter().all(|side| side.lists[key as usize].is_empty()) {
            self.keys.remove(key);
        }
    }

    /// Finds the matches of the rows that came back from the store.
    fn rematch(&mut self) {
        if !std::mem::take(&mut self.is_restored) {
            return;
        }
        for key in 0..self.sides[LEFT].lists.len() {
            let slots: Vec<u32> = self.sides[LEFT].lists[key].iter().collect();
            let key = u32::try_from(key).expect("slots of keys are few");
            for slot in slots {
                self.matched.resize(self.matched.len().max(slot as usize + 1), NONE);
                self.matched[slot as usize] = self.find(key, slot);
            }
        }
    }
}

impl Operator for Nearest {
    fn absorb(&mut self, port: usize, delta: Delta, context: &Context) -> Result<(), Error> {
        if !delta.is_empty() {
            self.absorbed.entry(context.ts).or_default()[port].push(delta);
        }
        Ok(())
    }

    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error> {
        self.rematch();
        let mut finishing = match self.finishing.take() {
            Some(finishing) => finishing,
            None => match self.absorbed.remove(&context.ts) {
                Some([left, right]) => Finishing::new([
                    self.incoming(LEFT, &left, out)?,
                    self.incoming(RIGHT, &right, out)?,
                ]),
                None => return self.settle(context),
            },
        };
        let (mut pairs, begun) = (Vec::new(), self.touched());
        let piece = usize::try_from(self.fuel).unwrap_or(usize::MAX);
        while self.touched() - begun < self.fuel && self.go_on(&mut finishing, piece, &mut pairs) {
            if pairs.len() >= CHANGES {
                self.emit(&mut pairs, out)?;
            }
        }
        self.emit(&mut pairs, out)?;
        if !finishing.is_within() {
            self.sides.iter_mut().for_each(Side::free);
        }
        self.finishing = finishing.has_more().then_some(finishing);
        if self.has_more() { Ok(()) } else { self.settle(context) }
    }

    fn has_more(&self) -> bool {
        self.finishing.is_some()
    }

    fn set_fuel(&mut self, rows: usize) {
        self.fuel = rows.max(1) as u64;
    }

    fn tables(&self) -> Vec<StateSpec> {
        self.sides.iter().map(Side::table).collect()
    }

    fn settle(&mut self, context: &Context) -> Result<(), Error> {
        let Some(settled) = &self.spec.settled else { return Ok(()) };
        let watermark = context.watermark(&settled.sources);
        let bound = watermark.and_then(|watermark| watermark.checked_sub(settled.shift));
        let Some(bound) = bound else { return Ok(()) };
        let mut keys = match self.spec.side.later {
            true => self.let_go_later(bound),
            false => self.let_go_earlier(bound),
        };
        self.sides.iter_mut().for_each(Side::free);
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().for_each(|key| self.forget(key));
        Ok(())
    }

    fn hand_over(&mut self) -> Result<Vec<Option<StateChange>>, Error> {
        self.sides.iter_mut().map(Side::changes).collect()
    }

    fn restore(&mut self, table: usize, rows: RecordBatch) -> Result<(), Error> {
        assert!(table <= RIGHT, "{}: it has two tables", self.spec.name);
        self.take_back(table, &rows)
    }

    fn rows(&self) -> usize {
        self.sides.iter().map(|side| side.rows.len()).sum()
    }

    fn bytes(&self) -> usize {
        let absorbed = self.absorbed.values().flatten().flatten();
        self.keys.bytes()
            + self.sides.iter().map(Side::bytes).sum::<usize>()
            + self.matched.capacity() * size_of::<u32>()
            + absorbed.map(Delta::bytes).sum::<usize>()
            + self.finishing.as_ref().map_or(0, Finishing::bytes)
    }

    fn touched(&self) -> u64 {
        self.sides.iter().map(|side| side.marks.touched()).sum()
    }
}
