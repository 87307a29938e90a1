//! The stored form of rows that failed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millrace_types::Delta;

use crate::operator::{Error, ErrorRow};

/// Columns of the failed rows of a view, sorted by the first: key, SQLSTATE, message.
pub fn error_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("code", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
    ]))
}

/// Failed rows that come or go.
pub(super) fn error_rows(rows: &[ErrorRow]) -> Result<Vec<Delta>, Error> {
    let text = |of: fn(&ErrorRow) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let columns = vec![text(|row| &row.key), text(|row| &row.code), text(|row| &row.message)];
    let weights = rows.iter().map(|row| row.weight).collect::<Vec<_>>();
    let batch = RecordBatch::try_new(error_schema(), columns)?;
    Ok(vec![Delta::new(batch, Int64Array::from(weights))])
}
