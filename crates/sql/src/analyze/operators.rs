//! Which operator is meant: operands of different types get the types that PostgreSQL gives them.
//!
//! A text literal whose type nobody wrote takes the type of the other side; numeric meets double
//! precision as double precision; what has no operator in PostgreSQL has none here. This happens while
//! names are resolved, so that every type above follows from it ([`Operators`]); lists and ranges
//! have no hook there and are adapted by a rule ([`adapt`]).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{InList, Placeholder};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr, RawWindowExpr,
};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use millrace_types::{NUMERIC_PRECISION, NUMERIC_SCALE, SqlType};

use super::equal::by_length;
use super::{choices, concat, json, nested};
use crate::error;
use crate::functions::{self, Arithmetic, ArraySets, bare_name};
use crate::names::is_merged;

/// Plans `left operator right` as PostgreSQL resolves it.
#[derive(Debug)]
pub(crate) struct Operators;

impl ExprPlanner for Operators {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(functions::extract(args)))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(functions::substring(args)))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(functions::overlay(args)))
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(functions::position(args)))
    }

    fn plan_aggregate(&self, expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let args = expr.args.into_iter().map(named).collect();
        Ok(PlannerResult::Original(RawAggregateExpr { args, ..expr }))
    }

    fn plan_window(&self, expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let args = expr.args.into_iter().map(named).collect();
        Ok(PlannerResult::Original(RawWindowExpr { args, ..expr }))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        nested::accessed(expr, schema)
    }

    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        let (left, right) = (merged(left, schema)?, merged(right, schema)?);
        let compares = matches!(
            op,
            BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
        );
        if compares {
            let (left, right) = compared(&op.to_string(), left, right, schema)?;
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        let types = (type_of(&left, schema), type_of(&right, schema));
        if let Some(which) = json::operator(&op, (types.0.as_ref(), types.1.as_ref())) {
            return json::planned(which, &op.to_string(), (left, right), schema);
        }
        if op == BinaryOperator::StringConcat {
            return concat::joined(op, left, right, schema);
        }
        if op == BinaryOperator::PGOverlap {
            let (left, right) = nested::beside(left, right, schema)?;
            let planned = functions::array_sets(ArraySets::Overlaps, left, right);
            return Ok(PlannerResult::Planned(planned));
        }
        if matches!(op, BinaryOperator::AtArrow | BinaryOperator::ArrowAt) {
            let (left, right) = nested::beside(left, right, schema)?;
            let (whole, part) =
                if op == BinaryOperator::AtArrow { (left, right) } else { (right, left) };
            let planned = functions::array_sets(ArraySets::Contains, whole, part);
            return Ok(PlannerResult::Planned(planned));
        }
        if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
            let flag = |expr: Expr| match is_open(&expr) {
                true => typed(expr, &DataType::Boolean),
                false => Ok(expr),
            };
            let (left, right) = (flag(left)?, flag(right)?);
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        if matches!(op, BinaryOperator::PGBitwiseShiftLeft | BinaryOperator::PGBitwiseShiftRight) {
            return shifted(op, left, right, schema);
        }
        let arithmetic = match op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Modulo,
            _ => return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        };
        calculated(op, arithmetic, (left, right), schema)
    }
}

/// `left << right`: the result has the type of the left side, whatever the number of places is.
fn shifted(
    op: BinaryOperator,
    left: Expr,
    right: Expr,
    schema: &DFSchema,
) -> Result<PlannerResult<RawBinaryExpr>> {
    let (left, _) = narrowed(left, Expr::Literal(ScalarValue::Null, None), schema);
    let right = match left.get_type(schema) {
        Ok(wanted) if wanted.is_signed_integer() => typed(right, &wanted)?,
        _ => right,
    };
    Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
}

/// The expression with names written out that several columns have of which USING or NATURAL has made one.
fn merged(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    if !schema.iter().any(|(table, _)| table.is_some_and(|table| is_merged(table.table()))) {
        return Ok(expr);
    }
    Ok(expr.transform_up(|part| Ok(merged_name(part, schema)))?.data)
}

fn merged_name(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Column(Column { relation: None, name, .. }) = &expr else {
        return Transformed::no(expr);
    };
    let found = schema.columns_with_unqualified_name(name).into_iter();
    let is_merged =
        |column: &Column| column.relation.as_ref().is_some_and(|table| is_merged(table.table()));
    let mut merged = found.filter(is_merged);
    match (merged.next(), merged.next()) {
        (Some(column), None) => Transformed::yes(Expr::Column(column)),
        _ => Transformed::no(expr),
    }
}

/// An argument under a name of its own if it is a cast: DataFusion gives a cast the name of what is
/// cast, so that `avg(x)` and `avg(x::real)` would be one column.
fn named(arg: Expr) -> Expr {
    match &arg {
        Expr::Cast(cast) if !matches!(cast.expr.as_ref(), Expr::Literal(..)) => {
            let wanted = bare_name(cast.field.data_type());
            let name = format!("{}::{wanted}", cast.expr.schema_name());
            arg.alias(name)
        }
        _ => arg,
    }
}

/// Adapts the items of a list, the bounds of a range and the sides of IS DISTINCT FROM.
pub(super) fn adapt(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::InList(InList { expr, list, negated }) => {
            let (mut value, mut adapted) = (*expr, Vec::with_capacity(list.len()));
            for item in list {
                let (left, right) = compared("=", value, item, schema)?;
                value = left;
                adapted.push(right);
            }
            let list = InList { expr: Box::new(value), list: adapted, negated };
            Ok(Transformed::yes(Expr::InList(list)))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let (value, low) = compared(">=", *expr, *low, schema)?;
            let (value, high) = compared("<=", value, *high, schema)?;
            let (low, high) = (Box::new(low), Box::new(high));
            let between = Between { expr: Box::new(value), negated, low, high };
            Ok(Transformed::yes(Expr::Between(between)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) =>
        {
            let (left, right) = compared("=", *left, *right, schema)?;
            let binary = BinaryExpr { left: Box::new(left), op, right: Box::new(right) };
            Ok(Transformed::yes(Expr::BinaryExpr(binary)))
        }
        Expr::AggregateFunction(call) => {
            nested::check_extreme(&call, schema)?;
            nested::check_joined(&call, schema)?;
            Ok(Transformed::no(Expr::AggregateFunction(call)))
        }
        Expr::WindowFunction(call) => Ok(by_length(*call, schema)),
        Expr::IsNull(value) => nested::fields_are(*value, Expr::IsNull, schema),
        Expr::IsNotNull(value) => nested::fields_are(*value, Expr::IsNotNull, schema),
        Expr::Case(case) => choices::of_case(case, schema),
        Expr::ScalarFunction(call) if matches!(call.name(), "concat" | "concat_ws") => {
            Ok(concat::shown(call, schema))
        }
        Expr::ScalarFunction(call) => choices::of_call(call, schema),
        other => Ok(Transformed::no(other)),
    }
}

/// Types that compare with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    Number,
    Text,
    Bytes,
    Jsonb,
    Uuid,
    Date,
    Time,
    Interval,
}

fn kind(data_type: &DataType) -> Option<Kind> {
    if data_type.is_null() {
        return None;
    }
    Some(match SqlType::of_arrow(data_type)? {
        SqlType::Boolean => Kind::Boolean,
        SqlType::SmallInt
        | SqlType::Integer
        | SqlType::BigInt
        | SqlType::Numeric(_)
        | SqlType::Real
        | SqlType::Double => Kind::Number,
        SqlType::Text => Kind::Text,
        SqlType::Bytea => Kind::Bytes,
        SqlType::Jsonb => Kind::Jsonb,
        SqlType::Uuid => Kind::Uuid,
        SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz => Kind::Date,
        SqlType::Time => Kind::Time,
        SqlType::Interval => Kind::Interval,
        SqlType::Array(_) | SqlType::Struct(_) => return None,
    })
}

/// The types of two operands; None where one is not known yet.
pub(super) fn types(left: &Expr, right: &Expr, schema: &DFSchema) -> Option<(DataType, DataType)> {
    Some((type_of(left, schema)?, type_of(right, schema)?))
}

/// The type of an operand: a parameter without one is a text until something beside it says what it is, as
/// a literal is.
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    if is_open(expr) { Some(DataType::Utf8) } else { expr.get_type(schema).ok() }
}

/// A text literal whose type nobody wrote, or a parameter.
pub(super) fn is_untyped(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _)) || is_open(expr)
}

/// A parameter that has no type yet.
pub(super) fn is_open(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(Placeholder { field: None, .. }))
}

pub(super) fn no_operator(left: &DataType, operator: &str, right: &DataType) -> DataFusionError {
    let report = error::no_operator(&bare_name(left), operator, &bare_name(right));
    DataFusionError::External(Box::new(report))
}

/// Two operands of a comparison.
pub(super) fn compared(
    operator: &str,
    left: Expr,
    right: Expr,
    schema: &DFSchema,
) -> Result<(Expr, Expr)> {
    let (left, right) = narrowed(left, right, schema);
    let (left, right) = nested::beside(left, right, schema)?;
    let Some((left_type, right_type)) = types(&left, &right, schema) else {
        return Ok((left, right));
    };
    if left_type.is_nested() && right_type.is_nested() {
        return nested::compared(operator, (left, right), (&left_type, &right_type));
    }
    let (Some(left_kind), Some(right_kind)) = (kind(&left_type), kind(&right_type)) else {
        return Ok((left, right));
    };
    if functions::is_span(&left) && right_kind == Kind::Interval {
        return Ok((left, functions::span(right)));
    }
    if functions::is_span(&left) && is_untyped(&right) {
        let interval = typed(right, &SqlType::Interval.arrow())?;
        return Ok((left, functions::span(interval)));
    }
    if left_kind != right_kind {
        return match (is_untyped(&left), is_untyped(&right)) {
            (true, _) => compared(operator, typed(left, &right_type)?, right, schema),
            (_, true) => {
                let right = typed(right, &left_type)?;
                compared(operator, left, right, schema)
            }
            _ => Err(no_operator(&left_type, operator, &right_type)),
        };
    }
    if left_kind == Kind::Interval {
        return Ok((functions::span(left), functions::span(right)));
    }
    // DataFusion compares a date and a time as nanoseconds, which hold three centuries on each side.
    match (&left_type, &right_type) {
        (DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            return Ok((typed(left, &right_type)?, right));
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Date32) => {
            return Ok((left, typed(right, &left_type)?));
        }
        _ => {}
    }
    floating(left, right, (&left_type, &right_type))
}

/// A literal, or what gives a value, as another type.
pub(super) fn typed(expr: Expr, data_type: &DataType) -> Result<Expr> {
    match &expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = Arc::new(Field::new("", data_type.clone(), true));
            Ok(Expr::Placeholder(Placeholder::new_with_field(id.clone(), Some(field))))
        }
        Expr::Literal(value, metadata) => match functions::moving(value, data_type) {
            Some(moving) => Ok(moving),
            None => {
                let read = functions::value_as(value, data_type)?;
                Ok(match functions::is_of_zone(value, data_type) {
                    // The session's zone is told later.
                    true => cast(expr, data_type.clone()),
                    false => Expr::Literal(read, metadata.clone()),
                })
            }
        },
        _ => Ok(cast(expr, data_type.clone())),
    }
}

/// Both as double precision where one is a float and PostgreSQL has no narrower operator.
fn floating(
    left: Expr,
    right: Expr,
    (left_type, right_type): (&DataType, &DataType),
) -> Result<(Expr, Expr)> {
    let one = left_type.is_floating() || right_type.is_floating();
    if !one || left_type == right_type || !(left_type.is_numeric() && right_type.is_numeric()) {
        return Ok((left, right));
    }
    Ok((double(left, left_type)?, double(right, right_type)?))
}

fn double(expr: Expr, data_type: &DataType) -> Result<Expr> {
    match data_type {
        DataType::Float64 => Ok(expr),
        _ => typed(expr, &DataType::Float64),
    }
}

/// Integer literals as integer where they fit, unless a bigint stands beside them anyway.
fn narrowed(left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    // Counts and positions, which DataFusion keeps without a sign, are bigint.
    let signed = |expr: Expr| match expr.get_type(schema) {
        Ok(DataType::UInt64) => cast(expr, DataType::Int64),
        _ => expr,
    };
    let (left, right) = (signed(left), signed(right));
    let is_literal = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Int64(Some(_)), _));
    let is_bigint =
        |e: &Expr| !is_literal(e) && e.get_type(schema).is_ok_and(|found| found == DataType::Int64);
    let keeps = is_bigint(&left) || is_bigint(&right);
    let narrow = |expr: Expr| match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) if !keeps => {
            let narrow = i32::try_from(value).map(|value| ScalarValue::Int32(Some(value)));
            Expr::Literal(narrow.unwrap_or(ScalarValue::Int64(Some(value))), metadata)
        }
        other => other,
    };
    (narrow(left), narrow(right))
}

/// The type that a text literal takes beside a type.
fn beside(operator: Operator, other: &DataType, kind: Kind) -> Option<DataType> {
    match (kind, operator) {
        (Kind::Date | Kind::Time, Operator::Plus) => Some(SqlType::Interval.arrow()),
        (Kind::Interval, Operator::Multiply | Operator::Divide) => Some(DataType::Float64),
        (Kind::Text | Kind::Boolean | Kind::Bytes | Kind::Jsonb | Kind::Uuid, _) => None,
        _ => Some(other.clone()),
    }
}

fn calculated(
    op: BinaryOperator,
    operator: Operator,
    (left, right): (Expr, Expr),
    schema: &DFSchema,
) -> Result<PlannerResult<RawBinaryExpr>> {
    let (mut left, mut right) = narrowed(left, right, schema);
    let original = |left, right| Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
    let Some((mut left_type, mut right_type)) = types(&left, &right, schema) else {
        return original(left, right);
    };
    let (Some(mut left_kind), Some(mut right_kind)) = (kind(&left_type), kind(&right_type)) else {
        return original(left, right);
    };
    if is_untyped(&left)
        && let Some(wanted) = beside(operator, &right_type, right_kind)
    {
        left = typed(left, &wanted)?;
        left_type = wanted;
        left_kind = kind(&left_type).unwrap_or(left_kind);
    } else if is_untyped(&right)
        && let Some(wanted) = beside(operator, &left_type, left_kind)
    {
        right = typed(right, &wanted)?;
        right_type = wanted;
        right_kind = kind(&right_type).unwrap_or(right_kind);
    }
    let kinds = (left_kind, right_kind);
    let types = (&left_type, &right_type);
    let no_such = || Err(no_operator(&left_type, &operator.to_string(), &right_type));
    match kinds {
        (Kind::Number, Kind::Number) => {
            let is_float = left_type.is_floating() || right_type.is_floating();
            if operator == Operator::Modulo && is_float {
                return no_such();
            }
            if let Some(function) = exact(operator, types) {
                return Ok(PlannerResult::Planned(functions::arithmetic(function, left, right)));
            }
            let (left, right) = floating(left, right, types)?;
            original(left, right)
        }
        (Kind::Date | Kind::Time, _) | (_, Kind::Date | Kind::Time) => {
            timely(operator, (left, right), types).map_or_else(no_such, |planned| match planned {
                Timely::Operands(left, right) => original(left, right),
                Timely::Whole(expr) => Ok(PlannerResult::Planned(expr)),
            })
        }
        (Kind::Interval, Kind::Interval) => original(left, right),
        (Kind::Interval, Kind::Number) | (Kind::Number, Kind::Interval) => {
            let function = match (operator, left_kind) {
                (Operator::Multiply, _) => Arithmetic::TimesInterval,
                (Operator::Divide, Kind::Interval) => Arithmetic::DivideInterval,
                _ => return no_such(),
            };
            let (span, factor, factor_type) = match left_kind {
                Kind::Interval => (left, right, &right_type),
                _ => (right, left, &left_type),
            };
            let factor = double(factor, factor_type)?;
            Ok(PlannerResult::Planned(functions::arithmetic(function, span, factor)))
        }
        _ => no_such(),
    }
}

/// The function for exact numbers whose result Arrow's operator would cut short.
fn exact(operator: Operator, (left, right): (&DataType, &DataType)) -> Option<Arithmetic> {
    let is_exact = |t: &DataType| t.is_decimal() || t.is_integer();
    let decimal = left.is_decimal() || right.is_decimal();
    if !decimal || !is_exact(left) || !is_exact(right) {
        return None;
    }
    match operator {
        Operator::Divide => Some(Arithmetic::DivideNumeric),
        Operator::Multiply if !fits(left, right) => Some(Arithmetic::TimesNumeric),
        _ => None,
    }
}

/// True if the product of two types with a fixed scale has a type.
fn fits(left: &DataType, right: &DataType) -> bool {
    let precision = |t: &DataType| match t {
        DataType::Decimal256(NUMERIC_PRECISION, NUMERIC_SCALE) => None,
        DataType::Decimal32(p, _)
        | DataType::Decimal64(p, _)
        | DataType::Decimal128(p, _)
        | DataType::Decimal256(p, _) => Some(u16::from(*p)),
        _ => Some(20),
    };
    let wide =
        matches!(left, DataType::Decimal256(..)) || matches!(right, DataType::Decimal256(..));
    let most = if wide { 76 } else { 38 };
    match (precision(left), precision(right)) {
        (Some(left), Some(right)) => left + right < most,
        _ => false,
    }
}

enum Timely {
    Operands(Expr, Expr),
    Whole(Expr),
}

/// Arithmetic with dates and times; None where PostgreSQL has no operator.
fn timely(
    operator: Operator,
    (left, right): (Expr, Expr),
    types: (&DataType, &DataType),
) -> Option<Timely> {
    use DataType as T;
    let moment = |expr: Expr| cast(expr, T::Timestamp(TimeUnit::Microsecond, None));
    let call = |function, left, right| Timely::Whole(functions::arithmetic(function, left, right));
    Some(match (types.0, operator, types.1) {
        (T::Date32, Operator::Plus | Operator::Minus, T::Interval(_) | T::Duration(_)) => {
            Timely::Operands(moment(left), right)
        }
        (T::Interval(_) | T::Duration(_), Operator::Plus, T::Date32) => {
            Timely::Operands(left, moment(right))
        }
        (T::Date32, Operator::Plus, days) if days.is_integer() => {
            call(Arithmetic::PlusDays, left, right)
        }
        (days, Operator::Plus, T::Date32) if days.is_integer() => {
            call(Arithmetic::PlusDays, right, left)
        }
        (T::Date32, Operator::Minus, days) if days.is_integer() => {
            call(Arithmetic::MinusDays, left, right)
        }
        (T::Date32, Operator::Minus, T::Date32) => call(Arithmetic::DaysBetween, left, right),
        (T::Timestamp(..), Operator::Minus, T::Timestamp(..) | T::Date32)
        | (T::Date32, Operator::Minus, T::Timestamp(..)) => {
            call(Arithmetic::TimeBetween, left, right)
        }
        (T::Date32, Operator::Plus, T::Time64(_)) | (T::Time64(_), Operator::Plus, T::Date32) => {
            let (date, time) = if *types.0 == T::Date32 { (left, right) } else { (right, left) };
            Timely::Operands(moment(date), cast(time, SqlType::Interval.arrow()))
        }
        (
            T::Timestamp(..) | T::Time64(_),
            Operator::Plus | Operator::Minus,
            T::Interval(_) | T::Duration(_),
        )
        | (T::Interval(_) | T::Duration(_), Operator::Plus, T::Timestamp(..) | T::Time64(_)) => {
            Timely::Operands(left, right)
        }
        (T::Time64(_), Operator::Minus, T::Time64(_)) => {
            let span = |time: Expr| cast(time, SqlType::Interval.arrow());
            Timely::Operands(span(left), span(right))
        }
        _ => return None,
    })
}
