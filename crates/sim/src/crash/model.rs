//! What the views must hold: computed from what was produced and from `millrace.late_rows`, without
//! any code of the system.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::workload::{DELAY, Kind, Place, Workload};
use crate::server::rows;
use crate::wait;

/// One group's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    sum: i64,
    count: i64,
    min: i64,
    max: i64,
}

/// Content of a windowed view: window start (microseconds) and sensor to totals.
pub(super) type Content = BTreeMap<(i64, i64), Totals>;

/// One line of `millrace.late_rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Late {
    place: Place,
    window_end: i64,
    event_time: i64,
    watermark: i64,
}

/// Windows of a view: `slide` equals `size` where they tumble. Microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) slide: i64,
    pub(super) size: i64,
}

impl Windows {
    fn starts(self, time: i64) -> impl Iterator<Item = i64> {
        let last = time.div_euclid(self.slide) * self.slide;
        (0..self.size / self.slide).map(move |back| last - back * self.slide)
    }
}

/// The batch answer over everything produced, without the pairs of row and window that are listed
/// as late.
pub(super) fn expected(workload: &Workload, windows: Windows, late: &[Late]) -> Content {
    let late: BTreeSet<(Place, i64)> = late.iter().map(|l| (l.place, l.window_end)).collect();
    let mut content = Content::new();
    for (place, reading) in &workload.made {
        if reading.kind == Kind::Malformed {
            continue;
        }
        for start in windows.starts(reading.event_time) {
            if late.contains(&(*place, start + windows.size)) {
                continue;
            }
            let value = reading.value;
            let one = Totals { sum: value, count: 1, min: value, max: value };
            content
                .entry((start, reading.id))
                .and_modify(|t| {
                    *t = Totals {
                        sum: t.sum + value,
                        count: t.count + 1,
                        min: t.min.min(value),
                        max: t.max.max(value),
                    };
                })
                .or_insert(one);
        }
    }
    content
}

/// What a windowed view holds.
pub(super) async fn actual(client: &Client, view: &str) -> Content {
    let sql =
        format!("SELECT {}, id, total, n, least, greatest FROM {view}", micros("window_start"));
    let mut content = Content::new();
    for row in numbers(client, &sql).await {
        let [start, id, sum, count, min, max] = row[..] else { panic!("six columns: {row:?}") };
        let former = content.insert((start, id), Totals { sum, count, min, max });
        assert_eq!(former, None, "{view} has one row per window and sensor");
    }
    content
}

/// The rows that a view turned away.
pub(super) async fn late(client: &Client, view: &str) -> Vec<Late> {
    let sql = format!(
        "SELECT partition, \"offset\", {}, {}, {} FROM millrace.late_rows WHERE view = '{view}'",
        micros("window_end"),
        micros("event_time"),
        micros("watermark"),
    );
    let mut found = Vec::new();
    for row in numbers(client, &sql).await {
        let [partition, offset, window_end, event_time, watermark] = row[..] else {
            panic!("five columns: {row:?}")
        };
        let partition = i32::try_from(partition).expect("a partition");
        found.push(Late { place: (partition, offset), window_end, event_time, watermark });
    }
    found
}

/// Every listed row is one that was produced, listed once per window, and really below a watermark
/// that had been reached before it; none was inside the delay.
pub(super) fn check_late(workload: &Workload, windows: Windows, late: &[Late]) {
    let mut seen = BTreeSet::new();
    for line in late {
        let reading = workload.made.get(&line.place).expect("a listed row was produced");
        assert!(seen.insert((line.place, line.window_end)), "{line:?} is listed once");
        assert_eq!(reading.event_time, line.event_time, "{line:?} of {reading:?}");
        assert_eq!(reading.kind, Kind::Behind, "only rows far behind are late: {line:?}");
        let mut ends = windows.starts(reading.event_time).map(|start| start + windows.size);
        assert!(ends.any(|end| end == line.window_end), "{line:?} names a window of {reading:?}");
        assert!(line.window_end <= line.watermark, "{line:?} was for an open window");
        let reached = reading.reached.map(|greatest| greatest - DELAY);
        assert!(Some(line.watermark) <= reached, "{line:?}: its partition had reached {reached:?}");
    }
}

/// The counters of `millrace.sources` once they have been posted, which takes a moment.
pub(super) async fn check_counters(client: &Client, source: &str, workload: &Workload) {
    let sql = format!(
        "SELECT partition, \"offset\", lag, rows, malformed, future_rows FROM millrace.sources \
         WHERE source = '{source}' ORDER BY partition"
    );
    let text = |number: i64| Some(number.to_string());
    let wanted: Vec<Vec<Option<String>>> = (0..workload.partitions())
        .map(|partition| {
            let (first, end) = (workload.first(partition), workload.end(partition));
            let malformed = workload.count(partition, Kind::Malformed);
            let future = workload.count(partition, Kind::Future);
            let all = [i64::from(partition), end, 0, end - first - malformed, malformed, future];
            all.map(text).to_vec()
        })
        .collect();
    wait::until(&format!("{sql} gives {wanted:?}"), wait::PATIENCE, || async {
        let found = rows(client, &sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        for (row, wanted) in found.iter().zip(&wanted) {
            let more = |at: usize| number(&row[at]) > number(&wanted[at]);
            assert!(!(3..6).any(more), "counted twice: {row:?}, produced {wanted:?}");
        }
        (found == wanted).then_some(())
    })
    .await;
}

/// Each message that is no row is listed once, with its bytes, and a view over the list counts the same.
pub(super) async fn check_errors(client: &Client, workload: &Workload) {
    let sql = "SELECT partition, \"offset\" FROM millrace.source_errors ORDER BY 1, 2";
    let malformed = workload.made.iter().filter(|(_, reading)| reading.kind == Kind::Malformed);
    let wanted: Vec<Vec<i64>> =
        malformed.map(|((partition, offset), _)| vec![i64::from(*partition), *offset]).collect();
    wait::until(&format!("{sql}: {} rows", wanted.len()), wait::PATIENCE, || async {
        let found = numbers(client, sql).await;
        assert!(found.is_sorted_by(|a, b| a < b), "one is listed twice: {found:?}");
        (found == wanted).then_some(())
    })
    .await;
    let sql = "SELECT partition, n, offsets FROM wrong ORDER BY 1";
    let sums: Vec<Vec<i64>> = (0..workload.partitions())
        .map(|partition| {
            let own = wanted.iter().filter(|row| row[0] == i64::from(partition));
            let (count, sum) = own.fold((0, 0), |all, row| (all.0 + 1, all.1 + row[1]));
            vec![i64::from(partition), count, sum]
        })
        .filter(|row| row[1] > 0)
        .collect();
    wait::until(&format!("{sql} gives {sums:?}"), wait::PATIENCE, || async {
        (numbers(client, sql).await == sums).then_some(())
    })
    .await;
}

/// A whole number as it came; below all others if it was NULL.
fn number(text: &Option<String>) -> Option<i64> {
    text.as_deref().and_then(|text| text.parse().ok())
}

/// Fails with the first differences, not with two whole views.
pub(super) fn assert_same(what: &str, actual: &Content, expected: &Content) {
    let keys: BTreeSet<&(i64, i64)> = actual.keys().chain(expected.keys()).collect();
    let differences: Vec<String> = keys
        .into_iter()
        .filter(|key| actual.get(key) != expected.get(key))
        .take(10)
        .map(|key| format!("{key:?}: {:?}, expected {:?}", actual.get(key), expected.get(key)))
        .collect();
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}

/// An expression for microseconds since 1970 of a timestamptz column.
fn micros(column: &str) -> String {
    format!("(extract(epoch FROM {column}) * 1000000)::bigint")
}

/// Runs a query all of whose columns are whole numbers, none NULL.
pub(super) async fn numbers(client: &Client, sql: &str) -> Vec<Vec<i64>> {
    let found = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let whole = |text| number(text).unwrap_or_else(|| panic!("{text:?} in {sql}"));
    found.iter().map(|row| row.iter().map(whole).collect()).collect()
}
