//! Arrays as sets: `a @> b`, `a <@ b` and `a && b`, for which no element is equal to NULL and dimensions don't
//! count; and `trim_array`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlState;

use super::cast::own;
use super::invoke::over_columns;
use super::order_key::comparable;
use super::{bare_name, no_function, user_error};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ArraySets {
    /// `@>`
    Contains,
    /// `&&`
    Overlaps,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sets {
    which: ArraySets,
    signature: Signature,
}

pub(super) fn all() -> [Sets; 2] {
    [ArraySets::Contains, ArraySets::Overlaps].map(Sets::new)
}

impl Sets {
    pub(super) fn new(which: ArraySets) -> Sets {
        Sets { which, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The type of the elements, however deep they are.
fn element(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(field) => element(field.data_type()),
        other => other,
    }
}

/// An array type with other elements.
fn with_element(data_type: &DataType, wanted: &DataType) -> DataType {
    match data_type {
        DataType::List(field) => {
            let inner = with_element(field.data_type(), wanted);
            DataType::List(Arc::new(field.as_ref().clone().with_data_type(inner)))
        }
        DataType::Null => DataType::new_list(wanted.clone(), true),
        _ => wanted.clone(),
    }
}

impl ScalarUDFImpl for Sets {
    fn name(&self) -> &'static str {
        match self.which {
            ArraySets::Contains => "arraycontains",
            ArraySets::Overlaps => "arrayoverlap",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let is_array = |found: &DataType| matches!(found, DataType::List(_) | DataType::Null);
        match types {
            [left, right]
                if is_array(left) && is_array(right) && element(left) == element(right) =>
            {
                Ok(DataType::Boolean)
            }
            [left, right] => {
                let operator = if self.which == ArraySets::Contains { "@>" } else { "&&" };
                let (left, right) = (bare_name(left), bare_name(right));
                let message = format!("operator does not exist: {left} {operator} {right}");
                Err(user_error(SqlState::UNDEFINED_FUNCTION, message))
            }
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = types else { return Err(no_function(self.name(), types)) };
        let common = match (element(left), element(right)) {
            (left, right) if left == right => None,
            (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
            (left, right) => comparison_coercion(left, right),
        };
        Ok(match common {
            Some(common) => types.iter().map(|found| with_element(found, &common)).collect(),
            None => types.to_vec(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let [left, right] = columns else { return Err(no_function(self.name(), &[])) };
            let (left, right) = (Leaves::of(left)?, Leaves::of(right)?);
            let (Some(left), Some(right)) = (left, right) else {
                return Ok(Arc::new(BooleanArray::new_null(columns[0].len())) as ArrayRef);
            };
            let field = SortField::new(left.values.data_type().clone());
            let converter = RowConverter::new(vec![field])?;
            let (left_rows, right_rows) = (left.rows(&converter)?, right.rows(&converter)?);
            let row = |row: usize| {
                let (left_places, right_places) = (left.places(row)?, right.places(row)?);
                let found = |at: usize| {
                    right.values.is_valid(at)
                        && left_places.clone().any(|other| {
                            left.values.is_valid(other)
                                && left_rows.row(other) == right_rows.row(at)
                        })
                };
                Some(match self.which {
                    ArraySets::Contains => right_places.into_iter().all(found),
                    ArraySets::Overlaps => right_places.into_iter().any(found),
                })
            };
            Ok(Arc::new((0..columns[0].len()).map(row).collect::<BooleanArray>()) as ArrayRef)
        })
    }
}

/// The elements of a column of arrays, and where those of a row stand.
struct Leaves {
    values: ArrayRef,
    /// By row the first, and the one behind the last.
    bounds: Vec<Option<(usize, usize)>>,
}

impl Leaves {
    /// None for a column of NULLs.
    fn of(lists: &ArrayRef) -> Result<Option<Leaves>> {
        let Some(lists) = lists.as_list_opt::<i32>() else { return Ok(None) };
        let mut lists = own(lists)?;
        let bound = |list: &ListArray, at: usize| usize::try_from(list.value_offsets()[at]);
        let bounds = |list: &ListArray, (from, until): (usize, usize)| {
            Some((bound(list, from).ok()?, bound(list, until).ok()?))
        };
        let mut rows: Vec<Option<(usize, usize)>> = (0..lists.len())
            .map(|row| bounds(&lists, (row, row + 1)).filter(|_| lists.is_valid(row)))
            .collect();
        while let Some(inner) = lists.values().as_list_opt::<i32>() {
            let inner = inner.clone();
            for row in &mut rows {
                *row = row.and_then(|places| bounds(&inner, places));
            }
            lists = inner;
        }
        Ok(Some(Leaves { values: comparable(lists.values())?, bounds: rows }))
    }

    fn rows(&self, converter: &RowConverter) -> Result<Rows> {
        Ok(converter.convert_columns(&[Arc::clone(&self.values)])?)
    }

    fn places(&self, row: usize) -> Option<std::ops::Range<usize>> {
        self.bounds.get(row).copied().flatten().map(|(from, until)| from..until)
    }
}

/// `trim_array(array, count)`: without so many elements at the end.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Trim {
    signature: Signature,
}

impl Trim {
    pub(super) fn new() -> Trim {
        Trim { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Trim {
    fn name(&self) -> &'static str {
        "trim_array"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [list @ DataType::List(_), count] if count.is_integer() || count.is_null() => {
                Ok(vec![list.clone(), DataType::Int64])
            }
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let [lists, counts] = columns else { return Err(no_function(self.name(), &[])) };
            trimmed(lists.as_list(), counts)
        })
    }
}

fn trimmed(lists: &ListArray, counts: &ArrayRef) -> Result<ArrayRef> {
    let counts = counts.as_primitive::<Int64Type>();
    let (mut kept, mut lengths, mut present) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..lists.len() {
        let is_there = lists.is_valid(row) && counts.is_valid(row);
        present.push(is_there);
        let length = i64::from(lists.value_length(row));
        let count = if is_there { counts.value(row) } else { length };
        if !(0..=length).contains(&count) {
            let message = format!("number of elements to trim must be between 0 and {length}");
            return Err(user_error(SqlState::ARRAY_SUBSCRIPT_ERROR, message));
        }
        let first = i64::from(lists.value_offsets()[row]);
        let places = first..first + length - count;
        lengths.push(usize::try_from(length - count).unwrap_or(0));
        kept.extend(places.filter_map(|at| u64::try_from(at).ok()));
    }
    let DataType::List(field) = lists.data_type() else {
        return Err(no_function("trim_array", &[]));
    };
    let values = take(lists.values(), &UInt64Array::from(kept), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let list = ListArray::try_new(Arc::clone(field), offsets, values, Some(present.into()))?;
    Ok(Arc::new(list))
}
