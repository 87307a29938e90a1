//! `date_bin(stride, source [, origin])`: the start of the bin that holds a time.
//!
//! DataFusion's goes through nanoseconds; this one keeps the microseconds and the zone of the time.
//! Without an origin, bins count from 1970, as windows do.

use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};

use super::time::{is_finite, map_times, time_type, window_start};
use super::{no_function, null_of, user_error};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateBin {
    signature: Signature,
}

impl DateBin {
    pub(super) fn new() -> DateBin {
        DateBin { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &'static str {
        "date_bin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.get(1).cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wrong = || no_function(self.name(), types);
        let (stride, time) = match types {
            [stride, time] | [stride, time, _] => (stride, time),
            _ => return Err(wrong()),
        };
        let is_interval = matches!(stride, DataType::Interval(_) | DataType::Duration(_));
        if !is_interval && !stride.is_string() && !stride.is_null() {
            return Err(wrong());
        }
        if types.get(2).is_some_and(|origin| time_type(origin).is_none()) {
            return Err(wrong());
        }
        let time = time_type(time).ok_or_else(wrong)?;
        let mut coerced = vec![DataType::Interval(IntervalUnit::MonthDayNano), time.clone()];
        coerced.resize(types.len(), time);
        Ok(coerced)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = args.return_field.data_type();
        let null = || Ok(ColumnarValue::Scalar(null_of(result)?));
        let stride = match &args.args[0] {
            ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(v))) => stride_us(*v)?,
            ColumnarValue::Scalar(_) => return null(),
            ColumnarValue::Array(_) => return Err(not_constant("stride")),
        };
        let origin = match args.args.get(2) {
            None => 0,
            Some(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(v), _))) => *v,
            Some(ColumnarValue::Scalar(_)) => return null(),
            Some(ColumnarValue::Array(_)) => return Err(not_constant("origin")),
        };
        map_times(&args.args[1], |time| match is_finite(time) {
            true => window_start(time, stride, origin),
            false => Some(time),
        })
    }
}

fn not_constant(what: &str) -> datafusion::error::DataFusionError {
    let report = Report::unsupported(format!("date_bin() with a {what} that is not constant"));
    datafusion::error::DataFusionError::External(Box::new(report))
}

fn stride_us(stride: IntervalMonthDayNano) -> Result<i64> {
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(user_error(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let days = i64::from(stride.days) * 86_400_000_000;
    let micros = days.checked_add(stride.nanoseconds / 1_000).unwrap_or(0);
    match micros > 0 {
        true => Ok(micros),
        false => {
            let message = "stride must be greater than zero";
            Err(user_error(SqlState::DATETIME_FIELD_OVERFLOW, message))
        }
    }
}
