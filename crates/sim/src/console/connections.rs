//! Connections that say nothing, say it slowly, or take nothing: they end, and others do not notice them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::events::Events;
use super::{JSON, ask, place, run, send, started};
use crate::server::Server;
use crate::wait::{PATIENCE, until};

/// What the log says when there is no place left.
const TAKEN: &str = "all HTTP connections are taken";

/// A server that says so in its log.
async fn crowded(arguments: &[&str]) -> Server {
    let arguments = [&["--http", "127.0.0.1:0"], arguments].concat();
    let mut server = Server::new(&arguments).expecting(TAKEN);
    server.start().await;
    server
}

/// Waits until the server closes a connection; gives what it said.
async fn closed(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end, too.
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    drop(read.expect("it ends in time"));
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_or_say_it_slowly_keep_nobody_out() {
    let mut server = crowded(&["--http-connections", "8", "--http-timeout", "2s"]).await;
    run(&server, "CREATE TABLE t (id INT)").await;
    let mut follower = Events::open(&server, "view=t&heartbeat_ms=100", &[]).await;
    let mut slow = Vec::new();
    for number in 0..40 {
        let mut stream = TcpStream::connect(place(&server)).await.unwrap();
        if number % 2 == 0 {
            let begin = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ";
            stream.write_all(begin.as_bytes()).await.unwrap();
        }
        slow.push(stream);
        if number % 4 == 0 {
            assert_eq!(ask(&server, "GET /healthz", &[], "").await.status, 200);
            run(&server, &format!("INSERT INTO t VALUES ({number})")).await;
        }
        // A letter now and then is no request.
        for stream in &mut slow {
            drop(stream.try_write(b"a"));
        }
    }
    assert!(!follower.changes().await.0.is_empty());
    for stream in slow {
        closed(stream).await;
    }
    assert!(server.logged("no request came in time"), "{}", server.log_tail(5));
    // Who is being answered is not disturbed.
    run(&server, "INSERT INTO t VALUES (100)").await;
    let mut last = Vec::new();
    while !last.iter().any(|row: &serde_json::Value| row.to_string().contains("\"100\"")) {
        last = follower.changes().await.0;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_sent_away_while_all_connections_are_being_answered() {
    let mut server = crowded(&["--http-connections", "4"]).await;
    run(&server, "CREATE TABLE t (id INT)").await;
    let mut followers = Vec::new();
    for _ in 0..4 {
        let mut follower = Events::open(&server, "view=t&heartbeat_ms=100", &[]).await;
        assert_eq!(follower.next().await.expect("it begins").name, "begin");
        followers.push(follower);
    }
    let answer = ask(&server, "GET /healthz", &[], "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert_eq!(answer.text(), "all connections are in use now\n");
    followers.pop();
    until("a place is free", PATIENCE, || async {
        (ask(&server, "GET /healthz", &[], "").await.status == 200).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_and_an_answer_that_nobody_takes_end_the_connection() {
    let mut server = started(&["--http-timeout", "500ms"]).await;
    let none = sockets(&server);
    let mut stream = TcpStream::connect(place(&server)).await.unwrap();
    let head = format!(
        "POST /api/sql HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"sql\":",
        place(&server)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(closed(stream).await.starts_with("HTTP/1.1 408 "));
    // About 30 MB, more than sockets hold.
    let query = "SELECT repeat('x', 1000) FROM generate_series(1, 30000)";
    let body = serde_json::json!({ "sql": query, "limit": 100_000 }).to_string();
    until("it is closed", PATIENCE, || async { (sockets(&server) == none).then_some(()) }).await;
    let stream = send(&server, "POST /api/sql", &[JSON], &body).await;
    until("it is connected", PATIENCE, || async { (sockets(&server) > none).then_some(()) }).await;
    until("it is closed", PATIENCE, || async { (sockets(&server) <= none).then_some(()) }).await;
    assert!(closed(stream).await.len() < 30_000_000);
    server.stop().await;
}

/// Sockets that the server has open.
fn sockets(server: &Server) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.process_id())).unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_over_http_count_and_those_of_superusers_too() {
    let mut server = started(&["--max-connections", "10"]).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(server.connect().await);
    }
    let refused = run(&server, "SELECT 1").await;
    assert_eq!(refused["error"]["code"], "53300", "{refused}");
    assert_eq!(refused["error"]["message"], "sorry, too many clients already");
    open.pop();
    until("a place is free", PATIENCE, || async {
        run(&server, "SELECT 1").await.get("error").is_none().then_some(())
    })
    .await;
    server.stop().await;
}
