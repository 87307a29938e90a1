//! COPY with tokio-postgres: both ways in all formats, errors with their place, cancel half way.

use std::pin::pin;

use futures::stream::{self, TryStreamExt};
use futures::{SinkExt, StreamExt};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, Error, NoTls};

use super::server;

const FORMATS: [&str; 4] = [
    "(FORMAT text)",
    "(FORMAT csv, HEADER, FORCE_QUOTE *)",
    "(FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'none')",
    "(FORMAT binary)",
];

/// The data of a COPY TO.
async fn copied(client: &Client, sql: &str) -> Result<Vec<u8>, Error> {
    let mut data = pin!(client.copy_out(sql).await?);
    let mut all = Vec::new();
    while let Some(part) = data.try_next().await? {
        all.extend_from_slice(&part);
    }
    Ok(all)
}

/// Sends data to a COPY FROM, in pieces that cut rows; the number of rows.
async fn copy(client: &Client, sql: &str, data: &[u8]) -> Result<u64, Error> {
    let mut sink = pin!(client.copy_in::<_, std::io::Cursor<Vec<u8>>>(sql).await?);
    let pieces = data.chunks(7).map(|piece| Ok(std::io::Cursor::new(piece.to_vec())));
    sink.send_all(&mut stream::iter(pieces)).await?;
    sink.finish().await
}

fn db_error<T>(result: Result<T, Error>) -> DbError {
    result.err().and_then(|error| error.as_db_error().cloned()).expect("an error of the server")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_out_is_the_same_when_it_is_copied_in() {
    let mut server = server().await;
    let client = server.connect().await;
    let columns = "(id INT, b BOOLEAN, n NUMERIC, p NUMERIC(9, 3), f FLOAT8, t TEXT, v VARCHAR(9), y BYTEA, \
                   d DATE, z TIMESTAMPTZ, s TIMESTAMP, c TIME, i INTERVAL, u UUID, j JSONB, l TEXT[], m INT[])";
    client
        .batch_execute(&format!("CREATE TABLE a {columns}; CREATE TABLE b {columns}"))
        .await
        .unwrap();
    let insert = r#"INSERT INTO a VALUES
        (1, true, 12345678901234567890.5, 1.5, 0.1, E'tab\t"quote" \\ line\nand; more', 'é', '\x00ff',
         '2024-02-29', '2024-02-29 12:00+02', '0001-01-01', '23:59:59.9', '1 mon -2 days 3.5 sec',
         '12345678-1234-5678-1234-567812345678', '{"a": [1, "x\"y"]}', ARRAY['a b', NULL, '"', ''], '{1,NULL}'),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (3, false, -0.001, -1, 'NaN', '', '\N', '', 'infinity', '-infinity', '2024-01-01', '00:00', '0', NULL, 'null', '{}', '{}')"#;
    client.batch_execute(insert).await.unwrap();
    let wanted = copied(&client, "COPY (SELECT * FROM a ORDER BY id) TO STDOUT").await.unwrap();
    let wanted = String::from_utf8(wanted).unwrap();
    for format in FORMATS {
        let data = copied(&client, &format!("COPY a TO STDOUT {format}")).await.unwrap();
        let format = format.replace(", FORCE_QUOTE *", "");
        assert_eq!(copy(&client, &format!("COPY b FROM STDIN {format}"), &data).await.unwrap(), 3);
        let all = "COPY (SELECT * FROM b ORDER BY id) TO STDOUT";
        let back = String::from_utf8(copied(&client, all).await.unwrap()).unwrap();
        assert_eq!(back, wanted, "{format}");
        client.batch_execute("DELETE FROM b").await.unwrap();
    }
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_names_its_line_and_leaves_nothing() {
    let mut server = server().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (a INT NOT NULL, b VARCHAR(3))").await.unwrap();
    for (options, data, code, message, context) in [
        (
            "",
            "1\tx\n2y\tz\n",
            "22P02",
            "invalid input syntax for type integer: \"2y\"",
            "COPY t, line 2, column a: \"2y\"",
        ),
        (
            "CSV",
            "1,x\n2,\"long\"\n",
            "22001",
            "value too long",
            "COPY t, line 2, column b: \"long\"",
        ),
        ("", "1\tx\n\\N\ty\n", "23502", "null value in column \"a\"", "COPY t, line 2: \"\\N\ty\""),
        (
            "CSV HEADER",
            "a,b\n1\n",
            "22P04",
            "missing data for column \"b\"",
            "COPY t, line 2: \"1\"",
        ),
        ("(FORMAT binary)", "PGCOPY", "22P04", "COPY file signature not recognized", ""),
    ] {
        let error =
            db_error(copy(&client, &format!("COPY t FROM STDIN {options}"), data.as_bytes()).await);
        assert_eq!(error.code().code(), code, "{error}");
        assert!(error.message().starts_with(message), "{error}");
        assert_eq!(error.where_().unwrap_or_default(), context);
    }
    let count = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 0);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_endless_rows_is_sent_as_it_comes_and_can_be_cancelled() {
    let mut server = server().await;
    let client = server.connect().await;
    let token = client.cancel_token();
    let sql =
        "COPY (SELECT x, 'some text' FROM generate_series(1, 100000000000) AS g(x)) TO STDOUT";
    let mut data = pin!(client.copy_out(sql).await.unwrap());
    assert_eq!(data.next().await.unwrap().unwrap().as_ref(), b"1\tsome text\n");
    token.cancel_query(NoTls).await.unwrap();
    let error = loop {
        match data.next().await.expect("an error before the end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert!(client.simple_query("SELECT 1").await.is_ok());
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_subscription_goes_on() {
    let mut server = server().await;
    let (client, other) = (server.connect().await, server.connect().await);
    client
        .batch_execute(
            "CREATE TABLE t (a INT); CREATE MATERIALIZED VIEW v AS SELECT sum(a) AS total FROM t",
        )
        .await
        .unwrap();
    let sql = "COPY (SUBSCRIBE TO v WITH (snapshot = false)) TO STDOUT (FORMAT csv)";
    let mut data = pin!(client.copy_out(sql).await.unwrap());
    other.batch_execute("INSERT INTO t VALUES (3)").await.unwrap();
    let mut lines = Vec::new();
    while !lines.iter().any(|line: &String| line.ends_with(",1,3\n")) {
        let line = data.next().await.unwrap().unwrap();
        lines.push(String::from_utf8(line.to_vec()).unwrap());
    }
    drop((client, other));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_the_rows_for_which_its_condition_is_true() {
    let mut server = server().await;
    let client = server.connect().await;
    let columns = "(id INT PRIMARY KEY, n INT NOT NULL, b TEXT DEFAULT 'none')";
    client.batch_execute(&format!("CREATE TABLE t {columns}")).await.unwrap();
    let copied = copy(
        &client,
        "COPY t (id, n) FROM STDIN WHERE n > 1 AND t.b = 'none'",
        b"1\t1\n2\t2\n3\t3\n4\t\\N\n",
    );
    assert_eq!(copied.await.unwrap(), 2);
    let csv = "COPY t FROM STDIN WITH (FORMAT csv) WHERE b LIKE 'x%' AND id + n = 12";
    assert_eq!(copy(&client, csv, b"5,7,xy\n6,6,y\n7,5,xz\n").await.unwrap(), 2);
    let wrong = copy(&client, csv, b"8,4,x\nmany,6,y\n").await;
    let wrong = db_error(wrong);
    assert_eq!(wrong.code(), &SqlState::INVALID_TEXT_REPRESENTATION);
    assert_eq!(wrong.where_(), Some("COPY t, line 2, column id: \"many\""));
    let all = client.query("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    let ids: Vec<i32> = all.iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, [2, 3, 5, 7]);
    drop(client);
    server.stop().await;
}
