//! The watermark of a source at a cut: a pure function of the counts, the clock and the one before.
//!
//! It is the least over the partitions that are not idle of the greatest event time, less the
//! source's delay, and never falls. A partition is idle when it has been read to its confirmed end
//! and silent for the timeout: a backlog is never idle. When all are idle the watermark follows the
//! clock, but only while the broker confirms the ends and the last rows were live.
//!
//! Where the event time is the time of reading (`PROCTIME()`), no row to come is below the clock: the
//! watermark is the clock, less the delay.
//!
//! A source that has been read to an end behind which no row will ever come keeps nobody waiting: its
//! watermark is the end of time ([`has_ended`]).

use std::collections::BTreeMap;

use millrace_dataflow::ingest::PartitionCut;
use millrace_types::PartitionId;

/// How live the last rows must have been for the clock to move the watermark, microseconds.
const LIVE_US: i64 = 60_000_000;

/// What a source says of its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// Microseconds of disorder to wait for.
    pub(crate) delay: i64,
    /// Microseconds of silence after which a partition is idle.
    pub(crate) idle: i64,
    /// The event time is the time of reading.
    pub(crate) by_clock: bool,
}

/// True if the partition no longer holds the watermark back. `opened` is when reading it began. The
/// end must have been confirmed after the silence: while readers wait, rows may gather unseen.
pub(crate) fn is_idle(cut: &PartitionCut, rule: Rule, opened: i64) -> bool {
    let silent_since = cut.last_row_at.max(opened);
    cut.at_end_at.saturating_sub(silent_since) >= rule.idle
}

/// The watermark after a cut at `now`.
pub(crate) fn watermark(
    partitions: &BTreeMap<PartitionId, PartitionCut>,
    rule: Rule,
    opened: i64,
    now: i64,
    before: Option<i64>,
) -> Option<i64> {
    if rule.by_clock {
        return before.max(Some(now.saturating_sub(rule.delay)));
    }
    let mut active = partitions.values().filter(|cut| !is_idle(cut, rule, opened)).peekable();
    let found = match active.peek() {
        Some(_) => active
            .map(|cut| cut.max_event_time)
            .min()
            .flatten()
            .map(|time| time.saturating_sub(rule.delay)),
        None => by_clock(partitions, rule, now),
    };
    before.max(found)
}

/// True if all partitions have been read to where they end for good.
pub(crate) fn has_ended(
    partitions: &BTreeMap<PartitionId, PartitionCut>,
    lasts: &BTreeMap<PartitionId, i64>,
) -> bool {
    let is_over = |(id, cut): (&PartitionId, &PartitionCut)| {
        lasts.get(id).is_some_and(|last| cut.end >= *last)
    };
    !partitions.is_empty() && partitions.iter().all(is_over)
}

/// All partitions are idle: the greatest event time, moved on by the time since it arrived.
fn by_clock(partitions: &BTreeMap<PartitionId, PartitionCut>, rule: Rule, now: i64) -> Option<i64> {
    let confirmed = |cut: &PartitionCut| now.saturating_sub(cut.at_end_at) < rule.idle;
    let last = partitions.values().max_by_key(|cut| cut.max_event_time)?;
    let time = last.max_event_time?;
    let reached = time.saturating_sub(rule.delay);
    let live = last.last_row_at.saturating_sub(time) < LIVE_US && last.last_row_at > 0;
    match live && partitions.values().all(confirmed) {
        true => Some(reached.saturating_add(now.saturating_sub(last.last_row_at).max(0))),
        false => Some(reached),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { delay: 1_000, idle: 5_000, by_clock: false };

    fn cut(max_event_time: Option<i64>, last_row_at: i64, at_end_at: i64) -> PartitionCut {
        PartitionCut { max_event_time, last_row_at, at_end_at, ..PartitionCut::default() }
    }

    fn of(cuts: &[PartitionCut], now: i64, before: Option<i64>) -> Option<i64> {
        let number = |n: usize| PartitionId(i32::try_from(n).unwrap());
        let partitions = cuts.iter().enumerate().map(|(n, cut)| (number(n), *cut)).collect();
        watermark(&partitions, RULE, 100, now, before)
    }

    #[test]
    fn it_is_the_least_partition_less_the_delay_and_never_falls() {
        let cuts = [cut(Some(50_000), 200, 0), cut(Some(40_000), 200, 0)];
        assert_eq!(of(&cuts, 300, None), Some(39_000));
        assert_eq!(of(&cuts, 300, Some(45_000)), Some(45_000));
    }

    #[test]
    fn a_partition_without_rows_holds_it_back_until_it_is_idle() {
        let cuts = |at_end_at| [cut(Some(50_000), 6_000, 0), cut(None, 0, at_end_at)];
        assert_eq!(of(&cuts(4_000), 4_000, None), None);
        assert_eq!(of(&cuts(6_000), 6_000, None), Some(49_000));
    }

    #[test]
    fn over_the_time_of_reading_it_is_the_clock() {
        let rule = Rule { by_clock: true, ..RULE };
        let behind = BTreeMap::from([(PartitionId(0), cut(Some(10), 200, 0))]);
        assert_eq!(watermark(&behind, rule, 100, 50_000, None), Some(49_000));
        assert_eq!(watermark(&behind, rule, 100, 50_000, Some(60_000)), Some(60_000));
    }

    #[test]
    fn a_backlog_is_never_idle() {
        let cuts = [cut(Some(50_000), 200, 0), cut(Some(10_000), 200, 100)];
        assert_eq!(of(&cuts, 900_000, None), Some(9_000));
        // The end was confirmed, and then nobody looked again.
        let cuts = [cut(Some(50_000), 200, 0), cut(Some(10_000), 200, 4_000)];
        assert_eq!(of(&cuts, 900_000, None), Some(9_000));
    }

    #[test]
    fn a_source_has_ended_when_all_its_partitions_have_been_read_to_their_last_offset() {
        let at = |end| PartitionCut { end, ..PartitionCut::default() };
        let cuts = BTreeMap::from([(PartitionId(0), at(10)), (PartitionId(1), at(7))]);
        let lasts = |one| BTreeMap::from([(PartitionId(0), 10), (PartitionId(1), one)]);
        assert!(has_ended(&cuts, &lasts(7)) && !has_ended(&cuts, &lasts(8)));
        assert!(!has_ended(&cuts, &BTreeMap::from([(PartitionId(0), 10)])), "the other goes on");
        assert!(!has_ended(&BTreeMap::new(), &lasts(7)));
    }

    #[test]
    fn a_clock_that_has_jumped_while_the_server_was_down_moves_nothing_before_a_row_comes() {
        // After a restart no row has arrived yet, whatever the clock shows and the broker confirms.
        let day = 86_400_000_000;
        let cuts = [cut(Some(1_000_000), 0, day + 1_000_000)];
        assert_eq!(of(&cuts, day + 1_000_500, Some(900_000)), Some(999_000));
    }

    #[test]
    fn when_all_are_idle_it_follows_the_clock_only_over_live_data() {
        let live = [cut(Some(1_000_000), 1_000_500, 1_009_000)];
        assert_eq!(of(&live, 1_010_500, None), Some(1_009_000));
        let unconfirmed = [cut(Some(1_000_000), 1_000_500, 1_001_000)];
        assert_eq!(of(&unconfirmed, 1_010_500, None), Some(999_000));
        let history = [cut(Some(1_000_000), 99_000_500, 99_009_000)];
        assert_eq!(of(&history, 99_010_500, None), Some(999_000));
    }
}
