//! In plans that are executed: aggregates over sliding frames run as they do in views.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Window, WindowFunctionDefinition};
use millrace_plan::sliding;

/// The name that every rule knows the result by stays.
fn slid(call: &WindowFunction) -> Option<WindowFunction> {
    let WindowFunctionDefinition::AggregateUDF(_) = &call.fun else { return None };
    let fun = sliding(&call.fun, &call.params.window_frame);
    (fun != call.fun).then(|| WindowFunction { fun, params: call.params.clone() })
}

/// See the module.
pub(crate) fn sliding_frames(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = plan else { return Ok(Transformed::no(plan)) };
    let mut changed = false;
    let calls = window.window_expr.iter().map(|expr| {
        let replaced = expr.clone().transform_up(|part| match &part {
            Expr::WindowFunction(call) => match slid(call) {
                Some(call) => {
                    changed = true;
                    Ok(Transformed::yes(Expr::WindowFunction(Box::new(call))))
                }
                None => Ok(Transformed::no(part)),
            },
            _ => Ok(Transformed::no(part)),
        });
        Ok(replaced?.data)
    });
    let calls = calls.collect::<Result<Vec<Expr>>>()?;
    match changed {
        true => {
            let window = Window::try_new(calls, Arc::clone(&window.input))?;
            Ok(Transformed::yes(LogicalPlan::Window(window)))
        }
        false => Ok(Transformed::no(LogicalPlan::Window(window))),
    }
}
