//! ASOF joins in FROM.
//!
//! `a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k` keeps left rows without a match, as where
//! this form comes from; `a ASOF [LEFT] JOIN b ON a.k = b.k AND a.ts >= b.ts` keeps them if it says so.
//!
//! Each is in parentheses when it is planned ([`super::fold`]).

use datafusion::common::Result;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Join, JoinConstraint, JoinOperator, Spanned, TableFactor, TableWithJoins,
    Value,
};
use millrace_types::{Report, SqlState};

use super::relation::fail;
use crate::nearest::{AsOfJoin, orders, sides};
use crate::parser::ASOF_KINDS;
use crate::text::Text;

/// True for a join that is planned here.
pub(super) fn is_asof(join: &Join) -> bool {
    matches!(join.join_operator, JoinOperator::AsOf { .. })
}

/// Plans ASOF joins.
#[derive(Debug)]
pub(super) struct AsOfJoins {
    /// The statement, for positions.
    text: String,
}

impl AsOfJoins {
    pub(super) fn new(text: &str) -> AsOfJoins {
        AsOfJoins { text: text.to_owned() }
    }

    fn at(&self, expr: &SqlExpr) -> Option<usize> {
        Text::new(&self.text).position(expr.span().start)
    }

    fn plan(
        &self,
        relation: TableFactor,
        join: Join,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<datafusion::logical_expr::LogicalPlan> {
        let JoinOperator::AsOf { match_condition, constraint } = join.join_operator else {
            return fail(Report::unsupported("this join"), None);
        };
        let (left, right) = (context.plan(relation)?, context.plan(join.relation)?);
        let (one, other) = (left.schema().clone(), right.schema().clone());
        let both = one.join(&other)?;
        let (on, position) = match constraint {
            JoinConstraint::On(on) => {
                let position = self.at(&on);
                (split_conjunction_owned(context.sql_to_expr(on, &both)?), position)
            }
            JoinConstraint::None => (Vec::new(), None),
            JoinConstraint::Using(_) | JoinConstraint::Natural => {
                let report = Report::unsupported("USING and NATURAL in an ASOF join");
                return fail(report.hint("Use ON."), self.at(&match_condition));
            }
        };
        let is_order = |expr: &Expr| sides(expr, &one, &other).is_some_and(|(_, op, _)| orders(op));
        let (keeps_left, times, on): (bool, Vec<Expr>, Vec<Expr>) = match kind(&match_condition) {
            Some(keeps_left) => {
                let (times, on) = on.into_iter().partition(&is_order);
                (keeps_left, times, on)
            }
            None => {
                let position = self.at(&match_condition);
                let times = context.sql_to_expr(match_condition, &both)?;
                if !is_order(&times) {
                    return fail(unordered(), position);
                }
                (true, vec![times], on)
            }
        };
        let is_equality =
            |expr: &Expr| sides(expr, &one, &other).is_some_and(|(_, op, _)| op == Operator::Eq);
        if !on.iter().all(is_equality) {
            let report = Report::unsupported("a condition of an ASOF join other than equality");
            let hint = "Put it into a subquery, or into WHERE.";
            return fail(report.hint(hint), position);
        }
        let Ok([times]) = <[Expr; 1]>::try_from(times) else { return fail(unordered(), position) };
        Ok(AsOfJoin::try_new(left, right, keeps_left, on, times)?.into_plan())
    }
}

/// Whether a join without a match condition of its own keeps left rows.
fn kind(condition: &SqlExpr) -> Option<bool> {
    let SqlExpr::Value(value) = condition else { return None };
    let Value::SingleQuotedString(kind) = &value.value else { return None };
    ASOF_KINDS.iter().position(|known| known == kind).map(|at| at == 1)
}

fn unordered() -> Report {
    let message = "an ASOF join compares one time of each side";
    Report::new(SqlState::SYNTAX_ERROR, message).hint(
        "Write a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.key = b.key, with >=, >, <= or <.",
    )
}

impl RelationPlanner for AsOfJoins {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match relation {
            TableFactor::NestedJoin { table_with_joins, alias } if matches!(table_with_joins.joins.as_slice(), [join] if is_asof(join)) =>
            {
                let TableWithJoins { relation, mut joins } = *table_with_joins;
                let join = joins.remove(0);
                let plan = self.plan(relation, join, context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}
