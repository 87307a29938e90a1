//! `LIKE` and `ILIKE` as DataFusion reads them: with the backslash as escape. Patterns that it reads in another way than
//! PostgreSQL, and those in arrays, go to functions of ours.

use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, Spanned};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, UnaryOperator, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::nested;
use super::syntax::{call, is_named};
use crate::functions::{ILIKE, LIKE, MATCHES};
use crate::regular;

/// What stands for a `LIKE` or `ILIKE`; None for itself.
pub(super) fn rewritten(expr: &Expr) -> Result<Option<Expr>, Report> {
    let (any_case, parts) = match expr {
        Expr::Like { negated, any, expr, pattern, escape_char } => {
            (false, (*negated, *any, expr, pattern, escape_char))
        }
        Expr::ILike { negated, any, expr, pattern, escape_char } => {
            (true, (*negated, *any, expr, pattern, escape_char))
        }
        _ => return Ok(None),
    };
    let (negated, any, text, pattern, escape) = parts;
    let operator = match (negated, any_case) {
        (false, false) => BinaryOperator::PGLikeMatch,
        (false, true) => BinaryOperator::PGILikeMatch,
        (true, false) => BinaryOperator::PGNotLikeMatch,
        (true, true) => BinaryOperator::PGNotILikeMatch,
    };
    if any {
        return quantified(text, &operator, "ANY", pattern).map(Some);
    }
    // The parser takes ALL for a function.
    if let Some(patterns) = all(pattern) {
        return quantified(text, &operator, "ALL", patterns).map(Some);
    }
    let mark = match escape.as_ref().map(|escape| &escape.value) {
        None => "\\",
        Some(Value::SingleQuotedString(mark)) => mark,
        Some(Value::Null) => return Ok(Some(unknown(expr))),
        Some(_) => return Err(regular::no_escape()),
    };
    let mark = regular::escape_of(mark)?;
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), span }) =
        nested::bare(pattern)
    else {
        // A parameter, or a literal with a cast, will be a constant.
        let is_constant = matches!(nested::bare(pattern), Expr::Value(_) | Expr::Cast { .. });
        let stays = is_constant && mark == Some('\\');
        return Ok((!stays).then(|| by_function(any_case, negated, (text, pattern, mark))));
    };
    match with_backslashes(written, mark) {
        None => Ok(Some(by_function(any_case, negated, (text, pattern, mark)))),
        Some(same) if same == *written && escape.is_none() => Ok(None),
        Some(other) => {
            let pattern = Value::SingleQuotedString(other).with_span(*span);
            let (expr, pattern) = (text.clone(), Box::new(Expr::Value(pattern)));
            let escape_char = None;
            Ok(Some(match any_case {
                true => Expr::ILike { negated, any, expr, pattern, escape_char },
                false => Expr::Like { negated, any, expr, pattern, escape_char },
            }))
        }
    }
}

/// The array of `ALL (array)`.
fn all(pattern: &Expr) -> Option<&Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = pattern else {
        return None;
    };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(patterns))] if is_named(name, "all") => {
            Some(patterns)
        }
        _ => None,
    }
}

/// A pattern with backslashes as escapes; None where it ends in its escape.
fn with_backslashes(written: &str, mark: Option<char>) -> Option<String> {
    let mut pattern = String::with_capacity(written.len());
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        match character {
            character if Some(character) == mark => pattern.extend(['\\', characters.next()?]),
            '\\' => pattern.push_str("\\\\"),
            character => pattern.push(character),
        }
    }
    Some(pattern)
}

fn value(value: Value) -> Expr {
    Expr::Value(value.with_span(Span::empty()))
}

fn by_function(
    any_case: bool,
    negated: bool,
    (text, pattern, mark): (&Expr, &Expr, Option<char>),
) -> Expr {
    let mut args = vec![text.clone(), pattern.clone()];
    if mark != Some('\\') {
        args.push(value(Value::SingleQuotedString(mark.map(String::from).unwrap_or_default())));
    }
    let found = call(if any_case { ILIKE } else { LIKE }, args);
    match negated {
        true => {
            let expr = Box::new(found);
            Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr }))
        }
        false => found,
    }
}

/// NULL of a condition, with the place of what it stands for.
fn unknown(expr: &Expr) -> Expr {
    let null = Expr::Value(Value::Null.with_span(expr.span()));
    cast(null, DataType::Boolean)
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    let (kind, expr) = (CastKind::DoubleColon, Box::new(expr));
    Expr::Cast { kind, expr, data_type, array: false, format: None }
}

/// True for an operator that matches patterns.
pub(super) fn is_pattern(operator: &BinaryOperator) -> bool {
    spelled(operator).is_some()
}

fn spelled(operator: &BinaryOperator) -> Option<&'static str> {
    Some(match operator {
        BinaryOperator::PGLikeMatch => "~~",
        BinaryOperator::PGILikeMatch => "~~*",
        BinaryOperator::PGNotLikeMatch => "!~~",
        BinaryOperator::PGNotILikeMatch => "!~~*",
        BinaryOperator::PGRegexMatch => "~",
        BinaryOperator::PGRegexIMatch => "~*",
        BinaryOperator::PGRegexNotMatch => "!~",
        BinaryOperator::PGRegexNotIMatch => "!~*",
        _ => return None,
    })
}

/// `text operator ANY (patterns)`: an array, a literal of one, or a subquery that gives them.
pub(super) fn quantified(
    text: &Expr,
    operator: &BinaryOperator,
    quantifier: &str,
    patterns: &Expr,
) -> Result<Expr, Report> {
    let operator = spelled(operator).ok_or_else(|| {
        Report::new(SqlState::SYNTAX_ERROR, "this operator has no ANY and no ALL")
    })?;
    let patterns = match nested::bare(patterns) {
        Expr::Subquery(query) => nested::array_of(query)?,
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }) => {
            let element = ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None);
            cast(patterns.clone(), DataType::Array(element))
        }
        other => other.clone(),
    };
    let operator = value(Value::SingleQuotedString(format!("{operator} {quantifier}")));
    Ok(call(MATCHES, vec![text.clone(), patterns, operator]))
}
