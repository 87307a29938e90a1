//! GROUP BY and DISTINCT: a projection of what is grouped and aggregated, the late check, the node.
//!
//! The group is kept as small as it can be: an expression over other group expressions
//! (`window_end` over `window_start`) is computed above the aggregation. A group of hopping windows
//! is a group of panes.
//!
//! Invariants: 1. a group is settled only if no row can reach it any more: over an append-only
//! input because the late check below turns such rows away, over any other because the input's own
//! watermark says so. 2. the late check and the settled condition use the same column and shift.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::logical_plan::Aggregate as LogicalAggregate;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{CastExpr, Column as PhysicalColumn, Literal};
use millrace_plan::{
    Aggregate, Call, Hop, LateCheck, Meta, Node, Order, Rebuild, Scalar, Step, Watermark,
};
use millrace_types::Report;

use crate::functions::tumble;

use super::call::{self, CallExpr, Rebuilt};
use super::group::Group;
use super::refuse::failure;
use super::relation::{
    Carry, Columns, PendingHop, Relation, canonical, column, origin, step, unique,
};
use super::time::{Bound, bound};
use super::translate::{Names, Planner, used_twice};

/// What an aggregation of the logical plan asks for, over the columns of its input.
pub(super) struct Asked<'a> {
    pub(super) group: &'a [Expr],
    pub(super) calls: &'a [Expr],
    pub(super) input: &'a DFSchema,
    /// The group's columns, then one per call.
    pub(super) output: &'a [FieldRef],
}

/// When a group closes.
struct Closing {
    /// On a group column; its shift includes the allowed lateness if rows are turned away.
    settled: Watermark,
    /// Turns rows away; its columns are those of the aggregation's input.
    late: Option<LateCheck>,
}

impl Planner<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &LogicalAggregate,
        names: &Names,
    ) -> Result<Relation, Report> {
        let fields = aggregate.schema.fields().iter().enumerate();
        let output: Vec<FieldRef> = fields
            .map(|(index, field)| match names.get(&index) {
                Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
                None => Arc::clone(field),
            })
            .collect();
        if let [Expr::GroupingSet(grouping)] = aggregate.group_expr.as_slice() {
            return self.grouping_sets(aggregate, grouping, &output);
        }
        let relation = self.translate(&aggregate.input)?;
        let asked = Asked {
            group: &aggregate.group_expr,
            calls: &aggregate.aggr_expr,
            input: aggregate.input.schema(),
            output: &output,
        };
        self.grouped(relation, &asked)
    }

    /// SELECT DISTINCT: groups without calls; a group is there while it has rows.
    pub(super) fn distinct(&self, input: &LogicalPlan) -> Result<Relation, Report> {
        let relation = self.translate(input)?;
        let schema = input.schema();
        let group: Vec<Expr> =
            schema.iter().map(|field| Expr::Column(Column::from(field))).collect();
        let asked = Asked { group: &group, calls: &[], input: schema, output: schema.fields() };
        self.grouped(relation, &asked)
    }

    pub(super) fn grouped(
        &self,
        mut relation: Relation,
        asked: &Asked,
    ) -> Result<Relation, Report> {
        let all: Vec<Expr> = asked.group.iter().chain(asked.calls).cloned().collect();
        let shared = used_twice(&all, &relation, asked.input)?;
        if !shared.is_empty() {
            relation = self.share(relation, &shared)?;
        }
        let (mut group, mut calls) = inlined(&relation, asked)?;
        let filters = relation.hop.as_ref().map_or(&[][..], |hop| &hop.filters);
        if relation.hop.is_some() && !Group::panes_serve(&group, &calls, filters) {
            relation = self.copied(relation)?;
            (group, calls) = inlined(&relation, asked)?;
        }
        let pending = relation.hop.take();
        let group = Group::new(group, pending.as_ref().map(|pending| pending.hop.clone()));
        let filters = pending.as_ref().map(|pending| pending.filters.clone()).unwrap_or_default();
        let types = group.types(self, relation.schema(), pending.as_ref())?;
        let node = self.aggregation(relation, &group, calls, pending.as_ref(), asked)?;
        let schema = Arc::clone(&node.meta().schema);
        let above = group.above(&schema, types);
        let mut result = Relation::of(node, &[]);
        let outputs = asked.output.iter().take(asked.group.len()).enumerate();
        let outputs = outputs.map(|(index, _)| above.rewrite(&group.exprs[index]));
        result.columns = outputs.collect::<Result<_, _>>()?;
        result.columns.extend(above.calls(&asked.output[asked.group.len()..]));
        let filters = filters.iter().map(|filter| above.rewrite(filter));
        filters
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .try_fold(result, |result, filter| self.filter(result, filter))
    }

    fn aggregation(
        &self,
        relation: Relation,
        group: &Group,
        calls: Vec<CallExpr>,
        pending: Option<&PendingHop>,
        asked: &Asked,
    ) -> Result<Node, Report> {
        let from = relation.node.meta().clone();
        let mut columns = Columns::default();
        for (index, expr) in group.kept.iter().enumerate() {
            let expr = match pending.filter(|_| group.pane == Some(index)) {
                Some(PendingHop { time, hop, .. }) => tumble(time.clone(), hop.pane(), hop.offset),
                None => expr.clone(),
            };
            columns.push(expr, &group.name(index, asked.output));
        }
        // Ties between rows of an order are decided by the rows' keys.
        let carry =
            if calls.iter().any(CallExpr::breaks_ties) { Carry::Key } else { Carry::Nothing };
        let fields = &asked.output[asked.group.len()..];
        let calls = calls.into_iter().zip(fields);
        let calls = calls.map(|(call, field)| self.call(call, field, &mut columns, &from.schema));
        let calls = calls.collect::<Result<Vec<_>, _>>()?;
        if columns.len() == 0 {
            // Rows without columns cannot be counted.
            columns.push(column(&from.schema, 0), from.schema.field(0).name());
        }
        let needed = columns.len();
        let bounds = group_bounds(group, &from, pending);
        let closing = self.closing(&relation, &bounds, pending, &mut columns, group);
        let (mut input, _) = self.project(relation, columns, carry)?;
        if let Some(late) = closing.as_ref().and_then(|closing| closing.late.clone()) {
            let meta = input.meta().clone();
            input = step(input, Step::Late(late), meta);
        }
        if carry == Carry::Nothing && input.meta().schema.fields().len() > needed {
            input = self.first_columns(input, needed)?;
        }
        Ok(Node::Aggregate(Box::new(finish(input, group, calls, &bounds, closing))))
    }

    fn call(
        &self,
        call: CallExpr,
        field: &FieldRef,
        columns: &mut Columns,
        from: &SchemaRef,
    ) -> Result<Call, Report> {
        let name = |expr: &Expr| expr.schema_name().to_string();
        let mut args = Vec::with_capacity(call.args.len());
        let mut again = Vec::new();
        for arg in call.args {
            if let Some(rebuilt) = &call.rebuilt {
                // The first argument is what the rows say, were it always the same.
                if let Expr::Literal(value, _) = &arg
                    && !again.is_empty()
                {
                    again.push(Scalar(Arc::new(Literal::new(value.clone()))));
                    continue;
                }
                let (shown, seen) = (name(&arg), self.type_of(&arg, from)?);
                if call.distinct {
                    call::check_distinct(rebuilt.function.name(), &seen)?;
                }
                let column = columns.add(arg, &shown);
                again.push(Scalar(seen_as(column, &shown, seen)));
                args.push(column);
                continue;
            }
            let raw = call::raw_argument(call.function, arg, &|expr| self.type_of(expr, from).ok());
            let seen = self.type_of(&raw, from)?;
            call::check_argument(call.function, &seen)?;
            if call.distinct {
                call::check_distinct(call.function.name(), &seen)?;
            }
            let shown = name(&raw);
            args.push(columns.add(raw, &shown));
        }
        let filter = call.filter.map(|filter| {
            let shown = name(&filter);
            columns.add(filter, &shown)
        });
        let within = call.rebuilt.as_ref().is_some_and(Rebuilt::is_within_group);
        let order = call.order.into_iter().map(|(expr, descending, nulls_first)| {
            let column = match args.first() {
                Some(argument) if within => *argument,
                _ => columns.add(expr.clone(), &name(&expr)),
            };
            Order { column, descending, nulls_first }
        });
        let order = order.collect();
        let stored = canonical(field.data_type());
        let output = Arc::new(Field::new(field.name(), stored, field.is_nullable()));
        let rebuild = call.rebuilt.map(|rebuilt| Rebuild {
            function: rebuilt.function,
            args: again,
            ordered: rebuilt.ordered,
        });
        let (function, distinct) = (call.function, call.distinct);
        let call = Call { function, args, distinct, filter, order, rebuild, output };
        if let Some(rebuild) = &call.rebuild {
            self.check_rebuild(rebuild, columns, from)?;
        }
        Ok(call)
    }

    /// Refuses arguments that the library's function does not start with.
    fn check_rebuild(
        &self,
        rebuild: &Rebuild,
        columns: &Columns,
        from: &SchemaRef,
    ) -> Result<(), Report> {
        let fields = columns
            .exprs()
            .map(|expr| Ok(Field::new("a", canonical(&self.type_of(expr, from)?), true)));
        let schema = Schema::new(fields.collect::<Result<Vec<_>, Report>>()?);
        let args = rebuild.args.iter().map(|arg| Arc::clone(&arg.0)).collect();
        let function = AggregateExprBuilder::new(Arc::clone(&rebuild.function), args)
            .schema(Arc::new(schema))
            .alias(rebuild.function.name())
            .build();
        let started = function.and_then(|function| function.create_accumulator());
        started.map(drop).map_err(failure)
    }

    /// When the groups close, if they do; adds the columns that the late check needs.
    fn closing(
        &self,
        relation: &Relation,
        bounds: &[Option<Bound>],
        pending: Option<&PendingHop>,
        columns: &mut Columns,
        group: &Group,
    ) -> Option<Closing> {
        let from = relation.node.meta();
        // Only windows turn rows away: a group of plain times stays open.
        let closes = |bound: &Bound| bound.window || !from.append_only;
        let bounded = bounds.iter().enumerate().filter_map(|(i, b)| Some((i, b.clone()?)));
        let closing = bounded.filter(|(_, bound)| closes(bound));
        let (index, bound) = closing.min_by_key(|(_, bound)| bound.shift)?;
        if !from.append_only {
            return Some(Closing { settled: bound.on(index), late: None });
        }
        let (partition, offset) = origin(from)?;
        let lateness = self.options.allowed_lateness_us;
        let to_end = bound.shift;
        let settled = Watermark { shift: to_end.saturating_add(lateness), ..bound.on(index) };
        let mut add = |index: usize| {
            columns.add(column(&from.schema, index), from.schema.field(index).name())
        };
        let origin = (add(partition), add(offset));
        let event_time = relation.event_time.map(&mut add);
        let late = match pending.filter(|_| group.pane == Some(index)) {
            None => LateCheck { close: settled.clone(), hop: None, event_time, origin, to_end },
            // The check adds the windows' ends itself.
            Some(PendingHop { hop, .. }) => LateCheck {
                close: Watermark {
                    shift: settled.shift.saturating_sub(hop.size),
                    ..settled.clone()
                },
                hop: Some(Hop { column: index, ..hop.clone() }),
                event_time,
                origin,
                to_end: 0,
            },
        };
        Some(Closing { settled, late: Some(late) })
    }

    fn first_columns(&self, input: Node, count: usize) -> Result<Node, Report> {
        let before = input.meta().clone();
        let fields = before.schema.fields().iter().take(count).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let expressions =
            (0..count).map(|i| self.physical(column(&before.schema, i), &before.schema));
        let expressions = expressions.collect::<Result<Vec<Scalar>, _>>()?;
        let kept = before.watermarks.into_iter().filter(|watermark| watermark.column < count);
        let watermarks = kept.collect();
        let meta = Meta { schema: Arc::clone(&schema), watermarks, ..before };
        Ok(step(input, Step::Project { expressions, schema }, meta))
    }
}

/// A stored column in the type that the logical plan sees.
pub(super) fn seen_as(column: usize, name: &str, seen: DataType) -> Arc<dyn PhysicalExpr> {
    let stored = Arc::new(PhysicalColumn::new(name, column));
    match canonical(&seen) == seen {
        true => stored,
        false => Arc::new(CastExpr::new(stored, seen, None)),
    }
}

fn inlined(relation: &Relation, asked: &Asked) -> Result<(Vec<Expr>, Vec<CallExpr>), Report> {
    let inline = |expr: &Expr| relation.inline(expr, asked.input);
    let group = asked.group.iter().map(inline).collect::<Result<_, _>>()?;
    let calls = asked.calls.iter().map(|expr| {
        let call = call::parse(expr)?;
        let order = call.order.iter().map(|(expr, desc, first)| Ok((inline(expr)?, *desc, *first)));
        Ok(CallExpr {
            function: call.function,
            rebuilt: call.rebuilt,
            distinct: call.distinct,
            args: call.args.iter().map(inline).collect::<Result<_, Report>>()?,
            filter: call.filter.as_ref().map(inline).transpose()?,
            order: order.collect::<Result<_, Report>>()?,
        })
    });
    Ok((group, calls.collect::<Result<_, Report>>()?))
}

/// What bounds each column of the group; a pane's column holds windows' starts.
fn group_bounds(group: &Group, from: &Meta, pending: Option<&PendingHop>) -> Vec<Option<Bound>> {
    let of = |expr: &Expr| bound(expr, &from.schema, &from.watermarks);
    let each = group.kept.iter().enumerate().map(|(index, expr)| {
        match pending.filter(|_| group.pane == Some(index)) {
            Some(PendingHop { time, hop, .. }) => {
                Some(Bound { window: true, ..of(time)?.lowered(hop.size - 1)? })
            }
            None => of(expr),
        }
    });
    each.collect()
}

fn finish(
    input: Node,
    group: &Group,
    calls: Vec<Call>,
    bounds: &[Option<Bound>],
    closing: Option<Closing>,
) -> Aggregate {
    let width = group.kept.len();
    let below = Arc::clone(&input.meta().schema);
    let mut fields: Vec<Field> = (0..width).map(|index| below.field(index).clone()).collect();
    let mut hop = None;
    if let (Some(pane), Some(windows)) = (group.pane, &group.hop) {
        // A cumulating window is told by its end.
        let name = if windows.cumulates { "window" } else { "window_start" };
        fields[pane] = fields[pane].clone().with_name(name);
        fields.push(fields[pane].clone().with_name("window_end"));
        hop = Some(Hop { column: pane, ..windows.clone() });
    }
    fields.extend(calls.iter().map(|call| call.output.as_ref().clone()));
    let turned_away = closing.as_ref().is_some_and(|closing| closing.late.is_some());
    let settled = closing.map(|closing| closing.settled);
    let mut watermarks: Vec<Watermark> = match &settled {
        // Only the checked column's promise is kept.
        Some(settled) if turned_away => vec![settled.clone()],
        Some(_) => {
            let each = bounds.iter().enumerate();
            each.filter_map(|(index, bound)| Some(bound.clone()?.on(index))).collect()
        }
        None => Vec::new(),
    };
    if let Some(hop) = &hop
        && let Some(start) = watermarks.iter().find(|watermark| watermark.column == hop.column)
    {
        let end = Watermark { column: width, shift: start.shift - hop.size, ..start.clone() };
        watermarks.push(end);
    }
    let mut key: Vec<usize> = (0..width).collect();
    if let Some(pane) = group.pane.filter(|_| group.shows_end_only()) {
        key[pane] = width;
    }
    let schema = Arc::new(Schema::new(unique(fields)));
    let meta = Meta { schema, key, append_only: false, watermarks };
    Aggregate { input, group: (0..width).collect(), hop, calls, settled, meta }
}

/// True if an expression uses no column but inside the given expressions.
pub(super) fn determined(expr: &Expr, by: &[Expr]) -> bool {
    let mut free = false;
    let walked = expr.apply(|part| {
        if by.contains(part) {
            return Ok(TreeNodeRecursion::Jump);
        }
        free = matches!(part, Expr::Column(_));
        Ok(if free { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_ok() && !free
}
