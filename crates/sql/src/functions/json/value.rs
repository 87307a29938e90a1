//! Arguments, seen row by row.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeBinaryArray, ListArray, StringArray,
};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use millrace_types::input::{self, Item};
use millrace_types::json::Json;
use millrace_types::{Report, SqlType};

use crate::functions::cast::{convert, external, own, plain};
use crate::functions::type_name;

/// What an argument is to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Text is JSON text.
    Json,
    /// By its type.
    AsItIs,
}

/// An argument.
pub(super) enum Arg {
    Json(LargeBinaryArray),
    Text(StringArray),
    Whole(Int64Array),
    Flag(BooleanArray),
    Texts(ListArray, StringArray),
    /// A column of NULLs.
    Null,
}

/// True for a type that JSON is read from.
pub(super) fn is_json(data_type: &DataType) -> bool {
    matches!(data_type, DataType::LargeBinary | DataType::Null) || data_type.is_string()
}

impl Arg {
    pub(super) fn new(array: &ArrayRef, wanted: Wanted) -> Result<Arg> {
        Ok(match array.data_type() {
            DataType::Null => Arg::Null,
            DataType::LargeBinary => Arg::Json(array.as_binary::<i64>().clone()),
            from if from.is_string() && wanted == Wanted::Json => {
                let values = convert(array, &SqlType::Jsonb.arrow())?;
                Arg::Json(values.as_binary::<i64>().clone())
            }
            from if from.is_string() => {
                Arg::Text(plain(array, &DataType::Utf8)?.as_string::<i32>().clone())
            }
            from if from.is_integer() => {
                Arg::Whole(plain(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            DataType::Boolean => Arg::Flag(array.as_boolean().clone()),
            DataType::List(_) => {
                let list = own(array.as_list::<i32>())?;
                let texts = plain(list.values(), &DataType::Utf8)?;
                Arg::Texts(list, texts.as_string::<i32>().clone())
            }
            other => {
                let message = format!("an argument of a function of jsonb is {}", type_name(other));
                return Err(external(Report::unsupported(message)));
            }
        })
    }

    /// The JSON value of a row that is not NULL.
    pub(super) fn json(&self, row: usize) -> Json<'_> {
        match self {
            Arg::Json(values) => Json::new(values.value(row)),
            _ => Json::new(&[]),
        }
    }

    /// One step of a path that is given as several arguments; a list gives all of its own.
    pub(super) fn steps(&self, row: usize) -> Result<Vec<Option<String>>> {
        match self {
            Arg::Text(texts) => Ok(vec![Some(texts.value(row).to_owned())]),
            Arg::Whole(numbers) => Ok(vec![Some(numbers.value(row).to_string())]),
            other => other.texts(row),
        }
    }

    /// The text of a row that is not NULL.
    pub(super) fn text(&self, row: usize) -> &str {
        match self {
            Arg::Text(texts) => texts.value(row),
            _ => "",
        }
    }

    /// A flag, or what it is if there is none.
    pub(super) fn flag(&self, row: usize) -> bool {
        matches!(self, Arg::Flag(flags) if flags.value(row))
    }

    /// The texts of a row that is not NULL: of a list, or of an array's text.
    pub(super) fn texts(&self, row: usize) -> Result<Vec<Option<String>>> {
        Ok(match self {
            Arg::Texts(list, texts) => {
                let offsets = list.value_offsets();
                let bound = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
                let range = bound(row)..bound(row + 1);
                let text = |at: usize| texts.is_valid(at).then(|| texts.value(at).to_owned());
                range.map(text).collect()
            }
            Arg::Text(texts) => path(texts.value(row))?,
            _ => Vec::new(),
        })
    }
}

/// The elements of an array's text.
fn path(text: &str) -> Result<Vec<Option<String>>> {
    let step = |item: Item| match item {
        Item::Text(text) => Some(text),
        // No key is written like an array, and no place.
        Item::Null | Item::Array(_) => None,
    };
    Ok(input::array(text).map_err(external)?.into_iter().map(step).collect())
}
