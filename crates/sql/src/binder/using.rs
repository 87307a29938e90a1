//! `JOIN ... USING (k)` and `NATURAL JOIN`: the merged column.
//!
//! It is the left one in an inner or left join, the right one in a right join, the one that is not NULL
//! in a full join; it comes first in `*`, and alone, while `a.k` and `b.k` stay what they are. DataFusion takes
//! the left one for its name and for `*` that of the table whose name comes first. So each such join is put
//! into parentheses with all that stands before it ([`fold`]) and planned here, as a join by equality below a
//! projection that has the merged columns as a table of their own, in front. Above it stands a [`mark`]
//! while names are resolved: what DataFusion looks at to see that the columns of one name are one. It
//! goes as soon as the query is planned ([`without_marks`]).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{
    Column, DFSchema, JoinConstraint as Constraint, JoinType, NullEquality, Result, TableReference,
};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::logical_plan::Join as JoinNode;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select,
    TableFactor, TableWithJoins, VisitMut, VisitorMut,
};
use millrace_types::{Report, SqlState};

use super::relation::fail;
use crate::names::{self, MERGED, Quoted};
use crate::text::Text;

/// Puts each join with USING or NATURAL, with all that stands before it, into parentheses.
pub(super) fn fold(from: &mut TableWithJoins) {
    while let Some(at) = from.joins.iter().position(|join| merges(join).is_some()) {
        let rest = from.joins.split_off(at + 1);
        let joins = from.joins.split_off(at);
        let before = std::mem::take(&mut from.joins);
        let left = match before.is_empty() {
            true => from.relation.clone(),
            false => nested(from.relation.clone(), before),
        };
        from.relation = nested(left, joins);
        from.joins = rest;
    }
}

/// Names the merged columns of a select where DataFusion does not look at marks: in WHERE.
pub(super) fn name_merged(select: &mut Select) {
    let mut names = BTreeSet::new();
    select.from.iter().for_each(|from| collect(from, &mut names));
    if let Some(condition) = select.selection.as_mut().filter(|_| !names.is_empty()) {
        let ControlFlow::Continue(()) =
            VisitMut::visit(condition, &mut Qualify { names, depth: 0 });
    }
}

/// The columns that joins merge by name.
fn collect(from: &TableWithJoins, names: &mut BTreeSet<String>) {
    let mut relations = vec![&from.relation];
    for join in &from.joins {
        relations.push(&join.relation);
        if let Some((_, Some(columns))) = merges(join) {
            let idents = columns.iter().filter_map(|name| name.0.last()?.as_ident());
            names.extend(idents.map(names::fold));
        }
    }
    for relation in relations {
        if let TableFactor::NestedJoin { table_with_joins, .. } = relation {
            collect(table_with_joins, names);
        }
    }
}

/// Gives unqualified names their table. Subqueries have columns of their own, and stay.
struct Qualify {
    names: BTreeSet<String>,
    depth: usize,
}

impl VisitorMut for Qualify {
    type Break = Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Infallible> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Infallible> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Infallible> {
        if let SqlExpr::Identifier(ident) = expr
            && self.depth == 0
            && self.names.contains(&names::fold(ident))
        {
            let table = Ident::with_quote('"', MERGED);
            *expr = SqlExpr::CompoundIdentifier(vec![table, ident.clone()]);
        }
        ControlFlow::Continue(())
    }
}

/// The same inside parentheses, where one such join alone stays.
pub(super) fn fold_nested(from: &mut TableWithJoins) {
    if !is_folded(from) {
        fold(from);
    }
}

fn nested(relation: TableFactor, joins: Vec<Join>) -> TableFactor {
    let table_with_joins = Box::new(TableWithJoins { relation, joins });
    TableFactor::NestedJoin { table_with_joins, alias: None }
}

/// True for what [`fold`] makes.
fn is_folded(from: &TableWithJoins) -> bool {
    matches!(from.joins.as_slice(), [join] if merges(join).is_some())
}

/// The kind of a join that merges columns, and which; None inside for all of one name.
fn merges(join: &Join) -> Option<(JoinType, Option<&[ObjectName]>)> {
    let (kind, constraint) = match &join.join_operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => {
            (JoinType::Inner, constraint)
        }
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
            (JoinType::Left, constraint)
        }
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            (JoinType::Right, constraint)
        }
        JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
        _ => return None,
    };
    let is_lateral = match &join.relation {
        TableFactor::Derived { lateral, .. } | TableFactor::Function { lateral, .. } => *lateral,
        _ => false,
    };
    match constraint {
        _ if is_lateral => None,
        JoinConstraint::Using(columns) => Some((kind, Some(columns))),
        JoinConstraint::Natural => Some((kind, None)),
        JoinConstraint::On(_) | JoinConstraint::None => None,
    }
}

/// Plans joins that merge columns.
#[derive(Debug)]
pub(super) struct Merges {
    /// The statement, for positions.
    text: String,
}

impl Merges {
    pub(super) fn new(text: &str) -> Merges {
        Merges { text: text.to_owned() }
    }

    fn plan(
        &self,
        relation: TableFactor,
        join: Join,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let Some((kind, named)) = merges(&join) else {
            return fail(Report::unsupported("this join"), None);
        };
        let left = context.plan(relation)?;
        let right = context.plan(join.relation.clone())?;
        let (one, other) = (left.schema(), right.schema());
        let names: Vec<(String, Option<&Ident>)> = match named {
            Some(columns) => {
                let idents = columns.iter().filter_map(|name| name.0.last()?.as_ident());
                idents.map(|ident| (names::fold(ident), Some(ident))).collect()
            }
            None => common(one, other).into_iter().map(|name| (name, None)).collect(),
        };
        let mut keys = Vec::with_capacity(names.len());
        for (name, ident) in names {
            let found =
                side(one, &name, "left").and_then(|l| Ok((l, side(other, &name, "right")?)));
            match found {
                Ok((left, right)) => keys.push((name, left, right)),
                Err(report) => {
                    let text = Text::new(&self.text);
                    let position = ident.and_then(|ident| text.position(ident.span.start));
                    return fail(report, position);
                }
            }
        }
        let merged = keys.iter().map(|(name, left, right)| {
            let (left, right) = (Expr::Column(left.clone()), Expr::Column(right.clone()));
            let value = match kind {
                JoinType::Right => right,
                JoinType::Full => coalesce(vec![left, right]),
                _ => left,
            };
            value.alias_qualified(Some(MERGED), name)
        });
        let merged: Vec<Expr> = merged.collect();
        // A column that this join merges again is there once.
        let is_older = |column: &Column| {
            is_merged(column) && keys.iter().any(|(name, ..)| *name == column.name)
        };
        let kept = one.columns().into_iter().chain(other.columns());
        let kept = kept.filter(|column| !is_older(column)).map(Expr::Column).collect::<Vec<_>>();
        let equal = keys
            .iter()
            .map(|(_, left, right)| Expr::Column(left.clone()).eq(Expr::Column(right.clone())));
        let equal: Vec<Expr> = equal.collect();
        let joined = LogicalPlanBuilder::from(left).join_on(right, kind, equal)?;
        let plan = joined.project(merged.into_iter().chain(kept))?.build()?;
        keys.iter().try_fold(plan, |plan, (name, ..)| mark(plan, name))
    }
}

/// The names that both sides have, in the order of the left one.
fn common(left: &DFSchema, right: &DFSchema) -> Vec<String> {
    let has = |name: &str| right.fields().iter().any(|field| field.name() == name);
    let mut seen = BTreeSet::new();
    let names = left.fields().iter().map(|field| field.name());
    names.filter(|name| has(name) && seen.insert((*name).clone())).cloned().collect()
}

fn is_merged(column: &Column) -> bool {
    column.relation.as_ref().is_some_and(|table| table.table() == MERGED)
}

/// The column of a name on one side of a join.
fn side(schema: &DFSchema, name: &str, which: &str) -> Result<Column, Report> {
    let found = schema.columns_with_unqualified_name(name);
    if let Some(merged) = found.iter().find(|column| is_merged(column)) {
        return Ok(merged.clone());
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let name = Quoted(name);
            let message =
                format!("column {name} specified in USING clause does not exist in {which} table");
            Err(Report::new(SqlState::UNDEFINED_COLUMN, message))
        }
        _ => {
            let name = Quoted(name);
            let message =
                format!("common column name {name} appears more than once in {which} table");
            Err(Report::new(SqlState::AMBIGUOUS_COLUMN, message))
        }
    }
}

/// The plan below a join with USING of nothing, which says that all columns of a name are one.
fn mark(plan: LogicalPlan, name: &str) -> Result<LogicalPlan> {
    let column = |column: Column| Expr::Column(column);
    let merged = Column::new(Some(TableReference::bare(MERGED)), name);
    let same = plan.schema().columns_with_unqualified_name(name).into_iter();
    let on = same.map(|other| (column(merged.clone()), column(other))).collect();
    let schema = Arc::clone(plan.schema());
    Ok(LogicalPlan::Join(JoinNode {
        left: Arc::new(plan),
        right: Arc::new(LogicalPlanBuilder::empty(true).build()?),
        on,
        filter: None,
        join_type: JoinType::Inner,
        join_constraint: Constraint::Using,
        schema,
        null_equality: NullEquality::NullEqualsNothing,
        null_aware: false,
    }))
}

/// The plan of a query without marks.
pub(super) fn without_marks(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_mark = |join: &JoinNode| {
        join.join_constraint == Constraint::Using
            && matches!(&*join.right, LogicalPlan::EmptyRelation(empty) if empty.schema.fields().is_empty())
    };
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if is_mark(&join) => {
            Ok(Transformed::yes(Arc::unwrap_or_clone(join.left)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(plan?.data)
}

impl RelationPlanner for Merges {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match relation {
            TableFactor::NestedJoin { table_with_joins, alias } if is_folded(&table_with_joins) => {
                let TableWithJoins { relation, mut joins } = *table_with_joins;
                let plan = self.plan(relation, joins.remove(0), context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}
