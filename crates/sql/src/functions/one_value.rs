//! A float as the one value that stands for all that are equal to it: 0 for both zeros, one NaN.
//!
//! Operators compare floats that way; what sorts rows or collects distinct values compares bits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::no_function;

/// The function's name.
pub(crate) const ONE_VALUE: &str = "millrace_one_value";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OneValue {
    signature: Signature,
}

impl OneValue {
    pub(super) fn new() -> OneValue {
        OneValue { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for OneValue {
    fn name(&self) -> &'static str {
        ONE_VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| no_function(ONE_VALUE, types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let array = args.args.into_iter().next().map(|value| value.into_array(rows)).transpose()?;
        let array = array.ok_or_else(|| no_function(ONE_VALUE, &[]))?;
        Ok(ColumnarValue::Array(one_value(&array)))
    }
}

/// The values that stand for those of an array; of no floats the array.
pub(super) fn one_value(array: &ArrayRef) -> ArrayRef {
    // A zero that is added makes 0 of -0.
    match array.data_type() {
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            let ones: Float64Array = array.as_primitive::<Float64Type>().unary(one);
            Arc::new(ones)
        }
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            let ones: Float32Array = array.as_primitive::<Float32Type>().unary(one);
            Arc::new(ones)
        }
        _ => Arc::clone(array),
    }
}
