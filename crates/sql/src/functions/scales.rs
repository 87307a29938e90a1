//! Digits after the point of numerics: `scale`, `min_scale` and `trim_scale`.
//!
//! A numeric without a declared precision keeps no zeros at its end, here: it has the digits that it shows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow::datatypes::{DataType, i256};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlType;

use super::cast::{convert, unscaled};
use super::division::exact;
use super::invoke::over_columns;
use super::no_function;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Shown,
    Least,
    Trimmed,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Scale {
    which: Which,
    signature: Signature,
}

pub(super) fn all() -> Vec<Scale> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [Which::Shown, Which::Least, Which::Trimmed]
        .map(|which| Scale { which, signature: signature() })
        .into()
}

impl ScalarUDFImpl for Scale {
    fn name(&self) -> &'static str {
        match self.which {
            Which::Shown => "scale",
            Which::Least => "min_scale",
            Which::Trimmed => "trim_scale",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.which {
            Which::Trimmed => SqlType::Numeric(None).arrow(),
            Which::Shown | Which::Least => DataType::Int32,
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let taken: Option<Vec<DataType>> = types.iter().map(exact).collect();
        taken.filter(|taken| taken.len() == 1).ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let [values] = columns else { return Err(no_function(self.name(), &[])) };
            if self.which == Which::Trimmed {
                return convert(values, &SqlType::Numeric(None).arrow());
            }
            let declared = *values.data_type() != SqlType::Numeric(None).arrow();
            let keeps = declared && self.which == Which::Shown;
            let (numbers, scale) = unscaled(values)?;
            let places = |number: i256| match keeps {
                true => i32::from(scale).max(0),
                false => least(number, scale),
            };
            let places = numbers.into_iter().map(|number| number.map(places));
            Ok(Arc::new(places.collect::<Int32Array>()) as ArrayRef)
        })
    }
}

/// The digits after the point without zeros at the end.
fn least(number: i256, scale: i8) -> i32 {
    let ten = i256::from_i128(10);
    let (mut number, mut places) = (number, i32::from(scale).max(0));
    while places > 0 && number.checked_rem(ten) == Some(i256::ZERO) {
        number = number.checked_div(ten).unwrap_or(i256::ZERO);
        places -= 1;
    }
    places
}
