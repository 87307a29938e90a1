//! What a materialized view cannot have: for good, or not yet.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use millrace_types::{Report, SqlState};

use super::temporal::is_clock;
use crate::functions::MOVING;

/// `<subject> not supported yet`, where the subject ends in `is` or `are`.
pub(super) fn not_yet(subject: &str) -> Report {
    let message = format!("{subject} not supported yet");
    Report::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

const READ: &str = "Use it in the SELECT that reads the view.";

/// The report for an error of DataFusion's planner.
pub(super) fn failure(error: DataFusionError) -> Report {
    crate::error::report(error)
}

/// The report for a plan that has a form which it cannot have.
pub(super) fn internal(what: &str) -> Report {
    Report::new(SqlState::INTERNAL_ERROR, format!("cannot plan the view: {what}"))
}

/// Looks at every expression of an optimized plan: subqueries that are left are not joins.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), Report> {
    search(plan, &|expr| expression(expr).or_else(|| subquery(expr)))
}

/// Looks at every expression of a plan before it is optimized.
pub(super) fn check_bound(plan: &LogicalPlan) -> Result<(), Report> {
    search(plan, &expression)
}

/// The first report about an expression of a plan.
fn search(plan: &LogicalPlan, about: &dyn Fn(&Expr) -> Option<Report>) -> Result<(), Report> {
    let mut found = None;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                found = about(part);
                Ok(match found {
                    Some(_) => TreeNodeRecursion::Stop,
                    None => TreeNodeRecursion::Continue,
                })
            })
        })
    });
    walked.map_err(failure)?;
    found.map_or(Ok(()), Err)
}

/// A subquery that no rule has made a join of.
fn subquery(expr: &Expr) -> Option<Report> {
    let is_left = matches!(
        expr,
        Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_)
            | Expr::OuterReferenceColumn(..)
    );
    is_left.then(|| {
        not_yet("subqueries of this kind in a materialized view are")
            .hint("Put the subquery into the SELECT that reads the view, or write a join.")
    })
}

fn expression(expr: &Expr) -> Option<Report> {
    match expr {
        // A plan has it only where it can be kept up to date.
        Expr::ScalarFunction(call) if is_clock(call.name()) => None,
        Expr::ScalarFunction(call) if call.name() == MOVING => {
            let word = literal(call.args.first());
            Some(
                not_yet(&format!("the time {word} in a materialized view is"))
                    .detail("Its value is that of the statement's start.")
                    .hint("Write the time out, or use it in the SELECT that reads the view."),
            )
        }
        Expr::ScalarFunction(call) => function(call.name(), call.func.signature().volatility),
        Expr::AggregateFunction(call) => {
            function(call.func.name(), call.func.signature().volatility)
        }
        Expr::WindowFunction(call) => function(call.fun.name(), call.fun.signature().volatility),
        Expr::Placeholder(_) => Some(Report::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "materialized views may not be defined using bound parameters",
        )),
        _ => None,
    }
}

/// A text as it was written.
fn literal(expr: Option<&Expr>) -> String {
    match expr {
        Some(Expr::Literal(value, _)) => {
            format!("'{}'", value.try_as_str().flatten().unwrap_or_default())
        }
        _ => String::new(),
    }
}

fn function(name: &str, volatility: Volatility) -> Option<Report> {
    match volatility {
        Volatility::Immutable => None,
        Volatility::Stable => Some(
            not_yet(&format!("{name}() in a materialized view is"))
                .detail("Its value changes while the view's input does not.")
                .hint("Use it in the SELECT that reads the view."),
        ),
        Volatility::Volatile => Some(
            Report::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("{name}() cannot be used in a materialized view"),
            )
            .detail(
                "It has another value at each call, so that the view would never equal its query.",
            )
            .hint("Use it in the SELECT that reads the view, or store its value in a table."),
        ),
    }
}

/// The report for a plan node that has no translation.
pub(super) fn node(plan: &LogicalPlan) -> Report {
    let read = READ;
    match plan {
        LogicalPlan::Join(join) => {
            not_yet(&format!("{} joins in a materialized view are", join.join_type)).hint(read)
        }
        LogicalPlan::RecursiveQuery(_) => not_yet("WITH RECURSIVE in a materialized view is")
            .detail("What a row that goes has led to, over any number of turns, would have to go with it.")
            .hint("Use it in the SELECT that reads the view, or write one join for each level."),
        LogicalPlan::Unnest(_) => not_yet("unnest() in a materialized view is").hint(read),
        other => {
            let shown = other.display().to_string();
            let word = shown.split([':', ' ']).next().unwrap_or_default();
            not_yet(&format!("{word} in a materialized view is"))
        }
    }
}
