//! HTTP for machines: `/healthz`, `/readyz` and `/metrics` in Prometheus' text format. Who may ask is in
//! [`crate::http_login`].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::ServerError;
use crate::http_login;
use crate::metrics;
use crate::shared::Shared;

/// Serves until told to stop.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .with_state(shared.clone())
        .layer(middleware::from_fn_with_state(shared, http_login::check))
        .into_make_service_with_connect_info::<SocketAddr>();
    let end = async move {
        // The sender is gone when the server has ended.
        drop(stopped.wait_for(|stop| *stop).await);
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(end).await {
        tracing::error!(%error, "HTTP has ended");
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    let board = shared.board.lock();
    match metrics::is_ready(&board) {
        true => (StatusCode::OK, "ready\n"),
        false if board.stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "recovering\n"),
    }
}

/// Prometheus' text format and its version.
const TEXT: (&str, &str) = ("content-type", "text/plain; version=0.0.4; charset=utf-8");

async fn figures(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([TEXT], metrics::text(&shared))
}

/// How long a server may take to say whether it is ready.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks a server whether it is ready: what a health check of a container runs.
///
/// # Errors
/// No answer, or another one.
pub fn ask(address: SocketAddr) -> Result<(), ServerError> {
    let mut stream = TcpStream::connect_timeout(&address, ASK_TIMEOUT)?;
    stream.set_read_timeout(Some(ASK_TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 16).read_to_string(&mut answer)?;
    match answer.split_ascii_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => {
            let said = answer.lines().last().unwrap_or_default().trim().to_owned();
            Err(ServerError::Io(std::io::Error::other(format!("not ready: {said}"))))
        }
    }
}
