//! Expressions that stand twice in a node are computed once, below it: DataFusion's rule, made safe for
//! window nodes that name each other's results.
//!
//! The rule takes window nodes that follow each other for one node, and computes below all of them what
//! stands in two. An order that was decided by another call's result (`analyze/ties`) is not known
//! there. Such nodes are held apart, by a limit that limits nothing, while the rule runs.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Limit, LogicalPlan, Window};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// In the place of DataFusion's `common_sub_expression_eliminate`.
#[derive(Debug)]
pub(crate) struct SharedParts(CommonSubexprEliminate);

impl SharedParts {
    pub(crate) fn new() -> SharedParts {
        SharedParts(CommonSubexprEliminate::new())
    }
}

impl OptimizerRule for SharedParts {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let apart = plan.transform_up_with_subqueries(|node| Ok(held_apart(node)))?;
        let shared = self.0.rewrite(apart.data, config)?;
        if !apart.transformed {
            return Ok(shared);
        }
        let plan = shared.data.transform_up_with_subqueries(|node| Ok(together(node)))?;
        Ok(Transformed::new_transformed(plan.data, shared.transformed))
    }
}

/// A window node that names a result of the window nodes right below it, with a limit between them.
fn held_apart(node: LogicalPlan) -> Transformed<LogicalPlan> {
    let LogicalPlan::Window(window) = node else { return Transformed::no(node) };
    let mut below = window.input.as_ref();
    while let LogicalPlan::Window(Window { input, .. }) = below {
        below = input;
    }
    let mut named = window.window_expr.iter().flat_map(|expr| expr.column_refs());
    if named.all(|column| below.schema().has_column(column)) {
        return Transformed::no(LogicalPlan::Window(window));
    }
    let limit = Limit { skip: None, fetch: None, input: Arc::clone(&window.input) };
    let input = Arc::new(LogicalPlan::Limit(limit));
    Transformed::yes(LogicalPlan::Window(Window { input, ..window }))
}

fn together(node: LogicalPlan) -> Transformed<LogicalPlan> {
    match node {
        LogicalPlan::Limit(Limit { skip: None, fetch: None, input }) => {
            Transformed::yes(Arc::unwrap_or_clone(input))
        }
        node => Transformed::no(node),
    }
}
