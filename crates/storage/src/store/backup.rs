//! Copying a data directory while it is in use.
//!
//! A backup is a data directory: the metadata as one commit left it with the epochs that were logged by
//! then, and the segments that it names. Segments never change, so they are linked where the file system
//! can, else copied. What is sealed while it is made may be in it or not.
//!
//! Invariants: 1. no checkpoint, compaction or DDL commits between the look at the metadata and the links
//! ([`Store::backup`] holds the manifest). 2. `FORMAT` comes last: a backup that was cut off is no data
//! directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use millrace_types::Epoch;

use crate::error::{Error, Result};
use crate::meta::{MetaKind, Op};
use crate::segment::file_name;
use crate::store::Store;
use crate::store::open::{kind_of, open_meta, write_format};

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its last checkpoint.
    pub checkpoint: Epoch,
    /// Segment files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Makes a data directory of what is durable now. `from` is the one that is open.
    ///
    /// # Errors
    /// [`Error::Io`]: the directory is there already, or cannot be written.
    pub fn backup(&self, from: &Path, to: &Path) -> Result<Backup> {
        let failed = |error| Error::io(format!("write backup \"{}\"", to.display()), error);
        let kind = kind_of(from)?;
        let mut private = DirBuilder::new();
        private.mode(0o700);
        private.create(to).and_then(|()| private.create(to.join("segments"))).map_err(failed)?;
        let (pairs, backup) = {
            let manifest = self.manifest.lock();
            let mut backup = Backup { checkpoint: manifest.checkpoint, segments: 0, bytes: 0 };
            for (number, segment) in &manifest.segments {
                let name = file_name(*number);
                let (from, to) =
                    (from.join("segments").join(&name), to.join("segments").join(&name));
                link(&from, &to).map_err(failed)?;
                backup.segments += 1;
                backup.bytes += segment.file.bytes;
            }
            (self.meta.scan(&[0], &[u8::MAX])?, backup)
        };
        let meta = open_meta(to, kind)?;
        meta.commit(pairs.into_iter().map(|(key, value)| Op::Put(key, value)).collect())?;
        drop(meta);
        finish(to, kind).map_err(failed)?;
        Ok(backup)
    }
}

/// Makes a data directory of a backup, which stays.
///
/// # Errors
/// [`Error::Io`]: there is something already, or it cannot be written; [`Error::Damaged`]: the backup is
/// none.
pub fn restore(backup: &Path, to: &Path) -> Result<()> {
    let failed = |error| Error::io(format!("write data directory \"{}\"", to.display()), error);
    let kind = kind_of(backup)?;
    if to.exists() && fs::read_dir(to).map_err(failed)?.next().is_some() {
        return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "it is not empty")));
    }
    fs::create_dir_all(to).map_err(failed)?;
    for part in ["meta", "segments"] {
        copy_tree(&backup.join(part), &to.join(part)).map_err(failed)?;
    }
    finish(to, kind).map_err(failed)
}

/// Makes everything durable, then says that it is a data directory.
fn finish(dir: &Path, kind: MetaKind) -> io::Result<()> {
    File::open(dir.join("segments"))?.sync_all()?;
    File::open(dir)?.sync_all()?;
    write_format(dir, kind)
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_tree(&entry.path(), &to)?,
            false => {
                fs::copy(entry.path(), &to)?;
                File::open(&to)?.sync_all()?;
            }
        }
    }
    File::open(to)?.sync_all()
}
