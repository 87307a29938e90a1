//! Statements bound over a small catalog: names, types, windows, parameters and mistakes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::util::display::array_value_to_string;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::prelude::SessionContext;
use millrace_plan::Computed;
use millrace_types::{Report, SqlType, TIME_ZONE};

use super::*;
use crate::ast::Statement;
use crate::catalog::{Access, Kind, Object, Source};
use crate::parser::parse;
use crate::session::{Settings, session_state};

const READINGS: &str = "CREATE SOURCE readings (id BIGINT, time DOUBLE PRECISION, value BIGINT, \
    name TEXT, ts TIMESTAMPTZ AS to_timestamp(time), WATERMARK FOR ts AS ts - INTERVAL '1 second') \
    INCLUDE offset AS o WITH (connector = 'kafka', topic = 'x') FORMAT PLAIN ENCODE JSON";

fn one(text: &str) -> Statement {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).remove(0)
}

fn source(text: &str) -> Result<Source, Report> {
    let Statement::CreateSource(create) = parse(text)?.remove(0) else { panic!("{text}") };
    let columns = |connector: &str, _: &BTreeMap<String, String>| {
        let fixed = || {
            vec![("id".to_owned(), vec![SqlType::BigInt]), ("name".to_owned(), vec![SqlType::Text])]
        };
        (connector == "nexmark").then(fixed)
    };
    bind_source(&create, &Connectors { names: &["kafka", "datagen", "nexmark"], columns: &columns })
}

fn catalog() -> Catalog {
    let kind = Kind::Source(source(READINGS).unwrap());
    let id = ObjectId(1);
    let catalog = Catalog::new().with(Object {
        id,
        name: "readings".into(),
        kind,
        sql: READINGS.into(),
        access: Access::default(),
    });
    let text = "CREATE VIEW big (number, size) AS SELECT id, value FROM readings WHERE value > 1";
    let Statement::CreateView(create) = one(text) else { panic!("no view") };
    let state = session_state(&Settings::default());
    let tables = CatalogTables(&catalog);
    let view = Binder::new(&catalog, &tables, &state).bind_view(&create, text).unwrap();
    let kind = Kind::View(view);
    catalog.with(Object {
        id: ObjectId(2),
        name: "big".into(),
        kind,
        sql: text.into(),
        access: Access::default(),
    })
}

fn bind_with(text: &str, parameters: &Parameters<'_>) -> Result<Bound, Report> {
    let catalog = catalog();
    let state = session_state(&Settings::default());
    let Statement::Query(query) = parse(text)?.remove(0) else { panic!("{text}") };
    let tables = CatalogTables(&catalog);
    Binder::new(&catalog, &tables, &state).bind_query(&query, text, parameters)
}

fn bind(text: &str) -> Result<Bound, Report> {
    bind_with(text, &Parameters::none())
}

fn columns(bound: &Bound) -> String {
    let fields = bound.columns.fields().iter();
    let shown =
        fields.map(|f| format!("{} {}", f.name(), crate::functions::type_name(f.data_type())));
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn outputs_have_the_names_and_types_of_postgresql() {
    let mut wrong = Vec::new();
    for (query, wanted) in [
        (
            "SELECT sum(value), avg(value), min(value), count(*) FROM readings",
            "sum numeric, avg numeric, min bigint, count bigint",
        ),
        (
            "SELECT 1 + 1, 'x', sum(id) + 1, id::text, CASE WHEN true THEN 1 END FROM readings GROUP BY id",
            "?column? integer, ?column? text, ?column? numeric, id text, case integer",
        ),
        ("SELECT sum(id), sum(value) FROM readings", "sum numeric, sum numeric"),
        (
            "SELECT 1, -1, 2147483648, 1.5, 1e3, 1e300, 9223372036854775808",
            "?column? integer, ?column? integer, ?column? bigint, ?column? numeric(2,1), \
             ?column? numeric(4,0), ?column? double precision, ?column? numeric(20,0)",
        ),
        (
            "SELECT id + 1, time + 1.5, time * 2, coalesce(time, 0.0), coalesce(1, 2.5), \
             CASE WHEN true THEN 0.5 ELSE time END, 10 / 3.0, sum(1), length(name) FROM readings GROUP BY id, time, name",
            "?column? bigint, ?column? double precision, ?column? double precision, \
             coalesce double precision, coalesce numeric(11,1), time double precision, \
             ?column? numeric, sum bigint, length integer",
        ),
        (
            "SELECT x, y FROM (VALUES (1, '2024-01-01'::date), (2, '2024-01-02')) AS v(x, y)",
            "x integer, y date",
        ),
        (
            "SELECT date_part('second', ts), round(time), ARRAY[1, 2] FROM readings",
            "date_part double precision, round double precision, array integer[]",
        ),
        ("SELECT id, id, r.id FROM readings r", "id bigint, id bigint, id bigint"),
        (
            "SELECT *, id FROM readings",
            "id bigint, time double precision, value bigint, name text, ts timestamp with time zone, o bigint, id bigint",
        ),
        ("SELECT id AS x, value AS x FROM readings", "x bigint, x bigint"),
        (
            "SELECT date_trunc('hour', ts), extract(epoch from ts), now()::date FROM readings",
            "date_trunc timestamp with time zone, extract numeric(30,6), now date",
        ),
        ("SELECT * FROM big", "number bigint, size bigint"),
        ("SELECT upper(name) FROM readings UNION ALL SELECT 'a'", "upper text"),
        (
            "SELECT coalesce(value, 0), '1'::int4, INTERVAL '1 day', pg_catalog.version() FROM readings",
            "coalesce bigint, int4 integer, interval interval, version text",
        ),
    ] {
        let found = bind(query).map_or_else(|error| format!("{error:?}"), |bound| columns(&bound));
        if found != wanted {
            wrong.push(format!("{query}:\n  {found}\n  {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A query, its SQLSTATE, the message, and how the text goes on at the position.
const ERRORS: &[(&str, &str, &str, &str)] = &[
    ("SELECT * FROM nowhere", "42P01", "relation \"nowhere\" does not exist", "nowhere"),
    ("SELECT * FROM a.b", "42P01", "relation \"a.b\" does not exist", "a.b"),
    ("SELECT valu FROM readings", "42703", "column \"valu\" does not exist", "valu FROM"),
    (
        "SELECT id FROM readings WHERE\n valu > 1",
        "42703",
        "column \"valu\" does not exist",
        "valu >",
    ),
    ("SELECT r.nothing FROM readings r", "42703", "column r.nothing does not exist", "r.nothing"),
    ("SELECT q.id FROM readings", "42P01", "missing FROM-clause entry for table \"q\"", "q.id"),
    (
        "SELECT id FROM readings a, readings b",
        "42702",
        "column reference \"id\" is ambiguous",
        "id FROM",
    ),
    (
        "SELECT 1 FROM readings, readings",
        "42712",
        "table name \"readings\" specified more than once",
        "readings, ",
    ),
    (
        "SELECT nothing(id, 'x') FROM readings",
        "42883",
        "function nothing(bigint, text) does not exist",
        "nothing(",
    ),
    ("SELECT sum(name) FROM readings", "42883", "function sum(text) does not exist", "sum("),
    (
        "SELECT abs(ts) FROM readings",
        "42883",
        "function abs(timestamp with time zone) does not exist",
        "abs(",
    ),
    (
        "SELECT id, sum(value) FROM readings",
        "42803",
        "column \"readings.id\" must appear in the GROUP BY clause or be used in an aggregate function",
        "id, sum",
    ),
    (
        "SELECT id FROM readings WHERE sum(id) > 1",
        "42803",
        "aggregate functions are not allowed in WHERE",
        "",
    ),
    (
        "SELECT sum(sum(id)) FROM readings",
        "42803",
        "aggregate function calls cannot be nested",
        "id))",
    ),
    (
        "SELECT id FROM readings WHERE value",
        "42804",
        "argument of WHERE must be type boolean, not type bigint",
        "",
    ),
    (
        "SELECT ts + 1 FROM readings",
        "42883",
        "operator does not exist: timestamp with time zone + integer",
        "",
    ),
    (
        "SELECT 1 FROM readings WHERE ts > 5",
        "42883",
        "operator does not exist: timestamp with time zone > integer",
        "",
    ),
    (
        "SELECT id FROM readings UNION SELECT 1, 2",
        "42601",
        "each UNION query must have the same number of columns",
        "SELECT id",
    ),
    (
        "SELECT id FROM readings ORDER BY 7",
        "42P10",
        "ORDER BY position 7 is not in select list",
        "",
    ),
    (
        "SELECT id FROM readings GROUP BY 7",
        "42P10",
        "GROUP BY position 7 is not in select list",
        "",
    ),
    ("SELECT id FROM readings LIMIT -1", "2201W", "LIMIT must not be negative", ""),
    ("SELECT 'abc'::int", "22P02", "invalid input syntax for type integer: \"abc\"", ""),
    (
        "SELECT id FROM readings WHERE ts > 'soon'",
        "22007",
        "invalid input syntax for type timestamp with time zone: \"soon\"",
        "",
    ),
    ("SELECT INTERVAL 'abc'", "22007", "invalid input syntax for type interval: \"abc\"", ""),
    ("SELECT $1", "42P02", "there is no parameter $1", ""),
    ("SELECT id::geometry FROM readings", "42704", "type \"geometry\" does not exist", ""),
    (
        "SELECT ts::boolean FROM readings",
        "42846",
        "cannot cast type timestamp with time zone to boolean",
        "",
    ),
    ("SELECT id::date FROM readings", "42846", "cannot cast type bigint to date", ""),
    ("SELECT id::inet FROM readings", "0A000", "type inet is not supported yet", ""),
    ("SELECT _offset FROM readings", "42703", "column \"_offset\" does not exist", "_offset"),
    (
        "SELECT (SELECT id, value FROM readings) FROM readings",
        "42601",
        "subquery must return only one column",
        "",
    ),
    (
        "SELECT (SELECT FROM readings) FROM readings",
        "42601",
        "subquery must return only one column",
        "",
    ),
    (
        "SELECT id FROM readings WHERE id IN (SELECT FROM readings)",
        "42601",
        "subquery has too few columns",
        "",
    ),
    (
        "SELECT name AND true FROM readings",
        "42804",
        "argument of AND must be type boolean, not type text",
        "",
    ),
    (
        "SELECT 1 FROM readings WHERE id = ARRAY[1]",
        "42883",
        "operator does not exist: bigint = integer[]",
        "",
    ),
    (
        "SELECT id FROM readings UNION SELECT ts FROM readings",
        "42804",
        "UNION types cannot be matched",
        "",
    ),
    (
        "SELECT CASE WHEN true THEN ts ELSE id END FROM readings",
        "42804",
        "CASE types cannot be matched",
        "",
    ),
    (
        "SELECT x FROM (SELECT id AS x, value AS x FROM readings) q",
        "42702",
        "column reference \"x\" is ambiguous",
        "x FROM (",
    ),
];

#[test]
fn errors_are_those_of_postgresql() {
    let hint = "Perhaps you meant to reference the column \"readings.value\".";
    let mut wrong = Vec::new();
    for (query, code, message, at) in ERRORS.iter().copied() {
        let failed = bind(query).and_then(|bound| {
            let state = session_state(&Settings::default());
            state.optimize(&bound.plan).map_err(|error| crate::error::report_in(&error, query))
        });
        let Err(report) = failed else {
            wrong.push(format!("{query}: no error"));
            continue;
        };
        let place = report.position.map_or("", |position| &query[position - 1..]);
        if (report.code.code(), report.message.as_str()) != (code, message)
            || !place.starts_with(at)
        {
            wrong.push(format!("{query}: {report:?}"));
        }
        if message.contains("\"valu\"") {
            assert_eq!(report.hint.as_deref(), Some(hint));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nesting_within_the_limit_binds() {
    let query = format!("SELECT {}id{} FROM readings", "abs(".repeat(50), ")".repeat(50));
    assert_eq!(columns(&bind(&query).unwrap()), "abs bigint");
}

#[test]
fn tumble_is_a_projection_with_the_hidden_columns_below() {
    let query = "SELECT window_start, id, sum(value) FROM TUMBLE(readings, ts, INTERVAL '10 seconds') \
                 GROUP BY window_start, id";
    let shown = bind(query).unwrap().plan.display_indent().to_string();
    assert!(
        shown.contains("millrace_tumble(readings.ts, Int64(10000000), Int64(0)) AS window_start"),
        "{shown}"
    );
    assert!(
        shown.contains("window_start + DurationMicrosecond(\"10000000\") AS window_end"),
        "{shown}"
    );
    let mut hidden = false;
    bind(query)
        .unwrap()
        .plan
        .apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                hidden = scan.source.schema().index_of("_offset").is_ok()
                    && scan.source.downcast_ref::<CatalogTable>().is_some();
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })
        .unwrap();
    assert!(hidden, "the scan has lost its hidden columns");
}

#[test]
fn windows_say_what_is_wrong_with_them() {
    let mut wrong = Vec::new();
    for (from, code, at) in [
        ("TUMBLE(nowhere, ts, INTERVAL '1 s')", "42P01", "nowhere"),
        ("TUMBLE(readings, tz, INTERVAL '1 s')", "42703", "tz"),
        ("TUMBLE(readings, value, INTERVAL '1 s')", "42804", "value"),
        ("TUMBLE(readings, ts, 10)", "42804", "10"),
        ("TUMBLE(readings, ts, INTERVAL '0 s')", "22023", "'0 s'"),
        ("HOP(readings, ts, INTERVAL '1 s', INTERVAL '1 month')", "0A000", "'1 month'"),
        ("TUMBLE(readings, ts, INTERVAL '1 day', 'Europe/Nowhere')", "22023", "'Europe"),
        ("TUMBLE(readings, ts, INTERVAL '36 hours', 'Europe/Helsinki')", "22023", "'Europe"),
        ("CUMULATE(readings, ts, INTERVAL '2 s', INTERVAL '3 s')", "22023", "CUMULATE"),
        ("HOP(readings, ts, INTERVAL '-1 s', INTERVAL '1 s')", "22023", "'-1 s'"),
        ("TUMBLE(readings, ts)", "42883", "TUMBLE"),
        ("SESSION(readings, ts)", "42883", "SESSION"),
        ("SESSION(readings PARTITION BY nowhere, ts, INTERVAL '1 s')", "42703", "nowhere"),
        ("SESSION(readings, ts, INTERVAL '0 s')", "22023", "'0 s'"),
        (
            "TUMBLE((SELECT ts AS window_start FROM readings), window_start, INTERVAL '1 s')",
            "42701",
            "TUMBLE",
        ),
    ] {
        let query = format!("SELECT * FROM {from}");
        let Err(report) = bind(&query) else {
            wrong.push(format!("{query}: no error"));
            continue;
        };
        let place = report.position.map_or("", |position| &query[position - 1..]);
        if report.code.code() != code || !place.starts_with(at) {
            wrong.push(format!("{query}: {report:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for good in [
        "SELECT window_end FROM HOP(readings, ts, INTERVAL '5 s', INTERVAL '1 minute', INTERVAL '-1 s') AS h WHERE h.id = 1",
        "SELECT readings.id, window_start FROM TUMBLE(public.readings, ts, INTERVAL '1' HOUR)",
        "WITH r AS (SELECT * FROM readings) SELECT * FROM TUMBLE(r, ts, INTERVAL '1 hour')",
        "SELECT * FROM tumble((SELECT ts + INTERVAL '1 s' AS t FROM readings), t, INTERVAL '1 day')",
    ] {
        bind(good).unwrap_or_else(|error| panic!("{good}: {error:?}"));
    }
}

#[test]
fn parameters_get_types_from_their_places() {
    let names = |bound: &Bound| {
        let types = bound.parameters.iter().map(crate::functions::type_name);
        types.collect::<Vec<_>>().join(", ")
    };
    for (query, wanted) in [
        (
            "SELECT id FROM readings WHERE ts > $1 AND value = $2",
            "timestamp with time zone, bigint",
        ),
        ("SELECT id FROM readings WHERE name LIKE $1 LIMIT $2 OFFSET $3", "text, bigint, bigint"),
        ("SELECT $2::int, $1", "text, integer"),
        (
            "SELECT ts + $1, coalesce($2, value), left(name, $3) FROM readings",
            "interval, bigint, integer",
        ),
        (
            "SELECT id FROM readings WHERE id IN ($1, $2) AND ts BETWEEN $3 AND $4",
            "bigint, bigint, timestamp with time zone, timestamp with time zone",
        ),
    ] {
        let bound =
            bind_with(query, &Parameters::typed(&[])).unwrap_or_else(|e| panic!("{query}: {e:?}"));
        assert_eq!(names(&bound), wanted, "{query}");
    }
    let hints = [Some(DataType::Int32)];
    let bound = bind_with("SELECT $1", &Parameters::typed(&hints)).unwrap();
    assert_eq!(names(&bound), "integer");
}

#[test]
fn untyped_times_become_constants_of_the_columns_type() {
    let query = "SELECT id FROM readings WHERE ts BETWEEN '2026-01-01T00:00:00Z' AND \
                 '2026-01-01T06:00:00.123Z' AND ts <> $1";
    let values = [ScalarValue::Utf8(Some("2026-01-01 01:00:00+02".into()))];
    let bound = bind_with(query, &Parameters::values(&[], &values)).unwrap();
    let state = session_state(&Settings::default());
    let shown = state.optimize(&bound.plan).unwrap().display_indent().to_string();
    let text = |micros: i64| format!("TimestampMicrosecond({micros}, Some(\"{TIME_ZONE}\"))");
    for micros in [1_767_225_600_000_000, 1_767_247_200_123_000, 1_767_222_000_000_000] {
        assert!(shown.contains(&text(micros)), "{shown}");
    }
    assert!(!shown.contains("CAST(readings.ts"), "{shown}");
}

#[test]
fn a_materialized_view_has_names_options_and_dependencies() {
    let catalog = catalog();
    let state = session_state(&Settings::default());
    let tables = CatalogTables(&catalog);
    let binder = Binder::new(&catalog, &tables, &state);
    let bind = |text: &str| {
        let Statement::CreateMaterializedView(create) = parse(text)?.remove(0) else {
            panic!("{text}")
        };
        binder.bind_materialized_view(&create, text)
    };
    let view = bind(
        "CREATE MATERIALIZED VIEW v (a) AS SELECT number, sum(size) FROM big GROUP BY number \
         WITH (allowed_lateness = '1 hour')",
    )
    .unwrap();
    let names: Vec<&String> = view.plan.schema().fields().iter().map(|f| f.name()).collect();
    assert_eq!(names, ["a", "sum"]);
    assert_eq!((view.allowed_lateness_us, view.depends_on), (3_600_000_000, vec![ObjectId(2)]));
    for (tail, code) in [
        ("SELECT sum(id), sum(value) FROM readings", "42701"),
        ("SELECT id AS _key_1 FROM readings", "42939"),
        ("SELECT id FROM readings WITH (retain_history = '1 month')", "22023"),
        ("SELECT id FROM readings WITH (retention = '1 month')", "22023"),
        ("SELECT id FROM readings WITH (colour = 'red')", "22023"),
        ("SELECT id FROM readings WITH (allowed_lateness = 'soon')", "22023"),
        ("SELECT id FROM readings WHERE id = $1", "42P02"),
    ] {
        let text = format!("CREATE MATERIALIZED VIEW v AS {tail}");
        assert_eq!(bind(&text).map(|v| v.plan).expect_err(&text).code.code(), code, "{text}");
    }
}

#[test]
fn a_materialized_view_survives_its_bytes() {
    let catalog = catalog();
    let state = session_state(&Settings::default());
    let text = "CREATE MATERIALIZED VIEW v AS SELECT window_start, window_end, id, sum(value) AS total, \
        count(*) AS n, avg(value), min(value), max(value), date_trunc('day', window_start) AS d \
        FROM TUMBLE(readings, ts, INTERVAL '10 seconds') WHERE name LIKE 'a%' \
        GROUP BY window_start, window_end, id";
    let Statement::CreateMaterializedView(create) = one(text) else { panic!("no view") };
    let tables = CatalogTables(&catalog);
    let bound =
        Binder::new(&catalog, &tables, &state).bind_materialized_view(&create, text).unwrap();
    let Kind::Source(readings) = &catalog.find("readings").unwrap().kind else {
        panic!("no source")
    };
    let event_time = readings.watermark.map(|watermark| watermark.column);
    let info = |id| crate::stream::InputInfo::source(id, readings.full_schema(), event_time);
    let plan = crate::stream::plan(bound.plan, &state, &info, &Default::default()).unwrap();
    let view = crate::catalog::MaterializedView {
        plan,
        allowed_lateness_us: 5,
        content: millrace_types::TableId(1),
        late: millrace_types::TableId(2),
        errors: millrace_types::TableId(3),
        state: vec![millrace_types::TableId(4)],
        depends_on: bound.depends_on,
        options: BTreeMap::from([("allowed_lateness".to_owned(), "5 us".to_owned())]),
    };
    let kind = Kind::MaterializedView(view);
    let object = Object {
        id: ObjectId(9),
        name: "v".into(),
        kind,
        sql: text.into(),
        access: Access::default(),
    };
    let read = Object::decode(&object.encode().unwrap(), &state.task_ctx()).unwrap();
    assert_eq!(format!("{read:?}"), format!("{object:?}"));
}

#[test]
fn sources_are_checked_at_creation() {
    let with = "WITH (connector = 'datagen')";
    let mut wrong = Vec::new();
    for (columns, tail, code, at) in [
        ("a int, A text", with, "42701", "A text"),
        ("a int, _offset int", with, "42939", "_offset"),
        ("a nonsense", with, "42704", "nonsense"),
        ("a inet", with, "0A000", "inet"),
        ("a int, b int AS c + 1", with, "42703", "c + 1"),
        ("a int, b int AS a + 1, c int AS 1 + b", with, "42P17", "b)"),
        ("a int, b timestamptz AS now()", with, "42P17", "now()"),
        ("a int, b int AS sum(a)", with, "42803", "sum(a)"),
        ("a text, b int AS a", with, "42804", "a)"),
        ("a int, b int AS upper(a, 1, 2)", with, "42883", "upper"),
        ("a int, WATERMARK FOR b AS b", with, "42703", "b AS b"),
        ("a int, WATERMARK FOR a AS a", with, "42804", "a AS a"),
        ("a timestamptz, WATERMARK FOR a AS a + INTERVAL '1 s'", with, "42P17", "a + INTERVAL"),
        ("a int", "WITH (connector = 'pulsar')", "22023", "'pulsar'"),
        ("a int", "", "22023", "s (a"),
        ("id bigint, a int", "WITH (connector = 'nexmark')", "42703", "a int"),
        ("name bigint", "WITH (connector = 'nexmark')", "42804", "bigint"),
        ("a int", "WITH (connector = 'kafka')", "42P17", "s (a"),
        ("a int", "WITH (connector = 'kafka') FORMAT DEBEZIUM ENCODE JSON", "0A000", "FORMAT"),
        ("a int", "WITH (connector = 'kafka') FORMAT PLAIN ENCODE AVRO", "0A000", "FORMAT"),
        (
            "a int",
            "WITH (connector = 'kafka', connector = 'kafka')",
            "42710",
            "connector = 'kafka')",
        ),
    ] {
        let text = format!("CREATE SOURCE s ({columns}) {tail}");
        let Err(report) = source(&text) else {
            wrong.push(format!("{text}: no error"));
            continue;
        };
        let place = report.position.map_or("", |position| &text[position - 1..]);
        if report.code.code() != code || !place.starts_with(at) {
            wrong.push(format!("{text}: {report:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let bound = source(READINGS).unwrap();
    assert_eq!(bound.watermark.unwrap().delay_us, 1_000_000);
    assert_eq!(bound.watermark.unwrap().column, 4);
    assert_eq!(bound.options, BTreeMap::from([("topic".to_owned(), "x".to_owned())]));
}

#[test]
fn computed_columns_are_evaluated_over_chunks() {
    let bound = source(READINGS).unwrap();
    let (at, computed) = bound.computed().unwrap().remove(0);
    let Computed::Scalar(scalar) = computed else { panic!("{computed:?}") };
    let columns: Vec<ArrayRef> = bound
        .chunk_schema()
        .fields()
        .iter()
        .map(|field| arrow::array::new_null_array(field.data_type(), 1))
        .collect();
    let mut columns = columns;
    columns[1] = Arc::new(Float64Array::from(vec![1.5]));
    let schema = Schema::new(
        bound
            .chunk_schema()
            .fields()
            .iter()
            .map(|f| f.as_ref().clone().with_nullable(true))
            .collect::<Vec<_>>(),
    );
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let value = scalar.0.evaluate(&batch).unwrap().into_array(1).unwrap();
    assert_eq!(
        (at, array_value_to_string(&value, 0).unwrap().as_str()),
        (4, "1970-01-01T00:00:01.500Z")
    );
}

/// A table in memory under the name of the source, for batch results.
struct Memory(Arc<dyn TableSource>);

impl TableLookup for Memory {
    fn table(&self, reference: &TableReference) -> Option<Arc<dyn TableSource>> {
        (reference.table() == "readings").then(|| Arc::clone(&self.0))
    }
}

fn memory() -> Memory {
    let seconds = [0i64, 4, 11, 12, 29];
    let schema = source(READINGS).unwrap().full_schema();
    let ts = arrow::array::TimestampMicrosecondArray::from_iter_values(
        seconds.iter().map(|s| s * 1_000_000),
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 1, 1, 2])),
        Arc::new(Float64Array::from(vec![0.0, 4.0, 11.0, 12.0, 29.0])),
        Arc::new(Int64Array::from(vec![10, 20, 30, 40, 50])),
        Arc::new(StringArray::from(vec!["a", "b", "a", "a", "b"])),
        Arc::new(ts.with_timezone(TIME_ZONE)),
        Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4])),
        Arc::new(arrow::array::Int32Array::from(vec![0; 5])),
        Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let table = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
    Memory(provider_as_source(Arc::new(table)))
}

async fn rows(query: &str) -> Vec<String> {
    let catalog = catalog();
    let state =
        session_state(&Settings { target_partitions: 1, batch_size: 2, ..Settings::default() });
    let Statement::Query(parsed) = one(query) else { panic!("{query}") };
    let tables = memory();
    let binder = Binder::new(&catalog, &tables, &state);
    let bound = binder
        .bind_query(&parsed, query, &Parameters::none())
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let context = SessionContext::new_with_state(state);
    let frame = context.execute_logical_plan(bound.plan).await.unwrap();
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|c| array_value_to_string(c, row).unwrap());
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

#[tokio::test]
async fn windows_give_batch_results() {
    let tumbled = rows(
        "SELECT window_start, window_end, id, sum(value) AS total, count(*) AS n \
         FROM TUMBLE(readings, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end, id \
         ORDER BY window_start, id",
    )
    .await;
    let zeros = ".00000000000000000000";
    let wanted = [
        format!("1970-01-01T00:00:00Z|1970-01-01T00:00:10Z|1|10{zeros}|1"),
        format!("1970-01-01T00:00:00Z|1970-01-01T00:00:10Z|2|20{zeros}|1"),
        format!("1970-01-01T00:00:10Z|1970-01-01T00:00:20Z|1|70{zeros}|2"),
        format!("1970-01-01T00:00:20Z|1970-01-01T00:00:30Z|2|50{zeros}|1"),
    ];
    assert_eq!(tumbled, wanted);
    let hopped = rows(
        "SELECT window_start, count(*) FROM HOP(readings, ts, INTERVAL '10 s', INTERVAL '20 s') AS h \
         WHERE h.id = 1 GROUP BY window_start ORDER BY 1",
    )
    .await;
    assert_eq!(
        hopped,
        ["1969-12-31T23:59:50Z|1", "1970-01-01T00:00:00Z|3", "1970-01-01T00:00:10Z|2"]
    );
}

#[tokio::test]
async fn views_and_shared_names_give_batch_results() {
    assert_eq!(rows("SELECT * FROM big WHERE number = 2 ORDER BY size").await, ["2|20", "2|50"]);
    assert_eq!(rows("SELECT max(value), max(id) FROM readings").await, ["50|2"]);
    assert_eq!(rows("SELECT *, id FROM readings WHERE value = 10").await.len(), 1);
    assert_eq!(
        rows("SELECT id, max(value) FROM readings GROUP BY id HAVING max(value) > 45 ORDER BY max DESC").await,
        ["2|50"]
    );
    assert_eq!(
        rows("SELECT floor(extract(epoch from ts)/10)*10 AS \"time\", count(*) FROM readings GROUP BY 1 ORDER BY 1").await,
        [0, 10, 20].map(|time| format!("{time}.00000000000000000000|{}", if time == 20 { 1 } else { 2 }))
    );
    assert_eq!(
        rows("SELECT count(*) FROM readings a JOIN readings b USING (o) WHERE a.id = b.id").await,
        ["5"]
    );
}
