//! What gives a list: the elements of an array, the keys and values of an object.

use std::sync::Arc;

use arrow::array::{ArrayRef, LargeBinaryBuilder, ListBuilder, StringBuilder};
use datafusion::common::Result;
use millrace_types::json::{Json, Kind};

use super::JsonFunction;
use super::JsonFunction as F;
use super::find::{misuse, text_of};
use super::value::Arg;

/// Works a function out for the rows without NULLs; the others have no list.
pub(super) fn apply(
    which: JsonFunction,
    args: &[Arg],
    rows: impl Iterator<Item = Option<usize>>,
) -> Result<ArrayRef> {
    let mut values = ListBuilder::new(LargeBinaryBuilder::new());
    let mut texts = ListBuilder::new(StringBuilder::new());
    let is_text = matches!(which, F::ElementsText | F::Keys | F::ValuesText);
    for row in rows {
        let Some(row) = row else {
            values.append(false);
            texts.append(false);
            continue;
        };
        let value = args[0].json(row);
        check(which, value)?;
        match which {
            F::Elements => value.elements().for_each(|e| values.values().append_value(e.bytes())),
            F::Values => value.members().for_each(|(_, v)| values.values().append_value(v.bytes())),
            F::Keys => value.members().for_each(|(key, _)| texts.values().append_value(key)),
            F::ElementsText => {
                value.elements().for_each(|e| texts.values().append_option(text_of(e)));
            }
            _ => value.members().for_each(|(_, v)| texts.values().append_option(text_of(v))),
        }
        values.append(true);
        texts.append(true);
    }
    Ok(if is_text { Arc::new(texts.finish()) } else { Arc::new(values.finish()) })
}

/// The objects that records are made of: of an array, or one; NULL is a record of NULLs, but no array of any.
pub(super) fn records(
    which: JsonFunction,
    args: &[Arg],
    rows: impl Iterator<Item = Option<usize>>,
) -> Result<ArrayRef> {
    let mut values = ListBuilder::new(LargeBinaryBuilder::new());
    for row in rows {
        let Some(row) = row else {
            if which == F::Record {
                values.values().append_null();
            }
            values.append(which == F::Record);
            continue;
        };
        let value = args[0].json(row);
        match (which, value.kind()) {
            (F::Record, Kind::Object) => values.values().append_value(value.bytes()),
            (F::Record, Kind::Array) => {
                return Err(misuse("cannot call populate_composite on an array"));
            }
            (F::Record, _) => return Err(misuse("cannot call populate_composite on a scalar")),
            (_, Kind::Array) => {
                if value.elements().any(|element| element.kind() != Kind::Object) {
                    let message = "argument of jsonb_to_recordset must be an array of objects";
                    return Err(misuse(message));
                }
                value.elements().for_each(|e| values.values().append_value(e.bytes()));
            }
            _ => return Err(misuse("cannot call jsonb_to_recordset on a non-array")),
        }
        values.append(true);
    }
    Ok(Arc::new(values.finish()))
}

fn check(which: JsonFunction, value: Json<'_>) -> Result<()> {
    let elements = matches!(which, F::Elements | F::ElementsText);
    match (elements, value.kind()) {
        (true, Kind::Array) | (false, Kind::Object) => Ok(()),
        (true, Kind::Object) => Err(misuse("cannot extract elements from an object")),
        (true, _) => Err(misuse("cannot extract elements from a scalar")),
        (false, _) if which == F::Keys => {
            let what = if value.kind() == Kind::Array { "an array" } else { "a scalar" };
            Err(misuse(&format!("cannot call jsonb_object_keys on {what}")))
        }
        (false, _) => Err(misuse("cannot call jsonb_each on a non-object")),
    }
}
