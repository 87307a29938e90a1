//! From a logical plan to the plan of a maintained view.
//!
//! The way of a statement: [`refuse`] turns away what no view can keep, [`optimize`] applies our
//! own list of rules, [`translate`] walks the logical plan and builds nodes, [`tidy`] fuses and
//! prunes their steps. While a plan is walked, projections stay symbolic ([`relation`]): expressions
//! over the columns of the last real node. So windows are recognised by what their expressions mean
//! ([`time`]), however the statement was written, and each node computes only what it needs.
//!
//! Invariants: 1. the logical plan's meaning is kept exactly, NULL times included: a row without a
//! time is never late and its group is never settled. 2. watermarks of an append-only stream are
//! what its sources promise; the late check of an aggregation is what makes the promise true.
//! Watermarks of any other stream are true already. 3. a construct that is not translated is
//! refused with `0A000`, never translated to something near.

mod aggregate;
mod call;
mod close;
mod explain;
mod group;
mod grouping;
mod hop;
mod input;
mod interval;
mod join;
mod lookup;
mod nearest;
mod optimize;
mod refuse;
mod relation;
mod retention;
mod root;
mod series;
mod session;
mod temporal;
#[cfg(test)]
mod tests;
mod tidy;
mod time;
mod topn;
mod translate;
mod union;
mod unnest;
mod values;
mod window;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use millrace_plan::ViewPlan;
use millrace_types::{ObjectId, Report};

pub use explain::{explain, explain_with};
pub use input::InputInfo;

/// What `CREATE MATERIALIZED VIEW ... WITH (...)` says that changes a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewOptions {
    /// Microseconds that a window stays open after the watermark has passed its end.
    pub allowed_lateness_us: i64,
    /// `EMIT ON WINDOW CLOSE`: only final rows are shown.
    pub emit_on_window_close: bool,
    /// Microseconds that a row stays after the watermark has made it final.
    pub retention_us: Option<i64>,
}

impl ViewOptions {
    /// True if rows must say when they are final.
    fn wants_final_rows(&self) -> bool {
        self.emit_on_window_close || self.retention_us.is_some()
    }
}

/// Plans a maintained view. `inputs` knows the tables that the logical plan scans.
///
/// # Errors
/// A construct that a view cannot have (yet), a column name given twice, an expression that does
/// not plan.
pub fn plan(
    logical: LogicalPlan,
    state: &SessionState,
    inputs: &dyn Fn(ObjectId) -> InputInfo,
    options: &ViewOptions,
) -> Result<ViewPlan, Report> {
    refuse::check_bound(&logical)?;
    let optimized = optimize::optimize(logical, state)?;
    refuse::check(&optimized)?;
    let planner = translate::Planner { state, inputs, options };
    let relation = planner.translate(&optimized)?;
    planner.root(relation, optimized.schema())
}
