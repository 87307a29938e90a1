//! The console and what it asks the server: every route over real HTTP, and who may not ask.

mod connections;
mod events;
mod page;
mod sql;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::health::{get, samples};
use crate::server::Server;
use crate::wait::{PATIENCE, until};

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.lines().find_map(|line| {
            line.split_once(':').filter(|(found, _)| found.eq_ignore_ascii_case(name))
        });
        found.map(|(_, value)| value.trim())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

async fn started(arguments: &[&str]) -> Server {
    let arguments = [&["--http", "127.0.0.1:0"], arguments].concat();
    let mut server = Server::new(&arguments);
    server.start().await;
    server
}

fn place(server: &Server) -> SocketAddr {
    server.http().expect("it serves HTTP")
}

/// Sends a request; what comes back is not chunked, as HTTP 1.0 does not know that.
async fn send(server: &Server, line: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
    let place = place(server);
    let mut stream = TcpStream::connect(place).await.expect("it listens");
    let mut request = format!("{line} HTTP/1.0\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str(&format!("Host: {place}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).await.expect("it takes a request");
    stream
}

async fn ask(server: &Server, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = send(server, line, headers, body).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("it answers");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head and a body");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head of text");
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("a status"), head, body: bytes[end + 4..].to_vec() }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Runs statements; the answer as JSON.
async fn run(server: &Server, sql: &str) -> serde_json::Value {
    let body = serde_json::json!({ "sql": sql }).to_string();
    let answer = ask(server, "POST /api/sql", &[JSON], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Waits until no session is open.
async fn nobody_is_there(server: &Server) {
    until("no session is open", PATIENCE, || async {
        let (_, page) = get(server, "/metrics").await;
        (samples(&page)["millrace_connections"] == 0.0).then_some(())
    })
    .await;
}
