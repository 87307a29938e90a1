//! CREATE TABLE AS and SELECT INTO: a table that begins with the rows of a query.
//!
//! The session runs the query; the coordinator logs the rows and then the table (`coordinator/tables`), so
//! that a crash leaves both or nothing.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use millrace_sql::{Kind, Object, Table, TableColumn, ast};
use millrace_types::{Delta, ObjectId, Report};

use super::change::{canonical, internal, too_large};
use super::query::{Asked, bound, hint};
use super::relations::written;
use super::{Conn, report_of};
use crate::coordinator::{CHANGE_BYTES_MAX, Request};
use crate::queries::Running;

impl Conn {
    /// Makes the table; its command tag says how many rows it has.
    pub(super) async fn create_table_as(
        &mut self,
        create: ast::CreateTableAs,
        text: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<String, Report> {
        let done = || "CREATE TABLE AS".to_owned();
        if self.exists(&create.name, create.if_not_exists).await? {
            return Ok(done());
        }
        let running = self.shared.queries.begin(text);
        let tables = Arc::new(self.tables()?);
        let asked = Asked {
            query: create.query.as_ref().clone(),
            text: text.to_owned(),
            hints: parameters.iter().map(|value| hint(&value.data_type())).collect(),
            values: Some(parameters),
            opened: None,
        };
        let (found, state) = bound(&running, &tables, self.state(), asked).await?;
        self.check_reads(&found, None)?;
        let (plan, columns) = millrace_sql::rows_of_table(found, &create.columns)?;
        let name = create.name.name;
        let sql = definition(&name, &columns);
        let table = Table::new(columns, Vec::new());
        let rows = match create.with_data {
            true => {
                self.pin_well(&tables).await?;
                Some(self.gathered(running, state, plan, &table).await?)
            }
            false => None,
        };
        let (id, kind, access) = (ObjectId::default(), Kind::Table(table), self.own_access()?);
        let object = Box::new(Object { id, name, kind, sql, access });
        let Some(rows) = rows else {
            self.ask(|reply| Request::Create(object, reply)).await?;
            return Ok(done());
        };
        let count = rows.rows.num_rows();
        match count {
            0 => self.ask(|reply| Request::Create(object, reply)).await?,
            _ => self.ask(|reply| Request::CreateTableAs(object, rows, reply)).await?,
        }
        Ok(format!("SELECT {count}"))
    }

    /// The rows of a query, with the types of a table and its hidden key.
    async fn gathered(
        &self,
        running: Running,
        state: datafusion::execution::SessionState,
        plan: LogicalPlan,
        table: &Table,
    ) -> Result<Delta, Report> {
        let schema = table.full_schema();
        let mut stream = running.rows(state, plan).await?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| report_of(&error))?;
            let mut columns = batch.columns().to_vec();
            let ids = self.shared.row_ids(batch.num_rows());
            columns.push(Arc::new(Int64Array::from_iter_values(ids)));
            let columns = canonical(schema, columns)?;
            let batch = RecordBatch::try_new(Arc::clone(schema), columns);
            let batch = batch.map_err(|error| internal(&error))?;
            bytes += Delta::constant(batch.clone(), 1).bytes();
            if bytes > CHANGE_BYTES_MAX {
                return Err(too_large());
            }
            batches.push(batch);
        }
        let rows = concat_batches(schema, &batches).map_err(|error| internal(&error))?;
        Ok(Delta::constant(rows, 1))
    }
}

/// The statement that makes a table with such columns.
fn definition(name: &str, columns: &[TableColumn]) -> String {
    let column =
        |column: &TableColumn| format!("{} {}", written(&column.name), column.sql_type.name());
    let columns: Vec<String> = columns.iter().map(column).collect();
    format!("CREATE TABLE {} ({})", written(name), columns.join(", "))
}
