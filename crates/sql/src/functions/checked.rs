//! Arithmetic that fails as PostgreSQL's does: integers and floats that overflow, floats divided by zero.
//!
//! [`crate::analyze`] puts these functions in place of the operators, which wrap and give infinity.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Float64Array};
use arrow::compute::cast;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlState;

use super::domain::{Fault, is_odd, out_of_range};
use super::{chain, no_function, type_name, user_error};

/// An operator of two numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Checked {
    operator: Operator,
    name: &'static str,
    signature: Signature,
}

/// The name of the function for an operator; None for one that needs no check.
pub(super) fn name(operator: Operator) -> Option<&'static str> {
    match operator {
        Operator::Plus => Some("checked_add"),
        Operator::Minus => Some("checked_subtract"),
        Operator::Multiply => Some("checked_multiply"),
        Operator::Divide => Some("checked_divide"),
        _ => None,
    }
}

impl Checked {
    /// None for an operator that needs no check.
    pub(super) fn new(operator: Operator) -> Option<Checked> {
        let signature = Signature::any(2, Volatility::Immutable);
        Some(Checked { operator, name: name(operator)?, signature })
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(chain::call(self.name, args))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(no_function(self.name(), &[]));
        };
        if self.operator == Operator::Divide && divides_by_zero(left, right)? {
            return Err(user_error(SqlState::DIVISION_BY_ZERO, "division by zero"));
        }
        let apply = |left: &dyn Datum, right: &dyn Datum| match self.operator {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            Operator::Multiply => numeric::mul(left, right),
            _ => numeric::div(left, right),
        };
        let result: std::result::Result<ArrayRef, ArrowError> = match (left, right) {
            (ColumnarValue::Array(left), ColumnarValue::Array(right)) => apply(left, right),
            (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => {
                apply(left, &right.to_scalar()?)
            }
            (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => {
                apply(&left.to_scalar()?, right)
            }
            (ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)) => {
                let value =
                    apply(&left.to_scalar()?, &right.to_scalar()?).map_err(overflow(left))?;
                self.check_floats((&args.args[0], &args.args[1]), &value)?;
                return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?));
            }
        };
        let result = result.map_err(|error| map(error, &left.data_type()))?;
        self.check_floats((left, right), &result)?;
        Ok(ColumnarValue::Array(result))
    }
}

impl Checked {
    /// # Errors
    /// A float is infinite though none of its operands is, or 0 though the exact result is not.
    fn check_floats(
        &self,
        (left, right): (&ColumnarValue, &ColumnarValue),
        result: &ArrayRef,
    ) -> Result<()> {
        let can_vanish = matches!(self.operator, Operator::Multiply | Operator::Divide);
        let is_odd = match result.data_type() {
            DataType::Float64 => is_odd(result.as_primitive::<Float64Type>().values()),
            DataType::Float32 => {
                let values = result.as_primitive::<Float32Type>().values().iter();
                values.fold(false, |odd, value| odd | !value.is_normal())
            }
            _ => false,
        };
        if !is_odd {
            return Ok(());
        }
        let doubles = |array: &ArrayRef| -> Result<Float64Array> {
            Ok(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        };
        let rows = result.len();
        let left = doubles(&left.to_array(rows)?)?;
        let (right, results) = (doubles(&right.to_array(rows)?)?, doubles(result)?);
        for row in (0..rows).filter(|row| results.is_valid(*row)) {
            let (left, right, result) = (left.value(row), right.value(row), results.value(row));
            let divides = self.operator == Operator::Divide;
            if result.is_infinite() && left.is_finite() && (divides || right.is_finite()) {
                return Err(out_of_range(Fault::Overflow));
            }
            let vanished = match divides {
                true => left != 0.0 && right.is_finite(),
                false => left != 0.0 && right != 0.0,
            };
            if can_vanish && result == 0.0 && vanished {
                return Err(out_of_range(Fault::Underflow));
            }
        }
        Ok(())
    }
}

fn overflow(left: &ScalarValue) -> impl Fn(ArrowError) -> DataFusionError + use<> {
    let data_type = left.data_type();
    move |error| map(error, &data_type)
}

fn map(error: ArrowError, data_type: &DataType) -> DataFusionError {
    match error {
        ArrowError::ArithmeticOverflow(_) => {
            let message = format!("{} out of range", type_name(data_type));
            user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
        }
        other => other.into(),
    }
}

/// True if a value is divided by zero; NULL by zero is NULL, as in PostgreSQL.
fn divides_by_zero(dividend: &ColumnarValue, divisor: &ColumnarValue) -> Result<bool> {
    let array = match divisor {
        ColumnarValue::Array(array) => Arc::clone(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
    };
    let divides = |at: usize| match (dividend, divisor) {
        (ColumnarValue::Scalar(value), _) => !value.is_null(),
        (ColumnarValue::Array(values), ColumnarValue::Array(_)) => values.is_valid(at),
        // The one divisor is that of all rows.
        (ColumnarValue::Array(values), _) => values.null_count() < values.len(),
    };
    Ok(match array.data_type() {
        DataType::Float64 => {
            let mut divisors = array.as_primitive::<Float64Type>().iter().enumerate();
            divisors.any(|(at, value)| value == Some(0.0) && divides(at))
        }
        DataType::Float32 => {
            let mut divisors = array.as_primitive::<Float32Type>().iter().enumerate();
            divisors.any(|(at, value)| value == Some(0.0) && divides(at))
        }
        _ => false,
    })
}
