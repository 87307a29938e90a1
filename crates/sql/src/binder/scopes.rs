//! Names whose meaning DataFusion does not find, written out: columns that joins merge, and the values of
//! functions that give the parts of JSON (`FROM jsonb_array_elements(x) AS e`: `e` alone is `e.value`), the rows
//! of tables ([`super::whole_rows`]) and what `*` stands for ([`super::stars`]).
//!
//! DataFusion finds merged columns itself but in WHERE, from inside subqueries and where it asks for the type
//! of an expression that they stand in. A name is looked up as SQL
//! does it: in the query that it stands in, then in the one around that. The items of a FROM do not see each
//! other, nor do WITH queries what follows them; a column wins over the name of a table. Joins are folded on
//! the way ([`super::fold`]), as their merged columns are named there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Spanned, TableAlias, TableFactor,
    TableWithJoins, VisitMut, VisitorMut, With,
};
use millrace_types::{Report, SqlState};

use super::columns::{item_name, shown};
use super::fold::Folder;
use super::rows::RowsOf;
use super::syntax::Wrong;
use super::table_function::called;
use super::whole_rows::{WholeRow, is_same, without_stars};
use super::{table_function, using};
use crate::functions::JsonFunction;
use crate::names::{self, Quoted, fold};

/// The columns of a table of the catalog, in order.
pub(super) type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// Writes such names out in a query and all queries inside it; fails at one that several columns have.
pub(super) fn write_out(query: &mut Query, tables: ColumnsOf<'_>) -> ControlFlow<Wrong> {
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
    VisitMut::visit(query, &mut scopes)
}

pub(super) struct Scopes<'a> {
    tables: ColumnsOf<'a>,
    folder: Folder,
    /// The WITH queries so far, and their columns where these are known.
    named: Vec<(String, Option<Vec<String>>)>,
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
    /// The tables whose columns are known.
    rows: Vec<WholeRow>,
    /// The names of the select list.
    listed: BTreeSet<String>,
    /// Those that AS gives.
    aliased: BTreeSet<String>,
    /// There are further columns.
    is_open: bool,
}

impl VisitorMut for Scopes<'_> {
    type Break = Wrong;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Wrong> {
        let before = self.named.len();
        self.depth += 1;
        let mut with = query.with.take();
        for cte in with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            VisitMut::visit(&mut cte.query, self)?;
            let columns = match cte.alias.columns.is_empty() {
                true => self.outputs(&cte.query),
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

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Wrong> {
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

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Wrong> {
        self.folder.items(&mut select.from);
        if let Some(items) = self.written_out(select) {
            select.projection = items;
        }
        let scope = self.scope(select);
        self.scopes.push(scope);
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) = item else { continue };
            let Expr::Identifier(name) = expr.clone() else { continue };
            if self.scopes.last().is_some_and(|scope| scope.values.contains(&name)) {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name };
            } else if let Some(row) = self.row(&name).and_then(WholeRow::value) {
                *item = SelectItem::ExprWithAlias { expr: row, alias: name };
            }
        }
        let mut selection = select.selection.take();
        if let Some(condition) = &mut selection {
            self.conditions.push(self.depth);
            VisitMut::visit(condition, self)?;
            self.conditions.pop();
        }
        self.selections.push(selection);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Wrong> {
        select.selection = self.selections.pop().flatten();
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Wrong> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            self.walls.push(self.depth);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Wrong> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            self.walls.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Wrong> {
        self.conditions.push(self.depth);
        without_stars(expr);
        let row = match expr {
            Expr::IsNull(of) => self.named_row(of).and_then(WholeRow::is_null),
            Expr::IsNotNull(of) => self.named_row(of).and_then(WholeRow::is_not_null),
            _ => None,
        };
        if let Some(row) = row {
            *expr = row;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Wrong> {
        // What stands alone stays: it may be the name of an output in ORDER BY.
        self.conditions.pop();
        if let Expr::Identifier(name) = expr
            && let Some(path) = self.path(name)
        {
            *expr = Expr::CompoundIdentifier(path);
        } else if let Expr::Identifier(name) = expr
            && !self.is_listed(name)
            && let Some(row) = self.row(name).and_then(WholeRow::value)
        {
            *expr = row;
        }
        self.check_ambiguous(expr)
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

    /// True for the name of an output, which stands alone in ORDER BY or GROUP BY.
    fn is_listed(&self, name: &Ident) -> bool {
        let is_alone = !self.conditions.contains(&self.depth);
        let listed =
            |scope: &Scope| scope.depth == self.depth && scope.listed.contains(&fold(name));
        is_alone && self.scopes.last().is_some_and(listed)
    }

    fn named_row(&self, expr: &Expr) -> Option<&WholeRow> {
        match expr {
            Expr::Identifier(name) => self.row(name),
            Expr::Nested(inner) => self.named_row(inner),
            _ => None,
        }
    }

    /// The table whose row a name stands for.
    fn row(&self, name: &Ident) -> Option<&WholeRow> {
        let folded = fold(name);
        let seen = |scope: &&Scope| !self.walls.contains(&scope.depth);
        for scope in self.scopes.iter().rev().filter(seen) {
            let is_column = scope.merged.contains_key(&folded) || scope.columns.contains(&folded);
            if is_column || scope.is_open || scope.values.contains(name) {
                return None;
            }
            let mut rows = scope.rows.iter();
            if let Some(row) = rows.find(|row| is_same(&row.table, name)) {
                return Some(row);
            }
        }
        None
    }

    /// Refuses the name of several columns of a subquery.
    fn check_ambiguous(&self, expr: &Expr) -> ControlFlow<Wrong> {
        let (table, name) = match expr {
            Expr::Identifier(name) => (None, name),
            Expr::CompoundIdentifier(path) => match path.as_slice() {
                [table, name] => (Some(table), name),
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        let folded = fold(name);
        let seen = |scope: &&Scope| !self.walls.contains(&scope.depth);
        for scope in self.scopes.iter().rev().filter(seen) {
            let is_of = |row: &&WholeRow| table.is_none_or(|table| is_same(&row.table, table));
            let mut rows = scope.rows.iter().filter(is_of).peekable();
            if table.is_some() && rows.peek().is_none() {
                continue;
            }
            let mut columns = rows.flat_map(|row| &row.columns);
            let is_aliased = table.is_none() && scope.aliased.contains(&folded);
            let is_other = table.is_none() && scope.columns.contains(&folded);
            if is_aliased
                || is_other
                || scope.is_open
                || columns.clone().any(|column| *column == folded)
            {
                return ControlFlow::Continue(());
            }
            if columns.any(|column| shown(column) == folded) {
                let message = format!("column reference {} is ambiguous", Quoted(&folded));
                let report = Report::new(SqlState::AMBIGUOUS_COLUMN, message);
                return ControlFlow::Break(Box::new((report, expr.span())));
            }
        }
        ControlFlow::Continue(())
    }

    /// How many queries are around.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    fn scope(&self, select: &Select) -> Scope {
        let mut scope = Scope { depth: self.depth, ..Scope::default() };
        for item in &select.from {
            self.collect(item, &mut scope);
            self.whole_rows(item, false, &mut scope.rows);
        }
        scope.listed = select.projection.iter().filter_map(item_name).collect();
        let given = |item: &SelectItem| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
            _ => None,
        };
        scope.aliased = select.projection.iter().filter_map(given).collect();
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
            match self.columns(factor, false) {
                Some(columns) => {
                    let named = columns.into_iter().filter(|name| shown(name) == name);
                    scope.columns.extend(named);
                }
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

    /// The columns of an item of FROM in order, if they are known; `whole`: all of them.
    pub(super) fn columns(&self, factor: &TableFactor, whole: bool) -> Option<Vec<String>> {
        if let Some((_, columns)) = table_function::shown(factor) {
            return Some(columns);
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
            TableFactor::Derived { subquery, alias, .. } => (alias, self.outputs(subquery)),
            _ => return None,
        };
        match alias {
            Some(alias) if !alias.columns.is_empty() => {
                let given = alias.columns.iter().map(|column| fold(&column.name));
                let more = match columns {
                    Some(columns) => columns.into_iter().skip(alias.columns.len()).collect(),
                    // Mostly there are none.
                    None if !whole => Vec::new(),
                    None => return None,
                };
                Some(given.chain(more).collect())
            }
            _ => columns,
        }
    }
}
