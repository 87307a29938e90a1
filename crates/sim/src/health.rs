//! What a watchdog sees: health, readiness, metrics and the log.

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, program};
use crate::wait::{PATIENCE, until};

/// The status and the body of an answer.
pub(crate) async fn get(server: &Server, path: &str) -> (u16, String) {
    let address = server.http().expect("it serves HTTP");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split_whitespace().nth(1).expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

/// The samples of a page by name and labels; checks its form on the way.
pub(crate) fn samples(page: &str) -> BTreeMap<String, f64> {
    let (mut types, mut helped, mut found) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').expect("a name and a text");
            assert!(helped.insert(name.to_owned()), "{name} is there once");
            assert!(text.ends_with('.'), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            types.insert(name.to_owned(), kind.to_owned());
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and a value");
            let name = sample.split('{').next().expect("a name");
            let of = |suffix: &str| name.strip_suffix(suffix).filter(|n| types.contains_key(*n));
            let family = ["_bucket", "_sum", "_count"].into_iter().find_map(of).unwrap_or(name);
            let kind = types.get(family).unwrap_or_else(|| panic!("{family} has a type"));
            assert!(helped.contains(family), "{family} has a text");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            let value = value.parse().unwrap_or_else(|_| panic!("a number: {line}"));
            assert!(found.insert(sample.to_owned(), value).is_none(), "{sample} is there once");
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_tell_what_the_server_does() {
    let mut server = Server::new(&["--http", "127.0.0.1:0", "--checkpoint-interval", "200ms"]);
    server.start().await;
    let client = server.connect().await;
    let source = "CREATE SOURCE \"a \"\"tick\"\"\" (auction BIGINT, half BIGINT AS 10 / (auction % 2)) \
                  WITH (connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.event.num = 50, \
                        nexmark.split.num = 1)";
    client.batch_execute(source).await.unwrap();
    let view = "CREATE MATERIALIZED VIEW kept AS SELECT auction FROM \"a \"\"tick\"\"\"";
    client.batch_execute(view).await.unwrap();
    assert_eq!(get(&server, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&server, "/readyz").await, (200, "ready\n".to_owned()));
    let place = "{source=\"a \\\"tick\\\"\",partition=\"0\"}";
    let wanted = [
        (format!("millrace_source_lag{place}"), 0.0),
        (format!("millrace_source_offset{place}"), 46.0),
        ("millrace_late_rows_total{view=\"kept\"}".to_owned(), 0.0),
        ("millrace_view_failed{view=\"kept\"}".to_owned(), 0.0),
        ("millrace_connections".to_owned(), 1.0),
        ("millrace_ready".to_owned(), 1.0),
        ("millrace_jobs{state=\"running\"}".to_owned(), 0.0),
    ];
    let found = until(&format!("the metrics say {wanted:?}"), PATIENCE, || async {
        let (status, page) = get(&server, "/metrics").await;
        assert_eq!(status, 200);
        let found = samples(&page);
        let there = wanted.iter().all(|(name, value)| found.get(name) == Some(value));
        let committed = found.get("millrace_checkpoint_duration_seconds_count") > Some(&0.0);
        let errors = found.get(&format!("millrace_source_errors_total{place}"));
        let listed = found.get("millrace_kept_rows{table=\"source_errors\"}");
        (there && committed && errors == listed && errors.is_some()).then_some(found)
    })
    .await;
    let rows = found[&format!("millrace_source_rows_total{place}")];
    let errors = found[&format!("millrace_source_errors_total{place}")];
    assert_eq!(rows + errors, 46.0);
    assert!(rows > 0.0 && errors > 0.0, "{rows} rows, {errors} errors");
    for name in [
        "millrace_build_info{version=\"0.1.0\"}",
        "millrace_memory_bytes{kind=\"resident\"}",
        "millrace_memory_limit_bytes",
        "millrace_epoch",
        "millrace_epoch_duration_seconds_count",
        "millrace_checkpoint_bytes",
        "millrace_written_bytes_total{by=\"checkpoint\"}",
        "millrace_connections_total",
    ] {
        assert!(found.get(name).is_some_and(|value| *value > 0.0), "{name}: {:?}", found.get(name));
    }
    for name in ["millrace_epoch_age_seconds", "millrace_checkpoint_age_seconds"] {
        assert!(found[name] < 60.0, "{name} {}", found[name]);
    }
    let address = server.http().expect("it serves HTTP").to_string();
    let ready = tokio::process::Command::new(program("millrace"))
        .args(["ready", "--http", &address])
        .status();
    assert!(ready.await.expect("the program is there").success());
    server.stop().await;
    let ready = tokio::process::Command::new(program("millrace"))
        .args(["ready", "--http", &address])
        .output();
    let ready = ready.await.expect("the program is there");
    assert!(!ready.status.success());
    assert_eq!(String::from_utf8_lossy(&ready.stderr).lines().count(), 1, "{ready:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_the_json_log_is_an_object() {
    let mut server = Server::new(&["--log-format", "json"]);
    server.start().await;
    server.stop().await;
    let log = server.log_tail(1_000);
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        let found: serde_json::Value = serde_json::from_str(line).expect(line);
        for member in ["timestamp", "level", "target", "message"] {
            assert!(found[member].is_string(), "{member} in {line}");
        }
    }
}
