//! In plans that are executed: `min` and `max` of floats are our own.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, LogicalPlan, WindowFunctionDefinition,
};

use crate::functions;

/// Puts our function in the place of DataFusion's; the name that every rule knows the result by stays.
pub(crate) fn float_extremes(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_)) {
        return Ok(Transformed::no(plan));
    }
    let schema = merge_schema(&plan.inputs());
    plan.map_expressions(|expr| expr.transform_up(|part| Ok(replaced(part, &schema))))
}

fn replaced(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::AggregateFunction(mut call) => match own(&call.func, &call.params.args, schema) {
            Some(function) => {
                call.func = function;
                Transformed::yes(Expr::AggregateFunction(call))
            }
            None => Transformed::no(Expr::AggregateFunction(call)),
        },
        Expr::WindowFunction(mut call) => {
            let function = match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => {
                    own(function, &call.params.args, schema)
                }
                WindowFunctionDefinition::WindowUDF(_) => None,
            };
            match function {
                Some(function) => {
                    call.fun = WindowFunctionDefinition::AggregateUDF(function);
                    Transformed::yes(Expr::WindowFunction(call))
                }
                None => Transformed::no(Expr::WindowFunction(call)),
            }
        }
        other => Transformed::no(other),
    }
}

fn own(function: &AggregateUDF, args: &[Expr], schema: &DFSchema) -> Option<Arc<AggregateUDF>> {
    let [value] = args else { return None };
    let own = Arc::new(functions::extreme(function.name())?);
    let is_float = value.get_type(schema).is_ok_and(|found| found.is_floating());
    (is_float && *own != *function).then_some(own)
}
