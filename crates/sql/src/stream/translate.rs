//! The walk over the logical plan: one method per node, leaves first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::execution::SessionState;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, Filter, LogicalPlan, Projection, TableProviderFilterPushDown,
    TableScan,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::create_physical_expr;
use millrace_plan::{Leaf, LeafKind, Meta, Node, Scalar, Watermark};
use millrace_types::{ObjectId, Report};

use super::input::object_of;
use super::lookup;
use super::refuse::{self, failure, internal};
use super::relation::{Relation, as_column, column, uses_window};
use super::session;
use super::temporal::{self, uses_now};
use super::time::affine;
use super::{InputInfo, ViewOptions};
use crate::guard::guarded;

/// Names for columns, by their indexes.
pub(super) type Names = BTreeMap<usize, String>;

/// What the walk needs to know.
#[derive(Clone, Copy)]
pub(super) struct Planner<'a> {
    pub(super) state: &'a SessionState,
    pub(super) inputs: &'a dyn Fn(ObjectId) -> InputInfo,
    pub(super) options: &'a ViewOptions,
}

impl Planner<'_> {
    /// The relation of a logical plan.
    pub(super) fn translate(&self, plan: &LogicalPlan) -> Result<Relation, Report> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => match self.numbered(filter)? {
                Some(relation) => Ok(relation),
                None => {
                    let relation = self.translate(&filter.input)?;
                    self.filtered(relation, filter)
                }
            },
            LogicalPlan::Limit(limit) => self.limit(limit),
            // A view has no order; what depends on one has taken it (`analyze/sorted`).
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.translate(&sort.input),
            LogicalPlan::Window(window) => match session::calls(window) {
                Some(calls) => self.session(window, &calls),
                None => self.window(window),
            },
            LogicalPlan::SubqueryAlias(alias) => self.translate(&alias.input),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, plan),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, &Names::new()),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Extension(node) => self.extension(node, plan),
            LogicalPlan::Values(values) => self.values(&values.values, &values.schema),
            LogicalPlan::EmptyRelation(empty) => {
                let rows = if empty.produce_one_row { vec![Vec::new()] } else { Vec::new() };
                self.values(&rows, &empty.schema)
            }
            other => Err(refuse::node(other)),
        }
    }

    /// The same, where columns will be given names: an aggregation takes them for its own.
    fn named(&self, plan: &LogicalPlan, names: &Names) -> Result<Relation, Report> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, names),
            LogicalPlan::Filter(filter) => {
                if let Some(relation) = self.numbered(filter)? {
                    return Ok(relation);
                }
                let relation = self.named(&filter.input, names)?;
                self.filtered(relation, filter)
            }
            other => self.translate(other),
        }
    }

    fn filtered(&self, relation: Relation, filter: &Filter) -> Result<Relation, Report> {
        let condition = relation.inline(&filter.predicate, filter.input.schema())?;
        self.filter(relation, condition)
    }

    fn scan(&self, scan: &TableScan) -> Result<Relation, Report> {
        if lookup::is_marked(scan) {
            return Err(lookup::misplaced());
        }
        if let Some(series) = self.series(scan)? {
            return Ok(series);
        }
        let object = object_of(scan.source.as_ref())
            .ok_or_else(|| refuse::not_yet("system tables in a materialized view are"))?;
        if scan.fetch.is_some() {
            return Err(internal("a limit was pushed into a scan"));
        }
        let info = (self.inputs)(object);
        let width = info.schema.fields().len();
        let asked = scan.projection.clone().unwrap_or_else(|| (0..width).collect());
        if asked.iter().any(|index| *index >= width) {
            return Err(internal("a scan asks for a column that its table does not have"));
        }
        let condition = conjunction(exact_filters(scan)?);
        let mut columns = asked.clone();
        let mut add = |index: usize| {
            if !columns.contains(&index) {
                columns.push(index);
            }
        };
        let used = condition.iter().flat_map(|condition| condition.column_refs());
        let used: BTreeSet<&str> = used.map(|column| column.name.as_str()).collect();
        for name in used {
            add(info.schema.index_of(name).map_err(|error| failure(error.into()))?);
        }
        info.key.iter().copied().for_each(&mut add);
        let event_time = info.watermarks.first().map(|watermark| watermark.column);
        let event_time = event_time.filter(|_| info.append_only);
        event_time.into_iter().for_each(&mut add);
        if columns.is_empty() {
            // Rows without columns cannot be counted.
            columns.push(0);
        }
        let meta = leaf_meta(&info, &columns);
        let position = |index: usize| columns.iter().position(|column| *column == index);
        let event_time = event_time.and_then(position);
        let columns_of = asked.iter().map(|index| column(&info.schema, *index)).collect();
        let node = Node::Leaf(Leaf { kind: info.kind, columns, meta });
        let relation = Relation { node, columns: columns_of, event_time, hop: None };
        match condition {
            None => Ok(relation),
            Some(condition) => {
                let table = DFSchema::try_from(Arc::clone(&info.schema)).map_err(failure)?;
                let all = (0..width).map(|index| column(&info.schema, index)).collect();
                let named = Relation { columns: all, ..relation.clone() };
                let condition = named.inline(&unqualified(condition)?, &table)?;
                self.filter(relation, condition)
            }
        }
    }

    fn projection(&self, projection: &Projection) -> Result<Relation, Report> {
        let relation = self.named(&projection.input, &aliases(projection))?;
        self.projected(relation, projection)
    }

    /// A projection of its translated input.
    pub(super) fn projected(
        &self,
        mut relation: Relation,
        projection: &Projection,
    ) -> Result<Relation, Report> {
        let logical = projection.input.schema();
        let shared = used_twice(&projection.expr, &relation, logical)?;
        if !shared.is_empty() {
            relation = self.share(relation, &shared)?;
        }
        let columns = projection.expr.iter().map(|expr| relation.inline(expr, logical));
        relation.columns = columns.collect::<Result<_, _>>()?;
        Ok(relation)
    }

    /// A physical expression over columns.
    pub(super) fn physical(&self, expr: Expr, schema: &SchemaRef) -> Result<Scalar, Report> {
        if uses_now(&expr) {
            return Err(temporal::refused());
        }
        let options = self.state.config_options();
        let schema = DFSchema::try_from(Arc::clone(schema)).map_err(failure)?;
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(options))
            .build();
        let simplifier = ExprSimplifier::new(context);
        let expr = simplifier.coerce(expr, &schema).map_err(failure)?;
        let expr = simplifier.simplify(expr).map_err(failure)?;
        let mut properties = ExecutionProps::new();
        properties.config_options = Some(Arc::clone(options));
        let nothing = PhysicalPlanningContext::default();
        let planned = create_physical_expr(&expr, &schema, &properties, &nothing);
        guarded(&planned.map_err(failure)?).map(Scalar).map_err(failure)
    }

    /// The type of an expression over columns.
    pub(super) fn type_of(&self, expr: &Expr, schema: &SchemaRef) -> Result<DataType, Report> {
        let schema = DFSchema::try_from(Arc::clone(schema)).map_err(failure)?;
        expr.get_type(&schema).map_err(failure)
    }
}

/// The names that a projection gives to columns of its input.
fn aliases(projection: &Projection) -> Names {
    let mut names = Names::new();
    for expr in &projection.expr {
        if let Expr::Alias(alias) = expr
            && let Expr::Column(column) = alias.expr.as_ref().clone().unalias_nested().data
            && let Ok(index) = projection.input.schema().index_of_column(&column)
        {
            names.entry(index).or_insert_with(|| alias.name.clone());
        }
    }
    names
}

/// The filters that the scan alone applies; others stand above it as well.
fn exact_filters(scan: &TableScan) -> Result<Vec<Expr>, Report> {
    let filters: Vec<&Expr> = scan.filters.iter().collect();
    let support = scan.source.supports_filters_pushdown(&filters).map_err(failure)?;
    let pairs = filters.into_iter().zip(support);
    let exact = pairs.filter(|(_, support)| *support == TableProviderFilterPushDown::Exact);
    Ok(exact.map(|(filter, _)| filter.clone()).collect())
}

/// A scan's filter names columns with the table's name; plans count columns.
fn unqualified(expr: Expr) -> Result<Expr, Report> {
    let renamed = expr.transform_up(|part| match part {
        Expr::Column(column) => {
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name))))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(renamed.map_err(failure)?.data)
}

fn leaf_meta(info: &InputInfo, columns: &[usize]) -> Meta {
    let position = |index: usize| columns.iter().position(|column| *column == index);
    let fields = columns.iter().map(|index| Arc::clone(&info.schema.fields()[*index]));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let key = info.key.iter().filter_map(|index| position(*index)).collect();
    let watermarks = info.watermarks.iter().filter_map(|watermark| {
        let shift = match info.kind {
            // What a source promises is always the same: no row below the watermark.
            LeafKind::Source(_) => 1,
            LeafKind::View(_) => watermark.shift,
        };
        let column = position(watermark.column)?;
        Some(Watermark { column, shift, sources: watermark.sources.clone() })
    });
    Meta { schema, key, append_only: info.append_only, watermarks: watermarks.collect() }
}

/// The columns of a relation that cost something to compute and that are used more than once.
pub(super) fn used_twice(
    exprs: &[Expr],
    relation: &Relation,
    logical: &DFSchema,
) -> Result<Vec<usize>, Report> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for expr in exprs {
        let counted = expr.apply(|part| {
            if let Expr::Column(column) = part {
                *counts.entry(logical.index_of_column(column)?).or_default() += 1;
            }
            Ok(TreeNodeRecursion::Continue)
        });
        counted.map_err(failure)?;
    }
    let schema = relation.schema();
    let costs = |index: &usize| {
        let expr = &relation.columns[*index];
        let inner = if let Expr::Cast(cast) = expr { &cast.expr } else { expr };
        let (core, _) = affine(inner);
        let cheap = as_column(core, schema).is_some() || matches!(core, Expr::Literal(..));
        !cheap && !uses_window(expr) && !uses_now(expr)
    };
    Ok(counts.into_iter().filter(|(_, n)| *n > 1).map(|(index, _)| index).filter(costs).collect())
}
