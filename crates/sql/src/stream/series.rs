//! `generate_series` in FROM with constant arguments: constant rows, made while the view is planned.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::source_as_provider;
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::TableScan;
use millrace_plan::{Meta, Node, Values};
use millrace_types::{Report, SqlState};

use super::refuse::failure;
use super::relation::{Relation, canonical};
use super::translate::Planner;

/// The most rows that a view keeps of a series: they are stored with its plan.
const ROWS_MAX: usize = 1_000_000;
/// Rows that are made together.
const BATCH: usize = 8192;
/// The number of a row.
const NUMBER: &str = "_key_number";

impl Planner<'_> {
    /// The rows of a series; None for another table.
    pub(super) fn series(&self, scan: &TableScan) -> Result<Option<Relation>, Report> {
        let Ok(provider) = source_as_provider(&scan.source) else { return Ok(None) };
        let Some(series) = provider.downcast_ref::<GenerateSeriesTable>() else { return Ok(None) };
        let generator = series.as_generator(BATCH).map_err(failure)?;
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(batch) = generator.write().generate_next_batch().map_err(failure)? {
            rows += batch.num_rows();
            if rows > ROWS_MAX {
                let message = format!("generate_series gives more than {ROWS_MAX} rows");
                let report = Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
                return Err(
                    report.hint("They would be stored with the view: INSERT them into a table.")
                );
            }
            batches.push(batch);
        }
        let all = provider.schema();
        let values = concat_batches(&all, &batches).map_err(|error| failure(error.into()))?;
        let field = all.field(0);
        let stored: DataType = canonical(field.data_type());
        let column = arrow::compute::cast(values.column(0), &stored);
        let column: ArrayRef = column.map_err(|error| failure(error.into()))?;
        let numbers: Int64Array = (0i64..).take(rows).collect();
        let fields = vec![
            Field::new(field.name(), stored, true),
            Field::new(NUMBER, DataType::Int64, false),
        ];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![column, Arc::new(numbers)]);
        let rows = rows.map_err(|error| failure(error.into()))?;
        let meta = Meta { schema, key: vec![1], append_only: true, watermarks: Vec::new() };
        let mut relation = Relation::of(Node::Values(Values { rows, meta }), all.fields());
        if let Some(asked) = &scan.projection {
            relation.columns = asked.iter().map(|at| relation.columns[*at].clone()).collect();
        }
        Ok(Some(relation))
    }
}
