//! Lists that are spread over rows: that of `generate_series`, the places of other lists (WITH ORDINALITY),
//! and a list that has a NULL where it would give no row (LEFT JOIN).
//!
//! A list is made as a whole, so that one row could take all memory: a row may ask for so many values and
//! no more.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, Int64Array, ListArray,
    PrimitiveArray, UInt64Array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{
    DataType, Decimal256Type, Field, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    TimeUnit, TimestampMicrosecondType, i256,
};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::input::Zone;
use millrace_types::{SqlState, SqlType, TIME_ZONE};

use super::cast::external;
use super::zoned::later;
use super::{no_function, user_error};

/// The function that makes the list of a series.
pub(crate) const SERIES: &str = "millrace_series";
/// The most values of a row.
const VALUES_MAX: usize = 1_000_000;
const DAY_US: i128 = 86_400_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Which {
    /// `(start, end [, step [, zone]])`: of times the step's days and months are those of the zone.
    Series,
    /// `(list, ...)`: the numbers from 1 to the length of the longest one.
    Places,
    /// `(list, other, ...)`: the list; if all are empty a NULL.
    Padded,
}

/// See the head of the file.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Lists {
    which: Which,
    signature: Signature,
}

impl Lists {
    pub(super) fn new(which: Which) -> Lists {
        let signature = match which {
            Which::Series => Signature::user_defined(Volatility::Immutable),
            Which::Places | Which::Padded => Signature::variadic_any(Volatility::Immutable),
        };
        Lists { which, signature }
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::new_list(element, true)
}

impl ScalarUDFImpl for Lists {
    fn name(&self) -> &'static str {
        match self.which {
            Which::Series => SERIES,
            Which::Places => "millrace_places",
            Which::Padded => "millrace_padded",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        bounds(types).ok_or_else(|| no_function("generate_series", types))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let first = types.first().ok_or_else(|| no_function(self.name(), types))?;
        Ok(match self.which {
            Which::Series => list_of(first.clone()),
            Which::Places => list_of(DataType::Int64),
            Which::Padded => first.clone(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let lists = match self.which {
            Which::Series => series(&arrays)?,
            Which::Places => places(&arrays, rows)?,
            Which::Padded => padded(&arrays, rows)?,
        };
        Ok(ColumnarValue::Array(lists))
    }
}

/// The types of a start, an end and a step; None where PostgreSQL has no such series.
fn bounds(types: &[DataType]) -> Option<Vec<DataType>> {
    if let [bounds @ .., zone] = types
        && types.len() == 4
    {
        let zone = zone.is_string().then_some(DataType::Utf8);
        return self::bounds(bounds).zip(zone).map(|(mut bounds, zone)| {
            bounds.push(zone);
            bounds
        });
    }
    if !(2..=3).contains(&types.len()) {
        return None;
    }
    let known = || types.iter().filter(|found| !found.is_null());
    if known().all(DataType::is_integer) {
        let wide = known().any(|found| matches!(found, DataType::Int64 | DataType::UInt64));
        let number = if wide { DataType::Int64 } else { DataType::Int32 };
        return Some(vec![number; types.len()]);
    }
    if known().all(|found| found.is_integer() || found.is_decimal()) {
        return Some(vec![SqlType::Numeric(None).arrow(); types.len()]);
    }
    let [start, end, step] = types else { return None };
    let is_moment = |found: &DataType| {
        matches!(found, DataType::Timestamp(..) | DataType::Date32 | DataType::Null)
            || found.is_string()
    };
    let is_step = matches!(step, DataType::Interval(_) | DataType::Null) || step.is_string();
    if !is_moment(start) || !is_moment(end) || !is_step {
        return None;
    }
    let is_plain = |found: &DataType| matches!(found, DataType::Timestamp(_, None));
    let has_zone =
        |found: &DataType| matches!(found, DataType::Timestamp(_, Some(_)) | DataType::Date32);
    let local = (is_plain(start) || is_plain(end)) && !has_zone(start) && !has_zone(end);
    let zone = (!local).then(|| TIME_ZONE.into());
    let moment = DataType::Timestamp(TimeUnit::Microsecond, zone);
    Some(vec![moment.clone(), moment, SqlType::Interval.arrow()])
}

fn series(bounds: &[ArrayRef]) -> Result<ArrayRef> {
    let element = bounds[0].data_type();
    let made = match element {
        DataType::Timestamp(..) => {
            let times = |at: usize| bounds[at].as_primitive::<TimestampMicrosecondType>();
            let steps = Some(bounds[2].as_primitive::<IntervalMonthDayNanoType>());
            let zone = match bounds.get(3) {
                Some(zones) if !zones.is_empty() => Zone::of(zones.as_string::<i32>().value(0)),
                _ => Ok(Zone::Utc),
            };
            let zone = zone.map_err(external)?;
            let next = |time, step| later(time, step, zone);
            lists((times(0), times(1)), (steps, IntervalMonthDayNano::ZERO), length_sign, next)?
        }
        DataType::Decimal256(_, scale) => {
            let one = i256::from_i128(10).wrapping_pow(u32::from(scale.unsigned_abs()));
            let numbers = |at: usize| bounds[at].as_primitive::<Decimal256Type>();
            let steps = bounds.get(2).map(|_| numbers(2));
            let sign = |step: i256| step.cmp(&i256::ZERO);
            lists((numbers(0), numbers(1)), (steps, one), sign, i256::checked_add)?
        }
        _ => {
            let wide = bounds.iter().map(|bound| cast(bound, &DataType::Int64));
            let wide = wide.collect::<std::result::Result<Vec<_>, _>>()?;
            let numbers = |at: usize| wide[at].as_primitive::<Int64Type>();
            let steps = wide.get(2).map(|_| numbers(2));
            let sign = |step: i64| step.cmp(&0);
            lists((numbers(0), numbers(1)), (steps, 1), sign, i64::checked_add)?
        }
    };
    let (values, lengths) = made;
    let values = cast(&values, element)?;
    list(lengths, values)
}

/// Whether a step leads on: months count as 30 days.
fn length_sign(step: IntervalMonthDayNano) -> Ordering {
    let days = 30 * i128::from(step.months) + i128::from(step.days);
    (days * DAY_US * 1000 + i128::from(step.nanoseconds)).cmp(&0)
}

/// The values of each row's list, and how many they are.
fn lists<T: ArrowPrimitiveType, S: ArrowPrimitiveType>(
    (starts, ends): (&PrimitiveArray<T>, &PrimitiveArray<T>),
    (steps, one): (Option<&PrimitiveArray<S>>, S::Native),
    sign: impl Fn(S::Native) -> Ordering,
    next: impl Fn(T::Native, S::Native) -> Option<T::Native>,
) -> Result<(ArrayRef, Vec<usize>)> {
    let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(starts.len()));
    for row in 0..starts.len() {
        let before = values.len();
        let is_null =
            starts.is_null(row) || ends.is_null(row) || steps.is_some_and(|s| s.is_null(row));
        let step = steps.map_or(one, |steps| steps.value(row));
        let (mut value, end) = (Some(starts.value(row)), ends.value(row));
        let sign = sign(step);
        if !is_null && sign == Ordering::Equal {
            let message = "step size cannot equal zero";
            return Err(user_error(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        while let Some(now) = value.filter(|now| !is_null && end.compare(*now) != sign.reverse()) {
            if values.len() - before == VALUES_MAX {
                let message = format!("generate_series gives more than {VALUES_MAX} values");
                return Err(user_error(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
            }
            values.push(now);
            value = next(now, step);
        }
        lengths.push(values.len() - before);
    }
    let values = PrimitiveArray::<T>::from_iter_values(values);
    Ok((Arc::new(values.with_data_type(starts.data_type().clone())), lengths))
}

fn list(lengths: Vec<usize>, values: ArrayRef) -> Result<ArrayRef> {
    let element = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(element, offsets, values, None)?))
}

/// How many elements the longest list of each row has.
fn lengths(lists: &[ArrayRef], rows: usize) -> Vec<usize> {
    let length = |list: &ArrayRef, row: usize| match list.as_list_opt::<i32>() {
        Some(list) if list.is_valid(row) => list.value(row).len(),
        _ => 0,
    };
    let longest = |row| lists.iter().map(|list| length(list, row)).max().unwrap_or(0);
    (0..rows).map(longest).collect()
}

fn places(lists: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let lengths = lengths(lists, rows);
    let numbers = lengths.iter().flat_map(|length| (1i64..).take(*length));
    let numbers = Int64Array::from_iter_values(numbers);
    list(lengths, Arc::new(numbers))
}

fn padded(lists: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let own = lists.first().and_then(|list| list.as_list_opt::<i32>());
    let own = own.ok_or_else(|| no_function("unnest", &[]))?;
    let all = concat(&[
        own as &dyn Array,
        list(vec![1], new_null_array(&own.value_type(), 1))?.as_ref(),
    ])?;
    let nothing = u64::try_from(own.len()).unwrap_or(u64::MAX);
    let which = lengths(lists, rows).into_iter().zip(0u64..);
    let which = which.map(|(length, row)| if length == 0 { nothing } else { row });
    Ok(take(&all, &UInt64Array::from_iter_values(which), None)?)
}
