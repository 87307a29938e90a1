//! Functions of numbers that are not there for all numbers: DataFusion's, which give NaN or an infinity
//! where PostgreSQL's fail.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions::math;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use millrace_types::SqlState;

use super::user_error;

/// What arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Domain {
    Root,
    Logarithm,
    Power,
    Arc,
}

const ALL: [(&str, Domain); 8] = [
    ("sqrt", Domain::Root),
    ("ln", Domain::Logarithm),
    ("log", Domain::Logarithm),
    ("log2", Domain::Logarithm),
    ("log10", Domain::Logarithm),
    ("power", Domain::Power),
    ("acos", Domain::Arc),
    ("asin", Domain::Arc),
];

/// True for a function that fails for some numbers.
pub(crate) fn is_partial(function: &str) -> bool {
    ALL.iter().any(|(name, _)| *name == function)
}

/// DataFusion's function, whose arguments are looked at before.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Partial {
    inner: Arc<ScalarUDF>,
    domain: Domain,
}

pub(super) fn all() -> Vec<Partial> {
    let found = |inner: Arc<ScalarUDF>| {
        let (_, domain) = *ALL.iter().find(|(name, _)| *name == inner.name())?;
        Some(Partial { inner, domain })
    };
    math::functions().into_iter().filter_map(found).collect()
}

impl Partial {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let columns = args.args.iter().map(floats).collect::<Result<Vec<_>>>()?;
        let each = |column: &Float64Array, check: fn(f64) -> Result<()>| {
            column.iter().flatten().try_for_each(check)
        };
        match (self.domain, columns.as_slice()) {
            (Domain::Root, [values]) => each(values, root),
            (Domain::Arc, [values]) => each(values, arc),
            (Domain::Logarithm, [values]) => each(values, logarithm),
            (Domain::Logarithm, [bases, values]) => {
                pairs(bases, values, args.number_rows, |base, value| {
                    logarithm(base)?;
                    logarithm(value)?;
                    match base == 1.0 {
                        true => Err(user_error(SqlState::DIVISION_BY_ZERO, "division by zero")),
                        false => Ok(()),
                    }
                })
            }
            (Domain::Power, [bases, exponents]) => pairs(bases, exponents, args.number_rows, power),
            _ => Ok(()),
        }
    }
}

/// The values as floats; one for a scalar.
fn floats(value: &ColumnarValue) -> Result<Float64Array> {
    let array = match value {
        ColumnarValue::Array(array) => Arc::clone(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
    };
    Ok(cast(&array, &DataType::Float64)?.as_primitive().clone())
}

/// Numerics as floats, which is what DataFusion's logarithms give for them; it has its own bounds for
/// numerics of few digits.
fn without_numerics(args: ScalarFunctionArgs) -> Result<ScalarFunctionArgs> {
    let mut args = args;
    for (value, field) in args.args.iter_mut().zip(&mut args.arg_fields) {
        if field.data_type().is_decimal() {
            *value = value.cast_to(&DataType::Float64, None)?;
            *field = Arc::new(field.as_ref().clone().with_data_type(DataType::Float64));
        }
    }
    Ok(args)
}

/// Looks at the rows that have both values.
fn pairs(
    left: &Float64Array,
    right: &Float64Array,
    rows: usize,
    check: fn(f64, f64) -> Result<()>,
) -> Result<()> {
    let at = |column: &Float64Array, row: usize| {
        let row = if column.len() == 1 { 0 } else { row };
        (row < column.len() && column.is_valid(row)).then(|| column.value(row))
    };
    // Two scalars are looked at once.
    let rows = if left.len() == 1 && right.len() == 1 { 1 } else { rows };
    (0..rows)
        .filter_map(|row| at(left, row).zip(at(right, row)))
        .try_for_each(|(left, right)| check(left, right))
}

fn root(value: f64) -> Result<()> {
    match value < 0.0 {
        true => Err(power_error("cannot take square root of a negative number")),
        false => Ok(()),
    }
}

fn arc(value: f64) -> Result<()> {
    match value.abs() > 1.0 {
        true => Err(user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")),
        false => Ok(()),
    }
}

fn logarithm(value: f64) -> Result<()> {
    let what = match value {
        0.0 => "zero",
        value if value < 0.0 => "a negative number",
        _ => return Ok(()),
    };
    let message = format!("cannot take logarithm of {what}");
    Err(user_error(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message))
}

fn power(base: f64, exponent: f64) -> Result<()> {
    if base == 0.0 && exponent < 0.0 {
        return Err(power_error("zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(power_error(message));
    }
    Ok(())
}

fn power_error(message: &str) -> datafusion::error::DataFusionError {
    user_error(SqlState::INVALID_ARGUMENT_FOR_POWER, message)
}

impl ScalarUDFImpl for Partial {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, context)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        let args = match self.domain {
            Domain::Logarithm => without_numerics(args)?,
            _ => args,
        };
        self.inner.inner().invoke_with_args(args)
    }
}
