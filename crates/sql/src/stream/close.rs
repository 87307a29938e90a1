//! `EMIT ON WINDOW CLOSE`: a row leaves when its window has closed, once and for good.
//!
//! Whatever stands below, an aggregation, a join or anything else, a bounded row is final when the
//! watermark has passed; until then it waits in a [`Stay`].
//!
//! First rows and window functions of a window's rows close with it, too: [`Planner::closing_groups`].

use millrace_plan::{Clock, Meta, Node, Stay, Watermark};
use millrace_types::{Report, SqlState};

use super::relation::origin;
use super::translate::Planner;

impl Planner<'_> {
    /// Rows that are looked at by groups, and what bounds the columns of those: rows of a group whose
    /// time has passed change no more, whatever becomes of others. Rows of a source that come for a
    /// window later than that are late.
    pub(super) fn closing_groups(
        &self,
        input: Node,
        group: &[usize],
    ) -> Result<(Node, Vec<Watermark>), Report> {
        let from = input.meta();
        let own = from.watermarks.iter().filter(|watermark| group.contains(&watermark.column));
        if !from.append_only {
            let watermarks = own.cloned().collect();
            return Ok((input, watermarks));
        }
        // As for an aggregation: only the bounds of windows turn rows away.
        let windows = own.filter(|watermark| is_bound_of_window(watermark));
        let first = windows.min_by_key(|watermark| watermark.shift).cloned();
        let Some(first) = first.filter(|_| origin(from).is_some()) else {
            return Ok((input, Vec::new()));
        };
        let shift = first.shift.saturating_add(self.options.allowed_lateness_us);
        let settled = Watermark { shift, ..first };
        Ok((self.punctual(input, &settled)?, vec![settled]))
    }
}

/// True for the promise on a window's bound: those are whole milliseconds, and a row's own time is below
/// the watermark by one microsecond.
pub(super) fn is_bound_of_window(watermark: &Watermark) -> bool {
    watermark.shift.rem_euclid(1_000) != 1
}

/// The rows of a node when they are final.
///
/// # Errors
/// Nothing bounds the rows.
pub(super) fn on_close(input: Node) -> Result<Node, Report> {
    let before = input.meta();
    // A source's own promise is not kept unless something turns late rows away.
    let bound = before.watermarks.iter().filter(|_| !before.append_only);
    let Some(first) = bound.min_by_key(|watermark| watermark.shift).cloned() else {
        return Err(unbounded(before));
    };
    let clock = Clock::Watermark { shift: first.shift, sources: first.sources };
    let meta = before.clone();
    let from = Some(first.column);
    Ok(Node::Stay(Box::new(Stay { input, clock, from, until: None, meta })))
}

fn unbounded(meta: &Meta) -> Report {
    let message = "EMIT ON WINDOW CLOSE needs rows that a watermark makes final";
    let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, message);
    match meta.append_only {
        true => report
            .detail("The rows of this view never change: each is final when it comes.")
            .hint("Leave EMIT ON WINDOW CLOSE out, or group by a window."),
        false => report
            .detail("No column of the rows is bounded by the watermark of a source.")
            .hint(
                "Group by window_start or window_end of TUMBLE or HOP over a source with WATERMARK FOR.",
            ),
    }
}
