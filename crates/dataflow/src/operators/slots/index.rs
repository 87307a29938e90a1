//! The hash index of operators: from keys to slots, numbers that address the columns of what is kept
//! for each key (an aggregation's accumulators, the rows of a join).
//!
//! Slots of removed keys are used again, so that the columns stay dense. The same index serves the
//! scratch of one time and the hot state.
//!
//! Invariants: 1. a slot belongs to at most one key: only removed slots are handed out again
//! ([`Slots::remove`] frees a slot once).

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::keys::{Codec, Packed, RowBytes, packed_words};
use super::table::{NONE, SlotTable};
use crate::operator::Error;

/// Maps keys to slots.
pub(in crate::operators) trait Index: Send {
    /// Appends the slot of each row's key; new keys get a slot.
    fn assign(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        slots: &mut Vec<u32>,
    ) -> Result<(), Error>;
    /// The slot of each row's key, [`NONE`] for keys that it does not have.
    fn find(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error>;
    /// The key columns of some slots.
    fn decode(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error>;
    /// Forgets a slot's key, so that the slot will be used again; false if it had none.
    fn remove(&mut self, slot: u32) -> bool;
    /// The same for many slots; gives those that had a key, each once.
    fn remove_all(&mut self, slots: Vec<u32>) -> Vec<u32>;
    /// True if no key was ever removed.
    fn is_new(&self) -> bool;
    /// The slots of an index from which no key was removed, in an order in which keys that are stored
    /// near each other are neighbours.
    fn order(&self) -> Vec<u32>;
    /// Slots ever handed out: all are below this.
    fn capacity(&self) -> usize;
    /// How many keys there are.
    fn len(&self) -> usize;
    /// Forgets all keys, keeps the memory.
    fn clear(&mut self);
    /// Bytes in memory.
    fn bytes(&self) -> usize;
}

/// The index for these key columns.
///
/// # Errors
/// A column type that cannot be a key.
pub(in crate::operators) fn index(fields: &[&Field]) -> Result<Box<dyn Index>, Error> {
    Ok(match packed_words(fields) {
        Some(0 | 1) => Box::new(Slots::new(Packed::<1>::new(fields))),
        Some(2) => Box::new(Slots::new(Packed::<2>::new(fields))),
        Some(3) => Box::new(Slots::new(Packed::<3>::new(fields))),
        Some(4) => Box::new(Slots::new(Packed::<4>::new(fields))),
        _ => Box::new(Slots::new(RowBytes::new(fields)?)),
    })
}

/// An index of whole rows: their values come back bit for bit, both zeros are two rows.
///
/// # Errors
/// A column type that Arrow's row format does not take.
pub(in crate::operators) fn row_index(fields: &[&Field]) -> Result<Box<dyn Index>, Error> {
    Ok(Box::new(Slots::new(RowBytes::exact(fields)?)))
}

/// Rows that are looked up together.
const STRETCH: usize = 128;

/// The one implementation, over either kind of key.
struct Slots<C: Codec> {
    codec: C,
    table: SlotTable,
    keys: Vec<C::Key>,
    free: Vec<u32>,
    heap: usize,
}

impl<C: Codec> Slots<C> {
    fn new(codec: C) -> Slots<C> {
        Slots { codec, table: SlotTable::default(), keys: Vec::new(), free: Vec::new(), heap: 0 }
    }
}

impl<C: Codec> Index for Slots<C> {
    fn assign(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        slots: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let batch = self.codec.encode(columns, rows)?;
        let Slots { codec, table, keys, free, heap } = self;
        slots.reserve(rows);
        let (mut hashes, mut found) = ([0; STRETCH], [NONE; STRETCH]);
        for start in (0..rows).step_by(STRETCH) {
            let stretch = start..rows.min(start + STRETCH);
            table.reserve(stretch.len());
            // The first two loops hold no step that waits for the one before.
            for ((row, hash), found) in stretch.clone().zip(&mut hashes).zip(&mut found) {
                *hash = codec.hash(&batch, row);
                *found = table.first(*hash);
            }
            for (row, found) in stretch.clone().zip(&mut found) {
                if *found != NONE && !codec.equals(&keys[*found as usize], &batch, row) {
                    *found = NONE;
                }
            }
            for ((row, hash), found) in stretch.zip(hashes).zip(found) {
                if found != NONE {
                    slots.push(found);
                    continue;
                }
                let same = |slot: u32| codec.equals(&keys[slot as usize], &batch, row);
                slots.push(match table.find(hash, same) {
                    Ok(slot) => slot,
                    Err(vacant) => {
                        let slot = free.pop().unwrap_or_else(|| next(keys.len()));
                        table.insert(vacant, hash, slot);
                        let key = codec.key(&batch, row);
                        *heap += C::heap(&key);
                        match keys.get_mut(slot as usize) {
                            Some(old) => *old = key,
                            None => keys.push(key),
                        }
                        slot
                    }
                });
            }
        }
        Ok(())
    }

    fn find(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        if self.table.len() == 0 {
            return Ok(vec![NONE; rows]);
        }
        let batch = self.codec.encode(columns, rows)?;
        let find = |row: usize| {
            let same = |slot: u32| self.codec.equals(&self.keys[slot as usize], &batch, row);
            self.table.find(self.codec.hash(&batch, row), same).unwrap_or(NONE)
        };
        Ok((0..rows).map(find).collect())
    }

    fn decode(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        Ok(self.codec.decode(slots.iter().map(|slot| &self.keys[*slot as usize]))?)
    }

    fn remove(&mut self, slot: u32) -> bool {
        let key = &self.keys[slot as usize];
        let hash = self.codec.hash_key(key);
        if !self.table.remove(hash, slot) {
            return false;
        }
        self.heap -= C::heap(key);
        self.free.push(slot);
        true
    }

    fn remove_all(&mut self, mut slots: Vec<u32>) -> Vec<u32> {
        if slots.len() < self.table.len() / 8 {
            slots.retain(|slot| self.remove(*slot));
            return slots;
        }
        let mut wanted = vec![false; self.keys.len()];
        slots.iter().for_each(|slot| wanted[*slot as usize] = true);
        let mut there = vec![false; self.keys.len()];
        let left = match self.is_new() {
            // All of them are there.
            true => self.table.len() - wanted.iter().filter(|wanted| **wanted).count(),
            false => self.table.len(),
        };
        self.table.retain(left, |slot| {
            let goes = wanted[slot as usize];
            there[slot as usize] = goes;
            !goes
        });
        // Ascending, as what belongs to them lies in memory.
        let gone = (0u32..).zip(there).filter(|(_, goes)| *goes).map(|(slot, _)| slot);
        let gone: Vec<u32> = gone.collect();
        self.heap -= gone.iter().map(|slot| C::heap(&self.keys[*slot as usize])).sum::<usize>();
        self.free.extend_from_slice(&gone);
        gone
    }

    fn is_new(&self) -> bool {
        self.table.len() == self.keys.len()
    }

    fn order(&self) -> Vec<u32> {
        self.codec.order(&self.keys)
    }

    fn capacity(&self) -> usize {
        self.keys.len()
    }

    fn len(&self) -> usize {
        self.table.len()
    }

    fn clear(&mut self) {
        self.table.clear();
        self.keys.clear();
        self.free.clear();
        self.heap = 0;
    }

    fn bytes(&self) -> usize {
        self.table.bytes()
            + self.keys.capacity() * size_of::<C::Key>()
            + self.free.capacity() * size_of::<u32>()
            + self.heap
    }
}

fn next(slots: usize) -> u32 {
    u32::try_from(slots).expect("a worker holds less than four billion groups")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, BooleanArray, Decimal128Array, Float64Array, Int16Array, Int64Array, StringArray,
    };

    use super::*;

    fn roundtrip(columns: Vec<ArrayRef>, nullable: bool) -> Vec<u32> {
        let rows = columns[0].len();
        let field = |c: &ArrayRef| Field::new("k", c.data_type().clone(), nullable);
        let fields: Vec<Field> = columns.iter().map(field).collect();
        let mut index = index(&fields.iter().collect::<Vec<_>>()).unwrap();
        let mut slots = Vec::new();
        index.assign(&columns, rows, &mut slots).unwrap();
        assert_eq!(index.decode(&slots).unwrap(), columns);
        slots
    }

    #[test]
    fn keys_of_every_layout_come_back_as_they_were() {
        let long: ArrayRef = Arc::new(Int64Array::from(vec![Some(-1), None, Some(-1), Some(0)]));
        let short: ArrayRef = Arc::new(Int16Array::from(vec![Some(-3), Some(4), Some(-3), None]));
        let flag: ArrayRef =
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(true), Some(false)]));
        let text: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), Some("")]));
        let wide: ArrayRef =
            Arc::new(Decimal128Array::from(vec![Some(-1), None, Some(-1), Some(i128::MAX)]));
        for keys in [
            vec![Arc::clone(&short)],
            vec![Arc::clone(&long)],
            vec![Arc::clone(&flag), Arc::clone(&long), Arc::clone(&short)],
            vec![Arc::clone(&wide), Arc::clone(&long)],
            vec![Arc::clone(&long), Arc::clone(&text)],
        ] {
            assert_eq!(roundtrip(keys, true), [0, 1, 0, 2]);
        }
        roundtrip(vec![Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]))], false);
    }

    #[test]
    fn zeros_and_nans_are_one_key_each() {
        let nan = f64::from_bits(f64::NAN.to_bits() | 1);
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, nan]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"; 4]));
        for columns in [vec![Arc::clone(&floats)], vec![floats, text]] {
            let fields: Vec<Field> =
                columns.iter().map(|c| Field::new("k", c.data_type().clone(), true)).collect();
            let mut index = index(&fields.iter().collect::<Vec<_>>()).unwrap();
            let mut slots = Vec::new();
            index.assign(&columns, 4, &mut slots).unwrap();
            assert_eq!(slots, [0, 0, 1, 1]);
        }
    }

    #[test]
    fn rows_come_back_bit_for_bit() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 0.0]));
        let field = Field::new("v", floats.data_type().clone(), false);
        let mut index = row_index(&[&field]).unwrap();
        let mut slots = Vec::new();
        index.assign(&[Arc::clone(&floats)], 3, &mut slots).unwrap();
        assert_eq!(slots, [0, 1, 0]);
        assert_eq!(format!("{:?}", index.decode(&slots).unwrap()), format!("{:?}", [floats]));
    }

    #[test]
    fn a_removed_slot_is_used_again() {
        let field = Field::new("k", arrow::datatypes::DataType::Int64, false);
        let mut index = index(&[&field]).unwrap();
        let keys = |values: Vec<i64>| -> [ArrayRef; 1] { [Arc::new(Int64Array::from(values))] };
        let mut slots = Vec::new();
        index.assign(&keys(vec![7, 8]), 2, &mut slots).unwrap();
        assert!(index.remove(0));
        assert!(!index.remove(0));
        index.assign(&keys(vec![9, 8, 7]), 3, &mut slots).unwrap();
        assert_eq!(slots, [0, 1, 0, 1, 2]);
    }
}
