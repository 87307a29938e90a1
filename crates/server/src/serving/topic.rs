//! A source read directly: the topic from its start to the ends that stood when the query began.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use millrace_dataflow::source::{Limits, SourceError, Span};

use crate::coordinator::{BuiltSource, source_report};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Limits = Limits { rows: 8_192, bytes: 1 << 20, wait: Duration::from_millis(100) };
/// How long nothing may come before the reading gives up.
const SILENCE: u32 = 300;

/// See the module's documentation.
pub struct TopicProvider {
    source: Arc<BuiltSource>,
}

impl TopicProvider {
    /// A table over a connected source.
    pub fn new(source: Arc<BuiltSource>) -> TopicProvider {
        TopicProvider { source }
    }
}

impl fmt::Debug for TopicProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicProvider").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for TopicProvider {
    fn schema(&self) -> SchemaRef {
        self.source.decorator.schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let part = Arc::new(Part { schema: self.schema(), source: self.source.clone() });
        StreamingTable::try_new(self.schema(), vec![part])?
            .scan(session, projection, &[], limit)
            .await
    }
}

struct Part {
    schema: SchemaRef,
    source: Arc<BuiltSource>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let out = builder.tx();
        let source = self.source.clone();
        builder.spawn_blocking(move || {
            read(&source, |batch| out.blocking_send(Ok(batch)).is_ok())
                .map_err(|error| DataFusionError::External(source_report(&error).into()))
        });
        builder.build()
    }
}

/// Reads to the ends of now; stops early when `give` returns false.
fn read(
    source: &BuiltSource,
    give: impl Fn(arrow::array::RecordBatch) -> bool,
) -> Result<(), SourceError> {
    let extents = source.connector.extents(CONNECT_TIMEOUT)?;
    let mut open: Vec<Span> = extents
        .iter()
        .map(|extent| {
            let start = source.starts.get(&extent.partition).copied().unwrap_or_default();
            let (from, to) = (start.max(extent.first), Some(extent.end));
            Span { partition: extent.partition, from, to }
        })
        .filter(|span| span.to.is_some_and(|to| span.from < to))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let mut reader = source.connector.reader(&open)?;
    let now = (source.clock)();
    let mut silent = 0;
    while !open.is_empty() {
        let chunks = reader.poll(POLL)?;
        silent = if chunks.is_empty() { silent + 1 } else { 0 };
        if silent > SILENCE {
            return Err(SourceError::Unreachable("the source has stopped answering".into()));
        }
        for chunk in chunks {
            let (partition, to) = (chunk.partition, chunk.to);
            let rows = source.decorator.decorate(chunk, now).rows;
            if rows.num_rows() > 0 && !give(rows) {
                return Ok(());
            }
            open.retain(|span| span.partition != partition || span.to.is_some_and(|end| to < end));
        }
    }
    Ok(())
}
