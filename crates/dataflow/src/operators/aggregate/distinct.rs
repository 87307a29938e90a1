//! Counted distinct values: how often each value is there in each group, for `count(DISTINCT v)` and
//! its like, also under several FILTERs at once.
//!
//! One hash index over (group, value) leads to an entry with a count for each filter: a row is
//! looked up once, whatever passes it, a change touches one entry and no other, and values of fixed width are compared as words. The entries of a group are a
//! list, so that a group whose window has closed goes without a look at the others. The state table
//! has a row per group and value, in columns, with its counts.
//!
//! A scratch keeps the rows of its time as they came, with their weights; the state takes them all
//! in one pass and tells which values came (their count rose from 0) and which went: the
//! accumulators over it take these changes in place of the rows.
//!
//! Under retraction: exact, whatever the order; a count below 0 after a time is a program error.
//!
//! Invariants: 1. no count is below 0 between two times ([`Distinct::settle_counts`]). 2. an entry
//! with count 0 is marked as changed and goes with the next hand-over ([`Distinct::entries`]).
//! 3. `live` of a group is the number of its entries with a count above 0 ([`Distinct::reset`]).

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field};

use super::super::slots::{Index, Marks, NONE, index};
use super::accumulator::{Accumulator, Entries, Moves, Shifts, Weights, same};
use super::logged::{Logged, Sorted, passes};
use crate::operator::Error;

/// One value of one group. The neighbours are the group's other entries.
#[derive(Clone, Copy)]
struct Entry {
    /// [`NONE`] if the place is free.
    group: u32,
    before: u32,
    after: u32,
    /// True while a time's changes are taken.
    touched: bool,
}

const FREE: Entry = Entry { group: NONE, before: NONE, after: NONE, touched: false };

/// The entries of one group.
#[derive(Clone, Copy)]
struct Group {
    first: u32,
    /// Entries of which a count is above 0.
    live: u32,
}

const EMPTY: Group = Group { first: NONE, live: 0 };

/// Entries that a time touched, each once, with their counts before.
#[derive(Default)]
struct Touched {
    entries: Vec<u32>,
    before: Vec<i64>,
}

/// See the head of the file.
pub(super) struct Distinct {
    /// The operator, for messages.
    name: String,
    types: Vec<DataType>,
    /// True for the filters that are columns; the others let every row pass.
    filters: Vec<bool>,
    /// Over the group and the values.
    index: Box<dyn Index>,
    entries: Vec<Entry>,
    /// For each entry a count for each filter.
    counts: Vec<i64>,
    groups: Vec<Group>,
    marks: Marks,
    /// For each filter the entries whose values came or went.
    shifts: Vec<Vec<(u32, i64)>>,
    /// The rows of a scratch.
    log: Vec<Logged>,
    /// The same by group, where groups are merged a few at a time.
    sorted: Option<Sorted>,
}

impl Distinct {
    /// Over values of some columns. Rows come with these columns and one more for each filter that
    /// is one.
    ///
    /// # Errors
    /// A type that cannot be a key.
    pub(super) fn new(
        name: String,
        types: &[DataType],
        filters: Vec<bool>,
    ) -> Result<Distinct, Error> {
        let group = Field::new("group", DataType::Int32, false);
        let values = types.iter().map(|data_type| Field::new("value", data_type.clone(), true));
        let fields: Vec<Field> = [group].into_iter().chain(values).collect();
        Ok(Distinct {
            name,
            types: types.to_vec(),
            index: index(&fields.iter().collect::<Vec<_>>())?,
            entries: Vec::new(),
            counts: Vec::new(),
            groups: Vec::new(),
            marks: Marks::default(),
            shifts: vec![Vec::new(); filters.len()],
            filters,
            log: Vec::new(),
            sorted: None,
        })
    }

    /// The entry of each row; new ones count 0.
    fn find(&mut self, groups: &[u32], values: &[ArrayRef]) -> Result<Vec<u32>, Error> {
        let numbers: Int32Array = groups.iter().map(|group| group.cast_signed()).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(numbers)];
        columns.extend(values.iter().cloned());
        let mut found = Vec::new();
        self.index.assign(&columns, groups.len(), &mut found)?;
        self.entries.resize(self.index.capacity(), FREE);
        self.counts.resize(self.index.capacity() * self.filters.len(), 0);
        for (entry, group) in found.iter().zip(groups) {
            if self.entries[*entry as usize].group == NONE {
                self.link(*entry, *group);
            }
        }
        Ok(found)
    }

    fn link(&mut self, entry: u32, group: u32) {
        let first = std::mem::replace(&mut self.groups[group as usize].first, entry);
        if first != NONE {
            self.entries[first as usize].before = entry;
        }
        self.entries[entry as usize] = Entry { group, after: first, ..FREE };
    }

    fn unlink(&mut self, entry: u32) {
        let Entry { group, before, after, .. } =
            std::mem::replace(&mut self.entries[entry as usize], FREE);
        match before {
            NONE => self.groups[group as usize].first = after,
            before => self.entries[before as usize].after = after,
        }
        if after != NONE {
            self.entries[after as usize].before = before;
        }
    }

    /// Where the counts of an entry are.
    fn counts_of(&self, entry: u32) -> Range<usize> {
        let from = entry as usize * self.filters.len();
        from..from + self.filters.len()
    }

    /// Adds rows of a scratch to the groups that `into` names.
    fn take(&mut self, rows: &Logged, into: &[u32], touched: &mut Touched) -> Result<(), Error> {
        let groups = rows.groups.iter().map(|group| into[*group as usize]);
        let open = (0u32..).zip(groups).filter(|(_, group)| *group != NONE);
        let (kept, groups): (Vec<u32>, Vec<u32>) = open.unzip();
        let rows = match kept.len() == rows.groups.len() {
            true => Logged {
                groups,
                columns: rows.columns.clone(),
                weights: rows.weights.clone(),
                passes: rows.passes.clone(),
            },
            false => Logged { groups, ..rows.take(&kept)? },
        };
        self.count(&rows, touched)
    }

    /// Adds rows to their groups.
    fn count(&mut self, rows: &Logged, touched: &mut Touched) -> Result<(), Error> {
        let found = self.find(&rows.groups, &rows.columns)?;
        for (row, number) in found.into_iter().enumerate() {
            let counts = self.counts_of(number);
            if !std::mem::replace(&mut self.entries[number as usize].touched, true) {
                touched.entries.push(number);
                touched.before.extend_from_slice(&self.counts[counts.clone()]);
            }
            let weight = rows.weights.as_ref().map_or(1, |weights| weights[row]);
            let mut passes = rows.passes.as_ref().map_or(1, |passes| passes[row]);
            while passes != 0 {
                self.counts[counts.start + passes.trailing_zeros() as usize] += weight;
                passes &= passes - 1;
            }
        }
        Ok(())
    }

    /// What the changes of a time come to.
    fn settle_counts(&mut self, touched: &Touched) {
        let filters = self.filters.len();
        for (number, before) in touched.entries.iter().zip(touched.before.chunks(filters)) {
            self.entries[*number as usize].touched = false;
            let group = self.entries[*number as usize].group as usize;
            let after = &self.counts[self.counts_of(*number)];
            for (filter, (before, after)) in before.iter().zip(after).enumerate() {
                assert!(*after >= 0, "{}: a value counts {after} times", self.name);
                match (*before > 0, *after > 0) {
                    (false, true) => self.shifts[filter].push((*number, 1)),
                    (true, false) => self.shifts[filter].push((*number, -1)),
                    (true, true) | (false, false) => {}
                }
            }
            let is_there = |counts: &[i64]| counts.iter().any(|count| *count > 0);
            match (is_there(before), is_there(after)) {
                (false, true) => self.groups[group].live += 1,
                (true, false) => self.groups[group].live -= 1,
                (true, true) | (false, false) => {}
            }
            // A value that came and went at once must go too.
            if before != after || !is_there(after) {
                self.marks.set(*number);
            }
        }
    }

    /// The values of some entries.
    fn values(&self, entries: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        Ok(self.index.decode(entries)?.split_off(1))
    }

    fn groups_of(&self, entries: &[u32]) -> Vec<u32> {
        entries.iter().map(|entry| self.entries[*entry as usize].group).collect()
    }
}

/// Where the groups of a scratch go: one map for each time that a group occurs, as the pane of a
/// hopping window does.
fn targets(moves: &Moves<'_>) -> Vec<Vec<u32>> {
    let groups = moves.from.iter().max().map_or(0, |last| *last as usize + 1);
    let mut targets: Vec<Vec<u32>> = Vec::new();
    let mut seen = vec![0; groups];
    for (from, into) in moves.from.iter().zip(moves.into) {
        let (from, into) = (*from as usize, *into);
        if seen[from] == targets.len() {
            targets.push(vec![NONE; groups]);
        }
        targets[seen[from]][from] = into;
        seen[from] += 1;
    }
    targets
}

impl Accumulator for Distinct {
    fn resize(&mut self, slots: usize) {
        self.groups.resize(slots, EMPTY);
    }

    fn clear(&mut self) {
        self.index.clear();
        self.entries.clear();
        self.counts.clear();
        self.groups.clear();
        self.log.clear();
        self.sorted = None;
    }

    fn reset(&mut self, slot: u32) {
        let left = self.groups[slot as usize].live;
        assert_eq!(left, 0, "{}: a group without rows has values", self.name);
    }

    fn drop_all(&mut self, slots: &[u32]) {
        let mut gone = Vec::new();
        for slot in slots {
            let mut next = std::mem::replace(&mut self.groups[*slot as usize], EMPTY).first;
            while next != NONE {
                gone.push(next);
                let counts = self.counts_of(next);
                self.counts[counts].fill(0);
                let entry = std::mem::replace(&mut self.entries[next as usize], FREE);
                self.marks.unset(next);
                next = entry.after;
            }
        }
        self.index.remove_all(gone);
    }

    fn update(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        weights: Weights<'_>,
    ) -> Result<(), Error> {
        let (columns, filters) = columns.split_at(self.types.len());
        let logged = Logged {
            groups: groups.to_vec(),
            columns: columns.to_vec(),
            weights: match weights {
                Weights::Ones => None,
                Weights::Each(all) => Some(all.to_vec()),
            },
            passes: passes(&self.filters, filters, groups.len()),
        };
        let counts = |row: &usize| {
            logged.weights.as_ref().is_none_or(|weights| weights[*row] != 0)
                && logged.passes.as_ref().is_none_or(|passes| passes[*row] != 0)
        };
        let kept = (0..groups.len()).filter(counts);
        let kept: Vec<u32> = kept.map(|row| u32::try_from(row).expect("rows of a delta")).collect();
        let logged = if kept.len() == groups.len() { logged } else { logged.take(&kept)? };
        self.log.push(logged);
        Ok(())
    }

    fn merge(&mut self, other: &dyn Accumulator, moves: &Moves<'_>) -> Result<(), Error> {
        let other: &Distinct = same(other);
        let mut touched = Touched::default();
        if let Some(sorted) = &other.sorted {
            self.count(&sorted.moved(moves)?, &mut touched)?;
        }
        // What was sorted is in no log.
        let targets = if other.log.is_empty() { Vec::new() } else { targets(moves) };
        for mut into in targets {
            // Groups that no move names: their windows have closed.
            into.resize(other.groups.len(), NONE);
            for rows in &other.log {
                self.take(rows, &into, &mut touched)?;
            }
        }
        self.marks.count(touched.entries.len());
        self.settle_counts(&touched);
        Ok(())
    }

    fn cut(&mut self) -> Result<(), Error> {
        let log = std::mem::take(&mut self.log);
        self.sorted = Sorted::new(&log)?;
        Ok(())
    }

    fn gathered(&self) -> usize {
        let logged = self.log.iter().chain(self.sorted.as_ref().map(Sorted::rows));
        logged.map(|rows| rows.groups.len()).sum()
    }

    fn shifts(&mut self) -> Result<Vec<Shifts>, Error> {
        let mut all = Vec::new();
        for shifts in std::mem::replace(&mut self.shifts, vec![Vec::new(); self.filters.len()]) {
            let (entries, weights): (Vec<u32>, Vec<i64>) = shifts.into_iter().unzip();
            let (slots, columns) = (self.groups_of(&entries), self.values(&entries)?);
            all.push(Shifts { slots, columns, weights });
        }
        Ok(all)
    }

    fn entry_types(&self) -> Option<(Vec<DataType>, usize)> {
        Some((self.types.clone(), self.filters.len()))
    }

    fn entries(&mut self) -> Result<Entries, Error> {
        let changed = self.marks.drain();
        let (slots, columns) = (self.groups_of(&changed), self.values(&changed)?);
        let counts: Vec<Vec<i64>> = (0..self.filters.len())
            .map(|filter| {
                changed.iter().map(|e| self.counts[self.counts_of(*e).start + filter]).collect()
            })
            .collect();
        for (at, entry) in changed.iter().enumerate() {
            if counts.iter().all(|counts| counts[at] == 0) {
                self.unlink(*entry);
                self.index.remove(*entry);
            }
        }
        Ok(Entries { slots, columns, counts })
    }

    fn restore_entries(
        &mut self,
        slots: &[u32],
        columns: &[ArrayRef],
        counts: &[Int64Array],
    ) -> Result<(), String> {
        let found = self.find(slots, columns).map_err(|error| error.to_string())?;
        for (at, number) in found.into_iter().enumerate() {
            let own = self.counts_of(number);
            if self.counts[own.clone()].iter().any(|count| *count != 0) {
                return Err("a value is there twice".into());
            }
            for (place, counts) in own.zip(counts) {
                self.counts[place] = counts.value(at);
            }
            self.groups[self.entries[number as usize].group as usize].live += 1;
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
        let logged = self.log.iter().chain(self.sorted.as_ref().map(Sorted::rows)).map(|rows| {
            let columns = rows.columns.iter().map(|c| c.to_data().get_slice_memory_size());
            columns.filter_map(Result::ok).sum::<usize>() + rows.groups.len() * size_of::<u32>()
        });
        self.index.bytes()
            + self.entries.capacity() * size_of::<Entry>()
            + self.counts.capacity() * size_of::<i64>()
            + self.groups.capacity() * size_of::<Group>()
            + self.marks.bytes()
            + logged.sum::<usize>()
    }

    fn held(&self) -> usize {
        self.index.len()
    }

    fn touched(&self) -> u64 {
        self.marks.touched()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::BooleanArray;
    use arrow::datatypes::Int64Type;

    use arrow::array::AsArray;

    use super::*;

    fn empty() -> Distinct {
        let mut made = Distinct::new("test".into(), &[DataType::Int64], vec![false]).unwrap();
        made.resize(2);
        made
    }

    fn taken(groups: &[u32], values: &[i64], weights: &[i64]) -> Distinct {
        let mut scratch = empty();
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        scratch.update(groups, &[column], Weights::Each(weights)).unwrap();
        scratch
    }

    fn shifts(state: &mut Distinct) -> Vec<(u32, i64, i64)> {
        let shifts = state.shifts().unwrap().remove(0);
        let values = shifts.columns[0].as_primitive::<Int64Type>().values();
        let rows = shifts.slots.iter().zip(values).zip(&shifts.weights);
        rows.map(|((slot, value), weight)| (*slot, *value, *weight)).collect()
    }

    #[test]
    fn only_the_first_and_the_last_of_a_value_shift() {
        let mut state = empty();
        let moves = Moves { from: &[0], into: &[0] };
        state.merge(&taken(&[0; 3], &[7, 8, 7], &[1, 2, 1]), &moves).unwrap();
        assert_eq!(shifts(&mut state), [(0, 7, 1), (0, 8, 1)]);
        state.merge(&taken(&[0; 2], &[7, 8], &[-1, -1]), &moves).unwrap();
        assert_eq!(shifts(&mut state), [], "one of each is left");
        state.merge(&taken(&[0; 4], &[7, 9, 5, 5], &[-1, 1, -1, 1]), &moves).unwrap();
        assert_eq!(shifts(&mut state), [(0, 7, -1), (0, 9, 1)]);
        let entries = state.entries().unwrap();
        let values = entries.columns[0].as_primitive::<Int64Type>().values().to_vec();
        let mut rows: Vec<_> = values.into_iter().zip(entries.counts[0].clone()).collect();
        rows.sort_unstable();
        assert_eq!(rows, [(5, 0), (7, 0), (8, 1), (9, 1)], "7 is gone, 5 was never there");
        assert!(state.entries().unwrap().slots.is_empty());
        state.merge(&taken(&[0], &[7], &[1]), &moves).unwrap();
        assert_eq!(shifts(&mut state), [(0, 7, 1)], "it is new again");
    }

    #[test]
    fn a_group_takes_its_values_along_and_leaves_the_others_theirs() {
        let mut state = empty();
        // A pane that belongs to both windows, and one to the second alone.
        let moves = Moves { from: &[0, 0, 1], into: &[0, 1, 1] };
        state.merge(&taken(&[0, 1], &[7, 8], &[1, 1]), &moves).unwrap();
        assert_eq!(shifts(&mut state), [(0, 7, 1), (1, 8, 1), (1, 7, 1)]);
        state.drop_all(&[1]);
        state.reset(1);
        assert_eq!(state.entries().unwrap().slots, [0]);
        state.merge(&taken(&[1], &[8], &[1]), &Moves { from: &[1], into: &[1] }).unwrap();
        assert_eq!(shifts(&mut state), [(1, 8, 1)]);
        let before = state.index.capacity();
        assert_eq!(before, 3, "places of values that have gone are used again");
    }

    #[test]
    #[should_panic(expected = "test: a value counts -1 times")]
    fn a_value_that_goes_without_having_come_is_a_program_error() {
        let moves = Moves { from: &[0], into: &[0] };
        empty().merge(&taken(&[0], &[7], &[-1]), &moves).unwrap();
    }

    #[test]
    fn values_come_back_from_their_table() {
        let mut state = empty();
        let moves = Moves { from: &[0, 1], into: &[0, 1] };
        state.merge(&taken(&[0, 1, 1], &[7, 7, 8], &[1, 2, 1]), &moves).unwrap();
        let entries = state.entries().unwrap();
        let counts = [Int64Array::from(entries.counts[0].clone())];
        let mut other = empty();
        other.restore_entries(&entries.slots, &entries.columns, &counts).unwrap();
        other.merge(&taken(&[1, 0], &[7, 7], &[-2, 1]), &moves).unwrap();
        assert_eq!(shifts(&mut other), [(1, 7, -1)]);
        assert!(other.restore_entries(&entries.slots, &entries.columns, &counts).is_err());
    }

    #[test]
    fn each_filter_has_a_count_of_its_own() {
        let filtered = || {
            let mut made =
                Distinct::new("test".into(), &[DataType::Int64], vec![false, true, true]).unwrap();
            made.resize(1);
            made
        };
        let rows = |rows: &[(i64, Option<bool>, bool)], weight: i64| {
            let mut scratch = filtered();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
                Arc::new(rows.iter().map(|row| row.1).collect::<BooleanArray>()),
                Arc::new(rows.iter().map(|row| Some(row.2)).collect::<BooleanArray>()),
            ];
            let weights = vec![weight; rows.len()];
            scratch.update(&vec![0; rows.len()], &columns, Weights::Each(&weights)).unwrap();
            scratch
        };
        let shifted = |state: &mut Distinct| {
            let all = state.shifts().unwrap();
            all.into_iter().map(|shifts| shifts.weights).collect::<Vec<_>>()
        };
        let moves = Moves { from: &[0], into: &[0] };
        let mut state = filtered();
        let first = rows(&[(7, None, true), (7, Some(true), false), (8, Some(false), false)], 1);
        state.merge(&first, &moves).unwrap();
        assert_eq!(shifted(&mut state), [vec![1, 1], vec![1], vec![1]]);
        state.merge(&rows(&[(7, None, true)], -1), &moves).unwrap();
        assert_eq!(shifted(&mut state), [vec![], vec![], vec![-1]]);
        assert_eq!(state.groups[0].live, 2);
        let entries = state.entries().unwrap();
        assert_eq!(entries.counts, [[1, 1], [1, 0], [0, 0]]);
    }
}
