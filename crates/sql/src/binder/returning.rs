//! `RETURNING`: a query over the rows that a statement has touched, in the place of its table.
//!
//! Beside further tables (`UPDATE ... FROM`, `DELETE ... USING`) its items may name their columns too. Those are
//! given by the query that finds the rows, behind the columns of the table, and go along with each row that is
//! touched; here their names stand for them. What `*` shows of them is known when that query has been bound: it
//! stands behind a mark there, and its columns get their names from it.
//!
//! Invariants: 1. a column that both have is named in the query that finds the rows as well, which says that it is
//! ambiguous. 2. no query can write the names of what is given.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use millrace_types::Report;

use super::change::{item, marked, qualified, select_of};
use super::columns::name_of;
use super::set::START;
use crate::catalog::{Kind, Object, Table};
use crate::names::fold;
use crate::parser::parse_query;

/// What the columns of further tables are called.
const GIVEN: &str = "\u{0}given";
/// What stands before the columns of a `*`.
const MARK: &str = "\u{0}mark";

/// `RETURNING` of a statement.
#[derive(Clone, Debug)]
pub struct Returning {
    /// Over the rows that were touched; the columns of a `*` are not in it yet.
    query: Box<Query>,
    /// What the statement calls its table.
    alias: Ident,
    items: Vec<Item>,
    /// What the query that finds the rows gives for it, behind all else.
    pub(super) given: Vec<SelectItem>,
    /// How many columns of the table stand first in `*`.
    own: usize,
}

/// A part of the select list.
#[derive(Clone, Debug)]
enum Item {
    /// As it is.
    Plain(Box<SelectItem>),
    /// The columns behind a mark but for the first so many.
    Behind(String, usize),
}

impl Returning {
    /// What the columns are called that were found beside those of the table; they stand behind it.
    pub fn given(found: &[FieldRef]) -> Vec<FieldRef> {
        let named = |(at, field): (usize, &FieldRef)| {
            Arc::new(field.as_ref().clone().with_name(format!("{GIVEN}{at}")))
        };
        found.iter().enumerate().map(named).collect()
    }

    /// How many of the columns beside those of the table are not for it.
    pub(super) fn passes(found: &[FieldRef]) -> usize {
        found.iter().position(|field| field.name() == START).map_or(0, |at| at + 1)
    }

    /// Its query, where these columns were found beside those of the table.
    pub fn query(&self, found: &[FieldRef]) -> Box<Query> {
        let mut query = self.query.clone();
        let shown = |part: &Item| match part {
            Item::Plain(item) => vec![item.as_ref().clone()],
            Item::Behind(mark, passed) => {
                let first = found.iter().position(|field| field.name() == mark);
                let first = first.map_or(found.len(), |at| at + 1);
                let columns = found.iter().enumerate().skip(first);
                let columns = columns.take_while(|(_, field)| !field.name().starts_with(MARK));
                columns
                    .skip(*passed)
                    .map(|(at, of)| item(self.given_at(at), of.name().clone()))
                    .collect()
            }
        };
        select_of(&mut query).projection = self.items.iter().flat_map(shown).collect();
        query
    }

    fn given_at(&self, at: usize) -> Expr {
        qualified(&self.alias, &format!("{GIVEN}{at}"))
    }

    /// All its queries, for who looks what a statement reads.
    pub fn template(&self) -> &Query {
        &self.query
    }

    pub(super) fn template_mut(&mut self) -> &mut Query {
        &mut self.query
    }
}

/// The `RETURNING` of a statement with further tables, or none of them.
///
/// # Errors
/// A name that cannot be parsed again.
pub(super) fn returning(
    items: Option<&[SelectItem]>,
    object: &Object,
    alias: &Ident,
    further: &[TableWithJoins],
) -> Result<Option<Returning>, Report> {
    let (Some(items), Kind::Table(table)) = (items, &object.kind) else { return Ok(None) };
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let shown = match alias.quote_style {
        Some(_) => quoted(&alias.value),
        None => alias.value.clone(),
    };
    let mut query = parse_query(&format!("SELECT 1 FROM {} AS {shown}", quoted(&object.name)))?;
    if let Some(from) = select_of(&mut query).from.first_mut() {
        *from = marked(from, object);
    }
    // Queries in it are seen by who looks for what is read.
    select_of(&mut query).projection = items.to_vec();
    let own = table.full_schema().fields().len();
    let (alias, given) = (alias.clone(), Vec::new());
    let mut returning = Returning { query, alias, items: Vec::new(), given, own };
    if further.is_empty() {
        returning.items = items.iter().map(|item| Item::Plain(Box::new(item.clone()))).collect();
        return Ok(Some(returning));
    }
    let mut names = Vec::new();
    further.iter().for_each(|from| collect_names(from, &mut names));
    items.iter().for_each(|item| returning.add(item, table, &names));
    Ok(Some(returning))
}

fn is_of_wildcard(item: &SelectItem) -> bool {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.starts_with(MARK),
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        _ => false,
    }
}

impl Returning {
    fn add(&mut self, shown: &SelectItem, table: &Table, names: &[String]) {
        match shown {
            SelectItem::Wildcard(_) => {
                self.add_own(table);
                self.add_wildcard(shown.clone(), self.own);
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _)
                if is_one(name, &self.alias) =>
            {
                self.add_own(table);
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), _) => {
                self.add_wildcard(shown.clone(), 0);
            }
            SelectItem::UnnamedExpr(expr) => {
                let (name, mut expr) = (name_of(expr), expr.clone());
                self.write_out(&mut expr, table, names);
                self.items.push(Item::Plain(Box::new(item(expr, name))));
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let (alias, mut expr) = (alias.clone(), expr.clone());
                self.write_out(&mut expr, table, names);
                self.items.push(Item::Plain(Box::new(SelectItem::ExprWithAlias { expr, alias })));
            }
            _ => self.items.push(Item::Plain(Box::new(shown.clone()))),
        }
    }

    /// The columns of the table itself.
    fn add_own(&mut self, table: &Table) {
        for column in &table.columns {
            let shown = item(qualified(&self.alias, &column.name), column.name.clone());
            self.items.push(Item::Plain(Box::new(shown)));
        }
    }

    fn add_wildcard(&mut self, wildcard: SelectItem, passed: usize) {
        let mark = format!("{MARK}{}", self.given.len());
        let marking = Expr::Value(Value::Boolean(true).into());
        self.given.extend([item(marking, mark.clone()), wildcard]);
        self.items.push(Item::Behind(mark, passed));
    }

    /// Names of further tables' columns as what is given for them.
    fn write_out(&mut self, expr: &mut Expr, table: &Table, names: &[String]) {
        let mut named = Named { of: self, table, names, inside: Vec::new() };
        let ControlFlow::Continue(()) = VisitMut::visit(expr, &mut named);
    }

    /// What is given for a name.
    fn give(&mut self, path: Expr) -> Expr {
        let is_it = |given: &SelectItem| match given {
            SelectItem::ExprWithAlias { expr, .. } => *expr == path,
            _ => false,
        };
        let count = self.given.iter().filter(|item| !is_of_wildcard(item)).count();
        let at = self.given[..count].iter().position(is_it);
        if at.is_none() {
            self.given.insert(count, item(path, format!("{GIVEN}{count}")));
        }
        self.given_at(at.unwrap_or(count))
    }
}

fn is_one(name: &ObjectName, alias: &Ident) -> bool {
    match name.0.as_slice() {
        [part] => part.as_ident().is_some_and(|ident| fold(ident) == fold(alias)),
        _ => false,
    }
}

/// What the tables of an item of FROM are called.
fn collect_names(from: &TableWithJoins, names: &mut Vec<String>) {
    let joined = from.joins.iter().map(|join| &join.relation);
    for factor in std::iter::once(&from.relation).chain(joined) {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::NestedJoin { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. } => names.push(fold(&alias.name)),
            TableFactor::Table { name, .. } => {
                names.extend(name.0.last().and_then(|part| part.as_ident()).map(fold));
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                collect_names(table_with_joins, names);
            }
            _ => {}
        }
    }
}

struct Named<'a> {
    of: &'a mut Returning,
    table: &'a Table,
    names: &'a [String],
    /// What the queries around call their own tables.
    inside: Vec<Vec<String>>,
}

impl VisitorMut for Named<'_> {
    type Break = Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        let mut names = Vec::new();
        select.from.iter().for_each(|from| collect_names(from, &mut names));
        self.inside.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Infallible> {
        self.inside.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        let alias = fold(&self.of.alias);
        match expr {
            Expr::Identifier(name) if self.inside.is_empty() => {
                let given = self.of.give(Expr::Identifier(name.clone()));
                let own = self.table.columns.iter().any(|column| column.name == fold(name));
                *expr = match own {
                    true => {
                        let name = name.clone();
                        Expr::CompoundIdentifier(vec![self.of.alias.clone(), name])
                    }
                    false => given,
                };
            }
            Expr::CompoundIdentifier(path) if path.len() == 2 => {
                let table = fold(&path[0]);
                let is_inside = self.inside.iter().flatten().any(|name| *name == table);
                let is_given = self.inside.is_empty() || self.names.contains(&table);
                if table != alias && !is_inside && is_given {
                    *expr = self.of.give(expr.clone());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
