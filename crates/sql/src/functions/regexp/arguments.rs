//! The arguments of a call, by row.

use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

use crate::functions::cast::plain;
use crate::functions::invoke::texts;

/// An argument.
pub(super) enum Argument {
    Texts { values: StringArray, is_one: bool },
    Numbers { values: Int64Array, is_one: bool },
}

impl Argument {
    pub(super) fn new(value: &ColumnarValue) -> Result<Argument> {
        let (values, is_one) = match value {
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
            ColumnarValue::Array(values) => (values.clone(), false),
        };
        Ok(match values.data_type().is_integer() {
            true => {
                let values = plain(&values, &DataType::Int64)?;
                Argument::Numbers { values: values.as_primitive::<Int64Type>().clone(), is_one }
            }
            false => Argument::Texts { values: texts(&values)?, is_one },
        })
    }

    pub(super) fn text(&self, row: usize) -> Option<&str> {
        match self {
            Argument::Texts { values, is_one } => {
                let row = if *is_one { 0 } else { row };
                values.is_valid(row).then(|| values.value(row))
            }
            Argument::Numbers { .. } => None,
        }
    }

    pub(super) fn number(&self, row: usize) -> Option<i64> {
        match self {
            Argument::Numbers { values, is_one } => {
                let row = if *is_one { 0 } else { row };
                values.is_valid(row).then(|| values.value(row))
            }
            Argument::Texts { .. } => None,
        }
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Argument::Texts { .. } => self.text(row).is_none(),
            Argument::Numbers { .. } => self.number(row).is_none(),
        }
    }
}

/// The arguments of one row, none of which is NULL.
pub(super) struct Row<'a> {
    pub(super) all: &'a [Argument],
    pub(super) row: usize,
}

impl<'a> Row<'a> {
    pub(super) fn text(&self, at: usize) -> &'a str {
        self.all.get(at).and_then(|argument| argument.text(self.row)).unwrap_or_default()
    }

    /// A number, or what stands for it where it is left out.
    pub(super) fn number(&self, at: usize, otherwise: i64) -> i64 {
        self.all.get(at).and_then(|argument| argument.number(self.row)).unwrap_or(otherwise)
    }
}
