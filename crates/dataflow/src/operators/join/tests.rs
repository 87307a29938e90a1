//! Joins of two small inputs, epoch by epoch: what leaves, under retraction and multiplicity.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::logical_expr::Operator as Symbol;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use millrace_plan::{
    Join as Node, JoinKind, JoinPair, Leaf, LeafKind, Meta, Node as Input, Scalar, ViewPlan,
};
use millrace_types::{Delta, Epoch, ObjectId};

use crate::driver::{Driver, Store};
use crate::operator::Output;

/// A row of an input, with its weight.
type Row = (Option<i64>, i64, i64);
/// A row that leaves, by weight.
type Rows = BTreeMap<Vec<Option<i64>>, i64>;

fn schema(names: [&str; 2]) -> Arc<Schema> {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Int64, true)).to_vec()))
}

fn input(id: u32, names: [&str; 2]) -> Input {
    let meta =
        Meta { schema: schema(names), key: vec![1], append_only: false, watermarks: Vec::new() };
    Input::Leaf(Leaf { kind: LeafKind::View(ObjectId(id)), columns: vec![0, 1], meta })
}

fn plan(kind: JoinKind, filter: Option<Arc<dyn PhysicalExpr>>) -> ViewPlan {
    let (left, right) = (input(1, ["k", "a"]), input(2, ["l", "b"]));
    let output = Node::output_schema(kind, &left.meta().schema, &right.meta().schema);
    let key = if kind.gives_pairs() { vec![1, 3] } else { vec![1] };
    let meta =
        Meta { schema: output, key: key.clone(), append_only: false, watermarks: Vec::new() };
    let on = vec![JoinPair { left: 0, right: 0, null_equal: false }];
    let (filter, clean) = (filter.map(Scalar), [None, None]);
    let join = Node { left, right, kind, on, filter, clean, lookup: false, meta };
    ViewPlan { root: Input::Join(Box::new(join)), sort: key, retention: None }
}

/// `100 / b > a`: fails where `b` is 0.
fn quotient() -> Arc<dyn PhysicalExpr> {
    let column = |name: &str, at| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(name, at)) };
    let divided = BinaryExpr::new(lit(100i64), Symbol::Divide, column("b", 3));
    Arc::new(BinaryExpr::new(Arc::new(divided), Symbol::Gt, column("a", 1)))
}

fn delta(names: [&str; 2], rows: &[Row]) -> Delta {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let values: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>());
    let weights = rows.iter().map(|row| Some(row.2)).collect::<Int64Array>();
    Delta::new(RecordBatch::try_new(schema(names), vec![keys, values]).unwrap(), weights)
}

/// Runs an epoch; each change as it left, so that what flickers is seen.
fn epoch(driver: &mut Driver, number: u64, left: &[Row], right: &[Row]) -> (Rows, Output) {
    let ts = Epoch(number).ts();
    driver.push(0, 0, &delta(["k", "a"], left), ts).unwrap();
    driver.push(1, 0, &delta(["l", "b"], right), ts).unwrap();
    let out = driver.finish(ts, &BTreeMap::new()).unwrap();
    let mut rows = Rows::new();
    for delta in &out.deltas {
        for row in 0..delta.len() {
            let value = |column: &ArrayRef| {
                let column = column.as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let values = delta.rows.columns().iter().map(value).collect();
            let before = rows.insert(values, delta.weights.value(row));
            assert_eq!(before, None, "a row leaves once a time");
        }
    }
    (rows, out)
}

fn rows<const N: usize, const R: usize>(rows: [([i64; N], i64); R]) -> Rows {
    let optional = |value: i64| (value != NULL).then_some(value);
    rows.into_iter().map(|(row, weight)| (row.map(optional).to_vec(), weight)).collect()
}

const NULL: i64 = i64::MIN;

#[test]
fn left_join_retracts_null_row_on_match() {
    let mut driver = Driver::new(&plan(JoinKind::Left, None), 1).unwrap();
    let alone = epoch(&mut driver, 1, &[(Some(1), 10, 1)], &[]).0;
    assert_eq!(alone, rows([([1, 10, NULL, NULL], 1)]));
    let matched = epoch(&mut driver, 2, &[], &[(Some(1), 7, 1)]).0;
    assert_eq!(matched, rows([([1, 10, NULL, NULL], -1), ([1, 10, 1, 7], 1)]));
    let alone = epoch(&mut driver, 3, &[], &[(Some(1), 7, -1)]).0;
    assert_eq!(alone, rows([([1, 10, NULL, NULL], 1), ([1, 10, 1, 7], -1)]));
}

#[test]
fn null_row_does_not_flicker_when_one_match_replaces_another() {
    let mut driver = Driver::new(&plan(JoinKind::Full, None), 1).unwrap();
    epoch(&mut driver, 1, &[(Some(1), 10, 1)], &[(Some(1), 7, 1)]);
    let moved = epoch(&mut driver, 2, &[], &[(Some(1), 8, 1), (Some(1), 7, -1)]).0;
    assert_eq!(moved, rows([([1, 10, 1, 7], -1), ([1, 10, 1, 8], 1)]));
    let swapped =
        epoch(&mut driver, 3, &[(Some(1), 10, -1), (Some(1), 11, 1)], &[(Some(1), 8, -1)]).0;
    assert_eq!(swapped, rows([([1, 10, 1, 8], -1), ([1, 11, NULL, NULL], 1)]));
}

#[test]
fn pair_that_comes_and_goes_within_an_epoch_leaves_nothing() {
    let mut driver = Driver::new(&plan(JoinKind::Inner, None), 1).unwrap();
    epoch(&mut driver, 1, &[], &[(Some(1), 7, 1)]);
    let nothing = epoch(&mut driver, 2, &[(Some(1), 10, 1)], &[(Some(1), 7, -1)]).0;
    assert_eq!(nothing, Rows::new());
}

#[test]
fn multiplicities_are_multiplied() {
    let mut driver = Driver::new(&plan(JoinKind::Inner, None), 1).unwrap();
    let pairs = epoch(&mut driver, 1, &[(Some(1), 10, 2)], &[(Some(1), 7, 3)]).0;
    assert_eq!(pairs, rows([([1, 10, 1, 7], 6)]));
    let fewer = epoch(&mut driver, 2, &[(Some(1), 10, -1)], &[(Some(1), 7, -1)]).0;
    assert_eq!(fewer, rows([([1, 10, 1, 7], -4)]));
}

#[test]
fn null_keys_match_nothing_and_rows_without_a_match_are_kept() {
    let null = [(None, 10, 1)];
    let mut driver = Driver::new(&plan(JoinKind::Full, None), 1).unwrap();
    let padded = epoch(&mut driver, 1, &null, &null).0;
    assert_eq!(padded, rows([([NULL, 10, NULL, NULL], 1), ([NULL, NULL, NULL, 10], 1)]));
    for (kind, expected) in [
        (JoinKind::Inner, Rows::new()),
        (JoinKind::Semi, Rows::new()),
        (JoinKind::Anti, rows([([NULL, 10], 1)])),
    ] {
        let mut driver = Driver::new(&plan(kind, None), 1).unwrap();
        assert_eq!(epoch(&mut driver, 1, &null, &null).0, expected, "{kind:?}");
    }
}

#[test]
fn semi_and_anti_rows_come_and_go_with_the_first_and_last_match() {
    let left = [(Some(1), 10, 2), (Some(2), 20, 1)];
    let mut semi = Driver::new(&plan(JoinKind::Semi, None), 1).unwrap();
    let mut anti = Driver::new(&plan(JoinKind::Anti, None), 1).unwrap();
    for (number, right, expected) in [
        (1, vec![], [Rows::new(), rows([([1, 10], 2), ([2, 20], 1)])]),
        (2, vec![(Some(1), 7, 1)], [rows([([1, 10], 2)]), rows([([1, 10], -2)])]),
        (3, vec![(Some(1), 8, 1), (Some(1), 7, -1)], [Rows::new(), Rows::new()]),
        (4, vec![(Some(1), 8, -1)], [rows([([1, 10], -2)]), rows([([1, 10], 2)])]),
    ] {
        let left: &[Row] = if number == 1 { &left } else { &[] };
        assert_eq!(epoch(&mut semi, number, left, &right).0, expected[0], "semi, {number}");
        assert_eq!(epoch(&mut anti, number, left, &right).0, expected[1], "anti, {number}");
    }
}

#[test]
fn failing_condition_is_an_error_row_that_goes_with_its_pair() {
    let mut driver = Driver::new(&plan(JoinKind::Left, Some(quotient())), 1).unwrap();
    let right = [(Some(1), 0, 1), (Some(1), 5, 1)];
    let (shown, out) = epoch(&mut driver, 1, &[(Some(1), 10, 1)], &right);
    assert_eq!(shown, rows([([1, 10, 1, 5], 1)]));
    let [error] = out.errors.as_slice() else { panic!("{:?}", out.errors) };
    assert_eq!((error.key.as_str(), error.code.as_str(), error.weight), ("a=10, b=0", "22012", 1));
    let (shown, out) = epoch(&mut driver, 2, &[], &[(Some(1), 0, -1)]);
    assert_eq!((shown, out.errors[0].weight), (Rows::new(), -1));
}

#[test]
fn state_survives_a_stop_with_another_number_of_workers() {
    let plan = plan(JoinKind::Full, None);
    let mut driver = Driver::new(&plan, 1).unwrap();
    let left: Vec<Row> = (0..50).map(|at| (Some(at), at, 1)).collect();
    let right: Vec<Row> = (25..75).map(|at| (Some(at), -at, 1)).collect();
    epoch(&mut driver, 1, &left, &right);
    let mut store = Store::default();
    driver.checkpoint(&mut store).unwrap();
    assert_eq!(store.len(), 100);
    let mut driver = Driver::recover(&plan, 3, &store).unwrap();
    let gone: Vec<Row> = left.iter().map(|row| (row.0, row.1, -1)).collect();
    let (shown, _) = epoch(&mut driver, 2, &gone, &[]);
    assert_eq!(shown.len(), 75, "25 alone, 25 pairs, 25 right rows alone again");
    driver.checkpoint(&mut store).unwrap();
    assert_eq!(store.len(), 50);
}

/// One right row comes, changes and goes; each time it meets all left rows, in many pieces.
#[test]
fn one_row_that_meets_very_many_is_finished_in_pieces() {
    const ROWS: i64 = 100;
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Semi, JoinKind::Anti] {
        let mut totals = Vec::new();
        for fuel in [1, 7, 1 << 20] {
            let mut driver = Driver::new(&plan(kind, None), 1).unwrap();
            driver.set_fuel(fuel);
            let lefts: Vec<Row> = (0..ROWS).map(|n| (Some(1), n, 1)).collect();
            let rights: [&[Row]; 4] = [
                &[],
                &[(Some(1), 5, 1)],
                &[(Some(1), 5, -1), (Some(1), 6, 1)],
                &[(Some(1), 6, -1)],
            ];
            let mut total = Vec::new();
            for (epoch, rights) in (1..).zip(rights) {
                if epoch == 1 {
                    driver.push(0, 0, &delta(["k", "a"], &lefts), Epoch(epoch).ts()).unwrap();
                }
                driver.push(1, 0, &delta(["l", "b"], rights), Epoch(epoch).ts()).unwrap();
                let out = driver.finish(Epoch(epoch).ts(), &BTreeMap::new()).unwrap();
                let said = said(&out);
                assert!(said.values().all(|weight| weight.abs() == 1), "{kind:?}: {said:?}");
                total.push(said);
            }
            totals.push(total);
        }
        assert!(totals.iter().all(|total| *total == totals[2]), "{kind:?}");
        assert!(totals[2].iter().map(BTreeMap::len).max() >= Some(100), "{kind:?}");
    }
}

/// The rows of an output with their weights, added up.
fn said(out: &Output) -> Rows {
    let mut said = Rows::new();
    for delta in &out.deltas {
        let columns: Vec<_> =
            delta.rows.columns().iter().map(|c| c.as_primitive::<Int64Type>()).collect();
        for (row, weight) in delta.weights.values().iter().enumerate() {
            let value = |c: &&arrow::array::PrimitiveArray<Int64Type>| {
                c.is_valid(row).then(|| c.value(row))
            };
            *said.entry(columns.iter().map(value).collect()).or_default() += weight;
        }
    }
    said
}

/// Rows of both sides of one key come, change and go at once, in many pieces.
#[test]
fn a_key_both_of_whose_sides_change_is_finished_in_pieces() {
    let change = |old: std::ops::Range<i64>, new: std::ops::Range<i64>| -> Vec<Row> {
        let gone = old.clone().filter(|n| !new.contains(n)).map(|n| (Some(1), n, -1));
        let come = new.clone().filter(|n| !old.contains(n)).map(|n| (Some(1), n, 1));
        gone.chain(come).collect()
    };
    let times = [(0..12, 0..9), (6..20, 5..9), (6..21, 5..30), (0..3, 0..0), (0..3, 4..6)];
    for kind in [JoinKind::Inner, JoinKind::Full, JoinKind::Semi, JoinKind::Anti] {
        for fuel in [1, 5, 1 << 20] {
            let mut driver = Driver::new(&plan(kind, None), 1).unwrap();
            driver.set_fuel(fuel);
            let (mut lefts, mut rights) = (0..0, 0..0);
            let mut content = Rows::new();
            for (epoch, (left, right)) in (1..).zip(times.clone()) {
                let (one, other) = (change(lefts, left.clone()), change(rights, right.clone()));
                (lefts, rights) = (left, right);
                driver.push(0, 0, &delta(["k", "a"], &one), Epoch(epoch).ts()).unwrap();
                driver.push(1, 0, &delta(["l", "b"], &other), Epoch(epoch).ts()).unwrap();
                let out = driver.finish(Epoch(epoch).ts(), &BTreeMap::new()).unwrap();
                let batches: usize = out.deltas.iter().map(Delta::len).sum();
                let said = said(&out);
                assert_eq!(batches, said.len(), "{kind:?}, {epoch}: nothing is said twice");
                for (row, weight) in said {
                    *content.entry(row).or_default() += weight;
                }
                content.retain(|_, weight| *weight != 0);
                let pairs = lefts.clone().count() * rights.clone().count();
                let expected = match kind {
                    JoinKind::Inner => pairs,
                    JoinKind::Semi => {
                        if pairs > 0 {
                            lefts.clone().count()
                        } else {
                            0
                        }
                    }
                    JoinKind::Anti => {
                        if pairs > 0 {
                            0
                        } else {
                            lefts.clone().count()
                        }
                    }
                    _ => pairs.max(lefts.clone().count()).max(rights.clone().count()),
                };
                assert_eq!(content.len(), expected, "{kind:?}, {epoch}, {fuel}");
                assert!(content.values().all(|weight| *weight == 1), "{kind:?}, {epoch}");
            }
        }
    }
}
