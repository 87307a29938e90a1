//! The list behind `generate_series` over columns: DataFusion's, which is made as a whole, so that
//! one row could take all memory. A row may ask for so many values and no more.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::Result;
use datafusion::functions_nested::range::gen_series_udf;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use millrace_types::SqlState;

use super::user_error;

/// The most values of a row.
const VALUES_MAX: i128 = 1_000_000;
const DAY_US: i128 = 86_400_000_000;

/// See the head of the file.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Series {
    inner: Arc<ScalarUDF>,
}

impl Series {
    pub(super) fn new() -> Series {
        Series { inner: gen_series_udf() }
    }
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &'static str {
        "millrace_series"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !args.args.iter().any(|arg| arg.data_type().is_null()) {
            let bounds = ColumnarValue::values_to_arrays(&args.args)?;
            let (start, end) = (number(&bounds[0])?, number(&bounds[1])?);
            for row in 0..start.len() {
                if start.is_null(row) || end.is_null(row) {
                    continue;
                }
                let length = i128::from(end.value(row)) - i128::from(start.value(row));
                let step = bounds.get(2).map_or(1, |steps| step(steps, row));
                if step != 0 && length / step >= VALUES_MAX {
                    let message = format!("generate_series gives more than {VALUES_MAX} values");
                    return Err(user_error(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
                }
            }
        }
        self.inner.invoke_with_args(args)
    }
}

/// Whole numbers as they are, times in microseconds.
fn number(column: &ArrayRef) -> Result<Int64Array> {
    let column = match column.data_type() {
        DataType::Int64 => Arc::clone(column),
        _ => cast(
            &cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
            &DataType::Int64,
        )?,
    };
    Ok(column.as_primitive::<Int64Type>().clone())
}

/// The step of a row, an interval in microseconds at its shortest; 0 where there is none.
fn step(steps: &ArrayRef, row: usize) -> i128 {
    if steps.is_null(row) {
        return 0;
    }
    if let Some(numbers) = steps.as_primitive_opt::<Int64Type>() {
        return i128::from(numbers.value(row));
    }
    let Some(intervals) = steps.as_primitive_opt::<IntervalMonthDayNanoType>() else { return 0 };
    let interval = intervals.value(row);
    let days = 28 * i128::from(interval.months) + i128::from(interval.days);
    days * DAY_US + i128::from(interval.nanoseconds) / 1000
}
