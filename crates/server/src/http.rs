//! HTTP for machines: `/healthz`, `/readyz` and `/metrics` in Prometheus' text format. Who may ask is in
//! [`crate::http_login`].

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::shared::Shared;
use crate::{http_login, memory};

/// Serves until told to stop.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
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
    match board.views.values().all(|view| view.complete().is_some()) {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "recovering\n"),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, labels: &str, value: f64| {
        // Writing to a string cannot fail.
        writeln!(text, "millrace_{name}{labels} {value}").unwrap_or_default();
    };
    let counters = shared.store.counters();
    let float = |n: i64| n.to_string().parse::<f64>().unwrap_or_default();
    gauge("resident_bytes", "", float(i64::try_from(memory::resident()).unwrap_or(i64::MAX)));
    gauge(
        "written_bytes",
        "",
        float((counters.checkpoint_bytes + counters.compaction_bytes).cast_signed()),
    );
    let catalog = shared.catalog();
    let now = shared.clock.now();
    let board = shared.board.lock();
    gauge("checkpoint_epoch", "", float(board.checkpoint.0.cast_signed()));
    if board.checkpoint_at > 0 {
        gauge("checkpoint_age_seconds", "", float(now - board.checkpoint_at) / 1e6);
    }
    for (id, view) in &board.views {
        let Some(object) = catalog.get(*id) else { continue };
        let labels = format!("{{view=\"{}\"}}", object.name);
        gauge("view_epoch", &labels, float(view.upper.epoch().previous().0.cast_signed()));
    }
    for (id, source) in &board.sources {
        let Some(object) = catalog.get(*id) else { continue };
        for (partition, status) in &source.partitions {
            let labels = format!("{{source=\"{}\",partition=\"{partition}\"}}", object.name);
            gauge("source_rows", &labels, float(status.cut.rows.cast_signed()));
            gauge("source_malformed", &labels, float(status.cut.malformed.cast_signed()));
            gauge("source_future", &labels, float(status.cut.future.cast_signed()));
            if let Some(end) = status.end {
                gauge("source_lag", &labels, float(end - status.cut.end));
            }
        }
    }
    text
}
