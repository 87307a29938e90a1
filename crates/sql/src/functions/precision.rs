//! Times with fewer digits of seconds, and intervals with fewer fields: what `timestamp(3)`, `time(0)` and
//! `interval day` make of a value, as `millrace_precision(value, digits, field)`.
//!
//! Digits are rounded, away from the middle of PostgreSQL's times (2000-01-01); fields below the named one are cut.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};

use super::cast::external;
use super::no_function;

/// The name that plans have.
pub(crate) const PRECISION: &str = "millrace_precision";

/// 2000-01-01 in microseconds since 1970.
const MIDDLE: i64 = 946_684_800_000_000;
const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Precision {
    signature: Signature,
}

impl Precision {
    pub(super) fn new() -> Precision {
        Precision { signature: Signature::any(3, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Precision {
    fn name(&self) -> &'static str {
        PRECISION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (value, digits, field) = match args.args.as_slice() {
            [
                value,
                ColumnarValue::Scalar(ScalarValue::Int64(Some(digits))),
                ColumnarValue::Scalar(ScalarValue::Utf8(Some(field))),
            ] => (value, *digits, field.as_str()),
            _ => return Err(no_function(self.name(), &[])),
        };
        Ok(match value {
            ColumnarValue::Array(values) => ColumnarValue::Array(limited(values, digits, field)?),
            ColumnarValue::Scalar(value) => {
                let limited = limited(&value.to_array()?, digits, field)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&limited, 0)?)
            }
        })
    }
}

fn limited(values: &ArrayRef, digits: i64, field: &str) -> Result<ArrayRef> {
    let unit = unit(digits);
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let round = |time: i64| match time {
                // The infinite ones.
                i64::MIN | i64::MAX => Ok(time),
                _ => time
                    .checked_sub(MIDDLE)
                    .and_then(|from_middle| rounded(from_middle, unit))
                    .and_then(|from_middle| from_middle.checked_add(MIDDLE))
                    .ok_or_else(|| overflow("timestamp out of range")),
            };
            let times = each::<TimestampMicrosecondType>(values, round)?;
            Ok(Arc::new(times.with_timezone_opt(zone.clone())))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let round = |time| rounded(time, unit).ok_or_else(|| overflow("time out of range"));
            Ok(Arc::new(each::<Time64MicrosecondType>(values, round)?))
        }
        DataType::Interval(_) => {
            let cut =
                |value| cut(value, unit, field).ok_or_else(|| overflow("interval out of range"));
            Ok(Arc::new(each::<IntervalMonthDayNanoType>(values, cut)?))
        }
        other => Err(no_function(PRECISION, std::slice::from_ref(other))),
    }
}

fn each<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    change: impl Fn(T::Native) -> Result<T::Native, Report>,
) -> Result<PrimitiveArray<T>> {
    values.as_primitive::<T>().try_unary(|value| change(value).map_err(external))
}

fn overflow(message: &str) -> Report {
    Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

/// Microseconds of the last digit.
fn unit(digits: i64) -> i64 {
    let digits = u32::try_from(digits.clamp(0, 6)).unwrap_or(6);
    10_i64.pow(6 - digits)
}

/// The next multiple, away from zero in the middle of two.
fn rounded(time: i64, unit: i64) -> Option<i64> {
    let half = if time < 0 { -(unit / 2) } else { unit / 2 };
    Some(time.checked_add(half)? / unit * unit)
}

/// An interval down to a field, with seconds in such a unit.
fn cut(value: IntervalMonthDayNano, unit: i64, field: &str) -> Option<IntervalMonthDayNano> {
    let micros = value.nanoseconds / 1_000;
    let (months, days, micros) = match field {
        "year" => (value.months / 12 * 12, 0, 0),
        "month" => (value.months, 0, 0),
        "day" => (value.months, value.days, 0),
        "hour" => (value.months, value.days, micros / HOUR * HOUR),
        "minute" => (value.months, value.days, micros / MINUTE * MINUTE),
        _ => (value.months, value.days, rounded(micros, unit)?),
    };
    Some(IntervalMonthDayNano::new(months, days, micros.checked_mul(1_000)?))
}

/// An interval literal down to a field, with so many digits of seconds.
pub(crate) fn cut_to(
    value: IntervalMonthDayNano,
    digits: i64,
    field: &str,
) -> Option<IntervalMonthDayNano> {
    cut(value, unit(digits), field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_rounded_away_from_the_middle_and_fields_cut() {
        assert_eq!(rounded(1_500_000, 1_000_000), Some(2_000_000));
        assert_eq!(rounded(-1_500_000, 1_000_000), Some(-2_000_000));
        assert_eq!(rounded(1_234_567, 1), Some(1_234_567));
        assert_eq!(rounded(1_234_567, 1_000), Some(1_235_000));
        let value = IntervalMonthDayNano::new(14, 3, 3_723_456_789_000);
        let cut = |field| cut_to(value, 6, field).map(|v| (v.months, v.days, v.nanoseconds));
        assert_eq!(cut("year"), Some((12, 0, 0)));
        assert_eq!(cut("day"), Some((14, 3, 0)));
        assert_eq!(cut("minute"), Some((14, 3, 3_720_000_000_000)));
        assert_eq!(cut("second"), Some((14, 3, 3_723_456_789_000)));
    }
}
