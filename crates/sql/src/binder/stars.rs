//! What `*` stands for, where the columns behind it are known: written out if a name is given several times.
//!
//! Several columns of a result may have one name, in a plan none. At the top, columns of different tables are told
//! from each other by their tables; in a subquery, and beside a second `*`, they are not. There each gets a mark
//! behind its name ([`super::columns`]), so that all of them can be shown, and what names one of them is ambiguous.
//!
//! Invariants: 1. what is written out once is written out the same again: the names that a query around a
//! subquery counts with are those that it gets.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TableAlias, TableFactor, TableWithJoins,
};

use super::columns::{alias, item_name, marked, shown};
use super::scopes::Scopes;
use super::{table_function, using};
use crate::names::{self, fold};

/// What a table of FROM is called, and its columns in order.
pub(super) type Shown = (Ident, Vec<String>);

impl Scopes<'_> {
    /// The select list of a select with all `*` written out, if that is needed and can be done.
    pub(super) fn written_out(&self, select: &Select) -> Option<Vec<SelectItem>> {
        let is_star = |item: &SelectItem| {
            matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
        };
        let is_alone = self.depth() == 1 && select.projection.len() == 1;
        let is_plain = self.depth() == 1 && !select.projection.iter().any(is_star);
        if is_alone || is_plain || !select.projection.iter().any(is_column_or_star) {
            return None;
        }
        let items = self.listed(select)?;
        let is_changed = |item: &SelectItem| match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.value.contains(STAR),
            _ => false,
        };
        items.iter().any(is_changed).then_some(items)
    }

    /// The select list of a select without any `*`, as far as it is known.
    fn listed(&self, select: &Select) -> Option<Vec<SelectItem>> {
        let mut items = Vec::with_capacity(select.projection.len());
        let column = |table: &Ident, name: &String| {
            let path = vec![table.clone(), Ident::with_quote('"', name.as_str())];
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path))
        };
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) => {
                    let tables = self.of_items(&select.from)?;
                    let of = |(table, names): &Shown| {
                        names.iter().map(|name| column(table, name)).collect::<Vec<_>>()
                    };
                    items.extend(tables.iter().flat_map(of));
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => {
                    let wanted = single(name)?;
                    let tables = self.of_items(&select.from)?;
                    let (table, names) = tables.iter().find(|(table, _)| fold(table) == wanted)?;
                    items.extend(names.iter().map(|name| column(table, name)));
                }
                SelectItem::QualifiedWildcard(..) => return None,
                _ => items.push(item.clone()),
            }
        }
        let name = |item: &SelectItem| Some(shown(&item_name(item)?).to_owned());
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for item in &items {
            *counts.entry(name(item)?).or_default() += 1;
        }
        for (at, item) in items.iter_mut().enumerate() {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            let Some(name) = name(&SelectItem::UnnamedExpr(expr.clone())) else { continue };
            if counts.get(&name).is_some_and(|count| *count > 1) {
                let alias = alias(&marked(&name, &format!("{STAR}{at}")));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        Some(items)
    }

    /// The names of a query's columns in order, if they can be seen.
    pub(super) fn outputs(&self, query: &Query) -> Option<Vec<String>> {
        // What a WITH inside names is not known out here.
        match &query.with {
            Some(_) => outputs_without_stars(&query.body),
            None => self.outputs_of(&query.body),
        }
    }

    fn outputs_of(&self, body: &SetExpr) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => self.listed(select)?.iter().map(item_name).collect(),
            SetExpr::Query(query) => self.outputs(query),
            SetExpr::SetOperation { left, .. } => self.outputs_of(left),
            SetExpr::Values(values) => {
                let width = values.rows.first()?.content.len();
                Some((1..=width).map(|at| format!("column{at}")).collect())
            }
            _ => None,
        }
    }

    /// The tables of a FROM and their columns, in the order of `*`.
    pub(super) fn of_items(&self, from: &[TableWithJoins]) -> Option<Vec<Shown>> {
        let all = from.iter().map(|item| self.of_joins(item)).collect::<Option<Vec<_>>>()?;
        Some(all.into_iter().flatten().collect())
    }

    /// None where a join merges columns that is not yet written as one.
    fn of_joins(&self, from: &TableWithJoins) -> Option<Vec<Shown>> {
        let merges = |join: &Join| using::merges(join).is_some();
        if from.joins.iter().any(merges) { None } else { self.of_factors(from) }
    }

    fn of_factors(&self, from: &TableWithJoins) -> Option<Vec<Shown>> {
        let joined = from.joins.iter().map(|join| &join.relation);
        let factors = std::iter::once(&from.relation).chain(joined);
        let all = factors.map(|factor| self.of_factor(factor)).collect::<Option<Vec<_>>>()?;
        Some(all.into_iter().flatten().collect())
    }

    fn of_factor(&self, factor: &TableFactor) -> Option<Vec<Shown>> {
        if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
            return match alias {
                None => self.of_joins(table_with_joins),
                Some(own) if names::is_merged(&own.name.value) => {
                    self.merged(table_with_joins, own)
                }
                Some(_) => None,
            };
        }
        Some(vec![(called(factor)?, self.columns(factor, true)?)])
    }

    /// The columns of a join that merges some of them, which come first.
    fn merged(&self, join: &TableWithJoins, own: &TableAlias) -> Option<Vec<Shown>> {
        let [joined] = join.joins.as_slice() else { return None };
        let mut tables = self.of_factors(join)?;
        let merged: Vec<String> = match using::merges(joined)? {
            (_, Some(_)) => using::merged_names(joined).collect(),
            (_, None) => return None,
        };
        for (_, names) in &mut tables {
            names.retain(|name| !merged.contains(name));
        }
        tables.insert(0, (own.name.clone(), merged));
        Some(tables)
    }
}

/// What tells marks of this module from those of [`super::columns`].
const STAR: char = '*';

fn is_column_or_star(item: &SelectItem) -> bool {
    match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::UnnamedExpr(expr) => {
            matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        _ => false,
    }
}

fn single(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(fold),
        _ => None,
    }
}

/// The names of a select list that says them all itself.
fn outputs_without_stars(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => select.projection.iter().map(item_name).collect(),
        _ => None,
    }
}

/// What a table of FROM is called.
pub(super) fn called(factor: &TableFactor) -> Option<Ident> {
    if let Some((name, _)) = table_function::shown(factor) {
        return Some(Ident::with_quote('"', name));
    }
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, alias: None, args: None, .. } => {
            name.0.last().and_then(|part| part.as_ident()).cloned()
        }
        _ => None,
    }
}
