//! Indexes: a lookup reads few blocks however many rows there are, and finds what a full scan finds.

use tokio_postgres::Client;

use crate::server::{self, Server};

/// Many blocks.
const ROWS: i64 = 200_000;
/// Rows of a block.
const BLOCK: f64 = 8_192.0;

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn text(client: &Client, sql: &str) -> String {
    let rows = server::rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let lines = rows.into_iter().flatten().flatten();
    lines.collect::<Vec<String>>().join("\n")
}

/// How many rows the scans of a statement read, and what they read.
async fn read(client: &Client, query: &str) -> (f64, String) {
    let plan = text(client, &format!("EXPLAIN ANALYZE {query}")).await;
    let scans = plan.lines().filter(|line| line.contains("rows_read=")).collect::<Vec<_>>();
    let rows = scans.iter().map(|scan| {
        let (_, rest) = scan.split_once("rows_read=").expect("it has just been found");
        let figure = rest.split([']', ',']).next().expect("a figure");
        let mut words = figure.trim_end_matches(']').split_whitespace();
        let number: f64 = words.next().expect("a number").parse().expect("a number");
        let factor = match words.next() {
            None => 1.0,
            Some("K") => 1e3,
            Some("M") => 1e6,
            Some(other) => panic!("{other} in {scan}"),
        };
        number * factor
    });
    assert!(!scans.is_empty(), "a scan: {plan}");
    (rows.sum(), scans.join("\n"))
}

/// The same rows with the condition on the column as it is, and on an expression that no index serves.
async fn agree(client: &Client, with_index: &str, without: &str) {
    assert_eq!(text(client, with_index).await, text(client, without).await, "{with_index}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_reads_few_blocks_and_finds_what_a_full_scan_finds() {
    let mut server = Server::new(&["--workers", "2", "--checkpoint-interval", "200ms"]);
    server.start().await;
    let mut client = server.connect().await;
    run(&client, "CREATE TABLE orders (id INT PRIMARY KEY, customer INT, item TEXT, price BIGINT)")
        .await;
    let rows = format!(
        "INSERT INTO orders SELECT i, i * 7919 % 5000, 'item ' || i * 31 % 1000, i % 977 \
         FROM generate_series(1, {ROWS}) AS s(i)"
    );
    run(&client, &rows).await;
    let view = "CREATE MATERIALIZED VIEW spent AS SELECT id % 50000 AS who, item, sum(price)::bigint AS total \
                FROM orders GROUP BY 1, 2";
    run(&client, view).await;
    for index in [
        "CREATE INDEX by_customer ON orders (customer)",
        "CREATE INDEX by_item ON orders (item, price)",
        "CREATE INDEX by_total ON spent (total)",
    ] {
        run(&client, index).await;
    }
    run(&client, "UPDATE orders SET customer = customer + 1 WHERE id % 10 = 0").await;
    run(&client, "DELETE FROM orders WHERE id % 13 = 0").await;
    run(&client, "FLUSH").await;
    for (query, index) in [
        ("SELECT * FROM orders WHERE customer = 77", "by_customer on orders"),
        ("SELECT * FROM orders WHERE customer BETWEEN 77 AND 79", "by_customer on orders"),
        ("SELECT * FROM orders WHERE item = 'item 5' AND price > 900", "by_item on orders"),
        ("SELECT * FROM spent WHERE total = 1500", "by_total on spent"),
        ("SELECT * FROM orders WHERE id = 4711", "Scan: orders"),
    ] {
        let (rows, scan) = read(&client, query).await;
        assert!(scan.contains(index), "{scan}");
        // A block of each layer of the table, not the table.
        assert!(rows <= 6.0 * BLOCK, "{query} reads {rows} rows: {scan}");
    }
    let (all, _) = read(&client, "SELECT * FROM orders WHERE customer + 0 = 77").await;
    assert!(all > 20.0 * BLOCK, "{all}");
    for round in 0..2 {
        for n in [0, 77, 4_999, 5_000] {
            let sum =
                "SELECT count(*), sum(id)::bigint, sum(price)::bigint FROM orders WHERE customer";
            agree(&client, &format!("{sum} = {n}"), &format!("{sum} + 0 = {n}")).await;
            let most = "SELECT count(*), sum(total)::bigint FROM spent WHERE total";
            agree(&client, &format!("{most} > {n}"), &format!("{most} + 0 > {n}")).await;
        }
        if round == 0 {
            run(&client, "INSERT INTO orders SELECT i + 1000000, 77, 'item 5', i FROM generate_series(1, 100) AS s(i)").await;
            server.kill().await;
            server.start().await;
            client = server.connect().await;
        }
    }
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_keys_reads_few_blocks() {
    let mut server = Server::new(&["--workers", "2", "--checkpoint-interval", "200ms"]);
    server.start().await;
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT)").await;
    run(&client, "CREATE TABLE two (a INT, b TEXT, n BIGINT, PRIMARY KEY (a, b))").await;
    let rows = format!("SELECT i, i FROM generate_series(1, {ROWS}) AS s(i)");
    run(&client, &format!("INSERT INTO t {rows}")).await;
    let rows = format!("SELECT i / 4, 'b' || i % 4, i FROM generate_series(1, {ROWS}) AS s(i)");
    run(&client, &format!("INSERT INTO two {rows}")).await;
    run(&client, "FLUSH").await;
    for (blocks, statement) in [
        (3.0, "SELECT * FROM t WHERE id IN (7, 100007, 180007)"),
        (3.0, "SELECT * FROM two WHERE a IN (7, 30007, 40007) AND b = 'b2'"),
        (3.0, "DELETE FROM t WHERE id IN (5, 100005, 180005)"),
        (2.0, "DELETE FROM t WHERE id = 6 OR id = 150000"),
        (1.0, "UPDATE t SET n = n + 1 WHERE id = 77"),
        (1.0, "UPDATE two SET n = n + 1 WHERE a = 40000"),
        (3.0, "DELETE FROM two WHERE a IN (1, 20000, 40001)"),
        // New keys, of which some are taken.
        (2.0, "INSERT INTO t SELECT i, 0 FROM generate_series(200001, 200300) AS s(i)"),
        (
            2.0,
            "INSERT INTO t SELECT i, 0 FROM generate_series(199900, 200400) AS s(i) ON CONFLICT DO NOTHING",
        ),
        (
            4.0,
            "INSERT INTO t AS o SELECT i, 5 FROM generate_series(1, 100) AS s(i) \
               ON CONFLICT (id) DO UPDATE SET n = o.n + excluded.n",
        ),
        // Keys that change.
        (2.0, "UPDATE t SET id = id + 1000000 WHERE id IN (10, 11, 12)"),
    ] {
        let (rows, scan) = read(&client, statement).await;
        // Of what was written last another block or two.
        assert!(rows <= (blocks + 2.0) * BLOCK, "{statement} reads {rows} rows: {scan}");
    }
    // Five rows went, 402 came, one changed by 1 and 98 by 5, two came with 5.
    let sums = text(&client, "SELECT count(*), sum(n)::bigint FROM t").await;
    assert_eq!(sums, "200397\n19999670480");
    let taken = "INSERT INTO t SELECT i, 0 FROM generate_series(150001, 150100) AS s(i)";
    let error = client.batch_execute(taken).await.expect_err("the keys are taken");
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("23505"));
    // A subquery that reads the whole table sees all of it.
    run(
        &client,
        "INSERT INTO t AS o VALUES (20, 0) ON CONFLICT (id) DO UPDATE SET n = (SELECT count(*) FROM t)",
    )
    .await;
    let found = text(&client, "SELECT n = (SELECT count(*) FROM t) FROM t WHERE id = 20").await;
    assert_eq!(found, "t");
    drop(client);
    server.stop().await;
}
