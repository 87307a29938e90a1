//! Values that are equal and look different: both zeros of a float, its NaNs, intervals of one length, and
//! arrays and records of them.
//!
//! Operators compare them as PostgreSQL does; what sorts rows or collects distinct values compares
//! bits. So ORDER BY, PARTITION BY, DISTINCT ON, `f(DISTINCT x)` and the times of an ASOF join go by an
//! expression that has one value for all that are equal ([`key`]). What is shown stays.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as Order, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprSchemable, LogicalPlan, Sort, WindowFrameBound,
    WindowFrameUnits,
};

use crate::functions;
use crate::nearest::AsOfJoin;

/// Changes what one node of a plan compares.
pub(super) fn compare(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(sort) => {
            let expr = ordered(&sort.expr, sort.input.schema());
            if expr == sort.expr {
                return Ok(Transformed::no(LogicalPlan::Sort(sort)));
            }
            Ok(Transformed::yes(LogicalPlan::Sort(Sort { expr, ..sort })))
        }
        LogicalPlan::Distinct(Distinct::On(on)) => Ok(first(on)),
        LogicalPlan::Window(_) | LogicalPlan::Aggregate(_) => calls(plan),
        LogicalPlan::Extension(ref extension) => {
            match extension.node.as_any().downcast_ref::<AsOfJoin>() {
                Some(join) => Ok(Transformed::yes(join.comparing(key)?.into_plan())),
                None => Ok(Transformed::no(plan)),
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

/// What an expression is compared by.
pub(super) fn key(expr: Expr, schema: &DFSchema) -> Expr {
    match expr.get_type(schema) {
        _ if matches!(expr, Expr::Literal(..)) => expr,
        Ok(DataType::Float32 | DataType::Float64) => functions::one_value(expr),
        Ok(DataType::Interval(_)) => functions::span(expr),
        Ok(found) if found.is_nested() => functions::order_key(expr, false),
        _ => expr,
    }
}

/// What tells values apart that [`key`] takes as one.
pub(super) fn decisive(expr: Expr, schema: &DFSchema) -> Expr {
    match expr.get_type(schema) {
        Ok(found) if found.is_nested() => functions::order_key(expr, true),
        _ => expr,
    }
}

/// An order by keys.
fn ordered(order: &[Order], schema: &DFSchema) -> Vec<Order> {
    let own = |order: &Order| Order { expr: key(order.expr.clone(), schema), ..order.clone() };
    once(order.iter().map(own).collect())
}

/// An order without keys that stand twice: the second one decides nothing, and DataFusion fails at it.
fn once(order: Vec<Order>) -> Vec<Order> {
    let mut all: Vec<Order> = Vec::with_capacity(order.len());
    for order in order {
        if !all.iter().any(|known| known.expr == order.expr) {
            all.push(order);
        }
    }
    all
}

/// DISTINCT ON, which begins with its ORDER BY.
fn first(on: DistinctOn) -> Transformed<LogicalPlan> {
    let schema = Arc::clone(on.input.schema());
    let mut on_expr: Vec<Expr> = Vec::with_capacity(on.on_expr.len());
    for expr in &on.on_expr {
        let expr = key(expr.clone(), &schema);
        if !on_expr.contains(&expr) {
            on_expr.push(expr);
        }
    }
    let sort_expr = on.sort_expr.as_ref().map(|order| ordered(order, &schema));
    if on_expr == on.on_expr && sort_expr == on.sort_expr {
        return Transformed::no(LogicalPlan::Distinct(Distinct::On(on)));
    }
    Transformed::yes(LogicalPlan::Distinct(Distinct::On(DistinctOn { on_expr, sort_expr, ..on })))
}

/// The calls of a node.
fn calls(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let inputs = plan.inputs();
    let Some(schema) = inputs.first().map(|input| Arc::clone(input.schema())) else {
        return Ok(Transformed::no(plan));
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let saved = names.save(&expr);
        let changed = expr.transform_up(|part| {
            Ok(match part {
                Expr::WindowFunction(call) => window(*call, &schema),
                Expr::AggregateFunction(call) => aggregate(call, &schema),
                other => Transformed::no(other),
            })
        })?;
        Ok(changed.update_data(|expr| saved.restore(expr)))
    })
}

fn window(mut call: WindowFunction, schema: &DFSchema) -> Transformed<Expr> {
    let order = ordered(&call.params.order_by, schema);
    let partition: Vec<Expr> =
        call.params.partition_by.iter().map(|expr| key(expr.clone(), schema)).collect();
    let same = order == call.params.order_by && partition == call.params.partition_by;
    call.params.order_by = order;
    call.params.partition_by = partition;
    let call = Expr::WindowFunction(Box::new(call));
    if same { Transformed::no(call) } else { Transformed::yes(call) }
}

/// The order of a window by the length of intervals, if it is by intervals: DataFusion finds no peers in
/// them. Distances from an interval stay, and fail.
pub(super) fn by_length(mut call: WindowFunction, schema: &DFSchema) -> Transformed<Expr> {
    let frame = &call.params.window_frame;
    let is_near = |bound: &WindowFrameBound| {
        bound.is_unbounded() || matches!(bound, WindowFrameBound::CurrentRow)
    };
    let counts = frame.units == WindowFrameUnits::Range
        && !(is_near(&frame.start_bound) && is_near(&frame.end_bound));
    let is_interval = |order: &Order| is_interval(&order.expr, schema);
    if counts || !call.params.order_by.iter().any(is_interval) {
        return Transformed::no(Expr::WindowFunction(Box::new(call)));
    }
    call.params.order_by = ordered(&call.params.order_by, schema);
    Transformed::yes(Expr::WindowFunction(Box::new(call)))
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

/// What a call compares: its order, and the values that count once.
fn aggregate(mut call: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let params = &mut call.params;
    let name = call.func.name();
    let before = (params.args.clone(), params.order_by.clone());
    match (params.args.as_slice(), name) {
        ([value], "max" | "min") if goes_by_key(value, schema) => return first_by(call, schema),
        // PostgreSQL sorts to find equal values.
        ([value, ..], "array_agg" | "string_agg")
            if params.distinct && params.order_by.is_empty() =>
        {
            params.order_by = vec![value.clone().sort(true, false)];
        }
        _ => {}
    }
    let is_float =
        |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Float32 | DataType::Float64));
    // The distinct values of floats are shown, or added up; those of other types are counted.
    let own = |expr: Expr| match params.distinct && (is_float(&expr) || name == "count") {
        true => key(expr, schema),
        false => expr,
    };
    params.args = std::mem::take(&mut params.args).into_iter().map(own).collect();
    if !call.func.supports_within_group_clause() {
        params.order_by = match params.distinct {
            true => {
                let order = std::mem::take(&mut params.order_by).into_iter();
                order.map(|order| Order { expr: own(order.expr), ..order }).collect()
            }
            false => ordered(&params.order_by, schema),
        };
    }
    params.order_by = once(std::mem::take(&mut params.order_by));
    let same = before.0 == params.args && before.1 == params.order_by;
    let call = Expr::AggregateFunction(call);
    if same { Transformed::no(call) } else { Transformed::yes(call) }
}

/// True for an interval or an array: DataFusion finds no greatest one, or another.
fn goes_by_key(value: &Expr, schema: &DFSchema) -> bool {
    matches!(value.get_type(schema), Ok(DataType::Interval(_) | DataType::List(_)))
}

/// The greatest or the least value: the first one in the order of their keys.
fn first_by(call: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let ascending = call.func.name() == "min";
    let params = call.params;
    let order = params.args.iter().flat_map(|value| {
        [key(value.clone(), schema), decisive(value.clone(), schema)]
            .map(|key| key.sort(ascending, false))
    });
    let order = order.collect();
    let (args, filter) = (params.args, params.filter);
    let first = AggregateFunction::new_udf(first_value_udaf(), args, false, filter, order, None);
    Transformed::yes(Expr::AggregateFunction(first))
}
