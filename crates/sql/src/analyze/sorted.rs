//! What stands over a subquery that is sorted: `SELECT array_agg(x) FROM (SELECT ... ORDER BY y) AS s`,
//! `SELECT * FROM (SELECT ... ORDER BY y) AS s LIMIT 3`.
//!
//! No order of a subquery is promised, but PostgreSQL gives its rows on as they were sorted, and queries
//! count on it. So a call that depends on the order of rows, a LIMIT and a whole query that have none of
//! their own take that of the subquery: its keys come along as further columns. Any other ORDER BY of a
//! subquery in FROM is dropped, unless it has a LIMIT itself.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::Sort as Order;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Filter, Limit, LogicalPlan, Projection, Sort, SubqueryAlias};

use super::ties::ORDERED;
use super::with_ties::count as ties;

/// Window functions whose result depends on the order of rows, beside the aggregates.
const NUMBERED: [&str; 4] = ["row_number", "ntile", "lag", "lead"];

/// The plan whose calls and limits have the orders of their subqueries.
pub(crate) fn with_sorted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        let (input, calls) = match &node {
            LogicalPlan::Limit(limit) if ties(limit).is_none() => {
                let Some(input) = lifted(&limit.input)? else { return Ok(Transformed::no(node)) };
                let limit = Limit { input: Arc::new(input), ..limit.clone() };
                return Ok(Transformed::yes(LogicalPlan::Limit(limit)));
            }
            LogicalPlan::Aggregate(aggregate) => (&aggregate.input, &aggregate.aggr_expr),
            LogicalPlan::Window(window) => (&window.input, &window.window_expr),
            _ => return Ok(Transformed::no(node)),
        };
        if !calls.iter().any(|expr| expr.exists(|part| Ok(is_unordered(part))).unwrap_or(false)) {
            return Ok(Transformed::no(node));
        }
        let Some((input, order)) = sorted(input)? else { return Ok(Transformed::no(node)) };
        let names = NamePreserver::new(&node);
        let ordered = node.map_expressions(|expr| {
            let saved = names.save(&expr);
            let changed = expr.transform_up(|part| Ok(with_order(part, &order)))?;
            Ok(changed.update_data(|expr| saved.restore(expr)))
        })?;
        let exprs = ordered.data.expressions();
        ordered.data.with_new_exprs(exprs, vec![input]).map(Transformed::yes)
    });
    let whole = changed?.data;
    let whole = lifted(&whole)?.unwrap_or(whole);
    let unsorted = whole.transform_up_with_subqueries(|node| match node {
        LogicalPlan::SubqueryAlias(alias) => {
            let input = unsorted(Arc::unwrap_or_clone(alias.input))?;
            let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias)?;
            Ok(Transformed::yes(LogicalPlan::SubqueryAlias(alias)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(unsorted?.data)
}

/// The plan with the order of its subquery above it, and the same columns; None if it has its own, or none.
fn lifted(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    if !is_over_subquery(plan) {
        return Ok(None);
    }
    let Some((input, expr)) = sorted(plan)? else { return Ok(None) };
    let sort = LogicalPlan::Sort(Sort { expr, input: Arc::new(input), fetch: None });
    let shown = plan.schema().columns().into_iter().map(Expr::Column).collect();
    Projection::try_new(shown, Arc::new(sort)).map(LogicalPlan::Projection).map(Some)
}

fn is_over_subquery(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_over_subquery(&projection.input),
        LogicalPlan::Filter(filter) => is_over_subquery(&filter.input),
        LogicalPlan::SubqueryAlias(_) => true,
        _ => false,
    }
}

/// A plan without orders that no LIMIT needs.
fn unsorted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut limited = false;
    let plan = plan.transform_down(|node| {
        limited |= matches!(node, LogicalPlan::Limit(_));
        Ok(match node {
            LogicalPlan::Sort(sort) if !limited && sort.fetch.is_none() => {
                Transformed::yes(Arc::unwrap_or_clone(sort.input))
            }
            other => Transformed::no(other),
        })
    });
    Ok(plan?.data)
}

fn is_unordered(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(call) => {
            call.params.order_by.is_empty()
                && !call.params.distinct
                && ORDERED.contains(&call.func.name())
        }
        Expr::WindowFunction(call) => {
            let name = call.fun.name();
            call.params.order_by.is_empty() && (NUMBERED.contains(&name) || ORDERED.contains(&name))
        }
        _ => false,
    }
}

fn with_order(expr: Expr, order: &[Order]) -> Transformed<Expr> {
    if !is_unordered(&expr) {
        return Transformed::no(expr);
    }
    Transformed::yes(match expr {
        Expr::AggregateFunction(mut call) => {
            call.params.order_by = order.to_vec();
            Expr::AggregateFunction(call)
        }
        Expr::WindowFunction(mut call) => {
            call.params.order_by = order.to_vec();
            Expr::WindowFunction(call)
        }
        other => other,
    })
}

/// The plan with the keys of its order as further columns, and the order over them; None for one that is
/// not sorted.
fn sorted(plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Vec<Order>)>> {
    let over = |order: &[Order], column: &dyn Fn(usize) -> Expr| -> Vec<Order> {
        let key = |(at, order): (usize, &Order)| Order { expr: column(at), ..order.clone() };
        order.iter().enumerate().map(key).collect()
    };
    Ok(match plan {
        LogicalPlan::Sort(sort) => Some((plan.clone(), sort.expr.clone())),
        LogicalPlan::Filter(filter) => match sorted(&filter.input)? {
            Some((input, order)) => {
                let filter = Filter::try_new(filter.predicate.clone(), Arc::new(input))?;
                Some((LogicalPlan::Filter(filter), order))
            }
            None => None,
        },
        LogicalPlan::Projection(projection) => match sorted(&projection.input)? {
            Some((input, order)) => {
                let keys = order.iter().enumerate();
                let keys = keys.map(|(at, order)| order.expr.clone().alias(name(at)));
                let all = projection.expr.iter().cloned().chain(keys).collect();
                let plan = LogicalPlan::Projection(Projection::try_new(all, Arc::new(input))?);
                let column = |at| Expr::Column(Column::new_unqualified(name(at)));
                Some((plan, over(&order, &column)))
            }
            None => None,
        },
        LogicalPlan::SubqueryAlias(alias) => match sorted(&alias.input)? {
            Some((input, order)) if order.iter().all(|order| is_key(&order.expr)) => {
                let plan = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
                let column = |at| Expr::Column(Column::new(Some(alias.alias.clone()), name(at)));
                Some((LogicalPlan::SubqueryAlias(plan), over(&order, &column)))
            }
            // The keys are columns of the sorted plan, which have another table's name from here on.
            Some((input, order)) => {
                let shown = input.schema().columns().into_iter().map(Expr::Column);
                let keys = order.iter().enumerate();
                let keys = keys.map(|(at, order)| order.expr.clone().alias(name(at)));
                let all = shown.chain(keys).collect();
                let input = LogicalPlan::Projection(Projection::try_new(all, Arc::new(input))?);
                let plan = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
                let column = |at| Expr::Column(Column::new(Some(alias.alias.clone()), name(at)));
                Some((LogicalPlan::SubqueryAlias(plan), over(&order, &column)))
            }
            None => None,
        },
        _ => None,
    })
}

/// The name of a key's column.
fn name(at: usize) -> String {
    format!("\u{0}order{at}")
}

fn is_key(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name.starts_with("\u{0}order"))
}
