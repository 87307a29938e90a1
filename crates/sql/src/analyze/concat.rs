//! `||` of arrays and of byteas, and what `concat` shows.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Case, Expr, ExprSchemable, lit, not};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::nested;
use super::operators::{is_untyped, no_operator, typed, types};
use crate::functions;

/// `||` of arrays and of byteas; a literal whose type nobody wrote is one too.
pub(super) fn joined(
    op: BinaryOperator,
    left: Expr,
    right: Expr,
    schema: &DFSchema,
) -> Result<PlannerResult<RawBinaryExpr>> {
    let (left, right) = nested::beside(left, right, schema)?;
    let Some((left_type, right_type)) = types(&left, &right, schema) else {
        return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
    };
    // A NULL beside an array is an array, which adds nothing.
    let is_nothing = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Null, _));
    match (&left_type, &right_type) {
        (DataType::List(_), _) if is_nothing(&right) => return Ok(PlannerResult::Planned(left)),
        (_, DataType::List(_)) if is_nothing(&left) => return Ok(PlannerResult::Planned(right)),
        _ => {}
    }
    let bytes = DataType::Binary;
    let as_bytes = |expr: Expr, found: &DataType| match found {
        DataType::Binary => Ok(Some(expr)),
        DataType::Null => Ok(Some(typed(expr, &bytes)?)),
        _ if is_untyped(&expr) => Ok(Some(typed(expr, &bytes)?)),
        _ => Ok::<_, DataFusionError>(None),
    };
    if left_type != bytes && right_type != bytes {
        return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
    }
    match (as_bytes(left, &left_type)?, as_bytes(right, &right_type)?) {
        (Some(left), Some(right)) => {
            Ok(PlannerResult::Planned(functions::joined_bytes(left, right)))
        }
        _ => Err(no_operator(&left_type, "||", &right_type)),
    }
}

/// The arguments of `concat` as PostgreSQL shows values: `t` and `f`.
pub(super) fn shown(call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let is_flag = |arg: &Expr| arg.get_type(schema).is_ok_and(|found| found == DataType::Boolean);
    if !call.args.iter().any(is_flag) {
        return Transformed::no(Expr::ScalarFunction(call));
    }
    let text = |arg: Expr| match is_flag(&arg) {
        true => {
            let no = (Box::new(not(arg.clone())), Box::new(lit("f")));
            Expr::Case(Case::new(None, vec![(Box::new(arg), Box::new(lit("t"))), no], None))
        }
        false => arg,
    };
    let args = call.args.into_iter().map(text).collect();
    Transformed::yes(Expr::ScalarFunction(ScalarFunction { args, ..call }))
}
