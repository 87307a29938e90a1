//! The metadata store on sled: one tree, a commit is one batch, a flush and an fdatasync of our own.
//!
//! sled's flush ends with `sync_file_range`, which writes pages back but neither the file's size
//! nor the drive's cache: it survives a killed process, not a loss of power. So the file is opened
//! a second time and synced after each flush; the same holds for values that sled puts into files
//! of their own.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sled::{Batch, Config, Db};

use crate::error::{Error, Result};
use crate::meta::{MetaStore, Op, Pair, single_keys};

const CACHE_BYTES: u64 = 8 << 20;

/// The selectable metadata store.
pub struct SledStore {
    tree: Db,
    file: File,
    blobs: PathBuf,
}

impl SledStore {
    /// Opens the store in a directory of its own, creating it if it is not there.
    ///
    /// # Errors
    /// [`Error::Meta`] with sled's reason.
    pub fn open(dir: &Path) -> Result<SledStore> {
        wait_for_release(dir).map_err(|error| Error::io("lock the file of sled", error))?;
        let config = Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let tree = config.open().map_err(read_error)?;
        let opened = File::open(dir.join("db")).and_then(|file| {
            File::open(dir)?.sync_all()?;
            Ok(file)
        });
        let file = opened.map_err(|error| Error::io("open the file of sled", error))?;
        Ok(SledStore { tree, file, blobs: dir.join("blobs") })
    }

    fn sync(&self) -> io::Result<()> {
        let mut synced = false;
        for entry in std::fs::read_dir(&self.blobs)? {
            File::open(entry?.path())?.sync_data()?;
            synced = true;
        }
        if synced {
            File::open(&self.blobs)?.sync_all()?;
        }
        self.file.sync_data()
    }
}

impl MetaStore for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.tree.get(key).map_err(read_error)?.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> Result<Vec<Pair>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let pairs = self.tree.range(from..to);
        pairs.map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())).map_err(read_error)).collect()
    }

    fn commit(&self, ops: Vec<Op>) -> Result<()> {
        let keys_of = |from: &[u8], to: &[u8]| {
            let keys = self.tree.range(from..to).keys();
            keys.map(|key| key.map(|key| key.to_vec()).map_err(read_error)).collect()
        };
        let mut batch = Batch::default();
        for (key, value) in single_keys(ops, keys_of)? {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let lost = |error: sled::Error| Error::Durability(format!("sled: {error}"));
        self.tree.apply_batch(batch).map_err(lost)?;
        self.tree.flush().map_err(lost)?;
        self.sync().map_err(|error| Error::Durability(format!("sled: {error}")))
    }
}

/// Threads of sled hold its file for a moment after the store was dropped. Other processes are kept
/// out by the lock of the data directory, so whoever holds the file lets go of it soon.
fn wait_for_release(dir: &Path) -> io::Result<()> {
    match File::open(dir.join("db")) {
        Ok(file) => {
            file.lock()?;
            file.unlock()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn read_error(error: sled::Error) -> Error {
    Error::Meta(format!("sled: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn sled_conforms() {
        let dir = tempfile::tempdir().unwrap();
        crate::meta::check_conformance(&mut || {
            Arc::new(SledStore::open(&dir.path().join("meta")).unwrap())
        })
        .unwrap();
    }
}
