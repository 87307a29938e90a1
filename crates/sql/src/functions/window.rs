//! The functions that TUMBLE and HOP are made of. The stream planner knows them by name.
//!
//! A NULL time has a NULL window, and no list of windows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, NullBufferBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::SqlState;

use super::time::{map_times, out_of_range, window_start};
use super::{no_function, user_error};

/// `(time, size_us, offset_us)`: the start of the tumbling window.
pub const TUMBLE: &str = "millrace_tumble";
/// `(time, step_us, size_us, offset_us)`: of each cumulating window its end less `size_us`, ascending.
pub const CUMULATE: &str = "millrace_cumulate";
/// `(time, slide_us, size_us, offset_us)`: the starts of the hopping windows, ascending.
pub const HOP: &str = "millrace_hop";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Tumble {
    signature: Signature,
}

impl Tumble {
    pub(super) fn new() -> Tumble {
        Tumble { signature: Signature::any(3, Volatility::Immutable) }
    }
}

/// A positive or any constant of microseconds.
fn constant(args: &[ColumnarValue], at: usize) -> Result<i64> {
    match args.get(at) {
        Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(micros)))) => Ok(*micros),
        _ => Err(user_error(SqlState::INTERNAL_ERROR, "a window is not constant")),
    }
}

fn positive(args: &[ColumnarValue], at: usize) -> Result<i64> {
    let micros = constant(args, at)?;
    match micros > 0 {
        true => Ok(micros),
        false => {
            let message = "the size of a window must be greater than zero";
            Err(user_error(SqlState::INVALID_PARAMETER_VALUE, message))
        }
    }
}

impl ScalarUDFImpl for Tumble {
    fn name(&self) -> &'static str {
        TUMBLE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| no_function(TUMBLE, types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (size, offset) = (positive(&args.args, 1)?, constant(&args.args, 2)?);
        // A window has an end: what comes after may add the size.
        let ends = |start: &i64| start.checked_add(size).is_some();
        map_times(&args.args[0], |time| window_start(time, size, offset).filter(ends))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Hop {
    signature: Signature,
}

impl Hop {
    pub(super) fn new() -> Hop {
        Hop { signature: Signature::any(4, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Hop {
    fn name(&self) -> &'static str {
        HOP
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let time = types.first().ok_or_else(|| no_function(HOP, types))?;
        Ok(DataType::new_list(time.clone(), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        lists(&args.args, false)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Cumulate {
    signature: Signature,
}

impl Cumulate {
    pub(super) fn new() -> Cumulate {
        Cumulate { signature: Signature::any(4, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Cumulate {
    fn name(&self) -> &'static str {
        CUMULATE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let time = types.first().ok_or_else(|| no_function(CUMULATE, types))?;
        Ok(DataType::new_list(time.clone(), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        lists(&args.args, true)
    }
}

fn lists(args: &[ColumnarValue], cumulates: bool) -> Result<ColumnarValue> {
    let windows = millrace_plan::Hop {
        column: 0,
        slide: positive(args, 1)?,
        size: positive(args, 2)?,
        offset: constant(args, 3)?,
        cumulates,
    };
    match &args[0] {
        ColumnarValue::Array(times) => Ok(ColumnarValue::Array(starts(times, &windows)?)),
        ColumnarValue::Scalar(time) => {
            let list = starts(&time.to_array()?, &windows)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&list, 0)?))
        }
    }
}

fn starts(times: &ArrayRef, windows: &millrace_plan::Hop) -> Result<ArrayRef> {
    let DataType::Timestamp(TimeUnit::Microsecond, zone) = times.data_type() else {
        return Err(user_error(SqlState::INTERNAL_ERROR, "a time is not in microseconds"));
    };
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let mut values: Vec<i64> = Vec::with_capacity(times.len());
    let mut lengths: Vec<usize> = Vec::with_capacity(times.len());
    let mut nulls = NullBufferBuilder::new(times.len());
    for time in times {
        let before = values.len();
        nulls.append(time.is_some());
        values.extend(time.into_iter().flat_map(|time| windows.windows(time)));
        lengths.push(values.len() - before);
    }
    if i32::try_from(values.len()).is_err() {
        return Err(out_of_range());
    }
    let values = TimestampMicrosecondArray::from(values).with_timezone_opt(zone.clone());
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(values), nulls.finish())?))
}
