//! `GROUP BY` of an aggregate, by itself or by its position in the select list.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectItem, Spanned, Value, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

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

/// The first call of an aggregate that belongs to the query itself.
fn aggregate(expr: &Expr) -> Option<Span> {
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
