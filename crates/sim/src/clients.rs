//! What client libraries do, with tokio-postgres: parameters, binary results, cancel, errors with
//! positions, COPY. `clients/` at the root of this crate has runners for other clients.

mod copy;

use std::time::Duration;

use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::server::{Server, connect};
use crate::wait;

async fn server() -> Server {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_results_travel_in_binary() {
    let mut server = server().await;
    let client = server.connect().await;
    let sql = "SELECT $1::bigint + 1, upper($2::text), $3::double precision / 4, NOT $4::boolean, \
                      $5::integer, NULL::bigint, ARRAY[1, 2]::bigint[]";
    let row = client.query_one(sql, &[&41_i64, &"abc", &1.0_f64, &true, &7_i32]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 42);
    assert_eq!(row.get::<_, &str>(1), "ABC");
    assert!((row.get::<_, f64>(2) - 0.25).abs() < f64::EPSILON);
    assert!(!row.get::<_, bool>(3));
    assert_eq!(row.get::<_, i32>(4), 7);
    assert_eq!(row.get::<_, Option<i64>>(5), None);
    assert_eq!(row.get::<_, Vec<i64>>(6), [1, 2]);
    let statement = client.prepare("SELECT count(*) FROM millrace.views WHERE view = $1").await;
    let statement = statement.unwrap();
    for name in ["a", "b"] {
        let row = client.query_one(&statement, &[&name]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    }
    let any = "SELECT x FROM (VALUES (1::bigint), (2), (3)) AS t(x) WHERE x = ANY($1) ORDER BY x";
    let rows = client.query(any, &[&vec![3_i64, 1, 7]]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [1, 3]);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_sqlstate_and_position_and_leave_the_session_usable() {
    let mut server = server().await;
    let client = server.connect().await;
    let error =
        client.simple_query("SELECT 1 AS x, nothing FROM millrace.views").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::UNDEFINED_COLUMN);
    assert_eq!(error.message(), "column \"nothing\" does not exist");
    assert_eq!(error.position(), Some(&ErrorPosition::Original(16)));
    // In the second statement of a string, positions count from the start of the string.
    let error = client.simple_query("SELECT 1; SELECT * FROM nowhere").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::UNDEFINED_TABLE);
    assert_eq!(error.position(), Some(&ErrorPosition::Original(25)));
    assert_eq!(client.query_one("SELECT 1::bigint", &[]).await.unwrap().get::<_, i64>(0), 1);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_may_hold_several_statements_or_none() {
    let mut server = server().await;
    let client = server.connect().await;
    let messages = client.simple_query("SELECT 1; ; SELECT 2, 3;").await.unwrap();
    let rows: Vec<usize> = messages
        .iter()
        .filter_map(|m| match m {
            SimpleQueryMessage::Row(row) => Some(row.len()),
            _ => None,
        })
        .collect();
    assert_eq!(rows, [1, 2]);
    for nothing in ["", " ; ", "-- a comment"] {
        let rows = client.simple_query(nothing).await.unwrap();
        assert!(!rows.iter().any(|m| matches!(m, SimpleQueryMessage::Row(_))), "{nothing:?}");
    }
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_names_no_database_lands_in_dev() {
    let mut server = server().await;
    let address = (*server.address().borrow()).unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("root");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one("SELECT current_database()::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "dev");
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_query_can_be_cancelled() {
    let mut server = server().await;
    let address = (*server.address().borrow()).unwrap();
    let client = connect(address).await.unwrap();
    let cancel = client.cancel_token();
    let endless = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, \
                   generate_series(1, 100000) c WHERE a + b + c = 0";
    let query = tokio::spawn(async move { (client.simple_query(endless).await, client) });
    // Cancel races with the start of the query, as in life: ask until it has worked.
    wait::until("the query is cancelled", wait::PATIENCE, || async {
        cancel.cancel_query(NoTls).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        query.is_finished().then_some(())
    })
    .await;
    let (result, client) = query.await.unwrap();
    assert_eq!(result.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    assert!(client.simple_query("SELECT 1").await.is_ok());
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_explained_happens_once() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (1)").await.unwrap();
    let explain = client.prepare("EXPLAIN ANALYZE UPDATE t SET n = n + 1").await.unwrap();
    let n = async || client.query_one("SELECT n FROM t", &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(n().await, 1, "it is not run for its columns");
    assert!(!client.query(&explain, &[]).await.unwrap().is_empty());
    assert_eq!(n().await, 2);
    server.stop().await;
}
