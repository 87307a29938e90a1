//! A simulated disk: files and a metadata store that forget what was not synced.
//!
//! A killed process loses nothing that it has written, so only a simulated loss of power shows a
//! missing fsync. [`Disk`] counts every operation that changes something and fails at the n-th one
//! and all later ones; [`Disk::restart`] then keeps what was synced and an arbitrary part of the
//! rest, as a seed decides.
//!
//! Invariants: 1. synced bytes, names of a synced directory and commits that returned survive; 2.
//! names are lost from the newest on (directories are journalled); unsynced bytes are lost in any
//! pattern, their length too; 3. the operation that fails may have happened or not, or in part.

mod files;
mod meta;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_storage::{Files, MetaStore};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use files::SimFiles;
pub use meta::SimMeta;

/// Unsynced bytes are kept or lost in pages of this size.
const PAGE_BYTES: usize = 512;

/// A disk that can lose power.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

struct State {
    random: StdRng,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// Syncs do nothing: to prove that the tests notice.
    syncs_lie: bool,
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    /// Changes of names since the directory was synced.
    pending: Vec<NameChange>,
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Files by name.
type Names = BTreeMap<String, usize>;

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: usize,
}

/// Sets or removes a name.
type NameChange = (String, Option<usize>);

/// Whether an operation that was asked for happens.
enum Fate {
    Happens,
    /// The power fails during it: it happens if true, and reports an error in any case.
    Fails(bool),
}

impl Disk {
    /// An empty disk. The seed decides what a crash leaves.
    pub fn new(seed: u64) -> Disk {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            operations: 0,
            crash_at: None,
            crashed: false,
            syncs_lie: false,
            inodes: Vec::new(),
            names: Names::new(),
            durable_names: Names::new(),
            pending: Vec::new(),
            pairs: BTreeMap::new(),
        };
        Disk { state: Arc::new(Mutex::new(state)) }
    }

    /// Its files.
    pub fn files(&self) -> Arc<dyn Files> {
        Arc::new(SimFiles::new(self.clone()))
    }

    /// Its metadata store.
    pub fn meta(&self) -> Arc<dyn MetaStore> {
        Arc::new(SimMeta::new(self.clone()))
    }

    /// How many operations that change something have been asked for.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The power fails during the n-th operation from now, counted from 1.
    pub fn crash_at(&self, n: u64) {
        let state = &mut *self.state();
        state.crash_at = Some(state.operations + n);
    }

    /// True between a crash and the restart.
    pub fn is_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Makes syncs of files and directories do nothing.
    pub fn lie_about_syncs(&self) {
        self.state().syncs_lie = true;
    }

    /// Turns the power on again, after a crash or out of the blue: what was not synced is gone, or
    /// not. Files and stores from before must not be used any more.
    pub fn restart(&self) {
        let state = &mut *self.state();
        (state.crashed, state.crash_at) = (false, None);
        let kept = state.random.random_range(0..=state.pending.len());
        let mut names = std::mem::take(&mut state.durable_names);
        for (name, inode) in state.pending.drain(..).take(kept) {
            rename(&mut names, name, inode);
        }
        for inode in &mut state.inodes {
            inode.lose_unsynced(&mut state.random);
        }
        state.names.clone_from(&names);
        state.durable_names = names;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rename(names: &mut Names, name: String, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(name, inode),
        None => names.remove(&name),
    };
}

impl Inode {
    fn lose_unsynced(&mut self, random: &mut StdRng) {
        let length = random.random_range(self.synced..=self.bytes.len());
        self.bytes.truncate(length);
        for page in self.bytes[self.synced..].chunks_mut(PAGE_BYTES) {
            if random.random_bool(0.3) {
                page.fill(0);
            }
        }
        self.synced = self.bytes.len();
    }
}

impl State {
    fn check(&self) -> io::Result<()> {
        if self.crashed { Err(power_failure()) } else { Ok(()) }
    }

    /// Counts an operation and decides what becomes of it.
    fn operate(&mut self) -> io::Result<Fate> {
        self.check()?;
        self.operations += 1;
        if self.crash_at != Some(self.operations) {
            return Ok(Fate::Happens);
        }
        self.crashed = true;
        Ok(Fate::Fails(self.random.random_bool(0.5)))
    }

    fn change_names(&mut self, changes: Vec<NameChange>) -> io::Result<()> {
        let fate = self.operate()?;
        if !matches!(fate, Fate::Fails(false)) {
            for (name, inode) in changes {
                self.pending.push((name.clone(), inode));
                rename(&mut self.names, name, inode);
            }
        }
        fate.result()
    }
}

impl Fate {
    fn result(self) -> io::Result<()> {
        match self {
            Fate::Happens => Ok(()),
            Fate::Fails(_) => Err(power_failure()),
        }
    }
}

fn power_failure() -> io::Error {
    io::Error::other("the power has failed")
}
