//! The rows of `millrace.source_errors` and `millrace.late_rows`: how they are made, and found again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, LargeBinaryArray,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Int64Type;
use millrace_dataflow::ingest::BadMessage;
use millrace_dataflow::operator::{LateRow, LateRows};
use millrace_sql::{Catalog, Kind, Object, ROW_ID_COLUMN, Table, TableColumn, rows_as_json};
use millrace_storage::{ColumnRange, Scan};
use millrace_types::{Epoch, ObjectId, SqlType, TIME_ZONE, Ts, is_hidden};

use super::{Key, Late};
use crate::error::ServerError;
use crate::shared::Shared;

/// The hidden column that holds a row's key.
pub(super) const KEY_COLUMN: &str = ROW_ID_COLUMN;
/// The hidden column that holds the number of a row's source.
pub(super) const SOURCE_COLUMN: &str = "_key_source";
/// The hidden column that holds the number of a late row's view.
pub(super) const VIEW_COLUMN: &str = "_key_view";

fn table(columns: &[(&str, SqlType)]) -> Table {
    let column = |(name, sql_type): &(&str, SqlType)| TableColumn {
        name: (*name).to_owned(),
        sql_type: sql_type.clone(),
        length: None,
        not_null: false,
        default: None,
        identity: None,
    };
    Table::new(columns.iter().map(column).collect(), Vec::new())
}

/// The table of messages that are no rows.
pub(super) fn errors_table() -> Table {
    table(&[
        ("source", SqlType::Text),
        ("topic", SqlType::Text),
        ("partition", SqlType::Integer),
        ("offset", SqlType::BigInt),
        ("reason", SqlType::Text),
        ("raw", SqlType::Bytea),
        ("time", SqlType::TimestampTz),
        (SOURCE_COLUMN, SqlType::BigInt),
    ])
}

/// The table of rows that were turned away.
pub(super) fn late_table() -> Table {
    table(&[
        ("view", SqlType::Text),
        ("source", SqlType::Text),
        ("partition", SqlType::Integer),
        ("offset", SqlType::BigInt),
        ("window_end", SqlType::TimestampTz),
        ("event_time", SqlType::TimestampTz),
        ("watermark", SqlType::TimestampTz),
        ("row", SqlType::Jsonb),
        (VIEW_COLUMN, SqlType::BigInt),
        (SOURCE_COLUMN, SqlType::BigInt),
    ])
}

fn texts<S: AsRef<str>>(values: impl Iterator<Item = Option<S>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone(TIME_ZONE))
}

fn ids(values: impl Iterator<Item = ObjectId>) -> ArrayRef {
    Arc::new(values.map(|id| Some(i64::from(id.0))).collect::<Int64Array>())
}

fn of(table: &Table, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::clone(table.full_schema()), columns).expect("columns fit the table")
}

/// Messages as rows of their table, with their hidden keys and sources.
pub(super) fn error_rows(
    objects: &BTreeMap<ObjectId, Arc<Object>>,
    bad: &[(i64, ObjectId, &BadMessage)],
) -> RecordBatch {
    let name = |id: ObjectId| objects.get(&id).map(|object| object.name.clone());
    let topic = |id: ObjectId| objects.get(&id)?.source()?.options.get("topic").cloned();
    let raw = bad.iter().map(|(.., message)| Some(message.row.raw.as_slice()));
    of(
        &errors_table(),
        vec![
            texts(bad.iter().map(|(_, source, _)| name(*source))),
            texts(bad.iter().map(|(_, source, _)| topic(*source))),
            Arc::new(bad.iter().map(|(.., m)| Some(m.partition.0)).collect::<Int32Array>()),
            Arc::new(bad.iter().map(|(.., m)| Some(m.row.offset)).collect::<Int64Array>()),
            texts(bad.iter().map(|(.., m)| Some(m.row.reason.as_str()))),
            Arc::new(raw.collect::<BinaryArray>()),
            times(bad.iter().map(|(.., m)| Some(m.at))),
            ids(bad.iter().map(|(_, source, _)| *source)),
            Arc::new(bad.iter().map(|(row, ..)| Some(*row)).collect::<Int64Array>()),
        ],
    )
}

/// What a view has turned away as rows of the table, each once. Runs on the thread of the worker.
pub(in crate::coordinator) fn late_rows(
    shared: &Shared,
    view: ObjectId,
    ts: Ts,
    rows: Vec<LateRows>,
) -> Late {
    let catalog = shared.catalog();
    let below = sources_below(&catalog, view);
    let (mut seen, mut keys) = (BTreeSet::new(), Vec::new());
    let mut late: Vec<(LateRow, Option<Vec<u8>>)> = Vec::new();
    for LateRows { late: found, rows } in rows {
        let written = rows.and_then(|rows| written(&rows));
        for (at, row) in found.into_iter().enumerate() {
            let (source, place) = (row.source, (row.partition, row.offset));
            let key = Key { view, source, place, window_end: row.window_end };
            if seen.insert(key) {
                keys.push(key);
                late.push((row, written.as_ref().map(|rows| rows.value(at).to_vec())));
            }
        }
    }
    let of_source = |row: &LateRow| {
        let found = catalog.get(row.source).map(|object| object.name.clone());
        Some(found.unwrap_or_else(|| below.clone()))
    };
    let row_ids = shared.row_ids(late.len());
    let rows = of(
        &late_table(),
        vec![
            // Its name is put in by who knows it, see `named`.
            texts(late.iter().map(|_| None::<&str>)),
            texts(late.iter().map(|(row, _)| of_source(row))),
            Arc::new(late.iter().map(|(row, _)| Some(row.partition)).collect::<Int32Array>()),
            Arc::new(late.iter().map(|(row, _)| Some(row.offset)).collect::<Int64Array>()),
            times(late.iter().map(|(row, _)| Some(row.window_end))),
            times(late.iter().map(|(row, _)| row.event_time)),
            times(late.iter().map(|(row, _)| Some(row.watermark))),
            Arc::new(late.iter().map(|(_, row)| row.as_deref()).collect::<LargeBinaryArray>()),
            ids(late.iter().map(|_| view)),
            ids(late.iter().map(|(row, _)| row.source)),
            Arc::new(row_ids.map(Some).collect::<Int64Array>()),
        ],
    );
    Late { view, ts, keys, rows }
}

/// Late rows with the name of their view.
pub(super) fn named(rows: &RecordBatch, view: Option<&str>) -> RecordBatch {
    let (schema, mut columns, count) = rows.clone().into_parts();
    columns[0] = texts(std::iter::repeat_n(view, count));
    RecordBatch::try_new(schema, columns).expect("a text takes the place of another one")
}

/// Rows as `jsonb`, without their hidden columns; None for what JSON cannot say.
fn written(rows: &RecordBatch) -> Option<LargeBinaryArray> {
    let schema = rows.schema();
    let shown = (0..rows.num_columns()).filter(|at| !is_hidden(schema.field(*at).name()));
    let shown = rows.project(&shown.collect::<Vec<_>>()).ok()?;
    rows_as_json(&shown).inspect_err(|error| tracing::warn!(%error, "a late row as JSON")).ok()
}

/// The names of the sources below a view, joined by a comma.
fn sources_below(catalog: &Catalog, view: ObjectId) -> String {
    let (mut open, mut names) = (vec![view], BTreeSet::new());
    while let Some(object) = open.pop().and_then(|id| catalog.get(id)) {
        match &object.kind {
            Kind::Source(_) => drop(names.insert(object.name.clone())),
            Kind::Table(table) if table.feed.is_some() => drop(names.insert(object.name.clone())),
            Kind::Table(_) | Kind::Index(_) | Kind::Sink(_) => {}
            Kind::MaterializedView(_) | Kind::View(_) => open.extend(object.depends_on()),
        }
    }
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn numbers<'a>(rows: &'a RecordBatch, column: &str) -> &'a arrow::array::Int64Array {
    rows.column_by_name(column).expect("the tables have it").as_primitive::<Int64Type>()
}

/// The hidden key of a row.
pub(super) fn row_id(rows: &RecordBatch, at: usize) -> i64 {
    numbers(rows, KEY_COLUMN).value(at)
}

/// What tells the rows of a stored batch apart, with their hidden keys.
pub(super) fn keys(rows: &RecordBatch) -> Vec<(i64, Key)> {
    use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
    let number = |column: &str, at: usize| {
        let value = numbers(rows, column).value(at);
        ObjectId(u32::try_from(value).unwrap_or_default())
    };
    let column = |name: &str| rows.column_by_name(name);
    let partitions = column("partition").expect("both tables have it").as_primitive::<Int32Type>();
    let ends = column("window_end").map(|ends| ends.as_primitive::<TimestampMicrosecondType>());
    let key = |at: usize| Key {
        view: column(VIEW_COLUMN).map(|_| number(VIEW_COLUMN, at)).unwrap_or_default(),
        source: number(SOURCE_COLUMN, at),
        place: (partitions.value(at), numbers(rows, "offset").value(at)),
        window_end: ends.map_or(0, |ends| ends.value(at)),
    };
    (0..rows.num_rows()).map(|at| (row_id(rows, at), key(at))).collect()
}

/// Some of the rows.
pub(super) fn only(rows: &RecordBatch, wanted: Vec<bool>) -> RecordBatch {
    filter_record_batch(rows, &BooleanArray::from(wanted)).expect("one flag for each row")
}

/// The oldest rows of a table at an epoch: up to a hidden key, and no more than so many.
pub(super) fn oldest(
    content: &millrace_storage::Table,
    epoch: Epoch,
    last: i64,
    count: usize,
) -> Result<Option<RecordBatch>, ServerError> {
    let snapshot = match content.snapshot(epoch) {
        // A checkpoint has just passed it by: the next seal tries again.
        Err(millrace_storage::Error::TooOld { .. }) => return Ok(None),
        found => found?,
    };
    let schema = snapshot.schema();
    let column = schema.index_of(KEY_COLUMN).expect("the tables have it");
    let max: ArrayRef = Arc::new(Int64Array::from(vec![last]));
    let ranges = vec![ColumnRange { column, min: None, max: Some(max) }];
    let (mut found, mut rows) = (Vec::new(), 0);
    for batch in snapshot.scan(Scan { ranges, ..Scan::default() }) {
        let batch = batch?;
        let wanted = numbers(&batch, KEY_COLUMN).values().iter().map(|row| *row <= last);
        let batch = only(&batch, wanted.collect());
        rows += batch.num_rows();
        found.push(batch);
        if rows >= count {
            break;
        }
    }
    let found = concat_batches(&schema, &found).expect("batches of one table");
    Ok((found.num_rows() > 0).then(|| found.slice(0, found.num_rows().min(count))))
}
