//! Arrays, records and JSON: what DataFusion does not read, written with what it has.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    ObjectName, ObjectNamePart, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SetExpr, Subscript, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins,
    UnaryOperator, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millrace_types::{Report, SqlState};

use super::syntax::call;
use super::{grouping, literal};
use crate::functions::OBJECT_OF;
use crate::names::fold;

/// The end of a slice without one.
const LAST: &str = "2147483647";

fn value(value: Value) -> Expr {
    Expr::Value(value.with_span(Span::empty()))
}

fn number(digits: &str) -> Expr {
    value(Value::Number(digits.to_owned(), false))
}

/// What stands for a call; None for itself.
pub(super) fn function(function: &Function) -> Result<Option<Expr>, Report> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return Ok(None) };
    let name = fold(name);
    if let FunctionArguments::Subquery(query) = &function.args {
        return if name == "array" { array_of(query).map(Some) } else { Ok(None) };
    }
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    if name == "make_interval" {
        return Ok(interval_parts(list).map(|args| call(&name, args)));
    }
    let mut args = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else { return Ok(None) };
        args.push(arg.clone());
    }
    Ok(match (name.as_str(), args.as_slice()) {
        ("array_upper", [_, _]) => Some(call("array_length", args)),
        ("array_lower", [_, _]) => Some(first_place(args)),
        ("array_fill", [filler, Expr::Array(sizes)]) if !sizes.elem.is_empty() => {
            let filled = |inner, size: &Expr| call("array_repeat", vec![inner, size.clone()]);
            Some(sizes.elem.iter().rev().fold(filler.clone(), filled))
        }
        (
            "jsonb_array_elements"
            | "json_array_elements"
            | "jsonb_array_elements_text"
            | "json_array_elements_text"
            | "jsonb_object_keys"
            | "json_object_keys",
            [_],
        )
        | ("regexp_matches" | "regexp_split_to_table", [_, _] | [_, _, _])
        | ("jsonb_path_query", [_, _] | [_, _, _] | [_, _, _, _]) => {
            Some(call("unnest", vec![Expr::Function(function.clone())]))
        }
        ("normalize", [text, Expr::Identifier(form)]) => Some(normalized(text, form)?),
        // Counted from the midnight before now.
        ("age", [time]) => Some(call("age", vec![call("current_date", Vec::new()), time.clone()])),
        ("jsonb_each" | "json_each" | "jsonb_each_text" | "json_each_text", _) => {
            let report = Report::unsupported(format!("{name} in an expression"));
            return Err(report.hint("Write it in FROM."));
        }
        ("array_remove", [array, removed]) if is_null(removed) => {
            Some(call("array_compact", vec![array.clone()]))
        }
        ("string_to_table", [_, _] | [_, _, _]) => {
            Some(call("unnest", vec![call("string_to_array", args)]))
        }
        // DataFusion's change the first one only.
        ("array_remove", [_, _]) => Some(call("array_remove_all", args)),
        ("array_replace", [_, _, _]) => Some(call("array_replace_all", args)),
        ("jsonb_agg" | "json_agg", [_]) => {
            Some(call("to_jsonb", vec![aggregated(function, list, args)]))
        }
        ("jsonb_object_agg" | "json_object_agg", [key, item]) => {
            let text = |text: &str| value(Value::SingleQuotedString(text.to_owned()));
            let pair = vec![text("k"), key.clone(), text("v"), item.clone()];
            let pairs = aggregated(function, list, vec![call("named_struct", pair)]);
            Some(call(OBJECT_OF, vec![pairs]))
        }
        _ => None,
    })
}

/// `normalize(text, form)`, whose form is a word.
fn normalized(text: &Expr, form: &Ident) -> Result<Expr, Report> {
    let form = fold(form).to_uppercase();
    if !["NFC", "NFD", "NFKC", "NFKD"].contains(&form.as_str()) {
        let message = format!("syntax error at or near \"{form}\"");
        return Err(Report::new(SqlState::SYNTAX_ERROR, message));
    }
    Ok(call("normalize", vec![text.clone(), value(Value::SingleQuotedString(form))]))
}

/// True for the word NULL, cast to a type or not.
fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_null(inner),
        Expr::Value(value) => value.value == Value::Null,
        _ => false,
    }
}

/// All arguments of `make_interval`, which may be named or left out.
fn interval_parts(list: &FunctionArgumentList) -> Option<Vec<Expr>> {
    const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let mut parts = vec![number("0"); NAMES.len()];
    for (at, arg) in list.args.iter().enumerate() {
        let (at, FunctionArgExpr::Expr(arg)) = (match arg {
            FunctionArg::Unnamed(arg) => (Some(at), arg),
            FunctionArg::Named { name, arg, .. }
            | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                (NAMES.iter().position(|part| *part == fold(name)), arg)
            }
            FunctionArg::ExprNamed { .. } => return None,
        }) else {
            return None;
        };
        *parts.get_mut(at?)? = arg.clone();
    }
    Some(parts)
}

/// The same call of `array_agg`, with its filter, order and window.
fn aggregated(function: &Function, list: &FunctionArgumentList, args: Vec<Expr>) -> Expr {
    let unnamed = |arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
    let args = args.into_iter().map(unnamed).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("array_agg")]),
        args: FunctionArguments::List(FunctionArgumentList { args, ..list.clone() }),
        ..function.clone()
    })
}

/// `CASE WHEN array_length(a, d) IS NOT NULL THEN 1 END`
fn first_place(args: Vec<Expr>) -> Expr {
    let length = call("array_length", args);
    let mut first = number("1");
    literal::type_integer(&mut first);
    case(Expr::IsNotNull(Box::new(length)), first, None)
}

/// `CASE WHEN condition THEN result ELSE otherwise END`
pub(super) fn case(condition: Expr, result: Expr, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: otherwise.map(Box::new),
    }
}

/// A bound of a slice, or the least there is: DataFusion counts below zero from the end.
fn at_least(least: i64, bound: &Expr) -> Expr {
    let literal = || number(&least.to_string());
    match literal::digits_of(bound).and_then(|digits| digits.parse::<i64>().ok()) {
        Some(place) if place >= least => bound.clone(),
        Some(_) => literal(),
        None => {
            let (left, right) = (Expr::Nested(Box::new(bound.clone())), Box::new(literal()));
            let op = BinaryOperator::Lt;
            let below = Expr::BinaryOp { left: Box::new(left), op, right };
            case(below, literal(), Some(bound.clone()))
        }
    }
}

/// `ARRAY(SELECT ...)`: `coalesce((SELECT array_agg(c) FROM (SELECT ...) AS s (c)), ARRAY[])`, or over the
/// FROM itself, which may name outer columns.
pub(super) fn array_of(query: &Query) -> Result<Expr, Report> {
    let empty = call("make_array", Vec::new());
    let outer = match gathered(query) {
        Some(gathered) => gathered,
        None => over_whole(query)?,
    };
    Ok(call("coalesce", vec![Expr::Subquery(Box::new(outer)), empty]))
}

/// `SELECT x FROM ... ORDER BY y` as `SELECT array_agg(x ORDER BY y) FROM ...`; None for queries with more
/// clauses.
fn gathered(query: &Query) -> Option<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let is_plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
        && grouping::is_row_by_row(value);
    let order = match &query.order_by {
        None => Vec::new(),
        Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) => order.clone(),
        Some(_) => return None,
    };
    // Names and positions of the select list are none inside a call.
    let is_key = |order: &OrderByExpr| !matches!(order.expr, Expr::Identifier(_) | Expr::Value(_));
    let names_itself = |order: &OrderByExpr| order.expr == *value;
    if !is_plain || !order.iter().all(|order| is_key(order) || names_itself(order)) {
        return None;
    }
    let Expr::Function(mut all) = call("array_agg", vec![value.clone()]) else { return None };
    if let FunctionArguments::List(list) = &mut all.args
        && !order.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    let projection = vec![SelectItem::UnnamedExpr(Expr::Function(all))];
    let select = Select { projection, ..select.as_ref().clone() };
    Some(Query { body: Box::new(SetExpr::Select(Box::new(select))), ..plain(query) })
}

fn over_whole(query: &Query) -> Result<Query, Report> {
    let column = Ident::with_quote('"', "c");
    let alias = TableAlias {
        explicit: true,
        name: Ident::with_quote('"', "s"),
        columns: vec![TableAliasColumnDef { name: column.clone(), data_type: None }],
        at: None,
    };
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: Some(alias),
        sample: None,
    };
    let all = call("array_agg", vec![Expr::Identifier(column)]);
    let select = Select {
        projection: vec![SelectItem::UnnamedExpr(all)],
        from: vec![TableWithJoins { relation, joins: Vec::new() }],
        ..empty_select(query)?
    };
    Ok(Query { body: Box::new(SetExpr::Select(Box::new(select))), ..plain(query) })
}

fn plain(query: &Query) -> Query {
    Query { with: None, order_by: None, limit_clause: None, fetch: None, ..query.clone() }
}

/// The clauses of a SELECT without any of them.
fn empty_select(query: &Query) -> Result<Select, Report> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(Report::unsupported("ARRAY() over a set operation"));
    };
    Ok(Select {
        distinct: None,
        top: None,
        into: None,
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        group_by: datafusion::sql::sqlparser::ast::GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        ..select.as_ref().clone()
    })
}

/// `value = ANY (array)`, where a NULL in the array leaves open what is not found: DataFusion says no
/// there, but for ALL it says what PostgreSQL does.
pub(super) fn any(left: &Expr, operator: &BinaryOperator, right: &Expr) -> Option<Expr> {
    if matches!(right, Expr::Subquery(_)) || *operator != BinaryOperator::Eq {
        return as_array(left, right).map(|right| Expr::AnyOp {
            left: Box::new(left.clone()),
            compare_op: operator.clone(),
            right: Box::new(right),
            is_some: false,
        });
    }
    let inner = bare(right);
    match inner {
        Expr::Array(array) if !array.elem.is_empty() => Some(Expr::InList {
            expr: Box::new(left.clone()),
            list: array.elem.clone(),
            negated: false,
        }),
        // Its type is asked of the left side.
        Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => None,
        _ => {
            let right = as_array(left, right).unwrap_or_else(|| right.clone());
            let all = Expr::AllOp {
                left: Box::new(left.clone()),
                compare_op: BinaryOperator::NotEq,
                right: Box::new(right),
            };
            let expr = Box::new(Expr::Nested(Box::new(all)));
            Some(Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr })))
        }
    }
}

pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

/// The right side of `value = ALL ('{1,2}')`: an array of what the value is.
pub(super) fn as_array(left: &Expr, right: &Expr) -> Option<Expr> {
    let literal = bare(right);
    let is_text =
        matches!(literal, Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_)));
    is_text.then(|| call(crate::functions::ARRAY_LIKE, vec![literal.clone(), left.clone()]))
}

/// The way into a value as DataFusion reads it: fields by their names in quotes, slices with both ends.
pub(super) fn access(root: &Expr, chain: &[AccessExpr]) -> Option<Expr> {
    // Of `a.b.c` names may be those of a table.
    let named = matches!(root, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let inside = |at: usize| {
        !named || chain[..at].iter().any(|step| matches!(step, AccessExpr::Subscript(_)))
    };
    let mut changed = false;
    let steps = chain.iter().enumerate().map(|(at, step)| match step {
        AccessExpr::Dot(Expr::Identifier(name)) if inside(at) => {
            changed = true;
            let index = value(Value::SingleQuotedString(fold(name)));
            AccessExpr::Subscript(Subscript::Index { index })
        }
        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
            changed = true;
            let bound = |bound: &Option<Expr>, least: i64, all: &str| {
                Some(bound.as_ref().map_or_else(|| number(all), |bound| at_least(least, bound)))
            };
            AccessExpr::Subscript(Subscript::Slice {
                lower_bound: bound(lower_bound, 1, "1"),
                upper_bound: bound(upper_bound, 0, LAST),
                stride: stride.clone(),
            })
        }
        other => other.clone(),
    });
    let access_chain: Vec<AccessExpr> = steps.collect();
    changed.then(|| Expr::CompoundFieldAccess { root: Box::new(root.clone()), access_chain })
}
