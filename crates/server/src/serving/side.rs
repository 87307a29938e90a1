//! `millrace.late_rows` and `millrace.view_errors`: what views turned away and what failed in them.
//!
//! The rows are read when the query runs, not when it is bound: by then it has waited until every
//! view is as far as its session has seen (`QueryTables::pin`), so that a view which is still
//! reading its log again is never left out in silence.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use millrace_dataflow::runtime::{error_schema, late_schema};
use millrace_sql::{Catalog, Kind};
use millrace_storage::{Scan, Table};
use millrace_types::{Epoch, ObjectId};

use super::system::{batch, text};
use crate::shared::{Shared, ViewStatus};

/// Which of a view's side tables.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// Rows turned away.
    Late,
    /// Rows whose evaluation failed.
    Errors,
}

impl Side {
    /// The one that a table of the schema `millrace` shows.
    pub(super) fn of(name: &str) -> Option<Side> {
        match name {
            "late_rows" => Some(Side::Late),
            "view_errors" => Some(Side::Errors),
            _ => None,
        }
    }

    fn stored(self) -> SchemaRef {
        match self {
            Side::Late => late_schema(),
            Side::Errors => error_schema(),
        }
    }

    /// The table of a view and the epoch to read it at; None before the view may be read.
    fn table(self, shared: &Shared, view: ObjectId) -> Option<(Arc<Table>, Epoch)> {
        let board = shared.board.lock();
        let status: &ViewStatus = board.views.get(&view)?;
        let table = match self {
            Side::Late => &status.tables.late,
            Side::Errors => &status.tables.errors,
        };
        // Of a view that has stopped, what was durable.
        let stopped = status.failed.is_some().then_some(board.checkpoint);
        Some((Arc::clone(table), status.complete().or(stopped)?))
    }
}

/// See the module's documentation.
pub(super) struct SideTable {
    shared: Arc<Shared>,
    side: Side,
    schema: SchemaRef,
}

impl SideTable {
    /// The side tables of all views, together.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub(super) fn new(shared: Arc<Shared>, side: Side) -> Result<SideTable> {
        let schema = shown(&shared.catalog(), side, &[])?.schema();
        Ok(SideTable { shared, side, schema })
    }

    fn rows(&self) -> Result<RecordBatch> {
        let catalog = self.shared.catalog();
        let mut parts = Vec::new();
        for object in catalog.objects() {
            let Some((table, epoch)) = self.side.table(&self.shared, object.id) else { continue };
            let external = |e: millrace_storage::Error| DataFusionError::External(e.into());
            let snapshot = match table.snapshot(epoch) {
                // A checkpoint has passed the epoch by: what it holds now is as good.
                Err(millrace_storage::Error::TooOld { .. }) => {
                    table.snapshot(self.shared.store.checkpoint())
                }
                found => found,
            };
            for rows in snapshot.map_err(external)?.scan(Scan::default()) {
                parts.push((object.id, rows.map_err(external)?));
            }
        }
        shown(&catalog, self.side, &parts)
    }
}

impl fmt::Debug for SideTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SideTable").field("side", &self.side).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SideTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = MemTable::try_new(self.schema(), vec![vec![self.rows()?]])?;
        table.scan(session, projection, filters, limit).await
    }
}

/// Stored rows of some views as the table shows them.
fn shown(catalog: &Catalog, side: Side, parts: &[(ObjectId, RecordBatch)]) -> Result<RecordBatch> {
    let rows = concat_batches(&side.stored(), parts.iter().map(|(_, rows)| rows))?;
    let views = || parts.iter().flat_map(|(id, rows)| std::iter::repeat_n(*id, rows.num_rows()));
    let name = |id| catalog.get(id).map(|object| object.name.clone());
    let mut columns = vec![("view", text(views().map(name)))];
    let shown: &[&str] = match side {
        Side::Late => {
            let below: Vec<String> = parts
                .iter()
                .map(|(view, rows)| (sources_of(catalog, *view), rows.num_rows()))
                .flat_map(|(names, count)| std::iter::repeat_n(names, count))
                .collect();
            columns.push(("source", source_names(catalog, rows.column(0), &below)));
            &["partition", "offset", "window_end", "event_time", "watermark"]
        }
        Side::Errors => &["key", "code", "message"],
    };
    let stored = rows.columns().iter().skip(rows.num_columns() - shown.len());
    columns.extend(shown.iter().copied().zip(stored.cloned()));
    batch(columns)
}

/// The names of the sources of late rows; where a view passed them on, of all below that view.
fn source_names(catalog: &Catalog, ids: &ArrayRef, below: &[String]) -> ArrayRef {
    let ids = ids.as_primitive::<Int64Type>();
    let name = |(at, id): (usize, &i64)| {
        let id = ObjectId(u32::try_from(*id).unwrap_or_default());
        let found = catalog.get(id).map(|object| object.name.clone());
        Some(found.unwrap_or_else(|| below[at].clone()))
    };
    text(ids.values().iter().enumerate().map(name))
}

/// The names of the sources below a view, joined by a comma.
fn sources_of(catalog: &Catalog, view: ObjectId) -> String {
    let mut open = vec![view];
    let mut names = BTreeSet::new();
    while let Some(id) = open.pop() {
        match catalog.get(id).map(|object| (&object.kind, &object.name)) {
            Some((Kind::Source(_), name)) => drop(names.insert(name.clone())),
            Some((Kind::MaterializedView(view), _)) => open.extend(&view.depends_on),
            Some((Kind::Table(table), name)) if table.feed.is_some() => {
                names.insert(name.clone());
            }
            Some((Kind::Table(_) | Kind::Index(_) | Kind::Sink(_), _)) => {}
            Some((Kind::View(view), _)) => open.extend(&view.depends_on),
            None => {}
        }
    }
    names.into_iter().collect::<Vec<_>>().join(", ")
}
