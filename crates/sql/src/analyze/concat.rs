//! `||` of arrays and of byteas, and what `concat` shows.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::utils::list_ndims;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::functions_nested::expr_fn::{array_concat, make_array};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Case, Expr, ExprSchemable, lit, not};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::nested;
use super::operators::{is_open, is_untyped, no_operator, typed, types};
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
    let dimensions = (list_ndims(&left_type), list_ndims(&right_type));
    match dimensions {
        (left_has, right_has) if left_has > right_has => {
            let one = make_array(vec![right]);
            return Ok(PlannerResult::Planned(appended(left, one, left_has, schema)?));
        }
        (left_has, right_has) if left_has == right_has && left_has > 0 => {
            return Ok(PlannerResult::Planned(appended(left, right, left_has, schema)?));
        }
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
        let text = |expr: Expr| match is_open(&expr) {
            true => typed(expr, &DataType::Utf8),
            false => Ok(expr),
        };
        let (left, right) = (text(left)?, text(right)?);
        return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
    }
    match (as_bytes(left, &left_type)?, as_bytes(right, &right_type)?) {
        (Some(left), Some(right)) => {
            Ok(PlannerResult::Planned(functions::joined_bytes(left, right)))
        }
        _ => Err(no_operator(&left_type, "||", &right_type)),
    }
}

/// `left || right` of arrays of so many dimensions. A chain of them is one call: DataFusion asks each level of
/// a deep one for the types and names of all levels below, which takes minutes for some hundred.
fn appended(left: Expr, right: Expr, dimensions: u64, schema: &DFSchema) -> Result<Expr> {
    let mut args = vec![left];
    if let Expr::ScalarFunction(call) = &args[0]
        && call.name() == "array_concat"
    {
        let found: Result<Vec<_>> = call.args.iter().map(|arg| arg.get_type(schema)).collect();
        if found?.iter().all(|found| list_ndims(found) == dimensions) {
            args = call.args.clone();
        }
    }
    args.push(right);
    Ok(array_concat(args))
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
