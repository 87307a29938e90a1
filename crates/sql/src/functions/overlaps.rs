//! `(start, end) OVERLAPS (start, end)`: whether two stretches of time share a moment.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::kernels::numeric::add;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlType;

use super::cast::plain;
use super::invoke::over_columns;
use super::no_function;
use super::time::time_type;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Overlaps {
    signature: Signature,
}

impl Overlaps {
    pub(super) fn new() -> Overlaps {
        Overlaps { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Overlaps {
    fn name(&self) -> &'static str {
        "overlaps"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_clock = |given: &DataType| matches!(given, DataType::Time64(_) | DataType::Null);
        let taken: Option<Vec<DataType>> = match types.iter().all(is_clock) {
            true => Some(vec![DataType::Time64(TimeUnit::Microsecond); types.len()]),
            false => {
                let taken = types.iter().enumerate().map(|(at, given)| match given {
                    DataType::Interval(_) | DataType::Duration(_) if at % 2 == 1 => {
                        Some(SqlType::Interval.arrow())
                    }
                    given => time_type(given),
                });
                taken.collect()
            }
        };
        taken.filter(|taken| taken.len() == 4).ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let bound = |(at, array): (usize, &ArrayRef)| match array.data_type() {
                // The length of the stretch.
                DataType::Interval(_) if at > 0 => {
                    plain(&add(&arrays[at - 1], array)?, &DataType::Int64)
                }
                _ => plain(array, &DataType::Int64),
            };
            let bounds = arrays.iter().enumerate().map(bound).collect::<Result<Vec<_>>>()?;
            let [start, end, other, last] = bounds.as_slice() else {
                return Err(no_function(self.name(), &[]));
            };
            let of = |array: &'_ ArrayRef| array.as_primitive::<Int64Type>().clone();
            let (start, end, other, last) = (of(start), of(end), of(other), of(last));
            let rows = start.iter().zip(&end).zip(other.iter().zip(&last));
            let found = rows.map(|(one, other)| overlap(one, other));
            Ok(Arc::new(found.collect::<BooleanArray>()) as ArrayRef)
        })
    }
}

type Stretch = (Option<i64>, Option<i64>);

/// As the standard has it: a stretch is `start <= moment < end`, its bounds stand in any order, one of no
/// length is a moment. What a bound that is NULL does not decide is told.
fn overlap(one: Stretch, other: Stretch) -> Option<bool> {
    let (start, end) = ordered(one)?;
    let (other_start, other_end) = ordered(other)?;
    // The stretch that begins first must not be known to end before the other begins.
    let (first, second, later) = match start.cmp(&other_start) {
        Ordering::Less => (end, other_end, other_start),
        Ordering::Greater => (other_end, end, start),
        Ordering::Equal => return (end.is_some() && other_end.is_some()).then_some(true),
    };
    match first? > later {
        true => Some(true),
        false => second.map(|_| false),
    }
}

/// The lesser bound and the greater; a bound alone is the start.
fn ordered((start, end): Stretch) -> Option<(i64, Option<i64>)> {
    match (start, end) {
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
        (Some(start), None) => Some((start, None)),
        (None, Some(end)) => Some((end, None)),
        (None, None) => None,
    }
}
