//! `date_trunc(unit, time [, zone])`: the begin of the unit that holds a time; of intervals, the whole units.
//!
//! With a zone it is the begin by the clock there: of a day or longer the reading that stands for it is looked
//! up anew, of less the offset stays, as an hour that comes twice has two begins.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::input::{self, Zone};
use millrace_types::{SqlType, timestamptz};

use super::cast::{civil, external};
use super::intervals::truncated;
use super::invoke::{over_columns, text, texts};
use super::no_function;
use super::time::{is_finite, out_of_range, time_type};
use super::unit::{not_recognized, not_supported, unit};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    signature: Signature,
}

impl DateTrunc {
    pub(super) fn new() -> DateTrunc {
        DateTrunc { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &'static str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.get(1).cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wrong = || no_function(self.name(), types);
        let text = |given: &DataType| given.is_string() || given.is_null();
        match types {
            [unit, span] if text(unit) && is_interval(span) => {
                Ok(vec![DataType::Utf8, SqlType::Interval.arrow()])
            }
            [unit, time] if text(unit) => {
                Ok(vec![DataType::Utf8, time_type(time).ok_or_else(wrong)?])
            }
            [unit, time, zone] if text(unit) && text(zone) && time_type(time).is_some() => {
                Ok(vec![DataType::Utf8, timestamptz(), DataType::Utf8])
            }
            _ => Err(wrong()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let [units, times, zone @ ..] = arrays else {
                return Err(no_function("date_trunc", &[]));
            };
            let units = texts(units)?;
            match is_interval(times.data_type()) {
                true => of_intervals(&units, times),
                false => {
                    let zones = zone.first().map(texts).transpose()?;
                    of_times(&units, times, zones.as_ref())
                }
            }
        })
    }
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_) | DataType::Time64(_))
}

fn of_intervals(units: &StringArray, spans: &ArrayRef) -> Result<ArrayRef> {
    let pairs = units.iter().zip(spans.as_primitive::<IntervalMonthDayNanoType>());
    let whole = pairs.map(|(unit, span)| unit.zip(span).map(|(u, s)| truncated(u, s)).transpose());
    Ok(Arc::new(whole.collect::<Result<IntervalMonthDayNanoArray>>()?))
}

fn of_times(
    units: &StringArray,
    array: &ArrayRef,
    zones: Option<&StringArray>,
) -> Result<ArrayRef> {
    let times = array.as_primitive::<TimestampMicrosecondType>();
    // The unit is mostly one for all rows, and the zone.
    let mut last: Option<(&str, &'static str)> = None;
    let mut clock: Option<(&str, Zone)> = None;
    let mut begins = Vec::with_capacity(times.len());
    for row in 0..times.len() {
        let is_there = times.is_valid(row) && zones.is_none_or(|zones| zones.is_valid(row));
        let Some(written) = text(units, row).filter(|_| is_there) else {
            begins.push(None);
            continue;
        };
        let unit = match last {
            Some((known, unit)) if known == written => unit,
            _ => truncates(written, array.data_type())?,
        };
        last = Some((written, unit));
        let time = times.value(row);
        let begin = match zones.and_then(|zones| text(zones, row)) {
            _ if !is_finite(time) => Some(time),
            None => begin(unit, time),
            Some(name) => {
                let zone = match clock {
                    Some((known, zone)) if known == name => zone,
                    _ => Zone::of(name).map_err(external)?,
                };
                clock = Some((name, zone));
                there(unit, time, zone)
            }
        };
        begins.push(Some(begin.ok_or_else(out_of_range)?));
    }
    let begins = TimestampMicrosecondArray::from(begins);
    Ok(Arc::new(begins.with_data_type(array.data_type().clone())))
}

/// The unit of a name that a time can be cut to.
fn truncates(written: &str, of: &DataType) -> Result<&'static str> {
    match unit(written) {
        None | Some("dow" | "doy" | "isodow" | "isoyear" | "epoch" | "julian") => {
            Err(not_recognized(written, of))
        }
        Some("timezone" | "timezone_hour" | "timezone_minute") => Err(not_supported(written, of)),
        Some(unit) => Ok(unit),
    }
}

/// The begin by the clock of a zone; None where no time is so early.
fn there(unit: &str, time: i64, zone: Zone) -> Option<i64> {
    let begin = begin(unit, zone.reading(time)?)?;
    let is_short = matches!(unit, "microsecond" | "millisecond" | "second" | "minute" | "hour");
    match is_short {
        true => begin.checked_sub(zone.offset(time) * SECOND),
        false => zone.time(begin),
    }
}

/// The begin of the unit that holds a time; None where no time is so early.
fn begin(unit: &str, time: i64) -> Option<i64> {
    let whole = |size: i64| time.checked_sub(time.rem_euclid(size));
    let day = time.div_euclid(DAY);
    let (year, month, _) = civil(day);
    let first = |year: i64, month: i64| input::days(year, month, 1)?.checked_mul(DAY);
    // Centuries and millennia begin with the years 1, 101, ...; before Christ as PostgreSQL has them.
    let hundreds = |size: i64| match year > 0 {
        true => (year - 1) / size * size + 1,
        false => -((size - 1 - (year - 1)) / size * size) + 1,
    };
    match unit {
        "microsecond" => Some(time),
        "millisecond" => whole(1_000),
        "second" => whole(SECOND),
        "minute" => whole(60 * SECOND),
        "hour" => whole(3_600 * SECOND),
        "day" => whole(DAY),
        "week" => (day - (day + 3).rem_euclid(7)).checked_mul(DAY),
        "month" => first(year, month),
        "quarter" => first(year, (month - 1) / 3 * 3 + 1),
        "year" => first(year, 1),
        "decade" => first(year.div_euclid(10) * 10, 1),
        "century" => first(hundreds(100), 1),
        _ => first(hundreds(1_000), 1),
    }
}
