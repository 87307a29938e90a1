//! Random rows of the oracle's source and of its table, cut into epochs.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    Float64Array, Int32Array, Int64Array, LargeBinaryArray, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, filter_record_batch, not};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef, i256};
use millrace_types::{Delta, NUMERIC_PRECISION, NUMERIC_SCALE, SqlType, TIME_ZONE, json};
use rand::Rng;
use rand::rngs::StdRng;

/// Microseconds of a second.
pub(super) const SECOND: i64 = 1_000_000;
/// 2024-02-28 23:59:30 UTC: a minute, a day and a leap day are near.
const START: i64 = 1_709_164_770 * SECOND;

/// The columns of the source, but for the hidden ones: name and type.
pub(super) fn columns() -> Vec<(&'static str, SqlType)> {
    vec![
        ("u", SqlType::BigInt),
        ("i", SqlType::Integer),
        ("b", SqlType::BigInt),
        ("d", SqlType::Double),
        ("m", SqlType::Numeric(Some((10, 2)))),
        ("n", SqlType::Numeric(None)),
        ("t", SqlType::Text),
        ("f", SqlType::Boolean),
        ("ts", SqlType::TimestampTz),
        ("js", SqlType::Jsonb),
        ("li", SqlType::Array(Box::new(SqlType::Integer))),
        ("id", SqlType::Uuid),
    ]
}

/// How event times relate to the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// There is no watermark.
    Free,
    /// There is one, and no row is below it.
    InOrder,
    /// There is one, and some rows are below it.
    Late,
}

/// One epoch of the source.
#[derive(Clone, Debug)]
pub(super) struct EpochRows {
    /// Rows by partition, in the source's full schema.
    pub(super) partitions: Vec<RecordBatch>,
    /// The watermark before this epoch.
    pub(super) watermark: Option<i64>,
    /// What `now()` is.
    pub(super) now: i64,
    /// What statements do to the table: rows that go, then rows that come.
    pub(super) table: Vec<Delta>,
}

/// Makes epochs.
pub(super) struct Rows {
    schema: SchemaRef,
    times: Times,
    /// How many different keys.
    keys: i64,
    /// Of ten rows, how many columns are NULL.
    nulls: f64,
    delay: i64,
    greatest: Option<i64>,
    now: i64,
    next: i64,
    offsets: Vec<i64>,
}

impl Rows {
    /// A random kind of data.
    pub(super) fn new(schema: SchemaRef, times: Times, random: &mut StdRng) -> Rows {
        Rows {
            schema,
            times,
            keys: [1, 3, 40][random.random_range(0..3)],
            nulls: [0.0, 0.1, 0.6][random.random_range(0..3)],
            delay: random.random_range(0..4) * SECOND,
            greatest: None,
            now: START,
            next: 0,
            offsets: vec![0; random.random_range(1..=3)],
        }
    }

    /// The next epoch; some are empty.
    pub(super) fn epoch(&mut self, number: u64, random: &mut StdRng) -> EpochRows {
        let watermark = match self.times {
            Times::Free => None,
            Times::InOrder | Times::Late => self.greatest.map(|greatest| greatest - self.delay),
        };
        let mut partitions = Vec::new();
        for partition in 0..self.offsets.len() {
            let rows = match random.random_range(0..6) {
                0 => 0,
                1 => random.random_range(20..60),
                _ => random.random_range(1..8),
            };
            let times: Vec<Option<i64>> =
                (0..rows).map(|_| self.time(number, watermark, random)).collect();
            partitions.push(self.batch(partition, &times, random));
            self.greatest = self.greatest.max(times.into_iter().flatten().max());
        }
        let passed = i64::try_from(number).expect("few epochs") * 4 * SECOND;
        self.now = self.now.max(START + passed + random.random_range(-3 * SECOND..3 * SECOND));
        EpochRows { partitions, watermark, now: self.now, table: Vec::new() }
    }

    fn time(&self, epoch: u64, watermark: Option<i64>, random: &mut StdRng) -> Option<i64> {
        if random.random_bool(self.nulls / 4.0) {
            return None;
        }
        let middle = START + i64::try_from(epoch).expect("few epochs") * 4 * SECOND;
        let spread = if self.times == Times::Late { 20 } else { 6 } * SECOND;
        // Often on a boundary of seconds, where windows begin.
        let grain = if random.random_bool(0.5) { SECOND } else { 1 };
        let time = (middle + random.random_range(-spread..spread)) / grain * grain;
        let least = watermark.filter(|_| self.times == Times::InOrder);
        Some(least.map_or(time, |least| time.max(least)))
    }

    fn batch(
        &mut self,
        partition: usize,
        times: &[Option<i64>],
        random: &mut StdRng,
    ) -> RecordBatch {
        let rows = times.len();
        let keys = self.keys;
        let nulls = self.nulls;
        let some = |random: &mut StdRng, low: i64, high: i64| -> Vec<Option<i64>> {
            (0..rows)
                .map(|_| (!random.random_bool(nulls)).then(|| random.random_range(low..high)))
                .collect()
        };
        let count = i64::try_from(rows).expect("few rows");
        let unique = self.next..self.next + count;
        let offset = self.offsets[partition];
        let number = i32::try_from(partition).expect("few partitions");
        let narrow = |v: &Option<i64>| v.map(|v| i32::try_from(v).expect("a small number"));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(unique)),
            Arc::new(some(random, 0, keys).iter().map(narrow).collect::<Int32Array>()),
            Arc::new(Int64Array::from(some(random, -1_000_000, 1_000_000))),
            Arc::new(eighths(some(random, -4000, 4000))),
            Arc::new(
                Decimal128Array::from_iter(
                    some(random, -99_999, 99_999).into_iter().map(|v| v.map(i128::from)),
                )
                .with_precision_and_scale(10, 2)
                .expect("ten digits hold it"),
            ),
            Arc::new(numerics(some(random, -99_999_999, 99_999_999))),
            Arc::new(
                some(random, 0, keys + 2).iter().map(|v| v.map(text)).collect::<StringArray>(),
            ),
            Arc::new(
                some(random, 0, 2).iter().map(|v| v.map(|v| v == 1)).collect::<BooleanArray>(),
            ),
            Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone(TIME_ZONE)),
            Arc::new(jsons(some(random, 0, 12))),
            Arc::new(arrays(some(random, 0, keys + 4))),
            Arc::new(uuids(some(random, 0, keys))),
            Arc::new(Int32Array::from(vec![number; rows])),
            Arc::new(Int64Array::from_iter_values(offset..offset + count)),
        ];
        self.next += count;
        self.offsets[partition] += count;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("columns of the schema")
    }
}

/// The rows of a table, which come, change and go.
pub(super) struct TableRows {
    made: Rows,
    /// The columns of [`columns`] and the hidden key.
    schema: SchemaRef,
    /// What the table holds.
    held: RecordBatch,
    next: i64,
}

impl TableRows {
    /// An empty table; `source` is the full schema of the source.
    pub(super) fn new(source: SchemaRef, schema: SchemaRef, random: &mut StdRng) -> TableRows {
        let held = RecordBatch::new_empty(Arc::clone(&schema));
        TableRows { made: Rows::new(source, Times::Free, random), schema, held, next: 0 }
    }

    /// What the table holds after the last epoch.
    pub(super) fn held(&self) -> RecordBatch {
        self.held.clone()
    }

    /// The changes of the next epoch; some are none.
    pub(super) fn epoch(&mut self, number: u64, random: &mut StdRng) -> Vec<Delta> {
        let share = [0.0, 0.1, 0.5, 1.0][random.random_range(0..4)];
        let made = self.made.epoch(number, random).partitions;
        let made = concat_batches(&self.made.schema, &made).expect("rows of one schema");
        let ids = self.held.columns().last().expect("the hidden key").as_primitive::<Int64Type>();
        let (mut gone, mut changed) = (Vec::new(), Vec::new());
        for id in ids.values() {
            let goes = random.random_bool(share);
            gone.push(goes);
            // Some of those that go come again with other values.
            let again = goes && changed.len() < made.num_rows() && random.random_bool(0.4);
            changed.extend(again.then_some(*id));
        }
        let fresh = made.num_rows() - changed.len();
        let fresh = self.next..self.next + i64::try_from(fresh).expect("few rows");
        self.next = fresh.end;
        let ids: Int64Array = changed.into_iter().chain(fresh).collect();
        let mut columns = made.columns()[..columns().len()].to_vec();
        columns.push(Arc::new(ids));
        let come = RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("its columns");
        let gone = BooleanArray::from(gone);
        let kept = not(&gone).expect("a mask");
        let kept = filter_record_batch(&self.held, &kept).expect("a mask of its length");
        let gone = filter_record_batch(&self.held, &gone).expect("a mask of its length");
        self.held = concat_batches(&self.schema, [&kept, &come]).expect("rows of one schema");
        vec![Delta::constant(gone, -1), Delta::constant(come, 1)]
    }
}

/// Numbers that doubles hold and add up exactly, and both zeros: a sum then has one value in any order.
fn eighths(values: Vec<Option<i64>>) -> Float64Array {
    let eighth = |v: i64| match v.rem_euclid(25) {
        0 => 0.0,
        1 => -0.0,
        _ => f64::from(i32::try_from(v).expect("a small number")) / 8.0,
    };
    values.into_iter().map(|v| v.map(eighth)).collect()
}

fn numerics(values: Vec<Option<i64>>) -> Decimal256Array {
    let power = i256::from_i128(10).checked_pow(16).expect("sixteen digits fit");
    let wide = |v: i64| i256::from_i128(i128::from(v)).wrapping_mul(power);
    Decimal256Array::from_iter(values.into_iter().map(|v| v.map(wide)))
        .with_precision_and_scale(NUMERIC_PRECISION, NUMERIC_SCALE)
        .expect("the digits of numeric")
}

/// Values of each kind, some equal though written otherwise.
fn jsons(values: Vec<Option<i64>>) -> LargeBinaryArray {
    const TEXTS: [&str; 8] = [
        "null",
        "1",
        "1.0",
        "\"x\"",
        "[1, \"x\"]",
        "{\"k\": [1, \"x\"], \"l\": null}",
        "{\"l\": null, \"k\": [1, \"x\"]}",
        "{\"k\": {\"k\": false}}",
    ];
    let place = |v: i64| usize::try_from(v).expect("a place") % TEXTS.len();
    let value = |v: i64| json::encode(TEXTS[place(v)]).expect("JSON");
    LargeBinaryArray::from_iter(values.into_iter().map(|v| v.map(value)))
}

fn arrays(values: Vec<Option<i64>>) -> ListArray {
    let array = |v: i64| {
        let element = |at: i64| i32::try_from((v + at) % 4).ok().filter(|_| at != 2);
        (0..v % 4).map(element).collect::<Vec<_>>()
    };
    let values = values.into_iter().map(|v| v.map(array));
    ListArray::from_iter_primitive::<Int32Type, _, _>(values)
}

fn uuids(values: Vec<Option<i64>>) -> FixedSizeBinaryArray {
    let bytes = |v: i64| u128::from(v.cast_unsigned()).to_be_bytes();
    let values = values.into_iter().map(|v| v.map(bytes));
    FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16).expect("sixteen bytes")
}

fn text(value: i64) -> String {
    match value {
        0 => String::new(),
        1 => "Äpfel".into(),
        _ => format!("sensor-{value}"),
    }
}
