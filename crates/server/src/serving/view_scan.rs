//! The scan of a view or an index in a physical plan: what EXPLAIN shows, and what it counts.
//!
//! Reading runs on a blocking thread, a few batches ahead, and ends when the query does.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use millrace_storage::{Scan, Snapshot};

use super::pending::PendingRows;

/// What a scan is called.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The table or view.
    pub(super) table: String,
    /// The index that is read instead.
    pub(super) index: Option<String>,
    /// What bounds the blocks that are read.
    pub(super) bounds: String,
}

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct ViewScan {
    names: Names,
    schema: SchemaRef,
    snapshot: Arc<Snapshot>,
    scan: Scan,
    limit: Option<usize>,
    /// What the transaction that reads has changed, and the columns that are shown of what is read.
    changed: Option<(Arc<PendingRows>, Vec<usize>)>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ViewScan {
    pub(super) fn new(
        names: Names,
        schema: SchemaRef,
        snapshot: Arc<Snapshot>,
        scan: Scan,
        limit: Option<usize>,
    ) -> ViewScan {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        let metrics = ExecutionPlanMetricsSet::new();
        ViewScan { names, schema, snapshot, scan, limit, changed: None, properties, metrics }
    }

    /// The same, with what a transaction has changed; the columns are those that are shown.
    pub(super) fn changed(self, changed: Option<(Arc<PendingRows>, Vec<usize>)>) -> ViewScan {
        ViewScan { changed, ..self }
    }
}

impl fmt::Debug for ViewScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewScan").field("names", &self.names).finish_non_exhaustive()
    }
}

impl DisplayAs for ViewScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Names { table, index, bounds } = &self.names;
        match index {
            Some(index) => write!(f, "IndexScan: {index} on {table}")?,
            None => write!(f, "Scan: {table}")?,
        }
        let fields = self.schema.fields().iter().map(|field| field.name().as_str());
        write!(f, ", columns=[{}]", fields.collect::<Vec<_>>().join(", "))?;
        if !bounds.is_empty() {
            write!(f, ", where {bounds}")?;
        }
        self.limit.map_or(Ok(()), |limit| write!(f, ", fetch={limit}"))
    }
}

impl ExecutionPlan for ViewScan {
    fn name(&self) -> &'static str {
        "ViewScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(ViewScan { limit, ..self.clone() }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let out = builder.tx();
        let (snapshot, scan) = (self.snapshot.clone(), self.scan.clone());
        let (changed, columns) = (self.changed.clone(), scan.columns.clone().unwrap_or_default());
        let read = MetricBuilder::new(&self.metrics).counter("rows_read", partition);
        builder.spawn_blocking(move || {
            let (mut rows, mut visited) = (snapshot.scan(scan), 0);
            while let Some(batch) = rows.next() {
                let batch = batch.map_err(|e| DataFusionError::External(e.report().into()));
                let batch = match &changed {
                    Some((pending, shown)) => {
                        batch.and_then(|batch| Ok(pending.stored(batch, &columns, shown.len())?))
                    }
                    None => batch,
                };
                let before = std::mem::replace(&mut visited, rows.visited());
                read.add(usize::try_from(visited - before).unwrap_or(usize::MAX));
                // The receiver is gone when the query has ended or was cancelled.
                if out.blocking_send(batch).is_err() {
                    return Ok(());
                }
            }
            let come = changed.iter().flat_map(|(pending, shown)| pending.come(shown));
            for batch in come {
                if out.blocking_send(batch.map_err(DataFusionError::from)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let rows = make_cooperative(builder.build());
        Ok(match self.limit {
            None => rows,
            Some(limit) => {
                let baseline = BaselineMetrics::new(&self.metrics, partition);
                Box::pin(LimitStream::new(rows, 0, Some(limit), baseline))
            }
        })
    }
}
