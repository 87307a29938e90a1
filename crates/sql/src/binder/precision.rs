//! Times with a precision, `timestamp(3)`, and intervals with fields, `INTERVAL '1.5' DAY` and `x::interval hour`: casts
//! to the type without it, and what is cut from their values ([`functions::PRECISION`]).

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DateTimeField, Expr, Interval, IntervalFields, Spanned, UnaryOperator,
    Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, input};

use super::syntax::call;
use crate::functions;

/// Digits of seconds that times have.
const DIGITS_MAX: u64 = 6;

/// A cast to a type with a precision or with fields; None for others.
///
/// # Errors
/// A text that is no interval.
pub(super) fn cast(expr: &Expr, data_type: &DataType) -> Result<Option<Expr>, Report> {
    let (whole, digits, field) = match data_type {
        DataType::Timestamp(Some(digits), zone) => {
            (DataType::Timestamp(None, *zone), *digits, "second")
        }
        DataType::Time(Some(digits), zone) => (DataType::Time(None, *zone), *digits, "second"),
        DataType::Interval { fields, precision } if fields.is_some() || precision.is_some() => {
            let (first, last) = fields.as_ref().map_or((None, "second"), ends);
            let digits = precision.unwrap_or(DIGITS_MAX);
            if let Some(text) = text_of(expr) {
                return Ok(Some(written(&text, (first, last), digits, expr.span(), false)?));
            }
            (DataType::Interval { fields: None, precision: None }, digits, last)
        }
        _ => return Ok(None),
    };
    let (kind, expr) = (CastKind::Cast, Box::new(expr.clone()));
    let value = Expr::Cast { kind, expr, data_type: whole, array: false, format: None };
    if field == "second" && digits >= DIGITS_MAX {
        return Ok(Some(value));
    }
    let plain = |value: Value| Expr::Value(value.with_span(Span::empty()));
    let digits = plain(Value::Number(digits.min(DIGITS_MAX).to_string(), false));
    let field = plain(Value::SingleQuotedString(field.to_owned()));
    Ok(Some(call(functions::PRECISION, vec![value, digits, field])))
}

/// The first and the last of the fields that an interval has.
fn ends(fields: &IntervalFields) -> (Option<&'static str>, &'static str) {
    match fields {
        IntervalFields::Year => (None, "year"),
        IntervalFields::Month => (None, "month"),
        IntervalFields::Day => (None, "day"),
        IntervalFields::Hour => (None, "hour"),
        IntervalFields::Minute => (None, "minute"),
        IntervalFields::Second => (None, "second"),
        IntervalFields::YearToMonth => (Some("year"), "month"),
        IntervalFields::DayToHour => (Some("day"), "hour"),
        IntervalFields::DayToMinute => (Some("day"), "minute"),
        IntervalFields::DayToSecond => (Some("day"), "second"),
        IntervalFields::HourToMinute => (Some("hour"), "minute"),
        IntervalFields::HourToSecond => (Some("hour"), "second"),
        IntervalFields::MinuteToSecond => (Some("minute"), "second"),
    }
}

/// The text of a literal, with the sign in front of it.
fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(format!("-{}", text_of(expr)?)),
        _ => None,
    }
}

/// PostgreSQL's name of a field; None for those that other databases have.
fn field(unit: &DateTimeField) -> Option<&'static str> {
    Some(match unit {
        DateTimeField::Year => "year",
        DateTimeField::Month => "month",
        DateTimeField::Day => "day",
        DateTimeField::Hour => "hour",
        DateTimeField::Minute => "minute",
        DateTimeField::Second => "second",
        _ => return None,
    })
}

/// An interval in units that every reader takes: months, days and microseconds.
///
/// # Errors
/// A text that is no interval.
pub(super) fn interval(literal: &Interval, negative: bool) -> Result<Option<Expr>, Report> {
    let Some(text) = text_of(&literal.value) else { return Ok(None) };
    let span = literal.value.span();
    let last = literal.last_field.as_ref().or(literal.leading_field.as_ref());
    let precision = literal.fractional_seconds_precision.or(literal.leading_precision);
    let digits = precision.unwrap_or(DIGITS_MAX);
    let Some(last) = last else {
        let fields = (None, "second");
        return written(&text, fields, digits, span, negative).map(Some);
    };
    let Some(known) = field(last) else {
        // Weeks and the like.
        let value = input::interval(&format!("{} {last}", text.trim()));
        let value = value.or_else(|_| input::interval(&text))?;
        return Ok(Some(in_units(value, span, negative)));
    };
    let first = literal.last_field.as_ref().and(literal.leading_field.as_ref()).and_then(field);
    written(&text, (first, known), digits, span, negative).map(Some)
}

fn written(
    text: &str,
    (first, last): (Option<&str>, &str),
    digits: u64,
    span: Span,
    negative: bool,
) -> Result<Expr, Report> {
    let is_number = |word: &str| word.trim_start_matches(['-', '+']).parse::<f64>().is_ok();
    let words: Vec<&str> = text.split_whitespace().collect();
    let whole = match words.as_slice() {
        // A number without a unit counts the last field; one before hours counts days.
        [number] if is_number(number) => format!("{number} {last}"),
        [days, hours] if last == "hour" && is_number(days) && is_number(hours) => {
            format!("{days} days {hours} hours")
        }
        // Two numbers are minutes and seconds, not hours and minutes.
        [.., clock] if first == Some("minute") && clock.matches(':').count() == 1 => {
            let sign = if clock.starts_with('-') { "-" } else { "" };
            let before = words[..words.len() - 1].join(" ");
            format!("{before} {sign}0:{}", clock.trim_start_matches(['-', '+']))
        }
        _ => text.to_owned(),
    };
    // The error names what is written.
    let value = match input::interval(whole.trim()) {
        Ok(value) => value,
        Err(_) => input::interval(text)?,
    };
    let digits = i64::try_from(digits.min(DIGITS_MAX)).unwrap_or(6);
    let value = functions::cut_interval(value, digits, last).unwrap_or(value);
    Ok(in_units(value, span, negative))
}

fn in_units(value: arrow::datatypes::IntervalMonthDayNano, span: Span, negative: bool) -> Expr {
    let sign = if negative { -1 } else { 1 };
    let micros = sign * (value.nanoseconds / 1_000);
    let (months, days) = (sign * i64::from(value.months), sign * i64::from(value.days));
    let plain = format!("{months} months {days} days {micros} microseconds");
    let value = Value::SingleQuotedString(plain).with_span(span);
    Expr::Interval(Interval {
        value: Box::new(Expr::Value(value)),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}
