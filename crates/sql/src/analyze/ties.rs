//! Rows that an order leaves tied: decided by their columns, from left to right.
//!
//! `ORDER BY ... LIMIT`, `row_number`, `lag`, frames of ROWS and `DISTINCT ON` depend on which of two rows
//! that are equal in their order comes first. PostgreSQL takes any; a view would then have to remember
//! which, and its query would answer otherwise. So such an order is followed by those columns of its
//! input that are used above ([`Used`]), ascending, NULLs last, in views and in a plain SELECT alike. Rows
//! that are equal in all of them cannot be told apart. A column that nobody asked for is not read for it:
//! a view would keep it.
//!
//! Where tied rows are peers and count alike (`rank`, frames of RANGE and GROUPS), nothing is added.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
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

/// Which columns of a plan, by their places, the plan above it uses; None for all.
type Used = Option<BTreeSet<usize>>;

/// Adds what decides to a plan and all plans in it.
pub(super) fn decided(plan: LogicalPlan) -> Result<LogicalPlan> {
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Limit(_) | LogicalPlan::Window(_)) {
            let seen = if once.contains(node) { &mut twice } else { &mut once };
            seen.push(node.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    below(plan, &None, &twice)
}

/// `twice` are nodes that stand at several places, as those of a common table expression do: all of them
/// take the same rows, whichever columns are used at each place.
fn below(plan: LogicalPlan, used: &Used, twice: &[LogicalPlan]) -> Result<LogicalPlan> {
    let used = if twice.contains(&plan) { &None } else { used };
    let inside = |plan, used: &Used| Ok(Transformed::yes(below(plan, used, twice)?));
    let plan = plan.map_subqueries(|plan| inside(plan, &None))?.data;
    let of_input = of_input(&plan, used);
    let plan = plan.map_children(|input| inside(input, &of_input))?.data;
    decide(plan, used)
}

/// Which columns of its input a node uses, if that is more than it shows of it, and all else None.
fn of_input(plan: &LogicalPlan, used: &Used) -> Used {
    let is_used = |at: usize| used.as_ref().is_none_or(|used| used.contains(&at));
    match plan {
        LogicalPlan::Projection(projection) => {
            let shown = projection.expr.iter().enumerate().filter(|(at, _)| is_used(*at));
            named(shown.map(|(_, expr)| expr), projection.input.schema())
        }
        LogicalPlan::Aggregate(aggregate) => {
            named(aggregate.group_expr.iter().chain(&aggregate.aggr_expr), aggregate.input.schema())
        }
        LogicalPlan::Filter(filter) => {
            with(used, named([&filter.predicate], filter.input.schema()))
        }
        LogicalPlan::Sort(sort) => {
            with(used, named(sort.expr.iter().map(|order| &order.expr), sort.input.schema()))
        }
        LogicalPlan::Window(window) => {
            with(used, named(&window.window_expr, window.input.schema()))
        }
        LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => used.clone(),
        _ => None,
    }
}

/// The columns that expressions name; all where a subquery may name more.
fn named<'a>(exprs: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Used {
    let mut places = BTreeSet::new();
    for expr in exprs {
        if expr.exists(|part| Ok(is_subquery(part))).unwrap_or(true) {
            return None;
        }
        for column in expr.column_refs() {
            places.insert(schema.index_of_column(column).ok()?);
        }
    }
    Some(places)
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)
    )
}

/// Both.
fn with(used: &Used, others: Used) -> Used {
    let mut others = others?;
    others.extend(used.as_ref()?);
    Some(others)
}

/// Adds what decides to one node of a plan.
fn decide(plan: LogicalPlan, used: &Used) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Limit(limit) => Ok(LogicalPlan::Limit(match sorted(&limit.input, used)? {
            Some(input) => Limit { input: Arc::new(input), ..limit },
            None => limit,
        })),
        LogicalPlan::Window(window) => numbered(window, used),
        LogicalPlan::Distinct(Distinct::On(on)) => Ok(first(on)),
        other => Ok(other),
    }
}

/// The input of a LIMIT with more in its ORDER BY; None if it has all, or none.
fn sorted(plan: &LogicalPlan, used: &Used) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let used = of_input(plan, used);
            let Some(input) = sorted(&projection.input, &used)? else { return Ok(None) };
            let (expr, schema) = (projection.expr.clone(), Arc::clone(&projection.schema));
            let projection = Projection::try_new_with_schema(expr, Arc::new(input), schema)?;
            Ok(Some(LogicalPlan::Projection(projection)))
        }
        LogicalPlan::Sort(sort) => {
            let expr =
                followed(&sort.expr, columns(sort.input.schema(), used), sort.input.schema());
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

/// The used columns of a schema that have an order.
fn columns(schema: &DFSchema, used: &Used) -> Vec<Expr> {
    let sorts = |data_type: &datafusion::arrow::datatypes::DataType| {
        RowConverter::supports_fields(&[SortField::new(data_type.clone())])
    };
    let is_used = |at: usize| used.as_ref().is_none_or(|used| used.contains(&at));
    let fields = schema.iter().enumerate();
    let fields = fields.filter(|(at, (_, field))| is_used(*at) && sorts(field.data_type()));
    fields.map(|(_, field)| Expr::Column(Column::from(field))).collect()
}

/// The calls of a window node whose order leaves ties that they tell.
fn numbered(window: Window, used: &Used) -> Result<LogicalPlan> {
    let used = with(used, named(&window.window_expr, window.input.schema()));
    let ties = columns(window.input.schema(), &used);
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
        return Ok(LogicalPlan::Window(window));
    }
    if others.is_empty() {
        let window = Window { window_expr: told, ..window };
        return Ok(LogicalPlan::Window(window));
    }
    // All calls of a node have one order.
    let below = LogicalPlan::Window(Window::try_new(others, window.input)?);
    let above = LogicalPlan::Window(Window::try_new(told, Arc::new(below))?);
    let columns = window.schema.iter().map(|field| Expr::Column(Column::from(field))).collect();
    let same = Projection::try_new(columns, Arc::new(above))?;
    Ok(LogicalPlan::Projection(same))
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
fn first(on: DistinctOn) -> LogicalPlan {
    let grouped: Vec<Order> = match &on.sort_expr {
        Some(order) => order.clone(),
        None => on.on_expr.iter().map(|expr| Order::new(expr.clone(), true, false)).collect(),
    };
    let is_shown = |column: &Expr| {
        let shows = |expr: &Expr| expr.exists(|part| Ok(part == column)).unwrap_or(true);
        on.select_expr.iter().any(shows)
    };
    let schema = on.input.schema();
    let order = followed(&grouped, columns(schema, &None).into_iter().filter(is_shown), schema);
    if on.sort_expr.as_ref().is_some_and(|before| before.len() == order.len()) {
        return LogicalPlan::Distinct(Distinct::On(on));
    }
    let on = DistinctOn { sort_expr: Some(order), ..on };
    LogicalPlan::Distinct(Distinct::On(on))
}
