//! Names whose meaning DataFusion does not find, written out: columns that joins merge, and the values of
//! functions that give the parts of JSON (`FROM jsonb_array_elements(x) AS e`: `e` alone is `e.value`).
//!
//! DataFusion finds merged columns itself but in WHERE, from inside subqueries and where it asks for the type
//! of an expression that they stand in. A name is looked up as SQL
//! does it: in the query that it stands in, then in the one around that. The items of a FROM do not see each
//! other, nor do WITH queries what follows them; a column wins over the name of a table. Joins are folded on
//! the way ([`super::fold`]), as their merged columns are named there.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, VisitMut, VisitorMut, With,
};

use super::fold::Folder;
use super::rows::RowsOf;
use super::table_function::called;
use super::using;
use crate::functions::JsonFunction;
use crate::names::{self, fold};

/// The columns of a table of the catalog.
pub(super) type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<BTreeSet<String>>;

/// Writes such names out in a query and all queries inside it.
pub(super) fn write_out(query: &mut Query, tables: ColumnsOf<'_>) {
    let mut scopes = Scopes {
        tables,
        folder: Folder::default(),
        named: Vec::new(),
        depth: 0,
        scopes: Vec::new(),
        walls: Vec::new(),
        conditions: Vec::new(),
        with: Vec::new(),
        selections: Vec::new(),
    };
    let ControlFlow::Continue(()) = VisitMut::visit(query, &mut scopes);
}

struct Scopes<'a> {
    tables: ColumnsOf<'a>,
    folder: Folder,
    /// The WITH queries so far, and their columns where these are known.
    named: Vec<(String, Option<BTreeSet<String>>)>,
    /// How many queries are around.
    depth: usize,
    scopes: Vec<Scope>,
    /// Depths whose scopes are not seen here.
    walls: Vec<usize>,
    /// Depths whose WHERE is around, or an expression.
    conditions: Vec<usize>,
    /// What has been taken out of the queries around, with the number of WITH queries before.
    with: Vec<(Option<With>, usize)>,
    /// The WHERE of the selects around.
    selections: Vec<Option<Expr>>,
}

/// What the FROM of a select gives names to.
#[derive(Clone, Default)]
struct Scope {
    depth: usize,
    /// The tables of merged columns; None where two of a name stand beside each other.
    merged: BTreeMap<String, Option<Ident>>,
    /// Functions whose name is that of their value.
    values: Vec<Ident>,
    columns: BTreeSet<String>,
    /// There are further columns.
    is_open: bool,
}

impl VisitorMut for Scopes<'_> {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        let before = self.named.len();
        self.depth += 1;
        let mut with = query.with.take();
        for cte in with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            VisitMut::visit(&mut cte.query, self)?;
            let columns = match cte.alias.columns.is_empty() {
                true => outputs(&cte.query),
                false => Some(cte.alias.columns.iter().map(|column| fold(&column.name)).collect()),
            };
            self.named.push((fold(&cte.alias.name), columns));
        }
        self.with.push((with, before));
        // Its ORDER BY sees what the select does.
        if let SetExpr::Select(select) = query.body.as_mut() {
            self.folder.items(&mut select.from);
            let scope = self.scope(select);
            self.scopes.push(scope);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        if matches!(query.body.as_ref(), SetExpr::Select(_)) {
            self.scopes.pop();
        }
        if let Some((with, before)) = self.with.pop() {
            query.with = with;
            self.named.truncate(before);
        }
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        self.folder.items(&mut select.from);
        let scope = self.scope(select);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) = item
                && let Expr::Identifier(name) = expr.clone()
                && scope.values.contains(&name)
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name };
            }
        }
        self.scopes.push(scope);
        let mut selection = select.selection.take();
        if let Some(condition) = &mut selection {
            self.conditions.push(self.depth);
            VisitMut::visit(condition, self)?;
            self.conditions.pop();
        }
        self.selections.push(selection);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        select.selection = self.selections.pop().flatten();
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Infallible> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            self.walls.push(self.depth);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Infallible> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            self.walls.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<Infallible> {
        self.conditions.push(self.depth);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        // What stands alone stays: it may be the name of an output in ORDER BY.
        self.conditions.pop();
        if let Expr::Identifier(name) = expr
            && let Some(path) = self.path(name)
        {
            *expr = Expr::CompoundIdentifier(path);
        }
        ControlFlow::Continue(())
    }
}

impl Scopes<'_> {
    /// What a name stands for, where it has to be written out.
    fn path(&self, name: &Ident) -> Option<Vec<Ident>> {
        let folded = fold(name);
        let seen = |scope: &&Scope| !self.walls.contains(&scope.depth);
        for scope in self.scopes.iter().rev().filter(seen) {
            let is_outside = scope.depth < self.depth;
            match scope.merged.get(&folded) {
                Some(Some(table)) if is_outside || self.conditions.contains(&scope.depth) => {
                    return Some(vec![table.clone(), name.clone()]);
                }
                Some(_) => return None,
                None => {}
            }
            if scope.columns.contains(&folded) {
                return None;
            }
            if scope.values.contains(name) {
                return Some(vec![name.clone(), Ident::new("value")]);
            }
            if scope.is_open && !is_outside {
                // It may be a column, which is nearer than all that is outside.
                let merged = |scope: &Scope| scope.merged.contains_key(&folded);
                if self.scopes.iter().any(merged) {
                    return None;
                }
            }
        }
        None
    }

    fn scope(&self, select: &Select) -> Scope {
        let mut scope = Scope { depth: self.depth, ..Scope::default() };
        for item in &select.from {
            self.collect(item, &mut scope);
        }
        scope
    }

    fn collect(&self, from: &TableWithJoins, scope: &mut Scope) {
        let joined = from.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&from.relation).chain(joined) {
            if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
                let own = alias.as_ref().filter(|alias| names::is_merged(&alias.name.value));
                if alias.is_none() || own.is_some() {
                    self.collect_join(table_with_joins, own, scope);
                    continue;
                }
            }
            match self.columns(factor) {
                Some(columns) => scope.columns.extend(columns),
                None => scope.is_open = true,
            }
            if let Some((RowsOf::Parts(which), Some(alias))) = called(factor)
                && !matches!(which, JsonFunction::Keys | JsonFunction::PathQuery)
                && alias.columns.is_empty()
            {
                scope.values.push(alias.name.clone());
            }
        }
    }

    /// The names of a join in parentheses, with the columns that it merges.
    fn collect_join(&self, join: &TableWithJoins, own: Option<&TableAlias>, scope: &mut Scope) {
        let mut inside = Scope::default();
        self.collect(join, &mut inside);
        if let (Some(table), Some(joined)) = (own, join.joins.first()) {
            let names: Vec<String> = match using::merges(joined) {
                Some((_, None)) => self.common(&join.relation, &joined.relation),
                _ => using::merged_names(joined).collect(),
            };
            for name in names {
                inside.merged.insert(name, Some(table.name.clone()));
            }
        }
        for (name, table) in inside.merged {
            let beside = scope.merged.remove(&name);
            scope.merged.insert(name, if beside.is_some() { None } else { table });
        }
        scope.values.append(&mut inside.values);
        scope.columns.append(&mut inside.columns);
        scope.is_open |= inside.is_open;
    }

    /// The columns that both sides of a NATURAL JOIN have, as far as they are known.
    fn common(&self, left: &TableFactor, right: &TableFactor) -> Vec<String> {
        let names = |side: &TableFactor| {
            let mut scope = Scope::default();
            let side = TableWithJoins { relation: side.clone(), joins: Vec::new() };
            self.collect(&side, &mut scope);
            scope.columns.extend(scope.merged.into_keys());
            scope.columns
        };
        let right = names(right);
        names(left).into_iter().filter(|name| right.contains(name)).collect()
    }

    /// The columns of an item of FROM, if they are known.
    fn columns(&self, factor: &TableFactor) -> Option<BTreeSet<String>> {
        if let Some((of, Some(alias))) = called(factor)
            && alias.columns.is_empty()
            && let Some(column) = of.column(0)
        {
            return Some(BTreeSet::from([column.to_owned()]));
        }
        let (alias, columns) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let written = match name.0.as_slice() {
                    [part] => part.as_ident().map(fold),
                    _ => None,
                };
                let cte = self.named.iter().rev().find(|(name, _)| Some(name) == written.as_ref());
                (alias, cte.map_or_else(|| (self.tables)(name), |(_, columns)| columns.clone()))
            }
            TableFactor::Derived { subquery, alias, .. } => (alias, outputs(subquery)),
            _ => return None,
        };
        match alias {
            Some(alias) if !alias.columns.is_empty() => {
                Some(alias.columns.iter().map(|column| fold(&column.name)).collect())
            }
            _ => columns,
        }
    }
}

/// The names of a query's columns, if they can be seen.
fn outputs(query: &Query) -> Option<BTreeSet<String>> {
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select,
        _ => return None,
    };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(fold(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last().map(fold),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}
