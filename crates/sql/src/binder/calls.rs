//! Calls of functions where they may not stand, or written as those of another kind of function; found
//! before names are resolved, so that the error says where.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, GroupByExpr, JoinConstraint, JoinOperator,
    OrderByKind, Query, Select, Spanned, UnaryOperator, Value, ValueWithSpan, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::grouping::aggregate;
use crate::names::fold;
use crate::session;

/// Functions that only OVER makes something of.
const WINDOW_ONLY: [&str; 8] =
    ["row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead"];

type Wrong = Box<(Report, Span)>;

/// Looks for aggregates and window functions in clauses that stand before they are computed.
///
/// # Errors
/// The first of them, and where it stands.
pub(super) fn misplaced(select: &Select) -> Result<(), Wrong> {
    if let Some(condition) = &select.selection {
        check(condition, "WHERE", true)?;
    }
    let joins = select.from.iter().flat_map(|from| &from.joins);
    for join in joins {
        if let Some(JoinConstraint::On(condition)) = constraint(&join.join_operator) {
            check(condition, "JOIN conditions", true)?;
        }
    }
    if let GroupByExpr::Expressions(grouped, _) = &select.group_by {
        grouped.iter().try_for_each(|expr| check(expr, "GROUP BY", false))?;
    }
    match &select.having {
        Some(condition) => check(condition, "HAVING", false),
        None => Ok(()),
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// Looks for aggregates and window functions in an expression; `clause` is where it stands.
pub(super) fn check(expr: &Expr, clause: &str, aggregates_too: bool) -> Result<(), Wrong> {
    if aggregates_too && let Some(span) = aggregate(expr) {
        let message = format!("aggregate functions are not allowed in {clause}");
        return Err(Box::new((Report::new(SqlState::GROUPING_ERROR, message), span)));
    }
    if let Some(span) = window(expr) {
        let message = format!("window functions are not allowed in {clause}");
        return Err(Box::new((Report::new(SqlState::WINDOWING_ERROR, message), span)));
    }
    Ok(())
}

/// The first subquery of an expression.
pub(super) fn subquery(expr: &Expr) -> Option<Span> {
    struct Finder;
    impl Visitor for Finder {
        type Break = Span;

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Span> {
            ControlFlow::Break(query.span())
        }
    }
    expr.visit(&mut Finder).break_value()
}

/// The first window function that belongs to the query itself.
fn window(expr: &Expr) -> Option<Span> {
    struct Finder {
        depth: usize,
    }
    impl Visitor for Finder {
        type Break = Span;

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
            match expr {
                Expr::Function(function) if self.depth == 0 && function.over.is_some() => {
                    ControlFlow::Break(expr.span())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Finder { depth: 0 }).break_value()
}

/// Looks whether a call is written as its function is called.
///
/// # Errors
/// It is not, as PostgreSQL says it.
pub(super) fn written(function: &Function) -> Result<(), Report> {
    let Some(name) = function.name.0.last().and_then(|part| part.as_ident()).map(fold) else {
        return Ok(());
    };
    let wrong = |message: String| Err(Report::new(SqlState::WRONG_OBJECT_TYPE, message));
    let is_window = WINDOW_ONLY.contains(&name.as_str());
    if is_window && function.over.is_none() && function.within_group.is_empty() {
        return wrong(format!("window function {name} requires an OVER clause"));
    }
    if is_window && function.filter.is_some() {
        let message = "FILTER is not implemented for non-aggregate window functions";
        return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let FunctionArguments::List(list) = &function.args else { return Ok(()) };
    if name == "nth_value" && list.args.get(1).is_some_and(is_below_one) {
        let message = "argument of nth_value must be greater than zero";
        return Err(Report::new(SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE, message));
    }
    if name != "count" && list.args.iter().any(is_star) {
        let message = format!("function {name}() does not exist");
        return Err(Report::new(SqlState::UNDEFINED_FUNCTION, message));
    }
    if name == "count" && list.args.is_empty() {
        return wrong(
            "count(*) must be used to call a parameterless aggregate function".to_owned(),
        );
    }
    if name == "now"
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(given))] = list.args.as_slice()
    {
        let given = match given {
            Expr::Value(value) => match value.value {
                Value::Number(..) => "integer",
                _ => "unknown",
            },
            _ => "...",
        };
        let message = format!("function now({given}) does not exist");
        let hint = "No function matches the given name and argument types. You might need to add explicit type casts.";
        return Err(Report::new(SqlState::UNDEFINED_FUNCTION, message).hint(hint));
    }
    if !is_scalar(&name) {
        return Ok(());
    }
    match of_aggregate(function, list) {
        Some("OVER") => wrong(format!(
            "OVER specified, but {name} is not a window function nor an aggregate function"
        )),
        Some(what) => wrong(format!("{what} specified, but {name} is not an aggregate function")),
        None => Ok(()),
    }
}

/// Refuses constants in ORDER BY that are no positions.
///
/// # Errors
/// The first of them, and where it stands.
pub(super) fn ordered(query: &Query) -> Result<(), Wrong> {
    let Some(OrderByKind::Expressions(order)) = query.order_by.as_ref().map(|order| &order.kind)
    else {
        return Ok(());
    };
    for by in order {
        let (code, message) = match &by.expr {
            Expr::Value(value)
                if !matches!(value.value, Value::Number(..) | Value::Placeholder(_)) =>
            {
                (SqlState::SYNTAX_ERROR, "non-integer constant in ORDER BY".to_owned())
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
                Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. })
                    if digits.parse::<i64>().is_ok() =>
                {
                    let message = format!("ORDER BY position -{digits} is not in select list");
                    let report = Report::new(SqlState::INVALID_COLUMN_REFERENCE, message);
                    let mut span = by.expr.span();
                    // The sign stands before it.
                    span.start.column = span.start.column.saturating_sub(1);
                    return Err(Box::new((report, span)));
                }
                _ => continue,
            },
            _ => continue,
        };
        return Err(Box::new((Report::new(code, message), by.expr.span())));
    }
    Ok(())
}

/// What a call has that only those of aggregates have.
fn of_aggregate(function: &Function, list: &FunctionArgumentList) -> Option<&'static str> {
    let is_sorted =
        |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::OrderBy(_));
    let found = [
        (list.duplicate_treatment == Some(DuplicateTreatment::Distinct), "DISTINCT"),
        (list.clauses.iter().any(is_sorted), "ORDER BY"),
        (function.filter.is_some(), "FILTER"),
        (function.over.is_some(), "OVER"),
    ];
    found.into_iter().find(|(is_there, _)| *is_there).map(|(_, what)| what)
}

/// True for a function that is neither an aggregate nor one of windows.
fn is_scalar(name: &str) -> bool {
    let known = session::shared();
    known.scalar_functions().contains_key(name)
        && !known.aggregate_functions().contains_key(name)
        && !known.window_functions().contains_key(name)
}

fn is_star(arg: &FunctionArg) -> bool {
    matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Wildcard))
}

/// True for the literal 0, and for those below.
fn is_below_one(arg: &FunctionArg) -> bool {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else { return false };
    match expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => matches!(expr.as_ref(), Expr::Value(_)),
        Expr::Value(value) => {
            matches!(&value.value, Value::Number(digits, _) if digits.bytes().all(|b| b == b'0'))
        }
        _ => false,
    }
}
