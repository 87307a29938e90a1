//! JSON out of values of any type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, LargeBinaryArray, LargeBinaryBuilder, RecordBatch, StructArray,
};
use arrow::datatypes::{DataType, Fields};
use datafusion::common::Result;
use millrace_types::json::{Json, NULL_VALUE, array, boolean, number, object, string};

use super::JsonFunction;
use super::JsonFunction as F;
use super::find::{misuse, text_of};
use crate::functions::cast::{external, own, plain, show_values};

/// The values of a column; None where it is NULL.
type Values = Vec<Option<Vec<u8>>>;

/// Works a function out for all rows.
pub(super) fn apply(which: JsonFunction, arrays: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let columns: Vec<Values> = arrays.iter().map(values).collect::<Result<_>>()?;
    let cell = |column: &Values, row: usize| -> Vec<u8> {
        column[row].clone().unwrap_or_else(|| NULL_VALUE.to_vec())
    };
    let mut out = LargeBinaryBuilder::new();
    for row in 0..rows {
        match which {
            F::ToJson => out.append_option(columns[0][row].as_deref()),
            F::BuildArray => {
                let cells: Vec<Vec<u8>> = columns.iter().map(|column| cell(column, row)).collect();
                out.append_value(array(cells.iter().map(Vec::as_slice)));
            }
            F::BuildObject => {
                let pairs = columns.chunks_exact(2).enumerate();
                let members = pairs.map(|(at, pair)| {
                    let key = pair[0][row].as_deref().map(Json::new);
                    let wrong =
                        || misuse(&format!("argument {}: key must not be null", 2 * at + 1));
                    Ok((key.and_then(text_of).ok_or_else(wrong)?, cell(&pair[1], row)))
                });
                out.append_value(object(&members.collect::<Result<Vec<_>>>()?));
            }
            _ => out.append_option(columns[0][row].as_deref().map(pairs).transpose()?),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Rows as `to_jsonb` shows them.
///
/// # Errors
/// `22003` for a number beyond `numeric`.
pub fn rows_as_json(rows: &RecordBatch) -> Result<LargeBinaryArray> {
    let rows: ArrayRef = Arc::new(StructArray::from(rows.clone()));
    Ok(values(&rows)?.iter().map(Option::as_deref).collect())
}

/// The object of a list of pairs, each an object of a key `k` and a value `v`.
fn pairs(list: &[u8]) -> Result<Vec<u8>> {
    let list = Json::new(list);
    let member = |pair: Json<'_>| {
        let key = pair.member("k").and_then(text_of);
        let key = key.ok_or_else(|| misuse("field name must not be null"))?;
        let value = pair.member("v").map_or(NULL_VALUE, Json::bytes);
        Ok((key, value.to_vec()))
    };
    Ok(object(&list.elements().map(member).collect::<Result<Vec<_>>>()?))
}

/// A column as JSON: numbers and truth values as they are, times as ISO 8601 has them, lists and
/// structs part by part, all else as its text.
/// The keys of a record's members: the fields of `ROW(...)` have no names of their own, PostgreSQL counts
/// them from 1.
fn names(fields: &Fields) -> Vec<String> {
    let is_row = (0..).zip(fields).all(|(at, field): (usize, _)| *field.name() == format!("c{at}"));
    match is_row {
        true => (1..=fields.len()).map(|place| format!("f{place}")).collect(),
        false => fields.iter().map(|field| field.name().clone()).collect(),
    }
}

fn values(column: &ArrayRef) -> Result<Values> {
    let present = |row: usize| column.is_valid(row);
    Ok(match column.data_type() {
        DataType::Null => vec![None; column.len()],
        DataType::LargeBinary => {
            column.as_binary::<i64>().iter().map(|value| value.map(<[u8]>::to_vec)).collect()
        }
        DataType::Boolean => column.as_boolean().iter().map(|value| value.map(boolean)).collect(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let list = match column.data_type() {
                DataType::List(_) => Arc::clone(column),
                DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                    plain(column, &DataType::List(Arc::clone(field)))?
                }
                _ => return Err(misuse("a list")),
            };
            let list = own(list.as_list::<i32>())?;
            let inner = values(list.values())?;
            let bound = |at: usize| usize::try_from(list.value_offsets()[at]).unwrap_or(0);
            let whole = |row: usize| {
                let range = &inner[bound(row)..bound(row + 1)];
                array(range.iter().map(|value| value.as_deref().unwrap_or(NULL_VALUE)))
            };
            (0..column.len()).map(|row| present(row).then(|| whole(row))).collect()
        }
        DataType::Struct(fields) => {
            let inner: Vec<Values> =
                column.as_struct().columns().iter().map(values).collect::<Result<_>>()?;
            let names = names(fields);
            let whole = |row: usize| {
                let members = names.iter().zip(&inner).map(|(name, column)| {
                    (name.as_str(), column[row].as_deref().unwrap_or(NULL_VALUE))
                });
                object(&members.collect::<Vec<_>>())
            };
            (0..column.len()).map(|row| present(row).then(|| whole(row))).collect()
        }
        other => {
            let texts = show_values(column)?;
            let value = |text: &str| match other {
                other if other.is_numeric() => number(text).map_err(external),
                DataType::Timestamp(_, zone) => Ok(string(&iso(text, zone.is_some()))),
                _ => Ok(string(text)),
            };
            texts.iter().map(|text| text.map(value).transpose()).collect::<Result<_>>()?
        }
    })
}

/// `2024-01-02 03:04:05+00` as `2024-01-02T03:04:05+00:00`.
fn iso(text: &str, zoned: bool) -> String {
    let text = text.replacen(' ', "T", 1);
    if zoned && text.ends_with("+00") { text + ":00" } else { text }
}
