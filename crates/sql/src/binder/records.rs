//! Row constructors among operators: `(a, b) = (1, 2)` compares field by field, so that a NULL leaves open what
//! the other fields do not decide. Values of a record type are compared whole, by DataFusion.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select,
    SetExpr, TableAliasColumnDef, TableFactor, UnaryOperator, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::nested::case;
use super::syntax::{call, is_named};
use crate::parser::parse_query;

/// The fields of a row constructor.
pub(super) fn fields(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(inner) => fields(inner),
        Expr::Tuple(fields) => Some(fields.clone()),
        Expr::Function(function) if is_named(&function.name, "row") => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let field = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(field)) => Some(field.clone()),
                _ => None,
            };
            list.args.iter().map(field).collect()
        }
        _ => None,
    }
}

/// What stands for an expression over row constructors; None for itself.
pub(super) fn rewritten(expr: &Expr) -> Result<Option<Expr>, Report> {
    Ok(match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
            match (fields(left), fields(right)) {
                (Some(left), Some(right)) if left.len() == 2 && right.len() == 2 => {
                    Some(call("overlaps", left.into_iter().chain(right).collect()))
                }
                _ => {
                    let message = "wrong number of parameters on a side of OVERLAPS expression";
                    return Err(Report::new(SqlState::SYNTAX_ERROR, message));
                }
            }
        }
        Expr::BinaryOp { left, op, right } => match (fields(left), fields(right)) {
            (Some(left), Some(right)) => compared(&left, op, &right)?,
            _ => None,
        },
        Expr::IsDistinctFrom(left, right) => distinct(left, right)?.map(nested),
        Expr::IsNotDistinctFrom(left, right) => distinct(left, right)?.map(not),
        Expr::Between { expr, negated, low, high } => {
            let (Some(value), Some(low), Some(high)) = (fields(expr), fields(low), fields(high))
            else {
                return Ok(None);
            };
            let low = compared(&value, &BinaryOperator::GtEq, &low)?;
            let high = compared(&value, &BinaryOperator::LtEq, &high)?;
            let inside = low.zip(high).map(|(low, high)| binary(low, BinaryOperator::And, high));
            inside.map(|inside| if *negated { not(inside) } else { nested(inside) })
        }
        Expr::InList { expr, list, negated } => {
            let Some(value) = fields(expr) else { return Ok(None) };
            let Some(items) = list.iter().map(fields).collect::<Option<Vec<_>>>() else {
                return Ok(None);
            };
            let mut any: Option<Expr> = None;
            for item in items {
                let Some(equal) = compared(&value, &BinaryOperator::Eq, &item)? else {
                    return Ok(None);
                };
                any = Some(match any {
                    Some(any) => binary(any, BinaryOperator::Or, equal),
                    None => equal,
                });
            }
            any.map(|any| if *negated { not(any) } else { nested(any) })
        }
        Expr::InSubquery { expr, subquery, negated } => match fields(expr) {
            Some(value) => {
                let found = exists(&value, subquery, nested)?;
                let open = exists(&value, subquery, |equal| Expr::IsNull(Box::new(equal)))?;
                let known = |value| Expr::Value(Value::Boolean(value).with_span(Span::empty()));
                let null = Expr::Value(Value::Null.with_span(Span::empty()));
                let otherwise = case(open, null, Some(known(*negated)));
                Some(case(found, known(!*negated), Some(otherwise)))
            }
            None => None,
        },
        _ => None,
    })
}

/// The parts of a condition as joins, where it does not matter whether they are false or NULL: of `(a, b) IN
/// (SELECT ...)`.
pub(super) fn as_joins(condition: &mut Expr) -> Result<(), Report> {
    match condition {
        Expr::Nested(inner) => as_joins(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            as_joins(left)?;
            as_joins(right)
        }
        Expr::InSubquery { expr, subquery, negated } => {
            let Some(value) = fields(expr) else { return Ok(()) };
            *condition = match negated {
                false => exists(&value, subquery, nested)?,
                true => {
                    let may_be = |equal| Expr::IsNotFalse(Box::new(equal));
                    not(exists(&value, subquery, may_be)?)
                }
            };
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `EXISTS (SELECT 1 FROM (query) AS s (...) WHERE condition)`, of the equality of a value with its rows.
fn exists(value: &[Expr], query: &Query, is: impl Fn(Expr) -> Expr) -> Result<Expr, Report> {
    let mut outer = parse_query("SELECT 1 FROM (SELECT 1) AS s WHERE true")?;
    // No query can write these names, so that those of the value are found outside.
    let names: Vec<Ident> =
        (0..value.len()).map(|at| Ident::with_quote('"', format!("\u{0}row{at}"))).collect();
    let columns: Vec<Expr> = names.iter().cloned().map(Expr::Identifier).collect();
    let equal = compared(&columns, &BinaryOperator::Eq, value)?.ok_or_else(unequal)?;
    if let Some(select) = select_of(&mut outer) {
        if let Some(TableFactor::Derived { subquery, alias: Some(alias), .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
        {
            **subquery = query.clone();
            let column = |name| TableAliasColumnDef { name, data_type: None };
            alias.columns = names.into_iter().map(column).collect();
        }
        select.selection = Some(is(equal));
    }
    Ok(Expr::Exists { subquery: outer, negated: false })
}

fn select_of(query: &mut Query) -> Option<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn unequal() -> Report {
    Report::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions")
}

/// A comparison of rows; None for an operator that is none.
fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Result<Option<Expr>, Report> {
    use BinaryOperator as Op;
    // What decides at a field that is not the last one.
    let strict = match op {
        Op::Eq | Op::NotEq => op,
        Op::Lt | Op::LtEq => &Op::Lt,
        Op::Gt | Op::GtEq => &Op::Gt,
        _ => return Ok(None),
    };
    if left.len() != right.len() {
        return Err(unequal());
    }
    let mut pairs = left.iter().zip(right).rev().map(|(left, right)| (left.clone(), right.clone()));
    let Some((last, other)) = pairs.next() else { return Ok(None) };
    let mut whole = field(last, op, other)?;
    for (left, right) in pairs {
        let first = field(left.clone(), strict, right.clone())?;
        whole = match op {
            Op::Eq => binary(first, Op::And, whole),
            Op::NotEq => binary(first, Op::Or, whole),
            _ => {
                let behind = binary(field(left, &Op::Eq, right)?, Op::And, whole);
                binary(first, Op::Or, nested(behind))
            }
        };
    }
    Ok(Some(nested(whole)))
}

/// A comparison of two fields, which may be rows themselves.
fn field(left: Expr, op: &BinaryOperator, right: Expr) -> Result<Expr, Report> {
    if let (Some(left), Some(right)) = (fields(&left), fields(&right))
        && let Some(whole) = compared(&left, op, &right)?
    {
        return Ok(whole);
    }
    Ok(nested(binary(left, op.clone(), right)))
}

/// True where a field is distinct; None unless both are rows.
fn distinct(left: &Expr, right: &Expr) -> Result<Option<Expr>, Report> {
    let (Some(left), Some(right)) = (fields(left), fields(right)) else { return Ok(None) };
    if left.len() != right.len() {
        return Err(unequal());
    }
    let pairs = left.into_iter().zip(right);
    let parts = pairs.map(|(left, right)| Expr::IsDistinctFrom(Box::new(left), Box::new(right)));
    Ok(parts.reduce(|one, other| binary(one, BinaryOperator::Or, other)))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(expr)) }
}
