//! Look-ups by key go past the planner: they find what the planned query finds, whatever happens in between.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::Client;

use crate::server::{Server, rows};

/// Rounds of changes and look-ups.
const ROUNDS: usize = 24;

/// A column, its type as `PREPARE` is told it, values that it may have.
type Column = (&'static str, &'static str, &'static [&'static str]);

/// Tables, each with the columns of its key.
const TABLES: [(&str, &[Column]); 7] = [
    ("wide", &[("k", "bigint", &["1", "2", "-3", "40000000000", "NULL"])]),
    ("wide", &[("k", "smallint", &["1", "2", "-3", "77", "NULL"])]),
    ("pairs", &[("a", "int", &["1", "2", "NULL"]), ("b", "text", &["'x'", "'X'", "'é'", "''"])]),
    (
        "moments",
        &[("at", "timestamptz", &["'2026-01-02 03:04:05.000001Z'", "'1969-12-31 23:59:59Z'"])],
    ),
    ("numbers", &[("n", "numeric", &["1.50", "1.5", "2", "-0.001", "NULL"])]),
    ("floats", &[("f", "double precision", &["0", "'-0'", "'NaN'", "1.5"])]),
    (
        "sums",
        &[
            ("k", "bigint", &["1", "2", "NULL", "9"]),
            ("flag", "boolean", &["true", "false", "NULL"]),
        ],
    ),
];

const MADE: &str = "
    CREATE TABLE wide (k BIGINT PRIMARY KEY, v TEXT, w INT);
    CREATE TABLE pairs (a INT, v TEXT, b TEXT, PRIMARY KEY (b, a));
    CREATE TABLE moments (at TIMESTAMPTZ PRIMARY KEY, v TEXT);
    CREATE TABLE numbers (n NUMERIC PRIMARY KEY, v TEXT);
    CREATE TABLE floats (f DOUBLE PRECISION PRIMARY KEY, v TEXT);
    CREATE TABLE facts (k BIGINT, flag BOOLEAN, v TEXT);
    CREATE MATERIALIZED VIEW sums AS SELECT k, flag, count(*) AS c, max(v) AS v FROM facts GROUP BY k, flag";

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn answer(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    rows(client, sql).await.map_err(|error| {
        error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
    })
}

/// How many queries have been look-ups so far.
async fn lookups(server: &Server) -> u64 {
    let mut stream = TcpStream::connect(server.http().expect("--http")).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("millrace_lookups_total "));
    line.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("no figure in {page}"))
}

fn one<'a>(list: &[&'a str], random: &mut StdRng) -> &'a str {
    list[random.random_range(0..list.len())]
}

/// Something changes in a table.
fn change(random: &mut StdRng) -> String {
    let (table, key) = TABLES[random.random_range(0..TABLES.len())];
    let mut names: Vec<&str> = key.iter().map(|(name, ..)| *name).collect();
    let mut values: Vec<&str> = key.iter().map(|(_, _, values)| one(values, random)).collect();
    let table = if table == "sums" { "facts" } else { table };
    if table != "facts" && values.contains(&"NULL") {
        return "SELECT 1".to_owned();
    }
    let text = format!("'text {}'", random.random_range(0..1000));
    match random.random_range(0..4) {
        0 => {
            let same = names.iter().zip(&values).map(|(name, value)| format!("{name} = {value}"));
            format!("DELETE FROM {table} WHERE {}", same.collect::<Vec<_>>().join(" AND "))
        }
        1 => format!("UPDATE {table} SET v = {text} WHERE v < {text}"),
        _ => {
            names.push("v");
            values.push(&text);
            let upsert = if table == "facts" { "" } else { " ON CONFLICT DO NOTHING" };
            format!(
                "INSERT INTO {table} ({}) VALUES ({}){upsert}",
                names.join(", "),
                values.join(", ")
            )
        }
    }
}

/// A look-up that is prepared under a name, and the same as the planner takes it.
fn lookup(name: &str, random: &mut StdRng) -> [String; 3] {
    let (table, key) = TABLES[random.random_range(0..TABLES.len())];
    let types: Vec<&str> = key.iter().map(|(_, sql_type, _)| *sql_type).collect();
    let values: Vec<&str> = key.iter().map(|(_, _, values)| one(values, random)).collect();
    let same = |with: &dyn Fn(usize) -> String| {
        let mut same: Vec<String> = key
            .iter()
            .enumerate()
            .map(|(at, (name, ..))| format!("{name} = {}", with(at)))
            .collect();
        same.reverse();
        same.join(" AND ")
    };
    let columns = ["v", "*", "v AS x, t.v AS y", "v, v"][random.random_range(0..4)];
    let limit = ["", "", " LIMIT 1", " LIMIT 0"][random.random_range(0..4)];
    let head = format!("SELECT {columns} FROM {table} t WHERE");
    let prepare = format!(
        "PREPARE {name} ({}) AS {head} {}{limit}",
        types.join(", "),
        same(&|at| format!("${}", at + 1))
    );
    let execute = format!("EXECUTE {name} ({})", values.join(", "));
    let with = |at: usize| format!("CAST({} AS {})", values[at], types[at]);
    [prepare, execute, format!("{head} ({}) OR false{limit}", same(&with))]
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_find_what_planned_queries_find_while_rows_and_tables_change() {
    let arguments = ["--workers", "2", "--checkpoint-interval", "200ms", "--http", "127.0.0.1:0"];
    let mut server = Server::new(&arguments);
    server.start().await;
    let client = server.connect().await;
    run(&client, MADE).await;
    let seed = 20_261_122;
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        let kept = round % 3 == 0;
        run(&client, if kept { "BEGIN" } else { "SELECT 1" }).await;
        for _ in 0..3 {
            run(&client, &change(&mut random)).await;
        }
        let names: Vec<String> = (0..4).map(|at| format!("l{round}_{at}")).collect();
        for name in &names {
            let [prepare, execute, planned] = lookup(name, &mut random);
            run(&client, &prepare).await;
            let expected = answer(&client, &planned).await;
            for _ in 0..2 {
                let found = answer(&client, &execute).await;
                assert_eq!(found, expected, "seed {seed}, round {round}: {prepare}; {execute}");
            }
        }
        run(&client, if round % 2 == 0 { "ROLLBACK" } else { "COMMIT" }).await;
        run(&client, "DEALLOCATE ALL").await;
    }
    let all = u64::try_from(ROUNDS * 4 * 2).unwrap();
    let counted = lookups(&server).await;
    assert!(counted > all / 3, "{counted} of {all} went the short way");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_was_prepared_sees_the_table_of_now_and_the_rights_of_now() {
    let mut server = Server::new(&["--workers", "1", "--http", "127.0.0.1:0"]);
    server.start().await;
    let client = server.connect().await;
    run(&client, MADE).await;
    run(&client, "INSERT INTO wide VALUES (1, 'one', 10)").await;
    let statement = client.prepare("SELECT v, w FROM wide WHERE k = $1").await.unwrap();
    let before = lookups(&server).await;
    for _ in 0..3 {
        let row = client.query_one(&statement, &[&1_i64]).await.unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("one", 10));
    }
    assert_eq!(lookups(&server).await, before + 3);
    // Without a statement of its own, with a literal, too.
    assert_eq!(
        answer(&client, "SELECT w FROM wide WHERE k = 1").await,
        Ok(vec![vec![Some("10".into())]])
    );
    // Other rights, another table of the same name, none.
    run(&client, "CREATE ROLE guest; SET ROLE guest").await;
    let error = client.query(&statement, &[&1_i64]).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{error}");
    run(&client, "RESET ROLE; GRANT SELECT ON wide TO guest; SET ROLE guest").await;
    client.query_one(&statement, &[&1_i64]).await.unwrap();
    run(&client, "RESET ROLE; DROP TABLE wide").await;
    let error = client.query(&statement, &[&1_i64]).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("42P01"), "{error}");
    run(&client, "CREATE TABLE wide (w INT, k BIGINT PRIMARY KEY, v TEXT); INSERT INTO wide VALUES (5, 1, 'new')").await;
    let row = client.query_one(&statement, &[&1_i64]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("new", 5));
    // A read-only transaction stays at its moment.
    run(&client, "BEGIN READ ONLY").await;
    let v = |rows: Vec<tokio_postgres::Row>| rows[0].get::<_, String>(0);
    assert_eq!(v(client.query(&statement, &[&1_i64]).await.unwrap()), "new");
    let other = server.connect().await;
    run(&other, "UPDATE wide SET v = 'newer'").await;
    assert_eq!(v(client.query(&statement, &[&1_i64]).await.unwrap()), "new");
    run(&client, "COMMIT").await;
    assert_eq!(v(client.query(&statement, &[&1_i64]).await.unwrap()), "newer");
    drop(other);
    server.stop().await;
}
