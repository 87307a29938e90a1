//! The functions that PostgreSQL types or names differently from DataFusion, and those of our windows.
//!
//! All other functions are DataFusion's. Ours have the same names where PostgreSQL has a name, so
//! that registering them replaces DataFusion's.
//!
//! Invariants: 1. times are microseconds in and out, with the zone of the argument. 2. an error of a
//! value is a [`Report`] inside `DataFusionError::External`, so that it keeps its SQLSTATE.

mod age;
mod aggregate;
mod array_dims;
mod array_places;
mod array_sets;
mod assigned;
mod bits;
mod bounded;
mod bytes;
mod calendar;
mod cast;
mod chain;
mod checked;
mod counts;
mod date_bin;
mod date_part;
mod date_trunc;
mod degrees;
mod division;
mod divisors;
mod domain;
mod encoding;
mod encodings;
mod finite;
mod fitting;
mod format;
mod intervals;
mod invoke;
mod json;
mod like;
mod made;
mod moving;
mod now;
mod one_value;
mod only;
mod operator;
mod order_key;
mod overlaps;
mod precision;
mod quoting;
mod random_uuid;
mod regexp;
mod rounding;
mod scales;
mod series;
mod session;
mod sign;
mod span;
mod template;
mod time;
mod timezone;
mod to_timestamp;
mod types;
mod unicode_forms;
mod unit;
mod unknown;
mod version;
mod widened;
mod window;
mod with_ties;
mod wrapped;
mod zoned;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{AggregateUDF, Expr, Operator, ScalarUDF, lit};
use millrace_types::{Report, SqlState, SqlType};

pub(crate) use aggregate::{extreme, sorted};
pub(crate) use array_sets::ArraySets;
pub(crate) use assigned::{ASSIGNED, assigned};
pub use bounded::bound_results;
pub(crate) use calendar::{CALENDAR_END, CALENDAR_START, Calendar};
pub(crate) use cast::{CONVERT, differs as cast_differs, exists as cast_exists, value_as};
pub(crate) use domain::is_partial;
pub(crate) use fitting::FITTING;
pub use json::rows_as_json;
pub(crate) use json::{JsonFunction, OBJECT_OF, json, member_as};
pub(crate) use like::quantified::MATCHES;
pub(crate) use like::{ANY_CASE as ILIKE, LIKE};
pub(crate) use moving::{MOVING, moving};
pub(crate) use one_value::ONE_VALUE;
pub(crate) use operator::{Arithmetic, TIME_BETWEEN};
pub(crate) use precision::{PRECISION, cut_to as cut_interval};
pub(crate) use regexp::Regexp;
pub(crate) use series::SERIES;
use series::{Lists, Which};
pub(crate) use session::{SESSION_END, SESSION_START, session_bound};
pub(crate) use types::ARRAY_LIKE;
pub(crate) use unit::unit;
pub use version::VERSION;
pub(crate) use widened::widened;
pub use window::{CUMULATE, HOP, TUMBLE};
pub(crate) use with_ties::WITH_TIES;
pub(crate) use zoned::{Zoned, at_zone, has_times, is_of_zone, is_zoned, read_at, zoned};

/// Our scalar functions.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        udf(to_timestamp::ToTimestamp::new()),
        udf(now::Now::new(now::Clock::Zoned)),
        udf(now::Now::new(now::Clock::Local)),
        udf(date_bin::DateBin::new()),
        udf(date_trunc::DateTrunc::new()),
        udf(window::Tumble::new()),
        udf(window::Hop::new()),
        udf(window::Cumulate::new()),
        udf(calendar::CalendarBound::new(calendar::CALENDAR_START)),
        udf(calendar::CalendarBound::new(calendar::CALENDAR_END)),
        udf(version::Version::new()),
        udf(one_value::OneValue::new()),
        udf(order_key::OrderKey::new(false)),
        udf(order_key::OrderKey::new(true)),
        udf(only::Only::new()),
        udf(array_dims::ArrayDims::new()),
        udf(types::ArrayLike::new()),
        udf(types::TypeOf::new()),
        udf(random_uuid::RandomUuid::new()),
        udf(with_ties::WithTies::new()),
        udf(Lists::new(Which::Series)),
        udf(Lists::new(Which::Places)),
        udf(Lists::new(Which::Padded)),
        udf(cast::Convert::new()),
        udf(sign::Sign::new()),
        udf(template::Template::new(false)),
        udf(template::Template::new(true)),
        udf(span::Span::new()),
        udf(timezone::Timezone::new()),
        udf(date_part::DatePart::new(false)),
        udf(date_part::DatePart::new(true)),
        udf(age::Age::new()),
        udf(finite::Finite::new()),
        udf(finite::Day::new()),
        udf(moving::Moving::new()),
        udf(assigned::Assigned::new()),
        udf(fitting::Fitting::new()),
        udf(bytes::Joined::new()),
        udf(division::Div::new()),
        udf(division::WidthBucket::new()),
        udf(format::Format::new()),
        udf(intervals::MakeInterval::new()),
        udf(overlaps::Overlaps::new()),
        udf(template::ToNumber::new()),
    ]
    .into_iter()
    .chain(intervals::justify().into_iter().map(udf))
    .chain(made::all().into_iter().map(udf))
    .chain(bytes::all().into_iter().map(udf))
    .chain(encoding::all().into_iter().map(udf))
    .chain(quoting::all().into_iter().map(udf))
    .chain(array_places::all().into_iter().map(udf))
    .chain(divisors::all().into_iter().map(udf))
    .chain(wrapped::all().into_iter().map(udf))
    .chain(regexp::all().into_iter().map(udf))
    .chain(counts::all().into_iter().map(udf))
    .chain(degrees::all().into_iter().map(udf))
    .chain(json::all())
    .chain(of_values())
    .chain(widened::all().into_iter().map(udf))
    .chain(rounding::all().into_iter().map(udf))
    .chain(zoned::all().into_iter().map(udf))
    .chain(CHECKED.into_iter().filter_map(checked))
    .chain(operator::ALL.into_iter().map(|which| udf(operator::Call::new(which))))
    .collect()
}

/// Those of bytes and texts, of patterns, arrays and digits.
fn of_values() -> impl Iterator<Item = Arc<ScalarUDF>> {
    std::iter::empty()
        .chain(encodings::all().into_iter().map(udf))
        .chain(bits::all().into_iter().map(udf))
        .chain(scales::all().into_iter().map(udf))
        .chain(like::all().into_iter().map(udf))
        .chain([udf(like::quantified::Matches::new())])
        .chain(array_sets::all().into_iter().map(udf))
        .chain([udf(array_sets::Trim::new())])
        .chain([udf(precision::Precision::new())])
        .chain(unicode_forms::all().into_iter().map(udf))
}

/// The operators that [`checked`] has a function for.
const CHECKED: [Operator; 4] =
    [Operator::Plus, Operator::Minus, Operator::Multiply, Operator::Divide];

/// The operator for which a function of this name stands.
pub(crate) fn operator(function: &str) -> Option<Operator> {
    let checked = CHECKED.into_iter().find(|operator| checked::name(*operator) == Some(function));
    checked.or_else(|| operator::named(function))
}

/// The function that does what an operator does, and fails where PostgreSQL's fails.
pub(crate) fn checked(operator: Operator) -> Option<Arc<ScalarUDF>> {
    checked::Checked::new(operator).map(udf)
}

/// The call of an operator that is a function of ours.
pub(crate) fn arithmetic(which: Arithmetic, left: Expr, right: Expr) -> Expr {
    call(udf(operator::Call::new(which)), vec![left, right])
}

/// The length of an interval, by which intervals compare.
pub(crate) fn span(interval: Expr) -> Expr {
    match is_span(&interval) {
        true => interval,
        false => call(udf(span::Span::new()), vec![interval]),
    }
}

/// True for what [`span`] gives.
pub(crate) fn is_span(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.name() == span::SPAN)
}

/// A float as the value that stands for all that are equal to it.
pub(crate) fn one_value(float: Expr) -> Expr {
    match is_one_value(&float) {
        true => float,
        false => call(udf(one_value::OneValue::new()), vec![float]),
    }
}

fn is_one_value(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.name() == ONE_VALUE)
}

/// What [`one_value`] was asked for, for what takes equal floats as one by itself.
pub(crate) fn without_one_value(expr: &Expr) -> &Expr {
    match expr {
        Expr::ScalarFunction(call) if is_one_value(expr) => call.args.first().unwrap_or(expr),
        _ => expr,
    }
}

/// What an array or a record is compared and sorted by; with `exact`, what tells all values apart.
pub(crate) fn order_key(value: Expr, exact: bool) -> Expr {
    match is_order_key(&value) {
        true => value,
        false => call(udf(order_key::OrderKey::new(exact)), vec![value]),
    }
}

fn is_order_key(expr: &Expr) -> bool {
    let names = [order_key::ORDER_KEY, order_key::EXACT_ORDER_KEY];
    matches!(expr, Expr::ScalarFunction(call) if names.contains(&call.name()))
}

/// `EXTRACT(field FROM time)`
pub(crate) fn extract(args: Vec<Expr>) -> Expr {
    call(udf(date_part::DatePart::new(true)), args)
}

/// The unit that a constant names, as in `date_part('hour', ...)`.
pub(crate) fn written_unit(field: &Expr) -> Option<&'static str> {
    match field {
        Expr::Literal(value, _) => date_part::written(Some(value)).and_then(unit),
        _ => None,
    }
}

/// `now(places)`
pub(crate) fn now(places: Vec<Expr>) -> Expr {
    call(udf(now::Now::new(now::Clock::Zoned)), places)
}

/// A value as another type, by our own cast.
///
/// # Errors
/// A type that has no values of its own.
pub(crate) fn convert(value: Expr, to: &DataType) -> Result<Expr, DataFusionError> {
    let zero = ScalarValue::new_default(to)?;
    Ok(call(udf(cast::Convert::new()), vec![value, lit(zero)]))
}

/// The list of `generate_series`.
pub(crate) fn series(bounds: Vec<Expr>) -> Expr {
    call(udf(Lists::new(Which::Series)), bounds)
}

/// `array_length(array, dimension)`
pub(crate) fn array_length(args: Vec<Expr>) -> Expr {
    call(udf(array_places::Places::length()), args)
}

/// The call of a function of regular expressions.
pub(crate) fn regexp(which: Regexp, args: Vec<Expr>) -> Expr {
    call(udf(regexp::Call::new(which)), args)
}

/// The places of the longest of some lists, from 1.
pub(crate) fn places(lists: Vec<Expr>) -> Expr {
    call(udf(Lists::new(Which::Places)), lists)
}

/// The first of some lists, with a NULL if all of them are empty.
pub(crate) fn padded(lists: Vec<Expr>) -> Expr {
    call(udf(Lists::new(Which::Padded)), lists)
}

/// `substring(value FROM ...)`
pub(crate) fn substring(args: Vec<Expr>) -> Expr {
    call(udf(bytes::part()), args)
}

/// `position(part IN value)`, the value first.
pub(crate) fn position(args: Vec<Expr>) -> Expr {
    call(udf(bytes::place()), args)
}

/// `overlay(value PLACING part FROM ...)`
pub(crate) fn overlay(args: Vec<Expr>) -> Expr {
    call(udf(bytes::overlay()), args)
}

/// `left || right` of byteas.
pub(crate) fn joined_bytes(left: Expr, right: Expr) -> Expr {
    call(udf(bytes::Joined::new()), vec![left, right])
}

/// `left @> right`, `left && right` of arrays.
pub(crate) fn array_sets(which: ArraySets, left: Expr, right: Expr) -> Expr {
    call(udf(array_sets::Sets::new(which)), vec![left, right])
}

/// The one value of a list; an error if there are two.
pub(crate) fn only(list: Expr) -> Expr {
    call(udf(only::Only::new()), vec![list])
}

fn udf(function: impl datafusion::logical_expr::ScalarUDFImpl + 'static) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(function))
}

/// The function that stands for a name that no function has.
pub(crate) fn unknown(name: &str) -> Arc<ScalarUDF> {
    udf(unknown::Unknown::new(name))
}

/// Our aggregate functions.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    aggregate::all()
}

/// The start of the tumbling window of `time`, all in microseconds.
pub(crate) fn tumble(time: Expr, size_us: i64, offset_us: i64) -> Expr {
    call(udf(window::Tumble::new()), vec![time, lit(size_us), lit(offset_us)])
}

/// The list of the starts of the hopping windows of `time`, all in microseconds.
pub(crate) fn hop(time: Expr, slide_us: i64, size_us: i64, offset_us: i64) -> Expr {
    call(udf(window::Hop::new()), vec![time, lit(slide_us), lit(size_us), lit(offset_us)])
}

/// The list of what [`CUMULATE`] gives for `time`, all in microseconds.
pub(crate) fn cumulate(time: Expr, step_us: i64, size_us: i64, offset_us: i64) -> Expr {
    call(udf(window::Cumulate::new()), vec![time, lit(step_us), lit(size_us), lit(offset_us)])
}

/// A bound of the calendar window of `time`.
pub(crate) fn calendar(bound: &'static str, time: Expr, calendar: &Calendar) -> Expr {
    let Calendar { months, days, zone } = calendar;
    let args = vec![time, lit(*months), lit(*days), lit(zone.to_string())];
    call(udf(calendar::CalendarBound::new(bound)), args)
}

fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

/// A value of a column as text, as `::text` gives it; empty for NULL.
///
/// # Errors
/// A type without values of its own.
pub fn shown(column: &ArrayRef, row: usize) -> Result<String, DataFusionError> {
    let texts = cast::show_values(&column.slice(row, 1))?;
    Ok(texts.iter().next().flatten().unwrap_or_default().to_owned())
}

/// A user's error inside DataFusion.
pub(crate) fn user_error(code: SqlState, message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Report::new(code, message)))
}

/// The error for argument types that a function does not take; worded so that
/// [`crate::error`] finds it inside DataFusion's own sentences.
fn no_function(name: &str, types: &[DataType]) -> DataFusionError {
    let types: Vec<String> = types.iter().map(bare_name).collect();
    DataFusionError::Plan(format!("function {name}({}) does not exist", types.join(", ")))
}

/// PostgreSQL's name of a type, or Arrow's where PostgreSQL has none.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "unknown".to_owned(),
        DataType::UInt32 => "oid".to_owned(),
        DataType::List(element) if *element.data_type() == DataType::UInt32 => "oid[]".to_owned(),
        other => SqlType::of_arrow(other).map_or_else(|| other.to_string(), |known| known.name()),
    }
}

/// The name of a type without digits behind it, as errors about types have it.
pub(crate) fn bare_name(data_type: &DataType) -> String {
    match SqlType::of_arrow(data_type) {
        Some(SqlType::Numeric(_)) => "numeric".to_owned(),
        _ => type_name(data_type),
    }
}

/// A null of the type of a function's result.
fn null_of(data_type: &DataType) -> Result<ScalarValue, DataFusionError> {
    ScalarValue::try_new_null(data_type)
}
