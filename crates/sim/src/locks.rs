//! Who waits for a table that another session changes is shown until its turn comes, or it gives up.

use tokio_postgres::Client;

use crate::server::{Server, rows};
use crate::wait::{PATIENCE, until};

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn first(client: &Client, sql: &str) -> Option<String> {
    let found = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    found.first().and_then(|row| row[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_table_and_for_whom_is_seen() {
    let mut server = Server::new(&[]);
    server.start().await;
    let (look, writer) = (server.connect().await, server.connect().await);
    run(&look, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&writer, "BEGIN; INSERT INTO t VALUES (1)").await;
    let pid = "SELECT pg_backend_pid()";
    let holds = first(&writer, pid).await.expect("a number");

    // Two more, one after the other.
    let mut waiting = Vec::new();
    for id in [2, 3] {
        let client = server.connect().await;
        let process = first(&client, pid).await.expect("a number");
        run(&client, "SET lock_timeout = '1h'").await;
        let cancel = client.cancel_token();
        let insert = format!("INSERT INTO t VALUES ({id})");
        let changes = tokio::spawn(async move { client.execute(&insert, &[]).await });
        let waits = format!(
            "SELECT string_agg(l.relation::regclass::text || ' ' || l.mode || ' ' || a.wait_event_type \
                || ' ' || a.wait_event || ' ' || (l.waitstart <= now()), ',') \
            FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid WHERE l.pid = {process} AND NOT l.granted"
        );
        // Both lists are of one moment each, so the first look may find half of it.
        until("it waits", PATIENCE, || async {
            let shown = first(&look, &waits).await;
            (shown.as_deref() == Some("t ExclusiveLock Lock relation true")).then_some(())
        })
        .await;
        waiting.push((process, changes, cancel));
    }
    let blocking = |process: &str| format!("SELECT pg_blocking_pids({process})");
    let [(second, inserts, _), (third, given_up, cancel)] =
        <[_; 2]>::try_from(waiting).map_err(|_| "two").expect("two");
    assert_eq!(first(&look, &blocking(&holds)).await.as_deref(), Some("{}"));
    assert_eq!(first(&look, &blocking(&second)).await, Some(format!("{{{holds}}}")));
    let both = first(&look, &blocking(&third)).await.expect("a list");
    assert!(both.contains(&holds) && both.contains(&second), "{both}");

    // Who is cancelled waits no more, and its row is not there.
    cancel.cancel_query(tokio_postgres::NoTls).await.expect("it is heard");
    let error = given_up.await.expect("it ends").expect_err("it is cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    assert_eq!(first(&look, &blocking(&third)).await.as_deref(), Some("{}"));

    run(&writer, "COMMIT").await;
    assert_eq!(inserts.await.expect("it ends").expect("it inserts"), 1);
    let all = "SELECT string_agg(id::text, ',' ORDER BY id) FROM t";
    assert_eq!(first(&look, all).await.as_deref(), Some("1,2"));
    until("nothing is held", PATIENCE, || async {
        let held = first(&look, "SELECT count(*) FROM pg_locks").await;
        (held.as_deref() == Some("0")).then_some(())
    })
    .await;
    server.stop().await;
}
