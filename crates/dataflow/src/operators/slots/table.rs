//! A hash table of slots with open addressing, for whole columns of keys.
//!
//! An entry is one word: the low half of the key's hash and the slot. So most searches that fail
//! never look at a key, growing the table needs no key, and looking up many hashes is a loop of
//! independent loads, which the processor overlaps: with a million groups each of them misses the
//! caches.
//!
//! Invariants: 1. no entry lies behind an empty one seen from its home ([`SlotTable::remove`] closes
//! the gap). 2. at most half of the entries are taken, so a search ends.

/// Not zero: memory that the system gives out zeroed is mapped twice if it is read before it is
/// written.
const EMPTY: u64 = u64::MAX;

/// No slot; the table never holds it.
pub(in crate::operators) const NONE: u32 = u32::MAX;

/// Maps hashes to slots; whether the keys are equal, the caller says.
#[derive(Default)]
pub(super) struct SlotTable {
    /// A power of two of them; [`EMPTY`] or the slot above the low half of the hash.
    entries: Vec<u64>,
    len: usize,
}

/// A place for a new entry.
pub(super) struct Vacant(usize);

fn low(hash: u64) -> u64 {
    hash & u64::from(u32::MAX)
}

fn slot_of(entry: u64) -> u32 {
    u32::try_from(entry >> u32::BITS).expect("the high half")
}

fn place(hash: u64) -> usize {
    usize::try_from(low(hash)).expect("32 bits")
}

impl SlotTable {
    /// Makes room for more entries.
    pub(super) fn reserve(&mut self, more: usize) {
        let wanted = 2 * (self.len + more);
        if wanted > self.entries.len() {
            self.rebuild(wanted.next_power_of_two(), |_| true);
        }
    }

    /// Takes slots out, of which `keep` is false: one pass over the table, for many of them. At most
    /// `left` stay; the table becomes as small as that allows.
    pub(super) fn retain(&mut self, left: usize, keep: impl FnMut(u32) -> bool) {
        self.rebuild((2 * left).next_power_of_two().min(self.entries.len()), keep);
    }

    fn rebuild(&mut self, entries: usize, mut keep: impl FnMut(u32) -> bool) {
        let mask = entries.wrapping_sub(1);
        self.len = 0;
        for entry in std::mem::replace(&mut self.entries, vec![EMPTY; entries]) {
            if entry != EMPTY && keep(slot_of(entry)) {
                let mut at = place(entry) & mask;
                while self.entries[at] != EMPTY {
                    at = (at + 1) & mask;
                }
                self.entries[at] = entry;
                self.len += 1;
            }
        }
    }

    /// The first slot that may be the one of a hash; else [`NONE`]. There must be room.
    pub(super) fn first(&self, hash: u64) -> u32 {
        let mask = self.entries.len() - 1;
        let mut at = place(hash) & mask;
        while self.entries[at] != EMPTY && low(self.entries[at]) != low(hash) {
            at = (at + 1) & mask;
        }
        // The slot of an empty entry reads as [`NONE`].
        slot_of(self.entries[at])
    }

    /// The slot of a hash whose key is the same, or where it would go. There must be room.
    pub(super) fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Result<u32, Vacant> {
        let mask = self.entries.len() - 1;
        let mut at = place(hash) & mask;
        loop {
            match self.entries[at] {
                EMPTY => return Err(Vacant(at)),
                entry if low(entry) == low(hash) && same(slot_of(entry)) => {
                    return Ok(slot_of(entry));
                }
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Takes the place that a search has found, before any other change.
    pub(super) fn insert(&mut self, Vacant(at): Vacant, hash: u64, slot: u32) {
        self.entries[at] = (u64::from(slot) << u32::BITS) | low(hash);
        self.len += 1;
    }

    /// Takes a slot out; false if it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) -> bool {
        if self.len == 0 {
            return false;
        }
        let mask = self.entries.len() - 1;
        let mut gap = place(hash) & mask;
        loop {
            match self.entries[gap] {
                EMPTY => return false,
                entry if slot_of(entry) == slot => break,
                _ => gap = (gap + 1) & mask,
            }
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry == EMPTY {
                break;
            }
            // An entry may move back to the gap unless its home lies behind that.
            let (to_home, to_gap) =
                (at.wrapping_sub(place(entry)) & mask, at.wrapping_sub(gap) & mask);
            if to_home >= to_gap {
                self.entries[gap] = entry;
                gap = at;
            }
        }
        self.entries[gap] = EMPTY;
        self.len -= 1;
        true
    }

    /// How many slots it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all entries, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.entries.fill(EMPTY);
        self.len = 0;
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn it_holds_what_a_map_holds_through_collisions_and_removals() {
        let mut random = StdRng::seed_from_u64(1);
        let (mut table, mut keys) = (SlotTable::default(), Vec::<u64>::new());
        let mut expected: BTreeMap<u64, u32> = BTreeMap::new();
        // Few homes, and hashes that differ in their high halves only.
        let hash = |key: u64| (key % 37) | (key << 40);
        for _ in 0..20_000 {
            let key = random.random_range(0..300);
            table.reserve(1);
            let same = |slot: u32| keys[slot as usize] == key;
            let found = table.find(hash(key), same);
            assert_eq!(found.as_ref().ok(), expected.get(&key));
            match found {
                Ok(slot) if random.random() => {
                    assert!(table.remove(hash(key), slot));
                    assert!(!table.remove(hash(key), slot));
                    expected.remove(&key);
                }
                Ok(_) => {}
                Err(vacant) => {
                    let slot = u32::try_from(keys.len()).unwrap();
                    table.insert(vacant, hash(key), slot);
                    keys.push(key);
                    expected.insert(key, slot);
                }
            }
        }
        assert!(expected.len() > 50);
        table.retain(table.len(), |slot| slot % 2 == 0);
        for (key, slot) in expected {
            let found = table.find(hash(key), |slot| keys[slot as usize] == key);
            assert_eq!(found.ok(), (slot % 2 == 0).then_some(slot));
        }
        table.clear();
        assert!(table.find(hash(1), |_| true).is_err());
    }
}
