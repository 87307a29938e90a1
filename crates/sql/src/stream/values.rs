//! Constant rows: VALUES, and a SELECT without FROM.
//!
//! They are computed while the view is planned. Each row has a number, the hidden key.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions;
use millrace_plan::{Meta, Node, Values};
use millrace_types::Report;

use super::refuse::failure;
use super::relation::{Relation, canonical, unique};
use super::translate::Planner;

/// The number of a row.
const NUMBER: &str = "_key_number";

impl Planner<'_> {
    /// A relation of constant rows.
    pub(super) fn values(&self, rows: &[Vec<Expr>], output: &DFSchema) -> Result<Relation, Report> {
        let mut fields = Vec::with_capacity(output.fields().len() + 1);
        let mut columns = Vec::with_capacity(output.fields().len() + 1);
        for (at, field) in output.fields().iter().enumerate() {
            let stored = canonical(field.data_type());
            let values = rows.iter().map(|row| self.constant(&row[at], &stored));
            let values = values.collect::<Result<Vec<ArrayRef>, Report>>()?;
            let values: Vec<&dyn arrow::array::Array> = values.iter().map(AsRef::as_ref).collect();
            columns.push(match values.is_empty() {
                true => arrow::array::new_empty_array(&stored),
                false => concat(&values).map_err(|error| failure(error.into()))?,
            });
            fields.push(Field::new(field.name(), stored, true));
        }
        let numbers: Int64Array = (0i64..).take(rows.len()).collect();
        columns.push(Arc::new(numbers));
        fields.push(Field::new(NUMBER, DataType::Int64, false));
        let key = vec![columns.len() - 1];
        let schema: SchemaRef = Arc::new(Schema::new(unique(fields)));
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns);
        let rows = rows.map_err(|error| failure(error.into()))?;
        let meta = Meta { schema, key, append_only: true, watermarks: Vec::new() };
        Ok(Relation::of(Node::Values(Values { rows, meta }), output.fields()))
    }

    fn constant(&self, expr: &Expr, stored: &DataType) -> Result<ArrayRef, Report> {
        let nothing: SchemaRef = Arc::new(Schema::empty());
        let scalar = self.physical(expr.clone(), &nothing)?.0;
        let scalar = expressions::cast(scalar, &nothing, stored.clone()).map_err(failure)?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(nothing, Vec::new(), &options);
        let row = row.map_err(|error| failure(error.into()))?;
        let value = scalar.evaluate(&row).map_err(failure)?;
        let value = ScalarValue::try_from_array(&value.into_array(1).map_err(failure)?, 0);
        value.and_then(|value| value.to_array()).map_err(failure)
    }
}
