//! `to_timestamp(double precision) -> timestamp with time zone`: seconds since 1970; and with two
//! arguments, text read by a template.
//!
//! Rounded to microseconds as PostgreSQL does; DataFusion's takes text and gives nanoseconds.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::input::Zone;
use millrace_types::{SqlState, TIME_ZONE, timestamptz};

use super::{no_function, template, user_error};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToTimestamp {
    signature: Signature,
}

impl ToTimestamp {
    pub(super) fn new() -> ToTimestamp {
        ToTimestamp { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &'static str {
        "to_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamptz())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, template] if text.is_string() && template.is_string() => {
                Ok(vec![DataType::Utf8, DataType::Utf8])
            }
            [one] if one.is_numeric() || one.is_null() => Ok(vec![DataType::Float64]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.args.len() == 2 {
            return template::to_timestamp(&args.args, Zone::Utc);
        }
        match &args.args[0] {
            ColumnarValue::Scalar(value) => {
                let array = convert(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(convert(array)?)),
        }
    }
}

fn convert(seconds: &ArrayRef) -> Result<ArrayRef> {
    let seconds = cast(seconds, &DataType::Float64)?;
    let times: PrimitiveArray<TimestampMicrosecondType> =
        seconds.as_primitive::<Float64Type>().try_unary(micros)?;
    Ok(Arc::new(times.with_timezone(TIME_ZONE)))
}

/// Greatest time that PostgreSQL takes, year 294276, in seconds; the least is 4714 BC.
const SECONDS_MAX: f64 = 9_224_318_016_000.0;
const SECONDS_MIN: f64 = -210_866_803_200.0;

#[allow(clippy::cast_possible_truncation, reason = "the range has been checked")]
fn micros(seconds: f64) -> Result<i64> {
    let overflow = |message: String| user_error(SqlState::DATETIME_FIELD_OVERFLOW, message);
    if seconds.is_nan() {
        return Err(overflow("timestamp cannot be NaN".to_owned()));
    }
    if seconds.is_infinite() {
        return Ok(if seconds > 0.0 { i64::MAX } else { i64::MIN });
    }
    if !(SECONDS_MIN..SECONDS_MAX).contains(&seconds) {
        return Err(overflow(format!("timestamp out of range: \"{seconds}\"")));
    }
    // The whole seconds apart, so that the rest keeps all its digits.
    let whole = seconds.floor();
    let rest = ((seconds - whole) * 1e6).round_ties_even();
    Ok(whole as i64 * 1_000_000 + rest as i64)
}
