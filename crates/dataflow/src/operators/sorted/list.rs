//! The rows of one group in order: one slot, or blocks of slots.
//!
//! Most groups have a row or a few, so an only row takes no memory of its own. A long list is cut into
//! blocks, so that a row comes and goes without moving all that follow.
//!
//! Invariants: 1. no block is empty. 2. the rows ascend strictly.

use super::rows::Rows;

/// Slots of a block before it is cut in two.
const BLOCK: usize = 512;

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub(in crate::operators) enum List {
    /// No row.
    #[default]
    Empty,
    /// One row.
    One(u32),
    /// Blocks of rows.
    Blocks(Vec<Vec<u32>>),
}

/// Where a row is or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operators) struct Place {
    block: usize,
    at: usize,
}

impl List {
    /// How many different rows.
    pub(in crate::operators) fn len(&self) -> usize {
        match self {
            List::Empty => 0,
            List::One(_) => 1,
            List::Blocks(blocks) => blocks.iter().map(Vec::len).sum(),
        }
    }

    pub(in crate::operators) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many rows a search compares.
    pub(in crate::operators) fn steps(&self) -> usize {
        let rows = match self {
            List::Blocks(blocks) => blocks.len() * BLOCK,
            List::Empty | List::One(_) => 1,
        };
        rows.ilog2() as usize + 1
    }

    /// The slots in order.
    pub(in crate::operators) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (one, blocks) = match self {
            List::Empty => (None, &[][..]),
            List::One(slot) => (Some(*slot), &[][..]),
            List::Blocks(blocks) => (None, blocks.as_slice()),
        };
        one.into_iter().chain(blocks.iter().flatten().copied())
    }

    /// The last slot.
    pub(in crate::operators) fn last(&self) -> Option<u32> {
        match self {
            List::Empty => None,
            List::One(slot) => Some(*slot),
            List::Blocks(blocks) => blocks.last().and_then(|block| block.last()).copied(),
        }
    }

    /// Where a row is, or where it would be.
    pub(in crate::operators) fn find(&self, row: &[u8], rows: &Rows) -> Result<Place, Place> {
        match self {
            List::Empty => Err(Place { block: 0, at: 0 }),
            List::One(slot) => {
                let slot = [*slot];
                search(&slot, row, rows)
                    .map(|at| Place { block: 0, at })
                    .map_err(|at| Place { block: 0, at })
            }
            List::Blocks(blocks) => {
                let after = blocks.partition_point(|block| rows.bytes_of(block[0]) <= row);
                let block = after.saturating_sub(1);
                search(&blocks[block], row, rows)
                    .map(|at| Place { block, at })
                    .map_err(|at| Place { block, at })
            }
        }
    }

    /// The slot at a place that was found.
    pub(in crate::operators) fn at(&self, place: Place) -> u32 {
        match self {
            List::Empty => panic!("nothing is found in an empty list"),
            List::One(slot) => *slot,
            List::Blocks(blocks) => blocks[place.block][place.at],
        }
    }

    /// True if no row is behind a place where none was found.
    pub(in crate::operators) fn is_end(&self, place: Place) -> bool {
        match self {
            List::Empty => true,
            List::One(_) => place.at == 1,
            List::Blocks(blocks) => {
                place.block + 1 == blocks.len() && place.at == blocks[place.block].len()
            }
        }
    }

    /// How many blocks, and slots of the last of them, `before` is true for; it is true up to some slot.
    fn split(blocks: &[Vec<u32>], before: &impl Fn(u32) -> bool) -> (usize, usize) {
        let block = blocks.partition_point(|block| before(block[0])).saturating_sub(1);
        (block, blocks[block].partition_point(|slot| before(*slot)))
    }

    /// The last slot for which `before` is true; it is true up to some slot.
    pub(in crate::operators) fn last_where(&self, before: impl Fn(u32) -> bool) -> Option<u32> {
        match self {
            List::Empty => None,
            List::One(slot) => before(*slot).then_some(*slot),
            List::Blocks(blocks) => {
                let (block, at) = List::split(blocks, &before);
                Some(blocks[block][at.checked_sub(1)?])
            }
        }
    }

    /// The slots from the first on for which `before` is false; it is true up to some slot.
    pub(in crate::operators) fn from(
        &self,
        before: impl Fn(u32) -> bool,
    ) -> impl Iterator<Item = u32> + '_ {
        let (one, first, blocks) = match self {
            List::Empty => (None, &[][..], &[][..]),
            List::One(slot) => (Some(*slot).filter(|slot| !before(*slot)), &[][..], &[][..]),
            List::Blocks(blocks) => {
                let (block, at) = List::split(blocks, &before);
                (None, &blocks[block][at..], &blocks[block + 1..])
            }
        };
        one.into_iter().chain(first.iter().copied()).chain(blocks.iter().flatten().copied())
    }

    /// Puts a slot where its row was not found.
    pub(in crate::operators) fn insert(&mut self, place: Place, slot: u32) {
        match self {
            List::Empty => *self = List::One(slot),
            List::One(other) => {
                let two = if place.at == 0 { vec![slot, *other] } else { vec![*other, slot] };
                *self = List::Blocks(vec![two]);
            }
            List::Blocks(blocks) => {
                let block = &mut blocks[place.block];
                block.insert(place.at, slot);
                if block.len() > BLOCK {
                    // Rows often come in order: the full half stays as it is.
                    let is_last = place.at + 1 == block.len();
                    let rest = block.split_off(if is_last { BLOCK } else { BLOCK / 2 });
                    blocks.insert(place.block + 1, rest);
                }
            }
        }
    }

    /// Takes the slot at a place away.
    pub(in crate::operators) fn remove(&mut self, place: Place) {
        let List::Blocks(blocks) = self else {
            *self = List::Empty;
            return;
        };
        blocks[place.block].remove(place.at);
        if blocks[place.block].is_empty() {
            blocks.remove(place.block);
        }
        if blocks.is_empty() {
            *self = List::Empty;
        }
    }

    /// Takes the last slot away.
    pub(in crate::operators) fn pop(&mut self) -> Option<u32> {
        let last = self.last()?;
        let place = match self {
            List::Blocks(blocks) => {
                let block = blocks.len() - 1;
                Place { block, at: blocks[block].len() - 1 }
            }
            List::Empty | List::One(_) => Place { block: 0, at: 0 },
        };
        self.remove(place);
        Some(last)
    }
}

fn search(block: &[u32], row: &[u8], rows: &Rows) -> Result<usize, usize> {
    block.binary_search_by(|slot| rows.bytes_of(*slot).cmp(row))
}
