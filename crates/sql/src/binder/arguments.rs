//! The types that functions give parameters among their arguments, where a parameter may have any: those of
//! PostgreSQL's functions, which are often narrower than what DataFusion's take.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable};
use millrace_types::{SqlType, TIME_ZONE};

use crate::functions::{ILIKE, LIKE, MATCHES};

/// What an argument is.
#[derive(Clone, Copy)]
enum Takes {
    Count,
    Double,
    Numeric,
    Interval,
    Moment,
    /// What the other arguments are: a numeric where there is one.
    Alike,
    /// The type of the first one.
    First,
    /// An element of the first one.
    Element,
    Text,
    Texts,
}

/// Functions of doubles, some of which take numerics as well.
const OF_DOUBLES: [&str; 23] = [
    "abs", "acos", "asin", "atan", "atan2", "cbrt", "ceil", "ceiling", "cos", "cot", "degrees",
    "exp", "floor", "ln", "log", "log10", "pow", "power", "radians", "sign", "sin", "sqrt", "tan",
];

fn takes(name: &str, at: usize, count: usize) -> Option<Takes> {
    Some(match (name, at) {
        ("left" | "right" | "repeat" | "lpad" | "rpad", 1) => Takes::Count,
        ("substr" | "substring", 1 | 2) | ("split_part", 2) => Takes::Count,
        ("chr" | "ntile", 0) | ("array_length" | "array_upper" | "array_lower", 1) => Takes::Count,
        ("round" | "trunc", 1) | ("lag" | "lead" | "nth_value", 1) => Takes::Count,
        ("lag" | "lead", 2) => Takes::First,
        ("round" | "trunc", 0) if count == 2 => Takes::Numeric,
        ("round" | "trunc", 0) => Takes::Double,
        ("make_interval", 6) | ("to_timestamp", 0) if count != 2 => Takes::Double,
        ("make_time", 2) | ("make_timestamp" | "make_timestamptz", 5) => Takes::Double,
        ("make_timestamptz", 6) | ("date_trunc", 2) => Takes::Text,
        ("make_interval" | "make_date" | "make_time", _) => Takes::Count,
        ("make_timestamp" | "make_timestamptz", _) => Takes::Count,
        ("date_bin", 0) => Takes::Interval,
        ("date_bin" | "date_trunc", 1) | ("date_bin", 2) => Takes::Moment,
        ("array_has" | "array_position" | "array_positions", 1) => Takes::Element,
        ("array_append" | "array_remove" | "array_remove_all", 1) => Takes::Element,
        (MATCHES, 1) => Takes::Texts,
        (MATCHES | LIKE | ILIKE, _) => Takes::Text,
        ("concat" | "concat_ws" | "format", _) => Takes::Text,
        (name, _) if OF_DOUBLES.contains(&name) => Takes::Alike,
        _ => return None,
    })
}

/// The type that a function gives an argument at a place.
pub(super) fn wanted(name: &str, args: &[Expr], at: usize, schema: &DFSchema) -> Option<DataType> {
    let of = |at: usize| args.get(at)?.get_type(schema).ok().filter(|found| !found.is_null());
    let numeric = || SqlType::Numeric(None).arrow();
    Some(match takes(name, at, args.len())? {
        Takes::Count => DataType::Int32,
        Takes::Double => DataType::Float64,
        Takes::Numeric => numeric(),
        Takes::Interval => SqlType::Interval.arrow(),
        Takes::Moment => {
            let mut others = (1..args.len()).filter_map(of);
            let beside = others.find(|found| matches!(found, DataType::Timestamp(..)));
            beside.unwrap_or(DataType::Timestamp(TimeUnit::Microsecond, Some(TIME_ZONE.into())))
        }
        Takes::Alike => match (0..args.len()).filter_map(of).any(|found| found.is_decimal()) {
            true => numeric(),
            false => DataType::Float64,
        },
        Takes::First => of(0)?,
        Takes::Element => match of(0)? {
            DataType::List(element) => element.data_type().clone(),
            _ => return None,
        },
        Takes::Text => DataType::Utf8,
        Takes::Texts => DataType::new_list(DataType::Utf8, true),
    })
}
