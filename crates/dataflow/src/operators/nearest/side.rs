//! The rows of one input of an ASOF join, by key, in the order of their times.
//!
//! Invariants: 1. the bytes of a row begin with those of its time ([`Side::time`]). 2. where rows are let go
//! by their times, all rows in lists that have not passed are listed as due.

use std::collections::BTreeSet;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};
use millrace_plan::Order;

use super::super::slots::Marks;
use super::super::slots::NONE;
use super::super::sorted::{Layout, List, Rows};
use super::{LEFT, RIGHT};
use crate::graph::NearestSpec;
use crate::natives;
use crate::operator::{Error, StateSpec};

/// What is known of a slot's row beside its bytes.
#[derive(Clone, Copy, Debug)]
struct Known {
    key: u32,
    /// How many of its bytes are the time.
    time: u32,
    /// The time in microseconds, where rows are let go by it.
    micros: i64,
}

/// See the head of the file.
pub(super) struct Side {
    pub(super) rows: Rows,
    /// By slot of the key.
    pub(super) lists: Vec<List>,
    known: Vec<Known>,
    /// Times and slots of the rows that have not passed; None if they stay.
    due: Option<BTreeSet<(i64, u32)>>,
    /// The column of the times.
    column: usize,
    pub(super) layout: Layout,
    pub(super) marks: Marks,
    /// Slots that are in no list any more, until their rows have left.
    removed: Vec<u32>,
    /// Stored rows that are gone since the last hand-over.
    pub(super) gone: Vec<Box<[u8]>>,
}

/// The order in which the rows of a side are kept. The right rows with one time stand the other way round
/// than they are chosen.
fn order(spec: &NearestSpec, side: usize, column: usize) -> Vec<Order> {
    let mut order = vec![Order { column, descending: spec.side.later, nulls_first: false }];
    if side == RIGHT {
        let width = spec.inputs[side].schema.fields().len();
        let ties = (0..width).filter(|tie| *tie != column);
        order.extend(ties.map(|column| Order { column, descending: true, nulls_first: true }));
    }
    order
}

impl Side {
    /// Without rows.
    ///
    /// # Errors
    /// A column type that it does not take.
    pub(super) fn new(spec: &NearestSpec, side: usize) -> Result<Side, Error> {
        let input = &spec.inputs[side];
        let column = if side == LEFT { spec.times.left } else { spec.times.right };
        let data_type = input.schema.field(column).data_type();
        let is_time = matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _));
        if spec.settled.is_some() && !is_time {
            return Err(Error::Unsupported("rows that are done by what is no time".into()));
        }
        let on = spec.on.iter().map(|pair| if side == LEFT { pair.left } else { pair.right });
        let on: Vec<usize> = on.collect();
        Ok(Side {
            rows: Rows::new(&input.schema, &order(spec, side, column))?,
            lists: Vec::new(),
            known: Vec::new(),
            // Left rows that wait for a later row go with that.
            due: (spec.settled.is_some() && !(spec.side.later && side == LEFT)).then(BTreeSet::new),
            column,
            layout: Layout::new(input, &on, None, Vec::new()),
            marks: Marks::default(),
            removed: Vec::new(),
            gone: Vec::new(),
        })
    }

    /// Makes room for lists of so many keys.
    pub(super) fn reserve_keys(&mut self, keys: usize) {
        self.lists.resize_with(keys.max(self.lists.len()), List::default);
    }

    /// The times of rows in microseconds, where that is asked for.
    pub(super) fn micros_of(&self, columns: &[ArrayRef]) -> Vec<i64> {
        match self.due {
            Some(_) => natives::values::<i64>(&columns[self.column]).to_vec(),
            None => Vec::new(),
        }
    }

    /// The bytes of a row's time.
    pub(super) fn time(&self, slot: u32) -> &[u8] {
        &self.rows.bytes_of(slot)[..self.known[slot as usize].time as usize]
    }

    /// A row comes; gives its slot.
    pub(super) fn insert(
        &mut self,
        name: &str,
        key: u32,
        row: &[u8],
        (time, micros): (usize, Option<i64>),
    ) -> u32 {
        let list = &mut self.lists[key as usize];
        self.marks.count(list.steps());
        let Err(place) = list.find(row, &self.rows) else {
            panic!("{name}: a row that is there comes once more");
        };
        let slot = self.rows.add(row, 1);
        list.insert(place, slot);
        let nothing = Known { key: NONE, time: 0, micros: 0 };
        self.known.resize(self.known.len().max(slot as usize + 1), nothing);
        let time = u32::try_from(time).expect("a time is short");
        let micros = micros.unwrap_or_default();
        self.known[slot as usize] = Known { key, time, micros };
        if let Some(due) = &mut self.due {
            due.insert((micros, slot));
        }
        self.marks.set(slot);
        slot
    }

    /// True if a key has a row.
    pub(super) fn has(&self, key: u32, row: &[u8]) -> bool {
        self.lists[key as usize].find(row, &self.rows).is_ok()
    }

    /// A row goes; its slot stays until [`Side::free`].
    pub(super) fn remove(&mut self, name: &str, key: u32, row: &[u8]) -> u32 {
        let list = &mut self.lists[key as usize];
        self.marks.count(list.steps());
        let Ok(place) = list.find(row, &self.rows) else {
            panic!("{name}: a row that is not there goes");
        };
        let slot = list.at(place);
        list.remove(place);
        self.drop_slot(slot);
        slot
    }

    fn drop_slot(&mut self, slot: u32) {
        if let Some(due) = &mut self.due {
            due.remove(&(self.known[slot as usize].micros, slot));
        }
        self.removed.push(slot);
    }

    /// Takes the rows up to a time off the list of those that are due: slots and keys, in the order of
    /// their times.
    pub(super) fn due(&mut self, bound: i64) -> impl Iterator<Item = (u32, u32)> + use<> {
        let mut passed = Vec::new();
        if let Some(due) = &mut self.due {
            while let Some((_, slot)) = due.first().filter(|(micros, _)| *micros <= bound) {
                passed.push((*slot, self.known[*slot as usize].key));
                due.pop_first();
            }
        }
        self.marks.count(passed.len());
        passed.into_iter()
    }

    /// Lets go of a row.
    pub(super) fn let_go(&mut self, key: u32, slot: u32) {
        let list = &mut self.lists[key as usize];
        if let Ok(place) = list.find(self.rows.bytes_of(slot), &self.rows) {
            list.remove(place);
            self.drop_slot(slot);
        }
    }

    /// Lets go of the rows of a key before the last one up to a time.
    pub(super) fn let_go_before(&mut self, key: u32, bound: i64) {
        let list = &self.lists[key as usize];
        let passed = |slot: u32| self.known[slot as usize].micros <= bound;
        let mut passed: Vec<u32> = list.iter().take_while(|slot| passed(*slot)).collect();
        passed.pop();
        passed.into_iter().for_each(|slot| self.let_go(key, slot));
    }

    /// Frees the slots of rows that are gone and have left.
    pub(super) fn free(&mut self) {
        for slot in std::mem::take(&mut self.removed) {
            self.marks.unset(slot);
            self.gone.extend(self.rows.remove(slot));
        }
    }

    /// The state table.
    pub(super) fn table(&self) -> StateSpec {
        self.layout.spec()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let due = self.due.as_ref().map_or(0, |due| due.len() * size_of::<(i64, u32)>());
        let gone = self.gone.iter().map(|row| row.len()).sum::<usize>();
        self.rows.bytes()
            + self.lists.capacity() * size_of::<List>()
            + self.known.capacity() * size_of::<Known>()
            + self.marks.bytes()
            + due
            + gone
    }
}
