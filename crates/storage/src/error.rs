//! The one error of this crate. A variant exists where a caller acts differently: wait for another
//! process, upgrade, choose the other store, restore a file, end the process, ask again at a later
//! epoch, or try again.

use std::io;

use arrow::error::ArrowError;
use millrace_types::{Epoch, Report, SqlState, TableId, Ts};

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with stored data.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the data directory open.
    #[error("data directory \"{dir}\" is in use by another process")]
    Locked {
        /// The directory.
        dir: String,
    },
    /// A later version of Millrace wrote the data.
    #[error("data format {found} is newer than this version of Millrace, which knows {known}")]
    NewerFormat {
        /// The format of the data.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// The data directory was made with the other metadata store.
    #[error("data directory was created with store \"{found}\", not \"{wanted}\"")]
    WrongKind {
        /// The store that is there.
        found: String,
        /// The store that was asked for.
        wanted: String,
    },
    /// A file does not hold what was written to it.
    #[error("file \"{file}\" is damaged at byte {offset}: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// An fsync or a commit failed. What is on disk is unknown until the data directory is opened
    /// again: the process must end; nothing may be retried.
    #[error("could not make data durable: {0}")]
    Durability(String),
    /// Reading, or writing what is not needed yet, failed; trying again later may help.
    #[error("could not {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The metadata store could not be opened or read.
    #[error("metadata store: {0}")]
    Meta(String),
    /// The snapshot's epoch is below what the table still knows: ask again at a later epoch.
    #[error("table {table} is no longer readable at epoch {at}, only from {from} on")]
    TooOld {
        /// The table.
        table: TableId,
        /// The epoch that was asked for.
        at: Epoch,
        /// The first time that can be read.
        from: Ts,
    },
    /// No such table was created since the store was opened.
    #[error("table {0} does not exist")]
    UnknownTable(TableId),
    /// Arrow refused a type or a size.
    #[error("arrow: {0}")]
    Arrow(#[from] ArrowError),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Error {
        Error::Io { what: what.into(), source }
    }

    pub(crate) fn damaged(file: &str, offset: u64, reason: impl Into<String>) -> Error {
        Error::Damaged { file: file.to_owned(), offset, reason: reason.into() }
    }

    /// True if there was no room for what nothing depends on yet: it may be tried again later.
    pub fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Error::Io { source, .. } if full.contains(&source.kind()))
    }

    /// True if bytes on disk are not those that were written.
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Damaged { .. })
    }

    /// The error as a session shows it.
    pub fn report(&self) -> Report {
        let code = match self {
            Error::Locked { .. } | Error::NewerFormat { .. } | Error::WrongKind { .. } => {
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Error::Damaged { .. } => SqlState::DATA_CORRUPTED,
            Error::Io { .. } if self.is_disk_full() => SqlState::DISK_FULL,
            Error::Durability(_) | Error::Io { .. } | Error::Meta(_) => SqlState::IO_ERROR,
            Error::TooOld { .. } => SqlState::SERIALIZATION_FAILURE,
            Error::UnknownTable(_) | Error::Arrow(_) => SqlState::INTERNAL_ERROR,
        };
        Report::new(code, self.to_string())
    }
}
