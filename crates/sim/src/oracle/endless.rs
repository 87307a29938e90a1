//! State bytes on an endless stream: simulated days pass in seconds, and what a view keeps of them does
//! not grow.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{FieldRef, SchemaRef};
use millrace_dataflow::driver::{Driver, Store};
use millrace_sql::stream::ViewOptions;
use millrace_types::{Delta, Epoch, OFFSET_COLUMN, PARTITION_COLUMN, TIME_ZONE};

use super::sql::{SOURCE_ID, Sql};

const MINUTE: i64 = 60_000_000;
/// An epoch is this long, so that a day has 144.
const STEP: i64 = 10 * MINUTE;
const DAYS: i64 = 24;

/// The rows of one epoch: one a minute, of one of seven sensors.
fn rows(schema: &SchemaRef, epoch: i64) -> Delta {
    let numbers = epoch * 10..epoch * 10 + 10;
    let column = |field: &FieldRef| -> ArrayRef {
        match field.name().as_str() {
            "ts" => {
                let times = numbers.clone().map(|number| number * MINUTE);
                let times = TimestampMicrosecondArray::from_iter_values(times);
                Arc::new(times.with_timezone(TIME_ZONE))
            }
            "i" => {
                let sensors = numbers.clone().map(|n| i32::try_from(n % 7).expect("few sensors"));
                Arc::new(Int32Array::from_iter_values(sensors))
            }
            PARTITION_COLUMN => Arc::new(Int32Array::from(vec![0; 10])),
            "u" | OFFSET_COLUMN => Arc::new(Int64Array::from_iter_values(numbers.clone())),
            _ => new_null_array(field.data_type(), 10),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    Delta::constant(RecordBatch::try_new(Arc::clone(schema), columns).expect("its columns"), 1)
}

/// The greatest bytes and state rows of each day.
fn days(text: &str, emit_on_window_close: bool) -> Vec<(usize, usize)> {
    let sql = Sql::new(true);
    let options =
        ViewOptions { allowed_lateness_us: MINUTE, emit_on_window_close, ..ViewOptions::default() };
    let plan = sql.plan_with(text, &options).expect("a plan");
    let schema = sql.source_schema();
    let leaves = plan.root.leaves().len();
    let mut driver = Driver::new(&plan, 2).expect("operators");
    let (mut store, mut days) = (Store::default(), Vec::new());
    let mut made = 0;
    for day in 0..DAYS {
        let mut most = (0, 0);
        for epoch in day * 144..(day + 1) * 144 {
            let ts = Epoch(epoch.cast_unsigned() + 1).ts();
            let delta = rows(&schema, epoch);
            for leaf in 0..leaves {
                let worker = usize::try_from(epoch % 2).expect("one of two workers");
                driver.push(leaf, worker, &delta, ts).expect("columns of the leaf");
            }
            driver.set_now(epoch * STEP);
            let watermarks = BTreeMap::from([(SOURCE_ID, epoch * STEP)]);
            let out = driver.finish(ts, &watermarks).expect("an epoch");
            made += out.deltas.iter().map(Delta::len).sum::<usize>();
            if epoch % 6 == 0 {
                driver.checkpoint(&mut store).expect("a hand-over");
            }
            most = (most.0.max(driver.bytes()), most.1.max(store.len()));
        }
        days.push(most);
    }
    assert!(made > 0, "nothing leaves: {text}");
    days
}

const HOURLY: &str = "SELECT window_start, i, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '1 hour') \
    GROUP BY window_start, i";

/// The same of windows that have many keys, first rows and window functions.
fn queries_in_windows() -> Vec<(String, bool)> {
    vec![
        // Each key is new.
        (
            "SELECT window_start, u, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '1 hour') \
             GROUP BY window_start, u"
                .to_owned(),
            false,
        ),
        (
            format!(
                "SELECT window_start, i, n FROM (SELECT *, row_number() OVER (PARTITION BY \
                 window_start ORDER BY n DESC, i) AS place FROM ({HOURLY}) AS h) AS q \
                 WHERE place <= 2"
            ),
            false,
        ),
        (
            "SELECT window_start, u, place FROM (SELECT *, row_number() OVER (PARTITION BY \
             window_start ORDER BY u DESC) AS place FROM TUMBLE(s, ts, INTERVAL '1 hour')) AS q \
             WHERE place <= 2"
                .to_owned(),
            true,
        ),
        (
            "SELECT window_start, u, sum(u) OVER (PARTITION BY window_start ORDER BY u) AS so_far \
             FROM TUMBLE(s, ts, INTERVAL '1 hour')"
                .to_owned(),
            true,
        ),
    ]
}

/// Queries whose state goes, and whether rows are shown when they are final.
fn queries() -> Vec<(String, bool)> {
    let joined = "JOIN s AS b ON a.i = b.i AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 hour'";
    vec![
        (format!("{HOURLY}, i % 2"), false),
        (HOURLY.to_owned(), true),
        (
            "SELECT window_end, max(u) AS last, count(DISTINCT i) AS n \
             FROM HOP(s, ts, INTERVAL '20 minutes', INTERVAL '2 hours') GROUP BY window_end"
                .to_owned(),
            false,
        ),
        (
            "SELECT window_start, window_end, i, count(*) AS n \
             FROM CUMULATE(s, ts, INTERVAL '1 hour', INTERVAL '6 hours') \
             GROUP BY window_start, window_end, i"
                .to_owned(),
            true,
        ),
        (
            "SELECT window_end, i, count(*) AS n \
             FROM TUMBLE(s, ts, INTERVAL '1 day', 'Europe/Helsinki') GROUP BY window_end, i"
                .to_owned(),
            true,
        ),
        (
            "SELECT window_end, i, count(*) AS n \
             FROM SESSION((SELECT * FROM s WHERE u % 720 < 600) PARTITION BY i, ts, \
             INTERVAL '30 minutes') GROUP BY window_start, window_end, i"
                .to_owned(),
            true,
        ),
        (format!("SELECT a.ts AS one, b.ts AS other, a.u FROM s AS a {joined}"), true),
        (format!("SELECT a.ts AS one, b.ts AS other, a.u FROM s AS a LEFT {joined}"), false),
        (format!("SELECT a.ts AS one, b.ts AS other, b.u FROM s AS a RIGHT {joined}"), true),
        (format!("SELECT a.ts AS one, b.ts AS other, a.u FROM s AS a FULL {joined}"), true),
        (
            "SELECT a.ts, a.u, b.u AS before FROM s AS a ASOF LEFT JOIN s AS b \
             ON a.i = b.i AND a.ts > b.ts"
                .to_owned(),
            true,
        ),
        (
            "SELECT b.ts, a.u, b.u AS after FROM s AS a ASOF JOIN s AS b ON a.i = b.i AND a.ts < b.ts"
                .to_owned(),
            true,
        ),
        (
            format!(
                "SELECT a.window_start, a.i, a.n - b.n AS more FROM ({HOURLY}) AS a \
                 FULL JOIN ({HOURLY}) AS b ON a.window_start = b.window_start AND a.i = b.i"
            ),
            false,
        ),
        (
            "SELECT i, count(*) AS n, max(u) AS last FROM s WHERE ts > now() - INTERVAL '3 hours' \
             GROUP BY i"
                .to_owned(),
            false,
        ),
        (
            "SELECT DISTINCT date_bin(INTERVAL '1 hour', ts) AS hour, i FROM s \
             WHERE ts BETWEEN now() - INTERVAL '3 hours' AND now() - INTERVAL '1 hour'"
                .to_owned(),
            false,
        ),
    ]
}

#[test]
fn state_stays_flat_while_days_pass() {
    for (text, emits) in queries().into_iter().chain(queries_in_windows()) {
        let days = days(&text, emits);
        let (early, late) = (&days[3..8], &days[DAYS_LATE..]);
        let most = |days: &[(usize, usize)], of: fn(&(usize, usize)) -> usize| {
            days.iter().map(of).max().expect("some days")
        };
        for of in [|day: &(usize, usize)| day.0, |day: &(usize, usize)| day.1] {
            let (early, late) = (most(early, of), most(late, of));
            assert!(late <= early + early / 4 + 16, "{early} grow to {late}: {text}\n{days:?}");
        }
    }
}

const DAYS_LATE: usize = 18;
