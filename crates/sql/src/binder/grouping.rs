//! `GROUP BY` of an aggregate, by itself or by its position in the select list, and of a cast beside what is
//! cast.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Spanned, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::syntax::call;
use crate::names::fold;
use crate::session;

/// Where the aggregate stands.
pub(super) fn aggregate_in_group_by(select: &Select) -> Option<Span> {
    let GroupByExpr::Expressions(grouped, _) = &select.group_by else { return None };
    grouped.iter().find_map(|expr| aggregate(meant(expr, &select.projection)))
}

/// Puts the select items in place of their positions in grouping sets, where DataFusion takes a number as
/// a constant.
pub(super) fn name_positions(select: &mut Select) {
    let GroupByExpr::Expressions(grouped, _) = &mut select.group_by else { return };
    for expr in grouped {
        if let Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) = expr {
            for expr in sets.iter_mut().flatten() {
                *expr = meant(expr, &select.projection).clone();
            }
        }
    }
}

/// The select item for its position.
fn meant<'a>(expr: &'a Expr, projection: &'a [SelectItem]) -> &'a Expr {
    let Expr::Value(value) = expr else { return expr };
    let Value::Number(digits, _) = &value.value else { return expr };
    let position = digits.parse::<usize>().ok().and_then(|position| position.checked_sub(1));
    match position.and_then(|position| projection.get(position)) {
        Some(SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }) => item,
        _ => expr,
    }
}

/// Gives the casts in GROUP BY names of their own where what they cast is grouped too: DataFusion names a cast
/// like that. `coalesce(x::text)` is `x::text`.
pub(super) fn name_casts(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let GroupByExpr::Expressions(grouped, _) = &select.group_by else { return };
    let grouped: Vec<&Expr> =
        grouped.iter().map(|expr| bare(aliased(meant(expr, &select.projection), select))).collect();
    let is_shared = |cast: &&Expr| {
        matches!(cast, Expr::Cast { .. })
            && grouped.iter().any(|other| other != cast && uncast(other) == uncast(cast))
    };
    let casts: Vec<Expr> = grouped.iter().copied().filter(is_shared).cloned().collect();
    if !casts.is_empty() {
        let ControlFlow::Continue(()) = VisitMut::visit(query, &mut Namer { casts });
    }
}

struct Namer {
    casts: Vec<Expr>,
}

impl VisitorMut for Namer {
    type Break = Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if self.casts.contains(expr) {
            *expr = call("coalesce", vec![expr.clone()]);
        }
        ControlFlow::Continue(())
    }
}

/// The select item of a name.
fn aliased<'a>(expr: &'a Expr, select: &'a Select) -> &'a Expr {
    let Expr::Identifier(name) = expr else { return expr };
    let item = |item: &'a SelectItem| match item {
        SelectItem::ExprWithAlias { expr, alias } if fold(alias) == fold(name) => Some(expr),
        _ => None,
    };
    let cast = |expr: &&Expr| matches!(bare(expr), Expr::Cast { .. });
    select.projection.iter().filter_map(item).find(cast).unwrap_or(expr)
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

/// What is cast.
fn uncast(expr: &Expr) -> &Expr {
    match bare(expr) {
        Expr::Cast { expr, .. } => uncast(expr),
        other => other,
    }
}

/// True for an expression of one row: neither aggregates nor window functions, nor what gives many rows.
pub(super) fn is_row_by_row(expr: &Expr) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let gives_many = |name: &str| name == "unnest" || name.starts_with("generate_");
            match expr {
                Expr::Function(function) if function.over.is_some() => ControlFlow::Break(()),
                Expr::Function(function) => {
                    let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold);
                    match name.is_some_and(|name| gives_many(&name)) {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    aggregate(expr).is_none() && expr.visit(&mut Finder).is_continue()
}

/// The first call of an aggregate that belongs to the query itself.
pub(super) fn aggregate(expr: &Expr) -> Option<Span> {
    struct Finder {
        depth: usize,
    }
    impl Visitor for Finder {
        type Break = Span;

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
            match expr {
                Expr::Function(function) if self.depth == 0 && function.over.is_none() => {
                    let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold);
                    let known = session::shared().aggregate_functions();
                    match name.is_some_and(|name| known.contains_key(&name)) {
                        true => ControlFlow::Break(expr.span()),
                        false => ControlFlow::Continue(()),
                    }
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Finder { depth: 0 }).break_value()
}
