//! The files of a simulated disk.

use std::io;
use std::sync::Arc;

use millrace_storage::{FileReader, FileWriter, Files};
use rand::Rng;

use crate::disk::{Disk, Fate, Inode};

/// The one directory of a [`Disk`].
pub struct SimFiles {
    disk: Disk,
}

/// A file that is written or read.
struct SimFile {
    disk: Disk,
    inode: usize,
}

impl SimFiles {
    pub(super) fn new(disk: Disk) -> SimFiles {
        SimFiles { disk }
    }
}

impl Files for SimFiles {
    fn create(&self, name: &str) -> io::Result<Box<dyn FileWriter>> {
        let state = &mut *self.disk.state();
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.change_names(vec![(name.to_owned(), Some(inode))])?;
        Ok(Box::new(SimFile { disk: self.disk.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn FileReader>> {
        let state = self.disk.state();
        state.check()?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.disk.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change_names(vec![(to.to_owned(), Some(inode)), (from.to_owned(), None)])
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let state = &mut *self.disk.state();
        state.check()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(vec![(name.to_owned(), None)])
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.disk.state();
        state.check()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let fate = state.operate()?;
        if !matches!(fate, Fate::Fails(false)) && !state.syncs_lie {
            state.durable_names = state.names.clone();
            state.pending.clear();
        }
        fate.result()
    }
}

impl FileWriter for SimFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let fate = state.operate()?;
        let written = match fate {
            Fate::Happens => bytes.len(),
            Fate::Fails(_) => state.random.random_range(0..=bytes.len()),
        };
        state.inodes[self.inode].bytes.extend_from_slice(&bytes[..written]);
        fate.result()
    }

    fn sync(&mut self) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let fate = state.operate()?;
        let inode = &mut state.inodes[self.inode];
        if !matches!(fate, Fate::Fails(false)) && !state.syncs_lie {
            inode.synced = inode.bytes.len();
        }
        fate.result()
    }
}

impl FileReader for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.state();
        state.check()?;
        let bytes = &state.inodes[self.inode].bytes;
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let found = bytes.get(from..).and_then(|bytes| bytes.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check()?;
        Ok(state.inodes[self.inode].bytes.len() as u64)
    }
}
