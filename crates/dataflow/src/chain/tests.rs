//! Chains driven by hand.

use std::collections::BTreeMap;

use arrow::array::{AsArray, Int32Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use millrace_plan::Watermark;
use millrace_types::{Epoch, ObjectId};

use super::*;
use crate::operator::LateRow;

const SOURCE: ObjectId = ObjectId(3);

fn meta() -> Meta {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = vec![
        Field::new("a", DataType::Int64, true),
        Field::new("ts", time, true),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
    ];
    Meta {
        schema: Arc::new(Schema::new(fields)),
        key: vec![2, 3],
        append_only: true,
        watermarks: Vec::new(),
    }
}

fn delta(a: &[Option<i64>], times: &[Option<i64>], weights: &[i64]) -> Delta {
    let rows = i64::try_from(a.len()).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(a.to_vec())),
        Arc::new(TimestampMicrosecondArray::from(times.to_vec())),
        Arc::new(Int32Array::from(vec![7; a.len()])),
        Arc::new(Int64Array::from_iter_values(0..rows)),
    ];
    let rows = RecordBatch::try_new(meta().schema, columns).unwrap();
    Delta::new(rows, Int64Array::from(weights.to_vec()))
}

fn context(watermark: Option<i64>) -> Context {
    let watermarks: BTreeMap<_, _> = watermark.map(|w| (SOURCE, w)).into_iter().collect();
    Context { ts: Epoch(2).ts(), worker: 0, workers: 1, watermarks, now: None, changelog: true }
}

fn column(name: &str, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, index))
}

fn literal(value: i64) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::Int64(Some(value))))
}

fn binary(
    left: Arc<dyn PhysicalExpr>,
    operator: Operator,
    right: Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, operator, right).with_fail_on_overflow(true))
}

fn hundred_by(divisor: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    binary(literal(100), Operator::Divide, divisor)
}

fn numbers(delta: &Delta, column: usize) -> Vec<i64> {
    natives(delta.rows.column(column))
}

fn natives(column: &ArrayRef) -> Vec<i64> {
    crate::natives::values::<i64>(column).to_vec()
}

#[test]
fn plain_columns_pass_without_a_copy() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("_offset", DataType::Int64, false),
        Field::new("a", DataType::Int64, true),
    ]));
    let expressions = vec![Scalar(column("_offset", 3)), Scalar(column("a", 0))];
    let keep_all = Scalar(binary(column("_offset", 0), Operator::GtEq, literal(0)));
    let steps = [Step::Project { expressions, schema }, Step::Filter(keep_all)];
    let input = delta(&[Some(1), None], &[None, None], &[1, -3]);
    let mut out = Output::default();
    let runner = Runner::new(&steps, &meta());
    let result = runner.run(input.clone(), &context(None), &mut out).unwrap();
    assert!(Arc::ptr_eq(result.rows.column(1), input.rows.column(0)));
    assert_eq!(result.weights, input.weights);
}

#[test]
fn failing_rows_become_errors_and_the_others_go_on() {
    let schema = Arc::new(Schema::new(vec![Field::new("q", DataType::Int64, true)]));
    let step = Step::Project { expressions: vec![Scalar(hundred_by(column("a", 0)))], schema };
    let runner = Runner::new(&[step], &meta());
    let a = [Some(5), Some(0), None, Some(4), Some(0)];
    let mut out = Output::default();
    let input = delta(&a, &[None; 5], &[1, 2, 1, 1, -1]);
    let result = runner.run(input, &context(None), &mut out).unwrap();
    assert_eq!(result.weights.values(), &[1, 1, 1]);
    assert_eq!((numbers(&result, 0)[0], numbers(&result, 0)[2]), (20, 25));
    assert!(result.rows.column(0).is_null(1));
    let told: Vec<_> = out.errors.iter().map(|e| (e.key.as_str(), e.weight)).collect();
    assert_eq!(told, [("_partition=7, _offset=1", 2), ("_partition=7, _offset=4", -1)]);
    assert!(out.errors.iter().all(|e| e.code == "22012" && e.message == "division by zero"));
}

#[test]
fn a_guarded_division_never_fails_whatever_its_neighbours() {
    let guard = binary(column("a", 0), Operator::NotEq, literal(0));
    let large = binary(hundred_by(column("a", 0)), Operator::Gt, literal(10));
    let step = Step::Filter(Scalar(binary(guard, Operator::And, large)));
    let runner = Runner::new(&[step], &meta());
    let a: Vec<Option<i64>> = (0..40).map(|i| Some(i % 5)).collect();
    let mut out = Output::default();
    let input = delta(&a, &[None; 40], &[1; 40]);
    let result = runner.run(input, &context(None), &mut out).unwrap();
    assert!(out.errors.is_empty(), "{:?}", out.errors);
    assert_eq!(result.len(), 32);
}

fn late(hop: Option<Hop>) -> Runner {
    let close = Watermark { column: 1, shift: 10, sources: vec![SOURCE] };
    let check = LateCheck { close, hop, event_time: Some(1), origin: (2, 3), to_end: 4 };
    Runner::new(&[Step::Late(check)], &meta())
}

#[test]
fn a_row_is_late_exactly_when_its_window_had_closed() {
    let times = [Some(89), Some(90), None, Some(91), Some(i64::MIN)];
    let input = delta(&[Some(1); 5], &times, &[1; 5]);
    let mut out = Output::default();
    let result = late(None).run(input.clone(), &context(Some(100)), &mut out).unwrap();
    assert_eq!(numbers(&result, 3), [2, 3]);
    let row = |offset, time| LateRow {
        source: SOURCE,
        partition: 7,
        offset,
        window_end: time + 4,
        event_time: Some(time),
        watermark: 100,
    };
    assert_eq!(out.late, [row(0, 89), row(1, 90), row(4, i64::MIN)]);
    let mut out = Output::default();
    for watermark in [None, Some(i64::MIN)] {
        let all = late(None).run(input.clone(), &context(watermark), &mut out).unwrap();
        assert_eq!(all.len(), 5);
    }
    assert!(out.late.is_empty(), "without a watermark nothing is late");
}

#[test]
fn a_row_of_a_pane_is_listed_for_each_closed_window_and_leaves_with_the_last() {
    let hop = Hop { column: 1, slide: 10, size: 30, offset: 0, cumulates: false };
    let panes = [Some(50), Some(60), Some(80), Some(90), None];
    let input = delta(&[Some(1); 5], &panes, &[1; 5]);
    let mut out = Output::default();
    let result = late(Some(hop)).run(input, &context(Some(100)), &mut out).unwrap();
    assert_eq!(numbers(&result, 3), [2, 3, 4]);
    let told: Vec<_> = out.late.iter().map(|l| (l.offset, l.window_end)).collect();
    assert_eq!(told, [(0, 60), (0, 70), (0, 80), (1, 70), (1, 80), (1, 90), (2, 90)]);
}

#[test]
fn a_copy_is_made_for_each_window() {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let mut fields = meta().schema.fields().to_vec();
    for name in ["window_start", "window_end"] {
        fields.push(Arc::new(Field::new(name, time(), true)));
    }
    let hop = Hop { column: 1, slide: 10, size: 20, offset: 0, cumulates: false };
    let step = Step::Hop { hop, schema: Arc::new(Schema::new(fields)) };
    let input = delta(&[Some(1); 3], &[Some(5), None, Some(20)], &[1, 1, -2]);
    let mut out = Output::default();
    let runner = Runner::new(&[step], &meta());
    let result = runner.run(input, &context(None), &mut out).unwrap();
    let starts: Vec<_> =
        result.rows.column(4).as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(starts, [Some(-10), Some(0), None, Some(10), Some(20)]);
    assert_eq!(numbers(&result, 5)[3..], [30, 40]);
    assert!(result.rows.column(5).is_null(2), "a row without a time stays");
    assert_eq!(result.weights.values(), &[1, 1, 1, -2, -2]);
}
