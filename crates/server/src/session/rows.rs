//! Small results that the server makes itself: SHOW, DESCRIBE, EXPLAIN.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use millrace_pg::session::Outcome;

/// Rows of text under the given names.
pub(super) fn text_rows(
    verb: &'static str,
    names: &[&str],
    rows: Vec<Vec<Option<String>>>,
) -> Outcome {
    let fields: Vec<Field> =
        names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let column = |at: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row[at].as_deref()).collect::<StringArray>())
    };
    let columns = (0..names.len()).map(column).collect();
    let batch = RecordBatch::try_new(schema, columns).expect("as many columns as names");
    batch_rows(verb, batch)
}

/// One batch as a result.
pub(super) fn batch_rows(verb: &'static str, batch: RecordBatch) -> Outcome {
    let schema = batch.schema();
    let stream = futures::stream::iter([Ok(batch)]);
    let rows = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), stream));
    Outcome::Rows { schema, rows, verb }
}
