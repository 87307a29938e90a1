//! Our own functions, called from SQL, against what PostgreSQL answers.

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;
use millrace_types::SqlState;

use crate::session::{Settings, session_state};

async fn run(query: &str) -> datafusion::common::Result<Vec<RecordBatch>> {
    let context = SessionContext::new_with_state(session_state(&Settings::default()));
    context.sql(query).await?.collect().await
}

/// The values of the first row, and their types.
async fn row(query: &str) -> Vec<(String, String)> {
    let batches = run(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).expect("one row");
    let columns = batch.columns().iter();
    columns
        .map(|column| {
            let value = array_value_to_string(column, 0).unwrap();
            (value, super::type_name(column.data_type()))
        })
        .collect()
}

async fn code(query: &str) -> SqlState {
    crate::error::report(run(query).await.expect_err(query)).code
}

const INTS: &str = "FROM (VALUES (1::smallint, 1::int, 1::bigint, 1.0::float8, 1::float4, 1.50::numeric(10,2)), \
    (2::smallint, 2::int, 9223372036854775807::bigint, 2.0::float8, 2::float4, 2.25::numeric(10,2)), \
    (NULL, NULL, NULL, NULL, NULL, NULL), \
    (4::smallint, 4::int, 4::bigint, 4.0::float8, 4::float4, 1.00::numeric(10,2))) AS t(s, i, b, d, f, n)";

#[tokio::test]
async fn sums_have_the_types_of_postgresql() {
    let found = row(&format!("SELECT sum(s), sum(i), sum(b), sum(d), sum(f), sum(n) {INTS}")).await;
    let found: Vec<(&str, &str)> = found.iter().map(|(v, t)| (v.as_str(), t.as_str())).collect();
    assert_eq!(
        found,
        [
            ("7", "bigint"),
            ("7", "bigint"),
            ("9223372036854775812.00000000000000000000", "numeric"),
            ("7.0", "double precision"),
            ("7.0", "real"),
            ("4.75", "numeric(76,2)"),
        ]
    );
}

#[tokio::test]
async fn averages_and_spreads_are_exact_over_integers() {
    let found = row(&format!(
        "SELECT avg(i), avg(d), var_samp(i), stddev(i), variance(d), avg(DISTINCT i % 2), \
         sum(i) FILTER (WHERE i > 1), var_pop(s), sum(i) FILTER (WHERE i > 9) {INTS}"
    ))
    .await;
    let values: Vec<&str> = found.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(
        values,
        [
            "2.33333333333333330000",
            "2.3333333333333335",
            "2.33333333333333330000",
            "1.52752523165194670000",
            "2.3333333333333335",
            "0.50000000000000000000",
            "6",
            "1.55555555555555560000",
            "",
        ]
    );
    assert_eq!(found[0].1, "numeric");
    assert_eq!(found[3].1, "numeric");
    assert_eq!(found[4].1, "double precision");
}

#[tokio::test]
async fn grouped_sums_agree_with_single_ones() {
    let query = "SELECT sum(total), sum(n), bool_and(n > 0) AND every(n > 0) FROM (\
         SELECT v % 7 AS k, sum(v) AS total, count(*) AS n FROM generate_series(1, 20000) AS t(v) \
         GROUP BY v % 7)";
    let found = row(query).await;
    assert_eq!(found[0].0, "200010000.00000000000000000000");
    assert_eq!(found[1].0, "20000.00000000000000000000");
    assert_eq!(found[2].0, "true");
}

#[tokio::test]
async fn sums_slide_over_window_frames() {
    let query = "SELECT sum(v) OVER (ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), \
         avg(v) OVER (ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) \
         FROM (VALUES (1), (2), (4)) AS t(v) ORDER BY v DESC";
    let found = row(query).await;
    assert_eq!(found[0].0, "6.00000000000000000000");
    assert_eq!(found[1].0, "3.00000000000000000000");
}

#[tokio::test]
async fn what_does_not_fit_is_an_error() {
    let out = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    let huge = "'9999999999999999999999999999999999999999999999999999999999999999999999999999'";
    assert_eq!(
        code(&format!(
            "SELECT sum(v) FROM (VALUES ({huge}::numeric(76,0)), ({huge}::numeric(76,0))) AS t(v)"
        ))
        .await,
        out
    );
    assert_eq!(code("SELECT sum('x'::text)").await, SqlState::UNDEFINED_FUNCTION);
}

#[tokio::test]
async fn times_keep_microseconds_and_zone() {
    let zone = "timestamp with time zone";
    let plain = "timestamp without time zone";
    for (query, value, data_type) in [
        ("to_timestamp(1700000000.1234567)", "2023-11-14T22:13:20.123457Z", zone),
        ("to_timestamp(-1)", "1969-12-31T23:59:59Z", zone),
        ("to_timestamp(0) + INTERVAL '1 day'", "1970-01-02T00:00:00Z", zone),
        (
            "date_bin(INTERVAL '15 minutes', '2026-01-01 10:44:59.5'::timestamp)",
            "2026-01-01T10:30:00",
            plain,
        ),
        (
            "date_bin('1 hour', '1969-12-31 23:59:59Z'::timestamptz, '2001-01-01 00:30:00Z')",
            "1969-12-31T23:30:00Z",
            zone,
        ),
        ("date_trunc('hour', '2026-01-01 10:44:59.5Z'::timestamptz)", "2026-01-01T10:00:00Z", zone),
        ("date_trunc('month', '2026-03-17'::date)", "2026-03-01T00:00:00Z", zone),
        (
            "millrace_tumble('2026-01-01 10:44:59.5Z'::timestamptz, 10000000, 3000000)",
            "2026-01-01T10:44:53Z",
            zone,
        ),
        ("'2026-01-01'::timestamp", "2026-01-01T00:00:00", plain),
        ("date_bin(NULL, '2026-01-01'::timestamp)", "", plain),
    ] {
        let found = row(&format!("SELECT {query}")).await;
        assert_eq!((found[0].0.as_str(), found[0].1.as_str()), (value, data_type), "{query}");
    }
    assert_eq!(row("SELECT now()").await[0].1, zone);
    assert_eq!(
        row("SELECT current_timestamp = now() AND localtimestamp IS NOT NULL").await[0].0,
        "true"
    );
}

#[tokio::test]
async fn hop_lists_every_window_of_a_time() {
    let query = "SELECT millrace_hop(to_timestamp(25.0), 10000000, 30000000, 0)";
    assert_eq!(
        row(query).await[0].0,
        "[1970-01-01T00:00:00Z, 1970-01-01T00:00:10Z, 1970-01-01T00:00:20Z]"
    );
    assert_eq!(row("SELECT millrace_hop(to_timestamp(NULL), 1, 1, 0)").await[0].0, "");
}

#[tokio::test]
async fn bad_values_have_a_code() {
    for (query, wanted) in [
        ("SELECT to_timestamp('1e300'::float8)", SqlState::DATETIME_FIELD_OVERFLOW),
        ("SELECT to_timestamp('NaN'::float8)", SqlState::DATETIME_FIELD_OVERFLOW),
        ("SELECT date_bin(INTERVAL '1 month', now())", SqlState::FEATURE_NOT_SUPPORTED),
        ("SELECT date_bin(INTERVAL '0 s', now())", SqlState::DATETIME_FIELD_OVERFLOW),
        ("SELECT 1 / 0", SqlState::DIVISION_BY_ZERO),
        ("SELECT now()::boolean", SqlState::CANNOT_COERCE),
        ("SELECT v::smallint FROM (VALUES (70000)) AS t(v)", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
        ("SELECT v::int FROM (VALUES ('x')) AS t(v)", SqlState::INVALID_TEXT_REPRESENTATION),
        ("SELECT to_timestamp('2026')", SqlState::UNDEFINED_FUNCTION),
        ("SELECT date_trunc('fortnight', now())", SqlState::INVALID_PARAMETER_VALUE),
    ] {
        assert_eq!(code(query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn version_begins_as_clients_expect() {
    assert!(row("SELECT version()").await[0].0.starts_with("PostgreSQL 16.6 (Millrace "));
}

#[tokio::test]
async fn casts_read_round_and_write_as_postgresql() {
    for (query, value, data_type) in [
        ("' 42 '::int", "42", "integer"),
        ("'yes'::boolean", "true", "boolean"),
        ("'1e3'::numeric(6,1)", "1000.0", "numeric(6,1)"),
        ("'2024-05-06T07:00+02'::timestamptz", "2024-05-06T05:00:00Z", "timestamp with time zone"),
        ("'07:30'::time", "07:30:00", "time without time zone"),
        ("'1 day 02:00:00'::interval::text", "1 day 02:00:00", "text"),
        ("'\\x6162'::bytea::text", "\\x6162", "text"),
        ("2.5::float8::int", "2", "integer"),
        ("'2.5'::numeric::int", "3", "integer"),
        ("(-2.5)::numeric(3,1)::smallint", "-3", "smallint"),
        ("0.1::float8::numeric::text", "0.1", "text"),
        ("123456789.123::real::numeric::text", "123457000", "text"),
        ("'1e20'::float8::text", "1e+20", "text"),
        ("0.0001::float8::text || ' ' || 0.00001::float8::text", "0.0001 1e-05", "text"),
        ("123456.789::real::text || ' ' || 1.0::float8::text", "123456.79 1", "text"),
        ("'1.50'::numeric::text || ' ' || '1.50'::numeric(4,2)::text", "1.5 1.50", "text"),
        ("'123456789.123456789'::numeric::float8", "123456789.12345679", "double precision"),
        ("'2024-05-06 07:08:09.5'::timestamp::text", "2024-05-06 07:08:09.5", "text"),
        ("'0044-03-15 BC'::timestamptz::text", "0044-03-15 00:00:00+00 BC", "text"),
        ("'1969-12-31 23:00'::timestamp::date", "1969-12-31", "date"),
        ("'1969-12-31 23:00'::timestamp::time", "23:00:00", "time without time zone"),
        ("'-01:00'::interval::time", "23:00:00", "time without time zone"),
        ("true::int + 1", "2", "integer"),
        ("NULL::text::int", "", "integer"),
    ] {
        let found = row(&format!("SELECT {query}")).await;
        assert_eq!((found[0].0.as_str(), found[0].1.as_str()), (value, data_type), "{query}");
    }
    let column = "SELECT v::int FROM (VALUES ('1'), (NULL), (' 3 ')) AS t(v) WHERE v::int > 1";
    assert_eq!(row(column).await[0].0, "3");
}

#[tokio::test]
async fn casts_fail_with_the_words_of_postgresql() {
    for (query, code, message) in [
        ("'4x'::int", "22P02", "invalid input syntax for type integer: \"4x\""),
        ("'99999999999'::int", "22003", "value \"99999999999\" is out of range for type integer"),
        ("40000::smallint", "22003", "smallint out of range"),
        ("3000000000::int", "22003", "integer out of range"),
        ("'NaN'::float8::int", "22003", "integer out of range"),
        ("'1e300'::float8::real", "22003", "value out of range: overflow"),
        ("'12345.6'::numeric::numeric(4,1)", "22003", "numeric field overflow"),
        ("12345.6::float8::numeric(4,1)", "22003", "numeric field overflow"),
        ("'yesterweek'::date", "22007", "invalid input syntax for type date: \"yesterweek\""),
        ("'2024-13-01'::date", "22008", "date/time field value out of range: \"2024-13-01\""),
        (
            "'1 fortnight'::interval",
            "22007",
            "invalid input syntax for type interval: \"1 fortnight\"",
        ),
    ] {
        let error = run(&format!("SELECT {query}")).await.expect_err(query);
        let report = crate::error::report(error);
        assert_eq!((report.code.code(), report.message.as_str()), (code, message), "{query}");
    }
}

#[tokio::test]
async fn operators_have_the_operands_of_postgresql() {
    for (query, value, data_type) in [
        ("10 / 3::numeric", "3.33333333333333330000", "numeric"),
        ("1::smallint / '0.3'::numeric(3,1)", "3.33333333333333330000", "numeric"),
        ("'1.5'::numeric * '1.25'::numeric", "1.87500000000000000000", "numeric"),
        ("1.5::numeric(3,1) * 2::numeric(3,0)", "3.0", "numeric(7,1)"),
        ("1::real / 3", "0.3333333333333333", "double precision"),
        ("0.1::real = '0.1'::numeric", "false", "boolean"),
        ("0.1::float8 = '0.1'::numeric", "true", "boolean"),
        ("'1'::numeric * 0.1::float8", "0.1", "double precision"),
        ("1::smallint + 1", "2", "integer"),
        ("7::int % 4", "3", "integer"),
        ("5 = '5' AND '6' > 5::smallint", "true", "boolean"),
        (
            "'2024-01-01'::date + INTERVAL '1 hour'",
            "2024-01-01T01:00:00",
            "timestamp without time zone",
        ),
        ("3 + '2024-01-01'::date", "2024-01-04", "date"),
        ("'2024-03-01'::date - '2024-02-01'", "29", "integer"),
        ("('2024-01-03 01:00'::timestamp - '2024-01-01 02:00')::text", "1 day 23:00:00", "text"),
        (
            "('2024-01-01'::timestamptz - '2024-01-03 01:00'::timestamp)::text",
            "-2 days -01:00:00",
            "text",
        ),
        ("('2024-01-01'::timestamp + '1 day')::text", "2024-01-02 00:00:00", "text"),
        ("(INTERVAL '1 month 1 day 1 hour' * 1.5)::text", "1 mon 16 days 13:30:00", "text"),
        ("(INTERVAL '1 year' / 7)::text", "1 mon 21 days 10:17:08.5344", "text"),
        ("(2 * INTERVAL '1 day 2 hours')::text", "2 days 04:00:00", "text"),
        ("NULL::interval * 2", "", "interval"),
        ("('10:00'::time - '09:30'::time)::text", "00:30:00", "text"),
        ("'23:30'::time + INTERVAL '1 hour'", "00:30:00", "time without time zone"),
        ("1 IN ('1', 2) AND 1::smallint BETWEEN '0' AND 2", "true", "boolean"),
    ] {
        let found = row(&format!("SELECT {query}")).await;
        assert_eq!((found[0].0.as_str(), found[0].1.as_str()), (value, data_type), "{query}");
    }
    for (query, message) in [
        ("'a'::text > 1", "operator does not exist: text > integer"),
        ("1 = true", "operator does not exist: integer = boolean"),
        ("'a'::text IN (1)", "operator does not exist: text = integer"),
        ("now() + 1", "operator does not exist: timestamp with time zone + integer"),
        ("'a'::text + 1", "operator does not exist: text + integer"),
        ("1 = 'x'", "invalid input syntax for type integer: \"x\""),
        ("INTERVAL '1 day' / 0", "division by zero"),
        ("1 / 0::numeric", "division by zero"),
        ("2147483647::int + 1", "integer out of range"),
    ] {
        let error = run(&format!("SELECT {query}")).await.expect_err(query);
        assert_eq!(crate::error::report(error).message, message, "{query}");
    }
}
