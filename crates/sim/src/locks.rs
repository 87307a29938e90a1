//! Who waits for a table that another session changes is shown until its turn comes, or it gives up. What is read
//! FOR UPDATE is what is written over.

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

/// Waits until a session waits for a table.
async fn until_it_waits(look: &Client, process: &str) {
    let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {process} AND NOT granted");
    until("it waits", PATIENCE, || async {
        (first(look, &waits).await.as_deref() == Some("1")).then_some(())
    })
    .await;
}

/// Reads a number and writes the next one, so often.
async fn count(client: &Client, times: usize) {
    let read = client.prepare("SELECT n FROM counter WHERE id = $1 FOR UPDATE").await.unwrap();
    let write = client.prepare("UPDATE counter SET n = $1 WHERE id = 1").await.unwrap();
    for _ in 0..times {
        run(client, "BEGIN").await;
        let n: i32 = client.query_one(&read, &[&1i32]).await.unwrap().get(0);
        assert_eq!(client.execute(&write, &[&(n + 1)]).await.unwrap(), 1);
        run(client, "COMMIT").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_read_for_update_and_then_write_lose_nothing() {
    let mut server = Server::new(&[]);
    server.start().await;
    let (one, two) = (server.connect().await, server.connect().await);
    run(&one, "CREATE TABLE counter (id INT PRIMARY KEY, n INT)").await;
    run(&one, "INSERT INTO counter VALUES (1, 0)").await;
    tokio::join!(count(&one, 40), count(&two, 40));
    assert_eq!(first(&one, "SELECT n FROM counter").await.as_deref(), Some("80"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_rows_reads_them_as_they_are_when_its_turn_comes() {
    let mut server = Server::new(&[]);
    server.start().await;
    let (look, writer) = (server.connect().await, server.connect().await);
    run(&look, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&look, "INSERT INTO t VALUES (1, 1)").await;
    run(&writer, "BEGIN; UPDATE t SET n = 2").await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let client = server.connect().await;
        run(&client, "SET lock_timeout = '1h'").await;
        let process = first(&client, "SELECT pg_backend_pid()").await.expect("a number");
        let cancel = client.cancel_token();
        let reads = tokio::spawn(async move {
            client.query_one("SELECT n FROM t WHERE id = 1 FOR UPDATE", &[]).await
        });
        until_it_waits(&look, &process).await;
        waiting.push((reads, cancel));
    }
    let (given_up, cancel) = waiting.pop().expect("two");
    cancel.cancel_query(tokio_postgres::NoTls).await.expect("it is heard");
    let error = given_up.await.expect("it ends").expect_err("it is cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    run(&writer, "COMMIT").await;
    let (reads, _) = waiting.pop().expect("one");
    let n: i32 = reads.await.expect("it ends").expect("it reads").get(0);
    assert_eq!(n, 2);
    until("nothing is held", PATIENCE, || async {
        let held = first(&look, "SELECT count(*) FROM pg_locks").await;
        (held.as_deref() == Some("0")).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_wait_for_each_other_the_second_fails_and_the_first_goes_on() {
    let mut server = Server::new(&[]);
    server.start().await;
    let (look, one, two) = (server.connect().await, server.connect().await, server.connect().await);
    run(&look, "CREATE TABLE a (n INT); CREATE TABLE b (n INT)").await;
    run(&look, "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)").await;
    let process = first(&one, "SELECT pg_backend_pid()").await.expect("a number");
    for client in [&one, &two] {
        run(client, "SET lock_timeout = '1h'").await;
    }
    run(&one, "BEGIN; SELECT n FROM a FOR UPDATE").await;
    run(&two, "BEGIN; SELECT n FROM b FOR UPDATE").await;
    let goes_on = tokio::spawn(async move {
        run(&one, "UPDATE b SET n = 2").await;
        run(&one, "COMMIT").await;
    });
    until_it_waits(&look, &process).await;
    let fails = two.batch_execute("UPDATE a SET n = 3");
    let ended = tokio::time::timeout(PATIENCE, fails).await.expect("it ends");
    let error = ended.expect_err("a deadlock");
    assert_eq!(error.code().map(|code| code.code()), Some("40P01"));
    goes_on.await.expect("it goes on");
    run(&two, "ROLLBACK").await;
    let both = "SELECT (SELECT n FROM a) || ',' || (SELECT n FROM b)";
    assert_eq!(first(&look, both).await.as_deref(), Some("1,2"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_taken_or_passed_over_and_nobody_waits_for_another() {
    let mut server = Server::new(&[]);
    server.start().await;
    let (one, two) = (server.connect().await, server.connect().await);
    run(&one, "CREATE TABLE jobs (id INT PRIMARY KEY, taken BOOLEAN NOT NULL DEFAULT false)").await;
    run(&one, "INSERT INTO jobs (id) SELECT i FROM generate_series(1, 3) AS g(i)").await;
    let take = "UPDATE jobs SET taken = true WHERE id = (SELECT id FROM jobs WHERE NOT taken \
                ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id";
    run(&one, "BEGIN").await;
    assert_eq!(first(&one, take).await.as_deref(), Some("1"));
    // A table is locked as a whole, so there is nothing for the other; it does not wait to say so.
    run(&two, "SET lock_timeout = '1h'").await;
    assert_eq!(first(&two, take).await, None);
    run(&one, "COMMIT").await;
    assert_eq!(first(&two, take).await.as_deref(), Some("2"));
    drop((one, two));
    server.stop().await;
}
