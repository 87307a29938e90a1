//! A witness of the log's end: how far it went, said in a file of its own.
//!
//! A metadata store takes a record in its journal that it cannot read for the torn end of a write, and
//! forgets it with all that follows. So a flipped bit could take away epochs that had been acknowledged.
//! The witness is written after the log is durable, and not synced itself: it may be behind, never ahead.
//! A log that ends before it has lost something.
//!
//! Invariants: 1. an epoch is named only after its record is durable ([`Witness::saw`]).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use millrace_types::Epoch;

use crate::error::{Error, Result};

const NAME: &str = "LAST";
/// The epoch as a little-endian `u64` and its CRC-32: less than a sector, so never torn.
const BYTES: usize = 12;

/// See the head of the file.
pub(super) struct Witness {
    file: File,
}

fn encode(epoch: Epoch) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&epoch.0.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The last epoch that was seen in a data directory's log; None before the first.
///
/// # Errors
/// [`Error::Damaged`], and the system's.
pub(super) fn last(dir: &Path) -> Result<Option<Epoch>> {
    let bytes = match std::fs::read(dir.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("read file \"{NAME}\""), error)),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let number = bytes.first_chunk().map(|number| Epoch(u64::from_le_bytes(*number)));
    match number.filter(|epoch| bytes == encode(*epoch)) {
        Some(epoch) => Ok(Some(epoch)),
        None => Err(Error::damaged(NAME, 0, "the checksum does not match")),
    }
}

/// Compares a log's end with the witness.
///
/// # Errors
/// [`Error::Damaged`]: epochs are missing.
pub(super) fn compare(witness: Option<Epoch>, end: Epoch, file: &str) -> Result<()> {
    match witness {
        Some(last) if end < last => {
            let reason = format!("the log ends with epoch {end}, but epoch {last} had been logged");
            Err(Error::damaged(file, 0, reason))
        }
        _ => Ok(()),
    }
}

impl Witness {
    pub(super) fn open(dir: &Path) -> Result<Witness> {
        let failed = |error| Error::io(format!("write file \"{NAME}\""), error);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(dir.join(NAME));
        Ok(Witness { file: file.map_err(failed)? })
    }

    /// An epoch's record is durable.
    pub(super) fn saw(&self, epoch: Epoch) {
        if let Err(error) = self.file.write_all_at(&encode(epoch), 0) {
            // A witness that is behind says less, and nothing wrong.
            tracing::debug!(%error, "could not write the witness of the log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_ends_before_its_witness_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last(dir.path()).unwrap(), None);
        let witness = Witness::open(dir.path()).unwrap();
        assert_eq!(last(dir.path()).unwrap(), None);
        for epoch in [7, 300] {
            witness.saw(Epoch(epoch));
            assert_eq!(last(dir.path()).unwrap(), Some(Epoch(epoch)));
        }
        assert!(compare(Some(Epoch(300)), Epoch(300), "log").is_ok());
        assert!(compare(Some(Epoch(300)), Epoch(299), "log").is_err());
        std::fs::write(dir.path().join(NAME), [1; BYTES]).unwrap();
        assert!(matches!(last(dir.path()), Err(Error::Damaged { .. })));
    }
}
