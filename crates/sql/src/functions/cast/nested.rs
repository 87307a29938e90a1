//! Arrays and records as text, from text, and as arrays and records of other types: part by part.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray, StructArray, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::common::Result;
use millrace_types::input::{self, Item};
use millrace_types::{Report, SqlState, quote};

use super::{convert, external, show, text};

/// Texts of arrays or records as values of a type.
pub(super) fn read(texts: &StringArray, to: &DataType) -> Result<ArrayRef> {
    let item = |text: Option<&str>| match (text, to) {
        (None, _) => Ok(Item::Null),
        (Some(text), DataType::List(_)) => input::array(text).map(Item::Array),
        (Some(text), _) => Ok(Item::Text(text.to_owned())),
    };
    let items: Vec<Item> =
        texts.iter().map(item).collect::<std::result::Result<_, _>>().map_err(external)?;
    values(&items.iter().collect::<Vec<_>>(), to)
}

fn values(items: &[&Item], to: &DataType) -> Result<ArrayRef> {
    match to {
        DataType::List(field) => list(items, field),
        DataType::Struct(fields) => record(items, fields),
        _ => {
            let text = |item: &&Item| match item {
                Item::Null => Ok(None),
                Item::Text(text) => Ok(Some(text.clone())),
                Item::Array(_) => Err(dimensions()),
            };
            let texts = items.iter().map(text).collect::<Result<Vec<_>>>()?;
            text::read(&StringArray::from(texts), to)
        }
    }
}

fn malformed(detail: &str) -> datafusion::error::DataFusionError {
    let report = Report::new(SqlState::INVALID_TEXT_REPRESENTATION, "malformed array literal");
    external(report.detail(detail))
}

/// PostgreSQL takes arrays of any number of dimensions for one type.
fn dimensions() -> datafusion::error::DataFusionError {
    let report = Report::unsupported("an array with other dimensions than its type");
    external(report.hint("Two dimensions are of type integer[][]."))
}

fn list(items: &[&Item], field: &FieldRef) -> Result<ArrayRef> {
    let mut inner: Vec<&Item> = Vec::new();
    let mut lengths = Vec::with_capacity(items.len());
    let mut present = Vec::with_capacity(items.len());
    for item in items {
        let before = inner.len();
        match item {
            Item::Array(elements) => inner.extend(elements),
            Item::Null => {}
            Item::Text(_) => return Err(dimensions()),
        }
        lengths.push(inner.len() - before);
        present.push(!matches!(item, Item::Null));
    }
    let values = values(&inner, field.data_type())?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = Some(NullBuffer::from(present));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, nulls)?))
}

fn record(items: &[&Item], fields: &Fields) -> Result<ArrayRef> {
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        rows.push(match item {
            Item::Text(text) => {
                let found = input::record(text).map_err(external)?;
                if found.len() != fields.len() {
                    let code = SqlState::INVALID_TEXT_REPRESENTATION;
                    let report = Report::new(code, format!("malformed record literal: \"{text}\""));
                    let detail = format!("It has {} fields of {}.", found.len(), fields.len());
                    return Err(external(report.detail(detail)));
                }
                Some(found)
            }
            Item::Null => None,
            Item::Array(_) => return Err(malformed("An array stands where a record is wanted.")),
        });
    }
    let column = |(at, field): (usize, &FieldRef)| {
        let texts: StringArray =
            rows.iter().map(|row| row.as_ref().and_then(|row| row[at].as_deref())).collect();
        text::read(&texts, field.data_type())
    };
    let columns = fields.iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
    let nulls = NullBuffer::from(rows.iter().map(Option::is_some).collect::<Vec<_>>());
    Ok(Arc::new(StructArray::try_new_with_length(
        fields.clone(),
        columns,
        Some(nulls),
        rows.len(),
    )?))
}

/// The texts of the parts of something: truth values are one letter there.
fn part_texts(parts: &ArrayRef) -> Result<StringArray> {
    match parts.as_boolean_opt() {
        Some(flags) => {
            Ok(flags.iter().map(|flag| flag.map(|flag| if flag { "t" } else { "f" })).collect())
        }
        None => show::texts(parts),
    }
}

/// The same arrays over elements of their own: those of a part of a column are the elements of the
/// whole, of which another one may be no value.
pub(in crate::functions) fn own(list: &ListArray) -> Result<ListArray> {
    let offsets = list.offsets();
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let values = list.values().slice(place(first), place(last) - place(first));
    let moved: Vec<i32> = offsets.iter().map(|offset| offset - first).collect();
    let DataType::List(field) = list.data_type() else {
        return Err(malformed("An array is no list."));
    };
    let offsets = OffsetBuffer::new(moved.into());
    Ok(ListArray::try_new(Arc::clone(field), offsets, values, list.nulls().cloned())?)
}

/// The texts of a column of arrays.
pub(super) fn array_texts(list: &ListArray) -> Result<StringArray> {
    let list = &own(list)?;
    let nested = matches!(list.values().data_type(), DataType::List(_));
    let elements = part_texts(list.values())?;
    let mut rows = list.value_offsets().windows(2).enumerate().map(|(row, bounds)| {
        if list.is_null(row) {
            return None;
        }
        let bound = |at: usize| usize::try_from(bounds[at]).unwrap_or(0);
        let mut out = vec![b'{'];
        for at in bound(0)..bound(1) {
            out.extend(if at > bound(0) { &b","[..] } else { b"" });
            match elements.is_valid(at).then(|| elements.value(at)) {
                None => out.extend(b"NULL"),
                Some(inner) if nested => out.extend(inner.as_bytes()),
                Some(element) => quote::array_element(element.as_bytes(), &mut out),
            }
        }
        out.push(b'}');
        Some(String::from_utf8_lossy(&out).into_owned())
    });
    Ok(rows.by_ref().collect())
}

/// The texts of a column of records.
pub(super) fn record_texts(record: &StructArray) -> Result<StringArray> {
    let columns: Vec<StringArray> =
        record.columns().iter().map(part_texts).collect::<Result<_>>()?;
    let text = |row: usize| {
        let mut out = vec![b'('];
        for (at, column) in columns.iter().enumerate() {
            out.extend(if at > 0 { &b","[..] } else { b"" });
            if column.is_valid(row) {
                quote::record_field(column.value(row).as_bytes(), &mut out);
            }
        }
        out.push(b')');
        String::from_utf8_lossy(&out).into_owned()
    };
    Ok((0..record.len()).map(|row| record.is_valid(row).then(|| text(row))).collect())
}

/// Arrays of elements of another type.
pub(super) fn convert_array(array: &ArrayRef, field: &FieldRef) -> Result<ArrayRef> {
    let list = own(array.as_list::<i32>())?;
    let values = convert(list.values(), field.data_type())?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, nulls)?))
}

/// Records with fields of other types and names, in the same order.
pub(super) fn convert_record(array: &ArrayRef, fields: &Fields) -> Result<ArrayRef> {
    let record = array.as_struct();
    if record.num_columns() != fields.len() {
        let report = Report::new(SqlState::CANNOT_COERCE, "cannot cast a record to another one");
        let detail =
            format!("It has {} fields, {} are wanted.", record.num_columns(), fields.len());
        return Err(external(report.detail(detail)));
    }
    let pairs = record.columns().iter().zip(fields);
    let columns = pairs.map(|(column, field)| match column.data_type() {
        DataType::Null => Ok(new_null_array(field.data_type(), column.len())),
        _ => convert(column, field.data_type()),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let nulls = record.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, record.len())?))
}
