//! `millrace.view_errors`: what failed in views.
//!
//! The rows are read when the query runs, not when it is bound: by then it has waited until every
//! view is as far as its session has seen (`QueryTables::pin`), so that a view which is still
//! reading its log again is never left out in silence.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use millrace_dataflow::runtime::error_schema;
use millrace_sql::Catalog;
use millrace_storage::{Scan, Table};
use millrace_types::{Epoch, ObjectId};

use super::system::{batch, text};
use crate::shared::{Shared, ViewStatus};

/// The name of the table.
pub(super) const VIEW_ERRORS: &str = "view_errors";

/// See the module's documentation.
pub(super) struct ViewErrors {
    shared: Arc<Shared>,
    schema: SchemaRef,
}

impl ViewErrors {
    /// The failed rows of all views, together.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub(super) fn new(shared: Arc<Shared>) -> Result<ViewErrors> {
        let schema = shown(&shared.catalog(), &[])?.schema();
        Ok(ViewErrors { shared, schema })
    }

    /// The table of a view and the epoch to read it at; None before the view may be read.
    fn table(&self, view: ObjectId) -> Option<(Arc<Table>, Epoch)> {
        let board = self.shared.board.lock();
        let status: &ViewStatus = board.views.get(&view)?;
        // Of a view that has stopped, what was durable.
        let stopped = status.failed.is_some().then_some(board.checkpoint);
        Some((Arc::clone(&status.tables.errors), status.complete().or(stopped)?))
    }

    fn rows(&self) -> Result<RecordBatch> {
        let catalog = self.shared.catalog();
        let mut parts = Vec::new();
        for object in catalog.objects() {
            let Some((table, epoch)) = self.table(object.id) else { continue };
            let external =
                |e: millrace_storage::Error| DataFusionError::External(e.report().into());
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
        shown(&catalog, &parts)
    }
}

impl fmt::Debug for ViewErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewErrors").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ViewErrors {
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
fn shown(catalog: &Catalog, parts: &[(ObjectId, RecordBatch)]) -> Result<RecordBatch> {
    let rows = concat_batches(&error_schema(), parts.iter().map(|(_, rows)| rows))?;
    let views = parts.iter().flat_map(|(id, rows)| std::iter::repeat_n(*id, rows.num_rows()));
    let name = |id| catalog.get(id).map(|object| object.name.clone());
    let mut columns = vec![("view", text(views.map(name)))];
    columns.extend(["key", "code", "message"].into_iter().zip(rows.columns().iter().cloned()));
    batch(columns)
}
