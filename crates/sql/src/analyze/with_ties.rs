//! `FETCH FIRST n ROWS WITH TIES`: the rows whose rank is n at most.
//!
//! Rows that are equal in the ORDER BY have one rank, that of the first of them. OFFSET passes rows over
//! by their numbers.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions_window::rank::rank_udwf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, Limit, LogicalPlan, LogicalPlanBuilder, Projection, WindowFrame,
    WindowFunctionDefinition, WindowUDF, lit,
};
use datafusion::scalar::ScalarValue;
use millrace_types::{Report, SqlState};

use crate::functions::WITH_TIES;

/// The rank of a row.
const RANK: &str = "\u{0}rank";
/// The number of a row.
const NUMBER: &str = "\u{0}number";

/// The plan with ranks for each FETCH with ties.
pub(crate) fn with_ties(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(limit) => match count(&limit) {
            Some(count) => ranked(&limit, count).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Limit(limit))),
        },
        other => Ok(Transformed::no(other)),
    });
    Ok(rewritten?.data)
}

/// The count that is marked.
pub(super) fn count(limit: &Limit) -> Option<Expr> {
    match limit.fetch.as_deref() {
        Some(Expr::ScalarFunction(call)) if call.name() == WITH_TIES => call.args.first().cloned(),
        _ => None,
    }
}

fn ranked(limit: &Limit, count: Expr) -> Result<LogicalPlan> {
    let mut projections = Vec::new();
    let mut below = limit.input.as_ref();
    while let LogicalPlan::Projection(projection) = below {
        projections.push(projection);
        below = projection.input.as_ref();
    }
    let LogicalPlan::Sort(sort) = below else {
        let message = "WITH TIES cannot be specified without ORDER BY clause";
        let report = Report::new(SqlState::SYNTAX_ERROR, message);
        return Err(datafusion::error::DataFusionError::External(Box::new(report)));
    };
    let skipped = limit.skip.as_deref().and_then(constant).unwrap_or(0);
    let last = match constant(&count) {
        Some(count) => lit(count.saturating_add(skipped)),
        None => return Err(not_constant()),
    };
    if limit.skip.is_some() && limit.skip.as_deref().and_then(constant).is_none() {
        return Err(not_constant());
    }
    let shown: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let order = || sort.expr.clone();
    let input = LogicalPlanBuilder::from(sort.input.as_ref().clone());
    // Two nodes: the order of numbers will be longer than that of ranks.
    let mut ranked = input.window([call(rank_udwf(), order()).alias(RANK)])?;
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let mut taken = column(RANK).lt_eq(last);
    if skipped > 0 {
        ranked = ranked.window([call(row_number_udwf(), order()).alias(NUMBER)])?;
        taken = taken.and(column(NUMBER).gt(lit(skipped)));
    }
    let mut plan = ranked.filter(taken)?.sort(order())?.build()?;
    if projections.is_empty() {
        return LogicalPlanBuilder::from(plan).project(shown)?.build();
    }
    for projection in projections.into_iter().rev() {
        let projected = Projection::try_new(projection.expr.clone(), Arc::new(plan))?;
        plan = LogicalPlan::Projection(projected);
    }
    Ok(plan)
}

fn call(function: Arc<WindowUDF>, order_by: Vec<SortExpr>) -> Expr {
    let params = WindowFunctionParams {
        args: Vec::new(),
        partition_by: Vec::new(),
        window_frame: WindowFrame::new(Some(false)),
        order_by,
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let fun = WindowFunctionDefinition::WindowUDF(function);
    Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
}

fn constant(expr: &Expr) -> Option<u64> {
    let value = match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => *value,
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => i64::from(*value),
        Expr::Cast(cast) => return constant(&cast.expr),
        _ => return None,
    };
    u64::try_from(value).ok()
}

fn not_constant() -> datafusion::error::DataFusionError {
    let report = Report::unsupported("FETCH FIRST ... WITH TIES of a count that is no constant");
    datafusion::error::DataFusionError::External(Box::new(report))
}
