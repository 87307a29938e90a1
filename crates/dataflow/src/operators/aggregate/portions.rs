//! The groups of a time in portions: after one of them others take their turns.
//!
//! Groups are cut in the order of their keys. Over hopping windows a pane goes into many groups, thousands
//! maybe, so there the windows are cut, by their start: a portion has some windows with all panes that
//! lie in them.
//!
//! Invariants: 1. each group is in one portion ([`Portions::next`]): it is touched once in a time.

use std::ops::Range;

use arrow::array::Array;
use millrace_plan::Hop;

use super::Groups;
use crate::natives;
use crate::operator::Error;

/// Groups of one portion, more or less.
pub(super) const GROUPS: usize = 1 << 16;

/// Some slots of a scratch; over hopping windows those whose panes lie in windows that start in a range.
pub(super) struct Portion {
    pub(super) slots: Vec<u32>,
    pub(super) starts: Range<i64>,
}

/// See the head of the file.
pub(super) struct Portions {
    /// Slots of the scratch: by their key, over hopping windows by their pane, those without one last.
    slots: Vec<u32>,
    /// The panes of the first of them.
    panes: Vec<i64>,
    /// So many slots are done; over hopping windows those whose last window is.
    at: usize,
    /// Windows that start before this are done.
    from: i64,
}

impl Portions {
    /// All groups of a scratch.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn new(scratch: &Groups, hop: Option<&Hop>) -> Result<Portions, Error> {
        let mut slots = scratch.index.order();
        let Some(hop) = hop else {
            return Ok(Portions { slots, panes: Vec::new(), at: 0, from: i64::MIN });
        };
        let column = &scratch.index.decode(&slots)?[hop.column];
        let values = natives::values::<i64>(column);
        let (mut timed, mut others) = (Vec::new(), Vec::new());
        for (row, slot) in slots.iter().enumerate() {
            match column.is_valid(row) {
                true => timed.push((values[row], *slot)),
                false => others.push(*slot),
            }
        }
        timed.sort_by_key(|(pane, _)| *pane);
        slots = timed.iter().map(|(_, slot)| *slot).chain(others).collect();
        let panes = timed.into_iter().map(|(pane, _)| pane).collect();
        Ok(Portions { slots, panes, at: 0, from: i64::MIN })
    }

    /// The next portion, of about so many groups; None after the last.
    pub(super) fn next(&mut self, hop: Option<&Hop>, groups: usize) -> Option<Portion> {
        match hop {
            Some(hop) if self.at < self.panes.len() => Some(self.windows(hop, groups)),
            _ => {
                let to = self.slots.len().min(self.at.saturating_add(groups.max(1)));
                let slots = self.slots[self.at..to].to_vec();
                self.at = to;
                (!slots.is_empty()).then_some(Portion { slots, starts: i64::MIN..i64::MAX })
            }
        }
    }

    /// True if none has been asked for yet.
    pub(super) fn is_whole(&self) -> bool {
        self.at == 0 && self.from == i64::MIN
    }

    /// True if there is another portion.
    pub(super) fn has_more(&self) -> bool {
        self.at < self.slots.len()
    }

    /// The next windows: from the first one that a pane is in, so many as the panes in them allow.
    fn windows(&mut self, hop: &Hop, groups: usize) -> Portion {
        let panes = &self.panes;
        // Where windows leave gaps, or the arithmetic ends, a pane is in none.
        let first = loop {
            let Some(pane) = panes.get(self.at) else {
                return Portion { slots: Vec::new(), starts: i64::MIN..i64::MIN };
            };
            match hop.windows(*pane).next() {
                Some(first) => break first,
                None => self.at += 1,
            }
        };
        let from = self.from.max(first);
        // The panes in the windows that start before a time.
        let upto = |to: i64| {
            let end = to.saturating_add(hop.size);
            self.at + panes[self.at..].partition_point(|pane| *pane < end)
        };
        let to = |count: i64| from.saturating_add(hop.slide.saturating_mul(count));
        let mut count: i64 = 1;
        loop {
            let more = count.saturating_mul(2);
            let pairs = (upto(to(more)) - self.at) as u128 * u128::from(more.unsigned_abs());
            if pairs > groups as u128 || more == count || to(more) == i64::MAX {
                break;
            }
            count = more;
            if upto(to(count)) == panes.len() && to(count) > panes[panes.len() - 1] {
                break;
            }
        }
        let to = to(count);
        let slots = self.slots[self.at..upto(to)].to_vec();
        self.from = to;
        // Panes before the next window's start are in no later one; behind the end of time is none.
        self.at += match to {
            i64::MAX => panes.len() - self.at,
            to => panes[self.at..].partition_point(|pane| *pane < to),
        };
        Portion { slots, starts: from..to }
    }
}
