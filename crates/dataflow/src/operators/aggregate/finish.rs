//! Finishing a time: the scratch becomes the state, or its groups are merged into it, some at a time.

use super::accumulator::Moves;
use super::merge::Merging;
use super::portions::{Portion, Portions};
use super::results::Outcome;
use super::{Aggregate, Groups, Touched};
use crate::operator::{Context, Error, Output};

/// A scratch above this is not kept for the next time.
const SPARE_BYTES_MAX: usize = 32 << 20;

/// A time that is being finished.
pub(super) enum Finishing {
    /// The scratch has become the state: its groups in their order, and how many are out.
    First(Vec<u32>, usize),
    Merge {
        scratch: Groups,
        portions: Portions,
        starts: bool,
        /// A portion that is under way.
        merging: Option<Box<Merging>>,
    },
}

impl Finishing {
    /// The scratch that is still merged.
    pub(super) fn scratch(&self) -> Option<&Groups> {
        match self {
            Finishing::First(..) => None,
            Finishing::Merge { scratch, .. } => Some(scratch),
        }
    }
}

impl Aggregate {
    /// How many groups are merged in one go: fewer where each takes in many values, or functions are
    /// run again over many.
    fn groups_at_once(&self, scratch: &Groups) -> usize {
        let of_each = |values: usize, groups: &Groups| values / groups.index.len().max(1);
        let come = scratch.cells.iter().map(|cell| cell.gathered()).sum();
        let mut values = of_each(come, scratch);
        if self.outcomes.iter().any(Outcome::is_rebuilt) {
            let held = self.state.cells.iter().map(|cell| cell.held()).sum();
            values += of_each(held, &self.state);
        }
        (self.fuel / (values + 1)).max(1)
    }

    /// Groups of a scratch that has become the state: mostly that of a hydration's history. Their rows
    /// are made from copies of the accumulators in the order of the keys: each column is gathered once,
    /// and what follows runs through memory.
    fn show_first(&mut self, slots: &[u32], out: &mut Output) -> Result<(), Error> {
        let mut sorted = self.parts.accumulators()?;
        let rows: Vec<u32> = (0u32..).take(slots.len()).collect();
        for (cell, state) in sorted.iter_mut().zip(&self.state.cells) {
            cell.resize(rows.len());
            cell.merge(state.as_ref(), &Moves { from: slots, into: &rows })?;
        }
        self.check_counts(&sorted, &rows);
        let results = self.results(&sorted, &rows)?;
        let groups = Touched { slots: slots.to_vec(), keys: self.state.index.decode(slots)? };
        let existed = vec![false; slots.len()];
        self.emit_replacing(&groups, &results, &existed, out)?;
        self.windows.add(&groups, &existed);
        slots.iter().for_each(|slot| self.marks.set(*slot));
        Ok(())
    }

    /// What is to be done at a time; None if nothing is.
    pub(super) fn begin(&mut self, context: &Context) -> Result<Option<Finishing>, Error> {
        let starts = self.start(context)?;
        let scratch = match (self.scratches.remove(&context.ts), self.spare.take()) {
            (Some(scratch), _) | (None, Some(scratch)) => scratch,
            (None, None) => Groups::new(&self.spec, &self.parts)?,
        };
        if self.is_first(&scratch) {
            self.state = scratch;
            return Ok(Some(Finishing::First(self.state.index.order(), 0)));
        }
        if starts || scratch.index.capacity() > 0 {
            let portions = Portions::new(&scratch, self.spec.hop.as_ref())?;
            return Ok(Some(Finishing::Merge { scratch, portions, starts, merging: None }));
        }
        self.spare = Some(scratch);
        Ok(None)
    }

    fn next_portion(
        &mut self,
        (scratch, portions): (&mut Groups, &mut Portions),
        starts: bool,
        context: &Context,
    ) -> Result<Merging, Error> {
        let whole = portions.is_whole();
        let next = portions.next(self.spec.hop.as_ref(), self.groups_at_once(scratch));
        if whole && portions.has_more() {
            scratch.cells.iter_mut().try_for_each(|cell| cell.cut())?;
        }
        // The row of a global aggregation begins without any.
        let none = Portion { slots: Vec::new(), starts: i64::MIN..i64::MAX };
        self.place((scratch, next.unwrap_or(none)), starts, context)
    }

    /// One portion of it, or a part of one; what is left.
    pub(super) fn go_on(
        &mut self,
        finishing: Finishing,
        context: &Context,
        out: &mut Output,
    ) -> Result<Option<Finishing>, Error> {
        match finishing {
            Finishing::First(slots, at) => {
                let to = slots.len().min(at + self.fuel);
                self.show_first(&slots[at..to], out)?;
                Ok((to < slots.len()).then_some(Finishing::First(slots, to)))
            }
            Finishing::Merge { mut scratch, mut portions, starts, merging } => {
                let merging = match merging {
                    Some(merging) => *merging,
                    None => self.next_portion((&mut scratch, &mut portions), starts, context)?,
                };
                let merging = self.merge(&scratch, merging, out)?.map(Box::new);
                if merging.is_some() || portions.has_more() {
                    return Ok(Some(Finishing::Merge { scratch, portions, starts, merging }));
                }
                if scratch.bytes() <= SPARE_BYTES_MAX {
                    scratch.clear();
                    self.spare = Some(scratch);
                }
                Ok(None)
            }
        }
    }
}
