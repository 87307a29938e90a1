//! `EMIT ON WINDOW CLOSE`: a row leaves when its window has closed, once and for good.
//!
//! Whatever stands below, an aggregation, a join or anything else, a bounded row is final when the
//! watermark has passed; until then it waits in a [`Stay`].

use millrace_plan::{Clock, Meta, Node, Stay};
use millrace_types::{Report, SqlState};

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
                "Group by window_start or window_end of TUMBLE or HOP over a source with WATERMARK FOR; \
                 a full join has rows without either side.",
            ),
    }
}
