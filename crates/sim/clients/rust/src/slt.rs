//! The engines of sqllogictest: files of statements and results, over the simple and the extended protocol.

use sqllogictest::{AsyncDB, Runner};
use sqllogictest_engines::postgres::{PostgresExtended, PostgresSimple};

use crate::feature::{Tested, absent, config, restart, test, variable};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Query strings.
    Simple,
    /// Prepared statements, results in binary.
    Extended,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Engine::Simple => "slt",
            Engine::Extended => "sltx",
        }
    }

    /// Runs records; `%` is the client's name.
    async fn records(self, records: &str) -> Tested {
        let records = records.replace('%', self.name());
        match self {
            Engine::Simple => run_with(&records, || PostgresSimple::connect(config())).await,
            Engine::Extended => run_with(&records, || PostgresExtended::connect(config())).await,
        }
    }
}

async fn run_with<D, F, M>(records: &str, connect: M) -> Tested
where
    D: AsyncDB,
    F: Future<Output = Result<D, tokio_postgres::Error>>,
    M: Fn() -> F + Copy,
{
    let mut runner =
        Runner::new(|| async move { Ok(connect().await.expect("the server answers")) });
    for record in sqllogictest::parse::<D::ColumnType>(records)? {
        runner.run_async(record).await?;
    }
    runner.shutdown_async().await;
    Ok(())
}

pub async fn run(engine: Engine) {
    let nothing = "the engine has nothing of the kind";
    let (other, own) = match engine {
        Engine::Simple => ("types_binary", "types_text"),
        Engine::Extended => ("types_text", "types_binary"),
    };
    test("connect", async {
        engine
            .records(&format!(
                "query T\nSELECT current_user\n----\n{}\n",
                variable("MILLRACE_USER")
            ))
            .await
    })
    .await;
    absent("tls", nothing);
    test("objects", engine.records(OBJECTS)).await;
    test("describe", engine.records(DESCRIBE)).await;
    absent(other, "the other engine does");
    test(own, engine.records(TYPES)).await;
    test("prepared", engine.records(PREPARED)).await;
    test("errors", engine.records(ERRORS)).await;
    test("transactions", engine.records(TRANSACTIONS)).await;
    test("streaming", engine.records(STREAMING)).await;
    for feature in ["copy_in", "copy_out", "notices", "cancel"] {
        absent(feature, nothing);
    }
    test("pool", engine.records("statement ok\nDISCARD ALL\n\nquery I\nSELECT 1\n----\n1\n")).await;
    absent("application_name", nothing);
    test("view", engine.records(VIEW)).await;
    test("subscribe", engine.records(SUBSCRIBE)).await;
    test("reconnect", async {
        restart();
        engine.records("query I\nSELECT n FROM %_totals WHERE kind = 'live'\n----\n2\n").await
    })
    .await;
    test("snippet", engine.records(include_str!("../../snippet.slt"))).await;
}

const OBJECTS: &str = "\
query TT rowsort
SELECT relname::text, relkind::text FROM pg_class WHERE relname IN ('%_events', '%_kinds', '%_totals')
----
%_events r
%_kinds v
%_totals m
";

const DESCRIBE: &str = "\
query TT
SELECT column_name::text, data_type::text FROM information_schema.columns WHERE table_name = '%_events' ORDER BY ordinal_position
----
id integer
kind text
amount double precision
";

const TYPES: &str = "\
query TTTTTTTTTT
SELECT true, 1::smallint, 2::integer, -5::bigint, 1.5::real, 0.1::float8, 12345678901.5::numeric, 'a'::text, DATE '2024-02-29', TIME '12:30:00'
----
t 1 2 -5 1.5 0.1 12345678901.5 a 2024-02-29 12:30:00

query TTTTT
SELECT NULL::int, ARRAY[1, NULL, 3], ARRAY['a', 'b'], TIMESTAMP '2024-02-29 12:30:00', INTERVAL '1 day 02:00:00'
----
NULL {1,NULL,3} {a,b} 2024-02-29 12:30:00 1 day 02:00:00

query T
SELECT TIMESTAMPTZ '2024-02-29 12:30:00+00'
----
2024-02-29 12:30:00+00
";

const PREPARED: &str = "\
query I
SELECT count(*) FROM %_events WHERE id < 0
----
0

query I
SELECT count(*) FROM %_events WHERE id < 0
----
0
";

const ERRORS: &str = "\
statement error (42703)
SELECT nothing FROM %_events

statement error (22012)
SELECT 1 / 0

statement error (42601)
SELEC 1

query I
SELECT 1
----
1
";

const TRANSACTIONS: &str = "\
statement ok
BEGIN

statement count 1
INSERT INTO %_events VALUES (100, 'tx', 1)

statement ok
SAVEPOINT a

statement error (23505)
INSERT INTO %_events VALUES (100, 'tx', 1)

statement error (25P02)
SELECT 1

statement ok
ROLLBACK TO SAVEPOINT a

statement ok
COMMIT

query I
SELECT count(*) FROM %_events WHERE kind = 'tx'
----
1
";

const STREAMING: &str = "\
query I
SELECT sum(x) FROM generate_series(1, 20000) AS g(x)
----
200010000

statement ok
BEGIN

statement ok
DECLARE portion CURSOR FOR SELECT x FROM generate_series(1, 10) AS g(x)

query I
FETCH 2 FROM portion
----
1
2

statement ok
COMMIT
";

const VIEW: &str = "\
statement count 1
INSERT INTO %_events VALUES (3001, 'live', 2.5)

query I
SELECT n FROM %_totals WHERE kind = 'live'
----
1

statement count 1
INSERT INTO %_events VALUES (3002, 'live', 4)

query II
SELECT n, total::numeric FROM %_totals WHERE kind = 'live'
----
2 6.5
";

const SUBSCRIBE: &str = "\
statement ok
BEGIN

statement ok
DECLARE changes CURSOR FOR SUBSCRIBE TO %_totals

query ITTIR
FETCH 0 FROM changes
----

statement ok
COMMIT
";
