//! Opening a data directory: lock, format, metadata store, manifest, left-over files.
//!
//! The directory holds `LOCK`, `FORMAT`, `meta/` and `segments/`. Two plain files come before the
//! metadata store is touched, so that a wrong option never changes anything.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, RwLock};

use crate::cache::{BlockCache, CACHE_BYTES};
use crate::error::{Error, Result};
use crate::files::{DirFiles, Files};
use crate::keyspace;
use crate::meta::{FjallStore, MetaKind, MetaStore, Op, SledStore};
use crate::room::Room;
use crate::segment::{file_name, remove_unnamed};
use crate::store::manifest::{META_FILE, Manifest};
use crate::store::witness::{self, Witness};
use crate::store::{Store, Written};

/// The data format that this version writes; it reads no later one.
pub(super) const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";

/// What a store over a directory has.
struct Held {
    witness: Witness,
    room: Arc<Room>,
    lock: File,
}

impl Store {
    /// Opens a data directory, creating it if it is not there.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NewerFormat`], [`Error::WrongKind`], [`Error::Damaged`] and those
    /// of the file system.
    pub fn open(dir: &Path, kind: MetaKind) -> Result<Arc<Store>> {
        let failed = |error| Error::io(format!("use data directory \"{}\"", dir.display()), error);
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = lock(dir)?;
        check_format(dir, kind)?;
        let meta = open_meta(dir, kind)?;
        let room = Arc::new(Room::new(dir));
        let files = DirFiles::open(&dir.join("segments")).map_err(failed)?;
        let files = files.within(Arc::clone(&room));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        let last = witness::last(dir)?;
        let held = Held { witness: Witness::open(dir)?, room, lock };
        let store = Store::assemble(meta, Arc::new(files), Some(held))?;
        let logged = store.epochs_above(store.checkpoint())?;
        let end = logged.last().map_or(store.checkpoint(), |record| record.epoch);
        witness::compare(last, end, META_FILE)?;
        Ok(store)
    }

    /// Opens a store over any metadata store and files, without a lock.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_parts(meta: Arc<dyn MetaStore>, files: Arc<dyn Files>) -> Result<Arc<Store>> {
        Store::assemble(meta, files, None)
    }

    fn assemble(
        meta: Arc<dyn MetaStore>,
        files: Arc<dyn Files>,
        held: Option<Held>,
    ) -> Result<Arc<Store>> {
        match meta.get(keyspace::FORMAT)? {
            Some(value) => {
                let text = String::from_utf8_lossy(&value);
                check_version(text.parse().ok(), META_FILE)?;
            }
            None => {
                let value = FORMAT.to_string().into_bytes();
                meta.commit(vec![Op::Put(keyspace::FORMAT.to_vec(), value)])?;
            }
        }
        let manifest = Manifest::load(&*meta, &files)?;
        let named: Vec<String> = manifest.segments.keys().map(|n| file_name(*n)).collect();
        remove_unnamed(&*files, |name| named.iter().any(|named| named == name))?;
        let next_segment = manifest.segments.keys().next_back().map_or(1, |last| last + 1);
        let (witness, room, lock) = match held {
            Some(Held { witness, room, lock }) => (Some(witness), Some(room), Some(lock)),
            None => (None, None, None),
        };
        Ok(Arc::new(Store {
            meta,
            files,
            cache: Arc::new(BlockCache::new(CACHE_BYTES)),
            manifest: Mutex::new(manifest),
            tables: RwLock::default(),
            next_segment: AtomicU64::new(next_segment),
            compacting: Mutex::new(()),
            damaged: Mutex::default(),
            written: Written::default(),
            witness,
            room,
            _lock: lock,
        }))
    }
}

/// Opens the metadata store of a data directory.
pub(super) fn open_meta(dir: &Path, kind: MetaKind) -> Result<Arc<dyn MetaStore>> {
    let dir = dir.join("meta");
    Ok(match kind {
        MetaKind::Fjall => Arc::new(FjallStore::open(&dir)?),
        MetaKind::Sled => Arc::new(SledStore::open(&dir)?),
    })
}

/// The metadata store that a data directory was made with.
pub(super) fn kind_of(dir: &Path) -> Result<MetaKind> {
    let name = dir.join(FORMAT_FILE);
    let text = fs::read_to_string(&name)
        .map_err(|error| Error::io(format!("read file \"{}\"", name.display()), error))?;
    named_kind(&text)?.ok_or_else(|| Error::damaged(FORMAT_FILE, 0, "the store is not known"))
}

/// What the format file says; None of a store that is not known.
fn named_kind(text: &str) -> Result<Option<MetaKind>> {
    let mut words = text.split_whitespace();
    let found = words.next().filter(|word| *word == "millrace").and_then(|_| words.next());
    check_version(found.and_then(|word| word.parse().ok()), FORMAT_FILE)?;
    let kinds = [MetaKind::Fjall, MetaKind::Sled];
    Ok(words.next().and_then(|name| kinds.into_iter().find(|kind| kind.name() == name)))
}

/// Takes the lock that the process holds until it ends.
pub(super) fn lock(dir: &Path) -> Result<File> {
    let failed = |error| Error::io(format!("lock data directory \"{}\"", dir.display()), error);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(dir.join(LOCK_FILE));
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: dir.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Compares the format file with what this version and the options say; writes it when new.
fn check_format(dir: &Path, kind: MetaKind) -> Result<()> {
    let text = match fs::read_to_string(dir.join(FORMAT_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return write_format(dir, kind)
                .map_err(|error| Error::io(format!("write file \"{FORMAT_FILE}\""), error));
        }
        Err(error) => return Err(Error::io(format!("read file \"{FORMAT_FILE}\""), error)),
    };
    match named_kind(&text)? {
        Some(found) if found == kind => Ok(()),
        Some(found) => {
            let (found, wanted) = (found.name().to_owned(), kind.name().to_owned());
            Err(Error::WrongKind { found, wanted })
        }
        None => Err(Error::damaged(FORMAT_FILE, 0, "the store is not known")),
    }
}

pub(super) fn check_version(found: Option<u32>, file: &str) -> Result<()> {
    match found {
        Some(found) if found > FORMAT => Err(Error::NewerFormat { found, known: FORMAT }),
        Some(_) => Ok(()),
        None => Err(Error::damaged(file, 0, "the format version cannot be read")),
    }
}

/// A rename makes the file appear whole or not at all.
pub(super) fn write_format(dir: &Path, kind: MetaKind) -> io::Result<()> {
    let new = dir.join("FORMAT.new");
    let mut file = File::create(&new)?;
    writeln!(file, "millrace {FORMAT} {}", kind.name())?;
    file.sync_all()?;
    fs::rename(new, dir.join(FORMAT_FILE))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_and_a_wrong_store_and_a_newer_format_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let store = Store::open(dir, MetaKind::Fjall).unwrap();
        let error = |kind| Store::open(dir, kind).err().unwrap();
        assert!(matches!(error(MetaKind::Fjall), Error::Locked { .. }));
        drop(store);
        let text = error(MetaKind::Sled).to_string();
        assert_eq!(text, "data directory was created with store \"fjall\", not \"sled\"");
        fs::write(dir.join(FORMAT_FILE), "millrace 7 fjall\n").unwrap();
        let newer = error(MetaKind::Fjall);
        assert!(matches!(newer, Error::NewerFormat { found: 7, known: FORMAT }), "{newer}");
        fs::write(dir.join(FORMAT_FILE), "something\n").unwrap();
        assert!(matches!(error(MetaKind::Fjall), Error::Damaged { .. }));
        fs::write(dir.join(FORMAT_FILE), "millrace 1 fjall\n").unwrap();
        Store::open(dir, MetaKind::Fjall).unwrap();
    }
}
