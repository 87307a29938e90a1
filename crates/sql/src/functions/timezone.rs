//! `timezone(zone, time)`, which `time AT TIME ZONE zone` means: the reading of a clock there for a
//! time, and the time for a reading.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState, SqlType, TIME_ZONE, timestamptz};

use super::cast::{external, plain};
use super::no_function;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Timezone {
    signature: Signature,
}

impl Timezone {
    pub(super) fn new() -> Timezone {
        Timezone { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &'static str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, DataType::Timestamp(_, None)] => Ok(timestamptz()),
            _ => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [zone, time] = types else { return Err(no_function(self.name(), types)) };
        let taken = match time {
            DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Null => timestamptz(),
            other if other.is_string() => timestamptz(),
            _ => return Err(no_function(self.name(), types)),
        };
        match zone {
            DataType::Interval(_) | DataType::Duration(_) => {
                Ok(vec![SqlType::Interval.arrow(), taken])
            }
            zone if zone.is_string() || zone.is_null() => Ok(vec![DataType::Utf8, taken]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [zones, times] = arrays.as_slice() else {
            return Err(no_function(self.name(), &[]));
        };
        let is_local = matches!(times.data_type(), DataType::Timestamp(_, None));
        let times = times_of(times)?;
        let pairs = zones_of(zones)?.into_iter().zip(times.iter());
        let moved = pairs.map(|(zone, time)| {
            let Some((zone, time)) = zone.zip(time) else { return Ok(None) };
            shifted(zone, time, is_local).map(Some)
        });
        let moved = moved.collect::<Result<_, Report>>();
        let moved: PrimitiveArray<TimestampMicrosecondType> = moved.map_err(external)?;
        let moved: ArrayRef = match is_local {
            true => Arc::new(moved.with_timezone(TIME_ZONE)),
            false => Arc::new(moved),
        };
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&moved, 0)?),
            false => ColumnarValue::Array(moved),
        })
    }
}

fn times_of(times: &ArrayRef) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
    let zone = match times.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let times = plain(times, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().clone())
}

/// The zone of each row.
fn zones_of(zones: &ArrayRef) -> Result<Vec<Option<Zone>>> {
    if let Some(names) = zones.as_string_opt::<i32>() {
        let mut last: Option<(&str, Zone)> = None;
        let mut known = |name| match last {
            Some((before, zone)) if before == name => Ok(zone),
            _ => {
                let zone = Zone::of(name).map_err(external)?;
                last = Some((name, zone));
                Ok(zone)
            }
        };
        return names.iter().map(|name| name.map(&mut known).transpose()).collect();
    }
    let offset = |span: IntervalMonthDayNano| match (span.months, span.days) {
        (0, 0) => Ok(Zone::East(span.nanoseconds / 1_000_000_000)),
        _ => {
            let message = "interval time zone must not include months or days";
            Err(external(Report::new(SqlState::INVALID_PARAMETER_VALUE, message)))
        }
    };
    let spans = zones.as_primitive::<IntervalMonthDayNanoType>().iter();
    spans.map(|span| span.map(offset).transpose()).collect()
}

fn shifted(zone: Zone, time: i64, is_local: bool) -> Result<i64, Report> {
    let moved = if is_local { zone.time(time) } else { zone.reading(time) };
    let message = "timestamp out of range";
    moved.ok_or_else(|| Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message))
}
