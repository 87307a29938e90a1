//! Arrays and records among operands: literals that take their types, and the ways into them.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::binary::comparison_coercion;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::planner::{PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit, when};
use millrace_types::{Report, SqlState};

use super::operators::{is_untyped, typed};
use crate::functions::{self, JsonFunction, user_error};

/// Two operands, of which a literal takes the type of an array or a record beside it.
pub(super) fn beside(left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    let nested = |expr: &Expr| expr.get_type(schema).ok().filter(DataType::is_nested);
    Ok(match (nested(&left), nested(&right)) {
        (Some(wanted), None) if is_untyped(&right) => (left, typed(right, &wanted)?),
        (None, Some(wanted)) if is_untyped(&left) => (typed(left, &wanted)?, right),
        _ => (left, right),
    })
}

/// Two arrays or records that are compared: by their order, and where equal ones differ in bits.
pub(super) fn compared(
    operator: &str,
    (left, right): (Expr, Expr),
    types: (&DataType, &DataType),
) -> Result<(Expr, Expr)> {
    let by_key = operator != "=" && operator != "<>" && operator != "!=";
    if !by_key && !looks_different(types.0) && !looks_different(types.1) {
        return Ok((left, right));
    }
    let Some(common) = comparison_coercion(types.0, types.1) else { return Ok((left, right)) };
    let key = |expr: Expr, found: &DataType| -> Result<Expr> {
        let expr = if *found == common { expr } else { typed(expr, &common)? };
        Ok(functions::order_key(expr, false))
    };
    Ok((key(left, types.0)?, key(right, types.1)?))
}

/// True for types whose equal values differ in bits, and for arrays and records of them.
pub(super) fn looks_different(found: &DataType) -> bool {
    match found {
        DataType::List(field) => looks_different(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| looks_different(field.data_type())),
        found => found.is_floating() || matches!(found, DataType::Interval(_)),
    }
}

/// `value[place]` and `value['key']`, of arrays from 1 on, of `jsonb` as `->` does it.
pub(super) fn accessed(
    raw: RawFieldAccessExpr,
    schema: &DFSchema,
) -> Result<PlannerResult<RawFieldAccessExpr>> {
    let found = raw.expr.get_type(schema)?;
    let RawFieldAccessExpr { field_access, expr } = raw;
    Ok(match (&found, field_access) {
        (DataType::LargeBinary, GetFieldAccess::NamedStructField { name }) => {
            let key = Expr::Literal(name, None);
            PlannerResult::Planned(functions::json(JsonFunction::Field, vec![expr, key]))
        }
        (DataType::LargeBinary, GetFieldAccess::ListIndex { key }) => {
            PlannerResult::Planned(functions::json(JsonFunction::Field, vec![expr, *key]))
        }
        (DataType::Struct(fields), GetFieldAccess::NamedStructField { name }) => {
            let wanted = name.try_as_str().flatten().unwrap_or_default();
            if !fields.iter().any(|field| field.name() == wanted) {
                let message = format!("column \"{wanted}\" not found in data type record");
                return Err(user_error(SqlState::UNDEFINED_COLUMN, message));
            }
            let field_access = GetFieldAccess::NamedStructField { name };
            PlannerResult::Original(RawFieldAccessExpr { field_access, expr })
        }
        // From the end, as DataFusion counts below zero, nothing stands in PostgreSQL.
        (DataType::List(_), GetFieldAccess::ListIndex { key }) if !is_positive(&key) => {
            let key = when(key.as_ref().clone().gt(lit(0_i64)), *key).end()?;
            let field_access = GetFieldAccess::ListIndex { key: Box::new(key) };
            PlannerResult::Original(RawFieldAccessExpr { field_access, expr })
        }
        (_, field_access) => PlannerResult::Original(RawFieldAccessExpr { field_access, expr }),
    })
}

/// `IS NULL` and `IS NOT NULL` of a record: of all of its fields.
pub(super) fn fields_are(
    value: Expr,
    is: fn(Box<Expr>) -> Expr,
    schema: &DFSchema,
) -> Result<Transformed<Expr>> {
    let Ok(DataType::Struct(fields)) = value.get_type(schema) else {
        return Ok(Transformed::no(is(Box::new(value))));
    };
    let all = match &value {
        Expr::ScalarFunction(call) if call.name() == "struct" => {
            conjunction(call.args.iter().map(|field| is(Box::new(field.clone()))))
        }
        _ => {
            let field = |field: &FieldRef| get_field(value.clone(), field.name().as_str());
            conjunction(fields.iter().map(|one| is(Box::new(field(one)))))
        }
    };
    Ok(Transformed::yes(all.unwrap_or_else(|| is(Box::new(value)))))
}

/// Turns the greatest and the least of records away, which PostgreSQL does not have either.
pub(super) fn check_extreme(call: &AggregateFunction, schema: &DFSchema) -> Result<()> {
    let name = call.func.name();
    let is_record = |arg: &Expr| matches!(arg.get_type(schema), Ok(DataType::Struct(_)));
    match matches!(name, "max" | "min") && call.params.args.first().is_some_and(is_record) {
        true => Err(DataFusionError::Plan(format!("function {name}(record) does not exist"))),
        false => Ok(()),
    }
}

/// Turns `string_agg` of byteas away: DataFusion's takes them for texts.
pub(super) fn check_joined(call: &AggregateFunction, schema: &DFSchema) -> Result<()> {
    let is_bytes = |arg: &Expr| matches!(arg.get_type(schema), Ok(DataType::Binary));
    match call.func.name() == "string_agg" && call.params.args.first().is_some_and(is_bytes) {
        true => {
            let hint = "Write decode(string_agg(encode(x, 'hex'), ''), 'hex').";
            let report = Report::unsupported("string_agg of bytea").hint(hint);
            Err(DataFusionError::External(Box::new(report)))
        }
        false => Ok(()),
    }
}

fn is_positive(place: &Expr) -> bool {
    matches!(place, Expr::Literal(ScalarValue::Int64(Some(1..)) | ScalarValue::Int32(Some(1..)), _))
}
