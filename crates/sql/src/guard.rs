//! The right side of AND and OR is evaluated only for rows that the left side leaves open.
//!
//! `x <> 0 AND 10 / x > 2` must not fail. DataFusion evaluates both sides for all rows of a batch
//! unless few are left; CASE it evaluates row by row. So where the right side can fail, AND becomes
//! `CASE WHEN NOT left THEN false ELSE left AND right END`, which is the same in three-valued logic. This
//! happens to physical expressions: the optimizer would turn such a CASE back.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, case, lit, not};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use crate::functions;

type Expression = Arc<dyn PhysicalExpr>;

/// The expression, whose right sides are guarded by their left sides.
pub(crate) fn guarded(expr: &Expression) -> Result<Expression> {
    if !can_fail(expr) {
        return Ok(Arc::clone(expr));
    }
    let guard = |part: Expression| {
        let Some(binary) = part.downcast_ref::<BinaryExpr>() else {
            return Ok(Transformed::no(part));
        };
        let left = Arc::clone(binary.left());
        let when = match binary.op() {
            Operator::And if can_fail(binary.right()) => (not(left)?, lit(false)),
            Operator::Or if can_fail(binary.right()) => (left, lit(true)),
            _ => return Ok(Transformed::no(part)),
        };
        Ok(Transformed::yes(case(None, vec![when], Some(Arc::clone(&part)))?))
    };
    Ok(Arc::clone(expr).transform_up(guard)?.data)
}

/// The AND or OR for which a guard stands.
pub(crate) fn unguarded(expr: &Expression) -> Option<Expression> {
    let case = expr.downcast_ref::<CaseExpr>().filter(|case| case.expr().is_none())?;
    let [(when, _)] = case.when_then_expr() else { return None };
    let otherwise = case.else_expr()?;
    let binary = otherwise.downcast_ref::<BinaryExpr>()?;
    let condition = match binary.op() {
        Operator::And => not(Arc::clone(binary.left())).ok()?,
        Operator::Or => Arc::clone(binary.left()),
        _ => return None,
    };
    condition.eq(when).then(|| Arc::clone(otherwise))
}

/// True if evaluation can fail for a value.
fn can_fail(expr: &Expression) -> bool {
    let mut found = false;
    let walked = expr.apply(|part| {
        let fails = match part.downcast_ref::<ScalarFunctionExpr>() {
            Some(call) => {
                let name = call.name();
                name == functions::CONVERT
                    || functions::operator(name).is_some()
                    || functions::is_partial(name)
            }
            None => part
                .downcast_ref::<BinaryExpr>()
                .is_some_and(|binary| matches!(binary.op(), Operator::Divide | Operator::Modulo)),
        };
        found |= fails;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    debug_assert!(walked.is_ok(), "nothing in the walk fails");
    found
}

/// Guards the filters and projections of a SELECT.
#[derive(Debug)]
pub(crate) struct Guard;

impl PhysicalOptimizerRule for Guard {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.transform_up(node)?.data)
    }

    fn name(&self) -> &'static str {
        "guard"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn node(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let predicate = guarded(filter.predicate())?;
        if Arc::ptr_eq(&predicate, filter.predicate()) {
            return Ok(Transformed::no(plan));
        }
        let filter = FilterExecBuilder::from(filter).with_predicate(predicate).build()?;
        return Ok(Transformed::yes(Arc::new(filter)));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let exprs = projection.expr().iter();
        let guarded = exprs
            .map(|part| Ok(ProjectionExpr::new(guarded(&part.expr)?, part.alias.clone())))
            .collect::<Result<Vec<_>>>()?;
        let same =
            guarded.iter().zip(projection.expr()).all(|(a, b)| Arc::ptr_eq(&a.expr, &b.expr));
        if same {
            return Ok(Transformed::no(plan));
        }
        let projection = ProjectionExec::try_new(guarded, Arc::clone(projection.input()))?;
        return Ok(Transformed::yes(Arc::new(projection)));
    }
    Ok(Transformed::no(plan))
}
