//! The types of number literals. DataFusion takes a whole number for a bigint and knows no exponent in
//! a numeric; PostgreSQL takes the narrowest of integer, bigint and numeric.
//!
//! Where a literal is the operand of an operator, [`crate::analyze`] knows what stands beside it. Here
//! are the other places where its type is seen: select lists, VALUES, results of CASE, elements of
//! arrays, and arguments of functions whose result has their type, or that do not exist. Elsewhere (LIMIT, positions in
//! ORDER BY, arguments that must be constants) a literal stays as it is.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, SetExpr, TimezoneInfo, UnaryOperator, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::NUMERIC_PRECISION;

use crate::functions::ASSIGNED;
use crate::names::fold;
use crate::session;

/// Functions whose result has the type of their arguments.
const POLYMORPHIC: [&str; 20] = [
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "abs",
    "mod",
    "sign",
    "gcd",
    "lcm",
    "sum",
    "min",
    "max",
    "array_agg",
    "array_append",
    "array_prepend",
    "array_remove",
    "array_position",
    "pg_typeof",
    "to_hex",
    ASSIGNED,
];

fn cast(expr: Expr, data_type: DataType) -> Expr {
    let expr = Box::new(expr);
    Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None }
}

/// A number that DataFusion does not read as the numeric that it is.
pub(super) fn number(digits: &str, span: Span) -> Option<Expr> {
    let digits = digits.replace('_', "");
    let value = |value: Value| Expr::Value(value.with_span(span));
    let numeric = |precision: usize, scale: usize| {
        let precision = u64::try_from(precision).ok()?;
        let scale = i64::try_from(scale).ok()?;
        Some(DataType::Numeric(ExactNumberInfo::PrecisionAndScale(precision, scale)))
    };
    if digits.parse::<i64>().is_err() && digits.parse::<u64>().is_ok() {
        return Some(cast(value(Value::Number(digits, false)), numeric(20, 0)?));
    }
    let most = usize::from(NUMERIC_PRECISION);
    let Some((mantissa, exponent)) = digits.split_once(['e', 'E']) else {
        let count = digits.bytes().filter(u8::is_ascii_digit).count();
        let double = || cast(value(Value::SingleQuotedString(digits.clone())), DataType::Float8);
        return (count > most).then(double);
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i64 = exponent.parse().ok()?;
    let places = i64::try_from(fraction.len()).ok()? - exponent;
    let scale = usize::try_from(places.max(0)).ok()?;
    let length = i64::try_from(whole.len() + fraction.len()).ok()? + (-places).max(0);
    let precision = usize::try_from(length).ok()?.max(scale).max(1);
    let text = value(Value::SingleQuotedString(digits.clone()));
    // More digits than numeric has here.
    let data_type = if precision > most { DataType::Float8 } else { numeric(precision, scale)? };
    Some(cast(text, data_type))
}

/// Gives an integer literal its type.
pub(super) fn type_integer(expr: &mut Expr) {
    let Some(digits) = digits_of(expr) else { return };
    let data_type = match (digits.parse::<i32>(), digits.parse::<i64>()) {
        (Ok(_), _) => DataType::Integer(None),
        (_, Ok(_)) => DataType::BigInt(None),
        _ => return,
    };
    *expr = cast(expr.clone(), data_type);
}

/// The digits of a number with its sign.
pub(super) fn digits_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => {
            digits_of(inner)
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            let digits = digits_of(expr)?;
            Some(digits.strip_prefix('-').map_or_else(|| format!("-{digits}"), str::to_owned))
        }
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(digits.replace('_', "")),
            _ => None,
        },
        _ => None,
    }
}

/// Types the literals inside an expression that its type follows from.
pub(super) fn type_parts(expr: &mut Expr) {
    match expr {
        Expr::Case { conditions, else_result, .. } => {
            for branch in conditions {
                type_integer(&mut branch.result);
            }
            if let Some(otherwise) = else_result {
                type_integer(otherwise);
            }
        }
        Expr::Array(array) => {
            array.elem.iter_mut().for_each(type_integer);
            let types: Vec<DataType> = array.elem.iter().filter_map(written).collect();
            let Some(time) = widest_time(&types) else { return };
            let narrow =
                array.elem.iter_mut().filter(|one| written(one).is_some_and(|of| of != time));
            narrow.for_each(|one| *one = cast(one.clone(), time.clone()));
        }
        Expr::Function(function) => type_arguments(function),
        _ => {}
    }
}

fn is_function(name: &str) -> bool {
    let state = session::shared();
    state.scalar_functions().contains_key(name)
        || state.aggregate_functions().contains_key(name)
        || state.window_functions().contains_key(name)
        || state.higher_order_functions().contains_key(name)
}

fn type_arguments(function: &mut Function) {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold);
    let FunctionArguments::List(list) = &mut function.args else { return };
    let Some(name) = name else { return };
    // The error for a function that does not exist names the types as well.
    if !POLYMORPHIC.contains(&name.as_str()) && is_function(&name) {
        return;
    }
    for arg in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
            type_integer(expr);
        }
    }
}

/// Types the literals of VALUES: a literal without a type takes that of another row's cast.
pub(super) fn type_rows(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            type_rows(left);
            type_rows(right);
        }
        SetExpr::Values(values) => {
            let width = values.rows.first().map_or(0, |row| row.content.len());
            for column in 0..width {
                let cells = || values.rows.iter().filter_map(|row| row.content.get(column));
                let written: Vec<DataType> = cells().filter_map(written).collect();
                let time = widest_time(&written);
                for row in &mut values.rows {
                    let Some(cell) = row.content.get_mut(column) else { continue };
                    type_cell(cell, time.as_ref().or(written.first()));
                    if let (Some(time), Some(own)) = (&time, self::written(cell))
                        && own != *time
                    {
                        *cell = cast(cell.clone(), time.clone());
                    }
                }
            }
        }
        _ => {}
    }
}

/// The type that somebody has written for a value.
fn written(cell: &Expr) -> Option<DataType> {
    match cell {
        Expr::Cast { data_type, .. } => Some(data_type.clone()),
        Expr::TypedString(typed) => Some(typed.data_type.clone()),
        Expr::Interval(_) => Some(DataType::Interval { fields: None, precision: None }),
        _ => None,
    }
}

/// The type that dates and timestamps have in common, if there are several of their types.
fn widest_time(types: &[DataType]) -> Option<DataType> {
    let width = |of: &DataType| match of {
        DataType::Date => Some(0),
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Some(1),
        DataType::Timestamp(..) => Some(2),
        _ => None,
    };
    let widest = types.iter().max_by_key(|of| width(of))?;
    let differ = types.iter().any(|of| width(of) != width(widest));
    (differ && types.iter().all(|of| width(of).is_some())).then(|| widest.clone())
}

fn type_cell(cell: &mut Expr, written: Option<&DataType>) {
    type_integer(cell);
    let (Some(written), Expr::Value(value)) = (written, &*cell) else { return };
    let takes = match &value.value {
        Value::SingleQuotedString(_) => true,
        // Beside a float, a literal with a point is a float.
        Value::Number(..) => matches!(
            written,
            DataType::Real
                | DataType::Float4
                | DataType::Float8
                | DataType::Float(_)
                | DataType::Double(_)
                | DataType::DoublePrecision
        ),
        _ => false,
    };
    if takes {
        *cell = cast(cell.clone(), written.clone());
    }
}
