//! Verifying a data directory that no server has open: every byte that a checksum covers is read.
//!
//! It goes on where it finds damage, so that all of it is known at once. Nothing is changed, but for what
//! the metadata store itself does when it is opened.

use std::path::Path;
use std::sync::Arc;

use millrace_types::Epoch;

use crate::codec::Decoded;
use crate::error::{Error, Result};
use crate::files::{DirFiles, Files};
use crate::index::BlockIndex;
use crate::keyspace;
use crate::meta::{MetaStore, Pair};
use crate::segment::{SegmentFile, file_name};
use crate::store::logged;
use crate::store::manifest::{META_FILE, NamedRun, decode_number, decode_runs};
use crate::store::open::{check_version, kind_of, lock, open_meta};
use crate::store::witness;

/// What [`check`] has found.
#[derive(Debug, Default)]
pub struct Checked {
    /// The last checkpoint.
    pub checkpoint: Epoch,
    /// Logged epochs above it.
    pub epochs: u64,
    /// Segment files in use, their runs in use and the blocks of these.
    pub segments: u64,
    /// See `segments`.
    pub runs: u64,
    /// See `segments`.
    pub blocks: u64,
    /// Bytes of the segment files in use.
    pub bytes: u64,
    /// Segment files that nothing names; the next start removes them.
    pub unnamed: Vec<String>,
    /// The keys and values of the catalog, for who knows what they mean.
    pub catalog: Vec<Pair>,
    /// What is damaged, each a [`Error::Damaged`] with file and offset.
    pub damage: Vec<Error>,
}

/// Verifies a data directory.
///
/// # Errors
/// What keeps it from being looked at: it is in use, not there, or of a later format; its metadata store
/// does not open.
pub fn check(dir: &Path) -> Result<Checked> {
    let kind = kind_of(dir)?;
    let _lock = lock(dir)?;
    let meta = open_meta(dir, kind)?;
    let version = meta.get(keyspace::FORMAT)?.map(|value| String::from_utf8_lossy(&value).parse());
    check_version(version.and_then(std::result::Result::ok), META_FILE)?;
    let failed = |error| Error::io(format!("use data directory \"{}\"", dir.display()), error);
    let files: Arc<dyn Files> = Arc::new(DirFiles::open(&dir.join("segments")).map_err(failed)?);
    let mut checked = Checked::default();
    checked.log(&*meta, dir)?;
    checked.segments(&*meta, &files)?;
    let (from, to) = keyspace::all(keyspace::CATALOG);
    let pairs = meta.scan(&from, &to)?.into_iter();
    checked.catalog = pairs.map(|(key, value)| (key[1..].to_vec(), value)).collect();
    Ok(checked)
}

impl Checked {
    /// True without damage.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    /// Keeps what is damaged; the value where nothing is.
    fn keep<T>(&mut self, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(value) => Ok(Some(value)),
            Err(error @ Error::Damaged { .. }) => {
                self.damage.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn decoded<T>(&mut self, what: &str, decoded: Decoded<T>) -> Option<T> {
        let damaged = |reason: &str| Error::damaged(META_FILE, 0, format!("{what}: {reason}"));
        match decoded {
            Ok(value) => Some(value),
            Err(reason) => {
                self.damage.push(damaged(reason));
                None
            }
        }
    }

    /// Checkpoint, marks and the log, whose epochs follow each other.
    fn log(&mut self, meta: &dyn MetaStore, dir: &Path) -> Result<()> {
        if let Some(value) = meta.get(keyspace::CHECKPOINT)? {
            let epoch = self.decoded("the checkpoint", decode_number(&value));
            self.checkpoint = Epoch(epoch.unwrap_or_default().cast_unsigned());
        }
        let (from, to) = keyspace::all(keyspace::TRIM);
        for (_, value) in meta.scan(&from, &to)? {
            self.decoded("a table's mark", decode_number(&value));
        }
        let (from, to) = keyspace::epochs_above(self.checkpoint);
        let mut expected = self.checkpoint;
        for pair in meta.scan(&from, &to)? {
            self.epochs += 1;
            let Some(record) = self.keep(logged(&pair))? else { continue };
            if record.epoch <= expected {
                let reason = format!("the log has epoch {} after {expected}", record.epoch);
                self.damage.push(Error::damaged(META_FILE, 0, reason));
            }
            expected = record.epoch;
        }
        let last = self.keep(witness::last(dir))?.flatten();
        self.keep(witness::compare(last, expected, META_FILE))?;
        Ok(())
    }

    fn segments(&mut self, meta: &dyn MetaStore, files: &Arc<dyn Files>) -> Result<()> {
        let mut named = Vec::new();
        let (from, to) = keyspace::all(keyspace::SEGMENT);
        for (key, value) in meta.scan(&from, &to)? {
            let Some(number) = keyspace::number(&key) else {
                self.damage.push(Error::damaged(META_FILE, 0, "a segment has no number"));
                continue;
            };
            named.push(file_name(number));
            let Some(runs) = self.decoded("a segment's runs", decode_runs(&value)) else {
                continue;
            };
            let opened = SegmentFile::open(files, number);
            let Some(file) = self.keep(opened)? else { continue };
            self.segments += 1;
            self.bytes += file.bytes;
            for run in runs {
                self.run(&file, run)?;
            }
        }
        let all = files.list().map_err(|error| Error::io("list the segment files", error))?;
        self.unnamed = all.into_iter().filter(|name| !named.contains(name)).collect();
        Ok(())
    }

    fn run(&mut self, file: &SegmentFile, run: NamedRun) -> Result<()> {
        self.runs += 1;
        let Some(entry) = file.directory.get(run.ordinal).filter(|e| e.table == run.table) else {
            self.damage.push(file.damaged(0, "the directory lacks a run that is in use"));
            return Ok(());
        };
        let read = file.read_index(entry).and_then(|bytes| {
            let blocks = BlockIndex::blocks_of(&bytes);
            blocks.map_err(|reason| file.damaged(entry.index_offset, reason))
        });
        for block in self.keep(read)?.unwrap_or_default() {
            self.blocks += 1;
            let read = file.read(block.offset, block.length, block.crc);
            self.keep(read.map(drop))?;
        }
        Ok(())
    }
}
