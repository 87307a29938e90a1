//! Which functions give rows, and the lists behind them: series, the elements of arrays, the parts of JSON.

use std::ops::ControlFlow;

use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, TableFactor,
    VisitMut, VisitorMut,
};

use super::syntax::{is_named, is_series};
use super::table_function::called;
use crate::functions::{self, JsonFunction};
use crate::names;

/// A function that gives rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowsOf {
    /// `generate_series`
    Series,
    /// `unnest`
    Arrays,
    /// The elements of a JSON array, or the keys of an object.
    Parts(JsonFunction),
    /// The members of an object: keys, and what this function gives.
    Members(JsonFunction),
}

impl RowsOf {
    /// The function of a name.
    pub(super) fn named(name: &ObjectName) -> Option<RowsOf> {
        if is_series(name) {
            return Some(RowsOf::Series);
        }
        if is_named(name, "unnest") {
            return Some(RowsOf::Arrays);
        }
        let name = name.0.last().and_then(ObjectNamePart::as_ident).map(names::fold)?;
        Some(match name.strip_prefix("jsonb_").or_else(|| name.strip_prefix("json_"))? {
            "array_elements" => RowsOf::Parts(JsonFunction::Elements),
            "array_elements_text" => RowsOf::Parts(JsonFunction::ElementsText),
            "object_keys" => RowsOf::Parts(JsonFunction::Keys),
            "each" => RowsOf::Members(JsonFunction::Values),
            "each_text" => RowsOf::Members(JsonFunction::ValuesText),
            _ => return None,
        })
    }

    /// What a table of it is named that has no alias.
    pub(super) fn name(self) -> &'static str {
        match self {
            RowsOf::Series => "generate_series",
            RowsOf::Arrays => "unnest",
            RowsOf::Parts(which) => which.name(),
            RowsOf::Members(JsonFunction::ValuesText) => "jsonb_each_text",
            RowsOf::Members(_) => "jsonb_each",
        }
    }

    /// The name that a column has whatever the table is named.
    pub(super) fn column(self, at: usize) -> Option<&'static str> {
        match self {
            RowsOf::Series | RowsOf::Arrays | RowsOf::Parts(JsonFunction::Keys) => None,
            RowsOf::Parts(_) => (at == 0).then_some("value"),
            RowsOf::Members(_) => ["key", "value"].get(at).copied(),
        }
    }

    /// The lists that its rows come from, side by side.
    pub(super) fn lists(self, args: Vec<Expr>) -> Vec<Expr> {
        match self {
            RowsOf::Series => vec![functions::series(args)],
            RowsOf::Arrays => args,
            RowsOf::Parts(which) => vec![functions::json(which, args)],
            RowsOf::Members(values) => vec![
                functions::json(JsonFunction::Keys, args.clone()),
                functions::json(values, args),
            ],
        }
    }
}

/// `FROM jsonb_array_elements(x) AS e`: `e` alone is the value, not a row of it. It becomes `e.value`.
pub(super) fn name_values(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let factors = select.from.iter().flat_map(|item| {
        let joined = item.joins.iter().map(|join| &join.relation);
        std::iter::once(&item.relation).chain(joined)
    });
    let alias = |factor: &TableFactor| match called(factor) {
        Some((RowsOf::Parts(which), Some(alias))) if which != JsonFunction::Keys => {
            alias.columns.is_empty().then(|| alias.name.clone())
        }
        _ => None,
    };
    let aliases: Vec<Ident> = factors.filter_map(alias).collect();
    if aliases.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr @ SqlExpr::Identifier(_)) = item
            && let SqlExpr::Identifier(name) = expr.clone()
            && aliases.contains(&name)
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name };
        }
    }
    let ControlFlow::Continue(()) = VisitMut::visit(query, &mut Values(aliases));
}

struct Values(Vec<Ident>);

impl VisitorMut for Values {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        if let SqlExpr::Identifier(name) = expr
            && self.0.contains(name)
        {
            *expr = SqlExpr::CompoundIdentifier(vec![name.clone(), Ident::new("value")]);
        }
        ControlFlow::Continue(())
    }
}
