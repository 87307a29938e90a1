//! `EXISTS` in a select list, where DataFusion has no plan for it: the rows are counted instead.
//!
//! Only subqueries that are a plain SELECT of columns and constants are rewritten; a count of rows
//! says the same for them. In WHERE it stays: there it is a join.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query,
    Select, SelectItem, SetExpr, UnaryOperator, Value, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::syntax::call;

/// Rewrites an expression, but not the subqueries inside it.
#[derive(Default)]
pub(super) struct Counter {
    /// How many queries stand around.
    depth: usize,
}

impl VisitorMut for Counter {
    type Break = Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Infallible> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Infallible> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if self.depth == 0
            && let Expr::Exists { subquery, negated } = expr
            && let Some(counted) = counted(subquery)
        {
            *expr = match negated {
                true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(counted) },
                false => counted,
            };
        }
        ControlFlow::Continue(())
    }
}

fn value(value: Value) -> Expr {
    Expr::Value(value.with_span(Span::empty()))
}

/// `coalesce((SELECT count(*) FROM ...) > 0, false)`
fn counted(query: &Query) -> Option<Expr> {
    let is_plain = query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    if !is_plain || !gives_its_rows(select) {
        return None;
    }
    let mut count = call("count", Vec::new());
    if let Expr::Function(function) = &mut count
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
    }
    let select = Select { projection: vec![SelectItem::UnnamedExpr(count)], ..(**select).clone() };
    let body = Box::new(SetExpr::Select(Box::new(select)));
    let count = Expr::Subquery(Box::new(Query { body, order_by: None, ..query.clone() }));
    let zero = value(Value::Number("0".to_owned(), false));
    let some =
        Expr::BinaryOp { left: Box::new(count), op: BinaryOperator::Gt, right: Box::new(zero) };
    Some(call("coalesce", vec![some, value(Value::Boolean(false))]))
}

/// True if the query has a row for each row of its FROM and WHERE.
fn gives_its_rows(select: &Select) -> bool {
    let ungrouped =
        matches!(&select.group_by, GroupByExpr::Expressions(list, _) if list.is_empty());
    let plain = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::ExprWithAliases { .. } => false,
    };
    ungrouped
        && select.having.is_none()
        && select.qualify.is_none()
        && select.distinct.is_none()
        && select.projection.iter().all(plain)
}
