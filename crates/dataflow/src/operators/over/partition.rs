//! A touched partition: its changes are taken in, then its rows are read, the functions run over them, and what
//! they say is compared with what they said before; a large one in several pieces.
//!
//! Invariants: 1. the functions see all rows of the partition at once: frames reach anywhere.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;

use super::{Failed, Finishing, Leaving, Over};
use crate::operator::{Context, Error, ErrorRow, Output};
use crate::operators::sorted::row_of;

/// See the head of the file.
pub(super) struct Partition {
    pub(super) group: u32,
    /// Where its changes begin among those of the time, and where they end.
    pub(super) changes: (usize, usize),
    stage: Stage,
}

/// How far it is. Slots are those of all its rows, in order.
enum Stage {
    /// So many of its changes, counted among those of the time, are taken in.
    Change(usize),
    /// The columns of its first rows, some rows after others.
    Read(Vec<u32>, Vec<Vec<ArrayRef>>),
    /// What the first functions say.
    Call(Vec<u32>, RecordBatch, Vec<ArrayRef>),
    /// What all functions say; so many rows have been compared.
    Compare(Vec<u32>, Vec<ArrayRef>, usize),
    /// All is done, or the functions have failed.
    Done(Option<Failed>),
}

impl Partition {
    pub(super) fn new(group: u32, changes: (usize, usize)) -> Partition {
        Partition { group, changes, stage: Stage::Change(changes.0) }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let columns = |columns: &[ArrayRef]| {
            columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>()
        };
        match &self.stage {
            Stage::Change(_) | Stage::Done(_) => 0,
            Stage::Read(_, parts) => parts.iter().map(|part| columns(part)).sum(),
            Stage::Call(_, rows, results) => columns(rows.columns()) + columns(results),
            Stage::Compare(_, results, _) => columns(results),
        }
    }
}

impl Over {
    /// One piece of work at a partition, and how many rows were looked at; None without a partition when it
    /// is done.
    pub(super) fn look(
        &mut self,
        partition: Partition,
        finishing: &Finishing,
        context: &Context,
        (leaving, out): (&mut Leaving, &mut Output),
    ) -> Result<(Option<Partition>, u64), Error> {
        let Partition { group, changes, stage } = partition;
        let piece = usize::try_from(self.fuel).unwrap_or(usize::MAX);
        let (stage, cost) = match stage {
            Stage::Change(at) => {
                let to = changes.1.min(at.saturating_add(piece));
                let cost = self.change_all(group, finishing, at..to, leaving);
                (if to < changes.1 { Stage::Change(to) } else { self.read(group) }, cost)
            }
            Stage::Read(slots, mut parts) => {
                let at = parts.iter().map(|part| part.first().map_or(0, |column| column.len()));
                let at: usize = at.sum();
                let to = slots.len().min(at.saturating_add(piece));
                self.marks.count(to - at);
                parts.push(self.rows.decode(&slots[at..to])?);
                let stage = match to < slots.len() {
                    true => Stage::Read(slots, parts),
                    false => Stage::Call(slots, self.calls.rows(joined(parts)?)?, Vec::new()),
                };
                (stage, (to - at) as u64)
            }
            Stage::Call(slots, rows, results) if results.len() == self.calls.len() => {
                drop(rows);
                (Stage::Compare(slots, results, 0), 0)
            }
            Stage::Call(slots, rows, mut results) => {
                let cost = slots.len() as u64;
                match self.calls.evaluate(results.len(), &rows)? {
                    Ok(column) => {
                        results.push(column);
                        (Stage::Call(slots, rows, results), cost)
                    }
                    Err(failure) => {
                        self.hide(&slots, leaving);
                        let failed = (failure.code.code().to_owned(), failure.message);
                        (Stage::Done(Some(failed)), cost)
                    }
                }
            }
            Stage::Compare(slots, results, at) => {
                let to = slots.len().min(at.saturating_add(piece));
                let said = results.iter().map(|column| column.slice(at, to - at));
                let said: Vec<ArrayRef> = said.collect();
                self.compare(&slots[at..to], &said, context.changelog, leaving)?;
                let cost = (to - at) as u64;
                match to < slots.len() {
                    true => (Stage::Compare(slots, results, to), cost),
                    false => (Stage::Done(None), cost),
                }
            }
            Stage::Done(failed) => {
                self.conclude(group, failed, (finishing, changes.0), out)?;
                return Ok((None, 0));
            }
        };
        Ok((Some(Partition { group, changes, stage }), cost))
    }

    /// Takes changes in; gives what that cost.
    fn change_all(
        &mut self,
        group: u32,
        finishing: &Finishing,
        changes: std::ops::Range<usize>,
        leaving: &mut Leaving,
    ) -> u64 {
        let begun = self.marks.touched();
        for packed in &finishing.order[changes] {
            let row = row_of(*packed);
            let (bytes, weight) = (finishing.encoded.row(row), finishing.weights.value(row));
            self.change(group, bytes.as_ref(), weight, leaving);
        }
        self.marks.touched() - begun
    }

    /// All rows of a partition are to be read, if there are any.
    fn read(&self, group: u32) -> Stage {
        let slots: Vec<u32> = self.lists[group as usize].iter().collect();
        match slots.is_empty() {
            true => Stage::Done(None),
            false => Stage::Read(slots, Vec::new()),
        }
    }

    /// The rows of a partition for which a function fails show nothing.
    fn hide(&mut self, slots: &[u32], leaving: &mut Leaving) {
        for slot in slots {
            self.marks.set(*slot);
            if let Some(said) = self.said[*slot as usize].take() {
                leaving.gone.0.push(*slot);
                leaving.gone.1.push(said);
            }
        }
    }

    /// Rows for which the functions say something else than before leave.
    fn compare(
        &mut self,
        slots: &[u32],
        results: &[ArrayRef],
        changelog: bool,
        leaving: &mut Leaving,
    ) -> Result<(), Error> {
        let said = self.calls.encode(results)?;
        for (row, slot) in slots.iter().enumerate() {
            let new = said.row(row);
            let shown = &mut self.said[*slot as usize];
            if shown.as_deref() == Some(new.as_ref()) {
                continue;
            }
            self.marks.set(*slot);
            if let Some(old) = shown.replace(new.as_ref().into()).filter(|_| changelog) {
                leaving.gone.0.push(*slot);
                leaving.gone.1.push(old);
            }
            leaving.come.push(*slot);
        }
        Ok(())
    }

    /// The functions have failed or not: the partition's error row comes or goes.
    fn conclude(
        &mut self,
        group: u32,
        new: Option<Failed>,
        (finishing, first): (&Finishing, usize),
        out: &mut Output,
    ) -> Result<(), Error> {
        let old = match &new {
            Some(new) => self.failures.insert(group, new.clone()),
            None => self.failures.remove(&group),
        };
        if old != new {
            let row = finishing.encoded.row(row_of(finishing.order[first]));
            let key = self.key(row.as_ref())?;
            for ((code, message), weight) in
                old.into_iter().map(|old| (old, -1)).chain(new.map(|new| (new, 1)))
            {
                out.errors.push(ErrorRow { key: key.clone(), code, message, weight });
            }
        }
        if self.lists[group as usize].is_empty() {
            match self.away.is_some() {
                true => self.emptied.push(group),
                false => drop(self.groups.remove(group)),
            }
        }
        Ok(())
    }
}

/// The columns of rows that were read some after others.
fn joined(mut parts: Vec<Vec<ArrayRef>>) -> Result<Vec<ArrayRef>, Error> {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let width = parts.first().map_or(0, Vec::len);
    let column = |at: usize| {
        let of_all: Vec<&dyn arrow::array::Array> =
            parts.iter().map(|part| part[at].as_ref()).collect();
        Ok(concat(&of_all)?)
    };
    (0..width).map(column).collect()
}
