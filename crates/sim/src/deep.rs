//! Long chains of operators: they are planned, stored and run, or refused; the server stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_postgres::Client;

use crate::server::{self, Server};
use crate::wait;

/// Sessions that plan at the same time; the server has two threads for them.
const SLOW: usize = 8;

/// A query that is as deep as one may be, and its rows.
fn queries() -> Vec<(&'static str, String, &'static str)> {
    let chain = |with: &str, times: usize, of: &dyn Fn(usize) -> String| {
        (0..times).map(of).collect::<Vec<_>>().join(with)
    };
    let sum = chain(" + ", 120, &|_| "x".to_owned());
    let texts = chain(" || ", 900, &|_| "x::text".to_owned());
    let arrays = chain(" || ", 300, &|_| "ARRAY[x]".to_owned());
    let elements = chain(" || ", 300, &|_| "x".to_owned());
    let any = chain(" OR ", 900, &|n| format!("x = {n}"));
    let branches = chain(" UNION ALL ", 200, &|n| format!("SELECT x + {n} AS x FROM deep"));
    vec![
        ("sums", format!("SELECT {sum} AS n FROM deep"), "120"),
        ("texts", format!("SELECT length({texts}) AS n FROM deep"), "900"),
        ("arrays", format!("SELECT cardinality({arrays}) AS n FROM deep"), "300"),
        ("elements", format!("SELECT cardinality(ARRAY[x] || {elements}) AS n FROM deep"), "301"),
        ("alternatives", format!("SELECT count(*) AS n FROM deep WHERE {any}"), "1"),
        ("casts", format!("SELECT x{} AS n FROM deep", "::int".repeat(900)), "1"),
        ("branches", format!("SELECT count(*) AS n FROM ({branches}) AS q"), "200"),
    ]
}

async fn shows(client: &Client, sql: &str, wanted: &str) {
    let rows = server::rows(client, sql).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(rows, [[Some(wanted.to_owned())]], "{}", &sql[..40.min(sql.len())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_statements_run_and_deeper_ones_are_refused() {
    let mut server = Server::new(&["--workers", "2"]);
    server.start().await;
    let client = server.connect().await;
    let run = async |client: &Client, sql: &str| client.batch_execute(sql).await;
    run(&client, "CREATE TABLE deep (x INT); INSERT INTO deep VALUES (1)").await.expect("it runs");
    for (view, query, wanted) in queries() {
        shows(&client, &query, wanted).await;
        let create = format!("CREATE MATERIALIZED VIEW {view} AS {query}");
        run(&client, &create).await.unwrap_or_else(|error| panic!("{view}: {error:?}"));
    }
    for sql in [
        format!("SELECT 1{}", " + 1".repeat(100_000)),
        format!("SELECT * FROM deep WHERE x = 1{}", " OR x = 2".repeat(100_000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(20_000)),
    ] {
        let refused = run(&client, &sql).await.expect_err("it is too deep");
        assert_eq!(refused.code().expect("an answer").code(), "54001");
    }
    server.kill().await;
    server.start().await;
    let client = server.connect().await;
    for (view, _, wanted) in queries() {
        shows(&client, &format!("SELECT * FROM {view}"), wanted).await;
    }
    server.stop().await;
}

/// Each level is read as one thing and then, because of the mistake inside, as another.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_would_be_read_again_and_again_is_refused() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let client = server.connect().await;
    let text = format!("SELECT {}1 +)", "position(".repeat(40));
    let answer = tokio::time::timeout(wait::PATIENCE, client.batch_execute(&text)).await;
    let refused = answer.expect("an answer").expect_err("it is refused");
    assert_eq!(refused.code().expect("an answer").code(), "54001");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_take_long_to_plan_hold_no_other_session_up() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let planned = Arc::new(AtomicUsize::new(0));
    let slow = format!("SELECT 1 AS a WHERE {} > 0", ["random()"; 240].join(" + "));
    let other = server.connect().await;
    let mut clients = Vec::new();
    for _ in 0..SLOW {
        clients.push(server.connect().await);
    }
    let planning = clients.into_iter().map(|client| {
        let (text, planned) = (slow.clone(), Arc::clone(&planned));
        tokio::spawn(async move {
            let answer = client.batch_execute(&text).await;
            planned.fetch_add(1, Ordering::SeqCst);
            answer
        })
    });
    let planning: Vec<_> = planning.collect();
    let mut answers = 0;
    while planned.load(Ordering::SeqCst) == 0 {
        shows(&other, "SELECT 1", "1").await;
        answers += 1;
    }
    for planning in planning {
        planning.await.expect("it ends").expect("it is planned and run");
    }
    assert!(answers >= 50, "{answers} answers while a statement was planned");
    server.stop().await;
}
