//! Window functions over small inputs, epoch by epoch: which rows leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::functions_window::rank::rank_udwf;
use datafusion::logical_expr::{
    Accumulator, AccumulatorFactoryFunction, Volatility, WindowFrame, WindowFunctionDefinition,
    create_udaf,
};
use datafusion::physical_expr::expressions::Column;
use millrace_plan::{Leaf, LeafKind, Meta, Node, Order, Over, OverCall, Scalar, ViewPlan};
use millrace_types::{Delta, Epoch, ObjectId};

use crate::driver::{Driver, Store};
use crate::operator::Output;

/// Group, value, key, and the weight.
type Row = ([i64; 3], i64);
/// A row that leaves, by weight.
type Rows = BTreeMap<Vec<Option<i64>>, i64>;

fn plan(functions: &[WindowFunctionDefinition]) -> ViewPlan {
    let schema = ["g", "v", "k"].map(|name| Field::new(name, DataType::Int64, true)).to_vec();
    let schema = Arc::new(Schema::new(schema));
    let meta = Meta {
        schema: Arc::clone(&schema),
        key: vec![2],
        append_only: false,
        watermarks: Vec::new(),
    };
    let input = Node::Leaf(Leaf {
        kind: LeafKind::View(ObjectId(1)),
        columns: vec![0, 1, 2],
        meta: meta.clone(),
    });
    let call = |(at, function): (usize, &WindowFunctionDefinition)| OverCall {
        function: function.clone(),
        args: match function.name() {
            "rank" => Vec::new(),
            _ => vec![Scalar(Arc::new(Column::new("v", 1)))],
        },
        filter: None,
        order: 1,
        frame: WindowFrame::new(Some(false)),
        ignore_nulls: false,
        distinct: false,
        output: Arc::new(Field::new(format!("c{at}"), DataType::Int64, true)),
    };
    let calls: Vec<OverCall> = functions.iter().enumerate().map(call).collect();
    let output = Over::output_schema(&schema, &calls);
    let order = vec![Order { column: 1, descending: false, nulls_first: false }];
    let meta = Meta { schema: output, ..meta };
    let over = Over { input, group: vec![0], order, calls, settled: None, meta };
    ViewPlan { root: Node::Over(Box::new(over)), sort: vec![2], retention: None }
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

fn epoch(driver: &mut Driver, number: u64, rows: &[Row]) -> (Rows, Output) {
    let ts = Epoch(number).ts();
    driver.push(0, 0, &delta(rows), ts).unwrap();
    let out = driver.finish(ts, &BTreeMap::new()).unwrap();
    let mut shown = Rows::new();
    for delta in &out.deltas {
        for row in 0..delta.len() {
            let value = |column: &ArrayRef| {
                let column = column.as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let values = delta.rows.columns().iter().map(value).collect();
            let before = shown.insert(values, delta.weights.value(row));
            assert_eq!(before, None, "a row leaves once a time");
        }
    }
    (shown, out)
}

const NULL: i64 = i64::MIN;

fn rows<const N: usize, const R: usize>(rows: [([i64; N], i64); R]) -> Rows {
    let optional = |value: i64| (value != NULL).then_some(value);
    rows.into_iter().map(|(row, weight)| (row.map(optional).to_vec(), weight)).collect()
}

#[test]
fn only_rows_with_another_result_leave() {
    let mut driver = Driver::new(&plan(&[rank_udwf().into(), lag_udwf().into()]), 1).unwrap();
    let come = [([1, 10, 1], 1), ([1, 30, 2], 1), ([2, 5, 3], 1)];
    let shown = epoch(&mut driver, 1, &come).0;
    let expected =
        rows([([1, 10, 1, 1, NULL], 1), ([1, 30, 2, 2, 10], 1), ([2, 5, 3, 1, NULL], 1)]);
    assert_eq!(shown, expected);
    let shown = epoch(&mut driver, 2, &[([1, 40, 4], 1)]).0;
    assert_eq!(shown, rows([([1, 40, 4, 3, 30], 1)]));
    let shown = epoch(&mut driver, 3, &[([1, 30, 2], -1)]).0;
    let expected = rows([([1, 30, 2, 2, 10], -1), ([1, 40, 4, 3, 30], -1), ([1, 40, 4, 2, 10], 1)]);
    assert_eq!(shown, expected);
    let shown = epoch(&mut driver, 4, &[([1, 10, 1], -1), ([1, 40, 1], 1), ([2, 5, 3], -1)]).0;
    let expected = rows([
        ([1, 10, 1, 1, NULL], -1),
        ([1, 40, 4, 2, 10], -1),
        ([2, 5, 3, 1, NULL], -1),
        ([1, 40, 1, 1, NULL], 1),
        ([1, 40, 4, 1, 40], 1),
    ]);
    assert_eq!(shown, expected);
}

#[test]
fn a_partition_that_fails_is_an_error_row_until_it_succeeds() {
    let plan = plan(&[small()]);
    let mut driver = Driver::new(&plan, 1).unwrap();
    epoch(&mut driver, 1, &[([1, 1, 1], 1), ([2, 1, 2], 1)]);
    let (shown, out) = epoch(&mut driver, 2, &[([1, 101, 3], 1)]);
    assert_eq!(shown, rows([([1, 1, 1, 1], -1)]));
    let [error] = out.errors.as_slice() else { panic!("{:?}", out.errors) };
    assert_eq!((error.key.as_str(), error.code.as_str(), error.weight), ("g=1", "22003", 1));
    let mut store = Store::default();
    driver.checkpoint(&mut store).unwrap();
    assert_eq!(store.len(), 3);
    let mut driver = Driver::recover(&plan, 2, &store).unwrap();
    let (shown, again) = epoch(&mut driver, 3, &[([1, 101, 3], -1)]);
    assert_eq!(shown, rows([([1, 1, 1, 1], 1)]));
    assert_eq!(again.errors.len(), 1);
    assert_eq!((&again.errors[0].message, again.errors[0].weight), (&error.message, -1));
}

#[test]
fn what_was_said_survives_a_stop_with_another_number_of_workers() {
    let plan = plan(&[rank_udwf().into()]);
    let mut driver = Driver::new(&plan, 1).unwrap();
    let come: Vec<Row> = (0..100).map(|at| ([at % 7, at, at], 1)).collect();
    epoch(&mut driver, 1, &come);
    let mut store = Store::default();
    driver.checkpoint(&mut store).unwrap();
    let mut driver = Driver::recover(&plan, 3, &store).unwrap();
    let shown = epoch(&mut driver, 2, &[([1, 99, 99], -1), ([1, 1000, 99], 1)]).0;
    assert_eq!(shown, rows([([1, 99, 99, 15], -1), ([1, 1000, 99, 15], 1)]));
    driver.checkpoint(&mut store).unwrap();
    assert_eq!(store.len(), 100);
}

/// The greatest value so far, which must not be above a hundred.
#[derive(Debug, Default)]
struct Small(i64);

impl Accumulator for Small {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Int64Type>().values() {
            if *value > 100 {
                return exec_err!("bigint out of range");
            }
            self.0 = self.0.max(*value);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.0)))
    }

    fn size(&self) -> usize {
        size_of::<Small>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

fn small() -> WindowFunctionDefinition {
    let bigint = || Arc::new(DataType::Int64);
    let make: AccumulatorFactoryFunction = Arc::new(|_| Ok(Box::new(Small::default())));
    let state = Arc::new(vec![DataType::Int64]);
    let volatility = Volatility::Immutable;
    let small = create_udaf("small", vec![DataType::Int64], bigint(), volatility, make, state);
    Arc::new(small).into()
}

#[test]
fn a_partition_is_looked_at_in_pieces_and_shows_the_same() {
    let run = |fuel: usize| {
        let mut driver = Driver::new(&plan(&[rank_udwf().into(), lag_udwf().into()]), 1).unwrap();
        driver.set_fuel(fuel);
        let come: Vec<Row> = (0..50).map(|n| ([n % 2, n * 7 % 20, n], 1)).collect();
        let changes: Vec<Row> = (0..50)
            .step_by(4)
            .flat_map(|n| [([n % 2, n * 7 % 20, n], -1), ([n % 2, 20 - n % 20, n], 1)])
            .collect();
        (epoch(&mut driver, 1, &come).0, epoch(&mut driver, 2, &changes).0)
    };
    let whole = run(1 << 20);
    assert!(whole.1.len() > 20, "{whole:?}");
    for fuel in [1, 3, 20, 60] {
        assert_eq!(run(fuel), whole, "fuel {fuel}");
    }
}
