//! The rows of one input of a join, by join key.
//!
//! Rows that may be retracted are found by their values; those that never are stay as they came
//! ([`Appended`]). A row is kept whole, once, under a slot number that addresses columns of what is known of it: its
//! weight, the weight of its matches, its neighbours in the list of rows with the same join key.
//! Lists are linked through the slots, so that a row comes and goes at one price however many share
//! its key. Where a watermark says when rows are done, they are listed by their time, too.
//!
//! Invariants: 1. the rows with a weight above 0, and only those, are in the list of their key
//! ([`Side::apply`]). 2. no weight is below 0, nor is that of the matches ([`Side::apply`],
//! [`Side::shown`]). 3. a slot is used for another row only after a hand-over, so that within one time
//! a slot is a row.

use std::collections::BTreeSet;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, TimeUnit};
use millrace_plan::{Meta, Watermark};

use super::super::slots::Marks;
use super::super::slots::NONE;
use super::super::slots::{self, Index};
use super::appended::Appended;
use crate::natives;
use crate::operator::{Context, Error};

/// The change of one row in one time, net.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The slot of its join key.
    pub(super) key: u32,
    /// Its own slot.
    pub(super) row: u32,
    /// Never 0.
    pub(super) weight: i64,
}

/// What a row was before the time that is finished.
#[derive(Clone, Copy, Debug)]
struct Before {
    row: u32,
    weight: i64,
    matches: i64,
}

/// When rows of a side are done.
struct Done {
    clean: Watermark,
    /// By slot: the time of the row and its join key.
    of: Vec<(i64, u32)>,
    /// The rows with a weight above 0.
    listed: BTreeSet<(i64, u32)>,
    /// Rows whose time is below this have gone since the last hand-over.
    trim: Option<i64>,
}

/// See the head of the file.
pub(super) struct Side {
    /// For messages.
    name: String,
    /// The weight of each row's matches is kept: what leaves depends on it.
    pub(super) counts: bool,
    pub(super) rows: Box<dyn Index>,
    pub(super) weights: Vec<i64>,
    pub(super) matches: Vec<i64>,
    next: Vec<u32>,
    previous: Vec<u32>,
    /// By slot of the join key.
    heads: Vec<u32>,
    done: Option<Done>,
    pub(super) marks: Marks,
    /// Every row that was touched, the first of each being what it was.
    before: Vec<Before>,
    /// By slot: by how much a row is about to change, where the other side changes too; else 0.
    announced: Vec<i64>,
}

impl Side {
    /// Without rows; `input` is what is known of those that will come.
    ///
    /// # Errors
    /// A column type that cannot be kept.
    pub(super) fn new(
        name: String,
        input: &Meta,
        counts: bool,
        clean: Option<Watermark>,
    ) -> Result<Side, Error> {
        let schema = &input.schema;
        let time = clean.as_ref().map(|clean| schema.field(clean.column).data_type());
        if time.is_some_and(|t| !matches!(t, DataType::Timestamp(TimeUnit::Microsecond, _))) {
            return Err(Error::Unsupported("rows that are done by what is no time".into()));
        }
        let done =
            clean.map(|clean| Done { clean, of: Vec::new(), listed: BTreeSet::new(), trim: None });
        let fields: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).collect();
        Ok(Side {
            name,
            counts,
            rows: match input.append_only {
                true => Box::new(Appended::new(schema)),
                false => slots::row_index(&fields)?,
            },
            weights: Vec::new(),
            matches: Vec::new(),
            next: Vec::new(),
            previous: Vec::new(),
            heads: Vec::new(),
            done,
            marks: Marks::default(),
            before: Vec::new(),
            announced: Vec::new(),
        })
    }

    /// The slots of rows; new ones have weight 0.
    pub(super) fn slots(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        let mut slots = Vec::new();
        self.rows.assign(columns, rows, &mut slots)?;
        let capacity = self.rows.capacity();
        self.weights.resize(capacity, 0);
        if self.counts {
            self.matches.resize(capacity, 0);
        }
        self.next.resize(capacity, NONE);
        self.previous.resize(capacity, NONE);
        if let Some(done) = &mut self.done {
            done.of.resize(capacity, (0, NONE));
            let times = natives::values::<i64>(&columns[done.clean.column]);
            for (slot, time) in slots.iter().zip(times.iter()) {
                done.of[*slot as usize].0 = *time;
            }
        }
        Ok(slots)
    }

    /// Makes room for lists of so many keys.
    pub(super) fn reserve_keys(&mut self, keys: usize) {
        if self.heads.len() < keys {
            self.heads.resize(keys, NONE);
        }
    }

    /// The first row of a key, or [`NONE`].
    pub(super) fn first(&self, key: u32) -> u32 {
        self.heads[key as usize]
    }

    /// The row after one in the list of its key, or [`NONE`].
    pub(super) fn after(&self, row: u32) -> u32 {
        self.next[row as usize]
    }

    pub(super) fn weight(&self, row: u32) -> i64 {
        self.weights[row as usize]
    }

    /// Remembers what rows are before they change; those that come have no matches yet.
    pub(super) fn begin(&mut self, changes: &[Change]) {
        for change in changes {
            self.marks.set(change.row);
            if self.counts {
                self.note(change.row);
                if self.weight(change.row) == 0 {
                    self.matches[change.row as usize] = 0;
                }
            }
        }
    }

    /// Says by how much rows are about to change, or takes it back (`times` is 0).
    pub(super) fn announce(&mut self, changes: &[Change], times: i64) {
        self.announced.resize(self.weights.len(), 0);
        for change in changes {
            self.announced[change.row as usize] = change.weight * times;
        }
    }

    /// By how much a row is about to change.
    pub(super) fn announced(&self, row: u32) -> i64 {
        self.announced[row as usize]
    }

    fn note(&mut self, row: u32) {
        let matches = self.matches[row as usize];
        self.before.push(Before { row, weight: self.weight(row), matches });
    }

    /// Changes the weights of rows.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for Change { key, row, weight } in changes.iter().copied() {
            let old = self.weight(row);
            let new = old + weight;
            assert!(new >= 0, "{}: a row has the weight {new}", self.name);
            self.weights[row as usize] = new;
            if old == 0 {
                self.link(key, row);
            } else if new == 0 {
                self.unlink(key, row);
            }
        }
    }

    pub(super) fn link(&mut self, key: u32, row: u32) {
        let first = std::mem::replace(&mut self.heads[key as usize], row);
        self.next[row as usize] = first;
        self.previous[row as usize] = NONE;
        if first != NONE {
            self.previous[first as usize] = row;
        }
        if let Some(done) = &mut self.done {
            let of = &mut done.of[row as usize];
            of.1 = key;
            done.listed.insert((of.0, row));
        }
    }

    fn unlink(&mut self, key: u32, row: u32) {
        let (before, after) = (self.previous[row as usize], self.next[row as usize]);
        match before {
            NONE => self.heads[key as usize] = after,
            before => self.next[before as usize] = after,
        }
        if after != NONE {
            self.previous[after as usize] = before;
        }
        if let Some(done) = &mut self.done {
            done.listed.remove(&(done.of[row as usize].0, row));
        }
    }

    /// Lets go of the rows that are done; gives their join keys.
    pub(super) fn let_go(&mut self, context: &Context) -> Vec<u32> {
        let Some(done) = &mut self.done else { return Vec::new() };
        let watermark = context.watermark(&done.clean.sources);
        let Some(bound) = watermark.and_then(|w| w.checked_sub(done.clean.shift)) else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        while let Some((_, row)) = done.listed.first().filter(|(time, _)| *time <= bound) {
            rows.push((*row, done.of[*row as usize].1));
            done.listed.pop_first();
        }
        if rows.is_empty() {
            return Vec::new();
        }
        done.trim = Some(bound.saturating_add(1));
        self.marks.count(rows.len());
        for (row, key) in &rows {
            self.unlink(*key, *row);
            self.weights[*row as usize] = 0;
            self.marks.unset(*row);
        }
        let (slots, keys) = rows.into_iter().unzip();
        self.rows.remove_all(slots);
        keys
    }

    /// All rows leave memory, for those of an `empty` side; what was counted stays.
    pub(super) fn let_all_go(&mut self, empty: Side) {
        self.marks.shrink();
        let marks = std::mem::take(&mut self.marks);
        *self = Side { marks, ..empty };
    }

    /// Forgets rows that came in this time.
    pub(super) fn drop_rows(&mut self, rows: &[Change]) {
        for Change { key, row, .. } in rows.iter().copied() {
            self.unlink(key, row);
            self.weights[row as usize] = 0;
            self.marks.unset(row);
        }
        self.rows.remove_all(rows.iter().map(|change| change.row).collect());
    }

    /// What has gone since this was asked last.
    pub(super) fn take_trim(&mut self) -> Option<i64> {
        self.done.as_mut()?.trim.take()
    }

    /// The column by which rows are done.
    pub(super) fn clean_column(&self) -> Option<usize> {
        self.done.as_ref().map(|done| done.clean.column)
    }

    /// Adds to the weight of a row's matches.
    pub(super) fn add_matches(&mut self, row: u32, weight: i64) {
        if !self.counts || weight == 0 {
            return;
        }
        self.note(row);
        self.marks.set(row);
        self.matches[row as usize] += weight;
    }

    /// Every touched row with the weight by which it leaves for having matches, or for having none:
    /// what that is now less what it was. Ascending; the time is over then.
    pub(super) fn shown(&mut self, if_matched: bool) -> Vec<(u32, i64)> {
        let mut before = std::mem::take(&mut self.before);
        // Stable, so that the first of each row stays the first.
        before.sort_by_key(|before| before.row);
        before.dedup_by_key(|before| before.row);
        let shows = |weight: i64, matches: i64| match (matches > 0) == if_matched {
            true => weight,
            false => 0,
        };
        let mut shown = Vec::new();
        for Before { row, weight, matches } in before {
            let now = (self.weight(row), self.matches[row as usize]);
            assert!(
                now.0 == 0 || now.1 >= 0,
                "{}: a row's matches have weight {}",
                self.name,
                now.1
            );
            let change = shows(now.0, now.1) - shows(weight, matches);
            if change != 0 {
                shown.push((row, change));
            }
        }
        shown
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let words = self.weights.capacity() + self.matches.capacity() + self.announced.capacity();
        let halves = self.next.capacity() + self.previous.capacity() + self.heads.capacity();
        let done = self.done.as_ref().map_or(0, |done| {
            done.of.capacity() * size_of::<(i64, u32)>()
                + done.listed.len() * size_of::<(i64, u32)>()
        });
        self.rows.bytes()
            + done
            + words * size_of::<i64>()
            + halves * size_of::<u32>()
            + self.marks.bytes()
            + self.before.capacity() * size_of::<Before>()
    }
}
