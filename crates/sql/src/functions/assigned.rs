//! `millrace_assigned(value, zero, column, position)`: a value that a statement assigns to a column of the type of
//! the zero; the position is where it stands, as a text, which is empty where that is not known. It stands in a plan until types are known: [`crate::analyze`] looks whether the value may be assigned,
//! and takes it out.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState, SqlType};

use super::cast::{exists, external};
use super::{bare_name, no_function};
use crate::names::Quoted;

/// Its name.
pub(crate) const ASSIGNED: &str = "millrace_assigned";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Assigned {
    signature: Signature,
}

impl Assigned {
    pub(super) fn new() -> Assigned {
        Assigned { signature: Signature::any(4, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Assigned {
    fn name(&self) -> &'static str {
        ASSIGNED
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| no_function(self.name(), types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args.into_iter().next().ok_or_else(|| no_function(ASSIGNED, &[]))
    }
}

/// The value, if it may be assigned; `found` is its type.
pub(crate) fn assigned(call: ScalarFunction, found: &DataType, to: &DataType) -> Result<Expr> {
    let types = match found {
        DataType::Null => None,
        found => SqlType::of_arrow(found).zip(SqlType::of_arrow(to)),
    };
    if types.is_some_and(|(from, to)| !is_assignable(&from, &to)) {
        let column = match call.args.get(2) {
            Some(Expr::Literal(ScalarValue::Utf8(Some(column)), _)) => column.as_str(),
            _ => "",
        };
        let (column, to, found) = (Quoted(column), bare_name(to), bare_name(found));
        let message = format!("column {column} is of type {to} but expression is of type {found}");
        let report = Report::new(SqlState::DATATYPE_MISMATCH, message);
        let position = match call.args.get(3) {
            Some(Expr::Literal(ScalarValue::Utf8(Some(position)), _)) => position.parse().ok(),
            _ => None,
        };
        let report = Report { position, ..report };
        return Err(external(report.hint("You will need to rewrite or cast the expression.")));
    }
    call.args.into_iter().next().ok_or_else(|| no_function(ASSIGNED, &[]))
}

/// True if PostgreSQL casts by itself where a value is assigned.
fn is_assignable(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    match (from, to) {
        (_, T::Text) => true,
        (T::Text, to) => *to == T::Text,
        (T::Array(from), T::Array(to)) => is_assignable(from, to),
        (T::Boolean, T::Integer) | (T::Integer, T::Boolean) => false,
        (T::Jsonb, to) => *to == T::Jsonb,
        (from, to) => exists(from, to),
    }
}
