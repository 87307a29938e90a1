//! `sign(number)`: -1, 0 or 1, as numeric for numerics and as double precision for other numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type, i256};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::cast::{decimals, unscaled};
use super::no_function;

const NUMERIC: DataType = DataType::Decimal128(1, 0);

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sign {
    signature: Signature,
}

impl Sign {
    pub(super) fn new() -> Sign {
        Sign { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Sign {
    fn name(&self) -> &'static str {
        "sign"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let is_exact = types.first().is_some_and(DataType::is_decimal);
        Ok(if is_exact { NUMERIC } else { DataType::Float64 })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [one] if one.is_decimal() => Ok(vec![one.clone()]),
            [one] if one.is_numeric() || one.is_null() => Ok(vec![DataType::Float64]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let array = args.args.into_iter().next().map(|value| value.into_array(rows)).transpose()?;
        let array = array.ok_or_else(|| no_function("sign", &[]))?;
        let signs: ArrayRef = match array.data_type() {
            DataType::Float64 => {
                let sign = |value: f64| if value == 0.0 { 0.0 } else { value.signum() };
                let signs: Float64Array = array.as_primitive::<Float64Type>().unary(sign);
                Arc::new(signs)
            }
            _ => {
                let (values, _) = unscaled(&array)?;
                let sign = |value: i256| i256::from_i128(i128::from(value.cmp(&i256::ZERO) as i8));
                decimals(values.into_iter().map(|value| value.map(sign)).collect(), &NUMERIC)?
            }
        };
        Ok(ColumnarValue::Array(signs))
    }
}
