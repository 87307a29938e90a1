//! The metadata store on fjall: one keyspace, one journal, a commit is one batch with fdatasync.
//!
//! Buffers are kept small: the metadata of a large installation is a few megabytes, and the default
//! journal of 512 MB would be replayed at start.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::error::{Error, Result};
use crate::meta::{MetaStore, Op, Pair, sealed, single_keys};

const CACHE_BYTES: u64 = 4 << 20;
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
const MEMTABLE_BYTES_MAX: u64 = 4 << 20;

/// The default metadata store.
pub struct FjallStore {
    database: Database,
    keys: Keyspace,
}

impl FjallStore {
    /// Opens the store in a directory of its own, creating it if it is not there.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a file that is not as it was written, [`Error::Meta`] with fjall's reason.
    pub fn open(dir: &Path) -> Result<FjallStore> {
        sealed::verify(dir)?;
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(1)
            .open()
            .map_err(read_error)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let keys = database.keyspace("millrace", options).map_err(read_error)?;
        Ok(FjallStore { database, keys })
    }

    /// Writes what is in memory to tables.
    #[cfg(test)]
    pub(super) fn write_tables(&self) {
        self.keys.rotate_memtable_and_wait().unwrap();
    }
}

impl MetaStore for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.keys.get(key).map_err(read_error)?.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> Result<Vec<Pair>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let pairs = self.keys.range(from..to).map(|pair| pair.into_inner());
        pairs.map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).map_err(read_error)).collect()
    }

    fn commit(&self, ops: Vec<Op>) -> Result<()> {
        let keys_of = |from: &[u8], to: &[u8]| {
            let keys = self.keys.range(from..to).map(|pair| pair.key());
            keys.map(|key| key.map(|key| key.to_vec()).map_err(read_error)).collect()
        };
        let changes = single_keys(ops, keys_of)?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.keys, key, value),
                None => batch.remove(&self.keys, key),
            }
        }
        batch.commit().map_err(|error| Error::Durability(format!("fjall: {error:?}")))
    }
}

fn read_error(error: fjall::Error) -> Error {
    Error::Meta(format!("fjall: {error:?}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn fjall_conforms() {
        let dir = tempfile::tempdir().unwrap();
        crate::meta::check_conformance(&mut || {
            Arc::new(FjallStore::open(&dir.path().join("meta")).unwrap())
        })
        .unwrap();
    }
}
