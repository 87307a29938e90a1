//! Sessions merge and split.

use arrow::array::{AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use millrace_plan::{Meta, Watermark};
use millrace_types::{Epoch, ObjectId};

use super::*;

fn operator() -> Session {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let field = |name: &str| Field::new(name, time.clone(), true);
    let schema = Arc::new(Schema::new(vec![field("ts")]));
    let all = ["ts", "window_start", "window_end"].map(field).to_vec();
    let input = Meta { schema, key: vec![0], append_only: false, watermarks: Vec::new() };
    let settled = Watermark { column: 2, shift: 0, sources: vec![ObjectId(1)] };
    let spec = SessionSpec {
        name: "session".into(),
        key: Vec::new(),
        time: 0,
        gap: 10,
        settled: Some(settled),
        output: Arc::new(Schema::new(all)),
        input,
    };
    Session::new(Arc::new(spec)).unwrap()
}

/// What comes out: time, bounds, weight.
fn step(
    operator: &mut Session,
    epoch: u64,
    watermark: i64,
    rows: &[(i64, i64)],
) -> Vec<(i64, i64, i64, i64)> {
    let watermarks = BTreeMap::from([(ObjectId(1), watermark)]);
    let ts = Epoch(epoch).ts();
    let context = Context { ts, worker: 0, workers: 1, watermarks, now: None, changelog: true };
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0));
    let schema = Arc::clone(&operator.spec.input.schema);
    let batch = RecordBatch::try_new(schema, vec![Arc::new(times)]).unwrap();
    let weights = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    operator.absorb(0, Delta::new(batch, weights), &context).unwrap();
    let mut out = Output::default();
    operator.finish(&context, &mut out).unwrap();
    let mut said = Vec::new();
    for delta in out.deltas {
        let column = |at: usize| delta.rows.column(at).as_primitive::<TimestampMicrosecondType>();
        for row in 0..delta.len() {
            let value = |at| column(at).value(row);
            said.push((value(0), value(1), value(2), delta.weights.value(row)));
        }
    }
    said.sort_unstable();
    said
}

#[test]
fn a_row_between_two_sessions_merges_them_and_splits_them_when_it_goes() {
    let mut operator = operator();
    let first = step(&mut operator, 1, 0, &[(0, 1), (18, 2)]);
    assert_eq!(first, [(0, 0, 10, 1), (18, 18, 28, 2)]);
    let merged = step(&mut operator, 2, 0, &[(9, 1)]);
    assert_eq!(
        merged,
        [(0, 0, 10, -1), (0, 0, 28, 1), (9, 0, 28, 1), (18, 0, 28, 2), (18, 18, 28, -2)]
    );
    let split = step(&mut operator, 3, 0, &[(9, -1), (18, -1)]);
    assert_eq!(
        split,
        [(0, 0, 10, 1), (0, 0, 28, -1), (9, 0, 28, -1), (18, 0, 28, -2), (18, 18, 28, 1)]
    );
    // A pause as long as the gap ends a session.
    assert_eq!(step(&mut operator, 4, 0, &[(28, 1)]), [(28, 28, 38, 1)]);
}

#[test]
fn a_session_goes_with_its_end_and_its_rows_come_back_after_a_stop() {
    let mut first = operator();
    step(&mut first, 1, 0, &[(0, 1), (5, 1), (30, 3)]);
    let stored = first.hand_over().unwrap().remove(0).unwrap();
    let mut second = operator();
    second.restore(0, stored.rows).unwrap();
    assert_eq!(step(&mut second, 2, 15, &[(36, 1)]).len(), 3);
    assert_eq!(second.sessions.len(), 1);
    let gone = second.hand_over().unwrap().remove(0).unwrap().gone;
    assert_eq!(gone.true_count(), 2);
}
