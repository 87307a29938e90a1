//! What changed: the rows that groups showed before and show now.
//!
//! A group that only changes its result is sent as two deltas that share the arrays of the key
//! columns, the old rows with weight -1 and then the new ones with weight +1: the store sees by the
//! shared arrays that the second replaces the first.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, make_comparator};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, filter, or};
use arrow::error::ArrowError;
use millrace_types::Delta;

use super::accumulator::Accumulator;
use super::results::Failures;
use super::{Aggregate, Touched};
use crate::failure::{Failure, print_key};
use crate::operator::{Error, ErrorRow, Output};

/// The results of some slots, a column a call.
pub(super) struct Results {
    columns: Vec<ArrayRef>,
    pub(super) failures: Failures,
}

impl Aggregate {
    /// What some slots of the state, or of other accumulators, show.
    pub(super) fn results(
        &self,
        cells: &[Box<dyn Accumulator>],
        slots: &[u32],
    ) -> Result<Results, Error> {
        let mut failures = Failures::new();
        let columns = self
            .outcomes
            .iter()
            .map(|outcome| outcome.column(cells, slots, &mut failures))
            .collect::<Result<_, _>>()?;
        Ok(Results { columns, failures })
    }

    /// Groups that had a row: it changes, goes, or stays as it is.
    pub(super) fn emit_existing(
        &mut self,
        groups: &Touched,
        before: Results,
        out: &mut Output,
    ) -> Result<(), Error> {
        if groups.slots.is_empty() {
            return Ok(());
        }
        let after = self.results(&self.state.cells, &groups.slots)?;
        self.failed |= !after.failures.is_empty();
        let lives = |row: usize| self.is_global() || self.state.rows(groups.slots[row]) > 0;
        let mut differs = BooleanArray::from(vec![false; groups.slots.len()]);
        for (old, new) in before.columns.iter().zip(&after.columns) {
            differs = or(&differs, &differing(old, new)?)?;
        }
        let (mut changed, mut gone, mut come) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..groups.slots.len() {
            let had = !before.failures.contains_key(&row);
            let has = lives(row) && !after.failures.contains_key(&row);
            changed.push(had && has && differs.value(row));
            gone.push(had && !has);
            come.push(!had && has);
            let new = after.failures.get(&row).filter(|_| lives(row));
            let old = before.failures.get(&row);
            if old != new {
                self.emit_failure(groups, row, (old, -1), out)?;
                self.emit_failure(groups, row, (new, 1), out)?;
            }
        }
        let keys = Picked::new(changed).keys(groups)?;
        self.emit(&keys, &before.columns, -1, out)?;
        self.emit(&keys, &after.columns, 1, out)?;
        self.emit(&Picked::new(gone).keys(groups)?, &before.columns, -1, out)?;
        self.emit(&Picked::new(come).keys(groups)?, &after.columns, 1, out)
    }

    /// All touched groups at once: new rows, which replace those that were there. None of the old
    /// rows is an error.
    pub(super) fn emit_replacing(
        &mut self,
        groups: &Touched,
        results: &Results,
        existed: &[bool],
        out: &mut Output,
    ) -> Result<(), Error> {
        let failed = |row: &usize| results.failures.contains_key(row);
        let shown = (0..existed.len()).map(|row| !failed(&row)).collect();
        self.emit(&Picked::new(shown).keys(groups)?, &results.columns, 1, out)?;
        if !results.failures.is_empty() {
            self.failed = true;
            let gone = existed.iter().enumerate().map(|(row, existed)| *existed && failed(&row));
            self.emit(&Picked::new(gone.collect()).keys(groups)?, &results.columns, -1, out)?;
            for (row, failure) in &results.failures {
                self.emit_failure(groups, *row, (Some(failure), 1), out)?;
            }
        }
        Ok(())
    }

    /// Groups that had no row.
    pub(super) fn emit_fresh(&mut self, groups: &Touched, out: &mut Output) -> Result<(), Error> {
        if groups.slots.is_empty() {
            return Ok(());
        }
        let results = self.results(&self.state.cells, &groups.slots)?;
        self.failed |= !results.failures.is_empty();
        let mut shown = Vec::with_capacity(groups.slots.len());
        for (row, slot) in groups.slots.iter().enumerate() {
            let lives = self.is_global() || self.state.rows(*slot) > 0;
            let failure = results.failures.get(&row).filter(|_| lives);
            self.emit_failure(groups, row, (failure, 1), out)?;
            shown.push(lives && failure.is_none());
        }
        self.emit(&Picked::new(shown).keys(groups)?, &results.columns, 1, out)
    }

    fn emit_failure(
        &self,
        groups: &Touched,
        row: usize,
        (failure, weight): (Option<&Failure>, i64),
        out: &mut Output,
    ) -> Result<(), Error> {
        if let Some(failure) = failure {
            let names = self.spec.output.fields().iter().map(|f| f.name().as_str());
            let key = print_key(names.zip(&groups.keys), row);
            out.errors.push(ErrorRow::new(key, failure.code, failure.message.clone(), weight));
        }
        Ok(())
    }

    fn emit(
        &self,
        (picked, keys): &(Picked, Vec<ArrayRef>),
        columns: &[ArrayRef],
        weight: i64,
        out: &mut Output,
    ) -> Result<(), Error> {
        if picked.none {
            return Ok(());
        }
        let mut all = keys.clone();
        for column in columns {
            all.push(picked.column(column)?);
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.output), all)?;
        out.deltas.push(Delta::constant(rows, weight));
        Ok(())
    }
}

/// Where two columns are distinct.
fn differing(old: &ArrayRef, new: &ArrayRef) -> Result<BooleanArray, ArrowError> {
    if !old.data_type().is_nested() {
        return distinct(old, new);
    }
    let compare = make_comparator(old, new, SortOptions::default())?;
    Ok((0..old.len()).map(|row| Some(compare(row, row) != Ordering::Equal)).collect())
}

/// Some of the rows; all of them cost nothing.
struct Picked {
    mask: BooleanArray,
    all: bool,
    none: bool,
}

impl Picked {
    fn new(mask: Vec<bool>) -> Picked {
        let count = mask.iter().filter(|picked| **picked).count();
        Picked { all: count == mask.len(), none: count == 0, mask: BooleanArray::from(mask) }
    }

    fn column(&self, column: &ArrayRef) -> Result<ArrayRef, Error> {
        if self.all { Ok(Arc::clone(column)) } else { Ok(filter(column, &self.mask)?) }
    }

    /// With the key columns of the picked rows.
    fn keys(self, groups: &Touched) -> Result<(Picked, Vec<ArrayRef>), Error> {
        if self.none {
            return Ok((self, Vec::new()));
        }
        let keys = groups.keys.iter().map(|key| self.column(key)).collect::<Result<_, _>>()?;
        Ok((self, keys))
    }
}
