//! Names of output columns, as PostgreSQL gives them to expressions without alias: `sum` for
//! `sum(x)`, `?column?` for `1 + 1`.
//!
//! DataFusion would take the expression's text. Every select item that is more than a column gets an
//! alias before planning. A plan's columns must differ in name and SQL's need not: where items share
//! a name, each gets a mark behind it that no query can write and that [`shown`] takes off.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, DataType, Expr, Ident, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TrimWhereField, Visit, VisitMut,
    Visitor, VisitorMut,
};

use crate::names::fold;

/// Between a name and the number that makes it unique.
const MARK: char = '\u{1f}';
const NAMELESS: &str = "?column?";

/// The names, with marks behind those that are given several times.
pub(super) fn unique<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let mark = |(at, name): (usize, &'a str)| {
        let is_shared = names.clone().filter(|other| *other == name).count() > 1;
        if is_shared { format!("{name}{MARK}{at}") } else { name.to_owned() }
    };
    names.clone().enumerate().map(mark).collect()
}

/// A name with a mark behind it.
pub(super) fn marked(name: &str, mark: &str) -> String {
    format!("{name}{MARK}{mark}")
}

/// The name that a client sees.
pub(crate) fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// Gives aliases to the select items of a query and all queries inside it.
pub(super) fn name_outputs(query: &mut Query) {
    let ControlFlow::Continue(()) = VisitMut::visit(query, &mut Namer::default());
}

/// How many queries are around a select.
#[derive(Default)]
struct Namer {
    depth: usize,
}

impl VisitorMut for Namer {
    type Break = Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Infallible> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Infallible> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        name_wholly(select);
        let taken = identifiers(select.having.as_ref());
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && !is_column(expr)
            {
                let name = name_of(expr);
                // HAVING would take the alias for the column of the same name.
                if !taken.contains(&name) {
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: alias(&name) };
                }
            }
        }
        mark_shared(&mut select.projection, self.depth > 1);
        ControlFlow::Continue(())
    }
}

/// Writes `t.*` as `public.t.*` where FROM says `public.t`: the planner knows the table by that name alone.
fn name_wholly(select: &mut Select) {
    let tables = select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    });
    let whole = tables.filter_map(|table| match table {
        TableFactor::Table { name, alias: None, args: None, .. } if name.0.len() > 1 => Some(name),
        _ => None,
    });
    let whole: Vec<ObjectName> = whole.cloned().collect();
    for item in &mut select.projection {
        if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) =
            item
            && name.0.len() == 1
            && let Some(found) = whole.iter().find(|whole| last(whole) == last(name))
        {
            *name = found.clone();
        }
    }
}

pub(super) fn alias(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// The identifiers of an expression.
fn identifiers(expr: Option<&Expr>) -> Vec<String> {
    struct Collector(Vec<String>);
    impl Visitor for Collector {
        type Break = Infallible;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Infallible> {
            match expr {
                Expr::Identifier(ident) => self.0.push(fold(ident)),
                Expr::CompoundIdentifier(idents) => self.0.extend(idents.last().map(fold)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut collector = Collector(Vec::new());
    if let Some(expr) = expr {
        let ControlFlow::Continue(()) = expr.visit(&mut collector);
    }
    collector.0
}

/// Marks aliases that are given twice, and columns that are listed twice. Beside `*`, or the `*` of its own
/// table, a column is; `SELECT t.*, x` may show another table's, whose name a query around it must find.
fn mark_shared(projection: &mut [SelectItem], is_inner: bool) {
    let wildcards: Vec<Option<String>> = projection.iter().filter_map(wildcard).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for item in projection.iter() {
        if let Some(name) = item_name(item) {
            *counts.entry(name).or_default() += 1;
        }
    }
    let mut listed: Vec<Vec<String>> = Vec::new();
    for (at, item) in projection.iter_mut().enumerate() {
        let Some(name) = item_name(item) else { continue };
        let marked = alias(&format!("{name}{MARK}{at}"));
        let shared = counts.get(&name).is_some_and(|count| *count > 1);
        match item {
            SelectItem::ExprWithAlias { alias, .. } if shared => *alias = marked,
            SelectItem::UnnamedExpr(expr) if is_column(expr) => {
                let column = path(expr);
                if wildcards.iter().any(|table| shows(table.as_deref(), &column, is_inner))
                    || listed.iter().any(|other| may_be_same(other, &column))
                {
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: marked };
                } else {
                    listed.push(column);
                }
            }
            _ => {}
        }
    }
}

/// The table of a `*`; None inside for all tables.
fn wildcard(item: &SelectItem) -> Option<Option<String>> {
    match item {
        SelectItem::Wildcard(_) => Some(None),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            Some(last(name))
        }
        SelectItem::QualifiedWildcard(_, _) => Some(None),
        _ => None,
    }
}

/// True if the `*` of a table, or of all, may show a column.
fn shows(table: Option<&str>, column: &[String], is_inner: bool) -> bool {
    match (table, column.get(1)) {
        (None, _) => true,
        (Some(table), Some(own)) => table == own,
        (Some(_), None) => !is_inner,
    }
}

/// The parts of a column's name, the last one first.
fn path(expr: &Expr) -> Vec<String> {
    match expr {
        Expr::Identifier(ident) => vec![fold(ident)],
        Expr::CompoundIdentifier(idents) => idents.iter().rev().map(fold).collect(),
        _ => Vec::new(),
    }
}

/// `id` and `t.id` may be one column, `t.id` and `u.id` are not.
fn may_be_same(one: &[String], other: &[String]) -> bool {
    one.iter().zip(other).all(|(a, b)| a == b)
}

/// The name of an item that is a column or has an alias.
pub(super) fn item_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(fold(ident)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => idents.last().map(fold),
        _ => None,
    }
}

/// PostgreSQL's name for an expression.
pub(super) fn name_of(expr: &Expr) -> String {
    named(expr).map_or_else(|| NAMELESS.to_owned(), |(name, _)| name)
}

/// How well a name fits: a cast and a CASE have a name of their own, which gives way to that of a
/// column or a function inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Weak,
    Strong,
}

fn named(expr: &Expr) -> Option<(String, Fit)> {
    let inside = |expr: &Expr| named(expr).filter(|(_, fit)| *fit == Fit::Strong);
    let weak = |name: &str| Some((name.to_owned(), Fit::Weak));
    match expr {
        Expr::Identifier(ident) => Some((fold(ident), Fit::Strong)),
        Expr::CompoundIdentifier(idents) => Some((idents.last().map(fold)?, Fit::Strong)),
        Expr::Function(function) => Some((last(&function.name)?, Fit::Strong)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => named(inner),
        Expr::Cast { expr: inner, data_type, .. } => {
            inside(inner).or_else(|| weak(&type_word(data_type)))
        }
        Expr::TypedString(typed) => weak(&type_word(&typed.data_type)),
        Expr::Interval(_) => weak("interval"),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Dot(field)) => named(field),
            _ => named(root),
        },
        Expr::Case { else_result, .. } => {
            else_result.as_deref().and_then(inside).or_else(|| weak("case"))
        }
        Expr::Subquery(query) => Some((subquery_name(query)?, Fit::Strong)),
        _ => Some((word(expr)?.to_owned(), Fit::Strong)),
    }
}

/// The name of what has a syntax of its own.
fn word(expr: &Expr) -> Option<&'static str> {
    Some(match expr {
        Expr::Extract { .. } => "extract",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::Position { .. } => "position",
        Expr::Substring { .. } => "substring",
        Expr::Trim { trim_where: Some(TrimWhereField::Leading), .. } => "ltrim",
        Expr::Trim { trim_where: Some(TrimWhereField::Trailing), .. } => "rtrim",
        Expr::Trim { .. } => "btrim",
        Expr::Overlay { .. } => "overlay",
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Exists { .. } => "exists",
        Expr::Array(_) => "array",
        Expr::Tuple(_) => "row",
        _ => return None,
    })
}

fn last(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(|part| part.as_ident()).map(fold)
}

fn subquery_name(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr)] => Some(name_of(expr)),
        [SelectItem::ExprWithAlias { alias, .. }] => Some(fold(alias)),
        _ => None,
    }
}

/// PostgreSQL's own word for a type.
fn type_word(data_type: &DataType) -> String {
    let word = match data_type {
        DataType::SmallInt(_) | DataType::Int2(_) => "int2",
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
        DataType::BigInt(_) | DataType::Int8(_) => "int8",
        DataType::Real | DataType::Float4 => "float4",
        DataType::Float(_) | DataType::Float8 | DataType::Double(_) | DataType::DoublePrecision => {
            "float8"
        }
        DataType::Boolean | DataType::Bool => "bool",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        DataType::Varchar(_) | DataType::CharacterVarying(_) => "varchar",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::Timestamp(_, zone) => match zone.to_string().is_empty() {
            false if zone.to_string().to_uppercase().contains("WITHOUT") => "timestamp",
            false => "timestamptz",
            true => "timestamp",
        },
        DataType::Time(_, _) => "time",
        DataType::Interval { .. } => "interval",
        DataType::Custom(name, _) => return last(name).unwrap_or_default(),
        other => return other.to_string().to_lowercase(),
    };
    word.to_owned()
}
