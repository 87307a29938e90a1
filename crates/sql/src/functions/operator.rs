//! Operators that Arrow has not, or not with PostgreSQL's results: intervals times numbers, what lies
//! between two times, products and quotients of numerics.
//!
//! [`crate::analyze`] puts them where the operator was written.

#![allow(clippy::cast_possible_truncation, reason = "a float's range is checked before its cast")]
#![allow(
    clippy::cast_precision_loss,
    reason = "intervals are multiplied in doubles, as PostgreSQL does"
)]

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal256Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType, i256,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::numeric::{product_of, quotient_of};
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE, Report, SqlState, SqlType};

use super::cast::{external, plain, unscaled};
use super::time::is_finite;
use super::{chain, no_function};

const DAY: i64 = 86_400_000_000;

/// The name of [`Arithmetic::TimeBetween`].
pub(crate) const TIME_BETWEEN: &str = "timestamp_mi";

/// Which operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    /// interval `*` double precision
    TimesInterval,
    /// interval `/` double precision
    DivideInterval,
    /// timestamp `-` timestamp
    TimeBetween,
    /// date `-` date
    DaysBetween,
    /// date `+` integer
    PlusDays,
    /// date `-` integer
    MinusDays,
    /// numeric `*` numeric
    TimesNumeric,
    /// numeric `/` numeric
    DivideNumeric,
}

/// All of them.
pub(super) const ALL: [Arithmetic; 8] = [
    Arithmetic::TimesInterval,
    Arithmetic::DivideInterval,
    Arithmetic::TimeBetween,
    Arithmetic::DaysBetween,
    Arithmetic::PlusDays,
    Arithmetic::MinusDays,
    Arithmetic::TimesNumeric,
    Arithmetic::DivideNumeric,
];

impl Arithmetic {
    fn name(self) -> &'static str {
        match self {
            Arithmetic::TimesInterval => "interval_mul",
            Arithmetic::DivideInterval => "interval_div",
            Arithmetic::TimeBetween => TIME_BETWEEN,
            Arithmetic::DaysBetween => "date_mi",
            Arithmetic::PlusDays => "date_pli",
            Arithmetic::MinusDays => "date_mii",
            Arithmetic::TimesNumeric => "numeric_mul",
            Arithmetic::DivideNumeric => "numeric_div",
        }
    }

    /// The operator as it was written.
    fn operator(self) -> Operator {
        match self {
            Arithmetic::TimesInterval | Arithmetic::TimesNumeric => Operator::Multiply,
            Arithmetic::DivideInterval | Arithmetic::DivideNumeric => Operator::Divide,
            Arithmetic::TimeBetween | Arithmetic::DaysBetween | Arithmetic::MinusDays => {
                Operator::Minus
            }
            Arithmetic::PlusDays => Operator::Plus,
        }
    }

    fn result(self) -> DataType {
        match self {
            Arithmetic::TimesInterval | Arithmetic::DivideInterval | Arithmetic::TimeBetween => {
                SqlType::Interval.arrow()
            }
            Arithmetic::DaysBetween => DataType::Int32,
            Arithmetic::PlusDays | Arithmetic::MinusDays => DataType::Date32,
            Arithmetic::TimesNumeric | Arithmetic::DivideNumeric => SqlType::Numeric(None).arrow(),
        }
    }
}

/// The operator for which a function of this name stands.
pub(super) fn named(function: &str) -> Option<Operator> {
    ALL.into_iter().find(|which| which.name() == function).map(Arithmetic::operator)
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    which: Arithmetic,
    signature: Signature,
}

impl Call {
    pub(super) fn new(which: Arithmetic) -> Call {
        Call { which, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &'static str {
        self.which.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.which.result())
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args = args.as_array().ok_or_else(|| no_function(self.name(), &[]))?;
        Ok(chain::operator(self.name(), &self.which.operator().to_string(), args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = arrays.as_slice() else {
            return Err(no_function(self.name(), &[]));
        };
        let result = apply(self.which, left, right)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}

fn apply(which: Arithmetic, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    match which {
        Arithmetic::TimesInterval => spans(left, right, |count, by| count * by),
        Arithmetic::DivideInterval => spans(left, right, |count, by| count / by),
        Arithmetic::TimeBetween => {
            let micros = |array: &ArrayRef| {
                let zone = DataType::Timestamp(TimeUnit::Microsecond, None);
                plain(array, &zone)
            };
            each::<TimestampMicrosecondType, TimestampMicrosecondType, IntervalMonthDayNanoType>(
                &micros(left)?,
                &micros(right)?,
                |later, earlier| match is_finite(later) && is_finite(earlier) {
                    true => between(later, earlier).ok_or_else(out_of_range),
                    false => Err(overflow("cannot subtract infinite timestamps")),
                },
            )
        }
        Arithmetic::DaysBetween => {
            each::<Date32Type, Date32Type, Int32Type>(left, right, |later, earlier| {
                if is_infinite(later) || is_infinite(earlier) {
                    return Err(overflow("cannot subtract infinite dates"));
                }
                later.checked_sub(earlier).ok_or_else(|| range("integer out of range"))
            })
        }
        Arithmetic::PlusDays | Arithmetic::MinusDays => {
            let days = plain(right, &DataType::Int64)?;
            let sign = if which == Arithmetic::PlusDays { 1 } else { -1 };
            each::<Date32Type, Int64Type, Date32Type>(left, &days, |date, days| {
                if is_infinite(date) {
                    return Ok(date);
                }
                let moved = days.checked_mul(sign).and_then(|d| d.checked_add(i64::from(date)));
                let moved = moved.and_then(|date| i32::try_from(date).ok());
                moved.ok_or_else(|| overflow("date out of range"))
            })
        }
        Arithmetic::TimesNumeric => numerics(left, right, product_of),
        Arithmetic::DivideNumeric => {
            let (divisors, _) = unscaled(right)?;
            if divisors.contains(&Some(i256::ZERO)) {
                let zero = Report::new(SqlState::DIVISION_BY_ZERO, "division by zero");
                let (values, _) = unscaled(left)?;
                let divided = values.iter().zip(&divisors);
                if divided.into_iter().any(|(l, r)| l.is_some() && *r == Some(i256::ZERO)) {
                    return Err(external(zero));
                }
            }
            numerics(left, right, quotient_of)
        }
    }
}

fn is_infinite(day: i32) -> bool {
    matches!(day, i32::MAX | i32::MIN)
}

fn range(message: &str) -> Report {
    Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

fn overflow(message: &str) -> Report {
    Report::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

fn out_of_range() -> Report {
    overflow("interval out of range")
}

/// Applies a function to each pair without a NULL.
fn each<L, R, To>(
    left: &ArrayRef,
    right: &ArrayRef,
    apply: impl Fn(L::Native, R::Native) -> Result<To::Native, Report>,
) -> Result<ArrayRef>
where
    L: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
    To: ArrowPrimitiveType,
{
    let pairs = left.as_primitive::<L>().iter().zip(right.as_primitive::<R>().iter());
    let result: PrimitiveArray<To> = pairs
        .map(|(left, right)| left.zip(right).map(|(l, r)| apply(l, r)).transpose())
        .collect::<Result<_, Report>>()
        .map_err(external)?;
    Ok(Arc::new(result))
}

/// Whole days and the rest, both with the sign of the whole.
fn between(later: i64, earlier: i64) -> Option<IntervalMonthDayNano> {
    let micros = later.checked_sub(earlier)?;
    let days = i32::try_from(micros / DAY).ok()?;
    Some(IntervalMonthDayNano::new(0, days, (micros % DAY) * 1_000))
}

fn spans(
    left: &ArrayRef,
    right: &ArrayRef,
    scale: impl Fn(f64, f64) -> f64 + Copy,
) -> Result<ArrayRef> {
    let intervals = plain(left, &SqlType::Interval.arrow())?;
    let divides = scale(1.0, 0.0).is_infinite();
    each::<IntervalMonthDayNanoType, Float64Type, IntervalMonthDayNanoType>(
        &intervals,
        right,
        |span, by| match divides && by == 0.0 {
            true => Err(Report::new(SqlState::DIVISION_BY_ZERO, "division by zero")),
            false => scaled(span, |count| scale(count, by)).ok_or_else(out_of_range),
        },
    )
}

/// An interval whose parts are scaled: parts of months become days of a thirtieth, parts of days
/// become time, each rounded to microseconds on its way.
fn scaled(span: IntervalMonthDayNano, scale: impl Fn(f64) -> f64) -> Option<IntervalMonthDayNano> {
    let whole = |value: f64| (value.abs() < f64::from(i32::MAX)).then_some(value as i32);
    let rounded = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let (months, days) = (scale(f64::from(span.months)), scale(f64::from(span.days)));
    let (whole_months, whole_days) = (whole(months)?, whole(days)?);
    let days_of_months = rounded((months - f64::from(whole_months)) * 30.0);
    let part = days - f64::from(whole_days) + days_of_months - days_of_months.trunc();
    let mut seconds = rounded(part * 86_400.0);
    let mut all_days = whole_days.checked_add(whole(days_of_months)?)?;
    if seconds.abs() >= 86_400.0 {
        let carried = whole(seconds / 86_400.0)?;
        all_days = all_days.checked_add(carried)?;
        seconds -= f64::from(carried) * 86_400.0;
    }
    let micros = scale((span.nanoseconds / 1_000) as f64) + seconds * 1e6;
    let nanos = (micros.abs() < 9.2e15).then(|| micros.round_ties_even() as i64 * 1_000)?;
    Some(IntervalMonthDayNano::new(whole_months, all_days, nanos))
}

type Exact = fn((i256, i8), (i256, i8)) -> Option<i256>;

/// Unconstrained numerics from exact numbers of any scale.
fn numerics(left: &ArrayRef, right: &ArrayRef, apply: Exact) -> Result<ArrayRef> {
    let ((left, left_scale), (right, right_scale)) = (unscaled(left)?, unscaled(right)?);
    let pairs = left.into_iter().zip(right);
    let values = pairs.map(|pair| {
        let (Some(left), Some(right)) = pair else { return Ok(None) };
        let value = apply((left, left_scale), (right, right_scale));
        value.map(Some).ok_or_else(|| external(range("value overflows numeric format")))
    });
    let array: PrimitiveArray<Decimal256Type> = values.collect::<Result<Vec<_>>>()?.into();
    Ok(Arc::new(array.with_precision_and_scale(NUMERIC_PRECISION, NUMERIC_SCALE)?))
}
