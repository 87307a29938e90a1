//! `JOIN ... USING (k)` and `NATURAL JOIN`: the merged column.
//!
//! It is the left one in an inner or left join, the right one in a right join, the one that is not NULL
//! in a full join; it comes first in `*`, and alone, while `a.k` and `b.k` stay what they are. DataFusion takes
//! the left one for its name and for `*` that of the table whose name comes first. So each such join, which
//! stands in parentheses of its own ([`super::fold`]), is planned here, as a join by equality below a
//! projection that has the merged columns as a table of their own, in front. Above it stands a [`mark`]
//! while names are resolved: what DataFusion looks at to see that the columns of one name are one. It
//! goes as soon as the subquery or query is planned ([`without_marks`]).
//!
//! A join in parentheses with an alias has the columns that `*` shows, and no others.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{
    Column, JoinConstraint as Constraint, JoinType, NullEquality, Result, TableReference,
};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::logical_plan::Join as JoinNode;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::utils::expand_wildcard;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Ident, Join, JoinConstraint, JoinOperator, ObjectName, TableFactor, TableWithJoins,
};
use millrace_types::{Report, SqlState};

use super::columns::unique;
use super::relation::fail;
use crate::names::{self, Quoted};
use crate::text::Text;

/// The names that a join with USING merges.
pub(super) fn merged_names(join: &Join) -> impl Iterator<Item = String> {
    let columns = merges(join).and_then(|(_, columns)| columns).unwrap_or_default();
    columns.iter().filter_map(|name| name.0.last()?.as_ident()).map(names::fold)
}

/// The kind of a join that merges columns, and which; None inside for all of one name.
pub(super) fn merges(join: &Join) -> Option<(JoinType, Option<&[ObjectName]>)> {
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

    /// A join whose merged columns are a table of a name.
    fn plan(
        &self,
        table: &str,
        from: TableWithJoins,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let TableWithJoins { relation, joins } = from;
        let [join] = joins.as_slice() else {
            return fail(Report::unsupported("this join"), None);
        };
        let Some((kind, named)) = merges(join) else {
            return fail(Report::unsupported("this join"), None);
        };
        let left = context.plan(relation)?;
        let right = context.plan(join.relation.clone())?;
        let (one, other) = (visible(&left)?, visible(&right)?);
        let names: Vec<(String, Option<&Ident>)> = match named {
            Some(columns) => {
                let idents = columns.iter().filter_map(|name| name.0.last()?.as_ident());
                idents.map(|ident| (names::fold(ident), Some(ident))).collect()
            }
            None => common(&one, &other).into_iter().map(|name| (name, None)).collect(),
        };
        let mut keys = Vec::with_capacity(names.len());
        for (name, ident) in names {
            let found =
                side(&one, &name, "left").and_then(|l| Ok((l, side(&other, &name, "right")?)));
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
            value.alias_qualified(Some(table), name)
        });
        let merged: Vec<Expr> = merged.collect();
        // A column that this join merges again is there once.
        let is_older = |column: &Column| {
            is_merged(column) && keys.iter().any(|(name, ..)| *name == column.name)
        };
        let kept = left.schema().columns().into_iter().chain(right.schema().columns());
        let kept = kept.filter(|column| !is_older(column)).map(Expr::Column).collect::<Vec<_>>();
        let equal = keys
            .iter()
            .map(|(_, left, right)| Expr::Column(left.clone()).eq(Expr::Column(right.clone())));
        let equal: Vec<Expr> = equal.collect();
        let joined = LogicalPlanBuilder::from(left).join_on(right, kind, equal)?;
        let plan = joined.project(merged.into_iter().chain(kept))?.build()?;
        keys.iter().try_fold(plan, |plan, (name, ..)| mark(plan, table, name))
    }
}

/// The columns that `*` shows.
fn visible(plan: &LogicalPlan) -> Result<Vec<Column>> {
    let all = expand_wildcard(plan.schema(), plan, None)?.into_iter();
    Ok(all.filter_map(|expr| expr.try_as_col().cloned()).collect())
}

/// The names that both sides have, in the order of the left one.
fn common(left: &[Column], right: &[Column]) -> Vec<String> {
    let has = |name: &str| right.iter().any(|column| column.name == name);
    let mut seen = BTreeSet::new();
    let names = left.iter().map(|column| &column.name);
    names.filter(|name| has(name) && seen.insert((*name).clone())).cloned().collect()
}

fn is_merged(column: &Column) -> bool {
    column.relation.as_ref().is_some_and(|table| names::is_merged(table.table()))
}

/// The column of a name on one side of a join.
fn side(columns: &[Column], name: &str, which: &str) -> Result<Column, Report> {
    let mut found = columns.iter().filter(|column| column.name == name);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => {
            let name = Quoted(name);
            let message =
                format!("column {name} specified in USING clause does not exist in {which} table");
            Err(Report::new(SqlState::UNDEFINED_COLUMN, message))
        }
        (Some(_), Some(_)) => {
            let name = Quoted(name);
            let message =
                format!("common column name {name} appears more than once in {which} table");
            Err(Report::new(SqlState::AMBIGUOUS_COLUMN, message))
        }
    }
}

/// A plan with the columns that `*` shows, for an alias.
fn without_hidden(plan: LogicalPlan) -> Result<LogicalPlan> {
    let shown = visible(&plan)?;
    let names = unique(shown.iter().map(|column| column.name.as_str()));
    let shown = shown.into_iter().zip(names).map(|(column, name)| match column.name == name {
        true => Expr::Column(column),
        false => Expr::Column(column).alias(name),
    });
    without_marks(LogicalPlanBuilder::from(plan).project(shown.collect::<Vec<_>>())?.build()?)
}

/// The plan below a join with USING of nothing, which says that all columns of a name are one.
fn mark(plan: LogicalPlan, table: &str, name: &str) -> Result<LogicalPlan> {
    let column = |column: Column| Expr::Column(column);
    let merged = Column::new(Some(TableReference::bare(table)), name);
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
        let planned = |plan, alias| {
            Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
        };
        match relation {
            TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } => {
                let table = &alias.name.value;
                if names::is_merged(table) {
                    return planned(self.plan(table, *table_with_joins, context)?, None);
                }
                let bare = TableFactor::NestedJoin { table_with_joins, alias: None };
                planned(without_hidden(context.plan(bare)?)?, Some(alias))
            }
            TableFactor::Derived { lateral, subquery, alias: Some(alias), sample } => {
                let bare = TableFactor::Derived { lateral, subquery, alias: None, sample };
                planned(without_marks(context.plan(bare)?)?, Some(alias))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}
