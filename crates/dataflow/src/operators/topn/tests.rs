//! Top-N over small inputs, epoch by epoch: what leaves, under retraction and ties.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millrace_plan::{Leaf, LeafKind, Meta, Node, Order, TopN, ViewPlan};
use millrace_types::{Delta, Epoch, ObjectId};

use crate::driver::{Driver, Store};

/// Group, value, key, and the weight.
type Row = ([i64; 3], i64);
/// A row that leaves, by weight.
type Rows = BTreeMap<Vec<i64>, i64>;

/// What a test asks for.
struct Asked {
    append_only: bool,
    grouped: bool,
    window: (u64, u64),
    position: bool,
}

const TWO: Asked = Asked { append_only: false, grouped: true, window: (0, 2), position: false };

fn plan(asked: &Asked) -> ViewPlan {
    let schema = ["g", "v", "k"].map(|name| Field::new(name, DataType::Int64, true)).to_vec();
    let schema = Arc::new(Schema::new(schema));
    let meta = Meta {
        schema: Arc::clone(&schema),
        key: vec![2],
        append_only: asked.append_only,
        watermarks: Vec::new(),
    };
    let input = Node::Leaf(Leaf {
        kind: LeafKind::View(ObjectId(1)),
        columns: vec![0, 1, 2],
        meta: meta.clone(),
    });
    let position = asked.position.then(|| "n".to_owned());
    let output = TopN::output_schema(&schema, position.as_deref());
    let (offset, limit) = asked.window;
    let top = TopN {
        input,
        group: if asked.grouped { vec![0] } else { Vec::new() },
        order: vec![Order { column: 1, descending: true, nulls_first: false }],
        offset,
        limit,
        position,
        ties: None,
        settled: None,
        meta: Meta { schema: output, append_only: false, ..meta },
    };
    ViewPlan { root: Node::TopN(Box::new(top)), sort: vec![2], retention: None }
}

fn delta(rows: &[Row]) -> Delta {
    let column = |at: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(row.0[at])).collect::<Int64Array>())
    };
    let names = ["g", "v", "k"];
    let columns = names.iter().enumerate().map(|(at, name)| (*name, column(at), true));
    let weights = rows.iter().map(|row| Some(row.1)).collect::<Int64Array>();
    Delta::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap(), weights)
}

fn epoch(driver: &mut Driver, number: u64, rows: &[Row]) -> Rows {
    let ts = Epoch(number).ts();
    driver.push(0, 0, &delta(rows), ts).unwrap();
    let out = driver.finish(ts, &BTreeMap::new()).unwrap();
    let mut shown = Rows::new();
    for delta in &out.deltas {
        for row in 0..delta.len() {
            let value = |column: &ArrayRef| column.as_primitive::<Int64Type>().value(row);
            let values = delta.rows.columns().iter().map(value).collect();
            let before = shown.insert(values, delta.weights.value(row));
            assert_eq!(before, None, "a row leaves once a time");
        }
    }
    shown
}

fn rows<const N: usize, const R: usize>(rows: [([i64; N], i64); R]) -> Rows {
    rows.into_iter().map(|(row, weight)| (row.to_vec(), weight)).collect()
}

#[test]
fn a_row_moves_up_when_one_before_it_goes() {
    let mut driver = Driver::new(&plan(&TWO), 1).unwrap();
    let come = [([1, 10, 1], 1), ([1, 30, 2], 1), ([1, 20, 3], 1), ([2, 5, 4], 1)];
    let shown = epoch(&mut driver, 1, &come);
    assert_eq!(shown, rows([([1, 30, 2], 1), ([1, 20, 3], 1), ([2, 5, 4], 1)]));
    let shown = epoch(&mut driver, 2, &[([1, 30, 2], -1)]);
    assert_eq!(shown, rows([([1, 30, 2], -1), ([1, 10, 1], 1)]));
    let shown = epoch(&mut driver, 3, &[([1, 10, 1], -1), ([1, 40, 1], 1), ([2, 5, 4], -1)]);
    assert_eq!(shown, rows([([1, 10, 1], -1), ([1, 40, 1], 1), ([2, 5, 4], -1)]));
}

#[test]
fn rows_that_only_come_are_kept_no_longer_than_they_are_shown() {
    for grouped in [true, false] {
        let mut driver =
            Driver::new(&plan(&Asked { append_only: true, grouped, ..TWO }), 1).unwrap();
        let come: Vec<Row> = (0..100).map(|at| ([1, at, at], 1)).collect();
        let shown = epoch(&mut driver, 1, &come);
        assert_eq!(shown, rows([([1, 99, 99], 1), ([1, 98, 98], 1)]));
        let mut store = Store::default();
        driver.checkpoint(&mut store).unwrap();
        assert_eq!(store.len(), 2);
        let shown = epoch(&mut driver, 2, &[([1, 200, 200], 1), ([1, 50, 201], 1)]);
        assert_eq!(shown, rows([([1, 98, 98], -1), ([1, 200, 200], 1)]));
        driver.checkpoint(&mut store).unwrap();
        assert_eq!(store.len(), 2);
    }
}

#[test]
fn ties_are_decided_by_the_other_columns() {
    let mut driver =
        Driver::new(&plan(&Asked { window: (1, 2), grouped: false, ..TWO }), 1).unwrap();
    let come = [([2, 7, 1], 1), ([1, 7, 4], 1), ([1, 7, 3], 1), ([3, 7, 2], 1)];
    assert_eq!(epoch(&mut driver, 1, &come), rows([([1, 7, 4], 1), ([2, 7, 1], 1)]));
}

#[test]
fn positions_change_with_what_comes_before() {
    let asked = Asked { position: true, window: (0, 3), ..TWO };
    let mut driver = Driver::new(&plan(&asked), 1).unwrap();
    let shown = epoch(&mut driver, 1, &[([1, 10, 1], 1), ([1, 30, 2], 1)]);
    assert_eq!(shown, rows([([1, 30, 2, 1], 1), ([1, 10, 1, 2], 1)]));
    let shown = epoch(&mut driver, 2, &[([1, 20, 3], 1)]);
    assert_eq!(shown, rows([([1, 10, 1, 2], -1), ([1, 20, 3, 2], 1), ([1, 10, 1, 3], 1)]));
}

#[test]
fn multiplicities_take_places() {
    let mut driver = Driver::new(&plan(&TWO), 1).unwrap();
    let shown = epoch(&mut driver, 1, &[([1, 10, 1], 5), ([1, 30, 2], 1)]);
    assert_eq!(shown, rows([([1, 30, 2], 1), ([1, 10, 1], 1)]));
    let shown = epoch(&mut driver, 2, &[([1, 30, 2], -1), ([1, 10, 1], -2)]);
    assert_eq!(shown, rows([([1, 30, 2], -1), ([1, 10, 1], 1)]));
}

#[test]
fn long_lists_stay_in_order_and_state_survives_a_stop() {
    let plan = plan(&Asked { window: (1500, 2), grouped: false, ..TWO });
    let mut driver = Driver::new(&plan, 1).unwrap();
    let all: Vec<Row> = (0..3000).map(|at| ([1, (at * 7919) % 3000, at], 1)).collect();
    let value = |shown: &Rows| shown.iter().map(|(row, w)| (row[1], *w)).collect::<Vec<_>>();
    let mut shown = value(&epoch(&mut driver, 1, &all));
    shown.sort_unstable();
    assert_eq!(shown, [(1498, 1), (1499, 1)]);
    let mut store = Store::default();
    driver.checkpoint(&mut store).unwrap();
    assert_eq!(store.len(), 3000);
    let mut driver = Driver::recover(&plan, 3, &store).unwrap();
    let gone: Vec<Row> = all.iter().filter(|row| row.0[1] >= 2000).map(|r| (r.0, -1)).collect();
    let mut shown = value(&epoch(&mut driver, 2, &gone));
    shown.sort_unstable();
    assert_eq!(shown, [(498, 1), (499, 1), (1498, -1), (1499, -1)]);
    driver.checkpoint(&mut store).unwrap();
    assert_eq!(store.len(), 2000);
}

#[test]
fn a_key_that_goes_and_comes_again_is_stored_once() {
    let mut driver = Driver::new(&plan(&TWO), 2).unwrap();
    let mut store = Store::default();
    epoch(&mut driver, 1, &[([1, 10, 1], 1)]);
    driver.checkpoint(&mut store).unwrap();
    epoch(&mut driver, 2, &[([1, 10, 1], -1), ([1, 11, 1], 1)]);
    epoch(&mut driver, 3, &[([1, 11, 1], -1), ([1, 10, 1], 1)]);
    driver.checkpoint(&mut store).unwrap();
    assert_eq!(store.len(), 1);
    epoch(&mut driver, 4, &[([1, 10, 1], -1)]);
    driver.checkpoint(&mut store).unwrap();
    assert!(store.is_empty());
}

/// The same rows with the group as a time.
fn timed(rows: &RecordBatch, schema: &Arc<Schema>) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns[0] = arrow::compute::cast(&columns[0], schema.field(0).data_type()).unwrap();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

#[test]
fn state_of_a_group_goes_when_its_time_has_passed() {
    let source = ObjectId(7);
    let ViewPlan { root: Node::TopN(mut top), sort, .. } = plan(&TWO) else { panic!("a Top-N") };
    let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let mut fields: Vec<Field> =
        top.meta.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[0] = Field::new("g", time, true);
    let schema = Arc::new(Schema::new(fields));
    let Node::Leaf(leaf) = &mut top.input else { panic!("a leaf") };
    leaf.meta.schema = Arc::clone(&schema);
    top.meta.schema = Arc::clone(&schema);
    top.settled = Some(millrace_plan::Watermark { column: 0, shift: 5, sources: vec![source] });
    let plan = ViewPlan { root: Node::TopN(top), sort, retention: None };
    let mut driver = Driver::new(&plan, 1).unwrap();
    let mut store = Store::default();
    let mut epoch = |driver: &mut Driver, number: u64, rows: &[Row], watermark: i64| {
        let delta = delta(rows);
        let delta = Delta::new(timed(&delta.rows, &schema), delta.weights);
        let ts = Epoch(number).ts();
        driver.push(0, 0, &delta, ts).unwrap();
        let out = driver.finish(ts, &BTreeMap::from([(source, watermark)])).unwrap();
        driver.checkpoint(&mut store).unwrap();
        (out.deltas.iter().map(Delta::len).sum::<usize>(), store.len())
    };
    let come: Vec<Row> = (0..30).map(|at| ([at / 10 * 10, at, at], 1)).collect();
    assert_eq!(epoch(&mut driver, 1, &come, 4), (6, 30), "nothing has passed");
    assert_eq!(epoch(&mut driver, 2, &[([20, 90, 31], 1)], 5), (2, 21), "the first has");
    assert_eq!(epoch(&mut driver, 3, &[([30, 1, 32], 1)], 24), (1, 12), "and the second");
    let mut driver = Driver::recover(&plan, 1, &store).unwrap();
    let delta = delta(&[([40, 1, 33], 1)]);
    let delta = Delta::new(timed(&delta.rows, &schema), delta.weights);
    driver.push(0, 0, &delta, Epoch(4).ts()).unwrap();
    driver.finish(Epoch(4).ts(), &BTreeMap::from([(source, 25)])).unwrap();
    driver.checkpoint(&mut store).unwrap();
    assert_eq!(store.len(), 2, "the third after a stop");
}
