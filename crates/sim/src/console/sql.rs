//! Statements over HTTP: what they give, what ends them, whose they are.

use serde_json::{Value, json};

use super::{Answer, JSON, ask, nobody_is_there, run, send, started};
use crate::health::{get, samples};
use crate::server::Server;
use crate::wait::{PATIENCE, until};

/// Counts for minutes.
const LONG: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b \
                    WHERE a + b = 0";

#[tokio::test(flavor = "multi_thread")]
async fn statements_give_rows_types_tags_and_notices() {
    let mut server = started(&[]).await;
    let text = "CREATE TABLE t (id INT PRIMARY KEY, v NUMERIC(5, 2), at TIMESTAMPTZ);
                INSERT INTO t VALUES (1, 2.5, '2026-01-02 03:04:05+00'), (2, NULL, NULL);
                SELECT * FROM t ORDER BY id;
                BEGIN; INSERT INTO t VALUES (3, 0, NULL)";
    let answer = run(&server, text).await;
    assert_eq!(answer["error"], Value::Null, "{answer}");
    let results = answer["results"].as_array().unwrap();
    let tags: Vec<_> = results.iter().map(|result| result["tag"].as_str().unwrap()).collect();
    assert_eq!(tags, ["CREATE TABLE", "INSERT 0 2", "SELECT 2", "BEGIN", "INSERT 0 1"]);
    let columns = json!([
        { "name": "id", "type": "integer" },
        { "name": "v", "type": "numeric(5,2)" },
        { "name": "at", "type": "timestamp with time zone" },
    ]);
    assert_eq!(results[2]["columns"], columns);
    let rows = json!([["1", "2.50", "2026-01-02 03:04:05+00"], ["2", null, null]]);
    assert_eq!(results[2]["rows"], rows);
    assert!(results[4]["notices"][0]["message"].as_str().unwrap().contains("rolled back"));
    // As in PostgreSQL, BEGIN takes the changes before it in the same string into its transaction.
    let left = run(&server, "SELECT count(*) FROM t").await;
    assert_eq!(left["results"][0]["rows"], json!([["0"]]));
    run(&server, "INSERT INTO t VALUES (1, 2.5, NULL), (2, NULL, NULL)").await;
    run(&server, "BEGIN; INSERT INTO t VALUES (3, 0, NULL)").await;
    let left = run(&server, "SELECT count(*) FROM t").await;
    assert_eq!(left["results"][0]["rows"], json!([["2"]]));
    assert_eq!(run(&server, " -- nothing\n").await, json!({ "results": [] }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_has_its_code_its_position_in_the_whole_text_and_its_hint() {
    let mut server = started(&[]).await;
    let answer = run(&server, "SELECT 1;\nSELECT é FROM nothing").await;
    assert_eq!(answer["results"].as_array().unwrap().len(), 1);
    assert_eq!(answer["error"]["code"], "42P01", "{answer}");
    assert_eq!(answer["error"]["position"], 25, "{answer}");
    for (sql, code) in [
        ("SELEC 1", "42601"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 'open", "42601"),
        ("CREATE TABLE c (x INT); COPY c FROM STDIN", "0A000"),
        ("SUBSCRIBE TO c", "0A000"),
    ] {
        let answer = run(&server, sql).await;
        assert_eq!(answer["error"]["code"], code, "{sql}: {answer}");
        if code == "0A000" {
            assert!(answer["error"]["hint"].is_string(), "{sql}: {answer}");
        }
    }
    // Those of one request take effect together.
    assert!(run(&server, "CREATE TABLE d (id INT PRIMARY KEY)").await["error"].is_null());
    let twice = run(&server, "INSERT INTO d VALUES (1); INSERT INTO d VALUES (1)").await;
    assert_eq!(twice["error"]["code"], "23505", "{twice}");
    let both = run(&server, "INSERT INTO d VALUES (2); INSERT INTO d VALUES (3)").await;
    assert!(both["error"].is_null(), "{both}");
    let left = run(&server, "SELECT id FROM d ORDER BY id").await;
    assert_eq!(left["results"][0]["rows"], json!([["2"], ["3"]]));
    for body in ["", "{}", "{\"sql\": 1}", "{\"sql\": \"SELECT 1\", \"other\": 2}"] {
        assert_eq!(ask(&server, "POST /api/sql", &[JSON], body).await.status, 400, "{body}");
    }
    server.stop().await;
}

async fn limited(server: &Server, body: &Value) -> Value {
    ask(server, "POST /api/sql", &[JSON], &body.to_string()).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_ends_at_its_limit_and_a_change_is_made_whole() {
    let mut server = started(&[]).await;
    let body = json!({ "sql": "SELECT x FROM generate_series(1, 100000) g(x)", "limit": 3 });
    let result = &limited(&server, &body).await["results"][0];
    assert_eq!((&result["truncated"], &result["tag"]), (&json!(true), &json!("SELECT 3")));
    assert_eq!(result["rows"].as_array().unwrap().len(), 3);
    let sql = "CREATE TABLE t (id INT); INSERT INTO t SELECT x FROM generate_series(1, 50) g(x) \
               RETURNING id; SELECT count(*) FROM t";
    let answer = limited(&server, &json!({ "sql": sql, "limit": 5 })).await;
    assert_eq!(answer["results"][1]["tag"], "INSERT 0 50", "{answer}");
    assert_eq!(answer["results"][1]["rows"].as_array().unwrap().len(), 5);
    assert_eq!(answer["results"][2]["rows"], json!([["50"]]));
    let wide = "SELECT repeat('x', 1000000) FROM generate_series(1, 100)";
    let answer = limited(&server, &json!({ "sql": wide })).await;
    assert_eq!(answer["results"][0]["truncated"], true, "32 MB are enough");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_by_its_timeout_or_with_its_client() {
    let mut server = started(&[]).await;
    for body in [
        json!({ "sql": LONG, "timeout_ms": 200 }),
        json!({ "sql": format!("SET statement_timeout = '200ms'; {LONG}") }),
    ] {
        let answer = limited(&server, &body).await;
        assert_eq!(answer["error"]["code"], "57014", "{answer}");
    }
    let body = json!({ "sql": LONG }).to_string();
    let stream = send(&server, "POST /api/sql", &[JSON], &body).await;
    until("it runs", PATIENCE, || async {
        let (_, page) = get(&server, "/metrics").await;
        (samples(&page)["millrace_connections"] == 1.0).then_some(())
    })
    .await;
    drop(stream);
    nobody_is_there(&server).await;
    server.stop().await;
}

async fn refused(server: &Server, headers: &[(&str, &str)]) -> Answer {
    let body = json!({ "sql": "CREATE TABLE stolen (x INT)" }).to_string();
    let answer = ask(server, "POST /api/sql", headers, &body).await;
    assert_eq!(answer.status, 403, "{headers:?}: {answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_runs_nothing() {
    let mut server = started(&[]).await;
    let port = super::place(&server).port();
    let (own, named) = (format!("http://127.0.0.1:{port}"), format!("evil.example:{port}"));
    // What fetch and forms of another page send.
    refused(&server, &[JSON, ("Origin", "http://evil.example")]).await;
    refused(&server, &[JSON, ("Origin", "null")]).await;
    refused(&server, &[JSON, ("Origin", "http://127.0.0.1:1")]).await;
    refused(&server, &[("Content-Type", "text/plain"), ("Origin", &own)]).await;
    refused(&server, &[("Content-Type", "application/x-www-form-urlencoded")]).await;
    refused(&server, &[JSON, ("Sec-Fetch-Site", "cross-site")]).await;
    refused(&server, &[JSON, ("Sec-Fetch-Site", "same-site")]).await;
    // A name that was made to point here.
    let rebound = [JSON, ("Host", named.as_str()), ("Origin", &format!("http://{named}"))];
    let answer = refused(&server, &rebound).await;
    assert!(answer.text().contains("ALTER USER root PASSWORD"), "{answer:?}");
    for (line, headers) in [
        ("GET /api/subscribe?view=x", ("Sec-Fetch-Site", "cross-site")),
        ("GET /api/subscribe?view=x", ("Host", named.as_str())),
        ("GET /", ("Host", named.as_str())),
    ] {
        assert_eq!(ask(&server, line, &[headers], "").await.status, 403, "{line} {headers:?}");
    }
    // The answer to a preflight allows nothing.
    let asks = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")];
    let answer = ask(&server, "OPTIONS /api/sql", &asks, "").await;
    assert!(answer.status >= 400 && answer.header("access-control-allow-origin").is_none());
    assert_eq!(ask(&server, "GET /api/sql", &[], "").await.status, 405);
    let found = run(&server, "SELECT count(*) FROM pg_class WHERE relname = 'stolen'").await;
    assert_eq!(found["results"][0]["rows"], json!([["0"]]), "{found}");
    let own = [JSON, ("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(ask(&server, "POST /api/sql", &own, "{\"sql\": \"\"}").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_password_must_say_it_and_has_their_own_rights() {
    let mut server = Server::new(&["--http", "127.0.0.1:0", "--password", "x"])
        .expecting("login over HTTP failed");
    server.start().await;
    let body = json!({ "sql": "SELECT current_user; CREATE USER ann PASSWORD 'y'" }).to_string();
    for line in ["POST /api/sql", "GET /api/subscribe?view=x", "GET /"] {
        let answer = ask(&server, line, &[JSON], &body).await;
        assert_eq!(answer.status, 401, "{line}");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Basic")));
    }
    // root:y, root:x, ann:y
    let by = |coded: &'static str| [JSON, ("Authorization", coded)];
    assert_eq!(ask(&server, "POST /api/sql", &by("Basic cm9vdDp5"), &body).await.status, 401);
    let answer = ask(&server, "POST /api/sql", &by("Basic cm9vdDp4"), &body).await.json();
    assert_eq!(answer["results"][0]["rows"], json!([["root"]]), "{answer}");
    let body = json!({ "sql": "SELECT current_user; CREATE TABLE t (x INT)" }).to_string();
    let answer = ask(&server, "POST /api/sql", &by("Basic YW5uOnk="), &body).await.json();
    assert_eq!(answer["results"][0]["rows"], json!([["ann"]]), "{answer}");
    assert_eq!(answer["error"]["code"], "42501", "{answer}");
    // With a password the server may be called by any name.
    let named = [JSON, ("Authorization", "Basic cm9vdDp4"), ("Host", "db.example")];
    assert_eq!(ask(&server, "POST /api/sql", &named, &body).await.status, 200);
    server.stop().await;
}
