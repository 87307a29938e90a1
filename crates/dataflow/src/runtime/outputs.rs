//! The stored form of rows turned away and rows that failed.

use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millrace_types::{Delta, OFFSET_COLUMN, PARTITION_COLUMN, TIME_ZONE, timestamptz};

use crate::operator::{Error, ErrorRow, LateRow};

/// Columns of the late rows of a view, sorted by the first four ([`LATE_KEY`]): the source's id,
/// partition, offset, end of the window that had closed, event time, watermark.
pub fn late_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Int64, false),
        Field::new(PARTITION_COLUMN, DataType::Int32, false),
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
        Field::new("window_end", timestamptz(), false),
        Field::new("event_time", timestamptz(), true),
        Field::new("watermark", timestamptz(), false),
    ]))
}

/// How many leading columns of [`late_schema`] are the key.
pub const LATE_KEY: usize = 4;

/// Columns of the failed rows of a view, sorted by the first: key, SQLSTATE, message.
pub fn error_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("code", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
    ]))
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone(TIME_ZONE))
}

/// Late rows as insertions.
pub(super) fn late_rows(rows: &[LateRow]) -> Result<Delta, Error> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(i64::from(row.source.0))).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.partition)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| Some(row.offset)).collect::<Int64Array>()),
        times(rows.iter().map(|row| Some(row.window_end))),
        times(rows.iter().map(|row| row.event_time)),
        times(rows.iter().map(|row| Some(row.watermark))),
    ];
    Ok(Delta::constant(RecordBatch::try_new(late_schema(), columns)?, 1))
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
