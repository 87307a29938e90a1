//! Finishing a time of an ASOF join: key after key, and a key with many rows in several pieces.
//!
//! Of a key the left rows that go are taken back first, with the matches that they have. Then the right rows
//! change, the left rows that this concerns are matched again, and the left rows that come find their
//! match.
//!
//! Invariants: 1. right rows that have gone keep their slots until the key is done: matches that are taken
//! back name them ([`Nearest::finish`] frees no slot before).

use std::ops::Range;

use super::super::slots::NONE;
use super::super::sorted::{group_of, row_of};
use super::{Incoming, LEFT, Nearest, Pair, RIGHT};

/// A time that is being finished.
pub(super) struct Finishing {
    incoming: [Option<Incoming>; 2],
    /// The changes of the keys before this place are done, or under way.
    at: [usize; 2],
    under_way: Option<Key>,
}

/// The changes of one key.
struct Key {
    key: u32,
    /// Places of its changes, by side.
    own: [Range<usize>; 2],
    stage: Stage,
    /// So much of the stage is done.
    at: usize,
    /// Left rows that changes of right ones concern.
    concerned: Vec<u32>,
}

/// What is done with a key.
#[derive(Clone, Copy)]
enum Stage {
    /// Left rows go.
    TakeBack,
    /// Right rows change.
    Change,
    /// Left rows that are concerned are looked for.
    Concern,
    /// They are matched again.
    Match,
    /// Left rows come.
    Show,
    Done,
}

impl Finishing {
    pub(super) fn new(incoming: [Option<Incoming>; 2]) -> Finishing {
        Finishing { incoming, at: [0, 0], under_way: None }
    }

    fn order(&self, side: usize) -> &[u64] {
        self.incoming[side].as_ref().map_or(&[], |incoming| &incoming.order)
    }

    /// The key that is under way, or the next one, ascending.
    fn next(&mut self) -> Option<Key> {
        if let Some(key) = self.under_way.take() {
            return Some(key);
        }
        let rest = [LEFT, RIGHT].map(|side| &self.order(side)[self.at[side]..]);
        let first = rest.iter().filter_map(|order| order.first()).map(|packed| group_of(*packed));
        let key = first.min()?;
        let counts = rest.map(|rest| rest.partition_point(|packed| group_of(*packed) <= key));
        let own = [LEFT, RIGHT].map(|side| self.at[side]..self.at[side] + counts[side]);
        self.at = [LEFT, RIGHT].map(|side| own[side].end);
        Some(Key { key, own, stage: Stage::TakeBack, at: 0, concerned: Vec::new() })
    }

    pub(super) fn has_more(&self) -> bool {
        let left = |side: usize| self.at[side] < self.order(side).len();
        self.under_way.is_some() || left(LEFT) || left(RIGHT)
    }

    /// True in the midst of a key.
    pub(super) fn is_within(&self) -> bool {
        self.under_way.is_some()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let of = |incoming: &Incoming| {
            incoming.rows.size()
                + incoming.times.size()
                + incoming.order.len() * 3 * size_of::<u64>()
        };
        self.incoming.iter().flatten().map(of).sum()
    }
}

impl Key {
    /// Goes on to the next stage.
    fn then(&mut self, stage: Stage) {
        (self.stage, self.at) = (stage, 0);
    }

    /// The next places of the stage, of so many.
    fn places(&mut self, count: usize, piece: usize) -> Range<usize> {
        let from = self.at;
        self.at = count.min(from.saturating_add(piece));
        from..self.at
    }
}

impl Nearest {
    /// One piece of work, of so many rows; false if there is none.
    pub(super) fn go_on(
        &mut self,
        finishing: &mut Finishing,
        piece: usize,
        pairs: &mut Vec<Pair>,
    ) -> bool {
        let Some(mut key) = finishing.next() else { return false };
        match key.stage {
            Stage::TakeBack | Stage::Show => {
                self.change_left(&mut key, finishing, piece, pairs);
            }
            Stage::Change | Stage::Concern => self.change_right(&mut key, finishing, piece),
            Stage::Match => self.match_again(&mut key, piece, pairs),
            Stage::Done => {}
        }
        match key.stage {
            Stage::Done => self.forget(key.key),
            _ => finishing.under_way = Some(key),
        }
        true
    }

    /// Left rows go, or come.
    fn change_left(
        &mut self,
        key: &mut Key,
        finishing: &Finishing,
        piece: usize,
        pairs: &mut Vec<Pair>,
    ) {
        let goes = matches!(key.stage, Stage::TakeBack);
        let own = &finishing.order(LEFT)[key.own[LEFT].clone()];
        let places = key.places(own.len(), piece);
        if let Some(incoming) = &finishing.incoming[LEFT] {
            for row in own[places].iter().map(|packed| row_of(*packed)) {
                match (goes, incoming.weights.value(row) < 0) {
                    (true, true) => {
                        let slot = self.change(LEFT, key.key, incoming, row);
                        self.show(slot, -1, pairs);
                    }
                    (false, false) => {
                        let slot = self.change(LEFT, key.key, incoming, row);
                        self.matched.resize(self.matched.len().max(slot as usize + 1), NONE);
                        self.matched[slot as usize] = self.find(key.key, slot);
                        self.show(slot, 1, pairs);
                    }
                    (true, false) | (false, true) => {}
                }
            }
        }
        if key.at == own.len() {
            key.then(if goes { Stage::Change } else { Stage::Done });
        }
    }

    /// Right rows change, or the left rows are looked for that this concerns.
    fn change_right(&mut self, key: &mut Key, finishing: &Finishing, piece: usize) {
        let own = &finishing.order(RIGHT)[key.own[RIGHT].clone()];
        let places = key.places(own.len(), piece);
        if let Some(incoming) = &finishing.incoming[RIGHT] {
            for row in own[places].iter().map(|packed| row_of(*packed)) {
                match key.stage {
                    Stage::Change => {
                        self.change(RIGHT, key.key, incoming, row);
                    }
                    _ => {
                        let time = incoming.times.row(row);
                        self.concerned(key.key, time.as_ref(), &mut key.concerned);
                    }
                }
            }
        }
        if key.at < own.len() {
            return;
        }
        match key.stage {
            Stage::Change => key.then(Stage::Concern),
            _ => {
                key.concerned.sort_unstable();
                key.concerned.dedup();
                key.then(Stage::Match);
            }
        }
    }

    /// Left rows that may have another match leave anew if they have.
    fn match_again(&mut self, key: &mut Key, piece: usize, pairs: &mut Vec<Pair>) {
        let places = key.places(key.concerned.len(), piece);
        for place in places {
            let row = key.concerned[place];
            let found = self.find(key.key, row);
            if found != self.matched[row as usize] {
                self.show(row, -1, pairs);
                self.matched[row as usize] = found;
                self.show(row, 1, pairs);
            }
        }
        if key.at == key.concerned.len() {
            key.then(Stage::Show);
        }
    }
}
