//! What looks into a value and changes nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, LargeBinaryBuilder, StringBuilder};
use datafusion::common::Result;
use millrace_types::json::{Json, Kind, contains, pretty, show};
use millrace_types::{Report, SqlState};

use super::JsonFunction;
use super::JsonFunction as F;
use super::value::Arg;
use crate::functions::cast::external;

/// Works a function out for the rows without NULLs.
pub(super) fn apply(
    which: JsonFunction,
    args: &[Arg],
    rows: impl Iterator<Item = Option<usize>>,
) -> Result<ArrayRef> {
    let value = |row: usize| args[0].json(row);
    Ok(match which {
        F::Field | F::Path => {
            let mut out = LargeBinaryBuilder::new();
            for row in rows {
                let found = row.map(|row| find(which, args, row)).transpose()?.flatten();
                out.append_option(found.map(Json::bytes));
            }
            Arc::new(out.finish())
        }
        F::FieldText | F::PathText | F::TypeOf | F::Pretty => {
            let mut out = StringBuilder::new();
            for row in rows {
                let Some(row) = row else {
                    out.append_null();
                    continue;
                };
                out.append_option(match which {
                    F::TypeOf => Some(value(row).kind().name().to_owned()),
                    F::Pretty => {
                        let mut text = String::new();
                        pretty(value(row), &mut text);
                        Some(text)
                    }
                    _ => find(which, args, row)?.and_then(text_of),
                });
            }
            Arc::new(out.finish())
        }
        F::ArrayLength => {
            let length = |row: usize| match value(row).kind() {
                Kind::Array => Ok(i32::try_from(value(row).count()).unwrap_or(i32::MAX)),
                Kind::Object => Err(misuse("cannot get array length of a non-array")),
                _ => Err(misuse("cannot get array length of a scalar")),
            };
            let lengths = rows.map(|row| row.map(length).transpose());
            Arc::new(lengths.collect::<Result<Int32Array>>()?)
        }
        _ => {
            let holds = |row: usize| tell(which, args, row);
            let told = rows.map(|row| row.map(holds).transpose());
            Arc::new(told.collect::<Result<BooleanArray>>()?)
        }
    })
}

fn find<'a>(which: JsonFunction, args: &'a [Arg], row: usize) -> Result<Option<Json<'a>>> {
    let value = args[0].json(row);
    if matches!(which, F::Path | F::PathText) {
        let mut found = Some(value);
        for arg in &args[1..] {
            for step in arg.steps(row)? {
                // A NULL in a path leads nowhere.
                found = found.zip(step).and_then(|(found, step)| found.step(&step));
            }
        }
        return Ok(found);
    }
    Ok(match &args[1] {
        // A scalar stands for an array of it, as PostgreSQL keeps it.
        Arg::Whole(places) => match (value.kind(), places.value(row)) {
            (Kind::Array | Kind::Object, place) => value.element(place),
            (_, 0 | -1) => Some(value),
            _ => None,
        },
        Arg::Text(keys) => value.member(keys.value(row)),
        _ => None,
    })
}

/// A value as text: a string without its quotes; null is NULL.
pub(super) fn text_of(value: Json<'_>) -> Option<String> {
    match value.kind() {
        Kind::Null => None,
        Kind::String => value.as_str().map(str::to_owned),
        _ => {
            let mut text = String::new();
            show(value, &mut text);
            Some(text)
        }
    }
}

fn tell(which: JsonFunction, args: &[Arg], row: usize) -> Result<bool> {
    let value = args[0].json(row);
    let has = |key: &str| match value.kind() {
        Kind::Object => value.member(key).is_some(),
        Kind::Array => value.elements().any(|element| element.as_str() == Some(key)),
        Kind::String => value.as_str() == Some(key),
        _ => false,
    };
    let has = |key: &Option<String>| key.as_ref().is_some_and(|key| has(key));
    Ok(match which {
        F::Contains => contains(value, args[1].json(row)),
        F::Contained => contains(args[1].json(row), value),
        F::Exists => match &args[1] {
            Arg::Text(keys) => has(&Some(keys.value(row).to_owned())),
            _ => false,
        },
        F::ExistsAny => args[1].texts(row)?.iter().any(has),
        // A NULL among the keys asks for nothing.
        _ => args[1].texts(row)?.iter().all(|key| key.is_none() || has(key)),
    })
}

/// The error for a value of a kind that a function does not take.
pub(super) fn misuse(message: &str) -> datafusion::error::DataFusionError {
    external(Report::new(SqlState::INVALID_PARAMETER_VALUE, message))
}
