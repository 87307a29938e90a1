//! DataFusion's batch answer to the query of a view.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::prelude::SessionContext;

use super::sql::{Sql, Tables};

/// Answers queries over tables that are in memory.
pub(super) struct Batch {
    runtime: tokio::runtime::Runtime,
    tables: Tables,
}

impl Batch {
    /// Without tables.
    pub(super) fn new() -> Batch {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Batch { runtime, tables: Tables(BTreeMap::new()) }
    }

    /// Gives a table its rows.
    pub(super) fn set(&mut self, name: &str, schema: &SchemaRef, rows: Vec<RecordBatch>) {
        // What the optimizer has learned of NULLs is in the rows' schema, not in the plan's.
        let fields = schema.fields().iter();
        let nullable = fields.map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let same = |rows: RecordBatch| {
            let columns = rows.columns().to_vec();
            RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns of the schema")
        };
        let rows = rows.into_iter().map(same).collect();
        let table = MemTable::try_new(schema, vec![rows]).expect("rows of the schema");
        self.tables.0.insert(name.into(), provider_as_source(Arc::new(table)));
    }

    /// The answer to a query, and its schema.
    pub(super) fn answer(&self, sql: &Sql, text: &str) -> (SchemaRef, Vec<RecordBatch>) {
        let plan = sql.bind(text, &self.tables).expect("it was bound before");
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let context = SessionContext::new_with_state(sql.state().clone());
        let rows = self.runtime.block_on(async {
            context.execute_logical_plan(plan).await.expect("a batch plan").collect().await
        });
        (schema, rows.expect("a batch answer"))
    }
}
