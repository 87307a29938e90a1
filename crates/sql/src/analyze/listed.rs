//! `VALUES` with subqueries among them: each row becomes a query of its own.
//!
//! DataFusion calculates the rows of VALUES while it plans, when no subquery has been answered yet.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, Projection, Union, Values};

/// The plan, in which no VALUES has a subquery.
pub(crate) fn rows_apart(plan: LogicalPlan) -> Result<LogicalPlan> {
    let apart = |node| match node {
        LogicalPlan::Values(values) if asks(&values)? => Ok(Transformed::yes(apart(&values)?)),
        node => Ok(Transformed::no(node)),
    };
    Ok(plan.transform_up_with_subqueries(apart)?.data)
}

fn asks(values: &Values) -> Result<bool> {
    for expr in values.values.iter().flatten() {
        if has_subquery(expr)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True if a part of an expression is a query.
pub(super) fn has_subquery(expr: &Expr) -> Result<bool> {
    expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
        ))
    })
}

fn apart(values: &Values) -> Result<LogicalPlan> {
    let names = values.schema.fields().iter().map(|field| field.name());
    let rows = values.values.iter().map(|row| {
        let named = row.iter().zip(names.clone()).map(|(expr, name)| expr.clone().alias(name));
        let schema = Arc::new(DFSchema::empty());
        let nothing = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema });
        let row = Projection::try_new(named.collect(), Arc::new(nothing))?;
        Ok(Arc::new(LogicalPlan::Projection(row)))
    });
    let mut inputs = rows.collect::<Result<Vec<_>>>()?;
    if let [row] = inputs.as_mut_slice() {
        return Ok(LogicalPlan::clone(row));
    }
    Ok(LogicalPlan::Union(Union { inputs, schema: Arc::clone(&values.schema) }))
}
