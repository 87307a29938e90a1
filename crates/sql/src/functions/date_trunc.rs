//! `date_trunc(unit, time)`: DataFusion's, over microseconds whatever it is given; of intervals our own.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlType;

use super::intervals::truncated;
use super::invoke::{over_columns, texts};
use super::no_function;
use super::time::time_type;

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

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields.get(1) {
            Some(span) if is_interval(span.data_type()) => {
                Ok(Arc::new(Field::new(self.name(), SqlType::Interval.arrow(), true)))
            }
            _ => date_trunc().return_field_from_args(args),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [unit, span] if (unit.is_string() || unit.is_null()) && is_interval(span) => {
                Ok(vec![DataType::Utf8, SqlType::Interval.arrow()])
            }
            [unit, time] if unit.is_string() || unit.is_null() => match time_type(time) {
                Some(time) => Ok(vec![DataType::Utf8, time]),
                None => Err(no_function(self.name(), types)),
            },
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if is_interval(args.return_field.data_type()) {
            return over_columns(&args.args, of_intervals);
        }
        args.args.iter_mut().for_each(zeroed);
        date_trunc().invoke_with_args(args)
    }
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

fn of_intervals(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [units, spans] = arrays else { return Err(no_function("date_trunc", &[])) };
    let units = texts(units)?;
    let pairs = units.iter().zip(spans.as_primitive::<IntervalMonthDayNanoType>());
    let whole = pairs.map(|(unit, span)| unit.zip(span).map(|(u, s)| truncated(u, s)).transpose());
    Ok(Arc::new(whole.collect::<Result<IntervalMonthDayNanoArray>>()?))
}

/// Puts zeros below the NULLs: DataFusion computes there too, and overflows on what `max` leaves.
fn zeroed(value: &mut ColumnarValue) {
    let ColumnarValue::Array(array) = value else { return };
    if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>()
        && times.null_count() > 0
    {
        let clean: TimestampMicrosecondArray = times.iter().collect();
        *array = Arc::new(clean.with_data_type(times.data_type().clone()));
    }
}
