//! ASOF joins of two small inputs, epoch by epoch: which rows leave, and that no others do.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millrace_plan::{
    JoinPair, Leaf, LeafKind, Meta, Nearest as Node, NearestSide, Node as Input, ViewPlan,
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
