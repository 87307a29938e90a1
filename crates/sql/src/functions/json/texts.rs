//! `jsonb_object`: an object of texts, of one array of keys and values in turn, of an array of pairs, or of two arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryBuilder, ListArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use millrace_types::SqlState;
use millrace_types::json::{NULL_VALUE, object, string};

use crate::functions::cast::{convert, own, plain};
use crate::functions::user_error;

/// A column of arrays.
struct Texts {
    lists: ListArray,
    values: StringArray,
    /// Elements of an array of each row, where it has two dimensions.
    width: Option<ListArray>,
}

impl Texts {
    fn of(array: &ArrayRef) -> Result<Option<Texts>> {
        let array = match array.data_type() {
            DataType::Null => return Ok(None),
            found if found.is_string() => {
                convert(array, &DataType::new_list(DataType::Utf8, true))?
            }
            _ => Arc::clone(array),
        };
        let lists = own(array.as_list::<i32>())?;
        let (width, values) = match lists.values().as_list_opt::<i32>() {
            Some(inner) => {
                let inner = own(inner)?;
                if inner.values().data_type().is_nested() {
                    return Err(wrong("wrong number of array subscripts"));
                }
                let values = plain(inner.values(), &DataType::Utf8)?;
                (Some(inner), values)
            }
            None => (None, plain(lists.values(), &DataType::Utf8)?),
        };
        Ok(Some(Texts { lists, values: values.as_string::<i32>().clone(), width }))
    }

    /// The texts of a row, and how many stand in one of its arrays.
    fn row(&self, row: usize) -> Option<(Vec<Option<&str>>, Option<usize>)> {
        if self.lists.is_null(row) {
            return None;
        }
        let bound =
            |list: &ListArray, at: usize| usize::try_from(list.value_offsets()[at]).unwrap_or(0);
        let (from, until) = (bound(&self.lists, row), bound(&self.lists, row + 1));
        let text = |at: usize| self.values.is_valid(at).then(|| self.values.value(at));
        Some(match &self.width {
            Some(inner) if from < until => {
                let places = bound(inner, from)..bound(inner, until);
                let width = places.len() / (until - from);
                (places.map(text).collect(), Some(width))
            }
            _ => ((from..until).map(text).collect(), None),
        })
    }
}

/// Makes the objects of all rows.
pub(super) fn apply(arrays: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let columns = arrays.iter().map(Texts::of).collect::<Result<Vec<_>>>()?;
    let mut out = LargeBinaryBuilder::new();
    for row in 0..rows {
        let given: Option<Vec<_>> =
            columns.iter().map(|column| column.as_ref()?.row(row)).collect();
        match given.as_deref() {
            Some([one]) => out.append_value(of_pairs(one)?),
            Some([(keys, None), (items, None)]) => {
                if keys.len() != items.len() {
                    return Err(wrong("mismatched array dimensions"));
                }
                out.append_value(made(keys.iter().zip(items))?);
            }
            Some(_) => return Err(wrong("wrong number of array subscripts")),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn wrong(message: &str) -> datafusion::error::DataFusionError {
    user_error(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
}

fn of_pairs((texts, width): &(Vec<Option<&str>>, Option<usize>)) -> Result<Vec<u8>> {
    match width {
        Some(2) | None if texts.len().is_multiple_of(2) => {
            made(texts.chunks_exact(2).map(|pair| (&pair[0], &pair[1])))
        }
        None => Err(wrong("array must have even number of elements")),
        Some(_) => Err(wrong("array must have two columns")),
    }
}

fn made<'a>(
    pairs: impl Iterator<Item = (&'a Option<&'a str>, &'a Option<&'a str>)>,
) -> Result<Vec<u8>> {
    let member = |(key, item): (&Option<&str>, &Option<&str>)| {
        let null = || {
            user_error(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key")
        };
        let key = key.ok_or_else(null)?.to_owned();
        Ok((key, item.map_or_else(|| NULL_VALUE.to_vec(), string)))
    };
    Ok(object(&pairs.map(member).collect::<Result<Vec<_>>>()?))
}
