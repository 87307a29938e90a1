//! Window functions: `f(...) OVER (PARTITION BY ... ORDER BY ...)`.
//!
//! A node runs all calls that have a partition and whose orders begin alike. What the calls need stands
//! as columns below the node: an argument that fails costs its row, not the partition.
//!
//! Whether a function takes its arguments and its frame is found out by running it over one row of
//! NULLs: the library says so no sooner.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{NullTreatment, Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
};
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::windows::create_window_expr;
use millrace_plan::{Meta, Node, Order, Over, OverCall, Scalar, sliding};
use millrace_types::Report;

use super::aggregate::seen_as;
use super::refuse::{failure, internal, not_yet};
use super::relation::{Carry, Columns, Relation, canonical, column, own_name, with_type};
use super::translate::Planner;
use crate::analyze::window_call;
use crate::functions;

/// A call and the column that it is.
struct Asked<'a> {
    call: &'a WindowFunction,
    field: &'a Field,
    /// Among the calls of the logical node.
    number: usize,
}

impl Planner<'_> {
    /// All calls of a node.
    pub(super) fn window(&self, window: &Window) -> Result<Relation, Report> {
        self.windowed(&window.input, &window.window_expr)
    }

    /// A relation with calls as its last columns.
    pub(super) fn windowed(&self, input: &LogicalPlan, calls: &[Expr]) -> Result<Relation, Report> {
        let mut relation = self.translate(input)?;
        if calls.is_empty() {
            return Ok(relation);
        }
        let schema = input.schema();
        let width = schema.fields().len();
        let window = Window::try_new(calls.to_vec(), Arc::new(input.clone())).map_err(failure)?;
        let mut asked = Vec::with_capacity(calls.len());
        for (number, expr) in calls.iter().enumerate() {
            let call = window_call(expr).ok_or_else(|| internal("a call is no call"))?;
            asked.push(Asked { call, field: window.schema.field(width + number), number });
        }
        relation = self.copied(relation)?;
        let mut places = vec![0; calls.len()];
        let mut made = width;
        for own in alike(asked) {
            relation = self.over(relation, schema, &own)?;
            for asked in own {
                places[asked.number] = made;
                made += 1;
            }
        }
        let results = places.into_iter().map(|place| relation.columns[place].clone());
        let results: Vec<Expr> = results.collect();
        relation.columns.truncate(width);
        relation.columns.extend(results);
        Ok(relation)
    }

    /// Calls over one partition, as further columns.
    fn over(
        &self,
        relation: Relation,
        schema: &DFSchema,
        asked: &[Asked<'_>],
    ) -> Result<Relation, Report> {
        let mut wanted = Columns::default();
        for (index, expr) in relation.columns.iter().enumerate() {
            let name = schema.fields().get(index).map_or("result", |field| field.name());
            wanted.push(expr.clone(), own_name(expr, relation.schema(), name));
        }
        let columns = wanted.len();
        let logical: Vec<_> = relation.columns.iter().collect();
        let types = logical.iter().map(|expr| self.type_of(expr, relation.schema()));
        let types = types.collect::<Result<Vec<_>, _>>()?;
        let longest = asked.iter().max_by_key(|asked| asked.call.params.order_by.len());
        let params = &longest.ok_or_else(|| internal("no call"))?.call.params;
        let seen = params
            .order_by
            .iter()
            .map(|order| self.type_of(&relation.inline(&order.expr, schema)?, relation.schema()));
        let seen = seen.collect::<Result<Vec<DataType>, Report>>()?;
        let mut place = |expr: &Expr| -> Result<usize, Report> {
            let inlined = relation.inline(expr, schema)?;
            Ok(wanted.add(inlined, &expr.schema_name().to_string()))
        };
        let group = params.partition_by.iter().map(functions::without_one_value);
        let mut group = group.map(&mut place).collect::<Result<Vec<_>, _>>()?;
        group.sort_unstable();
        group.dedup();
        let order = params.order_by.iter().map(|order| {
            let column = place(&order.expr)?;
            Ok(Order { column, descending: !order.asc, nulls_first: order.nulls_first })
        });
        let order = order.collect::<Result<Vec<Order>, Report>>()?;
        let mut calls = Vec::with_capacity(asked.len());
        for Asked { call, field, .. } in asked {
            calls.push(self.over_call(call, field, (&relation, schema), &mut wanted)?);
        }
        if wanted.len() == 0 {
            // Rows without columns cannot be kept.
            let schema = relation.schema();
            wanted.push(column(schema, 0), schema.field(0).name());
        }
        let (input, _) = self.project(relation, wanted, Carry::Key)?;
        let from = input.meta().clone();
        for call in &mut calls {
            let fields = from.schema.fields().iter().map(AsRef::as_ref);
            let name = Over::unused(call.output.name(), &fields.collect::<Vec<&Field>>());
            call.output = Arc::new(call.output.as_ref().clone().with_name(name));
        }
        distinct_names(&mut calls);
        for call in &calls {
            let distances = seen.iter().all(has_distances);
            if counts_values(&call.frame) && !(distances && seen == stored(&order, &from.schema)) {
                return Err(unable(call));
            }
            check(call, &order, &from.schema)?;
        }
        let (input, watermarks) = self.closing_groups(input, &group)?;
        let settled = watermarks.first().cloned();
        let meta = Meta {
            schema: Over::output_schema(&from.schema, &calls),
            key: from.key.clone(),
            append_only: false,
            watermarks,
        };
        let results: Vec<_> = asked.iter().map(|asked| asked.field.data_type().clone()).collect();
        let before = from.schema.fields().len();
        let node = Node::Over(Box::new(Over { input, group, order, calls, settled, meta }));
        let schema = Arc::clone(&node.meta().schema);
        let seen = |(at, seen)| with_type(column(&schema, at), schema.field(at).data_type(), seen);
        let mut columns: Vec<Expr> = (0..columns).zip(&types).map(seen).collect();
        columns.extend((before..).zip(&results).map(seen));
        Ok(Relation { node, columns, event_time: None, hop: None })
    }

    fn over_call(
        &self,
        call: &WindowFunction,
        field: &Field,
        (relation, schema): (&Relation, &DFSchema),
        wanted: &mut Columns,
    ) -> Result<OverCall, Report> {
        let params = &call.params;
        let mut args = Vec::with_capacity(params.args.len());
        for arg in &params.args {
            let arg = relation.inline(arg, schema)?;
            if let Expr::Literal(value, _) = &arg {
                args.push(Scalar(Arc::new(Literal::new(value.clone()))));
                continue;
            }
            let (name, seen) =
                (arg.schema_name().to_string(), self.type_of(&arg, relation.schema())?);
            let column = wanted.add(arg, &name);
            args.push(Scalar(seen_as(column, &name, seen)));
        }
        let filter = params.filter.as_ref().map(|filter| {
            let inlined = relation.inline(filter, schema)?;
            Ok::<usize, Report>(wanted.add(inlined, &filter.schema_name().to_string()))
        });
        let stored = canonical(field.data_type());
        Ok(OverCall {
            function: call.fun.clone(),
            args,
            filter: filter.transpose()?,
            order: params.order_by.len(),
            frame: params.window_frame.clone(),
            ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            distinct: params.distinct,
            output: Arc::new(Field::new(call.fun.name(), stored, true)),
        })
    }
}

/// The calls that one node can run: of one partition, and of orders of which one begins with the other.
fn alike(asked: Vec<Asked<'_>>) -> Vec<Vec<Asked<'_>>> {
    let mut nodes: Vec<Vec<Asked<'_>>> = Vec::new();
    for asked in asked {
        let params = &asked.call.params;
        let fits = |other: &Asked<'_>| {
            let other = &other.call.params;
            let begins = |one: &[SortExpr], other: &[SortExpr]| {
                one.iter().zip(other).all(|(one, other)| one == other)
            };
            other.partition_by == params.partition_by && begins(&other.order_by, &params.order_by)
        };
        match nodes.iter_mut().find(|node| node.iter().all(fits)) {
            Some(node) => node.push(asked),
            None => nodes.push(vec![asked]),
        }
    }
    nodes
}

/// Two calls of one function have two columns.
fn distinct_names(calls: &mut [OverCall]) {
    for at in 1..calls.len() {
        let (before, own) = calls.split_at_mut(at);
        let taken: Vec<&Field> = before.iter().map(|call| call.output.as_ref()).collect();
        let name = Over::unused(own[0].output.name(), &taken);
        own[0].output = Arc::new(own[0].output.as_ref().clone().with_name(name));
    }
}

fn unable(call: &OverCall) -> Report {
    let name = call.function.name();
    not_yet(&format!("{name}() with this frame or these arguments in a materialized view is"))
}

/// The types of the columns of an order.
fn stored(order: &[Order], input: &Schema) -> Vec<DataType> {
    order.iter().map(|order| input.field(order.column).data_type().clone()).collect()
}

/// Refuses what the library does not run.
fn check(call: &OverCall, order: &[Order], input: &Arc<Schema>) -> Result<(), Report> {
    let physical = |at: usize| -> Arc<dyn PhysicalExpr> {
        Arc::new(PhysicalColumn::new(input.field(at).name(), at))
    };
    let order = order.iter().take(call.order).map(|order| {
        let options = SortOptions { descending: order.descending, nulls_first: order.nulls_first };
        PhysicalSortExpr::new(physical(order.column), options)
    });
    let args: Vec<_> = call.args.iter().map(|arg| Arc::clone(&arg.0)).collect();
    let made = create_window_expr(
        &sliding(&call.function, &call.frame),
        call.output.name().clone(),
        &args,
        &[],
        &order.collect::<Vec<_>>(),
        Arc::new(call.frame.clone()),
        Arc::clone(input),
        call.ignore_nulls,
        call.distinct,
        call.filter.map(physical),
    );
    let nothing = input.fields().iter().map(|field| new_null_array(field.data_type(), 1));
    let fields = input.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
    let row = RecordBatch::try_new(schema, nothing.collect()).map_err(|e| failure(e.into()))?;
    match made.and_then(|made| made.evaluate(&row)) {
        Ok(_) => Ok(()),
        Err(error) => Err(unable(call).detail(failure(error).message)),
    }
}

fn has_distances(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal()
}

/// True if a bound of the frame is a distance between values.
fn counts_values(frame: &WindowFrame) -> bool {
    let is_distance = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => !by.is_null(),
        WindowFrameBound::CurrentRow => false,
    };
    frame.units == WindowFrameUnits::Range
        && (is_distance(&frame.start_bound) || is_distance(&frame.end_bound))
}
