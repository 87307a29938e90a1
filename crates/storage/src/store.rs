//! The [`Store`]: everything of a server that is durable, and its tables.
//!
//! Small data (catalog, epoch log, manifest) is in the metadata store, bulk data in segment files.
//! One atomic batch of the metadata store ties both together: until it names a segment, the file
//! does not count.
//!
//! Invariants: 1. one committer: checkpoints, compactions and DDL take the manifest's lock to commit
//! ([`Store::commit`]); 2. memory follows the disk: tables switch only after the batch is durable;
//! 3. a failed fsync or commit is reported as [`Error::Durability`] and nothing is tried again.

mod backup;
mod check;
mod commit;
mod compact;
mod manifest;
mod open;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_types::{Epoch, TableId};
use parking_lot::{Mutex, RwLock};

pub use backup::{Backup, restore};
pub use check::{Checked, check};
pub use commit::{Commit, Segment};

use crate::cache::BlockCache;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::keyspace;
use crate::layout::{Layout, TableSpec};
use crate::meta::{MetaStore, Op, Pair};
use crate::record::EpochRecord;
use crate::room::Room;
use crate::run::Run;
use crate::table::{RunChange, Table};
use manifest::{Edit, META_FILE, Manifest};
use witness::Witness;

/// An open data directory.
pub struct Store {
    meta: Arc<dyn MetaStore>,
    files: Arc<dyn Files>,
    cache: Arc<BlockCache>,
    manifest: Mutex<Manifest>,
    tables: RwLock<BTreeMap<TableId, Arc<Table>>>,
    next_segment: AtomicU64,
    /// Held by the compaction that runs, so that there is one.
    compacting: Mutex<()>,
    /// Tables whose runs compaction has found damaged.
    damaged: Mutex<BTreeSet<TableId>>,
    written: Written,
    /// None where there is no directory.
    witness: Option<Witness>,
    /// The same.
    room: Option<Arc<Room>>,
    /// Keeps other processes out while the store lives.
    _lock: Option<File>,
}

#[derive(Default)]
struct Written {
    checkpoint_rows: AtomicU64,
    checkpoint_bytes: AtomicU64,
    compaction_rows: AtomicU64,
    compaction_bytes: AtomicU64,
}

/// What the store has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows that checkpoints wrote.
    pub checkpoint_rows: u64,
    /// Bytes of the segments that checkpoints wrote.
    pub checkpoint_bytes: u64,
    /// Rows that compactions wrote again.
    pub compaction_rows: u64,
    /// Bytes of the segments that compactions wrote.
    pub compaction_bytes: u64,
    /// Segment files in use.
    pub segments: u64,
    /// Bytes of segment files in use.
    pub segment_bytes: u64,
    /// Bytes of decoded blocks in the cache.
    pub cache_bytes: u64,
}

impl Store {
    /// The epoch of the last committed checkpoint; 0 before the first.
    pub fn checkpoint(&self) -> Epoch {
        self.manifest.lock().checkpoint
    }

    /// Logs a sealed epoch. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Durability`]: end the process.
    pub fn append_epoch(&self, record: &EpochRecord) -> Result<()> {
        self.meta.commit(vec![Op::Put(keyspace::epoch(record.epoch), record.encode())])?;
        if let Some(witness) = &self.witness {
            witness.saw(record.epoch);
        }
        Ok(())
    }

    /// The logged epochs above one, ascending.
    ///
    /// # Errors
    /// [`Error::Meta`] and [`Error::Damaged`]: a record, or one that is not that of its key.
    pub fn epochs_above(&self, epoch: Epoch) -> Result<Vec<EpochRecord>> {
        let (from, to) = keyspace::epochs_above(epoch);
        self.meta.scan(&from, &to)?.iter().map(logged).collect()
    }

    /// The value of a catalog key. Catalog keys are written by [`Store::commit`].
    ///
    /// # Errors
    /// [`Error::Meta`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.meta.get(&keyspace::catalog(key))
    }

    /// The catalog keys and values from `from` up to and without `to`; an empty `to` means to the
    /// last one.
    ///
    /// # Errors
    /// [`Error::Meta`].
    pub fn scan(&self, from: &[u8], to: &[u8]) -> Result<Vec<Pair>> {
        let pairs = self.meta.scan(&keyspace::catalog(from), &keyspace::catalog_end(to))?;
        Ok(pairs.into_iter().map(|(key, value)| (key[1..].to_vec(), value)).collect())
    }

    /// Makes a table usable and attaches the runs that it has. The specification is not stored: the
    /// server gives it again after each start. A table that is there already is returned as it is.
    ///
    /// # Errors
    /// [`Error::Damaged`] when an index cannot be read or has other columns.
    pub fn create_table(&self, spec: TableSpec) -> Result<Arc<Table>> {
        let manifest = self.manifest.lock();
        let mut tables = self.tables.write();
        if let Some(table) = tables.get(&spec.id) {
            return Ok(Arc::clone(table));
        }
        let id = spec.id;
        let trim = manifest.trims.get(&id).copied();
        let table = Arc::new(Table::new(Layout::new(spec), &self.cache, trim));
        let mut change = RunChange::default();
        for (segment, run) in manifest.runs_of(id) {
            let entry = &segment.file.directory[run.ordinal];
            let (file, layout) = (&segment.file, &table.layout);
            let run = Run::attach(file, run.ordinal, run.sequence, entry, layout)?;
            change.add.push(Arc::new(run));
        }
        table.install(change);
        tables.insert(id, Arc::clone(&table));
        Ok(table)
    }

    /// A table that was created since the store was opened.
    pub fn table(&self, id: TableId) -> Option<Arc<Table>> {
        self.tables.read().get(&id).cloned()
    }

    /// Forgets the runs of all tables but these. To be called once after opening, with the tables
    /// that the catalog names.
    ///
    /// # Errors
    /// [`Error::Durability`]: end the process.
    pub fn retain_tables(&self, named: &[TableId]) -> Result<()> {
        let mut manifest = self.manifest.lock();
        let mut edit = Edit::default();
        manifest.forget(&mut edit, |table| !named.contains(&table));
        let ops = manifest.ops(&edit);
        if !ops.is_empty() {
            self.meta.commit(ops)?;
            manifest.apply(edit);
        }
        Ok(())
    }

    /// Bytes of overlays in memory, over all tables.
    pub fn overlay_bytes(&self) -> usize {
        let tables: Vec<_> = self.tables.read().values().cloned().collect();
        tables.iter().map(|table| table.bytes()).sum()
    }

    /// Bounds the decoded blocks that are kept for reading again; 32 MB at first.
    pub fn set_cache_bytes(&self, bytes: usize) {
        self.cache.set_capacity(bytes);
    }

    /// The file system that it is on; None where there is no directory.
    pub fn room(&self) -> Option<&Arc<Room>> {
        self.room.as_ref()
    }

    /// What the store has done and holds.
    pub fn counters(&self) -> Counters {
        let manifest = self.manifest.lock();
        let written = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            checkpoint_rows: written(&self.written.checkpoint_rows),
            checkpoint_bytes: written(&self.written.checkpoint_bytes),
            compaction_rows: written(&self.written.compaction_rows),
            compaction_bytes: written(&self.written.compaction_bytes),
            segments: manifest.segments.len() as u64,
            segment_bytes: manifest.segments.values().map(|segment| segment.file.bytes).sum(),
            cache_bytes: self.cache.bytes() as u64,
        }
    }

    fn next_segment(&self) -> u64 {
        self.next_segment.fetch_add(1, Ordering::Relaxed)
    }
}

/// The record of a key of the log.
fn logged((key, value): &Pair) -> Result<EpochRecord> {
    let damaged = |reason: &str| Error::damaged(META_FILE, 0, reason);
    let record = EpochRecord::decode(value).map_err(damaged)?;
    let is_its = keyspace::number(key) == Some(record.epoch.0) && record.epoch <= Epoch::LAST;
    if is_its { Ok(record) } else { Err(damaged("a logged epoch has the number of another one")) }
}
