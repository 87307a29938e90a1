//! `gcd` and `lcm`: of integers an integer, of bigints a bigint, of numerics a numeric.

use std::ops::Rem;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, i256};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::numeric::rescale;
use millrace_types::{NUMERIC_SCALE, Report, SqlState, SqlType};

use super::cast::{decimals, external, plain, unscaled};
use super::invoke::over_columns;
use super::no_function;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Divisors {
    /// The least common multiple, not the greatest common divisor.
    multiple: bool,
    signature: Signature,
}

pub(super) fn all() -> Vec<Divisors> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [false, true].map(|multiple| Divisors { multiple, signature: signature() }).into()
}

impl ScalarUDFImpl for Divisors {
    fn name(&self) -> &'static str {
        if self.multiple { "lcm" } else { "gcd" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types.first() {
            Some(DataType::Int32) => DataType::Int32,
            Some(DataType::Int64) => DataType::Int64,
            _ => SqlType::Numeric(None).arrow(),
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = types else { return Err(no_function(self.name(), types)) };
        let both = [left, right];
        let narrow = |t: &DataType| matches!(t, DataType::Int16 | DataType::Int32) || t.is_null();
        let whole = |t: &DataType| t.is_integer() || t.is_null();
        if both.iter().all(|given| narrow(given)) {
            return Ok(vec![DataType::Int32; 2]);
        }
        if both.iter().all(|given| whole(given)) {
            return Ok(vec![DataType::Int64; 2]);
        }
        let exact = |given: &&DataType| match given {
            given if given.is_decimal() => Some((*given).clone()),
            given if whole(given) => Some(DataType::Decimal128(20, 0)),
            _ => None,
        };
        let taken: Option<Vec<DataType>> = both.iter().map(exact).collect();
        taken.ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        over_columns(&args.args, |arrays| {
            let [left, right] = arrays else { return Err(no_function(self.name(), &[])) };
            match wanted {
                DataType::Int32 | DataType::Int64 => self.integers(left, right, &wanted),
                _ => self.numerics(left, right),
            }
        })
    }
}

impl Divisors {
    fn integers(&self, left: &ArrayRef, right: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
        let (left, right) = (plain(left, &DataType::Int64)?, plain(right, &DataType::Int64)?);
        let pairs = left.as_primitive::<Int64Type>().iter().zip(right.as_primitive::<Int64Type>());
        let (most, name) = match wanted {
            DataType::Int32 => (i64::from(i32::MAX), "integer"),
            _ => (i64::MAX, "bigint"),
        };
        let found = pairs.map(|pair| {
            let (Some(left), Some(right)) = pair else { return Ok(None) };
            let (left, right) = (left.unsigned_abs(), right.unsigned_abs());
            let divisor = divisor(left, right);
            let found = match self.multiple {
                false => Some(divisor),
                true if divisor == 0 => Some(0),
                true => (left / divisor).checked_mul(right),
            };
            let found = found.and_then(|found| i64::try_from(found).ok());
            let out_of_range = || {
                let message = format!("{name} out of range");
                external(Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message))
            };
            found.filter(|found| *found <= most).map(Some).ok_or_else(out_of_range)
        });
        let found: PrimitiveArray<Int64Type> = found.collect::<Result<_>>()?;
        match wanted {
            DataType::Int32 => {
                let found: ArrayRef = Arc::new(found);
                let narrow = plain(&found, wanted)?;
                Ok(Arc::new(narrow.as_primitive::<Int32Type>().clone()))
            }
            _ => Ok(Arc::new(found)),
        }
    }

    fn numerics(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
        let ((left, left_scale), (right, right_scale)) = (unscaled(left)?, unscaled(right)?);
        let scale = left_scale.max(right_scale);
        let one = |left: i256, right: i256| {
            let left = rescale(left, left_scale, scale)?.wrapping_abs();
            let right = rescale(right, right_scale, scale)?.wrapping_abs();
            let divisor = divisor(left, right);
            let found = match self.multiple {
                false => divisor,
                true if divisor == i256::ZERO => i256::ZERO,
                true => left.checked_div(divisor)?.checked_mul(right)?,
            };
            rescale(found, scale, NUMERIC_SCALE)
        };
        let found = left.into_iter().zip(right).map(|pair| {
            let (Some(left), Some(right)) = pair else { return Ok(None) };
            let message = "value overflows numeric format";
            let overflow = || external(Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
            one(left, right).map(Some).ok_or_else(overflow)
        });
        decimals(found.collect::<Result<Vec<_>>>()?, &SqlType::Numeric(None).arrow())
    }
}

/// The greatest common divisor, as Euclid found it.
fn divisor<T: Copy + Default + PartialEq + Rem<Output = T>>(mut left: T, mut right: T) -> T {
    while right != T::default() {
        (left, right) = (right, left % right);
    }
    left
}
