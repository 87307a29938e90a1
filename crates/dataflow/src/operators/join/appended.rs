//! The rows of an input that only appends, as the batches in which they came.
//!
//! Such a row is never looked for by its values: nobody retracts it. So it is neither hashed nor
//! encoded; it gets the next slot, and its columns stay where they are until it is shown. Slots are
//! handed out by blocks; a block whose rows have all gone gives its memory and its slots back.
//!
//! Invariants: 1. slot s is row `s % BLOCK` of block `s / BLOCK`. 2. the pieces of a block are in the
//! order of their rows, without gaps.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::{concat, interleave};
use arrow::datatypes::{DataType, Schema};

use super::super::slots::{Index, NONE};
use crate::operator::Error;

/// Slots of a block.
const BLOCK: usize = 2048;
/// Pieces that a block may have before they are put together.
const PIECES: usize = 32;

/// Some rows of a block that came together.
struct Piece {
    /// The first row, in the block.
    from: usize,
    rows: usize,
    alive: usize,
    /// Empty when all rows have gone.
    columns: Vec<ArrayRef>,
    bytes: usize,
}

struct Block {
    pieces: Vec<Piece>,
    rows: usize,
    /// Rows that have gone.
    gone: Vec<bool>,
    alive: usize,
}

/// See the head of the file.
pub(super) struct Appended {
    types: Vec<DataType>,
    blocks: Vec<Block>,
    /// The block that takes the next row.
    open: usize,
    /// Blocks without rows.
    free: Vec<usize>,
    removed: bool,
}

impl Piece {
    fn new(from: usize, rows: usize, alive: usize, columns: Vec<ArrayRef>) -> Piece {
        let sizes = columns.iter().map(|array| array.to_data().get_slice_memory_size());
        let bytes = sizes.filter_map(Result::ok).sum();
        Piece { from, rows, alive, columns, bytes }
    }

    /// One piece of neighbours of which all have rows, or none has.
    fn joined(pieces: &[Piece]) -> Result<Piece, Error> {
        let sum = |of: fn(&Piece) -> usize| pieces.iter().map(of).sum();
        let width = pieces.first().map_or(0, |piece| piece.columns.len());
        let columns = (0..width).map(|column| {
            let parts: Vec<&dyn Array> =
                pieces.iter().map(|piece| piece.columns[column].as_ref()).collect();
            concat(&parts)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let from = pieces.first().map_or(0, |piece| piece.from);
        Ok(Piece::new(from, sum(|piece| piece.rows), sum(|piece| piece.alive), columns))
    }
}

impl Block {
    fn new() -> Block {
        Block { pieces: Vec::new(), rows: 0, gone: vec![false; BLOCK], alive: 0 }
    }

    fn push(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<(), Error> {
        self.pieces.push(Piece::new(self.rows, rows, rows, columns));
        self.rows += rows;
        self.alive += rows;
        if self.rows == BLOCK || self.pieces.len() > PIECES {
            let same = |one: &Piece, other: &Piece| (one.alive > 0) == (other.alive > 0);
            let runs = self.pieces.chunk_by(same).map(Piece::joined);
            self.pieces = runs.collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// The number of the piece that a row is in.
    fn piece(&self, row: usize) -> usize {
        self.pieces.partition_point(|piece| piece.from <= row) - 1
    }
}

impl Appended {
    /// Without rows.
    pub(super) fn new(schema: &Schema) -> Appended {
        let types = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let blocks = vec![Block::new()];
        Appended { types, blocks, open: 0, free: Vec::new(), removed: false }
    }

    fn slot(block: usize, row: usize) -> Result<u32, Error> {
        u32::try_from(block * BLOCK + row)
            .ok()
            .filter(|slot| *slot < u32::MAX)
            .ok_or_else(|| Error::Unsupported("a join of more than 4 billion rows".into()))
    }

    /// Opens a block with room.
    fn make_room(&mut self) {
        if self.blocks[self.open].rows < BLOCK {
            return;
        }
        self.open = self.free.pop().unwrap_or_else(|| {
            self.blocks.push(Block::new());
            self.blocks.len() - 1
        });
    }
}

impl Index for Appended {
    fn assign(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        slots: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let mut taken = 0;
        while taken < rows {
            self.make_room();
            let block = &mut self.blocks[self.open];
            let first = block.rows;
            let count = (BLOCK - first).min(rows - taken);
            let piece = columns.iter().map(|column| column.slice(taken, count)).collect();
            block.push(piece, count)?;
            for row in first..first + count {
                slots.push(Appended::slot(self.open, row)?);
            }
            taken += count;
        }
        Ok(())
    }

    fn find(&self, _: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        // Nobody looks for a row by its values.
        Ok(vec![NONE; rows])
    }

    fn decode(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let mut pieces: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut used: Vec<&Piece> = Vec::new();
        let mut at = Vec::with_capacity(slots.len());
        for slot in slots {
            let (block, row) = (*slot as usize / BLOCK, *slot as usize % BLOCK);
            let all = &self.blocks[block].pieces;
            let number = self.blocks[block].piece(row);
            let piece = *pieces.entry((block, number)).or_insert_with(|| {
                used.push(&all[number]);
                used.len() - 1
            });
            at.push((piece, row - all[number].from));
        }
        let columns = self.types.iter().enumerate().map(|(column, data_type)| {
            if used.is_empty() {
                return Ok(new_empty_array(data_type));
            }
            let arrays: Vec<&dyn Array> =
                used.iter().map(|piece| piece.columns[column].as_ref()).collect();
            interleave(&arrays, &at)
        });
        Ok(columns.collect::<Result<_, _>>()?)
    }

    fn remove(&mut self, slot: u32) -> bool {
        let (number, row) = (slot as usize / BLOCK, slot as usize % BLOCK);
        let block = &mut self.blocks[number];
        if row >= block.rows || std::mem::replace(&mut block.gone[row], true) {
            return false;
        }
        self.removed = true;
        block.alive -= 1;
        let piece = block.piece(row);
        let piece = &mut block.pieces[piece];
        piece.alive -= 1;
        if piece.alive == 0 {
            (piece.columns, piece.bytes) = (Vec::new(), 0);
        }
        if block.alive == 0 && block.rows == BLOCK && number != self.open {
            *block = Block::new();
            self.free.push(number);
        }
        true
    }

    fn remove_all(&mut self, slots: Vec<u32>) -> Vec<u32> {
        slots.into_iter().filter(|slot| self.remove(*slot)).collect()
    }

    fn is_new(&self) -> bool {
        !self.removed
    }

    fn order(&self) -> Vec<u32> {
        let blocks = self.blocks.iter().enumerate();
        let slots = blocks.flat_map(|(number, block)| {
            (0..block.rows).filter_map(move |row| Appended::slot(number, row).ok())
        });
        slots.collect()
    }

    fn capacity(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.alive).sum()
    }

    fn clear(&mut self) {
        self.blocks = vec![Block::new()];
        self.open = 0;
        self.free.clear();
        self.removed = false;
    }

    fn bytes(&self) -> usize {
        let pieces = self.blocks.iter().flat_map(|block| &block.pieces);
        pieces.map(|piece| piece.bytes + size_of::<Piece>()).sum::<usize>()
            + self.blocks.len() * (size_of::<Block>() + BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    fn rows(from: i64, count: usize) -> Vec<ArrayRef> {
        let numbers: Int64Array = (from..).take(count).collect();
        let texts = numbers.values().iter().map(|n| (n % 3 != 0).then(|| format!("t{n}")));
        let texts: StringArray = texts.collect();
        vec![Arc::new(numbers), Arc::new(texts)]
    }

    #[test]
    fn rows_come_back_by_their_slots_and_a_block_without_rows_is_used_again() {
        let fields =
            vec![Field::new("n", DataType::Int64, false), Field::new("t", DataType::Utf8, true)];
        let mut store = Appended::new(&Schema::new(fields));
        let mut slots = Vec::new();
        let mut made = 0;
        for count in [1, 100, BLOCK, 3, 2 * BLOCK, 5] {
            store.assign(&rows(made, count), count, &mut slots).unwrap();
            made += i64::try_from(count).unwrap();
        }
        for _ in 0..2 * PIECES {
            store.assign(&rows(made, 1), 1, &mut slots).unwrap();
            made += 1;
        }
        let every: Vec<u32> = slots.iter().copied().step_by(7).rev().collect();
        let found = store.decode(&every).unwrap();
        let numbers = found[0].as_any().downcast_ref::<Int64Array>().unwrap();
        let texts = found[1].as_any().downcast_ref::<StringArray>().unwrap();
        for (at, slot) in every.iter().enumerate() {
            let number = numbers.value(at);
            assert_eq!(number, i64::from(*slot), "nothing has gone: slots count rows");
            assert_eq!(texts.is_null(at), number % 3 == 0);
        }
        let (before, capacity) = (store.bytes(), store.capacity());
        let first: Vec<u32> = slots[..BLOCK].to_vec();
        assert_eq!(store.remove_all(first.clone()), first);
        assert!(!store.remove(0), "it has gone");
        assert!(store.bytes() < before);
        let last = *slots.last().unwrap();
        assert!(store.remove(last) && store.remove(last - 1));
        store.assign(&rows(made, 2 * PIECES), 2 * PIECES, &mut slots).unwrap();
        let found = store.decode(&[last - 2, slots[slots.len() - 1]]).unwrap();
        assert_eq!(found[0].as_any().downcast_ref::<Int64Array>().unwrap().value(0), made - 3);
        store.assign(&rows(made, BLOCK), BLOCK, &mut slots).unwrap();
        assert_eq!(store.capacity(), capacity, "the slots of the first block are used again");
    }
}
