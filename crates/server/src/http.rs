//! HTTP: `/healthz`, `/readyz` and `/metrics` for machines, the console for people, and the interface that the
//! console uses.
//!
//! `POST /api/sql` ([`sql`]) and `GET /api/subscribe` ([`events`]) are a session each, of the user who asks
//! ([`crate::http_login`]); [`guard`] keeps pages of other sites from asking; [`page`] has the console's files;
//! [`connections`] bounds connections and what they may take.

mod assets;
mod connections;
mod events;
mod guard;
mod page;
mod sql;

use self::connections::Limits;
pub(crate) use guard::{called_by_address, refusal};

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use millrace_pg::session::SharedDatabase;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::ServerError;
use crate::http_login;
use crate::metrics;
use crate::shared::Shared;

/// A statement over HTTP has at most so many bytes, as over the wire.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What requests are answered from.
pub(crate) struct Web {
    pub(crate) shared: Arc<Shared>,
    database: SharedDatabase,
    /// True when the server ends.
    stopped: watch::Receiver<bool>,
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    database: SharedDatabase,
    stopped: watch::Receiver<bool>,
) {
    let web = Arc::new(Web { shared, database, stopped: stopped.clone() });
    let config = &web.shared.config;
    let limits = Limits { connections_max: config.http_connections, timeout: config.http_timeout };
    connections::serve(listener, routes(&web), limits, stopped).await;
}

fn routes(web: &Arc<Web>) -> Router {
    // Who asks here is a user, whose statements run.
    let users = Router::new()
        .route("/", get(page::index))
        .route("/api/sql", post(sql::run))
        .route("/api/subscribe", get(events::subscribe))
        .layer(middleware::from_fn_with_state(web.clone(), http_login::user))
        .layer(middleware::from_fn(guard::same_site))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let others = Router::new()
        .route("/assets/{name}", get(page::asset))
        .route("/favicon.ico", get(page::icon))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .layer(middleware::from_fn_with_state(web.clone(), http_login::check));
    users.merge(others).layer(middleware::map_response(guard::with_headers)).with_state(web.clone())
}

async fn ready(State(web): State<Arc<Web>>) -> (StatusCode, &'static str) {
    let board = web.shared.board.lock();
    match metrics::is_ready(&board) {
        true => (StatusCode::OK, "ready\n"),
        false if board.stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "recovering\n"),
    }
}

/// Prometheus' text format and its version.
const TEXT: (&str, &str) = ("content-type", "text/plain; version=0.0.4; charset=utf-8");

async fn figures(State(web): State<Arc<Web>>) -> impl IntoResponse {
    ([TEXT], metrics::text(&web.shared))
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
