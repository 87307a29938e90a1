//! Top-N: `ORDER BY ... LIMIT`, `row_number() OVER (...) <= n`, `DISTINCT ON`.
//!
//! The analyzer has made each order total (`analyze/ties`), so that a view and its query take the same
//! rows. A filter on the number of a row asks for a stretch of the numbers; if that has an end, the
//! node keeps those rows alone.
//!
//! `DISTINCT ON` becomes such a filter before the plan is optimized: the optimizer would push the
//! conditions above it to its input.
//!
//! Invariants: 1. only a condition that the number decides alone is taken from a filter.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Distinct, DistinctOn, Expr, FetchType, Filter, Limit, LogicalPlan, Operator,
    Projection, SkipType, Window, WindowFrame, WindowFunctionDefinition, lit,
};
use millrace_plan::{Meta, Node, Order, TopN, Watermark};
use millrace_types::Report;

use super::refuse::{failure, internal, not_yet};
use super::relation::{Carry, Columns, Relation, column, own_name, with_type};
use super::translate::Planner;
use crate::analyze::window_call;
use crate::functions;

/// The number of a row in a DISTINCT ON.
const NUMBER: &str = "\u{0}number";

/// What a Top-N asks of a relation.
struct Asked<'a> {
    group: &'a [Expr],
    order: &'a [SortExpr],
    offset: u64,
    limit: u64,
    /// The positions of the rows may be asked for.
    position: bool,
    /// Rows that tie with the last one are among them.
    ties: bool,
}

impl Planner<'_> {
    /// `ORDER BY ... LIMIT n OFFSET m`.
    pub(super) fn limit(&self, limit: &Limit) -> Result<Relation, Report> {
        let fetch = match limit.get_fetch_type().map_err(failure)? {
            FetchType::Literal(fetch) => fetch,
            FetchType::UnsupportedExpr => return Err(constant()),
        };
        let offset = match limit.get_skip_type().map_err(failure)? {
            SkipType::Literal(skip) => count(skip)?,
            SkipType::UnsupportedExpr => return Err(constant()),
        };
        let mut projections = Vec::new();
        let mut below = limit.input.as_ref();
        while let LogicalPlan::Projection(projection) = below {
            projections.push(projection);
            below = projection.input.as_ref();
        }
        let LogicalPlan::Sort(sort) = below else {
            return Err(not_yet("LIMIT without ORDER BY in a materialized view is")
                .detail("Any of the rows could be taken.")
                .hint("Add ORDER BY, or put LIMIT into the SELECT that reads the view."));
        };
        let Some(fetch) = fetch else {
            return Err(not_yet("OFFSET without LIMIT in a materialized view is")
                .hint("Put OFFSET into the SELECT that reads the view."));
        };
        let schema = sort.input.schema();
        let relation = self.translate(&sort.input)?;
        let asked = Asked {
            group: &[],
            order: &sort.expr,
            offset,
            limit: count(fetch)?,
            position: false,
            ties: false,
        };
        let relation = self.first_rows(relation, schema, &asked)?;
        let mut projections = projections.into_iter().rev();
        projections.try_fold(relation, |relation, projection| self.projected(relation, projection))
    }

    /// A filter over window functions, where it bounds the number or the rank of a row; None if it does
    /// not.
    pub(super) fn numbered(&self, filter: &Filter) -> Result<Option<Relation>, Report> {
        let mut projections = Vec::new();
        let mut below = filter.input.as_ref();
        while let LogicalPlan::Projection(projection) = below {
            projections.push(projection);
            below = projection.input.as_ref();
        }
        let LogicalPlan::Window(window) = below else { return Ok(None) };
        let width = window.input.schema().fields().len();
        let mut parts = split_conjunction_owned(filter.predicate.clone());
        for (index, expr) in window.window_expr.iter().enumerate() {
            let Some(call) = window_call(expr) else { continue };
            let ranks = call.fun.name() == "rank";
            if !ranks && call.fun.name() != "row_number" {
                continue;
            }
            let range = |part: &Expr| {
                let is_number = |column: &Column| {
                    let at = filter.input.schema().index_of_column(column).ok();
                    at.and_then(|at| shown(&projections, at)) == Some(width + index)
                };
                range_of(part, &is_number)
            };
            let bounds = parts.iter().filter_map(&range).fold((1, u64::MAX), intersection);
            if bounds.1 == u64::MAX || ranks && bounds.0 > 1 {
                continue;
            }
            parts.retain(|part| range(part).is_none());
            let relation = self.stretch(window, (index, call), bounds)?;
            let mut projections = projections.into_iter().rev();
            let relation = projections
                .try_fold(relation, |relation, projection| self.projected(relation, projection))?;
            let Some(rest) = conjunction(parts) else { return Ok(Some(relation)) };
            let rest = relation.inline(&rest, filter.input.schema())?;
            return self.filter(relation, rest).map(Some);
        }
        Ok(None)
    }

    /// The rows whose number is within bounds.
    fn stretch(
        &self,
        window: &Window,
        (index, call): (usize, &WindowFunction),
        (first, last): (u64, u64),
    ) -> Result<Relation, Report> {
        let mut others = window.window_expr.clone();
        others.remove(index);
        let relation = self.windowed(&window.input, &others)?;
        let schema = match others.is_empty() {
            true => Arc::clone(window.input.schema()),
            false => {
                let below = Window::try_new(others, Arc::clone(&window.input)).map_err(failure)?;
                below.schema
            }
        };
        let asked = Asked {
            group: &call.params.partition_by,
            order: &call.params.order_by,
            offset: first.saturating_sub(1),
            limit: (last.saturating_add(1)).saturating_sub(first),
            position: true,
            ties: call.fun.name() == "rank",
        };
        let mut relation = self.first_rows(relation, &schema, &asked)?;
        let at = window.input.schema().fields().len() + index;
        let position = relation.columns.pop().ok_or_else(|| internal("a position is lost"))?;
        let seen = window.schema.field(at).data_type();
        relation.columns.insert(at, with_type(position, &DataType::Int64, seen));
        Ok(relation)
    }

    /// The first rows of each group, and their positions as a last column if they are asked for.
    fn first_rows(
        &self,
        relation: Relation,
        schema: &DFSchema,
        asked: &Asked<'_>,
    ) -> Result<Relation, Report> {
        let relation = self.copied(relation)?;
        let mut wanted = Columns::default();
        for (expr, field) in relation.columns.iter().zip(schema.fields()) {
            wanted.push(expr.clone(), own_name(expr, relation.schema(), field.name()));
        }
        let mut place = |expr: &Expr| -> Result<usize, Report> {
            let inlined = relation.inline(expr, schema)?;
            Ok(wanted.add(inlined, &expr.schema_name().to_string()))
        };
        let group = asked.group.iter().map(functions::without_one_value);
        let mut group = group.map(&mut place).collect::<Result<Vec<_>, _>>()?;
        group.sort_unstable();
        group.dedup();
        let order = asked.order.iter().map(|order| {
            Ok(Order {
                column: place(&order.expr)?,
                descending: !order.asc,
                nulls_first: order.nulls_first,
            })
        });
        let order = order.collect::<Result<Vec<_>, Report>>()?;
        if wanted.len() == 0 {
            // Rows without columns cannot be kept.
            let schema = relation.schema();
            wanted.push(column(schema, 0), schema.field(0).name());
        }
        let (input, _) = self.project(relation, wanted, Carry::Key)?;
        let is_only = asked.limit == 1 && !asked.ties;
        let position = asked.position && !is_only;
        let (input, watermarks) = self.closing_groups(input, &group)?;
        let node = top(input, (group, order), watermarks, asked, position);
        let mut relation = Relation::of(node, schema.fields());
        if position {
            let schema = relation.schema();
            relation.columns.push(column(schema, schema.fields().len() - 1));
        } else if asked.position {
            let only = i64::try_from(asked.offset.saturating_add(1));
            relation.columns.push(lit(only.unwrap_or(i64::MAX)));
        }
        Ok(relation)
    }
}

fn top(
    input: Node,
    (group, order): (Vec<usize>, Vec<Order>),
    watermarks: Vec<Watermark>,
    asked: &Asked<'_>,
    position: bool,
) -> Node {
    let from = input.meta();
    let position = position.then(|| {
        let mut name = "row_number".to_owned();
        while from.schema.index_of(&name).is_ok() {
            name.push('_');
        }
        name
    });
    let settled = watermarks.first().cloned();
    let meta = Meta {
        schema: TopN::output_schema(&from.schema, position.as_deref()),
        key: match asked.limit == 1 && !asked.ties {
            true => group.clone(),
            false => from.key.clone(),
        },
        append_only: false,
        watermarks,
    };
    let Asked { offset, limit, .. } = *asked;
    let ties = asked.ties.then_some(asked.order.len());
    let top = TopN { input, group, order, offset, limit, position, ties, settled, meta };
    Node::TopN(Box::new(top))
}

/// The column below projections, from the upper to the lower, that a column above them is.
fn shown(projections: &[&Projection], column: usize) -> Option<usize> {
    projections.iter().try_fold(column, |at, projection| match plain(projection.expr.get(at)?) {
        Expr::Column(column) => projection.input.schema().index_of_column(column).ok(),
        _ => None,
    })
}

fn constant() -> Report {
    not_yet("LIMIT and OFFSET that are no constants in a materialized view are")
}

fn count(number: usize) -> Result<u64, Report> {
    u64::try_from(number).map_err(|_| internal("a LIMIT is too large"))
}

fn intersection(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    (one.0.max(other.0), one.1.min(other.1))
}

/// The numbers for which a condition on a column is true, if it is on nothing else.
fn range_of(part: &Expr, is_number: &dyn Fn(&Column) -> bool) -> Option<(u64, u64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
    let is_number = |expr: &Expr| matches!(plain(expr), Expr::Column(column) if is_number(column));
    let (op, value) = match (is_number(left), is_number(right)) {
        (true, false) => (*op, integer(right)?),
        (false, true) => (op.swap()?, integer(left)?),
        _ => return None,
    };
    let bounded = |value: i128| u64::try_from(value.max(0)).unwrap_or(u64::MAX);
    let up_to = |last: i128| (1, bounded(last));
    let from = |first: i128| (bounded(first).max(1), u64::MAX);
    match op {
        Operator::LtEq => Some(up_to(value)),
        Operator::Lt => Some(up_to(value - 1)),
        Operator::Eq => Some(intersection(from(value), up_to(value))),
        Operator::GtEq => Some(from(value)),
        Operator::Gt => Some(from(value + 1)),
        _ => None,
    }
}

/// An expression without casts between integers.
fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => plain(&alias.expr),
        Expr::Cast(cast) if cast.field.data_type().is_integer() => plain(&cast.expr),
        Expr::ScalarFunction(call) if call.name() == functions::CONVERT => {
            call.args.first().map_or(expr, plain)
        }
        other => other,
    }
}

fn integer(expr: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::UInt64(Some(value)) => Some(i128::from(*value)),
        ScalarValue::Int64(Some(value)) => Some(i128::from(*value)),
        ScalarValue::Int32(Some(value)) => Some(i128::from(*value)),
        ScalarValue::Int16(Some(value)) => Some(i128::from(*value)),
        ScalarValue::Decimal128(Some(value), _, 0) => Some(*value),
        _ => None,
    }
}

/// The plan with a filter on row numbers for each DISTINCT ON.
pub(super) fn without_distinct_on(plan: LogicalPlan) -> Result<LogicalPlan, Report> {
    let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Distinct(Distinct::On(on)) => first_of_each(on).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    });
    Ok(rewritten.map_err(failure)?.data)
}

fn first_of_each(on: DistinctOn) -> datafusion::common::Result<LogicalPlan> {
    let order = on.sort_expr.unwrap_or_default();
    let params = WindowFunctionParams {
        args: Vec::new(),
        order_by: order.into_iter().skip(on.on_expr.len()).collect(),
        partition_by: on.on_expr,
        window_frame: WindowFrame::new(Some(false)),
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let fun = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    let number = Expr::WindowFunction(Box::new(WindowFunction { fun, params })).alias(NUMBER);
    let numbered = LogicalPlan::Window(Window::try_new(vec![number], on.input)?);
    let is_first = Expr::Column(Column::new_unqualified(NUMBER)).lt_eq(lit(1u64));
    let first = LogicalPlan::Filter(Filter::try_new(is_first, Arc::new(numbered))?);
    let shown = on.select_expr.into_iter().zip(on.schema.iter());
    let shown = shown.map(|(expr, (qualifier, field))| {
        expr.unalias_nested().data.alias_qualified(qualifier.cloned(), field.name())
    });
    Ok(LogicalPlan::Projection(Projection::try_new(shown.collect(), Arc::new(first))?))
}
