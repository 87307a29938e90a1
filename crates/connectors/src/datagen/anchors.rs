//! When row `n` is due.
//!
//! An anchor says that row `first` is due at `at`; the rows behind it follow at the source's rate.
//! A restarted server adds one, so that the rows of the time it was down are not made up. The
//! server keeps the anchors with the source's catalog entry; with them every row's time is known
//! for ever.

use std::sync::Arc;

/// Microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

const SECOND_US: i128 = 1_000_000;

/// Row `first` is due at `at`, and the following ones after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// A row.
    pub first: i64,
    /// Its time, microseconds since 1970.
    pub at: i64,
}

/// The anchor to add at a restart: the next row that is not logged yet is due now, or right after
/// the row before it if the clock has gone back. `rate` is the source's `rows.per.second`.
pub fn restart_anchor(anchors: &[Anchor], rate: i64, next: i64, now: i64) -> Anchor {
    let before = Schedule::new(rate, anchors).map(|schedule| schedule.time(next));
    let at = match before {
        Some(due) if next > 0 && anchors.last().is_some_and(|last| last.first < next) => {
            // `due` is one step after the row before, the earliest that keeps the order.
            now.max(due)
        }
        _ => now.max(anchors.last().map_or(i64::MIN, |last| last.at)),
    };
    Anchor { first: next, at }
}

/// All anchors of a source.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    rate: i128,
    anchors: Arc<[Anchor]>,
}

impl Schedule {
    /// None if there is no anchor or they do not ascend. Of two for the same row the later counts:
    /// the server stopped before it had logged any row of the earlier.
    pub(super) fn new(rate: i64, anchors: &[Anchor]) -> Option<Schedule> {
        let ascend =
            anchors.windows(2).all(|two| two[0].first <= two[1].first && two[0].at <= two[1].at);
        if anchors.is_empty() || !ascend || rate < 1 {
            return None;
        }
        Some(Schedule { rate: i128::from(rate), anchors: anchors.into() })
    }

    fn last(&self) -> Anchor {
        self.anchors.last().copied().expect("new() refuses an empty list")
    }

    /// When a row is due.
    pub(super) fn time(&self, row: i64) -> i64 {
        let index = self.anchors.partition_point(|anchor| anchor.first <= row);
        let anchor = self.anchors[index.saturating_sub(1)];
        let steps = i128::from(row) - i128::from(anchor.first);
        let at = i128::from(anchor.at) + steps * SECOND_US / self.rate;
        i64::try_from(at).unwrap_or(i64::MAX)
    }

    /// How many rows are due at a time: the offset of the next one.
    pub(super) fn end(&self, now: i64) -> i64 {
        let last = self.last();
        let elapsed = i128::from(now) - i128::from(last.at);
        if elapsed < 0 {
            return last.first;
        }
        // The rows with steps * 1 s / rate, rounded down, at or below `elapsed`.
        let rows = ((elapsed + 1) * self.rate - 1) / SECOND_US + 1;
        i64::try_from(i128::from(last.first) + rows).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_readable_exactly_from_its_time_on() {
        for rate in [1, 3, 7, 1000, 3_000_000] {
            let anchors = [Anchor { first: 0, at: 500 }, Anchor { first: 10, at: 90_000_000 }];
            let schedule = Schedule::new(rate, &anchors).unwrap();
            for row in 10..2000 {
                let time = schedule.time(row);
                assert!(schedule.end(time) > row, "rate {rate} row {row}");
                assert!(schedule.end(time - 1) <= row, "rate {rate} row {row}");
            }
            assert_eq!(schedule.time(0), 500);
        }
    }

    #[test]
    fn a_restart_goes_on_with_the_next_row_now_and_never_back() {
        let first = Anchor { first: 0, at: 1_000_000 };
        assert_eq!(restart_anchor(&[first], 2, 4, 60_000_000), Anchor { first: 4, at: 60_000_000 });
        assert_eq!(restart_anchor(&[first], 2, 4, 0), Anchor { first: 4, at: 3_000_000 });
        assert_eq!(restart_anchor(&[first], 2, 0, 0), first);
        assert_eq!(restart_anchor(&[], 2, 0, 5), Anchor { first: 0, at: 5 });
    }

    #[test]
    fn anchors_that_fall_are_refused() {
        let (early, late) = (Anchor { first: 0, at: 5 }, Anchor { first: 3, at: 4 });
        assert!(Schedule::new(1, &[early, late]).is_none());
        assert!(Schedule::new(1, &[]).is_none());
    }
}
