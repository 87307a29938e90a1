//! Subqueries as clients write them over the catalog, in the forms that the planner knows.
//!
//! 1. `(SELECT x)` is x, `ARRAY(SELECT x)` is `ARRAY[x]`, `ARRAY(SELECT f(x) FROM unnest(list) x)` is
//!    `array_transform(list, x -> f(x))`. 2. What a scalar subquery asks of outer rows alone is asked outside:
//!    `CASE WHEN condition THEN (SELECT ...) END`. 3. Where a row inside has the outer value by an equality, its
//!    own column stands for the outer one in the other conditions. 4. The number of the relation with an outer
//!    row's name, `(SELECT oid FROM pg_class WHERE relname = c.t AND relnamespace = (SELECT oid FROM pg_namespace WHERE
//!    nspname = c.s))`, is that of `to_regclass`, also where an outer join asks for it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, CaseWhen, Expr, FunctionArguments, GroupByExpr, Ident, LambdaFunction,
    LambdaFunctionParameter, LambdaSyntax, OneOrManyWithParens, Query, Select, SelectItem, SetExpr,
    TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::emptied::aggregates;
use super::rewrite::{call, catalog_table, factors, folded, parts};

/// What stands for an expression; None for itself.
pub(super) fn simpler(expr: &mut Expr) -> Option<Expr> {
    match expr {
        Expr::Function(function) => {
            let FunctionArguments::Subquery(query) = &function.args else { return None };
            (parts(&function.name) == ["array"]).then(|| of_array(query)).flatten()
        }
        Expr::Subquery(query) => {
            if let Some((select, value)) = alone(query)
                && select.from.is_empty()
                && !aggregates(select)
            {
                return Some(Expr::Nested(Box::new(value.clone())));
            }
            if let Some(number) = relation_number(query) {
                return Some(number);
            }
            let condition = outer_condition(query)?;
            Some(case(condition, expr.clone()))
        }
        _ => None,
    }
}

/// The number of the relation whose name and schema columns of an outer row are; None for other queries.
fn relation_number(query: &Query) -> Option<Expr> {
    let conditions = number_of(query, "pg_class")?;
    let [one, other] = conditions.as_slice() else { return None };
    let (name, schema) = match (named(one, "relname"), named(other, "relnamespace")) {
        (Some(name), Some(schema)) => (name, schema),
        _ => (named(other, "relname")?, named(one, "relnamespace")?),
    };
    let Expr::Subquery(schema) = schema else { return None };
    let conditions = number_of(schema, "pg_namespace")?;
    let [condition] = conditions.as_slice() else { return None };
    let schema = named(condition, "nspname")?;
    let is_outer =
        |value: &Expr| matches!(value, Expr::CompoundIdentifier(path) if path.len() == 2);
    if !is_outer(name) || !is_outer(schema) {
        return None;
    }
    let quoted = |value: &Expr| call("quote_ident", vec![value.clone()]);
    let point = Expr::Value(Value::SingleQuotedString(".".to_owned()).into());
    let name = call("concat", vec![quoted(schema), point, quoted(name)]);
    Some(call("to_regclass", vec![name]))
}

/// The conditions of `SELECT oid FROM table WHERE ... AND ...`.
fn number_of(query: &Query, table: &str) -> Option<Vec<Expr>> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let mut bare = select.as_ref().clone();
    let condition = bare.selection.take()?;
    let asked = Query { body: Box::new(SetExpr::Select(Box::new(bare))), ..query.clone() };
    let (select, value) = alone(&asked)?;
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, alias: None, args: None, .. } = &from.relation else {
        return None;
    };
    let is_it = from.joins.is_empty()
        && catalog_table(name).as_deref() == Some(table)
        && matches!(value, Expr::Identifier(ident) if folded(ident) == "oid");
    let mut conditions = Vec::new();
    split(condition, &mut conditions);
    is_it.then_some(conditions)
}

/// What a column is compared with by `column = value`.
fn named<'a>(condition: &'a Expr, column: &str) -> Option<&'a Expr> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return None };
    let is_it = matches!(left.as_ref(), Expr::Identifier(ident) if folded(ident) == column);
    is_it.then_some(right.as_ref())
}

/// True for a call that gives any number of rows.
fn gives_rows(value: &Expr) -> bool {
    let rows = ["unnest", "generate_series", "generate_subscripts", "_pg_expandarray"];
    let Expr::Function(function) = value else { return false };
    parts(&function.name).last().is_some_and(|name| rows.contains(&name.as_str()))
}

/// The select of a query and its only value, if it has no other clauses than FROM.
fn alone(query: &Query) -> Option<(&Select, &Expr)> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let is_plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.selection.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
        && select.qualify.is_none()
        && select.distinct.is_none();
    is_plain.then_some((select, value))
}

fn of_array(query: &Query) -> Option<Expr> {
    let (select, value) = alone(query)?;
    if aggregates(select) {
        return None;
    }
    if select.from.is_empty() {
        if gives_rows(value) {
            return None;
        }
        return Some(Expr::Array(Array { elem: vec![value.clone()], named: true }));
    }
    let [from] = select.from.as_slice() else { return None };
    if !from.joins.is_empty() {
        return None;
    }
    let (list, name) = unnested(&from.relation)?;
    let parameter = LambdaFunctionParameter { name, data_type: None };
    let each = Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::One(parameter),
        body: Box::new(value.clone()),
        syntax: LambdaSyntax::Arrow,
    });
    Some(call("array_transform", vec![list, each]))
}

/// The list and the name of its elements, of `unnest(list) name` and `unnest(list) AS t(name)`.
fn unnested(factor: &TableFactor) -> Option<(Expr, Ident)> {
    use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr};
    let (list, alias) = match factor {
        TableFactor::UNNEST { alias, array_exprs, with_ordinality: false, .. } => {
            let [list] = array_exprs.as_slice() else { return None };
            (list.clone(), alias)
        }
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] = args.args.as_slice() else {
                return None;
            };
            (parts(name).last()? == "unnest").then_some((list.clone(), alias))?
        }
        TableFactor::Function { name, args, alias, with_ordinality: false, .. } => {
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] = args.as_slice() else {
                return None;
            };
            (parts(name).last()? == "unnest").then_some((list.clone(), alias))?
        }
        _ => return None,
    };
    let alias = alias.as_ref()?;
    let name = match alias.columns.as_slice() {
        [] => alias.name.clone(),
        [column] => column.name.clone(),
        _ => return None,
    };
    Some((list, name))
}

/// `SELECT item`
pub(super) fn select(item: SelectItem) -> Query {
    static EMPTY: OnceLock<Query> = OnceLock::new();
    let mut query = EMPTY.get_or_init(empty).clone();
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![item];
    }
    query
}

fn empty() -> Query {
    let dialect = datafusion::sql::sqlparser::dialect::PostgreSqlDialect {};
    let parser = datafusion::sql::sqlparser::parser::Parser::new(&dialect);
    let query = parser.try_with_sql("SELECT 1").and_then(|mut parser| parser.parse_query());
    *query.expect("this text is a query")
}

fn case(condition: Expr, result: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: None,
    }
}

/// Takes the conditions on outer rows alone out of a scalar subquery over the catalog, and puts its own
/// columns where outer ones equal them.
fn outer_condition(query: &mut Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let inner = names(select)?;
    let selection = select.selection.take()?;
    let mut conditions = Vec::new();
    split(selection, &mut conditions);
    let equal: Vec<(Vec<Ident>, Vec<Ident>)> =
        conditions.iter().filter_map(|condition| equality(condition, &inner)).collect();
    for condition in &mut conditions {
        if equality(condition, &inner).is_none() {
            let ControlFlow::Continue(()) = VisitMut::visit(condition, &mut Replacing(&equal));
        }
    }
    let may_move = !aggregates(select) && select.having.is_none();
    let (outside, inside): (Vec<Expr>, Vec<Expr>) =
        conditions.into_iter().partition(|one| may_move && is_outer(one, &inner));
    select.selection = inside.into_iter().reduce(and);
    outside.into_iter().reduce(and)
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// The names of the tables of a select that reads the catalog.
fn names(select: &Select) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut reads_catalog = false;
    for factor in factors(select) {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
        reads_catalog |= catalog_table(name).is_some();
        match alias {
            Some(alias) => names.insert(folded(&alias.name)),
            None => names.insert(parts(name).pop()?),
        };
    }
    reads_catalog.then_some(names)
}

fn split(condition: Expr, into: &mut Vec<Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(*left, into);
            split(*right, into);
        }
        Expr::Nested(inner) if matches!(*inner, Expr::BinaryOp { op: BinaryOperator::And, .. }) => {
            split(*inner, into);
        }
        other => into.push(other),
    }
}

/// `inner.x = outer.y`: both paths.
fn equality(condition: &Expr, inner: &BTreeSet<String>) -> Option<(Vec<Ident>, Vec<Ident>)> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return None };
    let (Expr::CompoundIdentifier(left), Expr::CompoundIdentifier(right)) =
        (left.as_ref(), right.as_ref())
    else {
        return None;
    };
    let is_inner =
        |path: &[Ident]| path.first().is_some_and(|table| inner.contains(&folded(table)));
    match (is_inner(left), is_inner(right)) {
        (true, false) => Some((left.clone(), right.clone())),
        (false, true) => Some((right.clone(), left.clone())),
        _ => None,
    }
}

/// Puts inner columns where outer ones equal them.
struct Replacing<'a>(&'a [(Vec<Ident>, Vec<Ident>)]);

impl VisitorMut for Replacing<'_> {
    type Break = Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Expr::CompoundIdentifier(path) = expr {
            let same = |outer: &[Ident]| outer.iter().map(folded).eq(path.iter().map(folded));
            if let Some((inner, _)) = self.0.iter().find(|(_, outer)| same(outer)) {
                *path = inner.clone();
            }
        }
        ControlFlow::Continue(())
    }
}

/// True for a condition that names outer columns and nothing else.
fn is_outer(condition: &Expr, inner: &BTreeSet<String>) -> bool {
    let mut paths = Paths { inner, outer: 0, others: 0 };
    let ControlFlow::Continue(()) = condition.visit(&mut paths);
    paths.outer > 0 && paths.others == 0
}

/// Counts names of outer columns, and what else may depend on inner rows.
struct Paths<'a> {
    inner: &'a BTreeSet<String>,
    outer: usize,
    others: usize,
}

impl Visitor for Paths<'_> {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Infallible> {
        match expr {
            Expr::CompoundIdentifier(path) if path.len() == 2 => {
                match self.inner.contains(&folded(&path[0])) {
                    true => self.others += 1,
                    false => self.outer += 1,
                }
            }
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Subquery(_)
            | Expr::Exists { .. }
            | Expr::InSubquery { .. } => self.others += 1,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
