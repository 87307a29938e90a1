//! Functions of numbers that are not there for all numbers, and those whose results may be too large: DataFusion's,
//! which give NaN, an infinity or 0 where PostgreSQL's fail.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::functions::{math, string};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};
use millrace_types::SqlState;

use super::user_error;

/// What arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Domain {
    Root,
    Logarithm,
    Power,
    Arc,
    Hyperbolic,
    Inverse,
    Factorial,
    Character,
    /// A text, what parts it, and the number of a part.
    Parted,
    /// Any number, but its result may not fit.
    Any,
}

const ALL: [(&str, Domain); 15] = [
    ("sqrt", Domain::Root),
    ("ln", Domain::Logarithm),
    ("log", Domain::Logarithm),
    ("log2", Domain::Logarithm),
    ("log10", Domain::Logarithm),
    ("power", Domain::Power),
    ("acos", Domain::Arc),
    ("asin", Domain::Arc),
    ("acosh", Domain::Hyperbolic),
    ("atanh", Domain::Inverse),
    ("factorial", Domain::Factorial),
    ("chr", Domain::Character),
    ("split_part", Domain::Parted),
    ("exp", Domain::Any),
    ("degrees", Domain::Any),
];

/// Functions of ours that fail for some arguments.
const OTHERS: [&str; 8] = [
    "make_date",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "timezone",
    "to_date",
    "to_number",
    "to_timestamp",
];

/// True for a function that fails for some numbers.
pub(crate) fn is_partial(function: &str) -> bool {
    ALL.iter().any(|(name, _)| *name == function) || OTHERS.contains(&function)
}

/// DataFusion's functions of these names.
pub(super) fn all() -> Vec<(Arc<ScalarUDF>, Domain)> {
    let found = |inner: Arc<ScalarUDF>| {
        let (_, domain) = *ALL.iter().find(|(name, _)| *name == inner.name())?;
        Some((inner, domain))
    };
    math::functions()
        .into_iter()
        .chain([string::chr(), string::split_part()])
        .filter_map(found)
        .collect()
}

/// Looks at the arguments of a call.
pub(super) fn check(domain: Domain, args: &ScalarFunctionArgs) -> Result<()> {
    if matches!(domain, Domain::Any | Domain::Parted) {
        return match args.args.get(2) {
            Some(place) if domain == Domain::Parted => {
                floats(place)?.iter().flatten().try_for_each(part)
            }
            _ => Ok(()),
        };
    }
    let columns = args.args.iter().map(floats).collect::<Result<Vec<_>>>()?;
    let each = |column: &Float64Array, check: fn(f64) -> Result<()>| {
        column.iter().flatten().try_for_each(check)
    };
    match (domain, columns.as_slice()) {
        (Domain::Root, [values]) => each(values, root),
        (Domain::Arc, [values]) => each(values, arc),
        (Domain::Hyperbolic, [values]) => each(values, |value| within(value, value >= 1.0)),
        (Domain::Inverse, [values]) => each(values, |value| within(value, value.abs() <= 1.0)),
        (Domain::Factorial, [values]) => each(values, factorial),
        (Domain::Character, [values]) => each(values, character),
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

/// Calls a function; of finite numbers its results are finite.
pub(super) fn call(
    domain: Domain,
    inner: &dyn ScalarUDFImpl,
    args: ScalarFunctionArgs,
) -> Result<ColumnarValue> {
    match domain {
        Domain::Logarithm => inner.invoke_with_args(without_numerics(args)?),
        Domain::Any | Domain::Power => {
            let (before, rows) = (args.args.clone(), args.number_rows);
            let result = inner.invoke_with_args(args)?;
            fits(&before, &result, rows)?;
            Ok(result)
        }
        _ => inner.invoke_with_args(args),
    }
}

/// # Errors
/// A result is infinite though no argument of its row is, or 0 though no power of these numbers is.
fn fits(args: &[ColumnarValue], result: &ColumnarValue, rows: usize) -> Result<()> {
    if !result.data_type().is_floating() {
        return Ok(());
    }
    let results = floats(result)?;
    if !is_odd(results.values()) {
        return Ok(());
    }
    let args = args.iter().map(floats).collect::<Result<Vec<_>>>()?;
    let at = |column: &Float64Array, row: usize| {
        let row = if column.len() == 1 { 0 } else { row };
        (row < column.len() && column.is_valid(row)).then(|| column.value(row))
    };
    for row in 0..rows.min(results.len()) {
        let Some(value) = at(&results, row) else { continue };
        let all = |is: fn(f64) -> bool| args.iter().all(|arg| at(arg, row).is_some_and(is));
        if value.is_infinite() && all(f64::is_finite) {
            return Err(out_of_range(Fault::Overflow));
        }
        if value == 0.0 && all(|arg| arg.is_finite() && arg != 0.0) {
            return Err(out_of_range(Fault::Underflow));
        }
    }
    Ok(())
}

/// Why a result does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Overflow,
    Underflow,
}

/// The error for a float that is too large or too small.
pub(super) fn out_of_range(fault: Fault) -> DataFusionError {
    let message = match fault {
        Fault::Overflow => "value out of range: overflow",
        Fault::Underflow => "value out of range: underflow",
    };
    user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// True if a number is infinite, no number, or 0: only then a result may be too large or too small. It has no
/// branches, so that a batch takes some microseconds.
pub(super) fn is_odd(values: &[f64]) -> bool {
    const MAGNITUDE: u64 = !(1 << 63);
    const INFINITE: u64 = f64::INFINITY.to_bits();
    let odd = |value: &f64| {
        let bits = value.to_bits() & MAGNITUDE;
        u64::from(bits >= INFINITE) | u64::from(bits == 0)
    };
    values.iter().fold(0, |found, value| found | odd(value)) != 0
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
    within(value, value.abs() <= 1.0)
}

/// No number has what NaN has.
fn within(value: f64, is_within: bool) -> Result<()> {
    match is_within || value.is_nan() {
        true => Ok(()),
        false => Err(user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")),
    }
}

fn part(value: f64) -> Result<()> {
    match value == 0.0 {
        true => {
            let message = "field position must not be zero";
            Err(user_error(SqlState::INVALID_PARAMETER_VALUE, message))
        }
        false => Ok(()),
    }
}

/// Looks at the length of a part of a text.
pub(super) fn check_length(length: &ColumnarValue) -> Result<()> {
    let is_negative = floats(length)?.iter().flatten().any(|length| length < 0.0);
    match is_negative {
        true => {
            let message = "negative substring length not allowed";
            Err(user_error(SqlState::SUBSTRING_ERROR, message))
        }
        false => Ok(()),
    }
}

fn factorial(value: f64) -> Result<()> {
    match value < 0.0 {
        true => {
            let message = "factorial of a negative number is undefined";
            Err(user_error(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message))
        }
        false => Ok(()),
    }
}

fn character(value: f64) -> Result<()> {
    let limit = SqlState::PROGRAM_LIMIT_EXCEEDED;
    match value {
        ..0.0 => {
            let message = "character number must be positive";
            Err(user_error(SqlState::INVALID_PARAMETER_VALUE, message))
        }
        0.0 => Err(user_error(limit, "null character not permitted")),
        1_114_112.0.. => {
            let message = format!("requested character too large for encoding: {value}");
            Err(user_error(limit, message))
        }
        55_296.0..57_344.0 => {
            let message = format!("requested character not valid for encoding: {value}");
            Err(user_error(limit, message))
        }
        _ => Ok(()),
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

fn power_error(message: &str) -> DataFusionError {
    user_error(SqlState::INVALID_ARGUMENT_FOR_POWER, message)
}
