//! `'now'`, `'today'`, `'tomorrow'`, `'yesterday'`: texts of times whose value is that of the statement's start.
//!
//! [`crate::analyze`] puts a call of [`MOVING`] where such a literal is read as a date or a time; the optimizer
//! puts the value in. Being `Stable`, it is refused in a materialized view, where PostgreSQL would keep the
//! moment at which the view was made.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use millrace_types::SqlState;
use millrace_types::input::{self, Zone};

use super::cast::{external, value_as};
use super::time::out_of_range;
use super::{no_function, user_error};

/// Its name.
pub(crate) const MOVING: &str = "millrace_moving";

const DAY: i64 = 86_400_000_000;

/// `millrace_moving(text, zero [, zone])`: the text as a time of the type of the zero, by a clock of the zone.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Moving {
    signature: Signature,
}

impl Moving {
    pub(super) fn new() -> Moving {
        Moving { signature: Signature::variadic_any(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Moving {
    fn name(&self) -> &'static str {
        MOVING
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.get(1).cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let value = match (info.query_execution_start_time(), args.as_slice()) {
            (Some(start), [Expr::Literal(text, _), Expr::Literal(zero, _), zone @ ..]) => {
                let word = text.try_as_str().flatten().and_then(read);
                let zone = zone_of(zone.first())?;
                word.map(|word| at(start.timestamp_micros(), word, zone, zero))
            }
            _ => None,
        };
        Ok(match value {
            Some(value) => ExprSimplifyResult::Simplified(Expr::Literal(value?, None)),
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let message = "a time was not given the statement's time";
        Err(user_error(SqlState::INTERNAL_ERROR, message))
    }
}

/// The call for a literal whose value moves; None for other texts and types.
pub(crate) fn moving(value: &ScalarValue, to: &DataType) -> Option<Expr> {
    let (_, clock) = read(value.try_as_str().flatten()?)?;
    let takes = match to {
        DataType::Date32 | DataType::Timestamp(..) => true,
        // The days have no time of day.
        DataType::Time64(_) => clock.is_none(),
        _ => false,
    };
    let zero = ScalarValue::new_default(to).ok().filter(|_| takes)?;
    let function = Arc::new(ScalarUDF::new_from_impl(Moving::new()));
    let args = vec![Expr::Literal(value.clone(), None), lit(zero)];
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}

/// Days from today and the time of day; None for the time of day that it is.
fn read(text: &str) -> Option<(i64, Option<i64>)> {
    let lower = text.trim().to_ascii_lowercase();
    let (word, rest) = lower.split_once(char::is_whitespace).unwrap_or((&lower, ""));
    let days = match word {
        "now" if rest.is_empty() => return Some((0, None)),
        "today" => 0,
        "tomorrow" => 1,
        "yesterday" => -1,
        _ => return None,
    };
    let clock = if rest.is_empty() { 0 } else { input::time(rest).ok()? };
    Some((days, Some(clock)))
}

fn zone_of(written: Option<&Expr>) -> Result<Zone> {
    match written {
        Some(Expr::Literal(zone, _)) => {
            Zone::of(zone.try_as_str().flatten().unwrap_or_default()).map_err(external)
        }
        _ => Ok(Zone::Utc),
    }
}

fn at(
    start: i64,
    (days, clock): (i64, Option<i64>),
    zone: Zone,
    zero: &ScalarValue,
) -> Result<ScalarValue> {
    let now = zone.reading(start).ok_or_else(out_of_range)?;
    let reading = match clock {
        None => now,
        Some(clock) => now - now.rem_euclid(DAY) + days * DAY + clock,
    };
    let to = zero.data_type();
    let time = match &to {
        // The hour that comes twice has one reading.
        DataType::Timestamp(_, Some(_)) if clock.is_none() => start,
        DataType::Timestamp(_, Some(_)) => zone.time(reading).ok_or_else(out_of_range)?,
        _ => reading,
    };
    let of = match &to {
        DataType::Timestamp(_, of) => of.clone(),
        _ => None,
    };
    value_as(&ScalarValue::TimestampMicrosecond(Some(time), of), &to)
}
