//! The length of an interval in microseconds, a month as 30 days and a day as 24 hours: what PostgreSQL
//! compares intervals by. Arrow compares months first, then days.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Decimal128Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use millrace_types::SqlType;

use super::cast::plain;
use super::no_function;

/// The function's name.
pub(super) const SPAN: &str = "millrace_span";

const DAY: i128 = 86_400_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Span {
    signature: Signature,
}

impl Span {
    pub(super) fn new() -> Span {
        Span { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Span {
    fn name(&self) -> &'static str {
        SPAN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(38, 0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let array = args.args.into_iter().next().map(|value| value.into_array(rows)).transpose()?;
        let array = array.ok_or_else(|| no_function(SPAN, &[]))?;
        Ok(ColumnarValue::Array(lengths(&array)?))
    }
}

/// The lengths of intervals.
pub(super) fn lengths(array: &ArrayRef) -> Result<ArrayRef> {
    let intervals = plain(array, &SqlType::Interval.arrow())?;
    let length = |value: IntervalMonthDayNano| {
        let days = i128::from(value.months) * 30 + i128::from(value.days);
        days * DAY + i128::from(value.nanoseconds / 1_000)
    };
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let lengths: PrimitiveArray<Decimal128Type> = intervals.unary(length);
    Ok(Arc::new(lengths.with_precision_and_scale(38, 0)?))
}
