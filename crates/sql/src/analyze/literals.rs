//! Values of which one becomes the result: branches of CASE, arguments of `coalesce` and its like, columns of
//! a UNION. A text literal among them whose type nobody wrote takes the type of the others; a text beside
//! another type does not fit.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Expr, ExprSchemable};
use millrace_types::SqlState;

use super::operators::{is_untyped, typed};
use crate::functions::{bare_name, user_error};

/// The construct that messages name, for a function that is one.
pub(super) fn construct(function: &str) -> Option<&'static str> {
    match function {
        "coalesce" => Some("COALESCE"),
        "greatest" => Some("GREATEST"),
        "least" => Some("LEAST"),
        _ => None,
    }
}

/// The type that literals take among values of these types, of which some are literals; None if they are
/// texts.
pub(super) fn wanted(construct: &str, values: &[(DataType, bool)]) -> Result<Option<DataType>> {
    let written = values.iter().filter(|(found, untyped)| !untyped && !found.is_null());
    let mut written = written.map(|(found, _)| found);
    let Some(first) = written.next() else { return Ok(None) };
    let mut common = first.clone();
    for found in written {
        if found.is_string() != first.is_string() {
            let (one, other) = (bare_name(first), bare_name(found));
            let message = format!("{construct} types {one} and {other} cannot be matched");
            return Err(user_error(SqlState::DATATYPE_MISMATCH, message));
        }
        common = comparison_coercion(&common, found).unwrap_or(common);
    }
    Ok((!common.is_string()).then_some(common))
}

/// The type that literals among some values take; None if there are none, or they are texts.
pub(super) fn matched<'a>(
    construct: &str,
    values: impl Iterator<Item = &'a Expr>,
    schema: &DFSchema,
) -> Result<Option<DataType>> {
    let found = values.map(|value| Some((value.get_type(schema).ok()?, is_untyped(value))));
    let Some(found) = found.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let wanted = wanted(construct, &found)?;
    Ok(wanted.filter(|_| found.iter().any(|(_, untyped)| *untyped)))
}

/// A literal as a type; all else stays.
pub(super) fn taking(value: Expr, wanted: &DataType) -> Result<Expr> {
    if is_untyped(&value) { typed(value, wanted) } else { Ok(value) }
}
