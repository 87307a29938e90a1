//! The block cache: decoded blocks of all tables, the least recently used ones leave first. Of a block
//! it holds the columns that somebody has asked for.
//!
//! Invariants: 1. the blocks in it take at most the capacity, after every call (tested below).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::block::Piece;

/// Bytes of decoded blocks that are kept at first.
pub(crate) const CACHE_BYTES: usize = 32 << 20;

/// A block: segment number and offset in its file.
type BlockId = (u64, u64);

/// A block, or some columns of it.
#[derive(Clone)]
pub(crate) struct Cached {
    /// The columns, ascending.
    pub(crate) columns: Arc<[usize]>,
    pub(crate) piece: Piece,
}

/// Shared by all readers of a store.
pub(crate) struct BlockCache {
    state: Mutex<State>,
}

struct State {
    capacity: usize,
    bytes: usize,
    clock: u64,
    blocks: BTreeMap<BlockId, (u64, Cached)>,
    by_age: BTreeMap<u64, BlockId>,
}

impl BlockCache {
    pub(crate) fn new(capacity: usize) -> BlockCache {
        let (blocks, by_age) = Default::default();
        BlockCache { state: Mutex::new(State { capacity, bytes: 0, clock: 0, blocks, by_age }) }
    }

    pub(crate) fn set_capacity(&self, capacity: usize) {
        let mut state = self.state.lock();
        state.capacity = capacity;
        state.evict();
    }

    pub(crate) fn capacity(&self) -> usize {
        self.state.lock().capacity
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    pub(crate) fn get(&self, id: BlockId) -> Option<Cached> {
        let state = &mut *self.state.lock();
        let (age, cached) = state.blocks.get_mut(&id)?;
        state.by_age.remove(age);
        state.clock += 1;
        *age = state.clock;
        state.by_age.insert(state.clock, id);
        Some(cached.clone())
    }

    pub(crate) fn put(&self, id: BlockId, cached: Cached) {
        let bytes = cached.piece.bytes();
        let state = &mut *self.state.lock();
        state.clock += 1;
        if let Some((age, old)) = state.blocks.insert(id, (state.clock, cached)) {
            state.by_age.remove(&age);
            state.bytes -= old.piece.bytes();
        }
        state.by_age.insert(state.clock, id);
        state.bytes += bytes;
        state.evict();
    }
}

impl State {
    fn evict(&mut self) {
        while self.bytes > self.capacity {
            let (_, id) = self.by_age.pop_first().expect("bytes come from blocks");
            let (_, cached) = self.blocks.remove(&id).expect("each age has a block");
            self.bytes -= cached.piece.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;

    #[test]
    fn the_least_recently_used_block_leaves_first() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![0; 1000]));
        let rows = RecordBatch::try_from_iter([("v", column)]).unwrap();
        let piece = Piece { rows, gone: None };
        let cache = BlockCache::new(2 * piece.bytes());
        let put = |id| cache.put(id, Cached { columns: [0].into(), piece: piece.clone() });
        put((1, 0));
        put((1, 8));
        assert!(cache.get((1, 0)).is_some());
        put((2, 0));
        assert!(cache.get((1, 8)).is_none());
        assert!(cache.get((1, 0)).is_some() && cache.get((2, 0)).is_some());
        assert_eq!(cache.bytes(), 2 * piece.bytes());
        cache.set_capacity(0);
        assert_eq!(cache.bytes(), 0);
        put((1, 0));
        assert!(cache.get((1, 0)).is_none());
    }
}
