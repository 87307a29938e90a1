//! HTTP: open on the same machine, elsewhere for users with their passwords.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::Server;
use crate::wait;

/// An address of this machine that is not loopback; None where it has none.
fn outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent; the system chooses the address that it would be sent from.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

/// The status of an answer.
async fn status(address: SocketAddr, path: &str, authorization: Option<&str>) -> u16 {
    let answer = answer(address, path, authorization).await;
    answer.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn answer(address: SocketAddr, path: &str, authorization: Option<&str>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let line = authorization.map(|value| format!("Authorization: Basic {value}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
        line.unwrap_or_default()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Where the server says that it serves HTTP.
fn port(server: &Server) -> u16 {
    let log = server.log_tail(1_000);
    let line = log.lines().find(|line| line.contains("serving HTTP")).expect("it is logged");
    line.rsplit(':').next().unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_http_asks_for_a_users_password() {
    let Some(outside) = outside() else { return };
    let mut server = Server::new(&["--http", "0.0.0.0:0", "--password", "x"])
        .expecting("login over HTTP failed");
    server.start().await;
    let port = port(&server);
    let (here, there) =
        (SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((outside, port)));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(here, path, None).await, 200, "{path}");
        assert_eq!(status(there, path, None).await, 401, "{path}");
    }
    // root:x, root:y, nobody:x
    assert_eq!(status(there, "/metrics", Some("cm9vdDp4")).await, 200);
    assert_eq!(status(there, "/metrics", Some("cm9vdDp5")).await, 401);
    assert_eq!(status(there, "/metrics", Some("bm9ib2R5Ong=")).await, 401);
    wait::until("failures are logged", wait::PATIENCE, || async {
        server.logged("login over HTTP failed user=\"nobody\"").then_some(())
    })
    .await;
    // Who says no name has not failed to log in.
    let metrics = answer(here, "/metrics", None).await;
    assert!(metrics.contains("\nmillrace_failed_logins_total 2\n"), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anybody_who_has_a_password_http_is_not_served_beyond_loopback() {
    let mut server = Server::new(&["--http", "0.0.0.0:0"]);
    let refused = server.try_start().await;
    assert!(refused.is_err_and(|error| error.to_string().contains("without authentication")));
}
