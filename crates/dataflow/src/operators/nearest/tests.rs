//! ASOF joins of two small inputs, epoch by epoch: which rows leave, and that no others do.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use millrace_plan::{
    JoinPair, Leaf, LeafKind, Meta, Nearest as Node, NearestSide, Node as Input, ViewPlan,
    Watermark,
};
use millrace_types::{Delta, Epoch, ObjectId};

use crate::driver::{Driver, Store};

/// Key, time, number, weight.
type Row = (i64, i64, i64, i64);
/// Number of the left row, number of the right one, weight.
type Pair = (i64, Option<i64>, i64);

const LAST: NearestSide = NearestSide { later: false, strict: false };

fn schema(names: [&str; 3]) -> Arc<Schema> {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Int64, true)).to_vec()))
}

fn input(id: u32, names: [&str; 3]) -> Input {
    let meta =
        Meta { schema: schema(names), key: vec![2], append_only: false, watermarks: Vec::new() };
    Input::Leaf(Leaf { kind: LeafKind::View(ObjectId(id)), columns: vec![0, 1, 2], meta })
}

fn plan(keeps_left: bool, side: NearestSide) -> ViewPlan {
    let (left, right) = (input(1, ["k", "a", "n"]), input(2, ["l", "b", "m"]));
    let schema = Node::output_schema(keeps_left, &left.meta().schema, &right.meta().schema);
    let meta = Meta { schema, key: vec![2], append_only: false, watermarks: Vec::new() };
    let pair = |column| JoinPair { left: column, right: column, null_equal: false };
    let (on, times) = (vec![pair(0)], pair(1));
    let join = Node { left, right, keeps_left, on, times, side, settled: None, meta };
    ViewPlan { root: Input::Nearest(Box::new(join)), sort: vec![2], retention: None }
}

fn delta(names: [&str; 3], rows: &[Row]) -> Delta {
    let column = |of: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
    };
    let columns = vec![column(|row| row.0), column(|row| row.1), column(|row| row.2)];
    let weights = Int64Array::from_iter_values(rows.iter().map(|row| row.3));
    Delta::new(RecordBatch::try_new(schema(names), columns).unwrap(), weights)
}

/// Runs an epoch.
fn epoch(driver: &mut Driver, number: u64, left: &[Row], right: &[Row]) -> Vec<Pair> {
    let ts = Epoch(number).ts();
    driver.push(0, 0, &delta(["k", "a", "n"], left), ts).unwrap();
    driver.push(1, 0, &delta(["l", "b", "m"], right), ts).unwrap();
    let mut pairs = Vec::new();
    for delta in driver.finish(ts, &BTreeMap::new()).unwrap().deltas {
        let column = |at: usize| delta.rows.column(at).as_primitive::<Int64Type>().clone();
        let (left, right) = (column(2), column(5));
        for row in 0..delta.len() {
            let other = right.is_valid(row).then(|| right.value(row));
            pairs.push((left.value(row), other, delta.weights.value(row)));
        }
    }
    pairs.sort_unstable();
    pairs
}

#[test]
fn a_right_row_changes_the_left_rows_up_to_its_neighbour() {
    let mut driver = Driver::new(&plan(true, LAST), 1).unwrap();
    let left = [(1, 5, 1, 1), (1, 10, 2, 1), (1, 15, 3, 1), (1, 20, 4, 1), (2, 15, 5, 1)];
    let right = [(1, 10, 100, 1), (1, 20, 200, 1)];
    assert_eq!(
        epoch(&mut driver, 1, &left, &right),
        [(1, None, 1), (2, Some(100), 1), (3, Some(100), 1), (4, Some(200), 1), (5, None, 1)]
    );
    let come = epoch(&mut driver, 2, &[], &[(1, 12, 120, 1)]);
    assert_eq!(come, [(3, Some(100), -1), (3, Some(120), 1)]);
    let moved = epoch(&mut driver, 3, &[], &[(1, 12, 120, -1), (1, 4, 40, 1), (1, 20, 200, -1)]);
    assert_eq!(
        moved,
        [
            (1, None, -1),
            (1, Some(40), 1),
            (3, Some(100), 1),
            (3, Some(120), -1),
            (4, Some(100), 1),
            (4, Some(200), -1)
        ]
    );
}

#[test]
fn both_sides_may_change_at_once_and_rows_of_one_time_have_an_order() {
    let mut driver = Driver::new(&plan(false, LAST), 2).unwrap();
    epoch(&mut driver, 1, &[(1, 10, 1, 1)], &[(1, 10, 7, 1)]);
    let smaller = epoch(&mut driver, 2, &[], &[(1, 10, 6, 1), (1, 10, 8, 1)]);
    assert_eq!(smaller, [(1, Some(6), 1), (1, Some(7), -1)]);
    let both = epoch(&mut driver, 3, &[(1, 10, 1, -1), (1, 11, 2, 1)], &[(1, 10, 6, -1)]);
    assert_eq!(both, [(1, Some(6), -1), (2, Some(7), 1)]);
    assert_eq!(epoch(&mut driver, 4, &[], &[(1, 12, 9, 1), (3, 1, 10, 1)]), []);
}

#[test]
fn each_side_of_a_time_is_found() {
    let right = [(1, 10, 100, 1), (1, 20, 200, 1), (1, 20, 201, 1)];
    let left = [(1, 10, 1, 1), (1, 15, 2, 1), (1, 20, 3, 1)];
    for (later, strict, found) in [
        (false, false, [Some(100), Some(100), Some(200)]),
        (false, true, [None, Some(100), Some(100)]),
        (true, false, [Some(100), Some(200), Some(200)]),
        (true, true, [Some(200), Some(200), None]),
    ] {
        let mut driver = Driver::new(&plan(true, NearestSide { later, strict }), 1).unwrap();
        let pairs = epoch(&mut driver, 1, &left, &right);
        let others: Vec<Option<i64>> = pairs.iter().map(|pair| pair.1).collect();
        assert_eq!(others, found, "later {later}, strict {strict}");
    }
}

#[test]
fn a_stop_forgets_no_match() {
    let plan = plan(true, LAST);
    let mut driver = Driver::new(&plan, 2).unwrap();
    epoch(&mut driver, 1, &[(1, 10, 1, 1), (2, 5, 2, 1)], &[(1, 9, 90, 1), (1, 3, 30, 1)]);
    let mut store = Store::default();
    driver.checkpoint(&mut store).unwrap();
    epoch(&mut driver, 2, &[], &[(1, 3, 30, -1)]);
    driver.checkpoint(&mut store).unwrap();
    let mut driver = Driver::recover(&plan, 1, &store).unwrap();
    let gone = epoch(&mut driver, 3, &[], &[(1, 9, 90, -1)]);
    assert_eq!(gone, [(1, None, 1), (1, Some(90), -1)]);
}

#[test]
fn rows_that_wait_for_a_later_one_go_with_it() {
    let timestamp = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = |names: [&str; 3]| {
        let types = [DataType::Int64, timestamp(), DataType::Int64];
        let fields = names.iter().zip(types).map(|(name, t)| Field::new(*name, t, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    let settled = Watermark { column: 1, shift: 1, sources: vec![ObjectId(1), ObjectId(2)] };
    for strict in [false, true] {
        let mut plan = plan(true, NearestSide { later: true, strict });
        let Input::Nearest(join) = &mut plan.root else { panic!("an ASOF join") };
        join.settled = Some(settled.clone());
        for (input, names) in
            [(&mut join.left, ["k", "a", "n"]), (&mut join.right, ["l", "b", "m"])]
        {
            let Input::Leaf(leaf) = input else { panic!("a leaf") };
            leaf.meta.schema = schema(names);
        }
        join.meta.schema =
            Node::output_schema(true, &join.left.meta().schema, &join.right.meta().schema);
        let mut driver = Driver::new(&plan, 1).unwrap();
        driver.set_fuel(2);
        let mut store = Store::default();
        let timed = |names: [&str; 3], rows: &[Row]| {
            let delta = delta(names, rows);
            let schema = schema(names);
            let columns = delta.rows.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap());
            let columns = columns.collect();
            let rows = RecordBatch::try_new(schema, columns).unwrap();
            Delta::new(rows, delta.weights)
        };
        let mut epoch = |number: u64, left: &[Row], right: &[Row], watermark: i64| {
            let ts = Epoch(number).ts();
            driver.push(0, 0, &timed(["k", "a", "n"], left), ts).unwrap();
            driver.push(1, 0, &timed(["l", "b", "m"], right), ts).unwrap();
            let watermarks =
                BTreeMap::from([(ObjectId(1), watermark), (ObjectId(2), watermark + 5)]);
            driver.finish(ts, &watermarks).unwrap();
            driver.checkpoint(&mut store).unwrap();
            store.len()
        };
        let left = [(1, 5, 1, 1), (1, 20, 2, 1), (1, 30, 3, 1), (2, 5, 4, 1)];
        let right = [(1, 10, 100, 1), (1, 20, 200, 1), (1, 40, 400, 1)];
        assert_eq!(epoch(1, &left, &right, 5), 7);
        // The first right row, and the left one before it; rows of another key have come.
        assert_eq!(epoch(2, &[(9, 90, 5, 1)], &[], 11), 6);
        // The second right row; a left one of its very time takes it, or does not.
        assert_eq!(epoch(3, &[(9, 91, 6, 1)], &[], 21), if strict { 6 } else { 5 });
        assert_eq!(epoch(4, &[(1, 35, 7, 1)], &[], 40), if strict { 7 } else { 6 });
        // What has found none stays.
        assert_eq!(epoch(5, &[(9, 92, 8, 1)], &[], 50), 4);
    }
}

#[test]
fn many_rows_of_a_key_change_in_pieces_and_show_the_same() {
    for side in [LAST, NearestSide { later: true, strict: true }] {
        let run = |fuel: usize| {
            let mut driver = Driver::new(&plan(true, side), 1).unwrap();
            driver.set_fuel(fuel);
            let row = |n: i64| (n % 2, n * 7 % 50, n, 1);
            let left: Vec<Row> = (0..40).map(row).collect();
            let right: Vec<Row> = (0..40).map(|n| (n % 2, n * 11 % 50, 100 + n, 1)).collect();
            let first = epoch(&mut driver, 1, &left, &right);
            let gone = |rows: &[Row]| -> Vec<Row> {
                rows.iter().step_by(3).map(|row| (row.0, row.1, row.2, -1)).collect()
            };
            let come: Vec<Row> = (0..20).map(|n| (n % 2, n * 5 % 50, 200 + n, 1)).collect();
            let both = [gone(&right), come].concat();
            (first, epoch(&mut driver, 2, &gone(&left), &both))
        };
        let whole = run(1 << 20);
        assert!(whole.1.len() > 20, "{whole:?}");
        for fuel in [1, 2, 5, 40] {
            assert_eq!(run(fuel), whole, "fuel {fuel}");
        }
    }
}
