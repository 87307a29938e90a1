//! EXISTS over queries of which a semi join would be wrong.
//!
//! A semi join asks whether rows match. Of a query with OFFSET enough must match; a query that aggregates
//! all its rows has one row even if none match, and HAVING decides about that one.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{
    Distinct, Expr, FetchType, LogicalPlan, LogicalPlanBuilder, SkipType, Subquery, lit,
};

use super::subqueries::{aggregated, count, first, scalar};

/// When a query has a row.
enum Existence<'a> {
    Always,
    Never,
    /// More rows than these.
    Above(&'a LogicalPlan, i64),
    /// If this is true of the one row.
    If(&'a Expr, &'a LogicalPlan),
}

fn existence(plan: &LogicalPlan) -> Option<Existence<'_>> {
    match plan {
        LogicalPlan::Projection(projection) => existence(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => existence(&alias.input),
        LogicalPlan::Sort(sort) => existence(&sort.input),
        LogicalPlan::Distinct(Distinct::All(input)) => existence(input),
        LogicalPlan::Limit(limit) => match (limit.get_skip_type(), limit.get_fetch_type()) {
            (_, Ok(FetchType::Literal(Some(0)))) => Some(Existence::Never),
            (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(_))) => existence(&limit.input),
            (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(_))) => {
                Some(Existence::Above(&limit.input, i64::try_from(skip).ok()?))
            }
            _ => None,
        },
        LogicalPlan::Filter(filter) => {
            has_one_row(&filter.input).then_some(Existence::If(&filter.predicate, &filter.input))
        }
        LogicalPlan::Aggregate(_) => has_one_row(plan).then_some(Existence::Always),
        _ => None,
    }
}

/// True for an aggregate over all rows, and what is computed of it.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        _ => false,
    }
}

/// True if `EXISTS (plan)` is no semi join.
pub(super) fn is_other(plan: &LogicalPlan) -> bool {
    existence(plan).is_some()
}

/// True if a query with columns from outside has a row where nothing matches.
pub(super) fn has_row_without_match(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_)) && has_one_row(node)))
        .unwrap_or(true)
}

/// `EXISTS (plan)` in such a case; None if it is a semi join. `schema` is what the query around it has.
pub(super) fn other(
    plan: &LogicalPlan,
    schema: &DFSchema,
    spans: &Subquery,
) -> Result<Option<Expr>> {
    Ok(Some(match existence(plan) {
        None => return Ok(None),
        Some(Existence::Always) => lit(true),
        Some(Existence::Never) => lit(false),
        Some(Existence::Above(input, skipped)) => {
            aggregated(input.clone(), vec![count(lit(1i64))], first, spans)?.gt(lit(skipped))
        }
        Some(Existence::If(predicate, input)) => {
            let asked = predicate.clone().transform_up(|part| match part {
                Expr::OuterReferenceColumn(_, column) if schema.has_column(&column) => {
                    Ok(Transformed::yes(Expr::Column(column)))
                }
                Expr::Column(column) => {
                    let one = LogicalPlanBuilder::from(input.clone());
                    let one = one.project(vec![Expr::Column(column)])?.build()?;
                    Ok(Transformed::yes(scalar(one, spans)?))
                }
                other => Ok(Transformed::no(other)),
            })?;
            asked.data.is_true()
        }
    }))
}
