//! Finishing a time in pieces: one row may join with millions.
//!
//! After so many pairs the operator stops, wherever it is, and goes on when it is asked again; other
//! dataflows of the worker take their turns in between. What has been sent is never looked at again.
//!
//! Where both sides of a key change a pair could come with one side and go with the other. Such pairs
//! are told once, while the left rows are gone through, with what both changes make of them
//! ([`Join::pair`]); so a key can be left in the middle, however both sides change.
//!
//! Invariants: 1. nothing but [`Join::absorb`](super::Join) comes between two pieces of one time, so slots and
//! lists stay as they are.

use std::ops::Range;

use super::pairs::{self, PAIRS, Pair};
use super::side::Change;
use super::{Join, LEFT, NONE, RIGHT};
use crate::operator::{Context, Error, Output};

/// Pairs of one piece.
pub(super) const FUEL: usize = 2 * PAIRS;

/// A time that is being finished.
pub(super) struct Finishing {
    /// The net changes of each side, by join key.
    pub(super) changes: [Vec<Change>; 2],
    /// Where the changes of the next key begin.
    next: [usize; 2],
    meeting: Option<Meeting>,
    /// On their way out.
    pairs: Vec<Pair>,
    /// When all pairs are out.
    alone: Option<Alone>,
}

/// Rows of a side that are shown for having a match, or none.
struct Alone {
    side: usize,
    rows: Vec<(u32, i64)>,
    /// So many are out.
    at: usize,
}

/// A key whose pairs are gone through.
struct Meeting {
    key: u32,
    changes: [Range<usize>; 2],
    /// The side whose changed rows meet the other's.
    side: usize,
    /// The changed row.
    at: usize,
    /// The row that it meets next; None: the first.
    other: Option<u32>,
    visited: usize,
}

impl Finishing {
    pub(super) fn new(changes: [Vec<Change>; 2]) -> Finishing {
        Finishing { changes, next: [0; 2], meeting: None, pairs: Vec::new(), alone: None }
    }

    pub(super) fn bytes(&self) -> usize {
        let changes: usize = self.changes.iter().map(Vec::capacity).sum();
        let alone = self.alone.as_ref().map_or(0, |alone| alone.rows.capacity());
        changes * size_of::<Change>()
            + self.pairs.capacity() * size_of::<Pair>()
            + alone * size_of::<(u32, i64)>()
    }

    /// The changes of the next key, keys ascending.
    fn next_key(&mut self) -> Option<Meeting> {
        let first = |side: usize| self.changes[side].get(self.next[side]).map(|change| change.key);
        let key = [first(LEFT), first(RIGHT)].into_iter().flatten().min()?;
        let own = |side: usize| {
            let from = self.next[side];
            let count = self.changes[side][from..].partition_point(|change| change.key <= key);
            from..from + count
        };
        let changes = [own(LEFT), own(RIGHT)];
        self.next = [changes[LEFT].end, changes[RIGHT].end];
        let at = changes[LEFT].start;
        Some(Meeting { key, changes, side: LEFT, at, other: None, visited: 0 })
    }
}

impl Join {
    /// One piece; true when it was the last.
    pub(super) fn go_on(
        &mut self,
        finishing: &mut Finishing,
        (context, out): (&Context, &mut Output),
    ) -> Result<bool, Error> {
        let mut fuel = self.fuel;
        while finishing.alone.is_none() {
            let done = match finishing.meeting.take().or_else(|| finishing.next_key()) {
                Some(meeting) => self.meet(finishing, meeting, &mut fuel, (context, out))?,
                None => {
                    self.spend(finishing, 0, &mut fuel, (context, out))?;
                    finishing.alone = Some(Alone { side: LEFT, rows: self.alone(LEFT), at: 0 });
                    true
                }
            };
            if !done || fuel == 0 {
                return Ok(false);
            }
        }
        while let Some(alone) = &mut finishing.alone {
            let batch = PAIRS.min(self.fuel);
            let some = &alone.rows[alone.at..alone.rows.len().min(alone.at + batch)];
            if some.is_empty() {
                finishing.alone = match alone.side {
                    LEFT => Some(Alone { side: RIGHT, rows: self.alone(RIGHT), at: 0 }),
                    _ => return Ok(true),
                };
                continue;
            }
            self.show_some(alone.side, some, out)?;
            let shown = some.len();
            alone.at += shown;
            fuel = fuel.saturating_sub(shown);
            if fuel == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The pairs of one key; false if they are not all out and the rest is to come later.
    fn meet(
        &mut self,
        finishing: &mut Finishing,
        mut meeting: Meeting,
        fuel: &mut usize,
        (context, out): (&Context, &mut Output),
    ) -> Result<bool, Error> {
        let [left, right] = meeting.changes.clone();
        let lookup = self.spec.lookup;
        let both = !lookup && !left.is_empty() && !right.is_empty();
        let batch = PAIRS.min(self.fuel);
        let begins = meeting.side == LEFT && meeting.at == left.start && meeting.other.is_none();
        if begins {
            self.sides[LEFT].begin(&finishing.changes[LEFT][left.clone()]);
            self.sides[RIGHT].begin(&finishing.changes[RIGHT][right.clone()]);
            if both {
                self.sides[LEFT].announce(&finishing.changes[LEFT][left.clone()], 1);
                self.sides[RIGHT].announce(&finishing.changes[RIGHT][right.clone()], 1);
            }
            if lookup {
                // Rows meet what is there at the end of the time, and are met by nothing.
                self.sides[RIGHT].apply(&finishing.changes[RIGHT][right.clone()]);
            }
        }
        while meeting.side <= RIGHT {
            let side = meeting.side;
            while meeting.at < meeting.changes[side].end {
                let change = finishing.changes[side][meeting.at];
                let first = || self.sides[1 - side].first(meeting.key);
                let mut other = meeting.other.take().unwrap_or_else(first);
                while other != NONE {
                    meeting.visited += 1;
                    finishing.pairs.extend(self.pair(side, &change, other, both));
                    other = self.sides[1 - side].after(other);
                    if finishing.pairs.len() < batch {
                        continue;
                    }
                    self.spend(finishing, batch, fuel, (context, out))?;
                    if *fuel == 0 {
                        meeting.other = Some(other);
                        finishing.meeting = Some(meeting);
                        return Ok(false);
                    }
                }
                meeting.at += 1;
            }
            self.sides[1 - side].marks.count(std::mem::take(&mut meeting.visited));
            self.sides[side].apply(&finishing.changes[side][meeting.changes[side].clone()]);
            meeting.side += if lookup { 2 } else { 1 };
            meeting.at = meeting.changes[RIGHT].start;
        }
        if both {
            self.sides[LEFT].announce(&finishing.changes[LEFT][left], 0);
            self.sides[RIGHT].announce(&finishing.changes[RIGHT][right], 0);
        }
        self.spend(finishing, batch, fuel, (context, out))?;
        Ok(true)
    }

    /// Counts pairs as matches and sends them, until fewer than `left` wait; 0: until none does.
    fn spend(
        &mut self,
        finishing: &mut Finishing,
        left: usize,
        fuel: &mut usize,
        (context, out): (&Context, &mut Output),
    ) -> Result<(), Error> {
        while finishing.pairs.len() >= left.max(1) {
            let rest = finishing.pairs.len().saturating_sub(PAIRS);
            let some = finishing.pairs.split_off(rest);
            *fuel = fuel.saturating_sub(some.len());
            let (spec, condition) = (&self.spec, self.condition.as_ref());
            pairs::let_out(spec, condition, &mut self.sides, some, (context, out))?;
        }
        Ok(())
    }
}
