//! A materialized view as a DataFusion table, at one epoch.
//!
//! Comparisons of a column with a literal decide which order of the rows is read, the view's own or
//! that of an index, and prune the blocks that are read; DataFusion filters what is left.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Between, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use millrace_storage::{ColumnRange, Scan, Snapshot};
use parking_lot::Mutex;

use super::view_scan::{Names, ViewScan};

/// See the module's documentation.
pub struct ViewProvider {
    name: String,
    schema: SchemaRef,
    snapshot: OnceLock<Arc<Snapshot>>,
    /// Other orders of the same rows at the same epoch.
    indexes: Mutex<Vec<(String, Arc<Snapshot>)>>,
}

impl ViewProvider {
    /// A table with the view's stored schema; what it reads is pinned before it runs.
    pub fn new(name: String, schema: SchemaRef) -> ViewProvider {
        ViewProvider { name, schema, snapshot: OnceLock::new(), indexes: Mutex::default() }
    }

    /// Decides what is read; later calls change nothing.
    pub fn pin(&self, snapshot: Snapshot) {
        self.snapshot.get_or_init(|| Arc::new(snapshot));
    }

    /// Adds an index that may be read instead.
    pub fn pin_index(&self, name: String, snapshot: Snapshot) {
        self.indexes.lock().push((name, Arc::new(snapshot)));
    }

    /// What is read, with the name of the index if it is one: where the ranges bound the most of the
    /// leading columns, the view itself if an index bounds no more.
    fn choose(&self, ranges: &[ColumnRange]) -> Option<(Option<String>, Arc<Snapshot>)> {
        let own = self.snapshot.get()?.clone();
        let mut best = (bounded(own.sort(), ranges), None, own);
        for (name, snapshot) in self.indexes.lock().iter() {
            let found = bounded(snapshot.sort(), ranges);
            if found > best.0 {
                best = (found, Some(name.clone()), snapshot.clone());
            }
        }
        Some((best.1, best.2))
    }
}

/// How many leading columns are bound to one value, and whether the next one is bound at all.
fn bounded(sort: &[usize], ranges: &[ColumnRange]) -> (usize, bool) {
    let of = |column: usize| ranges.iter().filter(move |range| range.column == column);
    let equal = |column: &&usize| of(**column).any(|range| range.min.is_some() && range.is_point());
    let equal = sort.iter().take_while(equal).count();
    (equal, sort.get(equal).is_some_and(|column| of(*column).next().is_some()))
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
        _: &dyn Session,
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
        let unpinned = || DataFusionError::Internal("a view was read before its epoch".into());
        let (index, snapshot) = self.choose(&ranges).ok_or_else(unpinned)?;
        let scan = Scan { columns: projection.cloned(), ranges, after: None };
        // With filters left above, a limit may not cut the scan short.
        let limit = if filters.is_empty() { limit } else { None };
        let names = Names { table: self.name.clone(), index, bounds: bounds(&scan, &self.schema) };
        Ok(Arc::new(ViewScan::new(names, schema, snapshot, scan, limit)))
    }
}

/// What the ranges say, for EXPLAIN.
fn bounds(scan: &Scan, schema: &SchemaRef) -> String {
    let range = |range: &ColumnRange| {
        let name = schema.field(range.column).name();
        match (&range.min, &range.max) {
            (Some(_), Some(_)) if range.is_point() => format!("{name} = ..."),
            (Some(_), Some(_)) => format!("... <= {name} <= ..."),
            (Some(_), None) => format!("{name} >= ..."),
            _ => format!("{name} <= ..."),
        }
    };
    scan.ranges.iter().map(range).collect::<Vec<_>>().join(", ")
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
