//! A view's content at one epoch as a source, for the hydration of a view above it.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millrace_dataflow::source::{Chunk, Connector, Extent, Limits, Reader, SourceError, Span};
use millrace_storage::{Scan, ScanRows, Snapshot, Table};
use millrace_types::{Epoch, PartitionId};
use parking_lot::Mutex;

/// One partition that holds the rows of a snapshot in sort order.
pub struct SnapshotConnector {
    schema: SchemaRef,
    snapshot: Mutex<Option<Snapshot>>,
}

impl SnapshotConnector {
    /// The position after the last row.
    pub const END: i64 = i64::MAX;

    /// The rows of a table at a complete epoch.
    ///
    /// # Errors
    /// An epoch that is no longer readable.
    pub fn new(table: &Table, epoch: Epoch) -> Result<SnapshotConnector, SourceError> {
        let snapshot = table.snapshot(epoch).map_err(|e| SourceError::Gone(e.to_string()))?;
        let schema = snapshot.schema();
        Ok(SnapshotConnector { schema, snapshot: Mutex::new(Some(snapshot)) })
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
        let scan = snapshot.scan(Scan::default());
        let empty = RecordBatch::new_empty(self.schema.clone());
        Ok(Box::new(SnapshotReader { scan, position: 0, empty, ended: false }))
    }
}

struct SnapshotReader {
    scan: ScanRows,
    position: i64,
    empty: RecordBatch,
    ended: bool,
}

impl Reader for SnapshotReader {
    fn poll(&mut self, limits: Limits) -> Result<Vec<Chunk>, SourceError> {
        if self.ended {
            std::thread::park_timeout(limits.wait);
            return Ok(Vec::new());
        }
        let from = self.position;
        let (rows, to) = match self.scan.next() {
            Some(Ok(rows)) => {
                let count = i64::try_from(rows.num_rows()).expect("a batch is short");
                (rows, from + count)
            }
            Some(Err(error)) => return Err(SourceError::Gone(error.to_string())),
            None => (self.empty.clone(), SnapshotConnector::END),
        };
        self.ended = to == SnapshotConnector::END;
        self.position = to;
        let bytes = rows.get_array_memory_size();
        let partition = PartitionId(0);
        let bad = Vec::new();
        Ok(vec![Chunk { partition, from, to, rows, bad, bytes, at_end: self.ended }])
    }
}
