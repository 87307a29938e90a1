//! Dates and times from numbers: `make_date`, `make_time`, `make_timestamp`, `make_timestamptz`.

#![allow(clippy::cast_possible_truncation, reason = "a float's range is checked before its cast")]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::input::{self, Zone};
use millrace_types::{Report, SqlState, TIME_ZONE, timestamptz};

use super::cast::external;
use super::invoke::{over_columns, text, texts};
use super::no_function;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Date,
    Time,
    Timestamp,
    Zoned,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Made {
    what: What,
    signature: Signature,
}

pub(super) fn all() -> Vec<Made> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    let made = |what| Made { what, signature: signature() };
    [What::Date, What::Time, What::Timestamp, What::Zoned].map(made).into()
}

impl ScalarUDFImpl for Made {
    fn name(&self) -> &'static str {
        match self.what {
            What::Date => "make_date",
            What::Time => "make_time",
            What::Timestamp => "make_timestamp",
            What::Zoned => "make_timestamptz",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::Date => DataType::Date32,
            What::Time => DataType::Time64(TimeUnit::Microsecond),
            What::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            What::Zoned => timestamptz(),
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let counts = match self.what {
            What::Date => 3..=3,
            What::Time => 3..=3,
            What::Timestamp => 6..=6,
            What::Zoned => 6..=7,
        };
        let seconds = if self.what == What::Time { 2 } else { 5 };
        let taken = types.iter().enumerate().map(|(at, given)| match given {
            DataType::Null if at == 6 => Some(DataType::Utf8),
            DataType::Null if at == seconds => Some(DataType::Float64),
            DataType::Null => Some(DataType::Int64),
            given if at == 6 => given.is_string().then_some(DataType::Utf8),
            given if at == seconds => given.is_numeric().then_some(DataType::Float64),
            given => given.is_integer().then_some(DataType::Int64),
        });
        let taken: Option<Vec<DataType>> = taken.collect();
        let taken = taken.filter(|_| counts.contains(&types.len()));
        taken.ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let zones = arrays.get(6).map(texts).transpose()?;
            let rows = arrays.first().map_or(0, |array| array.len());
            let made = (0..rows).map(|row| self.row(arrays, zones.as_ref(), row));
            let made = made.collect::<Result<Vec<Option<i64>>, Report>>().map_err(external)?;
            Ok(match self.what {
                What::Date => {
                    let days = |day: Option<i64>| day.and_then(|day| i32::try_from(day).ok());
                    Arc::new(made.into_iter().map(days).collect::<Date32Array>()) as ArrayRef
                }
                What::Time => Arc::new(Time64MicrosecondArray::from(made)),
                What::Timestamp => Arc::new(TimestampMicrosecondArray::from(made)),
                What::Zoned => {
                    Arc::new(TimestampMicrosecondArray::from(made).with_timezone(TIME_ZONE))
                }
            })
        })
    }
}

impl Made {
    fn row(
        &self,
        arrays: &[ArrayRef],
        zones: Option<&StringArray>,
        row: usize,
    ) -> Result<Option<i64>, Report> {
        if arrays.iter().any(|array| array.is_null(row)) {
            return Ok(None);
        }
        let part = |at: usize| arrays[at].as_primitive::<Int64Type>().value(row);
        let seconds = |at: usize| arrays[at].as_primitive::<Float64Type>().value(row);
        match self.what {
            What::Date => days(part(0), part(1), part(2)).map(Some),
            What::Time => clock(part(0), part(1), seconds(2)).map(Some),
            What::Timestamp | What::Zoned => {
                let days = days(part(0), part(1), part(2))?;
                let clock = clock(part(3), part(4), seconds(5))?;
                let local = days.checked_mul(DAY).and_then(|micros| micros.checked_add(clock));
                let local = local.filter(|local| input::is_timestamp(*local));
                let local = local.ok_or_else(|| overflow("timestamp out of range".to_owned()))?;
                let zone = zones.and_then(|zones| text(zones, row));
                let offset = zone.map_or(Ok(0), |zone| offset(zone, local))?;
                Ok(Some(local - offset * SECOND))
            }
        }
    }
}

fn overflow(message: String) -> Report {
    Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

/// Days since 1970; a year below 0 is one before Christ, and there is none numbered 0.
fn days(year: i64, month: i64, day: i64) -> Result<i64, Report> {
    let days = match year {
        0 => None,
        year if year < 0 => input::days(year + 1, month, day),
        year => input::days(year, month, day),
    };
    let message = || format!("date field value out of range: {year}-{month:02}-{day:02}");
    days.ok_or_else(|| overflow(message()))
}

/// Microseconds since midnight, up to the end of the day.
fn clock(hour: i64, minute: i64, seconds: f64) -> Result<i64, Report> {
    let fits = (0..=24).contains(&hour)
        && (0..60).contains(&minute)
        && (0.0..=60.0).contains(&seconds)
        && (hour < 24 || (minute == 0 && seconds == 0.0));
    if !fits {
        let message = format!("time field value out of range: {hour}:{minute:02}:{seconds:02}");
        return Err(overflow(message));
    }
    let micros = (seconds * 1e6).round_ties_even() as i64;
    Ok((hour * 60 + minute) * 60 * SECOND + micros)
}

/// Seconds east of UTC; a number counts to the east, as in the texts of times.
fn offset(zone: &str, local: i64) -> Result<i64, Report> {
    let trimmed = zone.trim();
    if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("invalid input syntax for type numeric time zone: \"{zone}\"");
        return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    let offset = Zone::of(zone)?.offset_of_reading(local);
    Ok(if trimmed.starts_with(['+', '-']) { -offset } else { offset })
}
