//! In plans that are executed: aggregates of one node that ask for different orders sort for themselves.
//!
//! DataFusion sorts the input once. Of two orders that are each other's reverse it runs one call backwards,
//! which it does not do right for `DISTINCT`, and others it refuses.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, Sort as Order};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::functions;

/// See the module.
pub(crate) fn own_orders(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
    if !differ(&aggregate.aggr_expr)? {
        return Ok(Transformed::no(plan));
    }
    let schema = Arc::clone(aggregate.input.schema());
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|part| Ok(sorted(part, &schema)))?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    })
}

/// True if two calls ask for different orders.
fn differ(calls: &[Expr]) -> Result<bool> {
    let mut orders: Vec<Vec<Order>> = Vec::new();
    for expr in calls {
        expr.apply(|part| {
            if let Some(call) = ordered(part)
                && !orders.contains(&call.params.order_by)
            {
                orders.push(call.params.order_by.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(orders.len() > 1)
}

/// A call that needs its rows in an order.
fn ordered(expr: &Expr) -> Option<&AggregateFunction> {
    let Expr::AggregateFunction(call) = expr else { return None };
    let needs = !matches!(
        call.func.order_sensitivity(),
        AggregateOrderSensitivity::Insensitive | AggregateOrderSensitivity::Beneficial
    );
    let has_own = !call.params.order_by.is_empty() && !call.func.supports_within_group_clause();
    (needs && has_own).then_some(call)
}

fn sorted(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if ordered(&expr).is_none_or(|call| !can_sort(call, schema)) {
        return Transformed::no(expr);
    }
    let Expr::AggregateFunction(mut call) = expr else { return Transformed::no(expr) };
    let params = &mut call.params;
    let order = std::mem::take(&mut params.order_by);
    let options = order
        .iter()
        .map(|order| SortOptions { descending: !order.asc, nulls_first: order.nulls_first });
    let width = params.args.len();
    call.func = Arc::new(functions::sorted(&call.func, width, options.collect(), params.distinct));
    params.distinct = false;
    params.args.extend(order.into_iter().map(|order| order.expr));
    Transformed::yes(Expr::AggregateFunction(call))
}

fn can_sort(call: &AggregateFunction, schema: &DFSchema) -> bool {
    let params = &call.params;
    let values = params.args.iter().filter(|_| params.distinct);
    let fields = params.order_by.iter().map(|order| &order.expr).chain(values);
    let fields: Result<Vec<SortField>> =
        fields.map(|expr| Ok(SortField::new(expr.get_type(schema)?))).collect();
    fields.is_ok_and(|fields| RowConverter::supports_fields(&fields))
}
