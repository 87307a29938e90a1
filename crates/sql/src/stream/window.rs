//! Window functions: `f(...) OVER (PARTITION BY ... ORDER BY ...)`.

use datafusion::logical_expr::{Expr, LogicalPlan, Window};
use millrace_types::Report;

use super::refuse;
use super::relation::Relation;
use super::translate::Planner;

impl Planner<'_> {
    /// All calls of a node.
    pub(super) fn window(&self, window: &Window) -> Result<Relation, Report> {
        self.windowed(&window.input, &window.window_expr)
    }

    /// A relation with calls as its last columns.
    pub(super) fn windowed(&self, input: &LogicalPlan, calls: &[Expr]) -> Result<Relation, Report> {
        match calls.is_empty() {
            true => self.translate(input),
            false => Err(refuse::over()),
        }
    }
}
