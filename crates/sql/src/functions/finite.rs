//! `isfinite(time)`: false for `infinity` and `-infinity`; and `date(time)`, the day of a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlType;

use super::invoke::over_columns;
use super::time::is_finite;
use super::{cast, no_function};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Finite {
    signature: Signature,
}

impl Finite {
    pub(super) fn new() -> Finite {
        Finite { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Finite {
    fn name(&self) -> &'static str {
        "isfinite"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(match types {
            [DataType::Timestamp(_, zone)] => {
                vec![DataType::Timestamp(TimeUnit::Microsecond, zone.clone())]
            }
            [DataType::Date32] => vec![DataType::Date32],
            [DataType::Interval(_) | DataType::Duration(_)] => vec![SqlType::Interval.arrow()],
            _ => return Err(no_function(self.name(), types)),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let times = arrays.first().ok_or_else(|| no_function("isfinite", &[]))?;
            let found: BooleanArray = match times.data_type() {
                DataType::Date32 => {
                    let finite = |day: i32| !matches!(day, i32::MAX | i32::MIN);
                    times.as_primitive::<Date32Type>().iter().map(|day| day.map(finite)).collect()
                }
                DataType::Timestamp(..) => {
                    let times = times.as_primitive::<TimestampMicrosecondType>();
                    times.iter().map(|time| time.map(is_finite)).collect()
                }
                // There is no infinite interval.
                _ => (0..times.len()).map(|row| times.is_valid(row).then_some(true)).collect(),
            };
            Ok(Arc::new(found) as ArrayRef)
        })
    }
}

/// `date(time)`
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Day {
    signature: Signature,
}

impl Day {
    pub(super) fn new() -> Day {
        Day { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Day {
    fn name(&self) -> &'static str {
        "date"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Date32)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(_, zone)] => {
                Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, zone.clone())])
            }
            [DataType::Date32 | DataType::Null] => Ok(vec![DataType::Date32]),
            [text] if text.is_string() => Ok(vec![DataType::Utf8]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let times = arrays.first().ok_or_else(|| no_function("date", &[]))?;
            cast::convert(times, &DataType::Date32)
        })
    }
}
