//! Back-pressure: the operator that others wait for is named, its neighbours are not.

use tokio_postgres::Client;

use crate::health::get;
use crate::server::Server;
use crate::wait;

/// A join of everything with everything, between a sum before it and a count behind it, few of whose pairs
/// go on.
const VIEW: &str = "
CREATE TABLE a (id INT PRIMARY KEY, k INT);
CREATE TABLE b (id INT PRIMARY KEY, k INT);
CREATE MATERIALIZED VIEW pairs AS
SELECT x.id % 3 AS g, count(*) AS n FROM (SELECT id, max(k) AS k FROM a GROUP BY id) x
JOIN b ON x.k = b.k WHERE (x.id + b.id) % 100 = 0 GROUP BY x.id % 3";
const ROWS: i64 = 1_500;

/// Each operator of the view, over all workers: its name, microseconds behind, rows that wait.
async fn operators(client: &Client) -> Vec<(String, i64, i64)> {
    let query = "SELECT operator, sum(behind_us)::bigint, sum(rows_waiting)::bigint \
                 FROM millrace.operators WHERE view = 'pairs' GROUP BY operator ORDER BY operator";
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_that_others_wait_for_is_named_and_its_neighbours_are_not() {
    let mut server = Server::new(&["--workers", "2", "--http", "127.0.0.1:0"]);
    server.start().await;
    let (client, looker) = (server.connect().await, server.connect().await);
    client.batch_execute(VIEW).await.unwrap();
    let fill = |table: &str| {
        format!("INSERT INTO {table} SELECT x, 1 FROM generate_series(1, {ROWS}) g(x)")
    };
    client.batch_execute(&fill("a")).await.unwrap();
    client.batch_execute(&fill("b")).await.unwrap();
    let is_join = |name: &str| name.starts_with("join");
    let waiting = wait::until("rows wait at the join", wait::PATIENCE, || async {
        Some(operators(&looker).await).filter(|all| all.iter().any(|(_, _, rows)| *rows > 0))
    })
    .await;
    for (name, _, rows) in &waiting {
        assert!(is_join(name) || *rows == 0, "{waiting:?}");
    }
    let pairs: i64 =
        client.query_one("SELECT sum(n)::bigint FROM pairs", &[]).await.unwrap().get(0);
    assert_eq!(pairs, ROWS * ROWS / 100);
    let all = operators(&looker).await;
    assert_eq!(all.len(), 5, "{all:?}");
    let of = |wanted: bool| all.iter().filter(move |(name, ..)| is_join(name) == wanted);
    let join = of(true).map(|(_, behind, _)| *behind).max().unwrap();
    let others = of(false).map(|(_, behind, _)| *behind).max().unwrap();
    assert!(join > 5 * others.max(1), "{all:?}");
    assert!(all.iter().all(|(_, _, rows)| *rows == 0), "{all:?}");
    told(&client, &server).await;
    server.stop().await;
}

/// The plan and the metrics say it, too.
async fn told(client: &Client, server: &Server) {
    let plan = client.query("EXPLAIN ANALYZE MATERIALIZED VIEW pairs", &[]).await.unwrap();
    let lines: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let join = lines.iter().find(|line| line.contains("join 0: ")).unwrap();
    assert!(join.contains(" ms, behind for "), "{lines:?}");
    let (_, metrics) = get(server, "/metrics").await;
    let line = "millrace_operator_behind_seconds_total{view=\"pairs\",operator=\"join 0\"} ";
    assert!(metrics.contains(line), "{metrics}");
}
