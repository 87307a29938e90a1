//! Which operators are those of `jsonb`.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use millrace_types::SqlType;

use super::operators::{is_open, is_untyped, no_operator, typed};
use crate::functions::{self, JsonFunction};

/// The function of an operator over operands of these types; None for what has nothing to do with
/// `jsonb`.
pub(super) fn operator(
    operator: &BinaryOperator,
    types: (Option<&DataType>, Option<&DataType>),
) -> Option<JsonFunction> {
    let is_json = |found: Option<&DataType>| found == Some(&DataType::LargeBinary);
    Some(match operator {
        BinaryOperator::Arrow => JsonFunction::Field,
        BinaryOperator::LongArrow => JsonFunction::FieldText,
        BinaryOperator::HashArrow => JsonFunction::Path,
        BinaryOperator::HashLongArrow => JsonFunction::PathText,
        BinaryOperator::Question => JsonFunction::Exists,
        BinaryOperator::QuestionPipe => JsonFunction::ExistsAny,
        BinaryOperator::QuestionAnd => JsonFunction::ExistsAll,
        BinaryOperator::HashMinus => JsonFunction::DeletePath,
        BinaryOperator::AtQuestion => JsonFunction::PathFound,
        BinaryOperator::AtAt => JsonFunction::PathHolds,
        BinaryOperator::AtArrow if is_json(types.0) || is_json(types.1) => JsonFunction::Contains,
        BinaryOperator::ArrowAt if is_json(types.0) || is_json(types.1) => JsonFunction::Contained,
        BinaryOperator::StringConcat if is_json(types.0) || is_json(types.1) => {
            JsonFunction::Concat
        }
        BinaryOperator::Minus if is_json(types.0) => JsonFunction::Delete,
        _ => return None,
    })
}

/// A call of it, if its operands have types that it takes.
pub(super) fn planned(
    which: JsonFunction,
    operator: &str,
    (left, right): (Expr, Expr),
    schema: &DFSchema,
) -> Result<PlannerResult<RawBinaryExpr>> {
    let json = SqlType::Jsonb.arrow();
    let left = if is_untyped(&left) { typed(left, &json)? } else { left };
    let wants_json =
        matches!(which, JsonFunction::Contains | JsonFunction::Contained | JsonFunction::Concat);
    let right = if wants_json && is_untyped(&right) { typed(right, &json)? } else { right };
    let wants_texts = matches!(
        which,
        JsonFunction::Path
            | JsonFunction::PathText
            | JsonFunction::DeletePath
            | JsonFunction::ExistsAny
            | JsonFunction::ExistsAll
    );
    let texts = DataType::new_list(DataType::Utf8, true);
    let right = if wants_texts && is_untyped(&right) { typed(right, &texts)? } else { right };
    let right = if is_open(&right) { typed(right, &DataType::Utf8)? } else { right };
    let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
    let is_json = |found: &DataType| *found == json || found.is_null();
    if which == JsonFunction::Concat && (left_type.is_string() || right_type.is_string()) {
        // A text beside it makes text of it.
        let (left, right) = (cast(left, DataType::Utf8), cast(right, DataType::Utf8));
        let op = BinaryOperator::StringConcat;
        return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
    }
    let is_list =
        |found: &DataType| matches!(found, DataType::List(field) if field.data_type().is_string());
    let fits = match which {
        JsonFunction::Contains | JsonFunction::Contained | JsonFunction::Concat => {
            is_json(&right_type)
        }
        JsonFunction::Field | JsonFunction::FieldText => {
            right_type.is_string() || right_type.is_integer() || right_type.is_null()
        }
        JsonFunction::Exists | JsonFunction::PathFound | JsonFunction::PathHolds => {
            right_type.is_string() || right_type.is_null()
        }
        JsonFunction::Delete => {
            right_type.is_string() || right_type.is_integer() || is_list(&right_type)
        }
        _ => is_list(&right_type) || right_type.is_null(),
    };
    match is_json(&left_type) && fits {
        true => Ok(PlannerResult::Planned(functions::json(which, vec![left, right]))),
        false => Err(no_operator(&left_type, operator, &right_type)),
    }
}
