//! How much room the disk has, and how much of it is kept in reserve.
//!
//! What is needed to go on, the epoch log above all, is written though the disk is nearly full; segments are
//! not: they can be written later. So half of the reserve is closed to them, and the log does not meet a full
//! disk, which would end the process.
//!
//! Invariants: 1. no segment is written into the lower half of the reserve ([`Room::admit`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The file system of a data directory.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    reserve: AtomicU64,
}

impl Room {
    /// The file system of a directory; nothing is reserved yet.
    pub fn new(dir: &Path) -> Room {
        Room { dir: dir.to_owned(), reserve: AtomicU64::new(0) }
    }

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// The system's.
    pub fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Bytes of the whole file system.
    ///
    /// # Errors
    /// The system's.
    pub fn total(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.dir)?;
        Ok(found.f_blocks.saturating_mul(found.f_frsize))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sets how many bytes are to be left.
    pub fn set_reserve(&self, bytes: u64) {
        self.reserve.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that are to be left.
    pub fn reserve(&self) -> u64 {
        self.reserve.load(Ordering::Relaxed)
    }

    /// Below so many bytes no segment is written.
    pub fn floor(&self) -> u64 {
        self.reserve() / 2
    }

    /// Bytes that compaction may write at once: above the reserve it does not go into it, below it may do
    /// what makes room.
    ///
    /// # Errors
    /// The system's.
    pub fn spare(&self) -> io::Result<u64> {
        let (free, reserve) = (self.free()?, self.reserve());
        Ok(free.saturating_sub(if free > reserve { reserve } else { self.floor() }))
    }

    /// Asks whether so many bytes of a segment may be written.
    ///
    /// # Errors
    /// `StorageFull`, and the system's.
    pub(crate) fn admit(&self, bytes: usize) -> io::Result<()> {
        let floor = self.floor();
        if floor > 0 && self.free()? < floor.saturating_add(bytes as u64) {
            let reason = "what is left of the disk is kept in reserve";
            return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_stay_out_of_the_lower_half_of_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::new(dir.path());
        let free = room.free().unwrap();
        assert!(free > 0 && free <= room.total().unwrap());
        assert!(room.admit(1 << 20).is_ok(), "without a reserve the system decides");
        room.set_reserve(u64::MAX);
        assert_eq!(room.admit(1).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(room.spare().unwrap(), 0);
        room.set_reserve(2);
        assert!(room.admit(1).is_ok() && room.spare().unwrap() > 0);
    }
}
