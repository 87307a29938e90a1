//! A view's content at one epoch as a source, for the hydration of a view above it: read in the order
//! of its key, from some key on, and stopped at any.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use millrace_dataflow::source::{Chunk, Connector, Extent, Limits, Reader, SourceError, Span};
use millrace_storage::{KeyBound, Reach, Scan, ScanRows, Snapshot};
use millrace_types::PartitionId;
use parking_lot::Mutex;

/// Positions whose keys are known: the reader is at most one chunk ahead of what is delivered.
const KEYS_KEPT: usize = 2;

/// Bytes of the rows that are given together.
const CHUNK_BYTES: usize = 128 << 10;

/// By position the part of the table that has been read there, newest last.
type Positions = Arc<Mutex<VecDeque<(i64, Reach)>>>;

/// One partition that holds the rows of a snapshot in sort order.
pub struct SnapshotConnector {
    schema: SchemaRef,
    sort: Vec<usize>,
    rows_left: u64,
    after: Option<KeyBound>,
    snapshot: Mutex<Option<Snapshot>>,
    positions: Positions,
}

impl SnapshotConnector {
    /// The position after the last row.
    pub const END: i64 = i64::MAX;

    /// The rows of a snapshot, with these key columns, that have not been read yet.
    ///
    /// # Errors
    /// A key that is not of this table.
    pub fn new(
        snapshot: Snapshot,
        sort: &[usize],
        read: &Reach,
    ) -> Result<SnapshotConnector, millrace_storage::Error> {
        let (after, rows_left) = match read {
            Reach::Nothing => (None, snapshot.rows_upper_bound()),
            Reach::UpTo(bound) => (Some(bound.clone()), snapshot.rows_after(bound)?),
            Reach::All => (None, 0),
        };
        let (schema, sort) = (snapshot.schema(), sort.to_vec());
        let (snapshot, positions) = (Mutex::new(Some(snapshot)), Positions::default());
        Ok(SnapshotConnector { schema, sort, rows_left, after, snapshot, positions })
    }

    /// How many rows there are to read, at most.
    pub fn rows_left(&self) -> u64 {
        self.rows_left
    }

    /// The part of the table that has been read at a position that was delivered; None: no more than
    /// before.
    pub fn reach(&self, position: i64) -> Option<Reach> {
        let positions = self.positions.lock();
        positions.iter().find(|(at, _)| *at == position).map(|(_, reach)| reach.clone())
    }

    /// The stored schema.
    pub fn full_schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Connector for SnapshotConnector {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn extents(&self, _: Duration) -> Result<Vec<Extent>, SourceError> {
        Ok(vec![Extent { partition: PartitionId(0), first: 0, end: Self::END }])
    }

    fn start(&self, _: Duration) -> Result<Vec<Span>, SourceError> {
        Ok(vec![Span { partition: PartitionId(0), from: 0, to: Some(Self::END) }])
    }

    fn reader(&self, _: &[Span]) -> Result<Box<dyn Reader>, SourceError> {
        let taken = || SourceError::Invalid("a snapshot is read once".into());
        let snapshot = self.snapshot.lock().take().ok_or_else(taken)?;
        let scan = snapshot.scan(Scan { after: self.after.clone(), ..Scan::default() });
        let empty = RecordBatch::new_empty(self.schema.clone());
        let (sort, positions) = (self.sort.clone(), Arc::clone(&self.positions));
        let rest = empty.clone();
        let (position, ended) = (0, false);
        Ok(Box::new(SnapshotReader { scan, sort, positions, position, empty, rest, ended }))
    }
}

struct SnapshotReader {
    scan: ScanRows,
    sort: Vec<usize>,
    positions: Positions,
    position: i64,
    empty: RecordBatch,
    /// Rows that have been read and not given yet.
    rest: RecordBatch,
    ended: bool,
}

impl SnapshotReader {
    /// The next rows, few enough that reading can stop soon; None at the end.
    fn next(&mut self) -> Result<Option<(RecordBatch, usize)>, SourceError> {
        while self.rest.num_rows() == 0 {
            match self.scan.next() {
                Some(rows) => self.rest = rows.map_err(|e| SourceError::Gone(e.to_string()))?,
                None => return Ok(None),
            }
        }
        let columns = self.rest.columns().iter();
        let used = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
        let a_row = (used.sum::<usize>() / self.rest.num_rows()).max(1);
        let count = (CHUNK_BYTES / a_row).clamp(1, self.rest.num_rows());
        let rows = self.rest.slice(0, count);
        self.rest = self.rest.slice(count, self.rest.num_rows() - count);
        Ok(Some((rows, count * a_row)))
    }

    /// Notes what has been read at the position that these rows lead to.
    fn note(&self, rows: &RecordBatch) {
        let reach = match rows.num_rows().checked_sub(1) {
            // A table without key columns has one row at most.
            Some(_) if self.sort.is_empty() => Reach::All,
            Some(last) => Reach::UpTo(KeyBound::of_row(rows, &self.sort, last)),
            None if self.ended => Reach::All,
            None => return,
        };
        let mut positions = self.positions.lock();
        positions.push_back((self.position, reach));
        while positions.len() > KEYS_KEPT {
            positions.pop_front();
        }
    }
}

impl Reader for SnapshotReader {
    fn poll(&mut self, limits: Limits) -> Result<Vec<Chunk>, SourceError> {
        if self.ended {
            std::thread::park_timeout(limits.wait);
            return Ok(Vec::new());
        }
        let from = self.position;
        let (rows, bytes, to) = match self.next()? {
            Some((rows, bytes)) => {
                let count = i64::try_from(rows.num_rows()).expect("a batch is short");
                (rows, bytes, from + count)
            }
            None => (self.empty.clone(), 0, SnapshotConnector::END),
        };
        self.ended = to == SnapshotConnector::END;
        self.position = to;
        self.note(&rows);
        let partition = PartitionId(0);
        let bad = Vec::new();
        Ok(vec![Chunk { partition, from, to, rows, bad, bytes, at_end: self.ended }])
    }
}
