//! A segment: one file that holds runs of many tables, written from front to back and never changed.
//!
//! `docs/formats.md` draws it: magic, blocks of all runs, indexes of all runs, directory, trailer.
//! The directory says whose runs there are and where their indexes lie; which of them are in use is
//! the manifest's matter.
//!
//! Invariants: 1. a file that the manifest does not name is removed when nobody reads it any more,
//! at the latest at the next open ([`SegmentFile::drop`]); 2. bytes are decoded only after their
//! checksum was right ([`SegmentFile::read`]).

mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_types::TableId;

use crate::codec::{Decoded, Reader, Writer};
use crate::error::{Error, Result};
use crate::files::{FileReader, Files};

pub(crate) use writer::{NewRun, SegmentWriter};

const MAGIC: &[u8; 8] = b"MRSEGM2\n";
const DIRECTORY_VERSION: u8 = 1;
/// Directory offset `u64`, directory length `u64`, magic.
const TRAILER_BYTES: usize = 24;
const SUFFIX: &str = ".segment";

/// The file of a segment.
pub(crate) fn file_name(segment: u64) -> String {
    format!("{segment:010}{SUFFIX}")
}

/// An open segment file.
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    name: String,
    reader: Arc<dyn FileReader>,
    files: Arc<dyn Files>,
    /// The manifest names the file, or may name it.
    kept: AtomicBool,
    pub(crate) bytes: u64,
    pub(crate) directory: Vec<DirectoryEntry>,
}

/// One run in a segment's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) table: TableId,
    pub(crate) index_offset: u64,
    pub(crate) index_bytes: u64,
    /// Bytes of its blocks.
    pub(crate) data_bytes: u64,
}

impl SegmentFile {
    /// Opens a file that the manifest names and reads its directory.
    pub(crate) fn open(files: &Arc<dyn Files>, number: u64) -> Result<SegmentFile> {
        let name = file_name(number);
        let lost = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::damaged(&name, 0, "the file is missing"),
            _ => Error::io(format!("open file \"{name}\""), error),
        };
        let reader = files.open(&name).map_err(lost)?;
        let bytes = reader.len().map_err(lost)?;
        let (files, kept) = (Arc::clone(files), AtomicBool::new(true));
        let directory = Vec::new();
        let mut file = SegmentFile { number, name, reader, files, kept, bytes, directory };
        file.directory = file.read_directory()?;
        Ok(file)
    }

    fn read_directory(&self) -> Result<Vec<DirectoryEntry>> {
        if self.bytes >= MAGIC.len() as u64 && self.read_bytes(0, MAGIC.len())? != MAGIC {
            return Err(self.damaged(0, "the file is not a segment"));
        }
        let trailer_at = self.bytes.checked_sub(TRAILER_BYTES as u64);
        let trailer_at = trailer_at.ok_or_else(|| self.damaged(0, "the file is cut off"))?;
        let trailer = self.read_bytes(trailer_at, TRAILER_BYTES)?;
        if !trailer.ends_with(MAGIC) {
            return Err(self.damaged(trailer_at, "the trailer is not a segment's"));
        }
        let number = |at: usize| {
            u64::from_le_bytes(*trailer[at..].first_chunk().expect("the trailer has 24 bytes"))
        };
        let (offset, length) = (number(0), number(8));
        if offset.checked_add(length) != Some(trailer_at) {
            // This also bounds the length by that of the file.
            return Err(self.damaged(trailer_at, "the trailer does not point to the directory"));
        }
        let bytes = self.read_bytes(offset, to_usize(length))?;
        decode_directory(&bytes).map_err(|reason| self.damaged(offset, reason))
    }

    fn read_bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.reader.read_at(&mut bytes, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged(offset, "the file is cut off"),
            _ => Error::io(format!("read file \"{}\"", self.name), error),
        })?;
        Ok(bytes)
    }

    /// A run's index, which has a checksum of its own.
    pub(crate) fn read_index(&self, entry: &DirectoryEntry) -> Result<Vec<u8>> {
        self.check_range(entry.index_offset, entry.index_bytes)?;
        self.read_bytes(entry.index_offset, to_usize(entry.index_bytes))
    }

    /// The bytes of a block, when their checksum is right.
    pub(crate) fn read(&self, offset: u64, length: u32, crc: u32) -> Result<Vec<u8>> {
        self.check_range(offset, u64::from(length))?;
        let bytes = self.read_bytes(offset, to_usize(u64::from(length)))?;
        if crc32fast::hash(&bytes) != crc {
            return Err(self.damaged(offset, "checksum of the block does not match"));
        }
        Ok(bytes)
    }

    /// Keeps a wrong length from becoming a wrong allocation.
    fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(self.damaged(offset, "the file is cut off")),
        }
    }

    pub(crate) fn damaged(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::damaged(&self.name, offset, reason)
    }

    /// Says whether the manifest names the file, or may name it.
    pub(crate) fn keep(&self, keep: bool) {
        self.kept.store(keep, Ordering::Release);
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.files.remove(&self.name) {
            tracing::warn!(file = self.name, %error, "could not remove an unused segment");
        }
    }
}

/// Removes every segment file that the manifest does not name.
pub(crate) fn remove_unnamed(files: &dyn Files, named: impl Fn(&str) -> bool) -> Result<()> {
    let names = files.list().map_err(|error| Error::io("list the segment files", error))?;
    for name in names.iter().filter(|name| name.ends_with(SUFFIX) && !named(name)) {
        tracing::info!(file = name, "removing a segment that no checkpoint names");
        files.remove(name).map_err(|e| Error::io(format!("remove file \"{name}\""), e))?;
    }
    Ok(())
}

fn encode_directory(entries: &[DirectoryEntry]) -> Vec<u8> {
    let mut writer = Writer::new(DIRECTORY_VERSION);
    writer.u64(entries.len() as u64);
    for entry in entries {
        for number in [entry.table.0, entry.index_offset, entry.index_bytes, entry.data_bytes] {
            writer.u64(number);
        }
    }
    writer.finish()
}

fn decode_directory(bytes: &[u8]) -> Decoded<Vec<DirectoryEntry>> {
    let mut reader = Reader::open(bytes, DIRECTORY_VERSION)?;
    let count = reader.count()?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(DirectoryEntry {
            table: TableId(reader.u64()?),
            index_offset: reader.u64()?,
            index_bytes: reader.u64()?,
            data_bytes: reader.u64()?,
        });
    }
    reader.finish()?;
    Ok(entries)
}

/// A length of the file, which fits into memory on every platform that this builds for.
fn to_usize(length: u64) -> usize {
    usize::try_from(length).expect("64-bit platforms only")
}
