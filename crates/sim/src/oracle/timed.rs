//! Random joins that bound the times of their sides against each other: their state goes with the
//! watermark.
//!
//! Sides are the source, whose rows can then be late, and what has windows: views of groups.

use millrace_types::SqlType;
use rand::Rng;
use rand::rngs::StdRng;

use super::query::{Input, Query, is_integer};

/// A join on times, if two of the inputs have a time; one of them is the last.
pub(super) fn joined(inputs: &[Input], random: &mut StdRng) -> Option<Query> {
    let timed: Vec<&Input> = inputs.iter().filter(|input| time(input).is_some()).collect();
    let last = inputs.last().filter(|input| time(input).is_some())?;
    let mut sides = [last, timed[random.random_range(0..timed.len())]];
    if random.random() {
        sides.reverse();
    }
    let [left, right] = sides;
    let (one, other) = (time(left)?, time(right)?);
    let key = |input: &Input| {
        let found = input.columns.iter().find(|(_, t)| is_integer(t));
        found.map_or_else(|| "1".to_owned(), |(name, _)| name.clone())
    };
    let keys = format!("a.{} = b.{}", key(left), key(right)).replace("a.1 = b.1", "true");
    let keys = keys.replace("a.1", "1").replace("b.1", "1");
    if random.random_ratio(1, 4) {
        return Some(nearest(left, right, &keys, random));
    }
    let (times, width) = near(&one, &other, random);
    let (a, b) = (thinned(left, random), thinned(right, random));
    let from = format!("{a} AS a");
    let condition = format!("{keys} AND {times}");
    let own = format!("a.{one} AS c0, {} AS c1", show(left, "a", random));
    let text = match random.random_range(0..8) {
        0 => format!(
            "SELECT {own} FROM {from} WHERE EXISTS (SELECT 1 FROM {b} AS b WHERE {condition})"
        ),
        1 => format!(
            "SELECT {own} FROM {from} WHERE NOT EXISTS (SELECT 1 FROM {b} AS b WHERE {condition})"
        ),
        which => {
            let kind =
                ["FULL JOIN", "JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][which - 2];
            let others = format!("b.{other} AS c2, {} AS c3", show(right, "b", random));
            format!("SELECT {own}, {others} FROM {from} {kind} {b} AS b ON {condition}")
        }
    };
    let both_sources = left.append_only && right.append_only;
    let closes = if both_sources { closes(&text, width) } else { None };
    Some(Query { one_window: both_sources, closes, ..Query::new(text) })
}

/// A condition that bounds two times against each other, and how far a left one and a right one may be
/// before the other.
fn near(one: &str, other: &str, random: &mut StdRng) -> (String, (i32, i32)) {
    let (before, after) = (random.random_range(0..6), random.random_range(0..6));
    match random.random_range(0..4) {
        0 => (format!("a.{one} = b.{other}"), (0, 0)),
        1 => (
            format!(
                "b.{other} >= a.{one} - INTERVAL '{after} s' \
                 AND b.{other} <= a.{one} + INTERVAL '{before} s'"
            ),
            (before, after),
        ),
        2 => (
            format!(
                "a.{one} + INTERVAL '{before} s' > b.{other} \
                 AND a.{one} - INTERVAL '{after} s' < b.{other}"
            ),
            (before, after),
        ),
        _ => (
            format!(
                "a.{one} BETWEEN b.{other} - INTERVAL '{before} s' \
                 AND b.{other} + INTERVAL '{after} s'"
            ),
            (before, after),
        ),
    }
}

/// The row that is nearest before another, or behind it.
fn nearest(left: &Input, right: &Input, keys: &str, random: &mut StdRng) -> Query {
    let (one, other) = (time(left).unwrap_or_default(), time(right).unwrap_or_default());
    let (a, b) = (thinned(left, random), thinned(right, random));
    let own = format!("a.{one} AS c0, {} AS c1", show(left, "a", random));
    let others = format!("b.{other} AS c2, {} AS c3", show(right, "b", random));
    let times = format!("a.{one} {} b.{other}", [">=", ">", "<=", "<"][random.random_range(0..4)]);
    let later = times.contains('<');
    let kind = ["ASOF JOIN", "ASOF LEFT JOIN"][random.random_range(0..2)];
    let compares = keys.contains("a.") && keys.contains("b.");
    let condition = if compares { format!("{keys} AND {times}") } else { times };
    let text = format!("SELECT {own}, {others} FROM {a} AS a {kind} {b} AS b ON {condition}");
    let both = left.append_only && right.append_only;
    let closes = match (later, kind) {
        (false, _) => Some("c0"),
        (true, "ASOF JOIN") => Some("c2"),
        // What has not found its row yet has no bound.
        (true, _) => None,
    };
    let closes = closes.filter(|_| both).map(|time| format!("{time} + INTERVAL '1 microsecond'"));
    Query { one_window: both, closes, ..Query::new(text) }
}

/// When a row of a join of sources is final.
fn closes(text: &str, width: (i32, i32)) -> Option<String> {
    // What is strict is strict by a microsecond, which the promise on the pairs takes off.
    if text.contains("EXISTS") || text.contains(" > b.") {
        return None;
    }
    let end = |column: &str, width: i32| format!("{column} + INTERVAL '{width} s 1 microsecond'");
    let (one, other) = (end("c0", width.0), end("c2", width.1));
    if text.contains("FULL JOIN") {
        return Some(format!("coalesce({one}, {other})"));
    }
    let by_left = text.contains("LEFT JOIN") || width.0 <= width.1;
    Some(if by_left && !text.contains("RIGHT JOIN") { one } else { other })
}

/// The first column that is a time.
fn time(input: &Input) -> Option<String> {
    let found = input.columns.iter().find(|(_, t)| *t == SqlType::TimestampTz);
    found.map(|(name, _)| name.clone())
}

fn show(input: &Input, alias: &str, random: &mut StdRng) -> String {
    let (name, _) = &input.columns[random.random_range(0..input.columns.len())];
    format!("{alias}.{name}")
}

/// The source without most of its rows, so that a join stays small.
fn thinned(input: &Input, random: &mut StdRng) -> String {
    match input.append_only {
        true => {
            format!("(SELECT * FROM {} WHERE u % 3 <> {})", input.name, random.random_range(0..4))
        }
        false => input.name.clone(),
    }
}
