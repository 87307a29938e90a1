//! What a change costs: state rows read and written per changed row do not grow with the state.
//!
//! It is a count, not a time, so noise does not matter; recomputing a view and sending the
//! difference would fail here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::Schema;
use millrace_dataflow::driver::{Driver, Store};
use millrace_plan::{Leaf, LeafKind, ViewPlan};
use millrace_sql::ROW_ID_COLUMN;
use millrace_types::{Delta, Epoch, OFFSET_COLUMN, ObjectId, PARTITION_COLUMN, TIME_ZONE};

use super::newest;
use super::sql::Sql;

/// Rows with the keys of a range in `u`; all else is NULL.
fn rows(schema: &Arc<Schema>, keys: std::ops::Range<i64>) -> Delta {
    let count = usize::try_from(keys.end - keys.start).expect("a range upwards");
    let column = |field: &arrow::datatypes::FieldRef| -> ArrayRef {
        match field.name().as_str() {
            PARTITION_COLUMN => Arc::new(Int32Array::from(vec![0; count])),
            "u" | OFFSET_COLUMN | ROW_ID_COLUMN => {
                Arc::new(Int64Array::from_iter_values(keys.clone()))
            }
            _ => new_null_array(field.data_type(), count),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    Delta::constant(RecordBatch::try_new(Arc::clone(schema), columns).expect("the schema's"), 1)
}

/// State rows read and written for each of a thousand changed rows, checkpoint included.
fn touched_per_row(groups: i64) -> u64 {
    const CHANGED: i64 = 1000;
    let sql = Sql::new(true);
    let text = "SELECT u AS c0, count(*) AS c1, avg(b) AS c2, max(d) AS c3 FROM s GROUP BY u";
    let plan = sql.plan(text, 0).expect("a plan");
    let schema = sql.source_schema();
    let mut driver = Driver::new(&plan, 2).expect("operators");
    let watermarks = BTreeMap::new();
    for from in (0..groups).step_by(100_000) {
        let delta = rows(&schema, from..groups.min(from + 100_000));
        driver.push(0, 0, &delta, Epoch(1).ts()).expect("columns of the leaf");
    }
    driver.finish(Epoch(1).ts(), &watermarks).expect("an epoch");
    driver.discard().expect("a hand-over");
    let before = driver.touched();
    driver.push(0, 1, &rows(&schema, 0..CHANGED), Epoch(2).ts()).expect("columns of the leaf");
    let out = driver.finish(Epoch(2).ts(), &watermarks).expect("an epoch");
    let changed: usize = out.deltas.iter().map(Delta::len).sum();
    assert_eq!(changed, 2000, "each group is retracted and sent again");
    let mut store = Store::default();
    driver.checkpoint(&mut store).expect("a hand-over");
    assert_eq!(store.len(), 1000, "only what changed is handed over");
    (driver.touched() - before) / CHANGED.cast_unsigned()
}

#[test]
fn a_change_costs_the_same_over_a_thousand_groups_and_a_million() {
    let (small, large) = (touched_per_row(1_000), touched_per_row(1_000_000));
    assert!(small > 0 && large <= 2 * small, "{small} state rows a change, then {large}");
}

/// State rows read and written for each of a thousand changed rows of a join with this many rows on
/// the other side, of which each has one match.
fn touched_per_joined_row(text: &str, state: i64) -> u64 {
    const CHANGED: i64 = 1000;
    let sql = Sql::new(true);
    let plan = sql.plan(text, 0).expect("a plan");
    let schema = sql.table_schema();
    let mut driver = Driver::new(&plan, 2).expect("operators");
    let watermarks = BTreeMap::new();
    for from in (0..state).step_by(100_000) {
        let delta = rows(&schema, from..state.min(from + 100_000));
        driver.push(0, 0, &delta, Epoch(1).ts()).expect("columns of the leaf");
    }
    driver.push(1, 0, &rows(&schema, 0..CHANGED), Epoch(1).ts()).expect("columns of the leaf");
    driver.finish(Epoch(1).ts(), &watermarks).expect("an epoch");
    driver.discard().expect("a hand-over");
    let before = driver.touched();
    let mut store = Store::default();
    for (epoch, weight) in [(2, -1), (3, 1)] {
        let changed = rows(&schema, 0..CHANGED);
        let changed = Delta::constant(changed.rows, weight);
        driver.push(1, 1, &changed, Epoch(epoch).ts()).expect("columns of the leaf");
        let out = driver.finish(Epoch(epoch).ts(), &watermarks).expect("an epoch");
        let changes: usize = out.deltas.iter().map(Delta::len).sum();
        let outer = text.contains("LEFT") || text.contains("FULL");
        assert_eq!(changes, if outer { 2000 } else { 1000 }, "{text}");
        driver.checkpoint(&mut store).expect("a hand-over");
    }
    (driver.touched() - before) / CHANGED.cast_unsigned()
}

#[test]
fn a_joined_row_costs_the_same_beside_a_thousand_rows_and_a_million() {
    for text in [
        "SELECT a.u AS c0, b.u AS c1 FROM w AS a JOIN w AS b ON a.u = b.u",
        "SELECT a.u AS c0, b.u AS c1 FROM w AS a LEFT JOIN w AS b ON a.u = b.u",
        "SELECT a.u AS c0, b.u AS c1 FROM w AS a FULL JOIN w AS b ON a.u = b.u",
        "SELECT a.u AS c0 FROM w AS a WHERE NOT EXISTS (SELECT 1 FROM w AS b WHERE b.u = a.u)",
        "SELECT a.u AS c0 FROM w AS a WHERE a.u IN (SELECT b.u FROM w AS b)",
        "SELECT u AS c0 FROM w INTERSECT ALL SELECT u FROM w",
        "SELECT u AS c0 FROM w EXCEPT ALL SELECT u FROM w",
        "SELECT a.u AS c0, b.u AS c1 FROM w AS a ASOF JOIN w AS b ON a.u / 8 = b.u / 8 AND a.u >= b.u",
    ] {
        let (small, large) =
            (touched_per_joined_row(text, 1_000), touched_per_joined_row(text, 1_000_000));
        assert!(
            small > 0 && large <= 2 * small,
            "{small} state rows a change, then {large}: {text}"
        );
    }
}

/// State rows read and written for each of two thousand changed rows of one group that holds
/// `values` different values, half of the changes retractions.
fn touched_in_one_group(text: &str, values: i64) -> u64 {
    const CHANGED: i64 = 1000;
    let mut sql = Sql::new(true);
    let below = sql.plan("SELECT u AS c0, count(*) AS c1 FROM s GROUP BY u", 0).expect("a plan");
    sql.add(ObjectId(2), "v", &below);
    let plan = sql.plan(text, 0).expect("a plan");
    let rows = |keys: std::ops::Range<i64>, weight: i64| {
        let ones = keys.clone().map(|_| 1);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(keys.clone())),
            Arc::new(Int64Array::from_iter_values(ones)),
        ];
        let schema = Arc::clone(&below.root.meta().schema);
        Delta::constant(RecordBatch::try_new(schema, columns).expect("its columns"), weight)
    };
    let mut driver = Driver::new(&plan, 2).expect("operators");
    let watermarks = BTreeMap::new();
    for from in (0..values).step_by(100_000) {
        let delta = rows(from..values.min(from + 100_000), 1);
        driver.push(0, 0, &delta, Epoch(1).ts()).expect("columns of the leaf");
    }
    driver.finish(Epoch(1).ts(), &watermarks).expect("an epoch");
    driver.discard().expect("a hand-over");
    let before = driver.touched();
    let second = Epoch(2).ts();
    driver.push(0, 1, &rows(0..CHANGED, -1), second).expect("columns of the leaf");
    driver.push(0, 0, &rows(values..values + CHANGED, 1), second).expect("columns of the leaf");
    driver.finish(second, &watermarks).expect("an epoch");
    let mut store = Store::default();
    driver.checkpoint(&mut store).expect("a hand-over");
    (driver.touched() - before) / (2 * CHANGED).cast_unsigned()
}

#[test]
fn a_change_costs_the_same_in_a_group_of_a_thousand_values_and_of_a_million() {
    for text in [
        "SELECT c1, min(c0), max(c0), last_value(c0 ORDER BY c0 DESC), count(DISTINCT c0), \
         sum(DISTINCT c0) FROM v GROUP BY c1",
        "SELECT c0 FROM v ORDER BY c0 DESC LIMIT 10 OFFSET 2",
        "SELECT c0 FROM v ORDER BY c0 DESC FETCH FIRST 10 ROWS WITH TIES",
        "SELECT c0, r FROM (SELECT *, row_number() OVER (PARTITION BY c1 ORDER BY c0) AS r FROM v) \
         AS q WHERE r <= 10",
        // Of the touched group or partition, which is small.
        "SELECT c0 / 4, string_agg(c0::text, ',' ORDER BY c0), median(c0) FROM v GROUP BY c0 / 4",
        "SELECT c0, rank() OVER (PARTITION BY c0 / 4 ORDER BY c0) AS r, \
         sum(c0) OVER (PARTITION BY c0 / 4 ORDER BY c0) AS s FROM v",
    ] {
        let small = touched_in_one_group(text, 1_000);
        let large = touched_in_one_group(text, 1_000_000);
        assert!(
            small > 0 && large <= 2 * small,
            "{small} state rows a change, then {large}: {text}"
        );
    }
}

/// State rows read and written for each of a thousand rows that leave a temporal filter by the clock,
/// beside others that stay.
fn touched_per_leaving_row(staying: i64) -> u64 {
    const LEAVING: i64 = 1000;
    let sql = Sql::new(true);
    let text = "SELECT u AS c0 FROM s WHERE to_timestamp(u) > now() - INTERVAL '1 hour'";
    let plan = sql.plan(text, 0).expect("a plan");
    let schema = sql.source_schema();
    let mut driver = Driver::new(&plan, 2).expect("operators");
    driver.set_now(0);
    for from in (0..LEAVING + staying).step_by(100_000) {
        let delta = rows(&schema, from..(LEAVING + staying).min(from + 100_000));
        driver.push(0, 0, &delta, Epoch(1).ts()).expect("columns of the leaf");
    }
    driver.finish(Epoch(1).ts(), &BTreeMap::new()).expect("an epoch");
    driver.discard().expect("a hand-over");
    let before = driver.touched();
    driver.set_now((LEAVING - 1 + 3600) * 1_000_000);
    let out = driver.finish(Epoch(2).ts(), &BTreeMap::new()).expect("an epoch");
    let left: usize = out.deltas.iter().map(Delta::len).sum();
    assert_eq!(left, 1000, "they leave by themselves");
    driver.checkpoint(&mut Store::default()).expect("a hand-over");
    (driver.touched() - before) / LEAVING.cast_unsigned()
}

#[test]
fn a_row_that_leaves_by_the_clock_costs_the_same_beside_a_thousand_and_a_million() {
    let (small, large) = (touched_per_leaving_row(1_000), touched_per_leaving_row(1_000_000));
    assert!(small > 0 && large <= 2 * small, "{small} state rows a row, then {large}");
}

/// Rows with a key and a time of their own each, ten seconds apart.
fn timed(schema: &Arc<Schema>, keys: std::ops::Range<i64>) -> RecordBatch {
    let made = rows(schema, keys.clone()).rows;
    let number = |key: i64| i32::try_from(key).expect("a key of four bytes");
    let times = keys.clone().map(|key| key * 10_000_000);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone(TIME_ZONE);
    let column = |(at, field): (usize, &arrow::datatypes::FieldRef)| -> ArrayRef {
        match field.name().as_str() {
            "i" => Arc::new(Int32Array::from_iter_values(keys.clone().map(number))),
            "ts" => Arc::new(times.clone()),
            _ => Arc::clone(made.column(at)),
        }
    };
    let columns = schema.fields().iter().enumerate().map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("the schema's")
}

/// A plan with one leaf that holds so many rows of [`timed`], handed over.
fn holding(plan: &ViewPlan, schema: &Arc<Schema>, state: i64) -> Driver {
    let mut driver = Driver::new(plan, 2).expect("operators");
    for from in (0..state).step_by(100_000) {
        let delta = Delta::constant(timed(schema, from..state.min(from + 100_000)), 1);
        driver.push(0, 0, &delta, Epoch(1).ts()).expect("columns of the leaf");
    }
    driver.finish(Epoch(1).ts(), &BTreeMap::new()).expect("an epoch");
    driver.discard().expect("a hand-over");
    driver
}

/// State rows read and written for each of a thousand rows of a plan with one leaf that go and come,
/// beside others.
fn touched_beside(plan: &ViewPlan, schema: &Arc<Schema>, state: i64) -> u64 {
    const CHANGED: i64 = 1000;
    let watermarks = BTreeMap::new();
    let mut driver = holding(plan, schema, state);
    let before = driver.touched();
    let mut store = Store::default();
    for (epoch, weight) in [(2, -1), (3, 1)] {
        let delta = Delta::constant(timed(schema, 0..CHANGED), weight);
        driver.push(0, 1, &delta, Epoch(epoch).ts()).expect("columns of the leaf");
        driver.finish(Epoch(epoch).ts(), &watermarks).expect("an epoch");
        driver.checkpoint(&mut store).expect("a hand-over");
    }
    (driver.touched() - before) / CHANGED.cast_unsigned()
}

#[test]
fn a_row_of_a_session_costs_the_same_beside_a_thousand_sessions_and_a_million() {
    let sql = Sql::new(true);
    let text = "SELECT window_start AS c0, i AS c1, count(*) AS c2 \
                FROM SESSION(w PARTITION BY i, ts, INTERVAL '5 seconds') GROUP BY window_start, i";
    let plan = sql.plan(text, 0).expect("a plan");
    let small = touched_beside(&plan, &sql.table_schema(), 1_000);
    let large = touched_beside(&plan, &sql.table_schema(), 1_000_000);
    assert!(small > 0 && large <= 2 * small, "{small} state rows a change, then {large}");
}

/// The rows of [`timed`] with other values, of messages that came later.
fn newer(schema: &Arc<Schema>, keys: std::ops::Range<i64>, by: i64) -> RecordBatch {
    let made = timed(schema, keys.clone());
    let moved: ArrayRef = Arc::new(Int64Array::from_iter_values(keys.map(|key| key + by)));
    let column = |(at, field): (usize, &arrow::datatypes::FieldRef)| match field.name().as_str() {
        "u" | OFFSET_COLUMN => Arc::clone(&moved),
        _ => Arc::clone(made.column(at)),
    };
    let columns = schema.fields().iter().enumerate().map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("the schema's")
}

/// State rows read and written for each of a thousand keys of a table that a topic fills, which get a
/// newer row each, beside others.
fn touched_per_newer_row(state: i64) -> u64 {
    const CHANGED: i64 = 1000;
    let sql = Sql::new(true);
    let (plan, schema) = (newest::plan(&sql), sql.source_schema());
    let watermarks = BTreeMap::new();
    let mut driver = holding(&plan, &schema, state);
    let before = driver.touched();
    let delta = Delta::constant(newer(&schema, 0..CHANGED, state), 1);
    driver.push(0, 1, &delta, Epoch(2).ts()).expect("columns of the leaf");
    let out = driver.finish(Epoch(2).ts(), &watermarks).expect("an epoch");
    let changes: usize = out.deltas.iter().map(Delta::len).sum();
    assert_eq!(changes, 2000, "each key's row is retracted, and the newer one sent");
    driver.checkpoint(&mut Store::default()).expect("a hand-over");
    (driver.touched() - before) / CHANGED.cast_unsigned()
}

#[test]
fn a_newer_row_of_a_key_costs_the_same_beside_a_thousand_keys_and_a_million() {
    let (small, large) = (touched_per_newer_row(1_000), touched_per_newer_row(1_000_000));
    assert!(small > 0 && large <= 2 * small, "{small} state rows a row, then {large}");
}

/// State rows read and written for each of a thousand rows that are looked up in a table of many.
fn touched_by_look_up(state: i64) -> u64 {
    const LOOKED_UP: i64 = 1000;
    let sql = Sql::new(true);
    let text = "SELECT a.u AS c0, b.u AS c1 FROM s AS a \
                LEFT JOIN w FOR SYSTEM_TIME AS OF PROCTIME() AS b ON a.u = b.u";
    let plan = sql.plan(text, 0).expect("a plan");
    let leaves = plan.root.leaves();
    let is_source = |leaf: &&Leaf| matches!(leaf.kind, LeafKind::Source(_));
    let source = leaves.iter().position(is_source).expect("it reads the source");
    let mut driver = Driver::new(&plan, 2).expect("operators");
    let watermarks = BTreeMap::new();
    for from in (0..state).step_by(100_000) {
        let delta = rows(&sql.table_schema(), from..state.min(from + 100_000));
        driver.push(1 - source, 0, &delta, Epoch(1).ts()).expect("columns of the leaf");
    }
    driver.finish(Epoch(1).ts(), &watermarks).expect("an epoch");
    driver.discard().expect("a hand-over");
    let before = driver.touched();
    let delta = rows(&sql.source_schema(), 0..LOOKED_UP);
    driver.push(source, 1, &delta, Epoch(2).ts()).expect("columns of the leaf");
    let out = driver.finish(Epoch(2).ts(), &watermarks).expect("an epoch");
    assert_eq!(out.deltas.iter().map(Delta::len).sum::<usize>(), 1000, "each finds one row");
    driver.checkpoint(&mut Store::default()).expect("a hand-over");
    (driver.touched() - before) / LOOKED_UP.cast_unsigned()
}

#[test]
fn a_row_that_is_looked_up_costs_the_same_in_a_table_of_a_thousand_rows_and_a_million() {
    let (small, large) = (touched_by_look_up(1_000), touched_by_look_up(1_000_000));
    assert!(small > 0 && large <= 2 * small, "{small} state rows a row, then {large}");
}
