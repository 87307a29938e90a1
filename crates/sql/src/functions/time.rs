//! What the functions on times share.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use millrace_types::{SqlState, timestamptz};

use super::user_error;

pub(super) fn out_of_range() -> DataFusionError {
    user_error(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

/// False for `infinity` and `-infinity`.
pub(super) fn is_finite(time: i64) -> bool {
    !matches!(time, i64::MAX | i64::MIN)
}

/// The type in which a time is taken: microseconds, in its own zone; a date is a time in UTC.
pub(super) fn time_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(_, zone) => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        DataType::Date32
        | DataType::Date64
        | DataType::Utf8
        | DataType::Utf8View
        | DataType::LargeUtf8
        | DataType::Null => Some(timestamptz()),
        _ => None,
    }
}

/// Changes every time of an argument; the zone stays.
pub(super) fn map_times(
    times: &ColumnarValue,
    change: impl Fn(i64) -> Option<i64>,
) -> Result<ColumnarValue> {
    let changed = |time| change(time).ok_or_else(out_of_range);
    match times {
        ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(time, zone)) => {
            let time = time.map(changed).transpose()?;
            let value = ScalarValue::TimestampMicrosecond(time, zone.clone());
            Ok(ColumnarValue::Scalar(value))
        }
        ColumnarValue::Scalar(other) => map_times(&ColumnarValue::Array(other.to_array()?), change),
        ColumnarValue::Array(array) => {
            let DataType::Timestamp(TimeUnit::Microsecond, zone) = array.data_type() else {
                return Err(user_error(SqlState::INTERNAL_ERROR, "a time is not in microseconds"));
            };
            let array = array.as_primitive::<TimestampMicrosecondType>();
            let result: PrimitiveArray<TimestampMicrosecondType> = array.try_unary(changed)?;
            let result: ArrayRef = Arc::new(result.with_timezone_opt(zone.clone()));
            Ok(ColumnarValue::Array(result))
        }
    }
}

/// The start of the window of `size` microseconds that holds a time.
pub(super) fn window_start(time: i64, size: i64, offset: i64) -> Option<i64> {
    let since = time.checked_sub(offset)?;
    since.checked_sub(since.rem_euclid(size))?.checked_add(offset)
}
