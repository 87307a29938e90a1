//! A portion of a scratch's groups is merged into the state: what the groups show before, then the sum, then
//! what they show now. Where a function is run again over a group of many values, these are read ahead,
//! some at a time, and the operator stops between such steps.
//!
//! Invariants: 1. what is read ahead of a group is used only until the group changes
//! ([`Multiset`](super::multiset::Multiset) drops it).

use arrow::array::ArrayRef;

use super::accumulator::{Moves, Weights};
use super::emit::Results;
use super::portions::Portion;
use super::{Aggregate, Groups, Touched, panes};
use crate::operator::{Context, Error, Output};

/// Groups on their way into the state.
pub(super) struct Merging {
    /// Slots of the scratch, and of the state: where each of them goes.
    from: Vec<u32>,
    into: Vec<u32>,
    touched: Touched,
    existed: Vec<bool>,
    stage: Stage,
}

/// How far they are. What they showed is not known where new rows replace the old ones.
enum Stage {
    /// What the groups show is to be found out: of those that have a row, not of the others.
    Placed(Touched, Touched),
    /// They are to be added.
    Known(Option<Known>),
    /// They are added; what they show now is to be found out.
    Added(Option<Known>),
}

/// What groups showed before.
struct Known {
    existing: Touched,
    fresh: Touched,
    before: Results,
}

impl Aggregate {
    /// The groups of a portion and where they go: state keys, and for each the scratch slot. They are
    /// ordered by key, so that the rows of a checkpoint are gathered from few places in memory.
    fn moves(
        &self,
        scratch: &Groups,
        portion: Portion,
        context: &Context,
    ) -> Result<(Vec<ArrayRef>, Vec<u32>), Error> {
        let Portion { slots: from, mut starts } = portion;
        let keys = scratch.index.decode(&from)?;
        let Some(hop) = &self.spec.hop else { return Ok((keys, from)) };
        // Windows that have closed: a pane may still feed later ones.
        let closed = self.windows.closed(context).filter(|_| self.spec.input.append_only);
        if let Some(closed) = closed {
            starts.start = starts.start.max(closed.saturating_add(1));
        }
        let (keys, panes) = panes::expand(hop, keys, starts)?;
        Ok((keys, panes.into_iter().map(|pane| from[pane as usize]).collect()))
    }

    /// Finds the places of a portion's groups in the state.
    pub(super) fn place(
        &mut self,
        (scratch, portion): (&Groups, Portion),
        starts: bool,
        context: &Context,
    ) -> Result<Merging, Error> {
        let (keys, from) = self.moves(scratch, portion, context)?;
        self.bring_back(&keys, from.len())?;
        let mut into = self.state.slots(&keys, from.len())?;
        if starts && into.is_empty() {
            into.push(0);
        }
        let touched = self.touched(keys, &into)?;
        into.truncate(from.len());
        let existed: Vec<bool> = touched.slots.iter().map(|s| self.exists(*s, starts)).collect();
        let stage = if self.replaces && !context.changelog && !self.failed {
            Stage::Known(None)
        } else {
            let (existing, fresh) = touched.split(&existed)?;
            Stage::Placed(existing, fresh)
        };
        Ok(Merging { from, into, touched, existed, stage })
    }

    /// Merges groups, or does a part of it; gives what is left.
    pub(super) fn merge(
        &mut self,
        scratch: &Groups,
        mut merging: Merging,
        out: &mut Output,
    ) -> Result<Option<Merging>, Error> {
        loop {
            let (stage, rest) = match merging.stage {
                Stage::Placed(existing, fresh) => {
                    if self.read_ahead(&existing.slots)? {
                        merging.stage = Stage::Placed(existing, fresh);
                        return Ok(Some(merging));
                    }
                    let before = self.results(&self.state.cells, &existing.slots)?;
                    let rest = self.forget_ahead();
                    (Stage::Known(Some(Known { existing, fresh, before })), rest)
                }
                Stage::Known(known) => {
                    self.add(scratch, &Moves { from: &merging.from, into: &merging.into })?;
                    self.check_counts(&self.state.cells, &merging.touched.slots);
                    (Stage::Added(known), self.is_heavy(&merging.touched.slots))
                }
                Stage::Added(known) => {
                    if self.read_ahead(&merging.touched.slots)? {
                        merging.stage = Stage::Added(known);
                        return Ok(Some(merging));
                    }
                    self.show(&merging.touched, &merging.existed, known, out)?;
                    self.forget_ahead();
                    self.conclude(&merging.touched, &merging.existed);
                    return Ok(None);
                }
            };
            merging.stage = stage;
            if rest {
                return Ok(Some(merging));
            }
        }
    }

    /// Sends what groups show now.
    fn show(
        &mut self,
        touched: &Touched,
        existed: &[bool],
        known: Option<Known>,
        out: &mut Output,
    ) -> Result<(), Error> {
        match known {
            None => {
                let results = self.results(&self.state.cells, &touched.slots)?;
                self.emit_replacing(touched, &results, existed, out)
            }
            Some(Known { existing, fresh, before }) => {
                self.emit_existing(&existing, before, out)?;
                self.emit_fresh(&fresh, out)
            }
        }
    }

    /// The groups have their new rows.
    fn conclude(&mut self, touched: &Touched, existed: &[bool]) {
        self.windows.add(touched, existed);
        touched.slots.iter().for_each(|slot| self.marks.set(*slot));
        if !self.spec.input.append_only {
            for slot in &touched.slots {
                if self.state.rows(*slot) == 0 {
                    self.state.reset(*slot);
                }
            }
        }
    }

    /// The accumulators that functions are run again over.
    fn rebuilt(&self) -> Vec<usize> {
        let mut parts: Vec<usize> = self.outcomes.iter().filter_map(|o| o.rebuilt_over()).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    /// True if some of the groups have many values over which a function is run again.
    fn is_heavy(&self, slots: &[u32]) -> bool {
        let heavy = |part: usize| {
            slots.iter().any(|slot| self.state.cells[part].entries_of(*slot) > self.fuel)
        };
        self.rebuilt().into_iter().any(heavy)
    }

    /// Reads some of the values of groups that have many, for functions that are run again. True if there
    /// are more to read.
    fn read_ahead(&mut self, slots: &[u32]) -> Result<bool, Error> {
        for part in self.rebuilt() {
            for slot in slots {
                let cell = &mut self.state.cells[part];
                if cell.entries_of(*slot) > self.fuel && cell.read_ahead(*slot, self.fuel)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Forgets what was read ahead. True if there was something.
    fn forget_ahead(&mut self) -> bool {
        let cells = self.state.cells.iter_mut();
        cells.filter_map(|cell| cell.forget_ahead().then_some(())).count() > 0
    }

    /// Each slot once, with its output's key columns.
    fn touched(&self, mut keys: Vec<ArrayRef>, slots: &[u32]) -> Result<Touched, Error> {
        let Some(hop) = &self.spec.hop else {
            return Ok(Touched { slots: slots.to_vec(), keys });
        };
        let end = self.spec.output.field(self.spec.group.len()).data_type();
        keys.push(panes::ends(hop, &keys[hop.column], end)?);
        let rows = u32::try_from(slots.len()).expect("slots are u32");
        let mut order: Vec<u32> = (0..rows).collect();
        order.sort_unstable_by_key(|row| (slots[*row as usize], *row));
        order.dedup_by_key(|row| slots[*row as usize]);
        Touched { slots: slots.to_vec(), keys }.take(&order)
    }

    /// True if a slot has a row already.
    fn exists(&self, slot: u32, starts: bool) -> bool {
        if self.is_global() { !starts } else { self.state.rows(slot) > 0 }
    }

    /// Adds the scratch to the state; then distinct values that came or went to what counts them.
    fn add(&mut self, scratch: &Groups, moves: &Moves<'_>) -> Result<(), Error> {
        for (number, other) in scratch.cells.iter().enumerate() {
            if self.parts.all[number].over.is_some() {
                continue;
            }
            self.state.cells[number].merge(other.as_ref(), moves)?;
            for (filter, shifts) in self.state.cells[number].shifts()?.into_iter().enumerate() {
                for (part, cell) in self.parts.all.iter().zip(&mut self.state.cells) {
                    if part.over == Some((number, filter)) {
                        let weights = Weights::Each(&shifts.weights);
                        cell.update(&shifts.slots, &shifts.columns, weights)?;
                    }
                }
            }
        }
        Ok(())
    }
}
