//! `age(later, earlier)`: years, months and days between two times, as a person counts them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlType;

use super::cast::{civil, plain};
use super::invoke::over_columns;
use super::no_function;
use super::time::{is_finite, out_of_range, time_type};

const DAY: i64 = 86_400_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Age {
    signature: Signature,
}

impl Age {
    pub(super) fn new() -> Age {
        Age { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &'static str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SqlType::Interval.arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let times: Option<Vec<DataType>> = types.iter().map(time_type).collect();
        times.filter(|times| times.len() == 2).ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let [later, earlier] = arrays else { return Err(no_function(self.name(), &[])) };
            let micros =
                |array: &ArrayRef| plain(array, &DataType::Timestamp(TimeUnit::Microsecond, None));
            let (later, earlier) = (micros(later)?, micros(earlier)?);
            let pairs = later
                .as_primitive::<TimestampMicrosecondType>()
                .iter()
                .zip(earlier.as_primitive::<TimestampMicrosecondType>());
            let ages = pairs.map(|(later, earlier)| {
                let Some((later, earlier)) = later.zip(earlier) else { return Ok(None) };
                match is_finite(later) && is_finite(earlier) {
                    true => Ok(Some(age(later, earlier))),
                    false => Err(out_of_range()),
                }
            });
            let ages = ages.collect::<Result<IntervalMonthDayNanoArray>>()?;
            Ok(Arc::new(ages) as ArrayRef)
        })
    }
}

/// What lies between two times, microseconds since 1970: from the earlier one whole months, then days,
/// each month as long as the one of the first argument that it ends in.
fn age(one: i64, other: i64) -> IntervalMonthDayNano {
    let parts = |time: i64| {
        let (year, month, day) = civil(time.div_euclid(DAY));
        (year * 12 + month - 1, day, time.rem_euclid(DAY))
    };
    let (later, earlier) = if one < other { (other, one) } else { (one, other) };
    let (a, b) = (parts(later), parts(earlier));
    let (mut months, mut days, mut micros) = (a.0 - b.0, a.1 - b.1, a.2 - b.2);
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    if days < 0 {
        // PostgreSQL takes the month of the earlier time, whichever argument that is.
        days += month_days(b.0);
        months -= 1;
    }
    let sign = if one < other { -1 } else { 1 };
    let part = |count: i64| i32::try_from(sign * count).unwrap_or(i32::MAX);
    IntervalMonthDayNano::new(part(months), part(days), sign * micros * 1_000)
}

/// The days of a month, counted from year 0.
fn month_days(month: i64) -> i64 {
    let first = |month: i64| {
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12));
        // Days since March, when the leap day of the year before is over.
        let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
        let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        365 * year + leaps + (153 * month + 2) / 5
    };
    first(month + 1) - first(month)
}
