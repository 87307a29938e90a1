//! What a session's time zone decides, with the zone as the last argument.
//!
//! [`crate::analyze`] puts these calls where a statement of a session with another zone than UTC reads, shows or
//! moves a `timestamp with time zone`. As the zone is a constant of the plan, a materialized view keeps the
//! one of the session that made it.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, PrimitiveArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, lit,
};
use millrace_types::input::{self, Zone};
use millrace_types::{SqlState, SqlType, TIME_ZONE, timestamptz};

use super::cast::{external, own, plain, shown_at};
use super::invoke::{over_columns, texts};
use super::time::out_of_range;
use super::{call, no_function, template, udf, user_error};

/// Which of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Zoned {
    /// `(text, zone)`: the time that a text means, read by a clock there; of an array of texts the array of times.
    Read,
    /// `(value, zone)`: the texts of the times in a value, as a clock shows them there.
    Text,
    /// `(value, zone)`: the texts of the times in a value as JSON has them.
    Iso,
    /// `(time, interval, zone)`: the time later by an interval, whose months and days are those there.
    Add,
    /// `(time, zone)`: seconds to the east of UTC.
    Offset,
    /// `(time, template, zone)`: `to_char`.
    ToChar,
    /// `(text, template, zone)`: `to_timestamp`.
    ToTimestamp,
}

const ALL: [Zoned; 7] = [
    Zoned::Read,
    Zoned::Text,
    Zoned::Iso,
    Zoned::Add,
    Zoned::Offset,
    Zoned::ToChar,
    Zoned::ToTimestamp,
];

/// The function of one of them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    which: Zoned,
    signature: Signature,
}

pub(super) fn all() -> Vec<Call> {
    ALL.map(Call::new).into()
}

impl Call {
    fn new(which: Zoned) -> Call {
        let count = match which {
            Zoned::Read | Zoned::Text | Zoned::Iso | Zoned::Offset => 2,
            Zoned::Add | Zoned::ToChar | Zoned::ToTimestamp => 3,
        };
        Call { which, signature: Signature::any(count, Volatility::Immutable) }
    }
}

/// The call of one of them; `args` are those before the zone.
pub(crate) fn zoned(which: Zoned, mut args: Vec<Expr>, zone: Zone) -> Expr {
    args.push(lit(zone.to_string()));
    call(udf(Call::new(which)), args)
}

/// `timezone(zone, time)`
pub(crate) fn at_zone(zone: Zone, time: Expr) -> Expr {
    call(udf(super::timezone::Timezone::new()), vec![lit(zone.to_string()), time])
}

/// A text read as a time by a clock of the zone.
///
/// # Errors
/// It is none.
pub(crate) fn read_at(text: &str, zone: Zone) -> Result<ScalarValue> {
    let time = input::timestamptz_in(text, zone).map_err(external)?;
    Ok(ScalarValue::TimestampMicrosecond(Some(time), Some(TIME_ZONE.into())))
}

/// True for a value that is another one of a type where clocks go otherwise.
pub(crate) fn is_of_zone(value: &ScalarValue, to: &DataType) -> bool {
    let Some(text) = value.try_as_str().flatten() else {
        return has_times(&value.data_type()) != has_times(to);
    };
    let there = |zone| input::timestamptz_in(text, zone).ok();
    (is_zoned(to) && there(Zone::Utc) != there(Zone::East(60))) || (to.is_nested() && has_times(to))
}

/// True for `timestamp with time zone`, and for what has parts of that type.
pub(crate) fn has_times(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field) => has_times(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_times(field.data_type())),
        other => is_zoned(other),
    }
}

/// True for `timestamp with time zone`.
pub(crate) fn is_zoned(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &'static str {
        match self.which {
            Zoned::Read => "millrace_read_at",
            Zoned::Text => "millrace_text_at",
            Zoned::Iso => "millrace_iso_at",
            Zoned::Add => "millrace_add_at",
            Zoned::Offset => "millrace_offset_at",
            Zoned::ToChar => "millrace_to_char_at",
            Zoned::ToTimestamp => "millrace_to_timestamp_at",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match self.which {
            Zoned::Read => types.first().map_or_else(timestamptz, read_type),
            Zoned::Add | Zoned::ToTimestamp => timestamptz(),
            Zoned::Text | Zoned::Iso => types.first().map_or(DataType::Utf8, shown_type),
            Zoned::ToChar => DataType::Utf8,
            Zoned::Offset => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((ColumnarValue::Scalar(zone), args)) = args.args.split_last() else {
            return Err(no_function(self.name(), &[]));
        };
        let Some(zone) = zone.try_as_str().flatten() else {
            return Err(user_error(SqlState::INTERNAL_ERROR, "a zone is not a constant"));
        };
        let zone = Zone::of(zone).map_err(external)?;
        match self.which {
            Zoned::ToChar => template::to_char(args, zone),
            Zoned::ToTimestamp => template::to_timestamp(args, zone),
            which => over_columns(args, |arrays| over(which, arrays, zone)),
        }
    }
}

fn over(which: Zoned, arrays: &[ArrayRef], zone: Zone) -> Result<ArrayRef> {
    Ok(match (which, arrays) {
        (Zoned::Read, [array]) => read(array, zone)?,
        (Zoned::Text | Zoned::Iso, [array]) => shown(array, zone, which == Zoned::Iso)?,
        (Zoned::Offset, [array]) => {
            let times = times(array)?;
            let offsets = times.iter().map(|time| time.map(|time| zone.offset(time)));
            Arc::new(offsets.collect::<Int64Array>())
        }
        (Zoned::Add, [array, spans]) => {
            let spans = plain(spans, &SqlType::Interval.arrow())?;
            let pairs = times(array)?;
            let pairs = pairs.iter().zip(spans.as_primitive::<IntervalMonthDayNanoType>());
            let later = pairs.map(|(time, span)| {
                let Some((time, span)) = time.zip(span) else { return Ok(None) };
                later(time, span, zone).map(Some).ok_or_else(out_of_range)
            });
            let later = later.collect::<Result<TimestampMicrosecondArray>>()?;
            Arc::new(later.with_timezone(TIME_ZONE))
        }
        _ => return Err(no_function("a function of a zone", &[])),
    })
}

fn read_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(field) => {
            let read = read_type(field.data_type());
            DataType::List(Arc::new(field.as_ref().clone().with_data_type(read)))
        }
        _ => timestamptz(),
    }
}

/// Texts as times, and arrays of them.
fn read(array: &ArrayRef, zone: Zone) -> Result<ArrayRef> {
    if let DataType::List(field) = read_type(array.data_type()) {
        let list = own(array.as_list::<i32>())?;
        let values = read(list.values(), zone)?;
        let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
        return Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?));
    }
    let read = |text: &str| input::timestamptz_in(text, zone).map_err(external);
    let times = texts(array)?;
    let times = times.iter().map(|text| text.map(read).transpose());
    let times = times.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(times.with_timezone(TIME_ZONE)))
}

/// The type of a value whose times are texts.
fn shown_type(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| {
        Arc::new(field.as_ref().clone().with_data_type(shown_type(field.data_type())))
    };
    match data_type {
        DataType::List(element) => DataType::List(field(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other if is_zoned(other) => DataType::Utf8,
        other => other.clone(),
    }
}

/// A column whose times are texts.
fn shown(array: &ArrayRef, zone: Zone, is_iso: bool) -> Result<ArrayRef> {
    Ok(match (array.data_type(), shown_type(array.data_type())) {
        (DataType::List(_), DataType::List(field)) => {
            let list = own(array.as_list::<i32>())?;
            let values = shown(list.values(), zone, is_iso)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(field, offsets, values, nulls)?)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let (record, rows) = (array.as_struct(), array.len());
            let columns = record.columns().iter().map(|column| shown(column, zone, is_iso));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls = record.nulls().cloned();
            Arc::new(StructArray::try_new_with_length(fields, columns, nulls, rows)?)
        }
        (DataType::Timestamp(_, Some(_)), _) => {
            let text = |time: i64| shown_at(time, zone, is_iso).ok_or_else(out_of_range);
            let times = times(array)?;
            let texts = times.iter().map(|time| time.map(text).transpose());
            Arc::new(texts.collect::<Result<StringArray>>()?)
        }
        _ => Arc::clone(array),
    })
}

fn times(array: &ArrayRef) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
    let zone = match array.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let times = plain(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().clone())
}

/// A time that is later by an interval: its months and days by the clock of the zone, the rest as it passes.
pub(super) fn later(time: i64, span: IntervalMonthDayNano, zone: Zone) -> Option<i64> {
    if !super::time::is_finite(time) {
        return Some(time);
    }
    let moved = match (span.months, span.days) {
        (0, 0) => time,
        (months, days) => {
            let days = IntervalMonthDayNano::new(months, days, 0);
            let utc: Tz = "+00:00".parse().ok()?;
            let reading = zone.reading(time)?;
            zone.time(TimestampMicrosecondType::add_month_day_nano(reading, days, utc)?)?
        }
    };
    moved.checked_add(span.nanoseconds / 1_000).filter(|time| input::is_timestamp(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_as_long_as_the_clock_has_it() {
        let zone = Zone::of("Europe/Berlin").unwrap();
        let time = |text: &str| input::timestamptz_in(text, zone).unwrap();
        let span = |text: &str| input::interval(text).unwrap();
        for (from, by, to) in [
            ("2026-03-28 12:00", "1 day", "2026-03-29 12:00"),
            ("2026-03-28 12:00", "24 hours", "2026-03-29 13:00"),
            ("2026-03-28 12:00", "1 month 1 day 1 hour", "2026-04-29 13:00"),
            ("2026-10-25 12:00", "-1 day", "2026-10-24 12:00"),
            ("2026-01-31 00:00", "1 month", "2026-02-28 00:00"),
            ("infinity", "1 day", "infinity"),
        ] {
            assert_eq!(later(time(from), span(by), zone), Some(time(to)), "{from} + {by}");
        }
    }

    #[test]
    fn a_text_with_an_offset_means_one_time_everywhere() {
        let of = |text: &str, to: &DataType| is_of_zone(&ScalarValue::from(text), to);
        assert!(of("2026-01-01 10:00", &timestamptz()));
        assert!(!of("2026-01-01 10:00+01", &timestamptz()));
        assert!(!of("infinity", &timestamptz()));
        assert!(!of("2026-01-01 10:00", &DataType::Timestamp(TimeUnit::Microsecond, None)));
    }
}
