//! Members of JSON objects as values of SQL types: the columns of `jsonb_to_record` and `jsonb_to_recordset`.
//!
//! `millrace_member_as(object, key, zero)` is the member as a value of the type of the zero: a scalar by the input
//! syntax of the type, an array element by element. No member, and null, are NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray, ListArray, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlState;
use millrace_types::json::{Json, Kind};

use super::find::text_of;
use crate::functions::cast::convert;
use crate::functions::invoke::over_columns;
use crate::functions::{no_function, user_error};

/// The name that plans have.
const MEMBER_AS: &str = "millrace_member_as";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct MemberAs {
    signature: Signature,
}

impl MemberAs {
    pub(in crate::functions) fn new() -> MemberAs {
        MemberAs { signature: Signature::any(3, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MemberAs {
    fn name(&self) -> &'static str {
        MEMBER_AS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.get(2).cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type().clone();
        over_columns(&args.args[..args.args.len().min(2)], |columns| {
            let [objects, keys] = columns else { return Err(no_function(self.name(), &[])) };
            let (objects, keys) = (objects.as_binary::<i64>(), keys.as_string::<i32>());
            let member = |row: usize| {
                let is_there = objects.is_valid(row) && keys.is_valid(row);
                let object = is_there.then(|| Json::new(objects.value(row)))?;
                object.members().find(|(key, _)| *key == keys.value(row)).map(|(_, value)| value)
            };
            let members: Vec<Option<Json<'_>>> = (0..objects.len()).map(member).collect();
            values(&members, &to)
        })
    }
}

fn values(found: &[Option<Json<'_>>], to: &DataType) -> Result<ArrayRef> {
    let found: Vec<Option<Json<'_>>> =
        found.iter().map(|value| value.filter(|value| value.kind() != Kind::Null)).collect();
    match to {
        DataType::LargeBinary => {
            let bytes = found.iter().map(|value| value.map(Json::bytes));
            Ok(Arc::new(bytes.collect::<LargeBinaryArray>()))
        }
        DataType::List(field) => list(&found, field),
        _ => {
            let texts: ArrayRef =
                Arc::new(found.iter().map(|value| text_of((*value)?)).collect::<StringArray>());
            convert(&texts, to)
        }
    }
}

fn list(found: &[Option<Json<'_>>], field: &FieldRef) -> Result<ArrayRef> {
    // Texts are literals of arrays.
    if found.iter().flatten().any(|value| value.kind() == Kind::String) {
        return mixed(found, field);
    }
    let (mut inner, mut lengths) = (Vec::new(), Vec::with_capacity(found.len()));
    for value in found {
        let before = inner.len();
        match value.map(Json::kind) {
            None => {}
            Some(Kind::Array) => inner.extend(value.iter().flat_map(|v| v.elements()).map(Some)),
            Some(_) => {
                return Err(user_error(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    "expected JSON array",
                ));
            }
        }
        lengths.push(inner.len() - before);
    }
    let values = values(&inner, field.data_type())?;
    let nulls: NullBuffer = found.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, Some(nulls))?))
}

/// Arrays of which some are written as texts: each by itself.
fn mixed(found: &[Option<Json<'_>>], field: &FieldRef) -> Result<ArrayRef> {
    let to = DataType::List(Arc::clone(field));
    let one = |value: &Option<Json<'_>>| match value {
        Some(text) if text.kind() == Kind::String => {
            let text: ArrayRef = Arc::new(StringArray::from(vec![text_of(*text)]));
            convert(&text, &to)
        }
        other => list(&[*other], field),
    };
    let parts = found.iter().map(one).collect::<Result<Vec<_>>>()?;
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok(arrow::compute::concat(&parts)?)
}
