//! `div(a, b)`, the whole part of a quotient of numerics, and `width_bucket`: the number of the bucket that
//! a value is in, of buckets of one width or between thresholds.

#![allow(clippy::cast_possible_truncation, reason = "a float's range is checked before its cast")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float64Type, Int64Type, i256};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::numeric::rescale;
use millrace_types::{NUMERIC_SCALE, Report, SqlState, SqlType};

use super::cast::{decimals, external, plain, unscaled};
use super::invoke::over_columns;
use super::no_function;

/// `div(a, b)`
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Div {
    signature: Signature,
}

impl Div {
    pub(super) fn new() -> Div {
        Div { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The type in which an exact number is taken.
pub(super) fn exact(given: &DataType) -> Option<DataType> {
    match given {
        given if given.is_decimal() => Some(given.clone()),
        given if given.is_integer() || given.is_null() => Some(DataType::Decimal128(20, 0)),
        _ => None,
    }
}

fn out_of_range(message: &str) -> Report {
    Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

impl ScalarUDFImpl for Div {
    fn name(&self) -> &'static str {
        "div"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SqlType::Numeric(None).arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let taken: Option<Vec<DataType>> = types.iter().map(exact).collect();
        taken.filter(|taken| taken.len() == 2).ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let [left, right] = arrays else { return Err(no_function(self.name(), &[])) };
            let ((left, left_scale), (right, right_scale)) = (unscaled(left)?, unscaled(right)?);
            let scale = left_scale.max(right_scale);
            let whole = |pair: (Option<i256>, Option<i256>)| {
                let (Some(left), Some(right)) = pair else { return Ok(None) };
                if right == i256::ZERO {
                    return Err(Report::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
                }
                let (left, right) =
                    (rescale(left, left_scale, scale), rescale(right, right_scale, scale));
                let whole = left.zip(right).and_then(|(left, right)| left.checked_div(right));
                let whole = whole.and_then(|whole| rescale(whole, 0, NUMERIC_SCALE));
                whole.map(Some).ok_or_else(|| out_of_range("value overflows numeric format"))
            };
            let wholes = left.into_iter().zip(right).map(whole);
            let wholes = wholes.collect::<Result<Vec<_>, Report>>().map_err(external)?;
            decimals(wholes, &SqlType::Numeric(None).arrow())
        })
    }
}

/// `width_bucket(value, low, high, count)`, `width_bucket(value, thresholds)`
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WidthBucket {
    signature: Signature,
}

impl WidthBucket {
    pub(super) fn new() -> WidthBucket {
        WidthBucket { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for WidthBucket {
    fn name(&self) -> &'static str {
        "width_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wrong = || no_function(self.name(), types);
        let of = |numbers: &[&DataType]| {
            let is_number = |given: &&DataType| given.is_numeric() || given.is_null();
            match numbers.iter().all(is_number) {
                true if numbers.iter().any(|given| given.is_floating()) => Ok(DataType::Float64),
                true => Ok(SqlType::Numeric(None).arrow()),
                false => Err(wrong()),
            }
        };
        match types {
            [value, low, high, count] if count.is_integer() || count.is_null() => {
                let one = of(&[value, low, high])?;
                Ok(vec![one.clone(), one.clone(), one, DataType::Int64])
            }
            [value, DataType::List(field)] if is_ordered(value, field.data_type()) => {
                let one = field.data_type().clone();
                Ok(vec![one.clone(), DataType::new_list(one, true)])
            }
            [value, DataType::List(field)] => {
                let one = of(&[value, field.data_type()])?;
                Ok(vec![one.clone(), DataType::new_list(one, true)])
            }
            _ => Err(wrong()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let buckets: Result<Int32Array, Report> = match arrays {
                [values, thresholds] => below(values, thresholds)?,
                [values, low, high, counts] => {
                    let counts = plain(counts, &DataType::Int64)?;
                    let counts = counts.as_primitive::<Int64Type>();
                    match values.data_type() {
                        DataType::Float64 => {
                            let of = |array: &ArrayRef, row| doubles(array, row);
                            let row = |row| {
                                let count = counts.is_valid(row).then(|| counts.value(row));
                                let args = of(values, row).zip(of(low, row)).zip(of(high, row));
                                let Some(((args, high), count)) = args.zip(count) else {
                                    return Ok(None);
                                };
                                of_doubles(args.0, (args.1, high), count).map(Some)
                            };
                            (0..values.len()).map(row).collect()
                        }
                        _ => {
                            let parts = [values, low, high].map(unscaled);
                            let [values, low, high] = parts;
                            let (values, low, high) = (values?.0, low?.0, high?.0);
                            let row = |row: usize| {
                                let count = counts.is_valid(row).then(|| counts.value(row));
                                let args = values[row].zip(low[row]).zip(high[row]);
                                let Some(((args, high), count)) = args.zip(count) else {
                                    return Ok(None);
                                };
                                of_numerics(args.0, (args.1, high), count).map(Some)
                            };
                            (0..values.len()).map(row).collect()
                        }
                    }
                }
                _ => return Err(no_function(self.name(), &[])),
            };
            Ok(Arc::new(buckets.map_err(external)?) as ArrayRef)
        })
    }
}

/// True for values of one type that has an order of its own, other than that of numbers.
fn is_ordered(value: &DataType, threshold: &DataType) -> bool {
    let known = threshold.is_string()
        || matches!(
            threshold,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_) | DataType::Boolean
        );
    known && (value == threshold || value.is_string() || value.is_null())
}

fn doubles(array: &ArrayRef, row: usize) -> Option<f64> {
    array.is_valid(row).then(|| array.as_primitive::<Float64Type>().value(row))
}

fn wrong(message: &str) -> Report {
    Report::new(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET, message)
}

/// What lies beyond the last bucket.
fn beyond(count: i64) -> Result<i32, Report> {
    i32::try_from(count + 1).map_err(|_| out_of_range("integer out of range"))
}

fn checked(count: i64, is_empty: bool) -> Result<(), Report> {
    if count <= 0 {
        return Err(wrong("count must be greater than zero"));
    }
    match is_empty {
        true => Err(wrong("lower bound cannot equal upper bound")),
        false => Ok(()),
    }
}

fn of_doubles(value: f64, (low, high): (f64, f64), count: i64) -> Result<i32, Report> {
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return Err(wrong("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(wrong("lower and upper bounds must be finite"));
    }
    checked(count, low == high)?;
    // Buckets may run downwards.
    let (value, low, high) = if low < high { (value, low, high) } else { (-value, -low, -high) };
    if value < low {
        return Ok(0);
    }
    if value >= high {
        return beyond(count);
    }
    let count = i32::try_from(count).map_err(|_| out_of_range("integer out of range"))?;
    // Halves, where the distance itself would be infinite.
    let part = match (high - low).is_finite() {
        true => (value - low) / (high - low),
        false => (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0),
    };
    let bucket = f64::from(count) * part;
    let bucket = if bucket >= f64::from(count) { count - 1 } else { bucket as i32 };
    bucket.checked_add(1).ok_or_else(|| out_of_range("integer out of range"))
}

fn of_numerics(value: i256, (low, high): (i256, i256), count: i64) -> Result<i32, Report> {
    checked(count, low == high)?;
    let (value, low, high) = match low < high {
        true => (value, low, high),
        false => (value.wrapping_neg(), low.wrapping_neg(), high.wrapping_neg()),
    };
    if value < low {
        return Ok(0);
    }
    if value >= high {
        return beyond(count);
    }
    let whole = i256::from_i128(i128::from(count));
    let from_low = value.checked_sub(low).and_then(|distance| distance.checked_mul(whole));
    let width = high.checked_sub(low);
    let bucket = from_low.zip(width).and_then(|(part, width)| part.checked_div(width));
    let bucket = bucket.and_then(i256::to_i128).and_then(|bucket| i32::try_from(bucket + 1).ok());
    bucket.ok_or_else(|| out_of_range("integer out of range"))
}

/// How many thresholds, in ascending order, a value reaches.
fn below(values: &ArrayRef, thresholds: &ArrayRef) -> Result<Result<Int32Array, Report>> {
    let lists = thresholds.as_list::<i32>();
    let reach = |row: usize| -> Result<Option<i32>> {
        if values.is_null(row) || lists.is_null(row) {
            return Ok(None);
        }
        let list = lists.value(row);
        if list.null_count() > 0 {
            let message = "thresholds array must not contain NULLs";
            return Err(external(Report::new(SqlState::NULL_VALUE_NOT_ALLOWED, message)));
        }
        let at = match values.data_type() {
            DataType::Float64 => {
                let value = values.as_primitive::<Float64Type>().value(row);
                // NaN is above all numbers.
                let reached = |threshold: &f64| value.is_nan() || value >= *threshold;
                list.as_primitive::<Float64Type>().values().partition_point(reached)
            }
            other if !other.is_decimal() => {
                let value = values.slice(row, 1);
                let compare = make_comparator(&list, &value, SortOptions::default())?;
                let places: Vec<usize> = (0..list.len()).collect();
                places.partition_point(|at| compare(*at, 0).is_le())
            }
            _ => {
                let (value, list) = (unscaled(&values.slice(row, 1))?.0[0], unscaled(&list)?.0);
                list.partition_point(|threshold| value >= *threshold)
            }
        };
        Ok(i32::try_from(at).ok())
    };
    Ok(Ok((0..values.len()).map(reach).collect::<Result<Int32Array>>()?))
}
