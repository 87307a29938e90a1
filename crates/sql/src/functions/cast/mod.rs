//! Casts as PostgreSQL does them: text by its input syntax, numbers rounded and never cut short,
//! times and floats written as its clients expect.
//!
//! Arrow's own casts take other spellings, truncate, and say other things when they fail. The rule in
//! [`crate::analyze`] puts a call of [`Convert`] where [`differs`] says so. The wanted type is the
//! second argument, a zero of that type: so it travels with a stored plan like any constant.

mod json;
mod nested;
mod number;
mod show;
mod text;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlType, input};

pub(super) use nested::own;
pub(super) use number::unscaled;
pub(super) use show::{at as shown_at, civil, texts as show_values};
pub(super) use text::decimals;

use super::no_function;

/// The name that stored plans know the function by.
pub(crate) const CONVERT: &str = "millrace_cast";

const DAY: i64 = 86_400_000_000;

/// `millrace_cast(value, zero)`: the value as the type of the zero.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Convert {
    signature: Signature,
}

impl Convert {
    pub(super) fn new() -> Convert {
        Convert { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Convert {
    fn name(&self) -> &'static str {
        CONVERT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.get(1).cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        match args.args.first() {
            Some(ColumnarValue::Scalar(value)) => value_as(value, to).map(ColumnarValue::Scalar),
            Some(ColumnarValue::Array(array)) => convert(array, to).map(ColumnarValue::Array),
            None => Err(no_function(self.name(), &[])),
        }
    }
}

/// One value as another type.
pub(crate) fn value_as(value: &ScalarValue, to: &DataType) -> Result<ScalarValue> {
    if value.is_null() {
        return ScalarValue::try_new_null(to);
    }
    ScalarValue::try_from_array(&convert(&value.to_array()?, to)?, 0)
}

/// True for a cast that Arrow does in another way than PostgreSQL.
pub(crate) fn differs(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to || from.is_null() {
        return false;
    }
    match (from, to) {
        (T::List(from), T::List(to)) => differs(from.data_type(), to.data_type()),
        (T::Struct(_), T::Struct(_)) => true,
        (from, to) if from.is_string() && to.is_nested() => true,
        (from, to) if from.is_nested() => to.is_string(),
        (_, to) if to.is_nested() => false,
        (from, to) if from.is_string() => !to.is_string() && SqlType::of_arrow(to).is_some(),
        (from, to) if to.is_string() => {
            let shown = matches!(
                SqlType::of_arrow(from),
                Some(SqlType::Bytea | SqlType::Jsonb | SqlType::Uuid)
            );
            from.is_floating() || from.is_decimal() || from.is_temporal() || shown
        }
        (from, to) if from.is_numeric() && to.is_numeric() => !number::keeps(from, to),
        (T::LargeBinary, _) | (_, T::LargeBinary) => true,
        (T::Timestamp(..), T::Date32 | T::Time64(_)) | (T::Date32, T::Timestamp(..)) => true,
        (T::Interval(_), T::Time64(_)) | (T::Time64(_), T::Interval(_)) => true,
        _ => false,
    }
}

/// True if PostgreSQL has a cast between two types.
pub(crate) fn exists(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    let number = |t: &T| {
        matches!(t, T::SmallInt | T::Integer | T::BigInt | T::Numeric(_) | T::Real | T::Double)
    };
    let date = |t: &T| matches!(t, T::Date | T::Timestamp | T::TimestampTz);
    match (from, to) {
        (from, to) if from == to => true,
        (T::Text, _) | (_, T::Text) => true,
        (T::Array(from), T::Array(to)) => exists(from, to),
        (T::Struct(from), T::Struct(to)) => from.len() == to.len(),
        (T::Boolean, T::Integer) | (T::Integer, T::Boolean) => true,
        (T::Jsonb, to) => number(to) || *to == T::Boolean,
        (T::Timestamp | T::TimestampTz | T::Interval, T::Time) | (T::Time, T::Interval) => true,
        (from, to) => (number(from) && number(to)) || (date(from) && date(to)),
    }
}

/// A column as another type.
pub(crate) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    use DataType as T;
    let from = array.data_type();
    if from.is_string() {
        let texts = plain(array, &T::Utf8)?;
        return text::read(texts.as_string::<i32>(), to);
    }
    if to.is_string() {
        let texts: ArrayRef = Arc::new(show::texts(array)?);
        return plain(&texts, to);
    }
    match (from, to) {
        (T::List(_), T::List(field)) => nested::convert_array(array, field),
        (T::Struct(_), T::Struct(fields)) => nested::convert_record(array, fields),
        (from, to) if from.is_numeric() && to.is_numeric() => number::convert(array, to),
        (T::LargeBinary, to) => json::read(array.as_binary::<i64>(), to),
        (T::Timestamp(..), T::Date32) => {
            let days = |time: i64| match time {
                i64::MAX => Ok(i32::MAX),
                i64::MIN => Ok(i32::MIN),
                time => i32::try_from(time.div_euclid(DAY)).map_err(overflow),
            };
            mapped::<TimestampMicrosecondType, Date32Type>(array, days)
        }
        (T::Date32, T::Timestamp(_, zone)) => {
            let time = |days: i32| match days {
                i32::MAX => Ok(i64::MAX),
                i32::MIN => Ok(i64::MIN),
                days => {
                    let time =
                        i64::from(days).checked_mul(DAY).filter(|at| input::is_timestamp(*at));
                    time.ok_or_else(|| overflow_of("timestamp"))
                }
            };
            let times = mapped::<Date32Type, TimestampMicrosecondType>(array, time)?;
            let times = times.as_primitive::<TimestampMicrosecondType>().clone();
            plain(&(Arc::new(times.with_timezone_opt(zone.clone())) as ArrayRef), to)
        }
        (T::Timestamp(..), T::Time64(_)) => {
            let clock = |time: i64| Ok(time.rem_euclid(DAY));
            mapped::<TimestampMicrosecondType, Time64MicrosecondType>(array, clock)
        }
        (T::Interval(_), T::Time64(_)) => {
            let clock =
                |value: IntervalMonthDayNano| Ok((value.nanoseconds / 1_000).rem_euclid(DAY));
            mapped::<IntervalMonthDayNanoType, Time64MicrosecondType>(array, clock)
        }
        (T::Time64(_), T::Interval(_)) => {
            let interval = |time: i64| Ok(IntervalMonthDayNano::new(0, 0, time * 1_000));
            mapped::<Time64MicrosecondType, IntervalMonthDayNanoType>(array, interval)
        }
        _ => plain(array, to),
    }
}

/// Arrow's cast.
pub(super) fn plain(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, to, &options)?)
}

/// Applies a function to every value that is not NULL.
fn mapped<From, To>(
    array: &ArrayRef,
    change: impl Fn(From::Native) -> Result<To::Native, Report>,
) -> Result<ArrayRef>
where
    From: arrow::array::ArrowPrimitiveType,
    To: arrow::array::ArrowPrimitiveType,
{
    let array = plain_unit::<From>(array)?;
    let values = array.as_primitive::<From>();
    let result: PrimitiveArray<To> = values.try_unary(|value| change(value).map_err(external))?;
    Ok(Arc::new(result))
}

/// The array in the unit of a type; a zone stays.
fn plain_unit<T: arrow::array::ArrowPrimitiveType>(array: &ArrayRef) -> Result<ArrayRef> {
    match (array.data_type(), T::DATA_TYPE) {
        (DataType::Timestamp(_, zone), DataType::Timestamp(unit, _)) => {
            plain(array, &DataType::Timestamp(unit, zone.clone()))
        }
        (_, wanted) => plain(array, &wanted),
    }
}

pub(super) fn external(report: Report) -> DataFusionError {
    DataFusionError::External(Box::new(report))
}

fn overflow<E>(_: E) -> Report {
    overflow_of("date")
}

fn overflow_of(name: &str) -> Report {
    let message = format!("{name} out of range");
    Report::new(millrace_types::SqlState::DATETIME_FIELD_OVERFLOW, message)
}

/// The values of a column of integers as `i64`.
fn integers(array: &ArrayRef) -> Result<PrimitiveArray<Int64Type>> {
    Ok(plain(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}
