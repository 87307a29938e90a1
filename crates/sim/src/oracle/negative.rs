//! A row that goes without having come is a program error: each operator that keeps rows says so with
//! its name, before anything is shown.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use millrace_dataflow::driver::Driver;
use millrace_sql::stream::ViewOptions;
use millrace_types::{Delta, Epoch, TIME_ZONE};

use super::sql::Sql;

/// One row of the table, all its numbers the same.
fn row(schema: &SchemaRef, number: i64, weight: i64) -> Delta {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![number]));
    let times = TimestampMicrosecondArray::from(vec![number * 1_000_000]).with_timezone(TIME_ZONE);
    let column = |field: &arrow::datatypes::FieldRef| -> ArrayRef {
        match field.data_type() {
            DataType::Int64 => Arc::clone(&numbers),
            DataType::Int32 => arrow::compute::cast(&numbers, &DataType::Int32).expect("a number"),
            DataType::Timestamp(_, Some(_)) => Arc::new(times.clone()),
            other => new_null_array(other, 1),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    Delta::constant(RecordBatch::try_new(Arc::clone(schema), columns).expect("its columns"), weight)
}

/// What the operators of a query say of a row that goes twice.
fn said(text: &str) -> String {
    let sql = Sql::new(true);
    let plan = sql.plan_with(text, &ViewOptions::default()).expect("a plan");
    let schema = sql.table_schema();
    let leaves = plan.root.leaves().len();
    let mut driver = Driver::new(&plan, 1).expect("operators");
    let mut epoch = |number: u64, rows: &[(i64, i64)]| {
        for (row, weight) in rows {
            let delta = self::row(&schema, *row, *weight);
            for leaf in 0..leaves {
                driver.push(leaf, 0, &delta, Epoch(number).ts()).expect("columns of the leaf");
            }
        }
        driver.finish(Epoch(number).ts(), &BTreeMap::new()).expect("an epoch").deltas.len()
    };
    epoch(1, &[(1, 1), (2, 1), (3, 1)]);
    epoch(2, &[(2, -1)]);
    let failed = catch_unwind(AssertUnwindSafe(|| epoch(3, &[(2, -1)])));
    let panic = failed.expect_err("the row is not there any more");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast::<&str>().expect("a message")).to_owned(),
    }
}

#[test]
fn each_operator_names_itself_when_a_row_goes_that_is_not_there() {
    for (text, operator) in [
        ("SELECT u, count(*) AS n FROM w GROUP BY u", "aggregate"),
        ("SELECT i, max(u) AS m FROM w GROUP BY i", "aggregate"),
        ("SELECT count(DISTINCT u) AS n FROM w", "aggregate"),
        ("SELECT string_agg(u::text, ',' ORDER BY u) AS t FROM w", "aggregate"),
        ("SELECT DISTINCT u FROM w", "aggregate"),
        ("SELECT a.u, b.i FROM w AS a JOIN w AS b ON a.u = b.u", "join"),
        ("SELECT a.u, b.i FROM w AS a FULL JOIN w AS b ON a.u = b.u", "join"),
        (
            "SELECT a.u FROM w AS a WHERE NOT EXISTS (SELECT 1 FROM w AS b WHERE b.u = a.u)",
            "aggregate",
        ),
        ("SELECT a.u, b.i FROM w AS a ASOF JOIN w AS b ON a.i = b.i AND a.u >= b.u", "join"),
        ("SELECT u FROM w ORDER BY u LIMIT 2", "top"),
        ("SELECT u, lag(u) OVER (ORDER BY u) AS before FROM w", "window"),
        (
            "SELECT window_start, count(*) AS n FROM SESSION(w, ts, INTERVAL '1 second') \
             GROUP BY window_start, window_end",
            "session",
        ),
        ("SELECT u FROM w WHERE ts > now() - INTERVAL '1 hour'", "stay"),
    ] {
        let said = said(text);
        assert!(said.to_lowercase().contains(operator), "{said}: {text}");
    }
}
