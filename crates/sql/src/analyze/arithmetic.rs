//! Operators that wrap or give infinity, and the functions that fail instead.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, lit};

use crate::functions;

/// The checked call for an operator, or the operator.
pub(super) fn checked(binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    match replaced(&binary, schema) {
        Some(expr) => Transformed::yes(expr),
        None => Transformed::no(Expr::BinaryExpr(binary)),
    }
}

fn replaced(binary: &BinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let data_type = binary.left.get_type(schema).ok()?;
    if binary.right.get_type(schema).ok()? != data_type {
        return None;
    }
    let is_float = matches!(data_type, DataType::Float32 | DataType::Float64);
    let wraps = (data_type.is_signed_integer() || is_float)
        && matches!(binary.op, Operator::Plus | Operator::Minus | Operator::Multiply);
    let divides = is_float && binary.op == Operator::Divide;
    if !wraps && !divides {
        return None;
    }
    let function = functions::checked(binary.op)?;
    let args = vec![(*binary.left).clone(), (*binary.right).clone()];
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}

/// The checked call for the minus of an integer: the least one has no opposite.
pub(super) fn negated(inner: Box<Expr>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let zero = match inner.get_type(schema) {
        Ok(found) if found.is_signed_integer() => ScalarValue::new_zero(&found)?,
        _ => return Ok(Transformed::no(Expr::Negative(inner))),
    };
    Ok(match functions::checked(Operator::Minus) {
        Some(function) => {
            let args = vec![lit(zero), *inner];
            Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
        }
        None => Transformed::no(Expr::Negative(inner)),
    })
}
