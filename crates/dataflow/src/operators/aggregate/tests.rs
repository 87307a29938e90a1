//! The operator driven by hand: one worker, one time after the other.

use std::sync::Arc;

use arrow::array::{
    BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millrace_plan::{Call, Function, Hop, Meta, Order, Watermark};
use millrace_types::{Delta, Epoch, ObjectId, SqlType};

use super::*;

const SOURCE: ObjectId = ObjectId(1);

fn context(epoch: u64, watermark: Option<i64>) -> Context {
    let watermarks = watermark.map(|w| (SOURCE, w)).into_iter().collect();
    Context { ts: Epoch(epoch).ts(), worker: 0, workers: 1, watermarks, now: None, changelog: true }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn numeric() -> DataType {
    SqlType::Numeric(None).arrow()
}

fn call(function: Function, args: &[usize], output: DataType) -> Call {
    Call {
        function,
        args: args.to_vec(),
        distinct: false,
        filter: None,
        order: Vec::new(),
        rebuild: None,
        output: Arc::new(Field::new(function.name(), output, true)),
    }
}

/// An aggregation over columns of these types, the last of them the key.
fn spec(types: &[DataType], group: &[usize], calls: Vec<Call>) -> AggregateSpec {
    let field = |(i, t): (usize, &DataType)| Field::new(format!("c{i}"), t.clone(), true);
    let schema = Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>()));
    let mut fields: Vec<Arc<Field>> =
        group.iter().map(|c| Arc::clone(&schema.fields()[*c])).collect();
    fields.extend(calls.iter().map(|call| Arc::clone(&call.output)));
    AggregateSpec {
        name: "test".into(),
        group: group.to_vec(),
        hop: None,
        calls,
        settled: None,
        output: Arc::new(Schema::new(fields)),
        input: Meta { schema, key: vec![types.len() - 1], append_only: true, watermarks: vec![] },
    }
}

fn delta(spec: &AggregateSpec, columns: Vec<ArrayRef>, weights: &[i64]) -> Delta {
    let rows = RecordBatch::try_new(Arc::clone(&spec.input.schema), columns).unwrap();
    Delta::new(rows, Int64Array::from(weights.to_vec()))
}

fn ints(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(Int64Array::from(values.into_iter().map(Into::into).collect::<Vec<Option<i64>>>()))
}

fn times(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
}

/// The output as text, a line a row.
fn lines(out: &Output) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for delta in &out.deltas {
        for row in 0..delta.len() {
            let value = |column: &ArrayRef| {
                ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string()
            };
            let values: Vec<String> = delta.rows.columns().iter().map(value).collect();
            lines.push(format!("{:+} {}", delta.weights.value(row), values.join(" ")));
        }
    }
    for error in &out.errors {
        lines.push(format!("{:+} {} {}: {}", error.weight, error.key, error.code, error.message));
    }
    lines
}

fn step(operator: &mut Aggregate, deltas: Vec<Delta>, context: &Context) -> Vec<String> {
    for delta in deltas {
        operator.absorb(0, delta, context).unwrap();
    }
    let mut out = Output::default();
    operator.finish(context, &mut out).unwrap();
    lines(&out)
}

fn sums() -> AggregateSpec {
    spec(
        &[DataType::Int64, DataType::Int64],
        &[0],
        vec![
            call(Function::Count, &[], DataType::Int64),
            call(Function::Count, &[1], DataType::Int64),
            call(Function::Sum, &[1], numeric()),
            call(Function::Avg, &[1], numeric()),
        ],
    )
}

#[test]
fn a_group_comes_changes_and_leaves() {
    let spec = sums();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let first = delta(&spec, vec![ints([1, 1, 2]), ints([10, 5, 7])], &[2, 1, 1]);
    let zeros = "00000000000000000000";
    assert_eq!(
        step(&mut operator, vec![first], &context(1, None)),
        [
            format!("+1 1 3 3 25.{zeros} 8.33333333333333330000"),
            format!("+1 2 1 1 7.{zeros} 7.{zeros}"),
        ]
    );
    let second = delta(&spec, vec![ints([1, 2]), ints([10, 7])], &[-2, -1]);
    assert_eq!(
        step(&mut operator, vec![second], &context(2, None)),
        [
            format!("-1 1 3 3 25.{zeros} 8.33333333333333330000"),
            format!("+1 1 1 1 5.{zeros} 5.{zeros}"),
            format!("-1 2 1 1 7.{zeros} 7.{zeros}"),
        ]
    );
}

#[test]
fn a_change_that_cancels_itself_inside_an_epoch_says_nothing() {
    let spec = sums();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = delta(&spec, vec![ints([1]), ints([10])], &[1]);
    assert_eq!(step(&mut operator, vec![rows], &context(1, None)).len(), 1);
    let several = delta(&spec, vec![ints([1, 1, 3, 3]), ints([4, 4, 9, 9])], &[1, -1, 1, -1]);
    assert!(step(&mut operator, vec![several], &context(2, None)).is_empty());
    let twice = delta(&spec, vec![ints([1, 1]), ints([10, 11])], &[-1, 1]);
    let again = delta(&spec, vec![ints([1, 1]), ints([11, 12])], &[-1, 1]);
    assert_eq!(step(&mut operator, vec![twice, again], &context(3, None)).len(), 2);
}

#[test]
fn an_update_shares_the_arrays_of_its_key() {
    let spec = sums();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = delta(&spec, vec![ints([1, 2, 3]), ints([1, 1, 1])], &[1, 1, 1]);
    step(&mut operator, vec![rows], &context(1, None));
    let rows = delta(&spec, vec![ints([1, 2, 4]), ints([1, 1, 1])], &[1, 1, 1]);
    operator.absorb(0, rows, &context(2, None)).unwrap();
    let mut out = Output::default();
    operator.finish(&context(2, None), &mut out).unwrap();
    let [old, new, fresh] = &out.deltas[..] else { panic!("three deltas") };
    assert_eq!((old.len(), new.len(), fresh.len()), (2, 2, 1));
    assert!(Arc::ptr_eq(old.rows.column(0), new.rows.column(0)));
    assert_eq!(old.weights.values(), &[-1, -1]);
    assert_eq!(new.weights.values(), &[1, 1]);
}

#[test]
fn nulls_count_as_rows_only_and_are_a_key_of_their_own() {
    let spec = sums();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = delta(&spec, vec![ints([None, Some(0), None]), ints([None; 3])], &[1, 1, 1]);
    assert_eq!(
        step(&mut operator, vec![rows], &context(1, None)),
        ["+1 0 1 0 NULL NULL", "+1 NULL 2 0 NULL NULL"]
    );
}

#[test]
fn a_filter_counts_only_rows_where_it_is_true() {
    let mut count = call(Function::Count, &[], DataType::Int64);
    count.filter = Some(1);
    let mut max = call(Function::Max, &[0], DataType::Int64);
    max.filter = Some(1);
    let types = [DataType::Int64, DataType::Boolean];
    let spec = spec(&types, &[], vec![count, max, call(Function::BoolOr, &[1], DataType::Boolean)]);
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![None, Some(false), Some(true)]));
    assert_eq!(step(&mut operator, vec![], &context(1, None)), ["+1 0 NULL NULL"]);
    let rows = delta(&spec, vec![ints([9, 8, 7]), flags], &[1, 1, 1]);
    assert_eq!(
        step(&mut operator, vec![rows], &context(2, None)),
        ["-1 0 NULL NULL", "+1 1 7 true"]
    );
}

#[test]
fn one_worker_owes_the_row_of_a_global_aggregation() {
    let spec =
        Arc::new(spec(&[DataType::Int64], &[], vec![call(Function::Count, &[], DataType::Int64)]));
    let mut rows = 0;
    for worker in 0..3 {
        let mut operator = Aggregate::new(Arc::clone(&spec)).unwrap();
        assert!(operator.wants_start());
        let context = Context { worker, workers: 3, ..context(1, None) };
        rows += step(&mut operator, vec![], &context).len();
        assert!(!operator.wants_start());
        assert!(step(&mut operator, vec![], &Context { ts: Epoch(2).ts(), ..context }).is_empty());
    }
    assert_eq!(rows, 1);
}

#[test]
fn state_that_was_handed_over_goes_on_elsewhere() {
    let spec = sums();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = delta(&spec, vec![ints([Some(1), Some(2), None]), ints([1, 2, 3])], &[1, 1, 1]);
    step(&mut operator, vec![rows], &context(1, None));
    let change = operator.hand_over().unwrap().remove(0).unwrap();
    assert_eq!((change.rows.num_rows(), change.gone.true_count()), (3, 0));
    assert!(operator.hand_over().unwrap()[0].is_none(), "the marks are cleared");
    let mut other = Aggregate::new(Arc::new(spec.clone())).unwrap();
    other.restore(0, change.rows).unwrap();
    let more = || delta(&spec, vec![ints([Some(1), Some(2), None]), ints([1, 2, 4])], &[1, -1, 1]);
    let expected = step(&mut operator, vec![more()], &context(2, None));
    assert_eq!(step(&mut other, vec![more()], &context(2, None)), expected);
    for operator in [&mut operator, &mut other] {
        let change = operator.hand_over().unwrap().remove(0).unwrap();
        assert_eq!((change.rows.num_rows(), change.gone.true_count()), (3, 1));
    }
}

#[test]
fn a_group_that_left_and_came_back_is_handed_over_once() {
    let spec = sums();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    for (epoch, weight) in [(1, 1), (2, -1), (3, 1)] {
        let rows = delta(&spec, vec![ints([1]), ints([5])], &[weight]);
        assert_eq!(step(&mut operator, vec![rows], &context(epoch, None)).len(), 1);
    }
    let change = operator.hand_over().unwrap().remove(0).unwrap();
    assert_eq!((change.rows.num_rows(), change.gone.true_count()), (1, 0));
    let rows = delta(&spec, vec![ints([1]), ints([5])], &[-1]);
    step(&mut operator, vec![rows], &context(4, None));
    let change = operator.hand_over().unwrap().remove(0).unwrap();
    assert_eq!((change.rows.num_rows(), change.gone.true_count()), (1, 1));
}

#[test]
fn a_sum_that_its_type_cannot_hold_is_an_error_until_it_fits_again() {
    let spec = spec(
        &[DataType::Int32, DataType::Int32],
        &[0],
        vec![call(Function::Sum, &[1], DataType::Int64)],
    );
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = |weight: i64| {
        let column = |v| -> ArrayRef { Arc::new(Int32Array::from(vec![v])) };
        delta(&spec, vec![column(1), column(i32::MAX)], &[weight])
    };
    assert_eq!(step(&mut operator, vec![rows(1)], &context(1, None)), ["+1 1 2147483647"]);
    let error = "c0=1 22003: bigint out of range";
    assert_eq!(
        step(&mut operator, vec![rows(1 << 40)], &context(2, None)),
        ["-1 1 2147483647".to_owned(), format!("+1 {error}")]
    );
    assert!(step(&mut operator, vec![rows(1)], &context(3, None)).is_empty(), "the same error");
    assert_eq!(
        step(&mut operator, vec![rows(-(1 << 40))], &context(4, None)),
        ["+1 1 4294967294".to_owned(), format!("-1 {error}")]
    );
}

#[test]
fn float_sums_are_restored_bit_for_bit_by_a_retraction() {
    let double = || DataType::Float64;
    let calls = [Function::Sum, Function::Avg, Function::VarPop, Function::StddevSamp];
    let calls = calls.map(|f| call(f, &[1], double())).to_vec();
    let spec = spec(&[DataType::Int64, double()], &[0], calls);
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = |values: &[f64], weight: i64| {
        let floats: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        delta(&spec, vec![ints(vec![1; values.len()]), floats], &vec![weight; values.len()])
    };
    let base = [0.1, 0.2, 0.3, -7.25e-3];
    let [shown] = &step(&mut operator, vec![rows(&base, 1)], &context(1, None))[..] else {
        panic!("one row")
    };
    let extreme = [1e300, -1e-300, f64::NAN, f64::INFINITY, 5e-324, -1e300];
    step(&mut operator, vec![rows(&extreme, 3)], &context(2, None));
    let back = step(&mut operator, vec![rows(&extreme, -3)], &context(3, None));
    assert_eq!(back.last(), Some(shown));
    assert!(shown.starts_with("+1 1 0.59275 "), "{shown}");
}

#[test]
fn float_sums_do_not_depend_on_the_order_of_rows() {
    let spec = spec(
        &[DataType::Int64, DataType::Float64],
        &[],
        vec![call(Function::Sum, &[1], DataType::Float64)],
    );
    let mut values = [1e16, 1.0, -1e16, 1e-16, 3.5, 1e200, -1e200, 7e-300];
    let mut seen = std::collections::BTreeSet::new();
    for turn in 0..values.len() {
        values.rotate_left(1);
        let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
        for chunk in values.chunks(1 + turn % 3) {
            let floats: ArrayRef = Arc::new(Float64Array::from(chunk.to_vec()));
            let ones = vec![1; chunk.len()];
            let rows = delta(&spec, vec![ints(ones.clone()), floats], &ones);
            operator.absorb(0, rows, &context(1, None)).unwrap();
        }
        seen.insert(step(&mut operator, vec![], &context(1, None)));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [["+1 4.5"]]);
}

#[test]
fn decimals_are_summed_at_their_scale() {
    let money = DataType::Decimal128(10, 2);
    let spec = spec(
        &[DataType::Int64, money],
        &[0],
        vec![call(Function::Sum, &[1], numeric()), call(Function::VarSamp, &[1], numeric())],
    );
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let column = Decimal128Array::from(vec![150, 250]).with_precision_and_scale(10, 2).unwrap();
    let rows = delta(&spec, vec![ints([1, 1]), Arc::new(column)], &[1, 1]);
    assert_eq!(
        step(&mut operator, vec![rows], &context(1, None)),
        ["+1 1 4.00000000000000000000 0.50000000000000000000"]
    );
}

#[test]
fn ties_of_first_and_last_go_by_the_key_of_the_row() {
    let ordered = |function| Call {
        order: vec![Order { column: 1, descending: false, nulls_first: false }],
        ..call(function, &[2], DataType::Utf8)
    };
    let types = [DataType::Int64, DataType::Int64, DataType::Utf8, DataType::Int64];
    let calls = vec![ordered(Function::FirstValue), ordered(Function::LastValue)];
    let spec = spec(&types, &[0], calls);
    let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let chunks = [
        (vec![5, 5], vec![Some("d"), Some("b")], vec![13, 11]),
        (vec![5, 9], vec![None, Some("x")], vec![10, 14]),
    ];
    for order in [[0, 1], [1, 0]] {
        let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
        for chunk in order {
            let (at, values, key) = chunks[chunk].clone();
            let rows = vec![ints([1, 1]), ints(at), text(values), ints(key)];
            operator.absorb(0, delta(&spec, rows, &[1, 1]), &context(1, None)).unwrap();
        }
        assert_eq!(step(&mut operator, vec![], &context(1, None)), ["+1 1 NULL x"]);
        let change = operator.hand_over().unwrap().remove(0).unwrap();
        let mut other = Aggregate::new(Arc::new(spec.clone())).unwrap();
        other.restore(0, change.rows).unwrap();
        let rows = vec![ints([1]), ints([5]), text(vec![Some("a")]), ints([9])];
        assert_eq!(
            step(&mut other, vec![delta(&spec, rows, &[1])], &context(2, None)),
            ["-1 1 NULL x", "+1 1 a x"]
        );
    }
}

/// Extremes, ends and distinct values of a changing input: key, order, value, row.
fn counted() -> AggregateSpec {
    let types = [DataType::Int64, DataType::Int64, DataType::Int64, DataType::Int64];
    let order = vec![Order { column: 1, descending: true, nulls_first: false }];
    let calls = vec![
        call(Function::Min, &[2], DataType::Int64),
        call(Function::Max, &[2], DataType::Int64),
        Call { order, ..call(Function::FirstValue, &[2], DataType::Int64) },
        Call { distinct: true, ..call(Function::Count, &[2], DataType::Int64) },
    ];
    let mut spec = spec(&types, &[0], calls);
    spec.input.append_only = false;
    spec
}

/// Rows of key 1: order, value, row, weight.
fn changes(spec: &AggregateSpec, rows: &[(i64, Option<i64>, i64, i64)]) -> Delta {
    let columns = vec![
        ints(rows.iter().map(|_| 1)),
        ints(rows.iter().map(|row| row.0)),
        ints(rows.iter().map(|row| row.1)),
        ints(rows.iter().map(|row| row.2)),
    ];
    delta(spec, columns, &rows.iter().map(|row| row.3).collect::<Vec<_>>())
}

/// Takes what an operator hands over to a new one.
fn handed_over(operator: &mut Aggregate, spec: &AggregateSpec) -> Aggregate {
    let mut other = Aggregate::new(Arc::new(spec.clone())).unwrap();
    for (table, change) in operator.hand_over().unwrap().into_iter().enumerate() {
        if let Some(change) = change {
            let rows = arrow::compute::filter_record_batch(
                &change.rows,
                &arrow::compute::not(&change.gone).unwrap(),
            );
            other.restore(table, rows.unwrap()).unwrap();
        }
    }
    other
}

#[test]
fn extremes_and_distinct_values_follow_rows_that_go() {
    let spec = counted();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    assert_eq!(operator.tables().len(), 4, "min and max share a multiset");
    let rows = [(5, Some(3), 10, 1), (9, Some(7), 11, 2), (7, None, 12, 1), (1, Some(3), 13, 1)];
    assert_eq!(
        step(&mut operator, vec![changes(&spec, &rows)], &context(1, None)),
        ["+1 1 3 7 7 2"]
    );
    let mut operator = handed_over(&mut operator, &spec);
    let rows = [(9, Some(7), 11, -1), (5, Some(3), 10, -1)];
    assert!(
        step(&mut operator, vec![changes(&spec, &rows)], &context(2, None)).is_empty(),
        "one of each is left"
    );
    operator.hand_over().unwrap();
    let rows = [(9, Some(7), 11, -1)];
    assert_eq!(
        step(&mut operator, vec![changes(&spec, &rows)], &context(3, None)),
        ["-1 1 3 7 7 2", "+1 1 3 3 NULL 1"]
    );
    let rows = [(7, None, 12, -1), (1, Some(3), 13, -1)];
    assert_eq!(
        step(&mut operator, vec![changes(&spec, &rows)], &context(4, None)),
        ["-1 1 3 3 NULL 1"]
    );
    for change in operator.hand_over().unwrap() {
        let change = change.expect("all of it is gone");
        assert_eq!(change.gone.true_count(), change.rows.num_rows());
    }
    assert!(operator.hand_over().unwrap().iter().all(Option::is_none));
}

/// `array_agg`, which is run again.
fn gathering() -> AggregateSpec {
    let mut spec = counted();
    let column = datafusion::physical_expr::expressions::Column::new("c2", 2);
    let function = datafusion::functions_aggregate::array_agg::array_agg_udaf();
    spec.calls = vec![Call {
        order: vec![Order { column: 1, descending: true, nulls_first: false }],
        rebuild: Some(millrace_plan::Rebuild {
            function,
            args: vec![millrace_plan::Scalar(Arc::new(column))],
            ordered: true,
        }),
        ..call(Function::Rebuilt, &[2], DataType::new_list(DataType::Int64, true))
    }];
    let fields = vec![spec.output.field(0).clone(), spec.calls[0].output.as_ref().clone()];
    spec.output = Arc::new(Schema::new(fields));
    spec
}

#[test]
fn the_values_of_a_group_are_read_in_pieces() {
    let run = |fuel: usize| {
        let spec = gathering();
        let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
        operator.set_fuel(fuel);
        let (mut all, mut calls) = (Vec::new(), 0);
        let come: Vec<_> = (0..12).map(|n| (n % 5, Some(n), n, 1 + n % 2)).collect();
        let gone = [(3, Some(3), 3, -1), (4, Some(4), 4, -1), (1, Some(20), 20, 1)];
        let left: Vec<_> = come.iter().filter(|row| ![3, 4].contains(&row.2)).collect();
        let rest: Vec<_> = left.iter().map(|row| (row.0, row.1, row.2, -row.3)).collect();
        for (epoch, rows) in [(1, &come[..]), (2, &gone[..]), (3, &rest[..])] {
            let context = context(epoch, None);
            operator.absorb(0, changes(&spec, rows), &context).unwrap();
            let mut out = Output::default();
            loop {
                calls += 1;
                operator.finish(&context, &mut out).unwrap();
                if !operator.has_more() {
                    break;
                }
            }
            all.push(lines(&out));
        }
        (all, calls)
    };
    let (whole, calls) = run(1 << 20);
    assert_eq!(calls, 3);
    for (fuel, least) in [(1, 30), (3, 12), (5, 8)] {
        let (some, calls) = run(fuel);
        assert_eq!(some, whole, "fuel {fuel}");
        assert!(calls > least, "{calls} calls with fuel {fuel}");
    }
}

#[test]
fn a_function_is_run_again_over_the_rows_that_are_left() {
    let spec = gathering();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = [(5, Some(4), 12, 1), (5, Some(3), 10, 1), (9, None, 11, 2)];
    assert_eq!(
        step(&mut operator, vec![changes(&spec, &rows)], &context(1, None)),
        ["+1 1 [NULL, NULL, 3, 4]"],
        "ties go by the key of the row"
    );
    let mut operator = handed_over(&mut operator, &spec);
    let rows = [(9, None, 11, -1), (5, Some(3), 10, -1)];
    assert_eq!(
        step(&mut operator, vec![changes(&spec, &rows)], &context(2, None)),
        ["-1 1 [NULL, NULL, 3, 4]", "+1 1 [NULL, 4]"]
    );
}

fn windowed() -> AggregateSpec {
    let mut spec = spec(
        &[DataType::Int64, timestamp(), DataType::Int64],
        &[0, 1],
        vec![call(Function::Count, &[], DataType::Int64)],
    );
    spec.settled = Some(Watermark { column: 1, shift: 10, sources: vec![SOURCE] });
    spec
}

#[test]
fn closed_windows_leave_the_state_without_a_word() {
    let spec = windowed();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = vec![ints([1, 1, 1]), times(&[0, 10, 20]), ints([1, 2, 3])];
    step(&mut operator, vec![delta(&spec, rows, &[1, 1, 1])], &context(1, None));
    operator.hand_over().unwrap();
    assert!(step(&mut operator, vec![], &context(2, Some(19))).is_empty());
    let change = operator.hand_over().unwrap().remove(0).unwrap();
    assert_eq!((change.rows.num_rows(), change.trim), (0, Some(10)));
    assert_eq!(change.rows.schema().field(0).name(), "key_1", "the window is first");
    let rows = vec![ints([1, 1]), times(&[20, 10]), ints([1, 2])];
    let told = step(&mut operator, vec![delta(&spec, rows, &[1, 1])], &context(3, Some(20)));
    assert_eq!(told.len(), 4, "both windows were there: {told:?}");
    let change = operator.hand_over().unwrap().remove(0).unwrap();
    assert_eq!((change.rows.num_rows(), change.trim), (1, Some(11)));
}

#[test]
fn panes_feed_the_windows_that_are_still_open() {
    let mut spec = windowed();
    spec.hop = Some(Hop { column: 1, slide: 10, size: 30, offset: 0, cumulates: false });
    spec.settled = Some(Watermark { column: 2, shift: 0, sources: vec![SOURCE] });
    let mut fields = spec.output.fields().to_vec();
    fields.insert(2, Arc::new(Field::new("window_end", timestamp(), false)));
    spec.output = Arc::new(Schema::new(fields));
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows =
        |pane: i64| delta(&spec, vec![ints([1, 1]), times(&[pane, pane]), ints([1, 2])], &[1, 1]);
    let starts = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| line.replace("1970-01-01T00:00:00.0000", "")).collect()
    };
    let told = starts(step(&mut operator, vec![rows(20), rows(30)], &context(1, Some(30))));
    assert_eq!(told, ["+1 1 10 40 4", "+1 1 20 50 4", "+1 1 30 60 2"], "[0, 30) has closed");
    assert_eq!(starts(step(&mut operator, vec![rows(30)], &context(2, Some(30)))).len(), 6);
    let change = operator.hand_over().unwrap().remove(0).unwrap();
    assert_eq!(change.rows.num_rows(), 3);
    assert_eq!(operator.tables()[0].routing, [1], "panes of one window meet on one worker");
}

#[test]
#[should_panic(expected = "test: a group has -1 rows")]
fn more_retractions_than_rows_are_a_program_error() {
    let spec = sums();
    let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
    let rows = delta(&spec, vec![ints([1]), ints([10])], &[-1]);
    step(&mut operator, vec![rows], &context(1, None));
}

/// A row goes into hundreds of windows: some of them are finished at a time, each in one go.
#[test]
fn windows_of_many_panes_are_finished_in_portions() {
    for cumulates in [false, true] {
        let mut spec = windowed();
        spec.settled = None;
        spec.input.append_only = false;
        spec.hop = Some(Hop { column: 1, slide: 10, size: 700, offset: 0, cumulates });
        let end = Arc::new(Field::new("end", timestamp(), true));
        let mut fields: Vec<_> = spec.output.fields().iter().cloned().collect();
        fields.insert(2, end);
        spec.output = Arc::new(Schema::new(fields));
        let times: Vec<Option<i64>> =
            vec![Some(0), None, Some(10), Some(250), Some(900), Some(1_000_000), Some(1_000_010)];
        let keys = (0..7).map(|n| n % 2).collect::<Vec<i64>>();
        let run = |fuel: usize| {
            let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
            operator.set_fuel(fuel);
            let (mut all, mut calls) = (Vec::new(), Vec::new());
            for epoch in 1..=3 {
                let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.clone()));
                let rows = vec![ints(keys.clone()), at, ints(0..7)];
                let weight = if epoch == 3 { -1 } else { 1 };
                let rows = delta(&spec, rows, &[weight; 7]);
                let context = context(epoch, None);
                operator.absorb(0, rows, &context).unwrap();
                let mut out = Output::default();
                operator.finish(&context, &mut out).unwrap();
                calls.push(1);
                while operator.has_more() {
                    operator.finish(&context, &mut out).unwrap();
                    *calls.last_mut().unwrap() += 1;
                }
                let mut lines = lines(&out);
                lines.sort();
                all.push(lines);
            }
            (all, calls)
        };
        let (whole, calls) = run(1 << 20);
        assert_eq!(calls, [2, 2, 2], "rows without a time come last");
        let (some, calls) = run(20);
        assert!(calls.iter().all(|calls| *calls > 10), "{calls:?}");
        assert_eq!(some, whole);
        assert!(whole[0].len() > 200 && whole[0].iter().all(|line| line.starts_with("+1")));
        let comes = whole[1].iter().filter(|line| line.starts_with("+1")).count();
        assert_eq!(comes, whole[0].len(), "each window changes once");
        assert!(whole[2].iter().filter(|line| line.starts_with("-1")).count() == whole[0].len());
    }
}

/// Windows with gaps between them, and times far apart: panes in no window are passed over.
#[test]
fn panes_in_no_window_end_a_time_all_the_same() {
    let mut spec = windowed();
    spec.settled = None;
    spec.input.append_only = false;
    spec.hop = Some(Hop { column: 1, slide: 100, size: 10, offset: 0, cumulates: false });
    let end = Arc::new(Field::new("end", timestamp(), true));
    let mut fields: Vec<_> = spec.output.fields().iter().cloned().collect();
    fields.insert(2, end);
    spec.output = Arc::new(Schema::new(fields));
    let far = i64::MAX - 50;
    let at = [50, -3_000_040, 0, 105, far, i64::MIN + 20, 250, 1 << 60];
    for fuel in [1, 3, 1 << 20] {
        let mut operator = Aggregate::new(Arc::new(spec.clone())).unwrap();
        operator.set_fuel(fuel);
        let rows = vec![ints([1; 8]), times(&at), ints(0..8)];
        let rows = delta(&spec, rows, &[1; 8]);
        operator.absorb(0, rows, &context(1, None)).unwrap();
        let (mut out, mut calls) = (Output::default(), 0);
        loop {
            operator.finish(&context(1, None), &mut out).unwrap();
            calls += 1;
            if !operator.has_more() {
                break;
            }
            assert!(calls < 1_000, "it does not end");
        }
        let in_window = at.iter().filter(|time| time.rem_euclid(100) < 10).count();
        let windows: usize = out.deltas.iter().map(Delta::len).sum();
        assert!(windows <= in_window && windows >= 2, "{windows} of {in_window}");
    }
}
