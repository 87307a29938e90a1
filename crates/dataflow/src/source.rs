//! What a connector implements: reading partitions of a source in order.
//!
//! Invariants: 1. offsets of a partition only grow; a chunk covers `[from, to)` and the next one of
//! that partition starts at `to`. 2. the same range read again gives the same rows.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millrace_types::PartitionId;

/// Why a source cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// The broker or topic cannot be reached now; try again later.
    #[error("{0}")]
    Unreachable(String),
    /// The source no longer holds what is needed; no retry helps.
    #[error("{0}")]
    Gone(String),
    /// The source is described wrongly.
    #[error("{0}")]
    Invalid(String),
}

/// The readable offsets of one partition: `[first, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset that is still there.
    pub first: i64,
    /// The offset that the next row will get.
    pub end: i64,
}

/// A range of one partition to read: `[from, to)`, without an end if `to` is None.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset to read.
    pub from: i64,
    /// The first offset not to read.
    pub to: Option<i64>,
}

/// A message that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its offset.
    pub offset: i64,
    /// What is wrong, one line.
    pub reason: String,
    /// Its bytes, cut to 16 kB.
    pub raw: Vec<u8>,
}

/// The watermark of a source of which nothing will come any more. No event is that late, and what is
/// reckoned with it stays within the range of a timestamp.
pub const END_OF_TIME: i64 = i64::MAX / 2;

/// Decoded rows of one partition, in offset order.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The partition.
    pub partition: PartitionId,
    /// The offset where the chunk starts.
    pub from: i64,
    /// The offset after the chunk: the position from which to go on. May lie beyond the last row,
    /// over control records and holes.
    pub to: i64,
    /// Rows in [`Connector::schema`].
    pub rows: RecordBatch,
    /// Messages that are not rows.
    pub bad: Vec<BadRow>,
    /// Bytes as they came from the source.
    pub bytes: usize,
    /// The chunk reaches the end of the partition as the source confirmed it just now.
    pub at_end: bool,
}

/// How much one poll may return.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Bytes as they come from the source.
    pub bytes: usize,
    /// The longest wait for the first row.
    pub wait: Duration,
}

/// Columns of a source that somebody reads, by their place in [`Connector::schema`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(Option<BTreeSet<usize>>);

impl Columns {
    /// All of them.
    pub fn all() -> Columns {
        Columns(None)
    }

    /// These.
    pub fn some(columns: impl IntoIterator<Item = usize>) -> Columns {
        Columns(Some(columns.into_iter().collect()))
    }

    /// True for a column that somebody reads.
    pub fn has(&self, column: usize) -> bool {
        self.0.as_ref().is_none_or(|columns| columns.contains(&column))
    }
}

/// Reads a fixed set of spans. Used by one thread.
pub trait Reader: Send {
    /// The next chunks, at most one per partition; empty if nothing came within the wait. A span
    /// that has been read to its end gives nothing more.
    ///
    /// # Errors
    /// See [`SourceError`]; after `Unreachable` the reader goes on where it stood.
    fn poll(&mut self, limits: Limits) -> Result<Vec<Chunk>, SourceError>;
}

/// One source, connected.
pub trait Connector: Send + Sync {
    /// Columns of a chunk's rows: the declared physical columns in order, then those of INCLUDE,
    /// then `_partition` and `_offset`.
    fn schema(&self) -> SchemaRef;

    /// The partitions with their readable offsets now. Waits at most `timeout`.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn extents(&self, timeout: Duration) -> Result<Vec<Extent>, SourceError>;

    /// The offset where a partition ends for good; None if rows may always come.
    fn last(&self, _partition: PartitionId) -> Option<i64> {
        None
    }

    /// True if rows stay where they were read, so that an end below them means that some have gone. What is made
    /// as it is read ends nowhere.
    fn is_stored(&self) -> bool {
        false
    }

    /// Where the source starts, as its options say: one span without end per partition. Called once,
    /// at CREATE SOURCE.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn start(&self, timeout: Duration) -> Result<Vec<Span>, SourceError>;

    /// What tells what is read from another thing of the same name, with offsets of its own; None if it
    /// is not known. Asked for at CREATE SOURCE; where it is another one later, [`Connector::extents`] and
    /// readers fail with `Gone`.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn identity(&self, _timeout: Duration) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    /// A reader over some spans.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn reader(&self, spans: &[Span]) -> Result<Box<dyn Reader>, SourceError>;

    /// The same for a consumer that reads only some columns: the others may hold any values of
    /// their types. What a row is, and which ones are bad, does not depend on them.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn reader_of(&self, spans: &[Span], _: &Columns) -> Result<Box<dyn Reader>, SourceError> {
        self.reader(spans)
    }
}
