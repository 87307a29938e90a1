//! A materialized view as a DataFusion table, at one epoch.
//!
//! Comparisons of a column with a literal prune the blocks that are read; DataFusion filters what is
//! left. Reading runs on a blocking thread, a few batches ahead, and ends when the query does.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Between, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use millrace_storage::{ColumnRange, Scan, Snapshot};

/// See the module's documentation.
pub struct ViewProvider {
    schema: SchemaRef,
    snapshot: OnceLock<Arc<Snapshot>>,
}

impl ViewProvider {
    /// A table with the view's stored schema; what it reads is pinned before it runs.
    pub fn new(schema: SchemaRef) -> ViewProvider {
        ViewProvider { schema, snapshot: OnceLock::new() }
    }

    /// Decides what is read; later calls change nothing.
    pub fn pin(&self, snapshot: Snapshot) {
        self.snapshot.get_or_init(|| Arc::new(snapshot));
    }
}

impl fmt::Debug for ViewProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewProvider").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ViewProvider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|_| TableProviderFilterPushDown::Inexact).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let mut ranges = Vec::new();
        for filter in filters {
            collect_ranges(filter, &self.schema, &mut ranges);
        }
        let scan = Scan { columns: projection.cloned(), ranges, after: None };
        let unpinned = || DataFusionError::Internal("a view was read before its epoch".into());
        let snapshot = self.snapshot.get().cloned().ok_or_else(unpinned)?;
        let part = Arc::new(Part { schema: schema.clone(), snapshot, scan });
        // With filters left above, a limit may not cut the scan short.
        let limit = if filters.is_empty() { limit } else { None };
        StreamingTable::try_new(schema, vec![part])?.scan(session, None, &[], limit).await
    }
}

struct Part {
    schema: SchemaRef,
    snapshot: Arc<Snapshot>,
    scan: Scan,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("ranges", &self.scan.ranges.len()).finish_non_exhaustive()
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let out = builder.tx();
        let (snapshot, scan) = (self.snapshot.clone(), self.scan.clone());
        builder.spawn_blocking(move || {
            for batch in snapshot.scan(scan) {
                let batch = batch.map_err(|e| DataFusionError::External(e.into()));
                // The receiver is gone when the query has ended or was cancelled.
                if out.blocking_send(batch).is_err() {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// The bounds that a conjunction puts on columns; what it does not understand bounds nothing.
fn collect_ranges(filter: &Expr, schema: &SchemaRef, ranges: &mut Vec<ColumnRange>) {
    match filter {
        Expr::BinaryExpr(binary) if binary.op == Operator::And => {
            collect_ranges(&binary.left, schema, ranges);
            collect_ranges(&binary.right, schema, ranges);
        }
        Expr::BinaryExpr(binary) => {
            let (op, left, right) = (binary.op, &*binary.left, &*binary.right);
            match (column_of(left, schema), literal_of(right)) {
                (Some(column), Some(value)) => push(ranges, column, op, value, schema),
                _ => {
                    if let (Some(value), Some(column), Some(op)) =
                        (literal_of(left), column_of(right, schema), op.swap())
                    {
                        push(ranges, column, op, value, schema);
                    }
                }
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            if let Some(column) = column_of(expr, schema) {
                if let Some(low) = literal_of(low) {
                    push(ranges, column, Operator::GtEq, low, schema);
                }
                if let Some(high) = literal_of(high) {
                    push(ranges, column, Operator::LtEq, high, schema);
                }
            }
        }
        _ => {}
    }
}

fn column_of(expr: &Expr, schema: &SchemaRef) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of(&column.name).ok(),
        _ => None,
    }
}

fn literal_of(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

fn push(
    ranges: &mut Vec<ColumnRange>,
    column: usize,
    op: Operator,
    value: &ScalarValue,
    schema: &SchemaRef,
) {
    let wanted: &DataType = schema.field(column).data_type();
    if value.data_type() != *wanted {
        return;
    }
    let Ok(bound) = value.to_array() else { return };
    let (min, max) = match op {
        Operator::Eq => (Some(bound.clone()), Some(bound)),
        Operator::Gt | Operator::GtEq => (Some(bound), None),
        Operator::Lt | Operator::LtEq => (None, Some(bound)),
        _ => return,
    };
    ranges.push(ColumnRange { column, min, max });
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn comparisons_with_literals_bound_their_columns() {
        let fields =
            vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let ranges = |filter: Expr| {
            let mut found = Vec::new();
            collect_ranges(&filter, &schema, &mut found);
            found.iter().map(|r| (r.column, r.min.is_some(), r.max.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(ranges(col("a").gt(lit(1i64))), [(0, true, false)]);
        assert_eq!(ranges(lit(1i64).gt(col("a"))), [(0, false, true)]);
        let between = col("a").between(lit(1i64), lit(2i64)).and(col("b").eq(lit("x")));
        assert_eq!(ranges(between), [(0, true, false), (0, false, true), (1, true, true)]);
        assert_eq!(ranges(col("a").gt(lit(1i32))), [], "another type would compare other bytes");
        assert_eq!(ranges(col("a").gt(lit(1i64)).or(col("a").lt(lit(0i64)))), []);
    }
}
