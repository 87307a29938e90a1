//! Session windows: rows with the bounds of their session.
//!
//! Rows are kept in the order of key and time. A time's changes reach as far as rows follow each other
//! without a pause, the rows that come and those that go taken together: within that stretch the old
//! sessions and the new ones are told, and each row whose bounds, or weight, are others is sent again. So
//! a row that comes between two sessions merges them, and one that goes splits them.
//!
//! Under retraction: a row that goes takes its session's bounds along. A row without a time passes
//! through with NULL bounds.
//!
//! Many rows of one time are finished in pieces, a key in one of them (`pieces`).
//!
//! State: one table of whole rows with their weight; the bounds follow from the rows. A session goes
//! when its end has passed the watermark, row by row, without output.
//!
//! Invariants: 1. no weight is below 0 ([`Session::change`]). 2. a row is in `ordered` iff it has a
//! weight; a session is in `sessions` iff its rows are there.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, TimeUnit};
use millrace_types::Delta;

use super::pieces::Pieces;
use super::slots::Marks;
use super::slots::{self, Index};
use crate::graph::SessionSpec;
use crate::natives;
use crate::operator::{Context, Error, Operator, Output, StateChange, StateSpec};

/// A row's place: its key, its time, its slot.
type Place = (u32, i64, u32);

/// See the head of the file.
pub(crate) struct Session {
    spec: Arc<SessionSpec>,
    pieces: Pieces,
    keys: Box<dyn Index>,
    rows: Box<dyn Index>,
    /// By slot of a row.
    weights: Vec<i64>,
    ordered: BTreeSet<Place>,
    /// The last time, the key and the first time of each session.
    sessions: BTreeSet<(i64, u32, i64)>,
    /// Rows have come back whose sessions are not told yet.
    restored: bool,
    marks: Marks,
}

/// The rows that leave, by slot, with their bounds and weights.
#[derive(Default)]
struct Sent {
    slots: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    weights: Vec<i64>,
}

impl Sent {
    fn push(&mut self, slot: u32, (start, end): (i64, i64), weight: i64) {
        if weight != 0 {
            self.slots.push(slot);
            self.starts.push(start);
            self.ends.push(end);
            self.weights.push(weight);
        }
    }
}

impl Session {
    /// The operator, without rows.
    ///
    /// # Errors
    /// A column type that it does not take.
    pub(crate) fn new(spec: Arc<SessionSpec>) -> Result<Session, Error> {
        let schema = &spec.input.schema;
        let time = schema.field(spec.time).data_type();
        if !matches!(time, DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(Error::Unsupported("sessions of what is no time".into()));
        }
        let keys: Vec<&Field> = spec.key.iter().map(|column| schema.field(*column)).collect();
        let fields: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).collect();
        Ok(Session {
            keys: slots::index(&keys)?,
            rows: slots::row_index(&fields)?,
            pieces: Pieces::new(&spec.key),
            spec,
            weights: Vec::new(),
            ordered: BTreeSet::new(),
            sessions: BTreeSet::new(),
            restored: false,
            marks: Marks::default(),
        })
    }

    /// Where some rows, none of which is without a time, belong.
    fn places(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Place>, Error> {
        let keys: Vec<ArrayRef> = self.spec.key.iter().map(|c| Arc::clone(&columns[*c])).collect();
        let mut key_slots = Vec::new();
        match keys.is_empty() {
            true => {
                self.keys.assign(&keys, rows.min(1), &mut key_slots)?;
                let only = key_slots.first().copied().unwrap_or_default();
                key_slots.resize(rows, only);
            }
            false => self.keys.assign(&keys, rows, &mut key_slots)?,
        }
        let mut slots = Vec::new();
        self.rows.assign(columns, rows, &mut slots)?;
        self.weights.resize(self.rows.capacity(), 0);
        let times = natives::values::<i64>(&columns[self.spec.time]);
        let placed = key_slots.into_iter().zip(times.iter().copied()).zip(slots);
        Ok(placed.map(|((key, time), slot)| (key, time, slot)).collect())
    }

    /// The first and the last time of the stretch around a time.
    fn stretch(&self, key: u32, time: i64) -> (i64, i64) {
        let (gap, mut first, mut last) = (self.spec.gap, time, time);
        for (_, before, _) in self.ordered.range((key, i64::MIN, 0)..(key, time, 0)).rev() {
            if first.saturating_sub(*before) >= gap {
                break;
            }
            first = *before;
        }
        for (_, after, _) in self.ordered.range((key, time, 0)..=(key, i64::MAX, u32::MAX)) {
            if after.saturating_sub(last) >= gap {
                break;
            }
            last = *after;
        }
        (first, last)
    }

    /// The sessions of a stretch among the rows that have a weight: first and last time of each.
    fn told(&self, places: &[Place], weight: impl Fn(u32) -> i64) -> Vec<(i64, i64)> {
        let mut told: Vec<(i64, i64)> = Vec::new();
        for (_, time, _) in places.iter().filter(|(_, _, slot)| weight(*slot) > 0) {
            match told.last_mut() {
                Some((_, last)) if time.saturating_sub(*last) < self.spec.gap => *last = *time,
                _ => told.push((*time, *time)),
            }
        }
        told
    }

    /// Changes the rows of one time, net, and sends what has other bounds or weights.
    fn change(&mut self, changes: &[(Place, i64)], sent: &mut Sent) {
        let before: BTreeMap<u32, i64> =
            changes.iter().map(|((_, _, slot), _)| (*slot, self.weights[*slot as usize])).collect();
        for (place, change) in changes {
            let weight = &mut self.weights[place.2 as usize];
            *weight += change;
            assert!(*weight >= 0, "{}: a row has the weight {weight}", self.spec.name);
            self.ordered.insert(*place);
            self.marks.set(place.2);
        }
        let mut at = 0;
        while let Some(((key, time, _), _)) = changes.get(at) {
            let (key, (first, last)) = (*key, self.stretch(*key, *time));
            while changes.get(at).is_some_and(|((k, time, _), _)| *k == key && *time <= last) {
                at += 1;
            }
            self.tell(key, (first, last), &before, sent);
        }
        for (place, _) in changes {
            if self.weights[place.2 as usize] == 0 {
                self.ordered.remove(place);
                self.forget(place.0);
            }
        }
    }

    /// Forgets a key without rows.
    fn forget(&mut self, key: u32) {
        let mut rows = self.ordered.range((key, i64::MIN, 0)..=(key, i64::MAX, u32::MAX));
        if rows.next().is_none() {
            self.keys.remove(key);
        }
    }

    /// Old and new sessions of one stretch.
    fn tell(
        &mut self,
        key: u32,
        (first, last): (i64, i64),
        before: &BTreeMap<u32, i64>,
        sent: &mut Sent,
    ) {
        let places: Vec<Place> =
            self.ordered.range((key, first, 0)..=(key, last, u32::MAX)).copied().collect();
        self.marks.count(places.len());
        let now = |slot: u32| self.weights[slot as usize];
        let then = |slot: u32| before.get(&slot).copied().unwrap_or_else(|| now(slot));
        let (old, new) = (self.told(&places, then), self.told(&places, now));
        let gap = self.spec.gap;
        let bounds = |sessions: &[(i64, i64)], time: i64| {
            let at = sessions.partition_point(|(first, _)| *first <= time);
            let (first, last) = sessions[at - 1];
            (first, last.saturating_add(gap))
        };
        for (_, time, slot) in &places {
            let (was, is) = (then(*slot), now(*slot));
            let was_in = (was > 0).then(|| bounds(&old, *time));
            let is_in = (is > 0).then(|| bounds(&new, *time));
            match (was_in, is_in) {
                (Some(one), Some(other)) if one == other => sent.push(*slot, one, is - was),
                (one, other) => {
                    one.into_iter().for_each(|one| sent.push(*slot, one, -was));
                    other.into_iter().for_each(|other| sent.push(*slot, other, is));
                }
            }
        }
        for (first, last) in old {
            self.sessions.remove(&(last, key, first));
        }
        for (first, last) in new {
            self.sessions.insert((last, key, first));
        }
    }

    /// Sends rows with their bounds.
    fn give(&self, sent: Sent, out: &mut Output) -> Result<(), Error> {
        if sent.slots.is_empty() {
            return Ok(());
        }
        let mut columns = self.rows.decode(&sent.slots)?;
        let time = self.spec.input.schema.field(self.spec.time).data_type();
        columns.push(natives::array(time, sent.starts, None)?);
        columns.push(natives::array(time, sent.ends, None)?);
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.output), columns)?;
        out.deltas.push(Delta::new(rows, Int64Array::from(sent.weights)));
        Ok(())
    }

    /// Rows without a time are in no session.
    fn timeless(&self, delta: &Delta, out: &mut Output) -> Result<Delta, Error> {
        let time = delta.rows.column(self.spec.time);
        if time.null_count() == 0 {
            return Ok(delta.clone());
        }
        let has: BooleanArray = (0..delta.len()).map(|row| Some(time.is_valid(row))).collect();
        let others = delta.filter(&arrow::compute::not(&has)?)?;
        let mut columns = others.rows.columns().to_vec();
        for _ in 0..2 {
            columns.push(new_null_array(time.data_type(), others.len()));
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.output), columns)?;
        out.deltas.push(Delta { rows, ..others });
        Ok(delta.filter(&has)?)
    }

    /// Tells the sessions of rows that have come back.
    fn recall(&mut self) {
        if !std::mem::take(&mut self.restored) {
            return;
        }
        let mut open: Option<(u32, i64, i64)> = None;
        for (key, time, _) in &self.ordered {
            open = Some(match open {
                Some((of, first, last))
                    if of == *key && time.saturating_sub(last) < self.spec.gap =>
                {
                    (of, first, *time)
                }
                other => {
                    self.sessions.extend(other.map(|(of, first, last)| (last, of, first)));
                    (*key, *time, *time)
                }
            });
        }
        self.sessions.extend(open.map(|(of, first, last)| (last, of, first)));
    }
}

impl Operator for Session {
    fn absorb(&mut self, _port: usize, delta: Delta, context: &Context) -> Result<(), Error> {
        self.pieces.absorb(context.ts, delta);
        Ok(())
    }

    fn finish(&mut self, context: &Context, out: &mut Output) -> Result<(), Error> {
        self.recall();
        if let Some(delta) = self.pieces.next(context.ts)? {
            let delta = self.timeless(&delta.consolidate()?, out)?;
            let places = self.places(delta.rows.columns(), delta.len())?;
            let mut changes: Vec<(Place, i64)> =
                places.into_iter().zip(delta.weights.values().iter().copied()).collect();
            changes.sort_unstable();
            let mut sent = Sent::default();
            self.change(&changes, &mut sent);
            self.give(sent, out)?;
        }
        if self.has_more() { Ok(()) } else { self.settle(context) }
    }

    fn has_more(&self) -> bool {
        self.pieces.has_more()
    }

    fn set_fuel(&mut self, rows: usize) {
        self.pieces.set_rows(rows);
    }

    fn tables(&self) -> Vec<StateSpec> {
        vec![self.table()]
    }

    fn settle(&mut self, context: &Context) -> Result<(), Error> {
        self.recall();
        let Some(settled) = &self.spec.settled else { return Ok(()) };
        let watermark = context.watermark(&settled.sources);
        let ended = watermark.and_then(|watermark| watermark.checked_sub(settled.shift));
        let Some(bound) = ended.and_then(|end| end.checked_sub(self.spec.gap)) else {
            return Ok(());
        };
        while let Some((last, key, first)) = self.sessions.first().copied() {
            if last > bound {
                break;
            }
            self.sessions.pop_first();
            let rows: Vec<Place> =
                self.ordered.range((key, first, 0)..=(key, last, u32::MAX)).copied().collect();
            for place in rows {
                self.ordered.remove(&place);
                self.weights[place.2 as usize] = 0;
                self.marks.set(place.2);
            }
            self.forget(key);
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<Vec<Option<StateChange>>, Error> {
        Ok(vec![self.changes()?])
    }

    fn restore(&mut self, table: usize, rows: RecordBatch) -> Result<(), Error> {
        assert!(table == 0, "{}: it has one table", self.spec.name);
        self.take_back(&rows)
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> usize {
        self.rows.bytes()
            + self.keys.bytes()
            + self.weights.capacity() * size_of::<i64>()
            + self.ordered.len() * size_of::<Place>()
            + self.sessions.len() * size_of::<(i64, u32, i64)>()
            + self.marks.bytes()
            + self.pieces.bytes()
    }

    fn touched(&self) -> u64 {
        self.marks.touched()
    }
}
