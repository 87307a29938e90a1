//! `WITH (retention = ...)`: a row leaves the content of a view some time after it is final.
//!
//! It leaves the content alone: nobody who follows the view hears of it, and nothing of it is state. Of
//! the columns that a watermark bounds one of the key decides, if there is one; of several, the one that
//! makes rows final first, as for `EMIT ON WINDOW CLOSE`.
//!
//! Invariants: 1. no row changes that has left: where rows only come, those that would come after their
//! time are late.

use millrace_plan::{LateCheck, Node, Step, Watermark};
use millrace_types::{Report, SqlState};

use super::relation::{origin, step};
use super::translate::Planner;

impl Planner<'_> {
    /// The rows of a view, and when they leave.
    ///
    /// # Errors
    /// Nothing bounds the rows.
    pub(super) fn retained(
        &self,
        node: Node,
        retention_us: i64,
    ) -> Result<(Node, Watermark), Report> {
        let meta = node.meta().clone();
        let origin = origin(&meta);
        let bound = meta.watermarks.iter().filter(|_| !meta.append_only || origin.is_some());
        // A column of the key says the same as one that follows from it.
        let first = bound.min_by_key(|w| (!meta.key.contains(&w.column), w.shift));
        let first = first.ok_or_else(unbounded)?;
        let lateness = if meta.append_only { self.options.allowed_lateness_us } else { 0 };
        let to_end = first.shift.checked_add(retention_us).ok_or_else(unbounded)?;
        let leaves = Watermark { shift: to_end.saturating_add(lateness), ..first.clone() };
        let Some(origin) = origin.filter(|_| meta.append_only) else { return Ok((node, leaves)) };
        let event_time = Some(first.column).filter(|_| first.shift == 1);
        let check = LateCheck { close: leaves.clone(), hop: None, event_time, origin, to_end };
        Ok((step(node, Step::Late(check), meta), leaves))
    }
}

fn unbounded() -> Report {
    let message = "retention needs rows whose time a watermark bounds";
    Report::new(SqlState::FEATURE_NOT_SUPPORTED, message)
        .detail("No column of the rows is bounded by the watermark of a source.")
        .hint(
            "Read a source with WATERMARK FOR, or group by window_start or window_end of its windows.",
        )
}
