//! Sizes of arrays and places in them are integers, and an empty array has neither dimensions nor a length:
//! `array_length`, `array_ndims`, `cardinality`, `array_position`, `array_positions`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, new_empty_array};
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_nested::cardinality::cardinality_udf;
use datafusion::functions_nested::dimension::array_ndims_udf;
use datafusion::functions_nested::length::array_length_udf;
use datafusion::functions_nested::position::{array_position_udf, array_positions_udf};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::cast::plain;

/// One of the library's, which count in bigint without a sign.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Places {
    inner: Arc<ScalarUDF>,
}

pub(super) fn all() -> Vec<Places> {
    let inner = [
        array_length_udf(),
        array_ndims_udf(),
        cardinality_udf(),
        array_position_udf(),
        array_positions_udf(),
    ];
    inner.into_iter().map(|inner| Places { inner }).collect()
}

impl Places {
    /// `array_length`
    pub(super) fn length() -> Places {
        Places { inner: array_length_udf() }
    }
}

impl ScalarUDFImpl for Places {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match self.inner.return_type(types)? {
            DataType::List(_) => DataType::new_list(DataType::Int32, true),
            _ => DataType::Int32,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        // The library's fails over no rows.
        if args.number_rows == 0 && !is_scalar {
            return Ok(ColumnarValue::Array(new_empty_array(&wanted)));
        }
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let found = self.inner.return_type(&types)?;
        let return_field = Arc::new(Field::new(self.name(), found, true));
        let rows = args.number_rows;
        let lists = match args.args.first() {
            Some(lists) if self.name() == "array_ndims" => Some(lists.to_array(rows)?),
            _ => None,
        };
        let places = self.inner.invoke_with_args(ScalarFunctionArgs { return_field, ..args })?;
        let places = plain(&places.into_array(rows)?, &wanted)?;
        let result = match (self.name(), lists) {
            ("array_length", _) => kept(&places, |_, length| length > 0),
            (_, Some(lists)) => kept(&places, |row, _| !is_empty(&lists, row)),
            _ => places,
        };
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}

/// The numbers that stay, and NULL for the others.
fn kept(numbers: &ArrayRef, stays: impl Fn(usize, i32) -> bool) -> ArrayRef {
    let numbers = numbers.as_primitive::<Int32Type>().iter().enumerate();
    let kept = numbers.map(|(row, number)| number.filter(|number| stays(row, *number)));
    Arc::new(kept.collect::<Int32Array>())
}

fn is_empty(lists: &ArrayRef, row: usize) -> bool {
    let lists = lists.as_list_opt::<i32>();
    lists.is_some_and(|lists| lists.is_valid(row) && lists.value_length(row) == 0)
}
