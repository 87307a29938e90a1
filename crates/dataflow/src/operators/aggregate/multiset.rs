//! Counted multisets: what a group has taken in, in order, each row with its multiplicity.
//!
//! A slot keeps rows as bytes of Arrow's row format, which compare as the order asks: the ORDER BY
//! columns, then what breaks ties, then the values. The least and the greatest row are found without
//! looking at the others, and a change touches one row only, in memory and in the state table: the
//! table has a row per group and value, in columns, and the values changed since the last hand-over
//! are listed.
//!
//! Under retraction: exact, whatever the order; a count below 0 in the state is a program error. A
//! scratch holds the sum of an epoch's changes, which may be of either sign.
//!
//! Invariants: 1. no entry has count 0, in the state none is below 0 ([`Multiset::change`]).
//! 2. a group without rows has no entries ([`Multiset::reset`]). 3. `changed` names every entry that differs from the state table.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use super::super::slots::{canonical_column, one_nan};
use super::accumulator::{Accumulator, Entries, Moves, Weights, same};
use crate::natives;
use crate::operator::Error;

/// A row in Arrow's row format.
type Bytes = Arc<[u8]>;

/// Bytes of an entry beside its row: the pointer, the counters in front of the row and the count.
const ENTRY_BYTES: usize = 40;

/// See the head of the file.
pub(super) struct Multiset {
    /// The operator, for messages.
    name: String,
    converter: RowConverter,
    types: Vec<DataType>,
    slots: Vec<BTreeMap<Bytes, i64>>,
    /// Entries of all slots.
    held: usize,
    heap: usize,
    /// Entries of the state that differ from the state table.
    changed: BTreeSet<(u32, Bytes)>,
    /// Rows that were read ahead, by slot.
    ahead: BTreeMap<u32, Ahead>,
    /// What SQL takes for equal is one value.
    distinct: bool,
    touched: u64,
}

/// The columns of a slot's first rows, some rows after others.
struct Ahead {
    parts: Vec<Vec<ArrayRef>>,
    /// The last row that was read; None after all of them.
    last: Option<Bytes>,
}

impl Ahead {
    fn bytes(&self) -> usize {
        self.parts.iter().flatten().map(|column| column.get_array_memory_size()).sum()
    }
}

/// The least or the greatest row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
}

impl Multiset {
    /// Over rows of some columns; of a `distinct` one, what SQL takes for equal is one row.
    ///
    /// # Errors
    /// A type that Arrow's row format does not take.
    pub(super) fn new(
        name: String,
        columns: Vec<SortField>,
        types: Vec<DataType>,
        distinct: bool,
    ) -> Result<Multiset, Error> {
        Ok(Multiset {
            name,
            converter: RowConverter::new(columns)?,
            types,
            slots: Vec::new(),
            held: 0,
            heap: 0,
            changed: BTreeSet::new(),
            ahead: BTreeMap::new(),
            distinct,
            touched: 0,
        })
    }

    /// Adds to the count of a row; gives the count after.
    fn change(&mut self, slot: usize, row: &[u8], weight: i64) -> i64 {
        let entries = &mut self.slots[slot];
        let Some(count) = entries.get_mut(row) else {
            entries.insert(row.into(), weight);
            self.held += 1;
            self.heap += row.len() + ENTRY_BYTES;
            return weight;
        };
        *count += weight;
        let after = *count;
        if after == 0 {
            entries.remove(row);
            self.held -= 1;
            self.heap -= row.len() + ENTRY_BYTES;
        }
        after
    }

    fn forget(&mut self, slot: u32) {
        let entries = std::mem::take(&mut self.slots[slot as usize]);
        self.held -= entries.len();
        self.heap -= entries.keys().map(|row| row.len() + ENTRY_BYTES).sum::<usize>();
    }

    fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, Error> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(rows.map(|row| parser.parse(row)))?)
    }

    /// The last column of the least or greatest rows of some slots; NULL where a slot has none.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn ends(&self, slots: &[u32], end: End) -> Result<ArrayRef, Error> {
        let mut rows: Vec<&[u8]> = Vec::with_capacity(slots.len());
        let mut places: Vec<Option<u32>> = Vec::with_capacity(slots.len());
        for slot in slots {
            let entries = &self.slots[*slot as usize];
            let found = match end {
                End::Least => entries.first_key_value(),
                End::Greatest => entries.last_key_value(),
            };
            places.push(found.map(|(row, _)| {
                rows.push(row);
                u32::try_from(rows.len() - 1).expect("less rows than slots")
            }));
        }
        let data_type = self.types.last().expect("there is a value");
        if rows.is_empty() {
            return Ok(new_null_array(data_type, slots.len()));
        }
        let all = rows.len() == slots.len();
        let value = self.decode(rows.into_iter())?.pop().expect("the value is the last column");
        match all {
            true => Ok(natives::zeroed(value)),
            false => Ok(natives::zeroed(take(&value, &UInt32Array::from(places), None)?)),
        }
    }

    /// The columns of all rows of a slot in their order. A row is there as often as it counts, or
    /// `once`.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn rows(&self, slot: u32, once: bool) -> Result<Vec<ArrayRef>, Error> {
        let entries = &self.slots[slot as usize];
        let times = |count: i64| if once { 1 } else { usize::try_from(count).unwrap_or(0) };
        let rows = entries.iter().flat_map(|(row, n)| std::iter::repeat_n(&**row, times(*n)));
        if entries.is_empty() {
            return Ok(self.types.iter().map(|t| new_null_array(t, 0)).collect());
        }
        match self.ahead.get(&slot) {
            Some(Ahead { parts, last: None }) if once == self.distinct => joined(parts),
            _ => self.decode(rows),
        }
    }
}

/// The columns of rows that were read some after others.
fn joined(parts: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>, Error> {
    let width = parts.first().map_or(0, Vec::len);
    let column = |at: usize| {
        let of_all: Vec<&dyn Array> = parts.iter().map(|part| part[at].as_ref()).collect();
        Ok(concat(&of_all)?)
    };
    (0..width).map(column).collect()
}

impl Accumulator for Multiset {
    fn resize(&mut self, slots: usize) {
        self.slots.resize(slots, BTreeMap::new());
    }

    fn clear(&mut self) {
        self.slots.clear();
        (self.held, self.heap) = (0, 0);
    }

    fn reset(&mut self, slot: u32) {
        let left = self.slots[slot as usize].len();
        assert_eq!(left, 0, "{}: a group without rows has values", self.name);
    }

    fn drop_all(&mut self, slots: &[u32]) {
        for slot in slots {
            self.forget(*slot);
            let own = (*slot, Bytes::from([]))..(*slot + 1, Bytes::from([]));
            let stale: Vec<_> = self.changed.range(own).cloned().collect();
            stale.iter().for_each(|entry| {
                self.changed.remove(entry);
            });
        }
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        let canonical = if self.distinct { canonical_column } else { one_nan };
        let columns: Vec<ArrayRef> = columns.iter().map(canonical).collect();
        let rows = self.converter.convert_columns(&columns)?;
        weights.each(groups.len(), |row, weight| {
            self.change(groups[row] as usize, rows.row(row).as_ref(), weight);
        });
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &Multiset = same(other);
        for (from, into) in moves.from.iter().zip(moves.into) {
            self.ahead.remove(into);
            for (row, weight) in &other.slots[*from as usize] {
                let after = self.change(*into as usize, row, *weight);
                assert!(after >= 0, "{}: a value counts {after} times", self.name);
                self.changed.insert((*into, Arc::clone(row)));
                self.touched += 1;
            }
        }
        Ok(())
    }

    fn entries_of(&self, slot: u32) -> usize {
        self.slots[slot as usize].len()
    }

    fn read_ahead(&mut self, slot: u32, values: usize) -> Result<bool, Error> {
        let (from, mut parts) = match self.ahead.remove(&slot) {
            Some(Ahead { parts, last: None }) => {
                self.ahead.insert(slot, Ahead { parts, last: None });
                return Ok(false);
            }
            Some(Ahead { parts, last: Some(last) }) => (Bound::Excluded(last), parts),
            None => (Bound::Unbounded, Vec::new()),
        };
        let times = |count: i64| match self.distinct {
            true => 1,
            false => usize::try_from(count).unwrap_or(0),
        };
        let some = self.slots[slot as usize].range((from, Bound::Unbounded)).take(values);
        let count = some.clone().count();
        if count > 0 {
            let rows = some.clone().flat_map(|(row, n)| std::iter::repeat_n(&**row, times(*n)));
            parts.push(self.decode(rows)?);
        }
        let last = some.last().filter(|_| count == values).map(|(row, _)| Arc::clone(row));
        let more = last.is_some();
        self.ahead.insert(slot, Ahead { parts, last });
        Ok(more)
    }

    fn forget_ahead(&mut self) -> bool {
        !std::mem::take(&mut self.ahead).is_empty()
    }

    fn entry_types(&self) -> Option<(Vec<DataType>, usize)> {
        Some((self.types.clone(), 1))
    }

    fn entries(&mut self) -> Result<Entries, Error> {
        let changed = std::mem::take(&mut self.changed);
        self.touched += u64::try_from(changed.len()).expect("a count of entries");
        let count = |(slot, row): &(u32, Bytes)| {
            self.slots[*slot as usize].get(row).copied().unwrap_or_default()
        };
        let columns = match changed.is_empty() {
            true => self.types.iter().map(|t| new_null_array(t, 0)).collect(),
            false => self.decode(changed.iter().map(|(_, row)| &**row))?,
        };
        Ok(Entries {
            slots: changed.iter().map(|(slot, _)| *slot).collect(),
            columns: columns.into_iter().map(natives::zeroed).collect(),
            counts: vec![changed.iter().map(count).collect()],
        })
    }

    fn restore_entries(
        &mut self,
        slots: &[u32],
        columns: &[ArrayRef],
        counts: &[Int64Array],
    ) -> Result<(), String> {
        let rows = self.converter.convert_columns(columns).map_err(|e| e.to_string())?;
        for (slot, (row, count)) in slots.iter().zip(rows.iter().zip(counts[0].values())) {
            self.change(*slot as usize, row.as_ref(), *count);
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(&'static str, DataType)> {
        Vec::new()
    }

    fn save(&self, _: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _: &[u32], _: &[ArrayRef]) -> Result<(), String> {
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<BTreeMap<Bytes, i64>>()
            + self.heap
            + self.changed.len() * ENTRY_BYTES
            + self.ahead.values().map(Ahead::bytes).sum::<usize>()
    }

    fn gathered(&self) -> usize {
        self.held
    }

    fn held(&self) -> usize {
        self.held
    }

    fn touched(&self) -> u64 {
        self.touched
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn over(data_type: &DataType, distinct: bool) -> Multiset {
        let field = SortField::new(data_type.clone());
        Multiset::new("test".into(), vec![field], vec![data_type.clone()], distinct).unwrap()
    }

    fn taken(values: &[i64], weights: &[i64]) -> Multiset {
        let mut scratch = over(&DataType::Int64, false);
        scratch.resize(1);
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        scratch.update(&vec![0; values.len()], &[column], Weights::Each(weights)).unwrap();
        scratch
    }

    #[test]
    fn rows_come_back_from_their_table() {
        let mut state = over(&DataType::Int64, false);
        state.resize(1);
        let moves = Moves { from: &[0], into: &[0] };
        state.merge(&taken(&[7, 8, 7], &[1, 2, 1]), &moves).unwrap();
        state.merge(&taken(&[8, 9], &[-2, 1]), &moves).unwrap();
        let entries = state.entries().unwrap();
        assert_eq!(entries.columns[0].as_primitive::<Int64Type>().values(), &[7, 8, 9]);
        assert_eq!(entries.counts, [[2, 0, 1]], "8 is gone");
        assert!(state.entries().unwrap().slots.is_empty());
        let mut other = over(&DataType::Int64, false);
        other.resize(1);
        let counts = [Int64Array::from(vec![2, 3, 1])];
        other.restore_entries(&entries.slots, &entries.columns, &counts).unwrap();
        assert_eq!(other.rows(0, false).unwrap()[0].len(), 6);
    }

    #[test]
    #[should_panic(expected = "test: a value counts -1 times")]
    fn a_value_that_goes_without_having_come_is_a_program_error() {
        let mut state = over(&DataType::Int64, false);
        state.resize(1);
        state.merge(&taken(&[7], &[-1]), &Moves { from: &[0], into: &[0] }).unwrap();
    }

    #[test]
    fn nan_is_the_greatest_and_both_zeros_are_one_distinct_value() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![-f64::NAN, -0.0, 0.0, f64::NAN]));
        for (distinct, entries) in [(false, 3), (true, 2)] {
            let mut cell = over(&DataType::Float64, distinct);
            cell.resize(1);
            cell.update(&[0; 4], &[Arc::clone(&column)], Weights::Ones).unwrap();
            assert_eq!(cell.rows(0, true).unwrap()[0].len(), entries);
            let greatest = cell.ends(&[0], End::Greatest).unwrap();
            assert!(greatest.as_primitive::<arrow::datatypes::Float64Type>().value(0).is_nan());
        }
    }
}
