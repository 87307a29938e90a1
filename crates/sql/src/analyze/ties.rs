//! Rows that an order leaves tied: decided by their columns, from left to right.
//!
//! `ORDER BY ... LIMIT`, `row_number`, `lag`, frames of ROWS and `DISTINCT ON` depend on which of two rows
//! that are equal in their order comes first. PostgreSQL takes any; a view would then have to remember
//! which, and its query would answer otherwise. So such an order is followed by the columns of its
//! input, ascending, NULLs last, in views and in a plain SELECT alike. Rows that are equal in all of
//! them cannot be told apart.
//!
//! Where tied rows are peers and count alike (`rank`, frames of RANGE and GROUPS), nothing is added.

use std::sync::Arc;

use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{Sort as Order, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, Limit, LogicalPlan, Projection, Sort, Window, WindowFrameUnits,
    WindowFunctionDefinition,
};

use super::equal::decisive;

/// Aggregates whose result depends on the order of all rows.
pub(super) const ORDERED: [&str; 6] =
    ["array_agg", "string_agg", "first_value", "last_value", "nth_value", "any_value"];

/// Adds what decides to one node of a plan.
pub(super) fn decide(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Limit(limit) => {
            let Some(input) = sorted(&limit.input)? else {
                return Ok(Transformed::no(LogicalPlan::Limit(limit)));
            };
            Ok(Transformed::yes(LogicalPlan::Limit(Limit { input: Arc::new(input), ..limit })))
        }
        LogicalPlan::Window(window) => numbered(window),
        LogicalPlan::Distinct(Distinct::On(on)) => Ok(first(on)),
        other => Ok(Transformed::no(other)),
    }
}

/// The input of a LIMIT with more in its ORDER BY; None if it has all, or none.
fn sorted(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let Some(input) = sorted(&projection.input)? else { return Ok(None) };
            let (expr, schema) = (projection.expr.clone(), Arc::clone(&projection.schema));
            let projection = Projection::try_new_with_schema(expr, Arc::new(input), schema)?;
            Ok(Some(LogicalPlan::Projection(projection)))
        }
        LogicalPlan::Sort(sort) => {
            let expr = followed(&sort.expr, columns(sort.input.schema()), sort.input.schema());
            let is_new = expr.len() > sort.expr.len();
            Ok(is_new.then(|| LogicalPlan::Sort(Sort { expr, ..sort.clone() })))
        }
        _ => Ok(None),
    }
}

/// An order, and then expressions that it does not have yet.
fn followed(order: &[Order], by: impl IntoIterator<Item = Expr>, schema: &DFSchema) -> Vec<Order> {
    let mut all = order.to_vec();
    for expr in by {
        let expr = decisive(expr, schema);
        if !all.iter().any(|known| known.expr == expr) {
            all.push(Order::new(expr, true, false));
        }
    }
    all
}

/// The columns of a schema that have an order.
fn columns(schema: &DFSchema) -> Vec<Expr> {
    let sorts = |data_type: &datafusion::arrow::datatypes::DataType| {
        RowConverter::supports_fields(&[SortField::new(data_type.clone())])
    };
    let fields = schema.iter().filter(|(_, field)| sorts(field.data_type()));
    fields.map(|field| Expr::Column(Column::from(field))).collect()
}

/// The calls of a window node whose order leaves ties that they tell.
fn numbered(window: Window) -> Result<Transformed<LogicalPlan>> {
    let ties = columns(window.input.schema());
    let names = NamePreserver::new(&LogicalPlan::Window(window.clone()));
    let mut changed = false;
    let (mut told, mut others) = (Vec::new(), Vec::new());
    for expr in &window.window_expr {
        let saved = names.save(expr);
        let Some(mut call) = call(expr).filter(|call| tells_ties(call)).cloned() else {
            others.push(expr.clone());
            continue;
        };
        let order = followed(&call.params.order_by, ties.clone(), window.input.schema());
        if order.len() == call.params.order_by.len() {
            told.push(expr.clone());
            continue;
        }
        changed = true;
        call.params.order_by = order;
        told.push(saved.restore(Expr::WindowFunction(Box::new(call))));
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    if others.is_empty() {
        let window = Window { window_expr: told, ..window };
        return Ok(Transformed::yes(LogicalPlan::Window(window)));
    }
    // All calls of a node have one order.
    let below = LogicalPlan::Window(Window::try_new(others, window.input)?);
    let above = LogicalPlan::Window(Window::try_new(told, Arc::new(below))?);
    let columns = window.schema.iter().map(|field| Expr::Column(Column::from(field))).collect();
    let same = Projection::try_new(columns, Arc::new(above))?;
    Ok(Transformed::yes(LogicalPlan::Projection(same)))
}

/// The call that an expression of a window node is.
pub(crate) fn call(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => call(&alias.expr),
        Expr::WindowFunction(call) => Some(call),
        _ => None,
    }
}

/// True if the value differs between rows that tie, or depends on their order.
fn tells_ties(call: &WindowFunction) -> bool {
    let frame = &call.params.window_frame;
    let by_rows = frame.units == WindowFrameUnits::Rows;
    let is_whole = frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded();
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => match function.name() {
            "row_number" | "ntile" | "lag" | "lead" => true,
            "rank" | "dense_rank" | "percent_rank" | "cume_dist" => false,
            _ => by_rows,
        },
        WindowFunctionDefinition::AggregateUDF(function) => {
            by_rows && (!is_whole || ORDERED.contains(&function.name()))
        }
    }
}

/// DISTINCT ON: the order, then the columns that are shown. Not what is computed of them, which would
/// be computed twice.
fn first(on: DistinctOn) -> Transformed<LogicalPlan> {
    let grouped: Vec<Order> = match &on.sort_expr {
        Some(order) => order.clone(),
        None => on.on_expr.iter().map(|expr| Order::new(expr.clone(), true, false)).collect(),
    };
    let is_shown = |column: &Expr| {
        let shows = |expr: &Expr| expr.exists(|part| Ok(part == column)).unwrap_or(true);
        on.select_expr.iter().any(shows)
    };
    let schema = on.input.schema();
    let order = followed(&grouped, columns(schema).into_iter().filter(is_shown), schema);
    if on.sort_expr.as_ref().is_some_and(|before| before.len() == order.len()) {
        return Transformed::no(LogicalPlan::Distinct(Distinct::On(on)));
    }
    let on = DistinctOn { sort_expr: Some(order), ..on };
    Transformed::yes(LogicalPlan::Distinct(Distinct::On(on)))
}
