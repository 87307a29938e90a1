//! The metadata store of a simulated disk: a map whose commits happen wholly or not at all.

use std::ops::Bound;

use millrace_storage::{Error, MetaStore, Op, Pair, Result};

use crate::disk::{Disk, Fate};

/// The metadata store of a [`Disk`].
pub struct SimMeta {
    disk: Disk,
}

impl SimMeta {
    pub(super) fn new(disk: Disk) -> SimMeta {
        SimMeta { disk }
    }
}

impl MetaStore for SimMeta {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let state = self.disk.state();
        state.check().map_err(|error| Error::Meta(error.to_string()))?;
        Ok(state.pairs.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> Result<Vec<Pair>> {
        let state = self.disk.state();
        state.check().map_err(|error| Error::Meta(error.to_string()))?;
        if from >= to {
            return Ok(Vec::new());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let pairs = state.pairs.range::<[u8], _>(range);
        Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, ops: Vec<Op>) -> Result<()> {
        let lost = |error: std::io::Error| Error::Durability(error.to_string());
        let state = &mut *self.disk.state();
        let fate = state.operate().map_err(lost)?;
        if !matches!(fate, Fate::Fails(false)) {
            for op in ops {
                match op {
                    Op::Put(key, value) => drop(state.pairs.insert(key, value)),
                    Op::Delete(key) => drop(state.pairs.remove(&key)),
                    Op::DeleteRange(from, to) => {
                        state.pairs.retain(|key, _| *key < from || *key >= to);
                    }
                }
            }
        }
        fate.result().map_err(lost)
    }
}
