//! Intervals from numbers, and the ways to write the same length with other parts: `make_interval`,
//! `justify_days`, `justify_hours`, `justify_interval`.

#![allow(clippy::cast_possible_truncation, reason = "a float's range is checked before its cast")]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState, SqlType};

use super::cast::plain;
use super::invoke::over_columns;
use super::{no_function, user_error};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

fn out_of_range() -> DataFusionError {
    user_error(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

/// `make_interval(years, months, weeks, days, hours, mins, secs)`
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MakeInterval {
    signature: Signature,
}

impl MakeInterval {
    pub(super) fn new() -> MakeInterval {
        MakeInterval { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MakeInterval {
    fn name(&self) -> &'static str {
        "make_interval"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SqlType::Interval.arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let taken = types.iter().enumerate().map(|(at, given)| match given {
            given if at < 6 && (given.is_integer() || given.is_null()) => Some(DataType::Int64),
            given if at == 6 && (given.is_numeric() || given.is_null()) => Some(DataType::Float64),
            _ => None,
        });
        taken.collect::<Option<Vec<_>>>().ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let count = arrays.first().map_or(1, |array| array.len());
            let of = |row: usize| {
                if arrays.iter().any(|array| array.is_null(row)) {
                    return Ok(None);
                }
                let part = |at: usize| {
                    arrays.get(at).map_or(0, |array| array.as_primitive::<Int64Type>().value(row))
                };
                let seconds = arrays
                    .get(6)
                    .map_or(0.0, |array| array.as_primitive::<Float64Type>().value(row));
                made([0, 1, 2, 3, 4, 5].map(part), seconds).map(Some).ok_or_else(out_of_range)
            };
            let made = (0..count).map(of).collect::<Result<IntervalMonthDayNanoArray>>()?;
            Ok(Arc::new(made) as ArrayRef)
        })
    }
}

fn made(parts: [i64; 6], seconds: f64) -> Option<IntervalMonthDayNano> {
    let [years, months, weeks, days, hours, minutes] = parts;
    let months = i32::try_from(years.checked_mul(12)?.checked_add(months)?).ok()?;
    let days = i32::try_from(weeks.checked_mul(7)?.checked_add(days)?).ok()?;
    let micros = (seconds * 1e6).round_ties_even();
    let nanos = (micros.abs() < 9.2e15).then(|| micros as i64 * 1_000)?;
    let clock = hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?;
    let nanos = clock.checked_mul(SECOND)?.checked_add(nanos)?;
    Some(IntervalMonthDayNano::new(months, days, nanos))
}

/// Which parts a function carries over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Carries {
    /// Thirty days to a month.
    Days,
    /// Twenty-four hours to a day.
    Hours,
    /// Both, and all parts get one sign.
    All,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Justify {
    carries: Carries,
    signature: Signature,
}

pub(super) fn justify() -> Vec<Justify> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [Carries::Days, Carries::Hours, Carries::All]
        .map(|carries| Justify { carries, signature: signature() })
        .into()
}

impl ScalarUDFImpl for Justify {
    fn name(&self) -> &'static str {
        match self.carries {
            Carries::Days => "justify_days",
            Carries::Hours => "justify_hours",
            Carries::All => "justify_interval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SqlType::Interval.arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Interval(_) | DataType::Duration(_) | DataType::Null] => {
                Ok(vec![SqlType::Interval.arrow()])
            }
            [text] if text.is_string() => Ok(vec![SqlType::Interval.arrow()]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let spans = arrays.first().ok_or_else(|| no_function(self.name(), &[]))?;
            let spans = plain(spans, &SqlType::Interval.arrow())?;
            let justified = |span| justified(span, self.carries).ok_or_else(out_of_range);
            let result: IntervalMonthDayNanoArray =
                spans.as_primitive::<IntervalMonthDayNanoType>().try_unary(justified)?;
            Ok(Arc::new(result) as ArrayRef)
        })
    }
}

/// Moves whole upper units out of a lower part, and makes its sign that of the part above.
fn carried(upper: i64, lower: i64, unit: i64) -> (i64, i64) {
    let (upper, lower) = (upper + lower / unit, lower % unit);
    match (upper.signum(), lower.signum()) {
        (1, -1) => (upper - 1, lower + unit),
        (-1, 1) => (upper + 1, lower - unit),
        _ => (upper, lower),
    }
}

fn justified(span: IntervalMonthDayNano, carries: Carries) -> Option<IntervalMonthDayNano> {
    let (mut months, mut days, mut nanos) =
        (i64::from(span.months), i64::from(span.days), span.nanoseconds);
    match carries {
        Carries::Days => (months, days) = carried(months, days, 30),
        Carries::Hours => (days, nanos) = carried(days, nanos, DAY),
        Carries::All => {
            (days, nanos) = (days + nanos / DAY, nanos % DAY);
            (months, days) = (months + days / 30, days % 30);
            let below = if days == 0 { nanos.signum() } else { days.signum() };
            if months.signum() * below < 0 {
                (months, days) = (months - months.signum(), days + 30 * months.signum());
            }
            (days, nanos) = carried(days, nanos, DAY);
        }
    }
    let (months, days) = (i32::try_from(months).ok()?, i32::try_from(days).ok()?);
    Some(IntervalMonthDayNano::new(months, days, nanos))
}

/// `date_trunc(unit, interval)`
pub(super) fn truncated(unit: &str, span: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let to_months = |unit: i32| IntervalMonthDayNano::new(span.months / unit * unit, 0, 0);
    let to_nanos = |unit: i64| {
        let nanos = span.nanoseconds / unit * unit;
        IntervalMonthDayNano::new(span.months, span.days, nanos)
    };
    let found = super::unit::unit(unit);
    Ok(match found.unwrap_or_default() {
        "millennium" => to_months(12_000),
        "century" => to_months(1_200),
        "decade" => to_months(120),
        "year" => to_months(12),
        "quarter" => to_months(3),
        "month" => to_months(1),
        "week" => {
            let message = format!("unit \"{unit}\" not supported for type interval");
            let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, message);
            let report = report.detail("Months usually have fractional weeks.");
            return Err(super::cast::external(report));
        }
        "day" => to_nanos(i64::MAX),
        "hour" => to_nanos(3_600 * SECOND),
        "minute" => to_nanos(60 * SECOND),
        "second" => to_nanos(SECOND),
        "millisecond" => to_nanos(1_000_000),
        "microsecond" => to_nanos(1_000),
        _ => return Err(super::unit::not_recognized(unit, &SqlType::Interval.arrow())),
    })
}
