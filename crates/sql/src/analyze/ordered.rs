//! `ORDER BY` with subqueries: they become columns below the sort.
//!
//! DataFusion answers no subquery inside of a sort.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort};

use super::listed::has_subquery;

/// The plan, in which no sort has a subquery.
pub(crate) fn orders_apart(plan: LogicalPlan) -> Result<LogicalPlan> {
    let apart = |node| match node {
        LogicalPlan::Sort(sort) => apart(sort),
        node => Ok(Transformed::no(node)),
    };
    Ok(plan.transform_up_with_subqueries(apart)?.data)
}

fn apart(sort: Sort) -> Result<Transformed<LogicalPlan>> {
    let mut asked = Vec::new();
    let mut order = Vec::with_capacity(sort.expr.len());
    for mut by in sort.expr.clone() {
        if has_subquery(&by.expr)? {
            let name = format!("__order_{}", asked.len());
            let column = Expr::Column(Column::new_unqualified(&name));
            asked.push(std::mem::replace(&mut by.expr, column).alias(name));
        }
        order.push(by);
    }
    if asked.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Sort(sort)));
    }
    let shown: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let with = shown.iter().cloned().chain(asked).collect();
    let input = LogicalPlan::Projection(Projection::try_new(with, sort.input)?);
    let sorted = LogicalPlan::Sort(Sort { expr: order, input: Arc::new(input), fetch: sort.fetch });
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(sorted))?)))
}
