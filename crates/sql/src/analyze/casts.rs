//! Casts: which there are, and which of them our function does.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, ExprSchemable};
use millrace_types::{SqlState, SqlType};

use crate::functions::{self, user_error};

/// Turns a cast away that PostgreSQL does not have, before others have been added. (A number of days
/// that is added to a date is cast to a duration by DataFusion.)
pub(super) fn check(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Expr::Cast(Cast { expr: inner, field }) = &expr
        && let Ok(from) = inner.get_type(schema)
        && !from.is_null()
        && !(from.is_integer() && matches!(field.data_type(), DataType::Duration(_)))
        && let (Some(from), Some(to)) =
            (SqlType::of_arrow(&from), SqlType::of_arrow(field.data_type()))
        && !functions::cast_exists(&from, &to)
    {
        let (from, to) = (from.name(), to.name());
        let message = format!("cannot cast type {from} to {to}");
        return Err(user_error(SqlState::CANNOT_COERCE, message));
    }
    Ok(Transformed::no(expr))
}

/// The call of our function for a cast that differs; the value where a constant is cast.
pub(super) fn converted(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let to = cast.field.data_type();
    let differs = cast.expr.get_type(schema).is_ok_and(|from| functions::cast_differs(&from, to));
    if !differs {
        return Ok(Transformed::no(Expr::Cast(cast)));
    }
    if let Expr::Literal(value, metadata) = cast.expr.as_ref() {
        match functions::value_as(value, to) {
            Ok(value) => return Ok(Transformed::yes(Expr::Literal(value, metadata.clone()))),
            // As PostgreSQL, which reads a literal while it plans.
            Err(error) if value.data_type().is_string() => return Err(error),
            Err(_) => {}
        }
    }
    functions::convert(*cast.expr, to).map(Transformed::yes)
}
