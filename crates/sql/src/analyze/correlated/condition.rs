//! Conditions that name columns from outside.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator, Projection};

use super::{Names, is_subquery, refused};
use crate::analyze::equal;

/// One condition of a WHERE clause.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// `inner = outer`, or the same with `IS NOT DISTINCT FROM`: rows with one value of `inner` are
    /// taken together, or left.
    Equal { inner: Column, operator: Operator, outer: Expr },
    /// Of columns from outside alone: all rows are taken, or none.
    Outer(Expr),
    /// Any other.
    Other(Expr),
}

impl Condition {
    /// The columns of the subquery that it needs.
    pub(super) fn columns(&self) -> Vec<Column> {
        match self {
            Condition::Equal { inner, .. } => vec![inner.clone()],
            Condition::Outer(_) => Vec::new(),
            Condition::Other(expr) => expr.column_refs().into_iter().cloned().collect(),
        }
    }

    /// The same of columns that have other names.
    pub(super) fn renamed(self, name: &dyn Fn(&Column) -> Column) -> Result<Condition> {
        Ok(match self {
            Condition::Equal { inner, operator, outer } => {
                Condition::Equal { inner: name(&inner), operator, outer }
            }
            Condition::Outer(expr) => Condition::Outer(expr),
            Condition::Other(expr) => {
                let changed = expr.transform_up(|part| match part {
                    Expr::Column(column) => Ok(Transformed::yes(Expr::Column(name(&column)))),
                    part if is_subquery(&part) => Err(refused("a subquery in such a condition")),
                    other => Ok(Transformed::no(other)),
                });
                Condition::Other(changed?.data)
            }
        })
    }

    /// True if rows that it takes can be told by a key.
    pub(super) fn is_by_key(&self) -> bool {
        !matches!(self, Condition::Other(_))
    }

    fn into_expr(self) -> Expr {
        match self {
            Condition::Equal { inner, operator, outer } => Expr::BinaryExpr(BinaryExpr {
                left: Box::new(Expr::Column(inner)),
                op: operator,
                right: Box::new(outer),
            }),
            Condition::Outer(expr) | Condition::Other(expr) => expr,
        }
    }
}

/// The columns that are compared with values from outside, each once.
pub(super) fn keys(conditions: &[Condition]) -> Vec<Expr> {
    let mut keys: Vec<Expr> = Vec::new();
    for condition in conditions {
        if let Condition::Equal { inner, .. } = condition {
            let key = Expr::Column(inner.clone());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// The plan with the conditions above it.
pub(super) fn above(plan: LogicalPlan, conditions: Vec<Condition>) -> Result<LogicalPlan> {
    match conjunction(conditions.into_iter().map(Condition::into_expr)) {
        Some(predicate) => Filter::try_new(predicate, Arc::new(plan)).map(LogicalPlan::Filter),
        None => Ok(plan),
    }
}

/// Takes the conditions that name columns from outside out of a predicate: what is left of it, and them over
/// the plan, which has what they compare as columns.
pub(super) fn taken(
    plan: LogicalPlan,
    predicate: Expr,
    names: &mut Names,
) -> Result<(LogicalPlan, Vec<Condition>)> {
    let (outer, own): (Vec<Expr>, Vec<Expr>) =
        split_conjunction_owned(predicate).into_iter().partition(Expr::contains_outer);
    let plan = match conjunction(own) {
        Some(own) => LogicalPlan::Filter(Filter::try_new(own, Arc::new(plan))?),
        None => plan,
    };
    let mut computed = Vec::new();
    let mut conditions = Vec::new();
    for expr in outer {
        conditions.push(match sides(&expr) {
            _ if expr.column_refs().is_empty() && !has_subquery(&expr) => Condition::Outer(expr),
            Some((inner, operator, outer)) => {
                let inner = column(inner, plan.schema(), names, &mut computed);
                let outer = equal::key(outer, plan.schema());
                Condition::Equal { inner, operator, outer }
            }
            None => Condition::Other(expr),
        });
    }
    if computed.is_empty() {
        return Ok((plan, conditions));
    }
    let exprs = plan.schema().columns().into_iter().map(Expr::Column).chain(computed).collect();
    let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
    Ok((plan, conditions))
}

/// The column that an expression is, or a new one, by which equal values are one.
fn column(inner: Expr, schema: &DFSchema, names: &mut Names, computed: &mut Vec<Expr>) -> Column {
    match equal::key(inner, schema) {
        Expr::Column(column) => column,
        key => {
            let name = names.next();
            computed.push(key.alias(name.clone()));
            Column::new_unqualified(name)
        }
    }
}

/// The sides of an equality of which one is of the subquery's columns alone, the other from outside.
fn sides(expr: &Expr) -> Option<(Expr, Operator, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    if !matches!(op, Operator::Eq | Operator::IsNotDistinctFrom) || has_subquery(expr) {
        return None;
    }
    let is_inner = |side: &Expr| !side.contains_outer() && !side.column_refs().is_empty();
    let is_outer = |side: &Expr| side.contains_outer() && side.column_refs().is_empty();
    if is_inner(left) && is_outer(right) {
        return Some((left.as_ref().clone(), *op, right.as_ref().clone()));
    }
    (is_outer(left) && is_inner(right))
        .then(|| (right.as_ref().clone(), *op, left.as_ref().clone()))
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|part| Ok(is_subquery(part))).unwrap_or(true)
}
