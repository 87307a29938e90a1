//! What DataFusion reads in another way than PostgreSQL, written so that both read the same, before
//! names and types are known.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CharacterLength, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Query, Select, SelectItem, SetExpr, Spanned, TableFactor, TimezoneInfo, UnaryOperator, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::scopes::ColumnsOf;
use super::{
    calls, fetch, grouping, like, literal, named_windows, nested, precision, records, scopes,
};
use crate::functions::{self, Regexp};
use crate::names::{self, Quoted, fold};
use crate::regular;
use crate::text::Text;

/// Rewrites a query and all queries inside it; `text` is the statement that holds it.
///
/// # Errors
/// A literal that is no value of its type.
pub(super) fn normalize(
    query: &mut Query,
    text: &str,
    tables: ColumnsOf<'_>,
) -> Result<(), Report> {
    finish(scopes::write_out(query, tables), text)?;
    finish(VisitMut::visit(query, &mut Normalizer), text)
}

/// The same for an expression that stands alone.
///
/// # Errors
/// A literal that is no value of its type.
pub(super) fn normalize_expr(expr: &mut Expr, text: &str) -> Result<(), Report> {
    finish(VisitMut::visit(expr, &mut Normalizer), text)
}

/// What is wrong, and where.
pub(super) type Wrong = Box<(Report, Span)>;

fn finish(flow: ControlFlow<Wrong>, text: &str) -> Result<(), Report> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(wrong) => {
            let (report, span) = *wrong;
            let position = report.position.or_else(|| Text::new(text).position(span.start));
            Err(Report { position, ..report })
        }
    }
}

struct Normalizer;

impl VisitorMut for Normalizer {
    type Break = Wrong;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Wrong> {
        literal::type_rows(&mut query.body);
        grouping::name_casts(query);
        let ordered = calls::ordered(query).and_then(|()| fetch::as_limit(query));
        match ordered.and_then(|()| named_windows::in_order(query)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(wrong) => ControlFlow::Break(wrong),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Wrong> {
        if let Err(wrong) = named_windows::in_select(select) {
            return ControlFlow::Break(wrong);
        }
        if let Some(span) = grouping::aggregate_in_group_by(select) {
            let message = "aggregate functions are not allowed in GROUP BY";
            let report = Report::new(SqlState::GROUPING_ERROR, message);
            return ControlFlow::Break(Box::new((report, span)));
        }
        if let Err(wrong) = calls::misplaced(select) {
            return ControlFlow::Break(wrong);
        }
        grouping::name_positions(select);
        if let Some(condition) = &mut select.selection
            && let Err(report) = records::as_joins(condition)
        {
            return ControlFlow::Break(Box::new((report, condition.span())));
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                literal::type_integer(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Wrong> {
        match names::reserved(relation) {
            Some(ident) => ControlFlow::Break(Box::new((names::not_a_name(ident), ident.span))),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Wrong> {
        match factor {
            TableFactor::Table { name, sample: Some(_), .. } => {
                let report = Report::unsupported("TABLESAMPLE").hint("Filter with WHERE.");
                ControlFlow::Break(Box::new((report, name.span())))
            }
            TableFactor::Table { name, args: Some(args), .. }
                if is_series(name) && args.args.len() == 1 =>
            {
                let message = "function generate_series with one argument does not exist";
                let report = Report::new(SqlState::UNDEFINED_FUNCTION, message);
                let report = report.hint("Give it a start and an end.");
                ControlFlow::Break(Box::new((report, name.span())))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Wrong> {
        if let Expr::Function(function) = expr
            && let Err(report) = calls::written(function)
        {
            return ControlFlow::Break(Box::new((report, expr.span())));
        }
        literal::type_parts(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Wrong> {
        match rewritten(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(new)) => {
                *expr = new;
                ControlFlow::Continue(())
            }
            Err(report) => ControlFlow::Break(Box::new((report, expr.span()))),
        }
    }
}

/// What stands for an expression; None for itself.
fn rewritten(expr: &Expr) -> Result<Option<Expr>, Report> {
    match expr {
        Expr::Interval(literal) => precision::interval(literal, false),
        // DataFusion looks for the column's name.
        Expr::Subquery(query) if has_no_columns(&query.body) => {
            let message = "subquery must return only one column";
            Err(Report::new(SqlState::SYNTAX_ERROR, message))
        }
        Expr::InSubquery { subquery, .. } if has_no_columns(&subquery.body) => {
            Err(Report::new(SqlState::SYNTAX_ERROR, "subquery has too few columns"))
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if has_no_sign(expr) => {
            let (expr, data_type) = (expr.clone(), DataType::BigInt(None));
            let kind = CastKind::DoubleColon;
            let signed = Expr::Cast { kind, expr, data_type, array: false, format: None };
            Ok(Some(Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(signed) }))
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Interval(literal) => precision::interval(literal, true),
            _ => Ok(None),
        },
        Expr::UnaryOp { op, expr } => Ok(prefixed(*op, expr)),
        Expr::Cast { expr, data_type, .. } => match shortened(expr, data_type) {
            Some(shortened) => Ok(Some(shortened)),
            None => precision::cast(expr, data_type),
        },
        Expr::TypedString(typed) => {
            precision::cast(&Expr::Value(typed.value.clone()), &typed.data_type)
        }
        Expr::Collate { expr, collation } => uncollated(expr, collation).map(Some),
        Expr::AtTimeZone { timestamp, time_zone } => {
            let args = vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()];
            Ok(Some(call("timezone", args)))
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            similar_to(*negated, expr, pattern, escape_char.as_ref()).map(Some)
        }
        Expr::Function(function) if is_series(&function.name) => Ok(series(function)),
        Expr::Function(function) if is_named(&function.name, "localtime") => {
            let name = ObjectName::from(vec![Ident::new("localtimestamp")]);
            let moment = Expr::Function(Function { name, ..function.clone() });
            let (kind, expr) = (CastKind::Cast, Box::new(moment));
            let data_type = DataType::Time(None, TimezoneInfo::None);
            Ok(Some(Expr::Cast { kind, expr, data_type, array: false, format: None }))
        }
        Expr::Function(function) if is_named(&function.name, "timeofday") => {
            let text = Value::SingleQuotedString("Dy Mon DD HH24:MI:SS.US YYYY TZ".to_owned());
            let args = vec![call("now", Vec::new()), Expr::Value(text.with_span(expr.span()))];
            Ok(Some(call("to_char", args)))
        }
        Expr::Function(function) => match remainder(function) {
            Some(remainder) => Ok(Some(remainder)),
            None => nested::function(function),
        },
        Expr::CompoundFieldAccess { root, access_chain } => Ok(nested::access(root, access_chain)),
        Expr::Value(value) => Ok(match &value.value {
            Value::Number(digits, _) => literal::number(digits, value.span),
            Value::UnicodeStringLiteral(text) | Value::NationalStringLiteral(text) => {
                let text = Value::SingleQuotedString(text.clone()).with_span(value.span);
                Some(Expr::Value(text))
            }
            _ => None,
        }),
        other => matched(other),
    }
}

/// What stands for a comparison with a pattern, a form or the elements of an array.
fn matched(expr: &Expr) -> Result<Option<Expr>, Report> {
    match expr {
        Expr::Like { .. } | Expr::ILike { .. } => like::rewritten(expr),
        Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => {
            Ok(Some(call("starts_with", vec![left.as_ref().clone(), right.as_ref().clone()])))
        }
        Expr::IsNormalized { expr, form, negated } => {
            let form = form.as_ref().map_or("NFC".to_owned(), ToString::to_string);
            let form = Value::SingleQuotedString(form).with_span(Span::empty());
            let found = call("is_normalized", vec![expr.as_ref().clone(), Expr::Value(form)]);
            let op = UnaryOperator::Not;
            Ok(Some(match negated {
                true => Expr::Nested(Box::new(Expr::UnaryOp { op, expr: Box::new(found) })),
                false => found,
            }))
        }
        Expr::AnyOp { left, compare_op, right, .. } if like::is_pattern(compare_op) => {
            like::quantified(left, compare_op, "ANY", right).map(Some)
        }
        Expr::AllOp { left, compare_op, right } if like::is_pattern(compare_op) => {
            like::quantified(left, compare_op, "ALL", right).map(Some)
        }
        Expr::AnyOp { left, compare_op, right, .. } => Ok(nested::any(left, compare_op, right)),
        Expr::AllOp { left, compare_op, right } => {
            Ok(nested::as_array(left, right).map(|right| Expr::AllOp {
                left: left.clone(),
                compare_op: compare_op.clone(),
                right: Box::new(right),
            }))
        }
        other => records::rewritten(other),
    }
}

/// True for `SELECT FROM t`.
fn has_no_columns(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.projection.is_empty(),
        SetExpr::Query(query) => has_no_columns(&query.body),
        SetExpr::SetOperation { left, .. } => has_no_columns(left),
        _ => false,
    }
}

/// True for counts and places, which DataFusion keeps without a sign.
fn has_no_sign(expr: &Expr) -> bool {
    const NAMES: [&str; 6] =
        ["row_number", "rank", "dense_rank", "ntile", "regr_count", "approx_distinct"];
    match expr {
        Expr::Nested(inner) => has_no_sign(inner),
        Expr::Function(function) => NAMES.iter().any(|name| is_named(&function.name, name)),
        _ => false,
    }
}

/// Operators before a number for which there are functions.
fn prefixed(op: UnaryOperator, operand: &Expr) -> Option<Expr> {
    let name = match op {
        UnaryOperator::PGAbs => "abs",
        UnaryOperator::PGSquareRoot => "sqrt",
        UnaryOperator::PGCubeRoot => "cbrt",
        UnaryOperator::BitwiseNot => {
            let left = Box::new(Expr::Nested(Box::new(operand.clone())));
            let ones = Expr::Value(Value::Number("-1".to_owned(), false).into());
            let op = BinaryOperator::PGBitwiseXor;
            let flipped = Expr::BinaryOp { left, op, right: Box::new(ones) };
            return Some(Expr::Nested(Box::new(flipped)));
        }
        _ => return None,
    };
    Some(call(name, vec![operand.clone()]))
}

/// True for the function that gives many rows; DataFusion's makes an array of them in an expression.
pub(super) fn is_series(name: &ObjectName) -> bool {
    is_named(name, "generate_series")
}

/// True for a function of a name.
pub(super) fn is_named(name: &ObjectName, wanted: &str) -> bool {
    let last = name.0.last().and_then(ObjectNamePart::as_ident);
    last.is_some_and(|ident| ident.value.eq_ignore_ascii_case(wanted))
}

/// `generate_series(...)` in a select list: its list, spread over rows.
fn series(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let mut args = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else { return None };
        let mut arg = arg.clone();
        literal::type_integer(&mut arg);
        args.push(arg);
    }
    Some(call("unnest", vec![call(functions::SERIES, args)]))
}

/// A cast to `varchar(n)` takes the first n characters.
fn shortened(expr: &Expr, data_type: &DataType) -> Option<Expr> {
    let (DataType::Varchar(length)
    | DataType::CharacterVarying(length)
    | DataType::CharVarying(length)) = data_type
    else {
        return None;
    };
    let Some(CharacterLength::IntegerLength { length, .. }) = length else { return None };
    let text = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr.clone()),
        data_type: DataType::Text,
        array: false,
        format: None,
    };
    let length = Expr::Value(Value::Number(length.to_string(), false).with_span(expr.span()));
    Some(call("left", vec![text, length]))
}

/// Text is compared by its bytes, which is what these collations say.
fn uncollated(expr: &Expr, collation: &ObjectName) -> Result<Expr, Report> {
    let name = collation.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    match name.as_str() {
        "C" | "POSIX" | "default" | "ucs_basic" => Ok(Expr::Nested(Box::new(expr.clone()))),
        "und-x-icu" | "en_US" | "en-US-x-icu" => {
            Err(Report::unsupported(format!("collation {}", Quoted(&name)))
                .hint("Text is compared by its bytes: COLLATE \"C\"."))
        }
        _ => {
            let message =
                format!("collation {} for encoding \"UTF8\" does not exist", Quoted(&name));
            Err(Report::new(SqlState::UNDEFINED_OBJECT, message))
        }
    }
}

pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let unnamed = |arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
    let args = args.into_iter().map(unnamed).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `mod(a, b)` is `a % b`.
fn remainder(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
    ] = list.args.as_slice()
    else {
        return None;
    };
    let nested = |expr: &Expr| Box::new(Expr::Nested(Box::new(expr.clone())));
    (fold(name) == "mod").then(|| {
        let (left, right) = (nested(left), nested(right));
        Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Modulo, right }))
    })
}

fn similar_to(
    negated: bool,
    expr: &Expr,
    pattern: &Expr,
    escape: Option<&ValueWithSpan>,
) -> Result<Expr, Report> {
    let escape = match escape.map(|escape| &escape.value) {
        None => "\\",
        Some(Value::SingleQuotedString(text)) => text,
        Some(_) => return Err(regular::no_escape()),
    };
    let constant = match pattern {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) => {
            Some((text, *span))
        }
        _ => None,
    };
    let pattern = match constant {
        Some((text, span)) => {
            let text = regular::similar(text, regular::escape_of(escape)?)?;
            Expr::Value(Value::SingleQuotedString(text).with_span(span))
        }
        None => {
            let escape = Value::SingleQuotedString(escape.to_owned()).with_span(Span::empty());
            call(Regexp::Similar.name(), vec![pattern.clone(), Expr::Value(escape)])
        }
    };
    let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let (left, right) = (Box::new(expr.clone()), Box::new(pattern));
    Ok(Expr::Nested(Box::new(Expr::BinaryOp { left, op, right })))
}
