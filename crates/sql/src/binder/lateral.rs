//! `LATERAL (VALUES (t.a), (t.b)) AS v (x)` and `LATERAL (SELECT t.a + 1 AS x) AS q`: rows without a FROM of their own,
//! made of what stands before them. They are lists, which are spread as by `unnest(ARRAY[t.a, t.b]) AS v (x)`.

use datafusion::sql::sqlparser::ast::{
    Array, Expr, GroupByExpr, Ident, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins,
};

use super::columns::item_name;
use super::grouping::is_row_by_row;
use super::{calls, literal};

/// Writes such rows of a FROM as lists.
pub(super) fn as_lists(from: &mut [TableWithJoins]) {
    for item in from {
        let joined = item.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut item.relation).chain(joined) {
            if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
                as_lists(std::slice::from_mut(table_with_joins));
            } else if let Some(lists) = lists(factor) {
                *factor = lists;
            }
        }
    }
}

fn lists(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Derived { lateral: true, subquery, alias: Some(alias), .. } = factor else {
        return None;
    };
    let (names, rows) = rows(subquery)?;
    let mut elements = rows.iter().flatten();
    if !elements.all(|value| is_row_by_row(value) && calls::subquery(value).is_none()) {
        return None;
    }
    let list = |at: usize| {
        let element = |row: &Vec<Expr>| {
            let mut value = row[at].clone();
            literal::type_integer(&mut value);
            value
        };
        Expr::Array(Array { elem: rows.iter().map(element).collect(), named: true })
    };
    let array_exprs = (0..names.len()).map(list).collect();
    let given = alias.columns.iter().cloned();
    let own = names.iter().skip(alias.columns.len()).map(|name| TableAliasColumnDef {
        name: Ident::with_quote('"', name.as_str()),
        data_type: None,
    });
    let alias = TableAlias { columns: given.chain(own).collect(), ..alias.clone() };
    Some(TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    })
}

/// The rows of a query that has no FROM and no clause, with the names of their columns.
fn rows(query: &Query) -> Option<(Vec<String>, Vec<Vec<Expr>>)> {
    let Query { with: None, body, order_by: None, limit_clause: None, fetch: None, .. } = query
    else {
        return None;
    };
    match body.as_ref() {
        SetExpr::Values(values) => {
            let rows: Vec<Vec<Expr>> = values.rows.iter().map(|row| row.content.clone()).collect();
            let width = rows.first()?.len();
            let names = (1..=width).map(|at| format!("column{at}")).collect();
            rows.iter().all(|row| row.len() == width).then_some((names, rows))
        }
        SetExpr::Select(select) => {
            let is_plain = select.from.is_empty()
                && select.distinct.is_none()
                && select.selection.is_none()
                && select.having.is_none()
                && !select.projection.is_empty()
                && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
            let value = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    Some(expr.clone())
                }
                _ => None,
            };
            let row = select.projection.iter().map(value).collect::<Option<Vec<_>>>()?;
            let names = select.projection.iter().map(item_name).collect::<Option<Vec<_>>>()?;
            is_plain.then(|| (names, vec![row]))
        }
        _ => None,
    }
}
