//! The keys of the metadata store. The first byte says whose they are, numbers are big-endian so
//! that they sort.

use millrace_types::{Epoch, TableId};

use crate::meta::Op;

/// The catalog's keys, as the server makes them, follow this byte.
pub(crate) const CATALOG: u8 = b'c';
/// An epoch record by epoch.
const EPOCH: u8 = b'e';
/// The format version, alone.
pub(crate) const FORMAT: &[u8] = b"f";
/// The checkpoint epoch, alone.
pub(crate) const CHECKPOINT: &[u8] = b"k";
/// A segment's runs in use, by segment number.
pub(crate) const SEGMENT: u8 = b's';
/// A table's trim mark, by table.
pub(crate) const TRIM: u8 = b't';

fn numbered(space: u8, number: u64) -> Vec<u8> {
    let mut key = vec![space];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn epoch(epoch: Epoch) -> Vec<u8> {
    numbered(EPOCH, epoch.0)
}

pub(crate) fn segment(number: u64) -> Vec<u8> {
    numbered(SEGMENT, number)
}

pub(crate) fn trim(table: TableId) -> Vec<u8> {
    numbered(TRIM, table.0)
}

/// The number in a key of a numbered space.
pub(crate) fn number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// First key of a space and first key after it.
pub(crate) fn all(space: u8) -> ([u8; 1], [u8; 1]) {
    ([space], [space + 1])
}

/// The records of epochs above one.
pub(crate) fn epochs_above(epoch: Epoch) -> (Vec<u8>, Vec<u8>) {
    (numbered(EPOCH, epoch.0.saturating_add(1)), vec![EPOCH + 1])
}

/// Removes the records of epochs up to and with one.
pub(crate) fn cut_epochs(epoch: Epoch) -> Op {
    Op::DeleteRange(vec![EPOCH], numbered(EPOCH, epoch.0.saturating_add(1)))
}

/// A key of the catalog.
pub(crate) fn catalog(key: &[u8]) -> Vec<u8> {
    [&[CATALOG], key].concat()
}

/// The end of a range of catalog keys; empty means to the last one.
pub(crate) fn catalog_end(key: &[u8]) -> Vec<u8> {
    if key.is_empty() { vec![CATALOG + 1] } else { catalog(key) }
}

/// A change of the catalog as one of the store.
pub(crate) fn catalog_op(op: Op) -> Op {
    match op {
        Op::Put(key, value) => Op::Put(catalog(&key), value),
        Op::Delete(key) => Op::Delete(catalog(&key)),
        Op::DeleteRange(from, to) => Op::DeleteRange(catalog(&from), catalog_end(&to)),
    }
}
