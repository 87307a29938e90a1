//! The metadata store: a small ordered map of bytes with atomic durable batches. It holds the
//! catalog, the epoch log and the manifest; never bulk data.
//!
//! One trait with few methods, so that the backends can be exchanged and a simulated one can stand
//! in for them. [`check_conformance`] is what each backend has to pass.
//!
//! Invariants: 1. a batch is visible and durable as a whole or not at all; 2. when `commit` returns,
//! the batch survives a loss of power; 3. a commit that fails leaves it open whether the batch is
//! there: the process must end.

mod conformance;
mod fjall;
mod sealed;
mod sled;

pub use conformance::check_conformance;
pub use fjall::FjallStore;
pub use sled::SledStore;

use crate::error::Result;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One change of a batch. Later changes of the same batch win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key, if it is there.
    Delete(Vec<u8>),
    /// Removes the keys from the first, up to and without the second.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// An ordered map of bytes on disk.
pub trait MetaStore: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`crate::Error::Meta`] when the store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The pairs from `from` up to and without `to`, in the order of their keys.
    ///
    /// # Errors
    /// [`crate::Error::Meta`] when the store cannot be read.
    fn scan(&self, from: &[u8], to: &[u8]) -> Result<Vec<Pair>>;

    /// Applies a batch atomically. It is durable when this returns.
    ///
    /// # Errors
    /// [`crate::Error::Durability`]: it is unknown whether the batch is there; end the process.
    fn commit(&self, ops: Vec<Op>) -> Result<()>;
}

/// Which metadata store a data directory has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetaKind {
    /// fjall, a log-structured merge tree.
    #[default]
    Fjall,
    /// sled, a lock-free B+ tree.
    Sled,
}

impl MetaKind {
    /// The name in options and in the data directory.
    pub fn name(self) -> &'static str {
        match self {
            MetaKind::Fjall => "fjall",
            MetaKind::Sled => "sled",
        }
    }
}

/// A change of one key.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// The batch as changes of single keys, ranges resolved against what the store holds and what the
/// batch put before. For backends that know no range removal.
fn single_keys(
    ops: Vec<Op>,
    mut keys_of: impl FnMut(&[u8], &[u8]) -> Result<Vec<Vec<u8>>>,
) -> Result<Vec<Change>> {
    let mut changes = std::collections::BTreeMap::new();
    for op in ops {
        match op {
            Op::Put(key, value) => drop(changes.insert(key, Some(value))),
            Op::Delete(key) => drop(changes.insert(key, None)),
            Op::DeleteRange(from, to) if from < to => {
                for key in keys_of(&from, &to)? {
                    changes.insert(key, None);
                }
                changes.range_mut(from..to).for_each(|(_, value)| *value = None);
            }
            Op::DeleteRange(_, _) => {}
        }
    }
    Ok(changes.into_iter().collect())
}
