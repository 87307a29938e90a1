//! Rows as values that can be counted and compared.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, ListArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millrace_types::Delta;

/// A row: what must be equal as text, floats apart, those in arrays too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    text: Vec<String>,
    /// Bits of the floats; None is NULL.
    floats: Vec<Option<u64>>,
}

/// Rows with weights; none is 0.
pub(super) type Counted = BTreeMap<Row, i64>;

/// The first `columns` columns of each row.
pub(super) fn rows(batch: &RecordBatch, columns: usize) -> Vec<Row> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = vec![Row { text: Vec::new(), floats: Vec::new() }; batch.num_rows()];
    for column in batch.columns().iter().take(columns) {
        if matches!(column.data_type(), DataType::Float32 | DataType::Float64) {
            let wide = cast(column, &DataType::Float64).expect("a float is a double");
            for (row, value) in rows.iter_mut().zip(wide.as_primitive::<Float64Type>()) {
                row.floats.push(value.map(f64::to_bits));
            }
            continue;
        }
        if let DataType::List(element) = column.data_type()
            && element.data_type().is_floating()
        {
            for (at, row) in rows.iter_mut().enumerate() {
                push_floats(row, column.as_list::<i32>(), at);
            }
            continue;
        }
        let decimal = column.data_type().is_decimal();
        let formatter = ArrayFormatter::try_new(column, &options).expect("a printable type");
        for (at, row) in rows.iter_mut().enumerate() {
            let text = formatter.value(at).to_string();
            row.text.push(match decimal && text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            });
        }
    }
    rows
}

/// The elements of an array of floats; how many there are must be equal.
fn push_floats(row: &mut Row, lists: &ListArray, at: usize) {
    if lists.is_null(at) {
        return row.text.push("NULL".to_owned());
    }
    let wide = cast(&lists.value(at), &DataType::Float64).expect("a float is a double");
    row.text.push(format!("an array of {}", wide.len()));
    row.floats
        .extend(wide.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits)));
}

/// Adds the changes of a delta.
pub(super) fn add(counted: &mut Counted, delta: &Delta, columns: usize) {
    for (row, weight) in rows(&delta.rows, columns).into_iter().zip(delta.weights.values()) {
        change(counted, row, *weight);
    }
}

/// Changes the weight of a row.
pub(super) fn change(counted: &mut Counted, row: Row, weight: i64) {
    let now = counted.entry(row.clone()).or_default();
    *now += weight;
    if *now == 0 {
        counted.remove(&row);
    }
}

/// Panics unless both hold the same rows; floats may differ in their last digits.
pub(super) fn assert_same(view: &Counted, batch: &[Row], what: &str) {
    let mut have: Vec<&Row> = Vec::new();
    for (row, weight) in view {
        assert!(*weight > 0, "{what}: weight {weight} of {row:?}");
        have.extend(std::iter::repeat_n(row, usize::try_from(*weight).expect("above 0")));
    }
    let mut want: Vec<&Row> = batch.iter().collect();
    have.sort_by(|a, b| order(a, b));
    want.sort_by(|a, b| order(a, b));
    if have.len() == want.len() && have.iter().zip(&want).all(|(a, b)| near(a, b)) {
        return;
    }
    // Values at the limit of a rounding may stand in another order.
    let rows = (have.len(), want.len());
    have.retain(|row| match want.iter().position(|other| near(row, other)) {
        Some(found) => {
            want.swap_remove(found);
            false
        }
        None => true,
    });
    have.truncate(5);
    want.truncate(5);
    assert!(
        have.is_empty() && want.is_empty(),
        "{what}: the view has {} rows, the query {}\nonly in the view: {have:#?}\nonly in the query: {want:#?}",
        rows.0,
        rows.1,
    );
}

fn order(a: &Row, b: &Row) -> std::cmp::Ordering {
    let floats = |row: &Row| -> Vec<Option<i64>> {
        // Rounded, so that neighbours of one value are in one order.
        let value = |bits: u64| f64::from_bits(bits) * 1e4;
        row.floats.iter().map(|bits| bits.map(|bits| whole(value(bits)))).collect()
    };
    a.text.cmp(&b.text).then_with(|| floats(a).cmp(&floats(b)))
}

#[allow(clippy::cast_possible_truncation, reason = "only an order is wanted")]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

fn near(a: &Row, b: &Row) -> bool {
    let close = |a: &Option<u64>, b: &Option<u64>| match (a, b) {
        (Some(a), Some(b)) => {
            let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
            let same = a == b || a.is_nan() && b.is_nan();
            same || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3)
        }
        _ => a == b,
    };
    a.text == b.text && a.floats.iter().zip(&b.floats).all(|(a, b)| close(a, b))
}
