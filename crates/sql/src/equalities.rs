//! An equality that a query has twice stands once in a join.
//!
//! `ON a.k = b.k AND a.k = b.k` fails in DataFusion when a projection moves below an outer join: it pairs the
//! columns of both copies up.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;

/// See the head of the file. The last of the rules: the others make equalities of conditions.
pub(crate) fn single_equalities(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
    let mut once = Vec::with_capacity(join.on.len());
    for pair in std::mem::take(&mut join.on) {
        if !once.contains(&pair) {
            once.push(pair);
        }
    }
    join.on = once;
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}
