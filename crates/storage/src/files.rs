//! The file layer: files are written once from front to back, synced, and read at offsets.
//!
//! A trait from the first day, so that a simulation can stand in for the file system, drop what was
//! not synced and show a missing fsync that a killed process never shows.
//!
//! Invariants: 1. names are flat, without separators; 2. content is durable after the writer's
//! `sync`, a new or removed name after `sync_dir`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::room::Room;

/// Writes one new file.
pub trait FileWriter: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// The system's, for instance a full disk.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// The system's; what is on disk is then unknown, a second try proves nothing.
    fn sync(&mut self) -> io::Result<()>;
}

/// Reads one file; shared by threads.
pub trait FileReader: Send + Sync {
    /// Fills the buffer from an offset.
    ///
    /// # Errors
    /// The system's, and `UnexpectedEof` beyond the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// True for a file without bytes.
    ///
    /// # Errors
    /// The system's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// One directory of files.
pub trait Files: Send + Sync {
    /// Starts a file, replacing one of that name.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, name: &str) -> io::Result<Box<dyn FileWriter>>;

    /// Opens a file for reading. It stays readable after its name is removed.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, name: &str) -> io::Result<Arc<dyn FileReader>>;

    /// Gives a file another name, replacing one of that name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// All names, sorted.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes created, renamed and removed names durable.
    ///
    /// # Errors
    /// The system's; as with [`FileWriter::sync`] a second try proves nothing.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A directory of the file system.
pub struct DirFiles {
    dir: PathBuf,
    room: Option<Arc<Room>>,
}

/// A file that leaves the disk its reserve.
struct Bounded {
    file: File,
    room: Arc<Room>,
}

impl DirFiles {
    /// Uses a directory, creating it if it is not there.
    ///
    /// # Errors
    /// The system's.
    pub fn open(dir: &Path) -> io::Result<DirFiles> {
        std::fs::create_dir_all(dir)?;
        Ok(DirFiles { dir: dir.to_owned(), room: None })
    }

    /// Files are written only while the disk has room for them above its reserve.
    #[must_use]
    pub fn within(self, room: Arc<Room>) -> DirFiles {
        DirFiles { room: Some(room), ..self }
    }
}

impl FileWriter for Bounded {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.room.admit(bytes.len())?;
        Write::write_all(&mut self.file, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl FileWriter for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl FileReader for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Files for DirFiles {
    fn create(&self, name: &str) -> io::Result<Box<dyn FileWriter>> {
        let path = self.dir.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        Ok(match &self.room {
            Some(room) => Box::new(Bounded { file, room: Arc::clone(room) }),
            None => Box::new(file),
        })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn FileReader>> {
        Ok(Arc::new(File::open(self.dir.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.dir)?;
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names = entries.map(|entry| entry.map(name)).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_file_stays_readable_to_who_has_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let files = DirFiles::open(&dir.path().join("new")).unwrap();
        let mut writer = files.create("b").unwrap();
        writer.write_all(b"hello").unwrap();
        writer.sync().unwrap();
        files.rename("b", "a").unwrap();
        files.create("c").unwrap();
        files.sync_dir().unwrap();
        let reader = files.open("a").unwrap();
        assert_eq!(files.list().unwrap(), ["a", "c"]);
        files.remove("a").unwrap();
        let mut buffer = [0; 3];
        reader.read_at(&mut buffer, 2).unwrap();
        assert_eq!(&buffer, b"llo");
        assert!(reader.read_at(&mut buffer, 3).is_err());
        assert!(files.open("a").is_err());
    }
}
