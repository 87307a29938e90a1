//! A materialized view as a DataFusion table, at one epoch.
//!
//! Comparisons of a column with a literal decide which order of the rows is read, the view's own or
//! that of an index, and prune the blocks that are read; DataFusion filters what is left. Where the
//! leading columns are bound to some values each ([`values`]), those keys are looked up.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Between, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use millrace_storage::{ColumnRange, Points, Scan, Snapshot};
use parking_lot::Mutex;

use super::pending::PendingRows;
use super::values::{Values, collect_values, is_exact, points};
use super::view_scan::{Names, ViewScan};

/// See the module's documentation.
pub struct ViewProvider {
    name: String,
    schema: SchemaRef,
    snapshot: OnceLock<Arc<Snapshot>>,
    /// Other orders of the same rows at the same epoch.
    indexes: Mutex<Vec<(String, Arc<Snapshot>)>>,
    /// Only the rows with these keys are asked for.
    asked: Mutex<Option<Arc<Points>>>,
    /// What the transaction that reads has changed.
    pending: Option<Arc<PendingRows>>,
}

impl ViewProvider {
    /// A table with the view's stored schema; what it reads is pinned before it runs. With `asked` it
    /// has the rows with these keys alone.
    pub fn new(name: String, schema: SchemaRef, asked: Option<Arc<Points>>) -> ViewProvider {
        let (snapshot, indexes) = Default::default();
        ViewProvider { name, schema, snapshot, indexes, asked: Mutex::new(asked), pending: None }
    }

    /// The same, with what a transaction has changed in it.
    #[must_use]
    pub fn changed(mut self, pending: Option<Arc<PendingRows>>) -> ViewProvider {
        self.pending = pending;
        self
    }

    /// It has all rows after all.
    pub fn ask_for_all(&self) {
        *self.asked.lock() = None;
    }

    /// Decides what is read; later calls change nothing.
    pub fn pin(&self, snapshot: Snapshot) {
        self.snapshot.get_or_init(|| Arc::new(snapshot));
    }

    /// Adds an index that may be read instead.
    pub fn pin_index(&self, name: String, snapshot: Snapshot) {
        self.indexes.lock().push((name, Arc::new(snapshot)));
    }

    /// What is read for the rows of one key, of which these columns are wanted; None if the values are not those
    /// of the key's columns, all of them and no others.
    ///
    /// # Errors
    /// Types that cannot be a key.
    pub fn one_key(
        &self,
        values: &Values,
        columns: Vec<usize>,
    ) -> Result<Option<(Arc<Snapshot>, Scan)>> {
        let Some(snapshot) = self.snapshot.get().filter(|_| self.pending.is_none()) else {
            return Ok(None);
        };
        let sort = snapshot.sort();
        let is_bound = |column: &usize| {
            values.contains_key(column) && is_exact(self.schema.field(*column).data_type())
        };
        if values.len() != sort.len() || !sort.iter().all(is_bound) || self.asked.lock().is_some() {
            return Ok(None);
        }
        let points = points(sort, values)?.map(Arc::new);
        let range = |(column, value): (&usize, &ArrayRef)| ColumnRange {
            column: *column,
            min: Some(Arc::clone(value)),
            max: Some(Arc::clone(value)),
        };
        let ranges = values.iter().map(range).collect();
        let scan = Scan { columns: Some(columns), ranges, points, after: None };
        Ok(Some((Arc::clone(snapshot), scan)))
    }

    /// What is read, with the name of the index if it is one: where the most of the leading columns
    /// are bound, the view itself if an index bounds no more.
    fn choose(
        &self,
        ranges: &[ColumnRange],
        values: &Values,
    ) -> Option<(Option<String>, Arc<Snapshot>)> {
        let own = self.snapshot.get()?.clone();
        let mut best = (bounded(own.sort(), ranges, values), None, own);
        for (name, snapshot) in self.indexes.lock().iter() {
            let found = bounded(snapshot.sort(), ranges, values);
            if found > best.0 {
                best = (found, Some(name.clone()), snapshot.clone());
            }
        }
        Some((best.1, best.2))
    }
}

/// How many leading columns are bound to some values, and whether the next one is bound at all.
fn bounded(sort: &[usize], ranges: &[ColumnRange], values: &Values) -> (usize, bool) {
    let equal = sort.iter().take_while(|column| values.contains_key(column)).count();
    let next = sort.get(equal);
    (equal, next.is_some_and(|column| ranges.iter().any(|range| range.column == *column)))
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
        let (mut ranges, mut values) = (Vec::new(), Values::new());
        for filter in filters {
            collect_ranges(filter, &self.schema, &mut ranges);
            collect_values(filter, &self.schema, &mut values);
        }
        let unpinned = || DataFusionError::Internal("a view was read before its epoch".into());
        let asked = self.asked.lock().clone();
        let (index, snapshot) = match &asked {
            Some(_) => self.snapshot.get().map(|own| (None, own.clone())),
            None => self.choose(&ranges, &values),
        }
        .ok_or_else(unpinned)?;
        let asked = match asked {
            Some(asked) => Some(asked),
            None => points(snapshot.sort(), &values)?.map(Arc::new),
        };
        let (mut columns, mut changed) = (projection.cloned(), None);
        if let Some(pending) = &self.pending {
            let shown = columns.unwrap_or_else(|| (0..self.schema.fields().len()).collect());
            columns = Some(pending.read(shown.clone()));
            changed = Some((Arc::clone(pending), shown));
        }
        let scan = Scan { columns, ranges, points: asked, after: None };
        // With filters left above, a limit may not cut the scan short.
        let limit = if filters.is_empty() { limit } else { None };
        let names = Names { table: self.name.clone(), index, bounds: bounds(&scan, &self.schema) };
        Ok(Arc::new(ViewScan::new(names, schema, snapshot, scan, limit).changed(changed)))
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
    let ranges = scan.ranges.iter().map(range);
    // One key is what the ranges say already.
    let keys = scan.points.as_ref().map(|points| points.len()).filter(|keys| *keys != 1);
    ranges.chain(keys.map(|keys| format!("{keys} keys"))).collect::<Vec<_>>().join(", ")
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

pub(super) fn column_of(expr: &Expr, schema: &SchemaRef) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of(&column.name).ok(),
        _ => None,
    }
}

pub(super) fn literal_of(expr: &Expr) -> Option<&ScalarValue> {
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
