//! Values of which one becomes the result: branches of CASE, arguments of `coalesce` and its like, columns of
//! a UNION. A text literal among them whose type nobody wrote takes the type of the others; a text beside
//! another type does not fit.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Case, Expr, ExprSchemable, lit};
use millrace_types::SqlState;

use super::nested;
use super::operators::{compared, is_untyped, typed};
use crate::functions::{self, bare_name, user_error};

/// The type that literals take among values of these types, of which some are literals; None if they are
/// texts.
pub(super) fn wanted(construct: &str, values: &[(DataType, bool)]) -> Result<Option<DataType>> {
    let written = values.iter().filter(|(found, untyped)| !untyped && !found.is_null());
    let mut written = written.map(|(found, _)| found);
    let Some(first) = written.next() else { return Ok(None) };
    let mut common = first.clone();
    for found in written {
        if found.is_string() != first.is_string() {
            let (one, other) = (bare_name(first), bare_name(found));
            let message = format!("{construct} types {one} and {other} cannot be matched");
            return Err(user_error(SqlState::DATATYPE_MISMATCH, message));
        }
        common = comparison_coercion(&common, found).unwrap_or(common);
    }
    Ok((!common.is_string()).then_some(common))
}

/// The type that literals among some values take; None if there are none, or they are texts.
pub(super) fn matched<'a>(
    construct: &str,
    values: impl Iterator<Item = &'a Expr>,
    schema: &DFSchema,
) -> Result<Option<DataType>> {
    let found = values.map(|value| Some((value.get_type(schema).ok()?, is_untyped(value))));
    let Some(found) = found.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let wanted = wanted(construct, &found)?;
    Ok(wanted.filter(|_| found.iter().any(|(_, untyped)| *untyped)))
}

/// A literal as a type; all else stays.
pub(super) fn taking(value: Expr, wanted: &DataType) -> Result<Expr> {
    if is_untyped(&value) { typed(value, wanted) } else { Ok(value) }
}

/// Refuses conditions of CASE and of FILTER that are no truth values.
pub(super) fn check_conditions(expr: &Expr, schema: &DFSchema) -> Result<()> {
    match expr {
        Expr::Case(case) if case.expr.is_none() => {
            let mut whens = case.when_then_expr.iter();
            whens.try_for_each(|(when, _)| check_condition("CASE/WHEN", when, schema))
        }
        Expr::AggregateFunction(call) => {
            let mut filter = call.params.filter.iter();
            filter.try_for_each(|filter| check_condition("FILTER", filter, schema))
        }
        _ => Ok(()),
    }
}

fn check_condition(construct: &str, condition: &Expr, schema: &DFSchema) -> Result<()> {
    let Ok(found) = condition.get_type(schema) else { return Ok(()) };
    let is_open = matches!(condition, Expr::Placeholder(_)) || is_untyped(condition);
    if is_open || found.is_null() || found == DataType::Boolean {
        return Ok(());
    }
    let small = |value: &i64| i32::try_from(*value).is_ok();
    let found = match condition {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) if small(value) => "integer".to_owned(),
        _ => bare_name(&found),
    };
    let message = format!("argument of {construct} must be type boolean, not type {found}");
    Err(user_error(SqlState::DATATYPE_MISMATCH, message))
}

/// True for types whose equal values differ in bits: there only operators compare.
fn looks_different(expr: &Expr, schema: &DFSchema) -> bool {
    let found = expr.get_type(schema);
    found.is_ok_and(|found| nested::looks_different(&found) || functions::is_span(expr))
}

/// `CASE x WHEN y` of such types as `CASE WHEN x = y`.
fn searched(mut case: Case, schema: &DFSchema) -> Result<Case> {
    let Some(operand) = &case.expr else { return Ok(case) };
    let whens = case.when_then_expr.iter().map(|(when, _)| {
        let (left, right) = compared("=", (**operand).clone(), (**when).clone(), schema)?;
        let different = looks_different(&left, schema) || looks_different(&right, schema);
        Ok((different, left.eq(right)))
    });
    let whens = whens.collect::<Result<Vec<(bool, Expr)>>>()?;
    if whens.iter().any(|(different, _)| *different) {
        let pairs = std::mem::take(&mut case.when_then_expr).into_iter().zip(whens);
        case.when_then_expr = pairs.map(|((_, then), (_, when))| (Box::new(when), then)).collect();
        case.expr = None;
    }
    Ok(case)
}

/// `nullif(x, y)` of such types as `CASE WHEN x = y THEN NULL ELSE x END`.
fn unless_equal(call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let [value, other] = call.args.as_slice() {
        let (left, right) = compared("=", value.clone(), other.clone(), schema)?;
        if looks_different(&left, schema) || looks_different(&right, schema) {
            let nothing = ScalarValue::try_new_null(&value.get_type(schema)?)?;
            let when = (Box::new(left.eq(right)), Box::new(lit(nothing)));
            let case = Case::new(None, vec![when], Some(Box::new(value.clone())));
            return Ok(Transformed::yes(Expr::Case(case)));
        }
        if is_untyped(value) || is_untyped(other) {
            let args = vec![left, right];
            return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { args, ..call })));
        }
    }
    Ok(Transformed::no(Expr::ScalarFunction(call)))
}

/// A call that gives one of its arguments; any other as it is.
pub(super) fn of_call(call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let construct = match call.name() {
        "nullif" => return unless_equal(call, schema),
        "coalesce" => "COALESCE",
        "greatest" => "GREATEST",
        "least" => "LEAST",
        _ => return Ok(Transformed::no(Expr::ScalarFunction(call))),
    };
    let Some(wanted) = matched(construct, call.args.iter(), schema)? else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let args = call.args.into_iter().map(|arg| taking(arg, &wanted)).collect::<Result<_>>()?;
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { args, ..call })))
}

/// The results of a CASE as one type: numerics are double precision where another result is a float.
pub(super) fn of_case(case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut case = searched(case, schema)?;
    // PostgreSQL looks at ELSE first.
    let last = case.else_expr.iter().map(|last| &**last);
    let all = last.chain(case.when_then_expr.iter().map(|(_, then)| &**then));
    if let Some(wanted) = matched("CASE", all, schema)? {
        for result in
            case.when_then_expr.iter_mut().map(|(_, then)| then).chain(&mut case.else_expr)
        {
            **result = taking(std::mem::take(&mut **result), &wanted)?;
        }
    }
    let results = || {
        let results = case.when_then_expr.iter().map(|(_, then)| then);
        results.chain(case.else_expr.iter())
    };
    let found: Vec<DataType> =
        results().map(|result| result.get_type(schema)).collect::<Result<_>>()?;
    let wanted = functions::widened(&found);
    if found == wanted {
        return Ok(Transformed::no(Expr::Case(case)));
    }
    let mut pairs = found.iter().zip(&wanted);
    let mut widen = |expr: Box<Expr>| match pairs.next() {
        Some((from, to)) if from != to => typed(*expr, to).map(Box::new),
        _ => Ok(expr),
    };
    let when_then = std::mem::take(&mut case.when_then_expr).into_iter();
    case.when_then_expr =
        when_then.map(|(when, then)| Ok((when, widen(then)?))).collect::<Result<_>>()?;
    case.else_expr = case.else_expr.map(widen).transpose()?;
    Ok(Transformed::yes(Expr::Case(case)))
}
