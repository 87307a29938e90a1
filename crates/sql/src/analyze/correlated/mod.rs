//! Subqueries whose conditions name columns from outside, in a form that DataFusion makes a right join of.
//!
//! DataFusion takes such a condition out of the WHERE clause in which it stands and puts it above the
//! whole subquery, past whatever is between. What counts, numbers or limits rows on the way then sees
//! those of all outer rows together. Here the condition is brought up one node at a time ([`lift`]), and each
//! node that it passes is told to keep apart what it keeps apart: `inner = outer` makes `inner` a further
//! key of windows, groups, DISTINCT and LIMIT. DataFusion finds it at the top, or right below an aggregate
//! without groups, where it does the right thing.
//!
//! Invariants: 1. a subquery has the columns that it had. 2. what cannot be told apart is refused, with a
//! reason; no condition passes a node that it changes.

mod condition;
mod lift;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, Operator, Projection, Subquery, binary_expr, lit,
};
use millrace_types::Report;

use condition::Condition;
use lift::{Lift, Lifted};

/// What is asked of a subquery's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Whether there are any.
    Exists,
    /// Whether one of them has a value.
    Member,
    /// All rows, as often as they are there.
    Rows,
    /// The one value.
    Value,
}

/// See the module.
pub(crate) fn lifted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut names = Names::default();
    Ok(plan.transform_up(|node| expressions(node, &mut names))?.data)
}

/// Names for columns that conditions need.
#[derive(Debug, Default)]
struct Names(usize);

impl Names {
    fn next(&mut self) -> String {
        self.0 += 1;
        format!("__outer_{}", self.0)
    }
}

fn expressions(node: LogicalPlan, names: &mut Names) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Subquery(subquery) = node {
        let (subquery, _) = raised(subquery, Asked::Rows, names)?;
        return Ok(Transformed::yes(LogicalPlan::Subquery(subquery)));
    }
    if !node
        .expressions()
        .iter()
        .any(|expr| expr.exists(|part| Ok(is_subquery(part))).unwrap_or(false))
    {
        return Ok(Transformed::no(node));
    }
    let kept = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = kept.save(&expr);
        let changed = expr.transform_up(|part| expression(part, names))?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    })
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)
    )
}

/// A subquery of an expression; what is inside comes first, as it does in FROM.
fn inside(subquery: Subquery, names: &mut Names) -> Result<Subquery> {
    let plan = Arc::unwrap_or_clone(subquery.subquery);
    let plan = plan.transform_up(|node| expressions(node, names))?.data;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}

fn expression(part: Expr, names: &mut Names) -> Result<Transformed<Expr>> {
    Ok(Transformed::yes(match part {
        Expr::Exists(Exists { subquery, negated }) => {
            match raised(inside(subquery, names)?, Asked::Exists, names)? {
                (_, true) => lit(!negated),
                (subquery, false) => Expr::Exists(Exists { subquery, negated }),
            }
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            match raised(inside(subquery, names)?, Asked::Member, names)? {
                // Of one row DataFusion would lose that of no rows.
                (subquery, true) => {
                    let operator = if negated { Operator::NotEq } else { Operator::Eq };
                    binary_expr(*expr, operator, Expr::ScalarSubquery(subquery))
                }
                (subquery, false) => Expr::InSubquery(InSubquery { expr, subquery, negated }),
            }
        }
        Expr::ScalarSubquery(subquery) => {
            Expr::ScalarSubquery(raised(inside(subquery, names)?, Asked::Value, names)?.0)
        }
        Expr::SetComparison(mut comparison) => {
            comparison.subquery =
                raised(inside(comparison.subquery, names)?, Asked::Member, names)?.0;
            Expr::SetComparison(comparison)
        }
        other => return Ok(Transformed::no(other)),
    }))
}

/// A subquery with its conditions at the top; true if it has one row for each outer row.
fn raised(subquery: Subquery, asked: Asked, names: &mut Names) -> Result<(Subquery, bool)> {
    let nested = Arc::unwrap_or_clone(subquery.subquery);
    let shown: Vec<Column> = nested.schema().columns();
    let (plan, single) = if nested.all_out_ref_exprs().is_empty() {
        (if asked == Asked::Value { nullable(nested)? } else { nested }, false)
    } else {
        let Lifted { plan, conditions, single } = Lift::new(asked, &nested, names)?.plan(nested)?;
        if single == Some(false) && asked != Asked::Value && asked != Asked::Rows {
            return Err(refused("HAVING in a subquery over a group for each row from outside"));
        }
        (finished(plan, conditions, &shown, asked)?, single == Some(true))
    };
    let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
    Ok((subquery, single))
}

/// The conditions above the rest, and the columns as they were.
fn finished(
    plan: LogicalPlan,
    conditions: Vec<Condition>,
    shown: &[Column],
    asked: Asked,
) -> Result<LogicalPlan> {
    if conditions.is_empty() && plan.schema().columns() == shown {
        return Ok(plan);
    }
    let plan = condition::above(plan, conditions)?;
    let exprs: Vec<Expr> = shown.iter().cloned().map(Expr::Column).collect();
    let (Asked::Value, [value]) = (asked, exprs.as_slice()) else {
        return Projection::try_new(exprs, Arc::new(plan)).map(LogicalPlan::Projection);
    };
    // There is one at most, which DataFusion does not see.
    first(plan, value, shown)
}

/// A value that may be missing, of a column that says that it is never NULL.
fn nullable(plan: LogicalPlan) -> Result<LogicalPlan> {
    let [field] = plan.schema().fields().as_ref() else { return Ok(plan) };
    if field.is_nullable() || has_row(&plan) {
        return Ok(plan);
    }
    let shown = plan.schema().columns();
    let Some(value) = shown.first().cloned().map(Expr::Column) else { return Ok(plan) };
    first(plan, &value, &shown)
}

/// True for a query that has a row always.
fn has_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_row(&alias.input),
        LogicalPlan::Sort(sort) => has_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Values(values) => !values.values.is_empty(),
        _ => false,
    }
}

/// The first value of a column, NULL if there is none.
fn first(plan: LogicalPlan, value: &Expr, shown: &[Column]) -> Result<LogicalPlan> {
    let first = AggregateFunction::new_udf(
        first_value_udaf(),
        vec![value.clone()],
        false,
        None,
        vec![],
        None,
    );
    let first = Expr::AggregateFunction(first);
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(plan), vec![], vec![first])?);
    let column = plan.schema().columns().into_iter().map(Expr::Column);
    let named = column
        .zip(shown)
        .map(|(column, shown)| column.alias_qualified(shown.relation.clone(), shown.name.clone()));
    Projection::try_new(named.collect(), Arc::new(plan)).map(LogicalPlan::Projection)
}

/// What is not there.
fn refused(what: &str) -> DataFusionError {
    let report = Report::unsupported(what).hint(
        "Join with the rows from outside, compare by = with a column from outside, \
         or compare above the subquery.",
    );
    DataFusionError::External(Box::new(report))
}
