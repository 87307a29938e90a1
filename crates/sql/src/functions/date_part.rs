//! `date_part(field, time)` and `EXTRACT(field FROM time)`: the fields of dates, times and intervals.
//!
//! The first gives double precision, the second numeric with as many places as the field can have.

#![allow(clippy::cast_precision_loss, reason = "date_part gives doubles, as PostgreSQL does")]

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlType};

use super::cast::{civil, external};
use super::no_function;
use super::unit::{not_recognized, not_supported, unit};

const SECOND: i128 = 1_000_000;
const DAY: i64 = 86_400_000_000;
/// Places of a day with its parts, as PostgreSQL's division gives them.
const JULIAN_PLACES: i8 = 20;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DatePart {
    is_extract: bool,
    signature: Signature,
}

impl DatePart {
    pub(super) fn new(is_extract: bool) -> DatePart {
        DatePart { is_extract, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn result(&self, unit: Option<&str>, of: Option<&DataType>) -> DataType {
        let is_date = of == Some(&DataType::Date32);
        let places = match unit {
            Some("second") => 6,
            Some("epoch") if !is_date => 6,
            Some("julian") if !is_date => JULIAN_PLACES,
            Some("millisecond") => 3,
            _ => 0,
        };
        match self.is_extract {
            true => DataType::Decimal128(if places > 6 { 38 } else { 30 }, places),
            false => DataType::Float64,
        }
    }
}

/// A field as it was written; EXTRACT takes a text in quotes, too.
pub(super) fn written(value: Option<&ScalarValue>) -> Option<&str> {
    let text = value.and_then(|value| value.try_as_str().flatten())?;
    Some(text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text))
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &'static str {
        if self.is_extract { "extract" } else { "date_part" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result(None, None))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let unit = written(args.scalar_arguments.first().copied().flatten()).and_then(unit);
        let of = args.arg_fields.get(1).map(|field| field.data_type());
        Ok(Arc::new(Field::new(self.name(), self.result(unit, of), true)))
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
        let [ColumnarValue::Scalar(field), times] = args.args.as_slice() else {
            let report = Report::unsupported("a field of a time that is not a constant");
            return Err(external(report));
        };
        let Some(written) = written(Some(field)) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(wanted)?));
        };
        let array = times.to_array(args.number_rows)?;
        let result: ArrayRef = match wanted {
            DataType::Decimal128(_, JULIAN_PLACES) => {
                let days = julians(&array)?.into_iter().map(|day| day.map(exact).transpose());
                let days = days.collect::<Result<Decimal128Array>>()?;
                Arc::new(days.with_data_type(wanted.clone()))
            }
            DataType::Decimal128(_, places) => {
                let factor = 10i128.pow(6 - u32::from(places.unsigned_abs()));
                let scaled = fields(written, &array)?.into_iter().map(|value| {
                    value.map(|value| exact(value).map(|value| value / factor)).transpose()
                });
                let scaled = scaled.collect::<Result<Decimal128Array>>()?;
                Arc::new(scaled.with_data_type(wanted.clone()))
            }
            _ => {
                let (values, unit) = match super::unit::unit(written) {
                    Some("julian") => (julians(&array)?, 1e20),
                    _ => (fields(written, &array)?, 1e6),
                };
                let double = |value| match value {
                    INFINITE => f64::INFINITY,
                    MINUS_INFINITE => f64::NEG_INFINITY,
                    value => value as f64 / unit,
                };
                let doubles = values.into_iter().map(|value| value.map(double));
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

/// A value of a field that is there.
fn exact(value: i128) -> Result<i128> {
    match value {
        INFINITE => Err(external(Report::unsupported("numeric value Infinity"))),
        MINUS_INFINITE => Err(external(Report::unsupported("numeric value -Infinity"))),
        value => Ok(value),
    }
}

/// The days since 4714 BC of each time, with their parts, 20 places.
fn julians(array: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let DataType::Timestamp(..) = array.data_type() else {
        let millionths = fields("julian", array)?.into_iter();
        let scaled = |value: i128| value.saturating_mul(10i128.pow(14));
        return Ok(millionths.map(|value| value.map(scaled)).collect());
    };
    let whole = 10i128.pow(20);
    let of = |time: i64| match infinite("julian", time) {
        Some(found) => found,
        None => {
            let (days, clock) = (time.div_euclid(DAY), i128::from(time.rem_euclid(DAY)));
            let part = (clock * whole + i128::from(DAY) / 2) / i128::from(DAY);
            Some(i128::from(days + 2_440_588) * whole + part)
        }
    };
    Ok(array.as_primitive::<TimestampMicrosecondType>().iter().map(|v| v.and_then(of)).collect())
}

/// What stands for the fields of `infinity`, which go on, and of `-infinity`.
const INFINITE: i128 = i128::MAX;
const MINUS_INFINITE: i128 = i128::MIN;

/// A field of an infinite time: one that comes again and again is NULL. None for other times.
fn infinite(unit: &str, time: i64) -> Option<Option<i128>> {
    let goes_on =
        ["year", "decade", "century", "millennium", "julian", "isoyear", "epoch"].contains(&unit);
    match time {
        i64::MAX => Some(goes_on.then_some(INFINITE)),
        i64::MIN => Some(goes_on.then_some(MINUS_INFINITE)),
        _ => None,
    }
}

/// Millionths of a field of each time.
fn fields(written: &str, array: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let sql = array.data_type();
    let unit = unit(written).ok_or_else(|| not_recognized(written, sql))?;
    let missing = || not_supported(written, sql);
    macro_rules! each {
        ($kind:ty, $field:expr) => {{
            let field = |value| $field(value).ok_or_else(missing);
            array.as_primitive::<$kind>().iter().map(|v| v.map(field).transpose()).collect()
        }};
    }
    let of_time = |time: i64, zoned: bool| match infinite(unit, time) {
        Some(found) => of_timestamp(unit, 0, zoned).map(|_| found),
        None => of_timestamp(unit, time, zoned).map(Some),
    };
    let checked = |found: Option<Option<i128>>| found.ok_or_else(missing);
    match sql {
        DataType::Date32 => {
            let of_day = ["hour", "minute", "second", "millisecond", "microsecond"];
            if of_day.contains(&unit) {
                return Err(missing());
            }
            let micros = |day: i32| match day {
                i32::MAX => i64::MAX,
                i32::MIN => i64::MIN,
                day => i64::from(day).saturating_mul(DAY),
            };
            let days = array.as_primitive::<Date32Type>().iter();
            days.map(|day| day.map_or(Ok(None), |day| checked(of_time(micros(day), false))))
                .collect()
        }
        DataType::Timestamp(_, zone) => {
            let zoned = zone.is_some();
            let times = array.as_primitive::<TimestampMicrosecondType>().iter();
            times.map(|time| time.map_or(Ok(None), |time| checked(of_time(time, zoned)))).collect()
        }
        DataType::Time64(_) => each!(Time64MicrosecondType, |time| match unit {
            "epoch" => Some(i128::from(time)),
            _ => of_clock(unit, time),
        }),
        _ => each!(IntervalMonthDayNanoType, |value| of_interval(unit, value)),
    }
}

/// The fields of a time of day; hours may be negative in intervals.
fn of_clock(unit: &str, micros: i64) -> Option<i128> {
    let micros = i128::from(micros);
    let whole = |value: i128| Some(value * SECOND);
    match unit {
        "microsecond" => whole(micros % (60 * SECOND)),
        "millisecond" => Some(micros % (60 * SECOND) * 1_000),
        "second" => Some(micros % (60 * SECOND)),
        "minute" => whole(micros / (60 * SECOND) % 60),
        "hour" => whole(micros / (3_600 * SECOND)),
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
        "day" => whole(day),
        "month" => whole(month),
        "quarter" => whole((month + 2) / 3),
        "year" => whole(if year > 0 { year } else { year - 1 }),
        "decade" => whole(year.div_euclid(10)),
        "century" => whole(hundreds(year, 100)),
        "millennium" => whole(hundreds(year, 1_000)),
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
        "day" => whole(days),
        "month" => whole(month),
        "quarter" => whole(month / 3 + 1),
        "year" => whole(years),
        "decade" => whole(years / 10),
        "century" => whole(years / 100),
        "millennium" => whole(years / 1_000),
        _ => of_clock(unit, micros),
    }
}
