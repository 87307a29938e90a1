//! tokio-postgres: statements are prepared, values travel in binary.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures::{SinkExt, StreamExt, TryStreamExt, pin_mut, stream};
use serde_json::json;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Error, NoTls, SimpleQueryMessage};
use uuid::Uuid;

use crate::feature::{Tested, absent, config, restart, test, variable};

pub async fn run() {
    test("connect", connects()).await;
    absent("tls", "left to another crate, such as tokio-postgres-rustls");
    test("objects", objects()).await;
    test("describe", describe()).await;
    test("types_text", types_text()).await;
    test("types_binary", types_binary()).await;
    test("prepared", prepared()).await;
    test("errors", errors()).await;
    test("transactions", transactions()).await;
    test("streaming", streaming()).await;
    test("copy_in", copy_in()).await;
    test("copy_out", copy_out()).await;
    test("notices", notices()).await;
    test("cancel", cancel()).await;
    test("pool", pool()).await;
    test("application_name", application_name()).await;
    test("view", view()).await;
    test("subscribe", subscribe()).await;
    test("reconnect", reconnect()).await;
    test("snippet", async { Ok(snippet().await?) }).await;
}

async fn connect_as(config: &tokio_postgres::Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect() -> Result<Client, Error> {
    connect_as(&config()).await
}

async fn one<T: for<'a> FromSql<'a>>(
    client: &Client,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<T, Error> {
    client.query_one(sql, values).await?.try_get(0)
}

fn failed<T>(result: Result<T, Error>, code: &str) -> DbError {
    let error = result.err().expect("an error");
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error}")).clone();
    assert_eq!(error.code().code(), code, "{error}");
    error
}

async fn connects() -> Tested {
    let client = connect().await?;
    assert_eq!(
        one::<String>(&client, "SELECT current_user::text", &[]).await?,
        variable("MILLRACE_USER")
    );
    failed(connect_as(config().password("no")).await, "28P01");
    Ok(())
}

async fn objects() -> Tested {
    let sql = "SELECT relname || ' ' || relkind::text FROM pg_class WHERE relname LIKE $1 \
               AND relkind IN ('r', 'v', 'm') ORDER BY 1";
    let rows = connect().await?.query(sql, &[&"tokio%"]).await?;
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(found, ["tokio_events r", "tokio_kinds v", "tokio_totals m"]);
    Ok(())
}

async fn describe() -> Tested {
    let client = connect().await?;
    let statement = client.prepare("SELECT * FROM tokio_totals WHERE n > $1 AND kind = $2").await?;
    assert_eq!(statement.params(), [Type::INT8, Type::TEXT]);
    let columns: Vec<_> =
        statement.columns().iter().map(|c| (c.name(), c.type_().clone())).collect();
    assert_eq!(columns, [("kind", Type::TEXT), ("n", Type::INT8), ("total", Type::FLOAT8)]);
    Ok(())
}

async fn types_text() -> Tested {
    let client = connect().await?;
    for (sql, text) in [
        ("boolean", "t"),
        ("bigint", "-9223372036854775808"),
        ("double precision", "0.1"),
        ("numeric", "12345678901234567890123456789.123456789"),
        ("text", "h\u{e9}llo \u{20ac}"),
        ("bytea", "\\x00ff5c"),
        ("timestamptz", "2024-02-29 12:30:00.123456+00"),
        ("interval", "1 mon 2 days 03:04:05.6"),
        ("uuid", "12345678-1234-5678-1234-567812345678"),
        ("jsonb", "{\"a\": [1, null]}"),
        ("integer[]", "{1,NULL,3}"),
    ] {
        let messages = client.simple_query(&format!("SELECT '{text}'::{sql}, NULL::{sql}")).await?;
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0), row.get(1))),
            _ => None,
        });
        assert_eq!(row, Some((Some(text), None)), "{sql}");
    }
    Ok(())
}

async fn there_and_back<T>(client: &Client, sql: &str, value: T) -> Tested
where
    T: ToSql + Sync + PartialEq + std::fmt::Debug + for<'a> FromSql<'a>,
{
    let query = format!("SELECT $1::{sql}");
    assert_eq!(one::<T>(client, &query, &[&value]).await?, value, "{sql}");
    assert_eq!(one::<Option<T>>(client, &query, &[&None::<T>]).await?, None, "{sql}");
    Ok(())
}

async fn types_binary() -> Tested {
    let client = connect().await?;
    let noon: NaiveDateTime = NaiveDate::from_ymd_opt(2024, 2, 29)
        .and_then(|day| day.and_hms_micro_opt(12, 30, 0, 123_456))
        .ok_or("a time")?;
    there_and_back(&client, "boolean", true).await?;
    there_and_back(&client, "smallint", i16::MIN).await?;
    there_and_back(&client, "integer", i32::MAX).await?;
    there_and_back(&client, "bigint", i64::MIN).await?;
    there_and_back(&client, "real", 1.5_f32).await?;
    there_and_back(&client, "double precision", 0.1_f64).await?;
    there_and_back(&client, "text", "h\u{e9}llo \u{20ac}".to_owned()).await?;
    there_and_back(&client, "bytea", vec![0_u8, 255, 92]).await?;
    there_and_back::<NaiveDate>(&client, "date", noon.date()).await?;
    there_and_back::<NaiveTime>(&client, "time", noon.time()).await?;
    there_and_back(&client, "timestamp", noon).await?;
    there_and_back::<DateTime<Utc>>(&client, "timestamptz", noon.and_utc()).await?;
    there_and_back(&client, "uuid", Uuid::from_u128(7)).await?;
    there_and_back(&client, "jsonb", json!({"a": [1, null]})).await?;
    there_and_back(&client, "json", json!({"a": [1, null]})).await?;
    there_and_back(&client, "integer[]", vec![Some(1_i32), None]).await?;
    there_and_back(&client, "text[]", vec![Some("a \"b\"".to_owned()), None]).await?;
    // Numbers and intervals have no type of their own in the driver.
    let text: String =
        one(&client, "SELECT $1::text::numeric::text", &[&"12345678901234567890.5"]).await?;
    assert_eq!(text, "12345678901234567890.5");
    client
        .batch_execute("CREATE TABLE tokio_types (a int, b text, c timestamptz, d float8)")
        .await?;
    let insert = "INSERT INTO tokio_types VALUES ($1, $2, $3, $4)";
    client.execute(insert, &[&1_i32, &"x", &noon.and_utc(), &0.1_f64]).await?;
    let sql = "SELECT a FROM tokio_types WHERE c >= $1 AND b = $2 LIMIT $3";
    assert_eq!(one::<i32>(&client, sql, &[&noon.and_utc(), &"x", &1_i64]).await?, 1);
    Ok(())
}

async fn prepared() -> Tested {
    let client = connect().await?;
    let statement = client.prepare("SELECT $1::bigint + 1").await?;
    for n in 0..8_i64 {
        assert_eq!(client.query_one(&statement, &[&n]).await?.get::<_, i64>(0), n + 1);
    }
    // Requests that do not wait for each other.
    let all = (0..5_i64).map(|n| {
        let (client, statement) = (&client, &statement);
        async move { client.query_one(statement, &[&n]).await.map(|row| row.get::<_, i64>(0)) }
    });
    assert_eq!(futures::future::try_join_all(all).await?, [1, 2, 3, 4, 5]);
    client.batch_execute("CREATE VIEW tokio_v AS SELECT 1 AS a").await?;
    let view = client.prepare("SELECT * FROM tokio_v").await?;
    client.batch_execute("DROP VIEW tokio_v; CREATE VIEW tokio_v AS SELECT 'x' AS a").await?;
    let error = failed(client.query(&view, &[]).await, "0A000");
    assert_eq!(error.message(), "cached plan must not change result type");
    Ok(())
}

async fn errors() -> Tested {
    let client = connect().await?;
    let error = failed(client.query("SELECT 1, nothing FROM tokio_events", &[]).await, "42703");
    assert_eq!(error.position(), Some(&ErrorPosition::Original(11)));
    failed(client.query("SELECT 1 / 0", &[]).await, "22012");
    failed(client.query("SELEC 1", &[]).await, "42601");
    let error = failed(client.simple_query("SELECT 1; SELECT * FROM nowhere").await, "42P01");
    assert_eq!(error.position(), Some(&ErrorPosition::Original(25)));
    client.batch_execute("INSERT INTO tokio_events VALUES (1, 'a', 1)").await?;
    let error =
        failed(client.execute("INSERT INTO tokio_events VALUES (1, 'a', 1)", &[]).await, "23505");
    assert_eq!(error.detail(), Some("Key (id)=(1) already exists."));
    let names = (error.schema(), error.table(), error.constraint());
    assert_eq!(names, (Some("public"), Some("tokio_events"), Some("tokio_events_pkey")));
    let error =
        failed(client.execute("INSERT INTO tokio_events (kind) VALUES ('a')", &[]).await, "23502");
    assert_eq!((error.table(), error.column()), (Some("tokio_events"), Some("id")));
    Ok(())
}

async fn transactions() -> Tested {
    let (mut client, other) = (connect().await?, connect().await?);
    let (count, insert) = (
        "SELECT count(*) FROM tokio_events WHERE kind = 'tx'",
        "INSERT INTO tokio_events VALUES ($1, 'tx', 1)",
    );
    let mut transaction = client.transaction().await?;
    assert_eq!(transaction.execute(insert, &[&100_i32]).await?, 1);
    let savepoint = transaction.savepoint("a").await?;
    failed(savepoint.execute(insert, &[&100_i32]).await, "23505");
    failed(savepoint.query("SELECT 1", &[]).await, "25P02");
    savepoint.rollback().await?;
    assert_eq!(one::<i64>(&other, count, &[]).await?, 0);
    transaction.commit().await?;
    assert_eq!(one::<i64>(&other, count, &[]).await?, 1);
    let transaction = client.build_transaction().read_only(true).start().await?;
    failed(transaction.execute(insert, &[&101_i32]).await, "25006");
    transaction.rollback().await?;
    let twice = "INSERT INTO tokio_events VALUES (110, 'tx', 1);".repeat(2);
    failed(client.batch_execute(&twice).await, "23505");
    assert_eq!(one::<i64>(&client, count, &[]).await?, 1);
    Ok(())
}

async fn streaming() -> Tested {
    let mut client = connect().await?;
    let sql = "SELECT x FROM generate_series(1, $1::bigint) AS g(x)";
    let rows = client.query_raw(sql, [20_000_i64]).await?;
    pin_mut!(rows);
    let mut sum = 0;
    while let Some(row) = rows.try_next().await? {
        sum += row.get::<_, i64>(0);
    }
    assert_eq!(sum, 200_010_000);
    let transaction = client.transaction().await?;
    let portal = transaction.bind(sql, &[&10_i64]).await?;
    for wanted in [4, 4, 2] {
        assert_eq!(transaction.query_portal(&portal, 4).await?.len(), wanted);
    }
    transaction.commit().await?;
    Ok(())
}

async fn copy_in() -> Tested {
    let client = connect().await?;
    let sink = client.copy_in("COPY tokio_events FROM STDIN (FORMAT binary)").await?;
    let writer = BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT, Type::FLOAT8]);
    pin_mut!(writer);
    for n in 1000..2000_i32 {
        let amount = (n % 2 == 0).then_some(f64::from(n) / 4.0);
        writer.as_mut().write(&[&n, &"copied", &amount]).await?;
    }
    assert_eq!(writer.finish().await?, 1000);
    let sink = client.copy_in("COPY tokio_events FROM STDIN CSV").await?;
    pin_mut!(sink);
    let mut lines = stream::iter([Ok(Bytes::from_static(b"5000,a,1\nx,a,1\n"))]);
    sink.send_all(&mut lines).await?;
    let error = failed(sink.finish().await, "22P02");
    assert_eq!(error.where_(), Some("COPY tokio_events, line 2, column id: \"x\""));
    assert_eq!(
        one::<i64>(&client, "SELECT n FROM tokio_totals WHERE kind = $1", &[&"copied"]).await?,
        1000
    );
    Ok(())
}

async fn copy_out() -> Tested {
    let client = connect().await?;
    let rows = "(SELECT id, kind, amount FROM tokio_events WHERE id IN (1000, 1001) ORDER BY id)";
    let data: Vec<Bytes> =
        client.copy_out(&format!("COPY {rows} TO STDOUT")).await?.try_collect().await?;
    assert_eq!(data.concat(), b"1000\tcopied\t250\n1001\tcopied\t\\N\n");
    let data = client.copy_out(&format!("COPY {rows} TO STDOUT (FORMAT binary)")).await?;
    let rows: Vec<_> = BinaryCopyOutStream::new(data, &[Type::INT4, Type::TEXT, Type::FLOAT8])
        .try_collect()
        .await?;
    assert_eq!(rows[1].get::<i32>(0), 1001);
    assert_eq!(rows[1].get::<Option<f64>>(2), None);
    Ok(())
}

async fn notices() -> Tested {
    let (client, mut connection) = config().connect(NoTls).await?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let messages = stream::poll_fn(move |context| connection.poll_message(context));
    tokio::spawn(messages.for_each(move |message| {
        if let Ok(AsyncMessage::Notice(notice)) = message {
            hearing.lock().expect("a lock").push(notice.message().to_owned());
        }
        futures::future::ready(())
    }));
    client.batch_execute("DROP TABLE IF EXISTS tokio_nothing").await?;
    let heard = heard.lock().map_err(|_| "a lock")?.clone();
    assert_eq!(heard, ["table \"tokio_nothing\" does not exist, skipping"]);
    Ok(())
}

async fn cancel() -> Tested {
    let client = connect().await?;
    let token = client.cancel_token();
    let asking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(token.cancel_query(NoTls).await);
        }
    });
    let endless = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, \
                   generate_series(1, 100000) c";
    let cancelled = client.query(endless, &[]).await;
    asking.abort();
    failed(cancelled, "57014");
    Ok(())
}

async fn pool() -> Tested {
    let client = connect().await?;
    client.batch_execute("SET application_name = 'other'").await?;
    // As deadpool and bb8 do between two users of a connection.
    client.batch_execute("DISCARD ALL").await?;
    client.simple_query("").await?;
    let name: String = one(&client, "SHOW application_name", &[]).await?;
    assert_ne!(name, "other");
    Ok(())
}

async fn application_name() -> Tested {
    let client = connect_as(config().application_name("tokio test")).await?;
    assert_eq!(one::<String>(&client, "SHOW application_name", &[]).await?, "tokio test");
    let sql = "SELECT application_name::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    assert_eq!(one::<String>(&client, sql, &[]).await?, "tokio test");
    Ok(())
}

async fn view() -> Tested {
    let client = connect().await?;
    for n in 1..=2_i32 {
        let insert = "INSERT INTO tokio_events VALUES ($1, 'live', 2.5)";
        client.execute(insert, &[&(3000 + n)]).await?;
        let sql = "SELECT n FROM tokio_totals WHERE kind = $1";
        assert_eq!(one::<i64>(&client, sql, &[&"live"]).await?, i64::from(n));
    }
    Ok(())
}

async fn subscribe() -> Tested {
    let (mut client, other) = (connect().await?, connect().await?);
    let transaction = client.transaction().await?;
    let declare = "DECLARE changes CURSOR FOR SUBSCRIBE TO tokio_totals WITH (snapshot = false)";
    transaction.batch_execute(declare).await?;
    other.batch_execute("INSERT INTO tokio_events VALUES (4001, 'followed', 1)").await?;
    let rows = transaction.query("FETCH ALL changes WITH (timeout = '10s')", &[]).await?;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].get::<_, &str>("kind"), rows[0].get::<_, i64>("n")), ("followed", 1));
    transaction.commit().await?;
    Ok(())
}

async fn reconnect() -> Tested {
    let client = connect().await?;
    restart();
    let error = client.query("SELECT 1", &[]).await.err().ok_or("the server was killed")?;
    assert!(error.is_closed() || error.as_db_error().is_none(), "{error}");
    let client = connect().await?;
    assert!(one::<bool>(&client, "SELECT count(*) > 0 FROM tokio_events", &[]).await?);
    Ok(())
}

// ANCHOR: snippet
async fn snippet() -> Result<(), tokio_postgres::Error> {
    let (client, connection) = config().connect(NoTls).await?;
    tokio::spawn(connection);
    let insert = "INSERT INTO tokio_events VALUES ($1, $2, $3)";
    client.execute(insert, &[&9001_i32, &"snippet", &2.5_f64]).await?;
    let select = "SELECT kind, n, total FROM tokio_totals WHERE kind = $1";
    for row in client.query(select, &[&"snippet"]).await? {
        println!(
            "{} {} {}",
            row.get::<_, &str>("kind"),
            row.get::<_, i64>("n"),
            row.get::<_, f64>("total")
        );
    }
    Ok(())
}
// ANCHOR_END: snippet
