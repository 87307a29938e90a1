//! `date_part(field, time)` and `EXTRACT(field FROM time)`: the fields of dates, times and intervals.
//!
//! The first gives double precision, the second numeric with as many places as the field can have.

#![allow(clippy::cast_precision_loss, reason = "date_part gives doubles, as PostgreSQL does")]

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState, SqlType};

use super::cast::{civil, external, plain};
use super::{no_function, type_name};

const SECOND: i128 = 1_000_000;
const DAY: i64 = 86_400_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DatePart {
    is_extract: bool,
    signature: Signature,
}

impl DatePart {
    pub(super) fn new(is_extract: bool) -> DatePart {
        DatePart { is_extract, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn result(&self, unit: Option<&str>) -> DataType {
        let places = match unit {
            Some("second" | "seconds" | "epoch" | "julian") => 6,
            Some("millisecond" | "milliseconds") => 3,
            _ => 0,
        };
        if self.is_extract { DataType::Decimal128(30, places) } else { DataType::Float64 }
    }
}

/// The name of a field as it is compared.
fn unit_of(value: Option<&ScalarValue>) -> Option<String> {
    value.and_then(|value| value.try_as_str().flatten()).map(str::to_ascii_lowercase)
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &'static str {
        if self.is_extract { "extract" } else { "date_part" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result(None))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let unit = unit_of(args.scalar_arguments.first().copied().flatten());
        Ok(Arc::new(Field::new(self.name(), self.result(unit.as_deref()), true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [unit, time] = types else { return Err(no_function(self.name(), types)) };
        let taken = match time {
            DataType::Timestamp(_, zone) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            DataType::Date32 if self.is_extract => DataType::Date32,
            DataType::Date32 => DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
            DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval.arrow(),
            DataType::Null => millrace_types::timestamptz(),
            _ => return Err(no_function(self.name(), types)),
        };
        match unit.is_string() || unit.is_null() {
            true => Ok(vec![DataType::Utf8, taken]),
            false => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type();
        let [ColumnarValue::Scalar(unit), times] = args.args.as_slice() else {
            let report = Report::unsupported("a field of a time that is not a constant");
            return Err(external(report));
        };
        let Some(unit) = unit_of(Some(unit)) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(wanted)?));
        };
        let array = times.to_array(args.number_rows)?;
        let values = fields(&unit, &array)?;
        let result: ArrayRef = match wanted {
            DataType::Decimal128(precision, places) => {
                let factor = 10i128.pow(6 - u32::from(places.unsigned_abs()));
                let scaled = values.into_iter().map(|value| value.map(|value| value / factor));
                let array = scaled.collect::<Decimal128Array>();
                Arc::new(array.with_precision_and_scale(*precision, *places)?)
            }
            _ => {
                let doubles = values.into_iter().map(|value| value.map(|v| v as f64 / 1e6));
                Arc::new(doubles.collect::<PrimitiveArray<Float64Type>>())
            }
        };
        Ok(match times {
            ColumnarValue::Scalar(_) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
            }
            ColumnarValue::Array(_) => ColumnarValue::Array(result),
        })
    }
}

/// Millionths of a field of each time.
fn fields(unit: &str, array: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let sql = array.data_type();
    let missing = || {
        let known = UNITS.contains(&unit.trim_end_matches('s'));
        let said = if known { "not supported" } else { "not recognized" };
        let code =
            if known { SqlState::FEATURE_NOT_SUPPORTED } else { SqlState::INVALID_PARAMETER_VALUE };
        let message = format!("unit \"{unit}\" {said} for type {}", type_name(sql));
        external(Report::new(code, message))
    };
    macro_rules! each {
        ($kind:ty, $array:expr, $field:expr) => {{
            let field = |value| $field(value).ok_or_else(missing);
            $array.as_primitive::<$kind>().iter().map(|v| v.map(field).transpose()).collect()
        }};
    }
    match sql {
        DataType::Date32 => {
            let times = plain(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let of_day = ["hour", "minute", "second", "millisecond", "microsecond"];
            if of_day.contains(&unit.trim_end_matches('s')) {
                return Err(missing());
            }
            each!(TimestampMicrosecondType, times, |time| of_timestamp(unit, time, false))
        }
        DataType::Timestamp(_, zone) => {
            let zoned = zone.is_some();
            each!(TimestampMicrosecondType, array, |time| of_timestamp(unit, time, zoned))
        }
        DataType::Time64(_) => each!(Time64MicrosecondType, array, |time| match unit {
            "epoch" => Some(i128::from(time)),
            _ => of_clock(unit, time),
        }),
        _ => each!(IntervalMonthDayNanoType, array, |value| of_interval(unit, value)),
    }
}

/// All fields, without the `s` that some may have.
const UNITS: [&str; 21] = [
    "century",
    "day",
    "decade",
    "dow",
    "doy",
    "epoch",
    "hour",
    "isodow",
    "isoyear",
    "julian",
    "microsecond",
    "millennium",
    "millisecond",
    "minute",
    "month",
    "quarter",
    "second",
    "timezone",
    "timezone_hour",
    "week",
    "year",
];

/// The fields of a time of day; hours may be negative in intervals.
fn of_clock(unit: &str, micros: i64) -> Option<i128> {
    let micros = i128::from(micros);
    let whole = |value: i128| Some(value * SECOND);
    match unit {
        "microsecond" | "microseconds" => whole(micros % (60 * SECOND)),
        "millisecond" | "milliseconds" => Some(micros % (60 * SECOND) * 1_000),
        "second" | "seconds" => Some(micros % (60 * SECOND)),
        "minute" | "minutes" => whole(micros / (60 * SECOND) % 60),
        "hour" | "hours" => whole(micros / (3_600 * SECOND)),
        _ => None,
    }
}

pub(super) fn of_timestamp(unit: &str, time: i64, zoned: bool) -> Option<i128> {
    let (days, clock) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let whole = |value: i64| Some(i128::from(value) * SECOND);
    // Monday is 0.
    let weekday = (days + 3).rem_euclid(7);
    let thursday = civil(days - weekday + 3);
    match unit {
        "epoch" => Some(i128::from(time)),
        "julian" => {
            let part = i128::from(clock) * SECOND / i128::from(DAY);
            Some(i128::from(days + 2_440_588) * SECOND + part)
        }
        "day" | "days" => whole(day),
        "month" | "months" => whole(month),
        "quarter" => whole((month + 2) / 3),
        "year" | "years" => whole(if year > 0 { year } else { year - 1 }),
        "decade" | "decades" => whole(year.div_euclid(10)),
        "century" | "centuries" => whole(hundreds(year, 100)),
        "millennium" | "millennia" => whole(hundreds(year, 1_000)),
        "dow" => whole((weekday + 1) % 7),
        "isodow" => whole(weekday + 1),
        "doy" => whole(day_of_year(year, month, day)),
        "week" => whole((day_of_year(thursday.0, thursday.1, thursday.2) - 1) / 7 + 1),
        "isoyear" => whole(if thursday.0 > 0 { thursday.0 } else { thursday.0 - 1 }),
        "timezone" | "timezone_hour" | "timezone_minute" if zoned => Some(0),
        _ => of_clock(unit, clock),
    }
}

/// Centuries and millennia begin with year 1; there is none numbered zero.
fn hundreds(year: i64, size: i64) -> i64 {
    match year > 0 {
        true => (year + size - 1) / size,
        false => -((size - year) / size),
    }
}

fn day_of_year(year: i64, month: i64, day: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before = (month * 367 - 362) / 12;
    let february = match (month > 2, leap) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    };
    before - february + day
}

pub(super) fn of_interval(unit: &str, value: IntervalMonthDayNano) -> Option<i128> {
    let (months, days) = (i64::from(value.months), i64::from(value.days));
    let micros = value.nanoseconds / 1_000;
    let (years, month) = (months / 12, months % 12);
    let whole = |value: i64| Some(i128::from(value) * SECOND);
    match unit {
        "epoch" => {
            // A year of 365.25 days, a month of 30.
            let days = i128::from(years) * 36_525 + i128::from(month * 30 + days) * 100;
            Some(days * 864 * SECOND + i128::from(micros))
        }
        "day" | "days" => whole(days),
        "month" | "months" => whole(month),
        "quarter" => whole(month / 3 + 1),
        "year" | "years" => whole(years),
        "decade" | "decades" => whole(years / 10),
        "century" | "centuries" => whole(years / 100),
        "millennium" | "millennia" => whole(years / 1_000),
        _ => of_clock(unit, micros),
    }
}
