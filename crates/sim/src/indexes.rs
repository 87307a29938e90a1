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

/// How many rows the scan of a query reads, and what it reads.
async fn read(client: &Client, query: &str) -> (f64, String) {
    let plan = text(client, &format!("EXPLAIN ANALYZE {query}")).await;
    let scan = plan.lines().find(|line| line.contains("rows_read=")).expect("a scan").to_owned();
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
    (number * factor, scan)
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
