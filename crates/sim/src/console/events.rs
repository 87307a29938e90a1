//! Subscriptions over HTTP: rows, changes, progress, and coming back.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;

use super::{nobody_is_there, run, send, started};
use crate::server::Server;
use crate::wait::PATIENCE;

/// An event as it came.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: String,
    id: Option<u64>,
    data: Value,
}

/// Events of a subscription; comments are events without a name.
pub(super) struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    pub(super) async fn open(server: &Server, query: &str, headers: &[(&str, &str)]) -> Events {
        let stream = send(server, &format!("GET /api/subscribe?{query}"), headers, "").await;
        let mut events = Events(BufReader::new(stream).lines());
        let status = events.line().await.expect("a status");
        assert!(status.contains(" 200 "), "{status}");
        let mut head = String::new();
        while let Some(line) = events.line().await.filter(|line| !line.is_empty()) {
            head.push_str(&line.to_ascii_lowercase());
        }
        assert!(head.contains("text/event-stream") && head.contains("no-store"), "{head}");
        events
    }

    async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.0.next_line()).await;
        line.expect("an event comes in time").unwrap_or_default()
    }

    /// The next event; None at the end.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let mut event = Event { name: String::new(), id: None, data: Value::Null };
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("id", id)) => event.id = Some(id.parse().expect("an epoch")),
                Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
                Some(("retry", _)) => {}
                _ if line.is_empty() || line == ":" => {
                    if line == ":" || !event.name.is_empty() {
                        return Some(event);
                    }
                }
                _ => panic!("{line}"),
            }
        }
    }

    /// Changes up to the next progress that has some before it; its epoch.
    pub(super) async fn changes(&mut self) -> (Vec<Value>, u64) {
        let mut changes = Vec::new();
        loop {
            let event = self.next().await.expect("it goes on");
            match event.name.as_str() {
                "rows" => {
                    let epoch = event.data["epoch"].as_u64().expect("an epoch");
                    assert!(epoch > 0 && event.id.is_none(), "{event:?}");
                    changes.extend(event.data["rows"].as_array().expect("rows").clone());
                }
                "progress" => {
                    let epoch = event.id.expect("progress has an id");
                    assert_eq!(event.data, json!({ "epoch": epoch }));
                    if !changes.is_empty() {
                        return (changes, epoch);
                    }
                }
                "" | "begin" => {}
                name => panic!("{name}: {event:?}"),
            }
        }
    }
}

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')";

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_changes_come_and_who_comes_back_misses_nothing() {
    let mut server = started(&[]).await;
    run(&server, TABLE).await;
    run(&server, "CREATE MATERIALIZED VIEW w WITH (retain_history = '1h') AS SELECT * FROM t")
        .await;
    let mut events = Events::open(&server, "view=w", &[]).await;
    let begin = events.next().await.unwrap();
    assert_eq!((begin.name.as_str(), &begin.data["snapshot"]), ("begin", &json!(true)));
    let columns = json!([{ "name": "id", "type": "integer" }, { "name": "v", "type": "text" }]);
    assert_eq!(begin.data["columns"], columns);
    let (rows, first) = events.changes().await;
    assert_eq!(rows, [json!([1, ["1", "a"]])]);
    run(&server, "UPDATE t SET v = NULL WHERE id = 1").await;
    let (mut rows, second) = events.changes().await;
    rows.sort_by_key(|row| row[0].as_i64());
    assert_eq!(rows, [json!([-1, ["1", "a"]]), json!([1, ["1", null]])]);
    assert!(second > first, "{first} {second}");
    drop(events);
    nobody_is_there(&server).await;
    run(&server, "INSERT INTO t VALUES (2, 'b')").await;
    let id = second.to_string();
    let mut events = Events::open(&server, "view=w", &[("Last-Event-ID", &id)]).await;
    let begin = events.next().await.unwrap();
    assert_eq!((&begin.data["snapshot"], &begin.data["as_of"]), (&json!(false), &json!(second)));
    assert_eq!(events.changes().await.0, [json!([1, ["2", "b"]])]);
    // The server does not wait for who follows.
    server.stop().await;
    while events.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_too_late_gets_all_rows_anew() {
    let mut server = started(&[]).await;
    run(&server, TABLE).await;
    run(&server, "CREATE MATERIALIZED VIEW w AS SELECT * FROM t").await;
    let mut events = Events::open(&server, "view=w", &[("Last-Event-ID", "1")]).await;
    let begin = events.next().await.unwrap();
    assert_eq!(begin.data["snapshot"], true, "{begin:?}");
    assert_eq!(events.changes().await.0, [json!([1, ["1", "a"]])]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_subscription_shows_that_it_lives() {
    let mut server = started(&[]).await;
    run(&server, TABLE).await;
    let mut events = Events::open(&server, "view=t&heartbeat_ms=100", &[]).await;
    let mut beats = 0;
    while beats < 3 {
        beats += usize::from(events.next().await.expect("it goes on").name.is_empty());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_said_in_an_event() {
    let mut server = started(&[]).await;
    run(&server, TABLE).await;
    for (query, code) in [
        ("view=nothing", "42P01"),
        ("view=x%22+y", "42P01"),
        ("query=SELECT+1", "0A000"),
        ("view=t&as_of=99999999&snapshot=false", "22023"),
    ] {
        let mut events = Events::open(&server, query, &[]).await;
        let event = events.next().await.expect("it is told");
        if code == "22023" {
            // An epoch of another life of the server: all rows come anew.
            assert_eq!(event.name, "begin", "{event:?}");
            continue;
        }
        assert_eq!(
            (event.name.as_str(), &event.data["code"]),
            ("failure", &json!(code)),
            "{query}"
        );
        assert!(events.next().await.is_none());
    }
    let mut events = Events::open(&server, "view=t", &[]).await;
    events.changes().await;
    run(&server, "DROP TABLE t").await;
    let failed = loop {
        let event = events.next().await.expect("it is told");
        if event.name == "failure" {
            break event;
        }
    };
    assert_eq!(failed.data["code"], "55000", "{failed:?}");
    nobody_is_there(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_holds_no_rows_in_memory() {
    let mut server = started(&[]).await;
    run(&server, "CREATE TABLE big (id INT, v TEXT)").await;
    let insert = "INSERT INTO big SELECT x, repeat('x', 200) FROM generate_series(1, 100000) g(x)";
    for _ in 0..2 {
        let answer = run(&server, insert).await;
        assert_eq!(answer["error"], Value::Null, "{answer}");
    }
    let before = resident(&server).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(Events::open(&server, "view=big", &[]).await);
    }
    let grown = resident(&server).await - before;
    // 16 times 40 MB of rows wait in the store, not in memory.
    assert!(grown < 300e6, "{grown} bytes");
    // Who reads then has them all.
    let mut events = silent.pop().expect("one of them");
    let (rows, _) = events.changes().await;
    assert_eq!(rows.len(), 200_000);
    drop((events, silent));
    nobody_is_there(&server).await;
    server.stop().await;
}

async fn resident(server: &Server) -> f64 {
    let (_, page) = crate::health::get(server, "/metrics").await;
    crate::health::samples(&page)["millrace_memory_bytes{kind=\"resident\"}"]
}
