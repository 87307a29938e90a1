//! Rows that come and go by the clock, without data.

use arrow::array::{AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use millrace_plan::Meta;
use millrace_types::Epoch;

use super::*;

/// Rows of a begin and an end.
fn operator() -> Stay {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let field = |name: &str| Field::new(name, time.clone(), true);
    let schema = Arc::new(Schema::new(vec![field("from"), field("until")]));
    let input = Meta { schema, key: vec![0, 1], append_only: false, watermarks: Vec::new() };
    let spec =
        StaySpec { name: "stay".into(), clock: Clock::Now, from: Some(0), until: Some(1), input };
    Stay::new(Arc::new(spec)).unwrap()
}

fn rows(operator: &Stay, rows: &[(i64, Option<i64>, i64)]) -> Delta {
    let from = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0));
    let until = rows.iter().map(|row| row.1).collect::<TimestampMicrosecondArray>();
    let columns: Vec<ArrayRef> = vec![Arc::new(from), Arc::new(until)];
    let batch = RecordBatch::try_new(Arc::clone(&operator.spec.input.schema), columns).unwrap();
    Delta::new(batch, Int64Array::from_iter_values(rows.iter().map(|row| row.2)))
}

/// What comes out at a time: the begin of each row and its weight.
fn step(operator: &mut Stay, now: i64, delta: Option<Delta>) -> Vec<(i64, i64)> {
    let ts = Epoch(u64::try_from(now).unwrap()).ts();
    let (watermarks, now) = (BTreeMap::new(), Some(now));
    let context = Context { ts, worker: 0, workers: 1, watermarks, now, changelog: true };
    if let Some(delta) = delta {
        operator.absorb(0, delta, &context).unwrap();
    }
    let mut out = Output::default();
    operator.finish(&context, &mut out).unwrap();
    assert!(!operator.is_due(&context));
    let mut said = Vec::new();
    for delta in out.deltas {
        let from = delta.rows.column(0).as_primitive::<TimestampMicrosecondType>();
        said.extend(from.values().iter().copied().zip(delta.weights.values().iter().copied()));
    }
    said
}

#[test]
fn rows_come_and_go_by_themselves_and_their_state_goes_with_them() {
    let mut operator = operator();
    let come = rows(
        &operator,
        &[(5, Some(9), 2), (1, Some(7), 1), (8, Some(8), 1), (3, None, 1), (0, Some(2), 1)],
    );
    assert_eq!(step(&mut operator, 2, Some(come)), [(1, 1)]);
    assert_eq!(operator.next_turn(), Some(5));
    assert_eq!(step(&mut operator, 4, None), []);
    assert_eq!(step(&mut operator, 6, None), [(5, 2)]);
    let back = rows(&operator, &[(5, Some(9), -1)]);
    assert_eq!(step(&mut operator, 7, Some(back)), [(1, -1), (5, -1)]);
    assert_eq!(step(&mut operator, 9, None), [(5, -1)]);
    assert_eq!(operator.next_turn(), None);
    let change = operator.hand_over().unwrap().remove(0).unwrap();
    assert_eq!((change.rows.num_rows(), change.trim), (0, Some(10)));
}

#[test]
fn a_row_that_came_before_a_stop_goes_after_it() {
    let mut first = operator();
    let come = rows(&first, &[(1, Some(9), 3), (6, Some(9), 1)]);
    assert_eq!(step(&mut first, 2, Some(come)), [(1, 3)]);
    let stored = first.hand_over().unwrap().remove(0).unwrap();
    let mut second = operator();
    second.restore(0, stored.rows).unwrap();
    assert_eq!(step(&mut second, 7, None), [(6, 1)]);
    assert_eq!(step(&mut second, 12, None), [(1, -3), (6, -1)]);
    assert!(second.hand_over().unwrap().remove(0).unwrap().trim.is_some());
}

#[test]
fn what_is_over_cannot_be_retracted_again() {
    let mut operator = operator();
    let come = rows(&operator, &[(1, Some(4), 1)]);
    assert_eq!(step(&mut operator, 2, Some(come)), [(1, 1)]);
    let back = rows(&operator, &[(1, Some(4), -1)]);
    assert_eq!(step(&mut operator, 5, Some(back)), [(1, -1)]);
}
