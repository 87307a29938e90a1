//! What an expression says of time: shifts by constants, windows, and bounds by watermarks.
//!
//! Only expressions that keep microseconds are understood; anything else has no bound, which is
//! always right: state then stays, and no row is late.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator};
use millrace_plan::{Hop, Watermark};
use millrace_types::{ObjectId, TIME_ZONE};

use super::close::is_bound_of_window;
use crate::functions::{self, CALENDAR_END, CALENDAR_START, CUMULATE, HOP, TUMBLE};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A promise on an expression's value `v`: no change of a row with `v + shift <= watermark`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) shift: i64,
    pub(super) sources: Vec<ObjectId>,
    /// The value is a bound of a window, not a time of a row: rows can be late for it.
    pub(super) window: bool,
}

impl Bound {
    pub(super) fn on(self, column: usize) -> Watermark {
        Watermark { column, shift: self.shift, sources: self.sources }
    }

    /// The bound of a value that is lower by up to `below` microseconds.
    pub(super) fn lowered(self, below: i64) -> Option<Bound> {
        Some(Bound { shift: self.shift.checked_add(below)?, ..self })
    }
}

/// An expression as a core plus constant microseconds.
pub(super) fn affine(expr: &Expr) -> (&Expr, i64) {
    let split = match expr {
        Expr::Alias(alias) => return affine(&alias.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            match (constant(left), constant(right)) {
                (None, Some(shift)) => Some((left, shift)),
                (Some(shift), None) => Some((right, shift)),
                _ => None,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            constant(right).and_then(i64::checked_neg).map(|shift| (left, shift))
        }
        _ => None,
    };
    let deeper = split.and_then(|(inner, shift)| {
        let (core, more) = affine(inner);
        Some((core, more.checked_add(shift)?))
    });
    deeper.unwrap_or((expr, 0))
}

/// The microseconds of a constant interval; None for months, whose length varies.
fn constant(expr: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = expr else { return None };
    let parts = |days: i32, micros: i64| i64::from(days).checked_mul(DAY)?.checked_add(micros);
    match value {
        ScalarValue::IntervalMonthDayNano(Some(v))
            if v.months == 0 && v.nanoseconds % 1_000 == 0 =>
        {
            parts(v.days, v.nanoseconds / 1_000)
        }
        ScalarValue::IntervalDayTime(Some(v)) => parts(v.days, i64::from(v.milliseconds) * 1_000),
        ScalarValue::DurationSecond(Some(v)) => v.checked_mul(SECOND),
        ScalarValue::DurationMillisecond(Some(v)) => v.checked_mul(1_000),
        ScalarValue::DurationMicrosecond(Some(v)) => Some(*v),
        ScalarValue::DurationNanosecond(Some(v)) if v % 1_000 == 0 => Some(v / 1_000),
        _ => None,
    }
}

/// The bound of an expression over columns with watermarks.
pub(super) fn bound(expr: &Expr, schema: &Schema, watermarks: &[Watermark]) -> Option<Bound> {
    let (core, shift) = affine(expr);
    let inner = match core {
        Expr::Column(column) => {
            let index = schema.index_of(&column.name).ok()?;
            let found = watermarks.iter().find(|watermark| watermark.column == index)?;
            let window = is_bound_of_window(found);
            Bound { shift: found.shift, sources: found.sources.clone(), window }
        }
        Expr::Cast(Cast { expr, field }) if keeps_micros(field.data_type()) => {
            bound(expr, schema, watermarks)?
        }
        Expr::ScalarFunction(call) => {
            let (below, time) = window(call)?;
            Bound { window: true, ..bound(time, schema, watermarks)?.lowered(below)? }
        }
        _ => return None,
    };
    Some(Bound { shift: inner.shift.checked_sub(shift)?, ..inner })
}

pub(super) fn keeps_micros(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            zone.as_deref().is_none_or(|zone| zone == TIME_ZONE)
        }
        _ => false,
    }
}

/// By how much at most the window's bound that a function gives is below the time, and the time.
fn window(call: &ScalarFunction) -> Option<(i64, &Expr)> {
    let (size, time) = match (call.name(), call.args.as_slice()) {
        (TUMBLE, [time, size, _]) => (integer(size)?, time),
        ("date_bin", [size, time] | [size, time, _]) => (constant(size)?, time),
        // An end lies above the time.
        (CALENDAR_END, [time, ..]) => return Some((-1, time)),
        (CALENDAR_START, [time, months, days, _]) => {
            let days = integer(months)?.checked_mul(31)?.checked_add(integer(days)?)?;
            // A clock is set back by no more than a day.
            (days.checked_add(1)?.checked_mul(DAY)?, time)
        }
        ("date_trunc", [unit, time]) => (unit_micros(unit)?, time),
        // The clock there may be set back, by no more than a day, between the begin of a day and the time.
        ("date_trunc", [unit, time, Expr::Literal(..)]) => match unit_micros(unit)? {
            size if size < DAY => (size, time),
            size => (size.checked_add(DAY)?, time),
        },
        _ => return None,
    };
    (size > 0).then_some((size - 1, time))
}

/// The length of a unit of `date_trunc`; None for months and longer.
fn unit_micros(unit: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = unit else { return None };
    Some(match functions::unit(value.try_as_str().flatten()?)? {
        "microsecond" => 1,
        "millisecond" => 1_000,
        "second" => SECOND,
        "minute" => 60 * SECOND,
        "hour" => 3_600 * SECOND,
        "day" => DAY,
        "week" => 7 * DAY,
        _ => return None,
    })
}

fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        _ => None,
    }
}

/// The time and windows of a call of [`HOP`] or [`CUMULATE`]; `column` is left at 0.
pub(super) fn hopping(expr: &Expr) -> Option<(&Expr, Hop)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let (HOP | CUMULATE, [time, slide, size, offset]) = (call.name(), call.args.as_slice()) else {
        return None;
    };
    let (slide, size, offset) = (integer(slide)?, integer(size)?, integer(offset)?);
    let hop = Hop { column: 0, slide, size, offset, cumulates: call.name() == CUMULATE };
    (hop.slide > 0 && hop.size > 0).then_some((time, hop))
}

/// Microseconds as PostgreSQL prints an interval without days.
pub(super) fn show(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, rest) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let mut shown = format!("{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if rest > 0 {
        shown.push('.');
        shown.push_str(format!("{rest:06}").trim_end_matches('0'));
    }
    shown
}

#[cfg(test)]
mod tests {
    use datafusion::common::scalar::ScalarValue as Value;
    use datafusion::logical_expr::lit;
    use datafusion::prelude::col;

    use super::*;

    fn seconds(seconds: i64) -> Expr {
        lit(Value::new_interval_mdn(0, 0, seconds * 1_000_000_000))
    }

    #[test]
    fn constants_around_a_core_add_up() {
        let expr = (seconds(5) + (col("ts") - seconds(2))).alias("x")
            + lit(Value::new_interval_mdn(0, 1, 0));
        let ts = col("ts");
        assert_eq!(affine(&expr), (&ts, 3 * SECOND + DAY));
        let months = col("ts") + lit(Value::new_interval_mdn(1, 0, 0));
        assert_eq!(affine(&months), (&months, 0));
    }

    #[test]
    fn a_shifted_value_is_bounded_by_the_opposite_shift() {
        let schema = Schema::new(vec![arrow::datatypes::Field::new(
            "ts",
            millrace_types::timestamptz(),
            true,
        )]);
        let watermarks = [Watermark { column: 0, shift: 1, sources: vec![ObjectId(1)] }];
        let found = bound(&(col("ts") + seconds(10)), &schema, &watermarks).unwrap();
        assert_eq!(found.shift, 1 - 10 * SECOND);
        assert_eq!(bound(&(col("ts") + col("ts")), &schema, &watermarks), None);
    }

    #[test]
    fn intervals_are_shown_as_postgresql_does() {
        assert_eq!(show(10 * SECOND), "00:00:10");
        assert_eq!(show(-36 * 3_600 * SECOND - 1_500), "-36:00:00.0015");
    }
}
