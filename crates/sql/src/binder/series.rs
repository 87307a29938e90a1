//! `generate_series` in FROM over columns of what stands before it: `FROM t, generate_series(1, t.n) AS g (i)`.
//!
//! It is a list for each row, which is then spread over rows, so that the same plan runs in batch and as a
//! maintained view. As for ASOF joins, what stands before it is put into parentheses together with it.
//! With constant arguments it stays DataFusion's own, which makes its rows as they are read.

use std::ops::ControlFlow;

use datafusion::common::{Column, Result, UnnestOptions};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, ObjectName,
    Spanned, TableAlias, TableFactor, TableWithJoins, Value, Visit, Visitor,
};
use millrace_types::Report;

use super::relation::fail;
use super::syntax::is_series;
use crate::functions;
use crate::names;
use crate::text::Text;

/// The list of a row, and then its values.
const LIST: &str = "\u{0}series";

/// Puts each series over columns with all that stands before it into parentheses.
pub(super) fn fold(from: &mut Vec<TableWithJoins>) {
    let mut folded: Vec<TableWithJoins> = Vec::with_capacity(from.len());
    for mut next in std::mem::take(from) {
        if !folded.is_empty() && is_lateral(&next.relation) {
            let before = joined(std::mem::take(&mut folded));
            let series = cross(next.relation.clone());
            next.relation = nested(before, vec![series]);
        }
        fold_joins(&mut next);
        folded.push(next);
    }
    *from = folded;
}

/// The same among the joins of one item; one alone, in parentheses already, stays.
pub(super) fn fold_joins(from: &mut TableWithJoins) {
    while let Some(at) = from.joins.iter().position(|join| is_lateral(&join.relation)) {
        if from.joins.len() == 1 {
            let join = from.joins.remove(0);
            from.relation = nested(from.relation.clone(), vec![join]);
            return;
        }
        let rest = from.joins.split_off(at + 1);
        let join = from.joins.split_off(at);
        let before = std::mem::take(&mut from.joins);
        let left = match before.is_empty() {
            true => from.relation.clone(),
            false => nested(from.relation.clone(), before),
        };
        from.relation = nested(left, join);
        from.joins = rest;
    }
}

/// True for what [`fold`] makes.
pub(super) fn is_folded(from: &TableWithJoins) -> bool {
    matches!(from.joins.as_slice(), [join] if is_lateral(&join.relation))
}

fn nested(relation: TableFactor, joins: Vec<Join>) -> TableFactor {
    let table_with_joins = Box::new(TableWithJoins { relation, joins });
    TableFactor::NestedJoin { table_with_joins, alias: None }
}

fn cross(relation: TableFactor) -> Join {
    let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
    Join { relation, global: false, join_operator }
}

/// All items of a FROM as one.
fn joined(items: Vec<TableWithJoins>) -> TableFactor {
    let mut factors = items.into_iter().map(|item| match item.joins.is_empty() {
        true => item.relation,
        false => nested(item.relation, item.joins),
    });
    let first = factors.next().expect("something stands before it");
    let joins: Vec<Join> = factors.map(cross).collect();
    if joins.is_empty() { first } else { nested(first, joins) }
}

/// A call of the series with its alias.
fn call(factor: &TableFactor) -> Option<(&ObjectName, &[FunctionArg], Option<&TableAlias>)> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        _ => return None,
    };
    is_series(name).then_some((name, args.as_slice(), alias.as_ref()))
}

/// True for a series whose arguments name columns or are to be computed.
fn is_lateral(factor: &TableFactor) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
            match expr {
                SqlExpr::Identifier(_)
                | SqlExpr::CompoundIdentifier(_)
                | SqlExpr::BinaryOp { .. } => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let names = |args: &[FunctionArg]| args.iter().any(|arg| arg.visit(&mut Columns).is_break());
    call(factor).is_some_and(|(_, args, _)| names(args))
}

/// Plans series over columns.
#[derive(Debug)]
pub(super) struct Series {
    /// The statement, for positions.
    text: String,
}

impl Series {
    pub(super) fn new(text: &str) -> Series {
        Series { text: text.to_owned() }
    }

    fn plan(
        &self,
        left: TableFactor,
        join: &Join,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let Some((name, args, alias)) = call(&join.relation) else {
            return fail(Report::unsupported("this function in FROM"), None);
        };
        let position = Text::new(&self.text).position(name.span().start);
        if !keeps_all(&join.join_operator) {
            let what = "a join with generate_series over columns other than a cross join";
            return fail(Report::unsupported(what).hint("Put conditions into WHERE."), position);
        }
        let left = context.plan(left)?;
        let mut bounds = Vec::with_capacity(3);
        for arg in args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else {
                return fail(Report::unsupported("a named argument of generate_series"), position);
            };
            bounds.push(context.sql_to_expr(arg.clone(), left.schema())?);
        }
        if !(2..=3).contains(&bounds.len()) {
            let what = "generate_series without a start and an end";
            return fail(Report::unsupported(what), position);
        }
        let plain = "generate_series".to_owned();
        let table = alias.map_or_else(|| plain.clone(), |alias| names::fold(&alias.name));
        let column = alias.and_then(|alias| alias.columns.first());
        let column = column.map_or_else(|| table.clone(), |column| names::fold(&column.name));
        let own: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
        let list = functions::series(bounds).alias(LIST);
        let options = UnnestOptions::new().with_preserve_nulls(false);
        let value = Column::new_unqualified(LIST);
        let shown = Expr::Column(value.clone()).alias_qualified(Some(table.as_str()), &column);
        LogicalPlanBuilder::from(left)
            .project(own.iter().cloned().chain([list]))?
            .unnest_column_with_options(value, options)?
            .project(own.into_iter().chain([shown]))?
            .build()
    }
}

/// True for a join without a condition that could turn rows away.
fn keeps_all(operator: &JoinOperator) -> bool {
    match operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => true,
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on)) => {
            matches!(on, SqlExpr::Value(value) if value.value == Value::Boolean(true))
        }
        _ => false,
    }
}

impl RelationPlanner for Series {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match relation {
            TableFactor::NestedJoin { table_with_joins, alias } if is_folded(&table_with_joins) => {
                let TableWithJoins { relation, joins } = *table_with_joins;
                let plan = self.plan(relation, &joins[0], context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}
