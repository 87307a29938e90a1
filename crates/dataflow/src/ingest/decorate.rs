//! Computed columns: from a connector's chunk to rows in the source's full schema.
//!
//! A row for which a computed column cannot be evaluated is a bad row like one that cannot be
//! decoded: it is counted and kept, and costs only itself.
//!
//! `PROCTIME()` is the time at which a chunk is read; a gate whose epochs are logged puts the epoch's own
//! in its place ([`stamped`]).

use std::collections::BTreeSet;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::physical_expr::utils::collect_columns;
use millrace_plan::{Computed, Scalar};
use millrace_types::{OFFSET_COLUMN, PartitionId};

use crate::chain::attempt;
use crate::source::{BadRow, Chunk, Columns};

/// A chunk with all columns of the source.
#[derive(Clone, Debug)]
pub struct Decorated {
    /// The partition.
    pub partition: PartitionId,
    /// The offset where the chunk starts.
    pub from: i64,
    /// The offset after it.
    pub to: i64,
    /// Rows in the source's full schema.
    pub rows: RecordBatch,
    /// Messages and rows that are not among `rows`, ascending by offset.
    pub bad: Vec<BadRow>,
    /// Bytes as they came.
    pub bytes: usize,
    /// The partition was read to its confirmed end.
    pub at_end: bool,
}

impl Decorated {
    /// What lies below an offset, and what does not.
    pub(crate) fn split(&self, offset: i64) -> (Decorated, Decorated) {
        let count = rows_below(&self.rows, offset);
        let (mut before, mut after) = (self.clone(), self.clone());
        before.rows = self.rows.slice(0, count);
        after.rows = self.rows.slice(count, self.rows.num_rows() - count);
        before.bad.retain(|bad| bad.offset < offset);
        after.bad.retain(|bad| bad.offset >= offset);
        (before.to, after.from, before.at_end, before.bytes) = (offset, offset, false, 0);
        (before, after)
    }
}

/// How many leading rows have an offset below `end`. Rows are in offset order.
pub(crate) fn rows_below(rows: &RecordBatch, end: i64) -> usize {
    let Some(column) = rows.column_by_name(OFFSET_COLUMN) else { return rows.num_rows() };
    column.as_primitive::<Int64Type>().values().partition_point(|offset| *offset < end)
}

/// Where one column of the full schema comes from.
enum Column {
    Read(usize),
    Computed(Scalar),
    ReadTime,
}

/// Computes the full rows of one source.
pub struct Decorator {
    schema: SchemaRef,
    columns: Vec<Column>,
}

impl Decorator {
    /// `computed` names the positions in `full` of the computed columns and what gives them; the
    /// other columns come from the connector in order.
    pub fn new(full: SchemaRef, computed: Vec<(usize, Computed)>) -> Decorator {
        let mut columns = Vec::with_capacity(full.fields().len());
        let mut read = 0;
        for position in 0..full.fields().len() {
            match computed.iter().find(|(at, _)| *at == position) {
                Some((_, Computed::Scalar(scalar))) => {
                    columns.push(Column::Computed(scalar.clone()));
                }
                Some((_, Computed::ReadTime)) => columns.push(Column::ReadTime),
                None => {
                    columns.push(Column::Read(read));
                    read += 1;
                }
            }
        }
        Decorator { schema: full, columns }
    }

    /// The full schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns that hold the time of reading.
    pub fn read_times(&self) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        columns.filter(|(_, c)| matches!(c, Column::ReadTime)).map(|(at, _)| at).collect()
    }

    /// The connector's columns for who reads `columns` of the full schema. Those that computed columns
    /// are made of are always among them: a row for which one fails is bad for everybody.
    pub fn reads(&self, columns: impl IntoIterator<Item = usize>) -> Columns {
        let mut read = BTreeSet::new();
        for column in columns {
            if let Some(Column::Read(index)) = self.columns.get(column) {
                read.insert(*index);
            }
        }
        for column in &self.columns {
            if let Column::Computed(scalar) = column {
                read.extend(collect_columns(&scalar.0).iter().map(|column| column.index()));
            }
        }
        Columns::some(read)
    }

    /// Adds the computed columns. `now` is the time of reading, microseconds.
    pub fn decorate(&self, chunk: Chunk, now: i64) -> Decorated {
        let mut bad = chunk.bad;
        let rows = match self.evaluate(&chunk.rows, now) {
            Ok(rows) => rows,
            Err(_) => self.evaluate_parts(&chunk.rows, now, &mut bad),
        };
        bad.sort_by_key(|row| row.offset);
        Decorated {
            partition: chunk.partition,
            from: chunk.from,
            to: chunk.to,
            rows,
            bad,
            bytes: chunk.bytes,
            at_end: chunk.at_end,
        }
    }

    /// Halves the rows until those that fail stand alone.
    fn evaluate_parts(&self, rows: &RecordBatch, now: i64, bad: &mut Vec<BadRow>) -> RecordBatch {
        let mut good = Vec::new();
        let mut open = vec![rows.clone()];
        while let Some(part) = open.pop() {
            match self.evaluate(&part, now) {
                Ok(rows) => good.push(rows),
                Err(error) if part.num_rows() <= 1 => {
                    let offset = part.column_by_name(OFFSET_COLUMN).map_or(0, |offsets| {
                        offsets.as_primitive::<Int64Type>().values().first().copied().unwrap_or(0)
                    });
                    bad.push(BadRow { offset, reason: error, raw: Vec::new() });
                }
                Err(_) => {
                    let half = part.num_rows() / 2;
                    open.push(part.slice(half, part.num_rows() - half));
                    open.push(part.slice(0, half));
                }
            }
        }
        concat_batches(&self.schema, &good)
            .unwrap_or_else(|_| RecordBatch::new_empty(self.schema.clone()))
    }

    fn evaluate(&self, rows: &RecordBatch, now: i64) -> Result<RecordBatch, String> {
        let column = |(position, column): (usize, &Column)| -> Result<ArrayRef, String> {
            let wanted = self.schema.field(position).data_type();
            let array = match column {
                Column::Read(index) => rows.column(*index).clone(),
                Column::Computed(scalar) => attempt(std::slice::from_ref(scalar), rows)
                    .map_err(|failure| failure.message)?
                    .swap_remove(0),
                Column::ReadTime => times(now, rows.num_rows(), wanted),
            };
            match array.data_type() == wanted {
                true => Ok(array),
                false => cast(&array, wanted).map_err(|error| error.to_string()),
            }
        };
        let columns = self.columns.iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|error| error.to_string())
    }
}

/// The rows with another time in some columns.
pub(crate) fn stamped(rows: RecordBatch, columns: &[usize], time: i64) -> RecordBatch {
    if columns.is_empty() || rows.num_rows() == 0 {
        return rows;
    }
    let count = rows.num_rows();
    let (schema, mut arrays, _) = rows.into_parts();
    for column in columns {
        arrays[*column] = times(time, count, schema.field(*column).data_type());
    }
    RecordBatch::try_new(schema, arrays).expect("times take the place of times")
}

/// One time for all rows, in the column's type.
fn times(time: i64, rows: usize, wanted: &DataType) -> ArrayRef {
    let zone = match wanted {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    Arc::new(TimestampMicrosecondArray::from_value(time, rows).with_timezone_opt(zone))
}
