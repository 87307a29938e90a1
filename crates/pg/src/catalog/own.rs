//! `pg_prepared_statements` and `pg_cursors`: what a session has by names that no other session sees.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use millrace_types::{SqlType, TIME_ZONE};

use super::model::{CursorRow, PreparedRow};

/// `pg_prepared_statements`; every statement is planned for its values.
pub(super) fn prepared(all: &[PreparedRow]) -> DfResult<RecordBatch> {
    let texts = |value: fn(&PreparedRow) -> &str| -> ArrayRef {
        Arc::new(all.iter().map(|one| Some(value(one))).collect::<StringArray>())
    };
    let numbers = |value: fn(&PreparedRow) -> i64| -> ArrayRef {
        Arc::new(all.iter().map(|one| Some(value(one))).collect::<Int64Array>())
    };
    let from_sql = all.iter().map(|one| Some(one.from_sql)).collect::<BooleanArray>();
    table(vec![
        ("name", texts(|one| &one.name)),
        ("statement", texts(|one| &one.statement)),
        ("prepare_time", times(all.iter().map(|one| one.at))),
        ("parameter_types", types(all.iter().map(|one| Some(one.parameters.as_slice())))),
        ("result_types", types(all.iter().map(|one| one.columns.as_deref()))),
        ("from_sql", Arc::new(from_sql)),
        ("generic_plans", numbers(|_| 0)),
        ("custom_plans", numbers(|one| one.plans)),
    ])
}

/// `pg_cursors`.
pub(super) fn cursors(all: &[CursorRow]) -> DfResult<RecordBatch> {
    let texts = |value: fn(&CursorRow) -> &str| -> ArrayRef {
        Arc::new(all.iter().map(|one| Some(value(one))).collect::<StringArray>())
    };
    let flags = |value: fn(&CursorRow) -> bool| -> ArrayRef {
        Arc::new(all.iter().map(|one| Some(value(one))).collect::<BooleanArray>())
    };
    table(vec![
        ("name", texts(|one| &one.name)),
        ("statement", texts(|one| &one.statement)),
        ("is_holdable", flags(|one| one.is_held)),
        ("is_binary", flags(|_| false)),
        ("is_scrollable", flags(|_| false)),
        ("creation_time", times(all.iter().map(|one| one.at))),
    ])
}

fn table(columns: Vec<(&str, ArrayRef)>) -> DfResult<RecordBatch> {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    let times = values.map(Some).collect::<TimestampMicrosecondArray>();
    Arc::new(times.with_timezone(TIME_ZONE))
}

/// Types by their names, as `regtype[]` shows them.
fn types<'a>(values: impl Iterator<Item = Option<&'a [DataType]>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for value in values {
        for data_type in value.unwrap_or_default() {
            lists.values().append_value(name(data_type));
        }
        lists.append(value.is_some());
    }
    Arc::new(lists.finish())
}

fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::UInt32 => "oid".to_owned(),
        DataType::List(item) => format!("{}[]", name(item.data_type()).trim_end_matches("[]")),
        other => match SqlType::of_arrow(other) {
            Some(SqlType::Numeric(_)) => "numeric".to_owned(),
            Some(SqlType::Struct(_)) => "record".to_owned(),
            Some(sql) => sql.name(),
            None => "text".to_owned(),
        },
    }
}
