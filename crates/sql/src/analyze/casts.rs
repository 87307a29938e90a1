//! Casts: which there are, and which of them our function does.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable};
use millrace_types::{SqlState, SqlType};

use crate::functions::{self, user_error};

/// Turns a cast away that PostgreSQL does not have.
pub(super) fn check(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::Cast(cast) = &expr else { return Ok(Transformed::no(expr)) };
    let sql = |data_type: &DataType| match data_type {
        DataType::Null => None,
        other => SqlType::of_arrow(other),
    };
    let from = cast.expr.get_type(schema).ok().and_then(|from| sql(&from));
    if let (Some(mut from), Some(to)) = (from, sql(cast.field.data_type())) {
        // A literal is an integer if it fits.
        if let Expr::Literal(ScalarValue::Int64(Some(value)), _) = cast.expr.as_ref()
            && i32::try_from(*value).is_ok()
        {
            from = SqlType::Integer;
        }
        if !functions::cast_exists(&from, &to) {
            let message = format!("cannot cast type {} to {}", from.name(), to.name());
            return Err(user_error(SqlState::CANNOT_COERCE, message));
        }
    }
    Ok(Transformed::no(expr))
}

/// The value that is assigned to a column, if its type allows it.
pub(super) fn assigned(call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let [value, zero, _, _] = call.args.as_slice() else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let (found, to) = (value.get_type(schema)?, zero.get_type(schema)?);
    functions::assigned(call, &found, &to).map(Transformed::yes)
}

/// The call of our function for a cast that differs; the value where a constant is cast.
pub(super) fn converted(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let to = cast.field.data_type();
    let differs = cast.expr.get_type(schema).is_ok_and(|from| functions::cast_differs(&from, to));
    if !differs {
        return Ok(Transformed::no(Expr::Cast(cast)));
    }
    if let Expr::Literal(value, metadata) = cast.expr.as_ref() {
        if let Some(moving) = functions::moving(value, to) {
            return Ok(Transformed::yes(moving));
        }
        match functions::value_as(value, to) {
            Ok(value) => return Ok(Transformed::yes(Expr::Literal(value, metadata.clone()))),
            // As PostgreSQL, which reads a literal while it plans.
            Err(error) if value.data_type().is_string() => return Err(error),
            Err(_) => {}
        }
    }
    functions::convert(*cast.expr, to).map(Transformed::yes)
}
