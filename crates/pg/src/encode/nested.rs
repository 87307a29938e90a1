//! Arrays and records.
//!
//! An array of arrays is one PostgreSQL array of more dimensions, so in binary it must be
//! rectangular; as text it is written as it is.

use arrow::array::{Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState, quote};

use super::{Column, Format, Values};
use crate::types;

/// A column of lists.
pub(super) struct List {
    offsets: OffsetBuffer<i32>,
    elements: Box<Column>,
    /// The type of what is not a list any more.
    element: u32,
}

impl List {
    pub(super) fn new(array: &ListArray, zone: Zone) -> Result<List, Report> {
        Ok(List {
            offsets: array.offsets().clone(),
            elements: Box::new(Column::new(array.values(), zone)?),
            element: types::oid(innermost(array.data_type())),
        })
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        // Offsets of a valid array are ascending and not negative.
        let at = |index: usize| usize::try_from(self.offsets[index]).unwrap_or(0);
        at(row)..at(row + 1)
    }

    pub(super) fn text(&self, row: usize, out: &mut BytesMut) -> Result<(), Report> {
        out.put_u8(b'{');
        let range = self.range(row);
        let first = range.start;
        let mut element = BytesMut::new();
        for row in range {
            if row > first {
                out.put_u8(b',');
            }
            if self.elements.is_null(row) {
                out.put_slice(b"NULL");
            } else if let Values::List(inner) = &self.elements.values {
                inner.text(row, out)?;
            } else {
                element.clear();
                self.elements.text(row, &mut element)?;
                quote::array_element(&element, out);
            }
        }
        out.put_u8(b'}');
        Ok(())
    }

    pub(super) fn binary(&self, row: usize, out: &mut BytesMut) -> Result<(), Report> {
        let mut dimensions = Vec::new();
        let mut rows: Vec<usize> = vec![row];
        let mut list = self;
        let leaves = loop {
            let length = list.range(rows[0]).len();
            if rows.iter().any(|row| list.range(*row).len() != length) {
                return Err(ragged());
            }
            let below: Vec<usize> = rows.iter().flat_map(|row| list.range(*row)).collect();
            if below.is_empty() {
                // An array without elements has no dimensions.
                dimensions.clear();
                break &list.elements;
            }
            dimensions.push(length);
            rows = below;
            match &list.elements.values {
                Values::List(_) if rows.iter().any(|row| list.elements.is_null(*row)) => {
                    return Err(ragged());
                }
                Values::List(inner) => list = inner,
                _ => break &list.elements,
            }
        };
        out.put_u32(u32::try_from(dimensions.len()).unwrap_or(u32::MAX));
        let leaf_rows = if dimensions.is_empty() { &[] } else { rows.as_slice() };
        out.put_u32(u32::from(leaf_rows.iter().any(|row| leaves.is_null(*row))));
        out.put_u32(self.element);
        for length in dimensions {
            out.put_i32(i32::try_from(length).map_err(|_| ragged())?);
            out.put_i32(1);
        }
        leaf_rows.iter().try_for_each(|row| leaves.put(*row, Format::Binary, out))
    }
}

fn innermost(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            innermost(field.data_type())
        }
        other => other,
    }
}

fn ragged() -> Report {
    Report::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        "multidimensional arrays must have sub-arrays with matching dimensions",
    )
    .hint("Ask for the column in text format.")
}

/// A column of structs.
pub(super) struct Record {
    fields: Vec<(u32, Column)>,
}

impl Record {
    pub(super) fn new(array: &StructArray, zone: Zone) -> Result<Record, Report> {
        let fields = array
            .columns()
            .iter()
            .map(|column| Ok((types::oid(column.data_type()), Column::new(column, zone)?)))
            .collect::<Result<_, Report>>()?;
        Ok(Record { fields })
    }

    pub(super) fn text(&self, row: usize, out: &mut BytesMut) -> Result<(), Report> {
        out.put_u8(b'(');
        let mut value = BytesMut::new();
        for (at, (_, field)) in self.fields.iter().enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            if !field.is_null(row) {
                value.clear();
                field.text(row, &mut value)?;
                quote::record_field(&value, out);
            }
        }
        out.put_u8(b')');
        Ok(())
    }

    pub(super) fn binary(&self, row: usize, out: &mut BytesMut) -> Result<(), Report> {
        out.put_u32(u32::try_from(self.fields.len()).unwrap_or(u32::MAX));
        for (oid, field) in &self.fields {
            out.put_u32(*oid);
            field.put(row, Format::Binary, out)?;
        }
        Ok(())
    }
}
